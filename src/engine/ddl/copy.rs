//! COPY from and to files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, ident, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{Ident, Query, Value};

use crate::engine::access::{Actor, FileAccess, Guard};
use crate::engine::ddl::command::Lowered;
use crate::engine::external;
use crate::engine::query::Tag;
use crate::engine::schemas::CATALOG;
use crate::engine::shared::Engine;
use crate::engine::sql::{fold, repair};
use crate::engine::storage::{Privilege, TableName};
use crate::error::{Error, Result, Subject, did_you_mean};

/// COPY FROM a file: an INSERT of its rows, columns matched by name where the file has names.
pub async fn copy_from(
    engine: &Arc<Engine>,
    state: &SessionState,
    table: &TableName,
    columns: &[Ident],
    path: &str,
    options: Vec<(String, String)>,
) -> Result<Lowered> {
    Guard::new(engine, &Actor::of(state))?.entry(table, Privilege::Insert)?;
    let path = &FileAccess::reading(state, path)?;
    let target = engine.catalog.provider(table, crate::engine::storage::TableVersion::Latest).await?;
    let wanted: Vec<String> = match columns.len() {
        0 => target.schema().fields().iter().map(|f| f.name().clone()).collect(),
        _ => columns.iter().map(fold).collect(),
    };
    let options = FileOptions::read(path, options, Direction::From)?;
    let schema = target.schema();
    let file = options.open(path, &schema, &wanted, state).await?;
    let source = LogicalPlanBuilder::scan(path, provider_as_source(Arc::new(file)), None)?.build()?;
    let projected = assign(&schema, &wanted, &source, target.as_ref(), options.null.as_deref())?;
    let rows = LogicalPlanBuilder::from(source).project(projected)?.build()?;
    let reference = TableReference::full(CATALOG, table.schema.as_str(), table.table.as_str());
    let plan =
        LogicalPlanBuilder::insert_into(rows, reference, provider_as_source(target), InsertOp::Append)?
            .build()?;
    Ok(Lowered::Plan(plan, Tag::Count("COPY")))
}

/// For every column of the table: the source's column cast to its type, its default, or NULL.
pub fn assign(
    schema: &SchemaRef,
    wanted: &[String],
    source: &LogicalPlan,
    target: &dyn TableProvider,
    null: Option<&str>,
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
        // Names that differ in capitals only may both be there.
        let exact = || fields.iter().find(|f| f.name() == field.name());
        let alike = |f: &&FieldRef| f.name().eq_ignore_ascii_case(field.name()) && !wanted.contains(f.name());
        let found =
            wanted.contains(field.name()).then(|| exact().or_else(|| fields.iter().find(alike))).flatten();
        let expr = match found {
            Some(f) => {
                let value = ident(f.name());
                let value = null.map_or(value.clone(), |null| nullif(value, lit(null)));
                cast(value, field.data_type().clone())
            }
            None if wanted.contains(field.name()) => {
                return Err(missing_column(field.name(), fields.iter().map(|f| f.name().as_str())));
            }
            None => match target.get_column_default(field.name()) {
                Some(default) => cast(default.clone(), field.data_type().clone()),
                None => cast(lit(ScalarValue::Null), field.data_type().clone()),
            },
        };
        exprs.push(expr.alias(field.name()));
    }
    Ok(exprs)
}

fn missing_column<'a>(name: &str, found: impl Iterator<Item = &'a str>) -> Error {
    let found: Vec<&str> = found.collect();
    let delimiter = match found.as_slice() {
        [one] => [';', '\t', '|'].into_iter().find(|c| one.contains(*c)),
        _ => None,
    };
    let hint = match delimiter {
        Some('\t') => "its columns seem to be divided by tabs: COPY … WITH (delimiter E'\\t')".to_owned(),
        Some(c) => format!("its columns seem to be divided by {c} : COPY … WITH (delimiter '{c}')"),
        None => "name the columns that the file has: COPY table (a, b) FROM …, or say WITH (header false)"
            .to_owned(),
    };
    Error::not_found(Subject::Column, format!("the file has no column {name}; it has {}", found.join(", ")))
        .with_hint(hint)
}

/// Formats that files have.
const FORMATS: [&str; 3] = ["CSV", "PARQUET", "JSON"];

/// A row group of a Parquet file has a row for so many bytes of the memory limit, within these bounds.
const MEMORY_PER_GROUP_ROW: usize = 1 << 10;
const GROUP_ROWS_LEAST: usize = 1 << 16;
const GROUP_ROWS_MOST: usize = 1 << 20;

/// The format that a file's name tells: the extension where it is none that is known.
fn format_of(path: &str) -> String {
    let extension = Path::new(path).extension().map(|e| e.to_string_lossy().to_uppercase());
    match extension.as_deref() {
        Some("NDJSON" | "JSONL" | "JSON") => "JSON".to_owned(),
        None | Some("TXT" | "DAT" | "TSV" | "CSV") => "CSV".to_owned(),
        Some(other) => other.to_owned(),
    }
}

/// COPY TO a file, or a folder where it is partitioned.
pub async fn copy_to(
    state: &SessionState,
    mut query: Box<Query>,
    path: String,
    partitioned_by: &[Ident],
    options: Vec<(String, String)>,
) -> Result<Lowered> {
    let path = FileAccess::writing(state, &path)?;
    let mut options = FileOptions::read(&path, options, Direction::To)?;
    options.bound_groups(&state.runtime_env().memory_pool.memory_limit());
    ensure_folder(&path)?;
    repair(query.as_mut())?;
    let value = |text: String| Value::SingleQuotedString(text);
    let statement = CopyToStatement {
        source: CopyToSource::Query(query),
        target: path,
        partitioned_by: partitioned_by.iter().map(fold).collect(),
        stored_as: Some(options.format),
        options: options.raw.into_iter().map(|(key, text)| (key, value(text))).collect(),
    };
    let plan = state.statement_to_plan(DfStatement::CopyTo(statement)).await?;
    Ok(Lowered::Plan(plan, Tag::Count("COPY")))
}

