//! From statements to commands: names resolved, types and constraints read, files looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    CreateExternalTable, CreateMemoryTable, DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast, ident,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, ColumnOption, Ident, ObjectName, TableConstraint};
use futures::StreamExt;

use crate::engine::database::Engine;
use crate::engine::ddl::Command;
use crate::engine::external;
use crate::engine::plan::CommandNode;
use crate::engine::query::Tag;
use crate::engine::schemas::{CATALOG, SYSTEM_SCHEMA};
use crate::engine::sql::{CommandStatement, Commented, TableChange};
use crate::engine::storage::{
    Check, ColumnDefinition, DEFAULT_SCHEMA, ExternalTable, IfExists, TableDefinition, TableName, View,
};
use crate::error::{Error, Result, Subject};

/// A plan and how its tag is made.
type Planned = (LogicalPlan, Tag);

/// An identifier as SQL reads it: folded to lower case unless quoted.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn planned(command: Command, input: Option<LogicalPlan>) -> Result<Planned> {
    let tag = command.tag(input.is_some());
    Ok((CommandNode::new(command, input)?.into_plan(), tag))
}

/// The table that a name in a statement stands for.
pub fn table_name(reference: &TableReference) -> Result<TableName> {
    let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA);
    if reference.catalog().is_some_and(|c| c != CATALOG) {
        let message = format!("{reference}: there is one catalog, {CATALOG}");
        return Err(Error::not_found(Subject::Schema, message));
    }
    if schema == SYSTEM_SCHEMA || schema == "information_schema" {
        let message = format!("{reference} belongs to the system and cannot be changed");
        return Err(Error::input(Subject::Table, message));
    }
    Ok(TableName::new(schema, reference.table()))
}

fn object_name(name: &ObjectName) -> Result<TableName> {
    let mut parts = vec![];
    for part in &name.0 {
        match part {
            ast::ObjectNamePart::Identifier(ident) => parts.push(fold(ident)),
            other => return Err(Error::input(Subject::Table, format!("{other} is not a name of a table"))),
        }
    }
    let reference = match parts.as_slice() {
        [table] => TableReference::bare(table.as_str()),
        [schema, table] => TableReference::partial(schema.as_str(), table.as_str()),
        [catalog, schema, table] => TableReference::full(catalog.as_str(), schema.as_str(), table.as_str()),
        _ => return Err(Error::input(Subject::Table, format!("{name} is not a name of a table"))),
    };
    table_name(&reference)
}

/// Lowers what DataFusion planned of DDL; other plans come back as they are.
pub async fn lower(state: &SessionState, ddl: DdlStatement) -> Result<Planned> {
    match ddl {
        DdlStatement::CreateExternalTable(table) => create_external(state, *table).await,
        DdlStatement::CreateCatalogSchema(s) => {
            let name = s.schema_name.rsplit('.').next().unwrap_or(&s.schema_name).to_owned();
            planned(Command::CreateSchema { name, if_not_exists: s.if_not_exists }, None)
        }
        DdlStatement::DropTable(t) => {
            planned(Command::DropTable { name: table_name(&t.name)?, if_exists: t.if_exists }, None)
        }
        DdlStatement::DropView(v) => {
            planned(Command::DropView { name: table_name(&v.name)?, if_exists: v.if_exists }, None)
        }
        DdlStatement::DropCatalogSchema(s) => {
            let name = s.name.schema_name().to_owned();
            planned(Command::DropSchema { name, if_exists: s.if_exists, cascade: s.cascade }, None)
        }
        other => Err(Error::unsupported(format!("{} is not supported", other.name()))),
    }
}

