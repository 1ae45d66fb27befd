//! Names in statements and what they stand for.

use datafusion::common::TableReference;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{self, ObjectName};

use crate::engine::schemas::{CATALOG, SYSTEM_SCHEMA};
use crate::engine::sql::fold;
use crate::engine::storage::{DEFAULT_SCHEMA, TableName};
use crate::engine::temporary::{TEMPORARY_SCHEMA, TemporaryTables};
use crate::error::{Error, Result, Subject};

/// The table that a name in a statement stands for.
pub fn table_name(reference: &TableReference) -> Result<TableName> {
    let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA);
    if reference.catalog().is_some_and(|c| c != CATALOG) {
        let message = format!("{reference}: other databases cannot be reached");
        return Err(Error::unsupported(message).with_hint("write the schema and the name: public.sales"));
    }
    if schema == SYSTEM_SCHEMA || schema == "information_schema" {
        let message = format!("{reference} belongs to the system and cannot be changed");
        return Err(Error::input(Subject::Table, message));
    }
    Ok(TableName::new(schema, reference.table()))
}

/// True for the name of a temporary table of the session.
pub fn is_temporary(state: &SessionState, name: &ObjectName) -> Result<bool> {
    let TableName { schema, table } = object_name(name)?;
    let of_session = || TemporaryTables::of(state).is_some_and(|tables| tables.has(&table));
    Ok((schema == DEFAULT_SCHEMA || schema == TEMPORARY_SCHEMA) && of_session())
}

/// As [`object_name`], of a table that is changed as only stored ones can be.
pub fn stored_name(state: &SessionState, name: &ObjectName) -> Result<TableName> {
    let table = object_name(name)?;
    if is_temporary(state, name)? {
        let message =
            format!("{} is a temporary table: it has no indexes and cannot be altered", table.table);
        return Err(Error::unsupported(message).with_hint(format!(
            "make another one of it: CREATE TEMPORARY TABLE other AS SELECT … FROM {}",
            table.table
        )));
    }
    Ok(table)
}

/// The table that a parsed name stands for.
pub fn object_name(name: &ObjectName) -> Result<TableName> {
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
