//! DROP of tables, views and indexes, several at once: all of them go, or none.

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType};

use crate::engine::ddl::command::{Command, Lowered};
use crate::engine::ddl::names::object_name;
use crate::engine::temporary::{TEMPORARY_SCHEMA, TemporaryTables};
use crate::error::{Error, Result};

/// True for the kinds that [`drop_all`] drops.
pub fn is_dropped(kind: &ObjectType) -> bool {
    matches!(kind, ObjectType::Table | ObjectType::View | ObjectType::Index)
}

/// DROP of things of one kind.
pub fn drop_all(
    state: &SessionState,
    kind: &ObjectType,
    names: &[ObjectName],
    if_exists: bool,
) -> Result<Lowered> {
    let named = || names.iter().map(object_name).collect::<Result<_>>();
    let command = match kind {
        ObjectType::Table => drop_tables(state, names, if_exists)?,
        ObjectType::View => Command::DropViews { names: named()?, if_exists },
        ObjectType::Index => Command::DropIndexes { names: named()?, if_exists },
        other => return Err(Error::unsupported(format!("DROP {other} is not supported"))),
    };
    Ok(command.into())
}

/// A temporary table hides a stored one of its name.
fn drop_tables(state: &SessionState, names: &[ObjectName], if_exists: bool) -> Result<Command> {
    let tables = TemporaryTables::of(state).unwrap_or_default();
    let (mut stored, mut temporary) = (vec![], vec![]);
    for written in names {
        let name = object_name(written)?;
        let fits = written.0.len() == 1 || name.schema == TEMPORARY_SCHEMA;
        if fits && tables.has(&name.table) {
            temporary.push(name.table);
        } else {
            stored.push(name);
        }
    }
    Ok(Command::DropTables { stored, temporary, tables, if_exists })
}
