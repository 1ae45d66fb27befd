//! From statements to commands: names resolved, types and constraints read, files looked at.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::DdlStatement;
use datafusion::sql::sqlparser::ast::ObjectName;

use crate::engine::access::Actor;
use crate::engine::ddl::client_copy::{copy_from_client, copy_to_client};
use crate::engine::ddl::command::{Command, Lowered};
use crate::engine::ddl::copy::{copy_from, copy_to};
use crate::engine::ddl::create::{added_column, create_external};
use crate::engine::ddl::names::{is_temporary, object_name, stored_name};
use crate::engine::ddl::{role, sequence};
use crate::engine::shared::Engine;
use crate::engine::sql::{CommandStatement, Commented, Copy, End, TableChange, fold};
use crate::engine::storage::{Acl, Entry, TableName};
use crate::error::{Error, Result};

/// Lowers what DataFusion planned of DDL.
pub async fn lower(state: &SessionState, ddl: DdlStatement) -> Result<Lowered> {
    Ok(match ddl {
        DdlStatement::CreateExternalTable(table) => return create_external(state, *table).await,
        DdlStatement::CreateCatalogSchema(s) => {
            let name = s.schema_name.rsplit('.').next().unwrap_or(&s.schema_name).to_owned();
            Command::CreateSchema { name, if_not_exists: s.if_not_exists }.into()
        }
        DdlStatement::DropCatalogSchema(s) => {
            let name = s.name.schema_name().to_owned();
            Command::DropSchema { name, if_exists: s.if_exists, cascade: s.cascade }.into()
        }
        other => return Err(Error::unsupported(format!("{} is not supported", other.name()))),
    })
}

/// Lowers one of our own commands.
pub async fn lower_command(
    engine: &Arc<Engine>,
    state: &SessionState,
    command: CommandStatement,
) -> Result<Lowered> {
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
            Commented::Constraint(table, constraint) => Command::CommentConstraint {
                table: object_name(&table)?,
                constraint: fold(&constraint),
                text,
            },
            Commented::Column(table, column) => {
                Command::CommentTable { table: object_name(&table)?, column: Some(fold(&column)), text }
            }
        },
        CommandStatement::CancelTraining(job) => Command::CancelTraining { job, actor: Actor::of(state) },
        CommandStatement::CreateSequence { name, data_type, options, if_not_exists } => {
            let mut sequence = sequence::declared(data_type.as_ref(), &options)?;
            sequence.acl = Acl::of_owner(Actor::of(state).role());
            Command::CreateSequence { name: object_name(&name)?, sequence, if_not_exists }
        }
        CommandStatement::CreateExtension { name, if_not_exists } => {
            Command::CreateExtension { name: fold(&name), if_not_exists }
        }
        CommandStatement::DropSequences { names, if_exists } => {
            let names = names.iter().map(object_name).collect::<Result<_>>()?;
            Command::DropSequences { names, if_exists }
        }
        CommandStatement::Role(statement) => role::lower(engine, &Actor::of(state), statement)?,
        CommandStatement::Copy(copy) => return lower_copy(engine, state, copy).await,
        CommandStatement::Vacuum { tables, retain_hours } => {
            let all = tables.is_empty();
            let tables = if all { own_tables(engine, &Actor::of(state))? } else { stored(state, &tables)? };
            Command::Vacuum { tables, all, retain_hours }
        }
        CommandStatement::Analyze { tables } => Command::Analyze { tables: stored(state, &tables)? },
        CommandStatement::Optimize { table, cluster_by } => {
            let columns: Vec<String> = cluster_by.iter().map(fold).collect();
            Command::Optimize {
                table: object_name(&table)?,
                cluster_by: Some(columns).filter(|c| !c.is_empty()),
            }
        }
    };
    Ok(command.into())
}

/// The tables of these names that are not temporary: for those there is nothing to maintain.
fn stored(state: &SessionState, names: &[ObjectName]) -> Result<Vec<TableName>> {
    let temporary = |name: &&ObjectName| is_temporary(state, name).map(|is| !is).unwrap_or(true);
    names.iter().filter(temporary).map(object_name).collect()
}

/// The stored tables that whoever acts owns.
fn own_tables(engine: &Engine, actor: &Actor) -> Result<Vec<TableName>> {
    let (contents, rights) = (engine.catalog.contents()?, actor.rights(&engine.catalog)?);
    let schemas = contents.schemas.iter();
    let entries = schemas.flat_map(|(name, schema)| schema.entries.iter().map(move |entry| (name, entry)));
    let own = entries.filter(|(_, (_, entry))| matches!(entry, Entry::Table(_)) && rights.owns(entry.acl()));
    Ok(own.map(|(schema, (table, _))| TableName::new(schema, table)).collect())
}

async fn lower_copy(engine: &Arc<Engine>, state: &SessionState, copy: Copy) -> Result<Lowered> {
    match copy {
        Copy::To { query, end: End::File(path), partitioned_by, options } => {
            copy_to(state, query, path, &partitioned_by, options).await
        }
        Copy::To { query, end: End::Client, options, .. } => copy_to_client(state, query, options).await,
        Copy::From { table, columns, end: End::File(path), options } => {
            copy_from(engine, state, &object_name(&table)?, &columns, &path, options).await
        }
        Copy::From { table, columns, end: End::Client, options } => {
            copy_from_client(engine, state, &object_name(&table)?, &columns, options).await
        }
    }
}

async fn alter_table(state: &SessionState, name: &ObjectName, change: TableChange) -> Result<Command> {
    let table = stored_name(state, name)?;
    Ok(match change {
        TableChange::Rename(to) => {
            let mut new = object_name(&to)?;
            // A name without a schema stays where it is.
            if to.0.len() == 1 {
                new.schema.clone_from(&table.schema);
            }
            Command::RenameTable { from: table, to: new }
        }
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