/// A mistyped folder is not made.
fn ensure_folder(path: &str) -> Result<()> {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !path.contains("://") && !folder.is_dir() => {
            let message = format!("the folder {} of {path} does not exist", folder.display());
            Err(Error::not_found(Subject::File, message).with_hint("make it first, or choose another"))
        }
        _ => Ok(()),
    }
}

pub fn boolean(key: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "true" | "on" | "1" | "match" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::input(Subject::Option, format!("{key} of COPY takes true or false, not {value}"))),
    }
}

/// Whether a file is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    From,
    To,
}

/// Options of COPY in PostgreSQL's words, and DataFusion's (`format.…`) beside them.
struct FileOptions {
    format: String,
    header: bool,
    /// The text that stands for NULL in a file that is read; the reader itself only knows empty ones.
    null: Option<String>,
    raw: HashMap<String, String>,
}

impl FileOptions {
    fn read(path: &str, options: Vec<(String, String)>, direction: Direction) -> Result<Self> {
        let mut read = Self { format: format_of(path), header: true, null: None, raw: HashMap::new() };
        for (key, value) in options {
            read.set(&key, value, direction)?;
        }
        if !FORMATS.contains(&read.format.as_str()) {
            let message =
                format!("unknown format {} of COPY{}", read.format, did_you_mean(&read.format, FORMATS));
            return Err(Error::input(Subject::Option, message).with_hint("formats: CSV, PARQUET, JSON"));
        }
        if read.null.is_some() && read.format != "CSV" {
            let message = format!("{} files have a NULL of their own: null is an option of CSV", read.format);
            return Err(Error::input(Subject::Option, message));
        }
        if read.format == "CSV" {
            read.raw.insert("format.has_header".to_owned(), read.header.to_string());
        }
        Ok(read)
    }

    fn set(&mut self, key: &str, value: String, direction: Direction) -> Result<()> {
        match key {
            "format" => self.format = value.to_uppercase(),
            "header" => self.header = boolean(key, &value)?,
            "delimiter" | "quote" | "escape" => {
                self.raw.insert(format!("format.{key}"), value);
            }
            "null" if direction == Direction::To => {
                self.raw.insert("format.null_value".to_owned(), value);
            }
            "null" => self.null = Some(value),
            other if other.starts_with("format.") => {
                self.raw.insert(other.to_owned(), value);
            }
            other => {
                let known = ["format", "header", "delimiter", "quote", "escape", "null"];
                let message = format!("unknown option {other} of COPY{}", did_you_mean(other, known));
                return Err(Error::input(Subject::Option, message)
                    .with_hint(format!("options: {}", known.join(", "))));
            }
        }
        Ok(())
    }

    /// Bounds the row groups of a Parquet file, of which a few are in memory, unless the statement does.
    fn bound_groups(&mut self, memory: &MemoryLimit) {
        if let MemoryLimit::Finite(limit) = memory
            && self.format == "PARQUET"
        {
            let rows = (limit / MEMORY_PER_GROUP_ROW).clamp(GROUP_ROWS_LEAST, GROUP_ROWS_MOST);
            self.raw.entry("format.max_row_group_size".to_owned()).or_insert_with(|| rows.to_string());
        }
    }

    /// Opens the file with the table's types, so that a text `007` stays what it is.
    async fn open(
        &self,
        path: &str,
        schema: &SchemaRef,
        wanted: &[String],
        state: &SessionState,
    ) -> Result<datafusion::datasource::listing::ListingTable> {
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
            let alike = || schema.fields().iter().find(|f| f.name().eq_ignore_ascii_case(field.name()));
            let by_name = schema.fields().iter().find(|f| f.name() == field.name()).or_else(alike);
            let column = if self.format == "CSV" && !self.header {
                schema.field_with_name(&wanted[i]).ok().cloned()
            } else {
                by_name.map(|f| f.as_ref().clone().with_name(field.name()))
            };
            let column = column.unwrap_or_else(|| field.as_ref().clone()).with_nullable(true);
            if self.null.is_some() { column.with_data_type(DataType::Utf8) } else { column }
        });
        let typed: SchemaRef = Arc::new(Schema::new(typed.collect::<Vec<_>>()));
        Ok(external::listing(path, &self.format, &self.raw, Some(typed), state).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_groups_are_small_where_memory_is() {
        let rows = |path: &str, options: &[(&str, &str)], limit: usize| {
            let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let mut options = FileOptions::read(path, options.collect(), Direction::To).unwrap();
            options.bound_groups(&MemoryLimit::Finite(limit));
            options.raw.get("format.max_row_group_size").cloned()
        };
        assert_eq!(rows("t.parquet", &[], 256 << 20).as_deref(), Some("262144"));
        assert_eq!(rows("t.parquet", &[], 16 << 20).as_deref(), Some("65536"));
        assert_eq!(rows("t.parquet", &[], 64 << 30).as_deref(), Some("1048576"));
        let own = [("format.max_row_group_size", "1000")];
        assert_eq!(rows("t.parquet", &own, 256 << 20).as_deref(), Some("1000"));
        assert_eq!(rows("t.csv", &[], 256 << 20), None);
    }
}