async fn create_external(state: &SessionState, table: CreateExternalTable) -> Result<Planned> {
    if !table.table_partition_cols.is_empty() || table.unbounded || table.locations.len() != 1 {
        let message = "CREATE EXTERNAL TABLE takes one location, without PARTITIONED BY and UNBOUNDED";
        return Err(Error::unsupported(message));
    }
    let location = table.locations[0].clone();
    let given = table.schema.inner();
    let schema = if given.fields().is_empty() {
        use datafusion::catalog::TableProvider;
        external::listing(&location, &table.file_type, &table.options, None, state).await?.schema()
    } else {
        Arc::clone(given)
    };
    let entry = ExternalTable {
        location: absolute(&location),
        format: table.file_type.to_uppercase(),
        options: table.options.into_iter().collect::<BTreeMap<_, _>>(),
        schema: Some(schema.as_ref().clone()),
        definition: table.definition.unwrap_or_default(),
        comment: None,
    };
    let if_exists = if_exists(table.or_replace, table.if_not_exists);
    planned(Command::CreateExternal { name: table_name(&table.name)?, table: entry, if_exists }, None)
}

/// The path from the root, so that the table is found from any working directory.
fn absolute(location: &str) -> String {
    let slash = if location.ends_with('/') { "/" } else { "" };
    match std::path::absolute(location) {
        Ok(path) if !location.contains("://") => {
            format!("{}{slash}", path.display().to_string().trim_end_matches('/'))
        }
        _ => location.to_owned(),
    }
}

fn if_exists(or_replace: bool, if_not_exists: bool) -> IfExists {
    match (or_replace, if_not_exists) {
        (true, _) => IfExists::Replace,
        (_, true) => IfExists::Skip,
        _ => IfExists::Fail,
    }
}

/// CREATE VIEW: the text of its query is kept, and planned once to see that it is right.
pub async fn create_view(state: &SessionState, view: ast::CreateView) -> Result<Planned> {
    if view.materialized || view.temporary {
        return Err(Error::unsupported(
            "views are neither MATERIALIZED nor TEMPORARY; CREATE TABLE AS stores rows",
        ));
    }
    let columns: Vec<String> = view.columns.iter().map(|c| c.name.to_string()).collect();
    let sql = match columns.len() {
        0 => view.query.to_string(),
        _ => format!("SELECT * FROM ({}) AS v({})", view.query, columns.join(", ")),
    };
    let query = state.sql_to_statement(&sql, &datafusion::config::Dialect::PostgreSQL)?;
    let plan = state.statement_to_plan(query).await?;
    check_column_names(plan.schema().fields().iter().map(|f| f.name().as_str()))?;
    let name = object_name(&view.name)?;
    planned(Command::CreateView { name, view: View { sql, comment: None }, replace: view.or_replace }, None)
}

fn check_column_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = vec![];
    for name in names {
        if seen.contains(&name) {
            let message = format!("column {name} is given twice");
            return Err(
                Error::input(Subject::Column, message).with_hint(format!("rename one: {name} AS other"))
            );
        }
        seen.push(name);
    }
    Ok(())
}

/// CREATE TABLE and CREATE TABLE AS: constraints are read here, types and defaults by DataFusion.
pub async fn create_table(state: &SessionState, mut table: ast::CreateTable) -> Result<Planned> {
    let checks = take_checks(&mut table)?;
    let defaults = column_texts(&table)?;
    let comments = take_comments(&mut table);
    let with_query = table.query.is_some();
    let statement = DfStatement::Statement(Box::new(ast::Statement::CreateTable(table)));
    let plan = state.statement_to_plan(statement).await?;
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) = plan else {
        return Err(Error::internal("CREATE TABLE has an unexpected plan"));
    };
    let CreateMemoryTable { name, input, if_not_exists, or_replace, .. } = create;
    let schema: &Schema = input.schema().as_arrow();
    check_column_names(schema.fields().iter().map(|f| f.name().as_str()))?;
    let mut definition =
        if with_query { TableDefinition::from_query(schema)? } else { declared(schema, &defaults) };
    definition.checks = checks;
    for (column, comment) in definition.columns.iter_mut().zip(comments) {
        column.comment = comment;
    }
    let if_exists = if_exists(or_replace, if_not_exists);
    let command = Command::CreateTable { name: table_name(&name)?, definition, if_exists };
    planned(command, with_query.then(|| input.as_ref().clone()))
}

