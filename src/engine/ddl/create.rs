//! CREATE TABLE, VIEW and EXTERNAL TABLE, and the columns that ALTER TABLE adds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    CreateExternalTable, CreateMemoryTable, DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, ColumnOption, Ident, TableConstraint};
use futures::StreamExt;

use crate::engine::access::{Actor, FileAccess};
use crate::engine::analysis::{analyzed, with_types};
use crate::engine::ddl::command::{Command, Lowered};
use crate::engine::ddl::keys::take_keys;
use crate::engine::ddl::names::{object_name, table_name};
use crate::engine::ddl::sequence::take_serials;
use crate::engine::ddl::stored::stored;
use crate::engine::external;
use crate::engine::sql::{fold, select_from, shown};
use crate::engine::storage::{
    Acl, Check, ColumnDefinition, ExternalTable, IfExists, TableDefinition, View, told_type,
};
use crate::engine::temporary::{TemporaryDefinition, TemporaryTables, count_from_one};
use crate::error::{Error, ErrorKind, Result, Subject};

/// CREATE EXTERNAL TABLE: the schema is read from the files unless it is given.
pub async fn create_external(state: &SessionState, table: CreateExternalTable) -> Result<Lowered> {
    if !table.table_partition_cols.is_empty() || table.unbounded || table.locations.len() != 1 {
        let message = "CREATE EXTERNAL TABLE takes one location, without PARTITIONED BY and UNBOUNDED";
        return Err(Error::unsupported(message));
    }
    let location = FileAccess::reading(state, &table.locations[0])?;
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
        acl: Acl::of_owner(Actor::of(state).role()),
    };
    let if_exists = if_exists(table.or_replace, table.if_not_exists);
    Ok(Command::CreateExternal { name: table_name(&table.name)?, table: entry, if_exists }.into())
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
pub async fn create_view(state: &SessionState, view: ast::CreateView) -> Result<Lowered> {
    if view.materialized || view.temporary {
        return Err(Error::unsupported(
            "views are neither MATERIALIZED nor TEMPORARY; CREATE TABLE AS stores rows",
        ));
    }
    let query = with_names(view.query, view.columns);
    let sql = query.to_string();
    let query = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
    let plan = state.statement_to_plan(query).await?;
    check_column_names(plan.schema().fields().iter().map(|f| f.name().as_str()))?;
    let name = object_name(&view.name)?;
    let plan = analyzed(state, &with_types(state, plan)?);
    let columns = plan.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let replace = view.or_replace;
    let acl = Acl::of_owner(Actor::of(state).role());
    Ok(Command::CreateView { name, view: View { sql, columns, comment: None, acl }, replace }.into())
}

/// The query with the columns named as the view says.
fn with_names(query: Box<ast::Query>, columns: Vec<ast::ViewColumnDef>) -> ast::Query {
    if columns.is_empty() {
        return *query;
    }
    let named = |column: ast::ViewColumnDef| ast::TableAliasColumnDef { name: column.name, data_type: None };
    let columns = columns.into_iter().map(named).collect();
    let alias = ast::TableAlias { explicit: true, name: Ident::new("v"), columns, at: None };
    let alias = Some(alias);
    select_from(ast::TableFactor::Derived { lateral: false, subquery: query, alias, sample: None }, None)
}

fn check_column_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = vec![];
    for name in names.map(shown) {
        if seen.contains(&name) {
            let message = format!("column {name} is given twice");
            return Err(Error::new(ErrorKind::Exists, Subject::Column, message)
                .with_hint(format!("rename one: {name} AS other")));
        }
        seen.push(name);
    }
    Ok(())
}

