//! COPY FROM a file.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Ident;

use crate::engine::ddl::command::Lowered;
use crate::engine::external;
use crate::engine::query::Tag;
use crate::engine::schemas::CATALOG;
use crate::engine::shared::Engine;
use crate::engine::sql::fold;
use crate::engine::storage::TableName;
use crate::error::{Error, Result, Subject};

/// COPY FROM a file: an INSERT of its rows, columns matched by name where the file has names.
pub async fn copy_from(
    engine: &Arc<Engine>,
    state: &SessionState,
    table: &TableName,
    columns: &[Ident],
    path: &str,
    options: Vec<(String, String)>,
) -> Result<Lowered> {
    let target = engine.catalog.provider(table, crate::engine::storage::TableVersion::Latest).await?;
    let wanted: Vec<String> = match columns.len() {
        0 => target.schema().fields().iter().map(|f| f.name().clone()).collect(),
        _ => columns.iter().map(fold).collect(),
    };
    let options = CopyOptions::read(path, options)?;
    let schema = target.schema();
    let file = options.open(path, &schema, &wanted, state).await?;
    let source = LogicalPlanBuilder::scan(path, provider_as_source(Arc::new(file)), None)?.build()?;
    let projected =
        assign(&schema, &wanted, &source, &*source_as_provider(&provider_as_source(Arc::clone(&target)))?)?;
    let rows = LogicalPlanBuilder::from(source).project(projected)?.build()?;
    let reference = TableReference::full(CATALOG, table.schema.as_str(), table.table.as_str());
    let plan =
        LogicalPlanBuilder::insert_into(rows, reference, provider_as_source(target), InsertOp::Append)?
            .build()?;
    Ok(Lowered::Plan(plan, Tag::Count("COPY")))
}

/// For every column of the table: the file's column cast to its type, its default, or NULL.
fn assign(
    schema: &SchemaRef,
    wanted: &[String],
    source: &LogicalPlan,
    target: &dyn datafusion::catalog::TableProvider,
) -> Result<Vec<Expr>> {
    for name in wanted {
        if schema.index_of(name).is_err() {
            let suggestion =
                crate::error::did_you_mean(name, schema.fields().iter().map(|f| f.name().as_str()));
            return Err(Error::not_found(
                Subject::Column,
                format!("no column {name} in the table{suggestion}"),
            ));
        }
    }
    let fields = source.schema().fields();
    let mut exprs = vec![];
    for field in schema.fields() {
        let found = wanted
            .contains(field.name())
            .then(|| fields.iter().find(|f| f.name().eq_ignore_ascii_case(field.name())))
            .flatten();
        let expr = match found {
            Some(f) => cast(ident(f.name()), field.data_type().clone()),
            None if wanted.contains(field.name()) => {
                return Err(missing_column(field.name(), fields.iter().map(|f| f.name().as_str())));
            }
            None => match target.get_column_default(field.name()) {
                Some(default) => cast(default.clone(), field.data_type().clone()),
                None => cast(datafusion::logical_expr::lit(ScalarValue::Null), field.data_type().clone()),
            },
        };
        exprs.push(expr.alias(field.name()));
    }
    Ok(exprs)
}

fn missing_column<'a>(name: &str, found: impl Iterator<Item = &'a str>) -> Error {
    let found: Vec<&str> = found.collect();
    Error::not_found(Subject::Column, format!("the file has no column {name}; it has {}", found.join(", ")))
        .with_hint("name the columns that the file has: COPY table (a, b) FROM …, or say WITH (header false)")
}

/// Options of COPY FROM in PostgreSQL's words.
struct CopyOptions {
    format: String,
    header: bool,
    raw: HashMap<String, String>,
}

impl CopyOptions {
    fn read(path: &str, options: Vec<(String, String)>) -> Result<Self> {
        let extension = std::path::Path::new(path).extension().map(|e| e.to_string_lossy().to_uppercase());
        let mut read =
            Self { format: extension.unwrap_or_else(|| "CSV".to_owned()), header: true, raw: HashMap::new() };
        if read.format == "NDJSON" || read.format == "JSONL" {
            read.format = "JSON".to_owned();
        } else if !["CSV", "PARQUET", "JSON"].contains(&read.format.as_str()) {
            read.format = "CSV".to_owned();
        }
        for (key, value) in options {
            match key.as_str() {
                "format" => read.format = value.to_uppercase(),
                "header" => {
                    read.header = matches!(value.to_lowercase().as_str(), "true" | "on" | "1" | "match")
                }
                "delimiter" | "quote" | "escape" => {
                    read.raw.insert(format!("format.{key}"), value);
                }
                "null" => {
                    let pattern: String =
                        value.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect();
                    read.raw.insert("format.null_regex".to_owned(), format!("^{pattern}$"));
                }
                other if other.starts_with("format.") => {
                    read.raw.insert(other.to_owned(), value);
                }
                other => {
                    let known = ["format", "header", "delimiter", "quote", "escape", "null"];
                    let suggestion = crate::error::did_you_mean(other, known);
                    let message = format!("unknown option {other} of COPY{suggestion}");
                    return Err(Error::input(Subject::Option, message)
                        .with_hint(format!("options: {}", known.join(", "))));
                }
            }
        }
        if read.format == "CSV" {
            read.raw.insert("format.has_header".to_owned(), read.header.to_string());
        }
        Ok(read)
    }

    /// Opens the file with the table's types, so that a text `007` stays what it is.
    async fn open(
        &self,
        path: &str,
        schema: &SchemaRef,
        wanted: &[String],
        state: &SessionState,
    ) -> Result<datafusion::datasource::listing::ListingTable> {
        use datafusion::catalog::TableProvider;
        let found = external::listing(path, &self.format, &self.raw, None, state).await?;
        if self.format == "PARQUET" {
            return Ok(found);
        }
        let in_file = found.schema();
        if self.format == "CSV" && !self.header && in_file.fields().len() != wanted.len() {
            let message =
                format!("{path} has {} columns, {} are wanted", in_file.fields().len(), wanted.len());
            return Err(Error::data(message)
                .with_hint("name them in the order of the file: COPY table (a, b) FROM …"));
        }
        let typed = in_file.fields().iter().enumerate().map(|(i, field)| {
            let by_name = schema.fields().iter().find(|f| f.name().eq_ignore_ascii_case(field.name()));
            let column = if self.format == "CSV" && !self.header {
                schema.field_with_name(&wanted[i]).ok().cloned()
            } else {
                by_name.map(|f| f.as_ref().clone().with_name(field.name()))
            };
            column.unwrap_or_else(|| field.as_ref().clone()).with_nullable(true)
        });
        let typed: SchemaRef = Arc::new(Schema::new(typed.collect::<Vec<_>>()));
        Ok(external::listing(path, &self.format, &self.raw, Some(typed), state).await?)
    }
}
