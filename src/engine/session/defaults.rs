//! DEFAULT as a value: `VALUES (1, DEFAULT)`, `DEFAULT VALUES` and `SET column = DEFAULT`.

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, Expr, Ident, ObjectName, SelectItem, SetExpr, TableFactor, TableObject,
};
use datafusion::sql::sqlparser::parser::Parser;

use crate::engine::ddl::object_name;
use crate::engine::dialect::PlainDialect;
use crate::engine::shared::Engine;
use crate::engine::sql::{self, fold};
use crate::engine::storage::{Column, DEFAULT_SCHEMA, Entry};
use crate::error::{Error, Result, Subject};

/// Puts the texts of defaults where a statement, or the one that EXPLAIN explains, says DEFAULT.
pub fn with_defaults(engine: &Engine, statement: &mut DfStatement) -> Result<()> {
    match statement {
        DfStatement::Statement(inner) => in_statement(engine, inner),
        DfStatement::Explain(explain) => with_defaults(engine, &mut explain.statement),
        _ => Ok(()),
    }
}

fn in_statement(engine: &Engine, statement: &mut ast::Statement) -> Result<()> {
    match statement {
        ast::Statement::Insert(insert) => {
            let TableObject::TableName(name) = &insert.table else { return Ok(()) };
            let name = &name.clone();
            if insert.source.is_none() {
                return default_values(&columns_of(engine, name)?, insert);
            }
            name_columns(engine, name, insert)?;
            let Some(SetExpr::Values(values)) = insert.source.as_mut().map(|query| query.body.as_mut())
            else {
                return Ok(());
            };
            if !values.rows.iter().any(|row| row.content.iter().any(is_default)) {
                return Ok(());
            }
            let columns = columns_of(engine, name)?;
            let given: Vec<String> =
                insert.columns.iter().filter_map(|c| c.0.last()?.as_ident().map(fold)).collect();
            let wanted = |n: usize| match given.is_empty() {
                true => columns.get(n),
                false => given.get(n).and_then(|name| columns.iter().find(|column| column.name == *name)),
            };
            for row in &mut values.rows {
                for (n, value) in row.content.iter_mut().enumerate().filter(|(_, value)| is_default(value)) {
                    *value = default_of(wanted(n))?;
                }
            }
        }
        ast::Statement::Update(update) => {
            let TableFactor::Table { name, .. } = &update.table.relation else { return Ok(()) };
            if !update.assignments.iter().any(|assignment| is_default(&assignment.value)) {
                return Ok(());
            }
            let columns = columns_of(engine, name)?;
            for assignment in update.assignments.iter_mut().filter(|a| is_default(&a.value)) {
                let AssignmentTarget::ColumnName(target) = &assignment.target else { continue };
                let target = target.0.last().and_then(|part| part.as_ident()).map(fold);
                assignment.value = default_of(columns.iter().find(|c| Some(&c.name) == target.as_ref()))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// An INSERT of fewer values than the table has columns is into the first of them.
fn name_columns(engine: &Engine, name: &ObjectName, insert: &mut ast::Insert) -> Result<()> {
    let given = insert.source.as_ref().and_then(|query| width(&query.body));
    let (Some(given), columns) = (given, columns_of(engine, name)?) else { return Ok(()) };
    if columns.is_empty() {
        return Ok(());
    }
    let targets = if insert.columns.is_empty() { columns.len() } else { insert.columns.len() };
    if given > targets {
        return Err(Error::input(Subject::Syntax, "INSERT has more expressions than target columns"));
    }
    if given < insert.columns.len() {
        return Err(Error::input(Subject::Syntax, "INSERT has more target columns than expressions"));
    }
    if insert.columns.is_empty() && given < targets {
        let name = |column: &Column| ObjectName::from(vec![Ident::with_quote('"', &column.name)]);
        insert.columns = columns.iter().take(given).map(name).collect();
    }
    Ok(())
}

/// How many values a row of a query has, where its text tells.
fn width(body: &SetExpr) -> Option<usize> {
    let is_one =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    match body {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Select(select) => select.projection.iter().all(is_one).then_some(select.projection.len()),
        SetExpr::Query(query) => width(&query.body),
        SetExpr::SetOperation { left, .. } => width(left),
        _ => None,
    }
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && fold(name) == "default")
}

/// `DEFAULT VALUES`: one row in which the first column is told what it would be anyway.
fn default_values(columns: &[Column], insert: &mut ast::Insert) -> Result<()> {
    let Some(first) = columns.first() else { return Ok(()) };
    insert.columns = vec![ObjectName::from(vec![Ident::with_quote('"', &first.name)])];
    let value = default_of(Some(first))?;
    let row = format!("VALUES ({value})");
    let query =
        Parser::new(&PlainDialect::of(&row)).try_with_sql(&row).and_then(|mut parser| parser.parse_query());
    insert.source = Some(query.map_err(|e| Error::internal(format!("a default has no row: {e}")))?);
    Ok(())
}

/// The columns of a stored table; none for others, whose planning tells what is wrong.
fn columns_of(engine: &Engine, name: &ObjectName) -> Result<Vec<Column>> {
    match engine.catalog.find(&object_name(name)?)? {
        Some(Entry::Table(table)) => Ok(table.live_columns().cloned().collect()),
        _ => Ok(vec![]),
    }
}

/// The value of a column that is not given.
fn default_of(column: Option<&Column>) -> Result<Expr> {
    let text = column.and_then(|column| column.default_sql.as_deref()).unwrap_or("NULL");
    let mut value = Parser::new(&PlainDialect::of(text))
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|e| Error::internal(format!("default {text}: {e}")))?;
    // Where a default names no schema it means this one, whatever the search path of the session.
    let _ = ast::visit_expressions_mut(&mut value, |expr| {
        sql::qualify_sequences(expr, &|_| Some(DEFAULT_SCHEMA.to_owned()));
        std::ops::ControlFlow::<()>::Continue(())
    });
    Ok(value)
}