/// CREATE TABLE and CREATE TABLE AS: constraints are read here, types and defaults by DataFusion.
pub async fn create_table(state: &SessionState, mut table: ast::CreateTable) -> Result<Lowered> {
    let keys = take_keys(&mut table)?;
    let serials = take_serials(&mut table)?;
    let checks = take_checks(&mut table)?;
    let defaults = column_texts(&table)?;
    let comments = take_comments(&mut table);
    let with_query = table.query.is_some();
    let temporary = std::mem::take(&mut table.temporary);
    let statement = DfStatement::Statement(Box::new(ast::Statement::CreateTable(table)));
    let plan = state.statement_to_plan(statement).await?;
    let LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create)) = plan else {
        return Err(Error::internal("CREATE TABLE has an unexpected plan"));
    };
    let CreateMemoryTable { name, input, if_not_exists, or_replace, column_defaults, .. } = create;
    let input = if with_query { Arc::new(stored(state, &input)?) } else { input };
    let schema: &Schema = input.schema().as_arrow();
    check_column_names(schema.fields().iter().map(|f| f.name().as_str()))?;
    if temporary {
        let mut defaults: HashMap<String, Expr> = column_defaults.into_iter().collect();
        defaults.extend(serials.into_iter().map(|serial| (serial.column, count_from_one())));
        let rest = TemporaryDefinition {
            defaults,
            keys: keys.into_iter().map(|key| key.name).collect(),
            skip: if_not_exists,
        };
        return create_temporary(state, &name, schema, rest, with_query.then_some(&input), &checks);
    }
    let mut definition =
        if with_query { TableDefinition::from_query(schema)? } else { declared(schema, &defaults) };
    definition.checks = checks;
    definition.keys = keys;
    definition.serials = serials;
    definition.owner = Actor::of(state).role();
    for (column, comment) in definition.columns.iter_mut().zip(comments) {
        column.comment = comment;
    }
    let if_exists = if_exists(or_replace, if_not_exists);
    let command = Command::CreateTable { name: table_name(&name)?, definition, if_exists };
    Ok(Lowered::Command(Box::new(command), with_query.then(|| input.as_ref().clone())))
}

/// CREATE TEMPORARY TABLE: rows in memory, for this session only.
fn create_temporary(
    state: &SessionState,
    name: &TableReference,
    schema: &Schema,
    rest: TemporaryDefinition,
    input: Option<&Arc<LogicalPlan>>,
    checks: &[Check],
) -> Result<Lowered> {
    if let Some(check) = checks.iter().find(|check| !check.name.ends_with("_length")) {
        let message = format!("temporary tables do not check rows: CHECK ({}) is not supported", check.sql);
        return Err(Error::unsupported(message));
    }
    let tables =
        TemporaryTables::of(state).ok_or_else(|| Error::internal("the session has no temporary tables"))?;
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_name(shown(field.name())));
    let fields: Vec<_> = fields.map(|f| if input.is_some() { f.with_nullable(true) } else { f }).collect();
    let schema = Arc::new(Schema::new(fields));
    let command = Command::CreateTemporary { name: name.table().to_owned(), schema, tables, rest };
    Ok(Lowered::Command(Box::new(command), input.map(|plan| plan.as_ref().clone())))
}

fn declared(schema: &Schema, defaults: &HashMap<String, String>) -> TableDefinition {
    let columns = schema.fields().iter().map(|field| ColumnDefinition {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        sql_type: told_type(field),
        nullable: field.is_nullable(),
        default_sql: defaults.get(field.name()).cloned(),
        comment: None,
    });
    TableDefinition { columns: columns.collect(), ..TableDefinition::default() }
}

/// Removes CHECK from the statement and refuses constraints that would not be enforced.
fn take_checks(table: &mut ast::CreateTable) -> Result<Vec<Check>> {
    let label = table.name.to_string();
    let mut checks: Vec<Check> = table.columns.iter().filter_map(|c| length_check(&label, c)).collect();
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

/// The check that keeps the texts of VARCHAR(n) and CHAR(n) that short.
fn length_check(table: &str, column: &ast::ColumnDef) -> Option<Check> {
    use ast::DataType::{Char, CharVarying, Character, CharacterVarying, Nvarchar, Varchar};
    let (Char(length)
    | Character(length)
    | CharVarying(length)
    | CharacterVarying(length)
    | Varchar(length)
    | Nvarchar(length)) = &column.data_type
    else {
        return None;
    };
    let length = match length {
        Some(ast::CharacterLength::IntegerLength { length, .. }) => *length,
        None if matches!(column.data_type, Char(_) | Character(_)) => 1,
        _ => return None,
    };
    let name = format!("{table}_{}_length", fold(&column.name));
    Some(Check { name, sql: format!("char_length({}) <= {length}", column.name) })
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

/// Plans the column as a table of its own, to read its type and default as CREATE TABLE does.
pub async fn added_column(
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
    if length_check("", &column).is_some() {
        let message = format!("ADD COLUMN {column}: a length is kept by CREATE TABLE only");
        return Err(Error::unsupported(message).with_hint("leave the length away: TEXT has no limit"));
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
        sql_type: told_type(field),
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