fn declared(schema: &Schema, defaults: &HashMap<String, String>) -> TableDefinition {
    let columns = schema.fields().iter().map(|field| ColumnDefinition {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        nullable: field.is_nullable(),
        default_sql: defaults.get(field.name()).cloned(),
        comment: None,
    });
    TableDefinition { columns: columns.collect(), ..TableDefinition::default() }
}

/// Removes CHECK from the statement and refuses constraints that would not be enforced.
fn take_checks(table: &mut ast::CreateTable) -> Result<Vec<Check>> {
    let mut checks = vec![];
    let label = table.name.to_string();
    let mut add = |name: Option<&Ident>, column: Option<&Ident>, expr: &ast::Expr| {
        let base = match column {
            Some(column) => format!("{}_{}_check", label, fold(column)),
            None => format!("{label}_check"),
        };
        let taken = checks.iter().filter(|c: &&Check| c.name.starts_with(&base)).count();
        let numbered = if taken == 0 { base } else { format!("{base}{taken}") };
        checks.push(Check { name: name.map_or(numbered, fold), sql: expr.to_string() });
    };
    for column in &mut table.columns {
        let mut kept = vec![];
        for option in std::mem::take(&mut column.options) {
            match &option.option {
                ColumnOption::Check(check) => add(option.name.as_ref(), Some(&column.name), &check.expr),
                ColumnOption::Null
                | ColumnOption::NotNull
                | ColumnOption::Default(_)
                | ColumnOption::Comment(_) => {
                    kept.push(option);
                }
                other => return Err(not_enforced(&other.to_string())),
            }
        }
        column.options = kept;
    }
    for constraint in std::mem::take(&mut table.constraints) {
        match &constraint {
            TableConstraint::Check(check) => add(check.name.as_ref(), None, &check.expr),
            other => return Err(not_enforced(&other.to_string())),
        }
    }
    Ok(checks)
}

fn not_enforced(constraint: &str) -> Error {
    Error::unsupported(format!("{constraint} is not supported: tables enforce NOT NULL and CHECK"))
        .with_hint("leave it out; SELECT key, count(*) … GROUP BY key HAVING count(*) > 1 finds duplicates")
}

/// The texts of DEFAULT by column.
fn column_texts(table: &ast::CreateTable) -> Result<HashMap<String, String>> {
    let mut texts = HashMap::new();
    for column in &table.columns {
        for option in &column.options {
            if let ColumnOption::Default(expr) = &option.option {
                texts.insert(fold(&column.name), expr.to_string());
            }
        }
    }
    Ok(texts)
}

fn take_comments(table: &mut ast::CreateTable) -> Vec<Option<String>> {
    table
        .columns
        .iter_mut()
        .map(|column| {
            let at = column.options.iter().position(|o| matches!(o.option, ColumnOption::Comment(_)))?;
            match column.options.remove(at).option {
                ColumnOption::Comment(text) => Some(text),
                _ => None,
            }
        })
        .collect()
}

