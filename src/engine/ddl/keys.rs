//! PRIMARY KEY, UNIQUE and FOREIGN KEY: kept for tools, rows are not checked against them.

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{self, ColumnOption, Ident, TableConstraint};

use crate::engine::ddl::command::{Command, Lowered};
use crate::engine::ddl::names::{object_name, stored_name};
use crate::engine::sql::{fold, last_word};
use crate::engine::storage::{Key, KeyKind};
use crate::error::{Error, Result};

/// Removes keys from the statement; the columns of a primary key must not be NULL.
pub fn take_keys(table: &mut ast::CreateTable) -> Result<Vec<Key>> {
    let label = last_word(&table.name).unwrap_or_default();
    let mut keys = vec![];
    for column in &mut table.columns {
        let own = [fold(&column.name)];
        for option in std::mem::take(&mut column.options) {
            match declared_key(&label, option.name.as_ref(), &option.option, &own)? {
                Some(key) => keys.push(key),
                None => column.options.push(option),
            }
        }
    }
    for constraint in std::mem::take(&mut table.constraints) {
        match table_key(&label, &constraint)? {
            Some(key) => keys.push(key),
            None => table.constraints.push(constraint),
        }
    }
    for key in keys.iter().filter(|key| key.kind == KeyKind::Primary) {
        for column in table.columns.iter_mut().filter(|column| key.columns.contains(&fold(&column.name))) {
            require(column);
        }
    }
    Ok(keys)
}

/// Makes a column NOT NULL.
pub fn require(column: &mut ast::ColumnDef) {
    column.options.push(ast::ColumnOptionDef { name: None, option: ColumnOption::NotNull });
}

/// A key that stands behind its column.
fn declared_key(
    table: &str,
    name: Option<&Ident>,
    option: &ColumnOption,
    columns: &[String],
) -> Result<Option<Key>> {
    Ok(match option {
        ColumnOption::PrimaryKey(_) => Some(key(table, name, KeyKind::Primary, columns, None)),
        ColumnOption::Unique(_) => Some(key(table, name, KeyKind::Unique, columns, None)),
        ColumnOption::ForeignKey(foreign) => {
            Some(key(table, name, KeyKind::Foreign, columns, Some(references(foreign)?)))
        }
        _ => None,
    })
}

fn indexed(columns: &[ast::IndexColumn]) -> Result<Vec<String>> {
    let name =
        |column: &ast::IndexColumn| match &column.column.expr {
            ast::Expr::Identifier(name) => Ok(fold(name)),
            other => Err(Error::unsupported(format!("a key of {other} is not supported"))
                .with_hint("keys are of columns")),
        };
    columns.iter().map(name).collect()
}

/// CREATE INDEX.
pub fn create_index(state: &SessionState, index: &ast::CreateIndex) -> Result<Lowered> {
    if index.predicate.is_some() {
        return Err(Error::unsupported("an index of some rows is not supported: leave WHERE away"));
    }
    let table = stored_name(state, &index.table_name)?;
    let kind = if index.unique { KeyKind::UniqueIndex } else { KeyKind::Index };
    let name = index.name.as_ref().and_then(|name| name.0.last()?.as_ident());
    let key = key(&table.table, name, kind, &indexed(&index.columns)?, None);
    Ok(Command::CreateIndex { table, key, if_not_exists: index.if_not_exists }.into())
}

/// A key that stands behind the columns.
fn table_key(table: &str, constraint: &TableConstraint) -> Result<Option<Key>> {
    Ok(match constraint {
        TableConstraint::PrimaryKey(primary) => {
            let columns = indexed(&primary.columns)?;
            Some(key(table, primary.name.as_ref(), KeyKind::Primary, &columns, None))
        }
        TableConstraint::Unique(unique) => {
            let columns = indexed(&unique.columns)?;
            Some(key(table, unique.name.as_ref(), KeyKind::Unique, &columns, None))
        }
        TableConstraint::ForeignKey(foreign) => {
            let columns: Vec<String> = foreign.columns.iter().map(fold).collect();
            let references = Some(references(foreign)?);
            Some(key(table, foreign.name.as_ref(), KeyKind::Foreign, &columns, references))
        }
        _ => None,
    })
}

fn references(foreign: &ast::ForeignKeyConstraint) -> Result<(String, String, Vec<String>)> {
    let table = object_name(&foreign.foreign_table)?;
    Ok((table.schema, table.table, foreign.referred_columns.iter().map(fold).collect()))
}

/// A key with the name that PostgreSQL would give it.
fn key(
    table: &str,
    name: Option<&Ident>,
    kind: KeyKind,
    columns: &[String],
    references: Option<(String, String, Vec<String>)>,
) -> Key {
    let own = || match kind {
        KeyKind::Primary => format!("{table}_pkey"),
        KeyKind::Unique => format!("{table}_{}_key", columns.join("_")),
        KeyKind::Foreign => format!("{table}_{}_fkey", columns.join("_")),
        KeyKind::Index | KeyKind::UniqueIndex => format!("{table}_{}_idx", columns.join("_")),
    };
    Key { name: name.map_or_else(own, fold), kind, columns: columns.to_vec(), references }
}