/// Lowers one of our own commands.
pub async fn lower_command(
    engine: &Arc<Engine>,
    state: &SessionState,
    command: CommandStatement,
) -> Result<Planned> {
    let command = match command {
        CommandStatement::DropModel { name, if_exists } => {
            Command::DropModel { name: fold(&name), if_exists }
        }
        CommandStatement::AlterModel { name, change } => Command::AlterModel { name: fold(&name), change },
        CommandStatement::AlterTable { name, change } => alter_table(state, &name, change).await?,
        CommandStatement::Comment { on, text } => match on {
            Commented::Model(name) => Command::CommentModel { name: fold(&name), text },
            Commented::Table(name) => {
                Command::CommentTable { table: object_name(&name)?, column: None, text }
            }
            Commented::Column(table, column) => {
                Command::CommentTable { table: object_name(&table)?, column: Some(fold(&column)), text }
            }
        },
        CommandStatement::CopyFrom { table, columns, path, options } => {
            return copy_from(engine, state, &object_name(&table)?, &columns, &path, options).await;
        }
        CommandStatement::Vacuum { table, retain_hours } => {
            Command::Vacuum { table: object_name(&table)?, retain_hours }
        }
        CommandStatement::Optimize { table, cluster_by } => {
            let columns: Vec<String> = cluster_by.iter().map(fold).collect();
            Command::Optimize {
                table: object_name(&table)?,
                cluster_by: Some(columns).filter(|c| !c.is_empty()),
            }
        }
    };
    planned(command, None)
}

async fn alter_table(state: &SessionState, name: &ObjectName, change: TableChange) -> Result<Command> {
    let table = object_name(name)?;
    Ok(match change {
        TableChange::Rename(to) => Command::RenameTable { from: table, to: object_name(&to)? },
        TableChange::RenameColumn { from, to } => {
            Command::RenameColumn { table, from: fold(&from), to: fold(&to) }
        }
        TableChange::DropColumn { column, if_exists } => {
            Command::DropColumn { table, column: fold(&column), if_exists }
        }
        TableChange::AddColumn { column, if_not_exists } => {
            let (column, fill) = added_column(state, *column).await?;
            Command::AddColumn { table, column, fill, if_not_exists }
        }
    })
}

/// Plans the column as a table of its own, to read its type and default as CREATE TABLE does.
async fn added_column(
    state: &SessionState,
    column: ast::ColumnDef,
) -> Result<(ColumnDefinition, Option<ScalarValue>)> {
    if let Some(other) = column
        .options
        .iter()
        .find(|o| !matches!(o.option, ColumnOption::Null | ColumnOption::NotNull | ColumnOption::Default(_)))
    {
        return Err(not_enforced(&other.option.to_string()));
    }
    let sql = format!("CREATE TABLE added ({column})");
    let statement = state.sql_to_statement(&sql, &datafusion::config::Dialect::PostgreSQL)?;
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) =
        state.statement_to_plan(statement).await?
    else {
        return Err(Error::internal("a column has an unexpected plan"));
    };
    let schema = create.input.schema().as_arrow();
    let field = schema.field(0);
    let texts = column.options.iter().find_map(|o| match &o.option {
        ColumnOption::Default(expr) => Some(expr.to_string()),
        _ => None,
    });
    let fill = match create.column_defaults.into_iter().next() {
        Some((_, expr)) => Some(evaluate(state, expr, field.data_type()).await?),
        None => None,
    };
    let definition = ColumnDefinition {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        nullable: field.is_nullable(),
        default_sql: texts,
        comment: None,
    };
    Ok((definition, fill))
}

/// The value of a constant expression.
async fn evaluate(state: &SessionState, expr: Expr, data_type: &DataType) -> Result<ScalarValue> {
    let plan = LogicalPlanBuilder::empty(true)
        .project(vec![cast(expr, data_type.clone()).alias("value")])?
        .build()?;
    let physical = state.create_physical_plan(&plan).await?;
    let mut rows = datafusion::physical_plan::execute_stream(physical, state.task_ctx())?;
    match rows.next().await.transpose()? {
        Some(batch) if batch.num_rows() == 1 => Ok(ScalarValue::try_from_array(batch.column(0), 0)?),
        _ => Err(Error::internal("a default has no value")),
    }
}

/// COPY FROM a file: an INSERT of its rows, columns matched by name where the file has names.
async fn copy_from(
    engine: &Arc<Engine>,
    state: &SessionState,
    table: &TableName,
    columns: &[Ident],
    path: &str,
    options: Vec<(String, String)>,
) -> Result<Planned> {
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
    Ok((plan, Tag::Count("COPY")))
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
