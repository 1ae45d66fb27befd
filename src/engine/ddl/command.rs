//! The commands and where each is carried out.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;

use crate::engine::access::Actor;
use crate::engine::ddl::role::{Objects, RoleChange};
use crate::engine::ddl::{model, role, table};
use crate::engine::query::{ClientCopy, QueryContext, Tag};
use crate::engine::shared::Engine;
use crate::engine::sql::ModelChange;
use crate::engine::storage::{
    AclTarget, ColumnDefinition, Entry, ExternalTable, IfExists, Key, Privilege, Sequence, TableDefinition,
    TableName, View,
};
use crate::engine::temporary::{TemporaryDefinition, TemporaryTables};
use crate::error::{Error, ErrorKind, Result};

/// One change; names are resolved and everything that can be checked without doing it is checked.
#[derive(Debug, Clone)]
pub enum Command {
    /// CREATE TABLE, with or without the rows of a query.
    CreateTable { name: TableName, definition: TableDefinition, if_exists: IfExists },
    /// CREATE TEMPORARY TABLE, with or without the rows of a query.
    CreateTemporary {
        name: String,
        schema: SchemaRef,
        tables: Arc<TemporaryTables>,
        rest: TemporaryDefinition,
    },
    /// CREATE EXTERNAL TABLE.
    CreateExternal { name: TableName, table: ExternalTable, if_exists: IfExists },
    /// CREATE VIEW.
    CreateView { name: TableName, view: View, replace: bool },
    /// CREATE SEQUENCE.
    CreateSequence { name: TableName, sequence: Sequence, if_not_exists: bool },
    /// CREATE INDEX.
    CreateIndex { table: TableName, key: Key, if_not_exists: bool },
    /// DROP INDEX.
    DropIndexes { names: Vec<TableName>, if_exists: bool },
    /// CREATE EXTENSION.
    CreateExtension { name: String, if_not_exists: bool },
    /// DROP SEQUENCE.
    DropSequences { names: Vec<TableName>, if_exists: bool },
    /// CREATE SCHEMA.
    CreateSchema { name: String, if_not_exists: bool },
    /// DROP TABLE, of stored or external tables, and of temporary ones.
    DropTables {
        stored: Vec<TableName>,
        temporary: Vec<String>,
        tables: Arc<TemporaryTables>,
        if_exists: bool,
    },
    /// DROP VIEW.
    DropViews { names: Vec<TableName>, if_exists: bool },
    /// DROP SCHEMA.
    DropSchema { name: String, if_exists: bool, cascade: bool },
    /// ALTER TABLE ADD COLUMN.
    AddColumn {
        table: TableName,
        column: ColumnDefinition,
        fill: Option<datafusion::scalar::ScalarValue>,
        if_not_exists: bool,
    },
    /// ALTER TABLE DROP COLUMN.
    DropColumn { table: TableName, column: String, if_exists: bool },
    /// ALTER TABLE RENAME COLUMN.
    RenameColumn { table: TableName, from: String, to: String },
    /// ALTER TABLE RENAME TO.
    RenameTable { from: TableName, to: TableName },
    /// COMMENT ON TABLE or COLUMN.
    CommentTable { table: TableName, column: Option<String>, text: Option<String> },
    /// COMMENT ON CONSTRAINT.
    CommentConstraint { table: TableName, constraint: String, text: Option<String> },
    /// VACUUM.
    Vacuum { tables: Vec<TableName>, all: bool, retain_hours: Option<u64> },
    /// ANALYZE, for which there is nothing to do: what is known of rows is kept with every change of them.
    Analyze { tables: Vec<TableName> },
    /// OPTIMIZE.
    Optimize { table: TableName, cluster_by: Option<Vec<String>> },
    /// DROP MODEL.
    DropModel { name: String, if_exists: bool },
    /// ALTER MODEL.
    AlterModel { name: String, change: ModelChange },
    /// CANCEL TRAINING, by its number.
    CancelTraining { job: u64, actor: Arc<Actor> },
    /// COMMENT ON MODEL.
    CommentModel { name: String, text: Option<String> },
    /// CREATE ROLE.
    CreateRole { name: String, change: RoleChange },
    /// ALTER ROLE.
    AlterRole { name: String, change: RoleChange },
    /// DROP ROLE.
    DropRoles { names: Vec<String>, if_exists: bool },
    /// GRANT role TO role, or REVOKE.
    ChangeMembers { groups: Vec<String>, members: Vec<String>, revoke: bool },
    /// GRANT of rights, or REVOKE.
    ChangeGrants { on: Objects, privileges: Vec<Privilege>, roles: Vec<String>, revoke: bool },
    /// ALTER … OWNER TO.
    ChangeOwner { of: Objects, owner: String },
}

/// A statement of this room as the engine runs it.
#[derive(Debug)]
pub enum Lowered {
    /// A command, with the query whose rows it stores.
    Command(Box<Command>, Option<LogicalPlan>),
    /// A plan that does the same, and how its tag is made.
    Plan(LogicalPlan, Tag),
    /// A query or an insert whose rows go to or come from the client.
    Copy(LogicalPlan, ClientCopy),
}

impl From<Command> for Lowered {
    fn from(command: Command) -> Self {
        Self::Command(Box::new(command), None)
    }
}

impl Command {
    /// The words of its command tag.
    pub fn words(&self) -> &'static str {
        match self {
            Self::CreateTable { .. } | Self::CreateTemporary { .. } => "CREATE TABLE",
            Self::CreateExternal { .. } => "CREATE EXTERNAL TABLE",
            Self::CreateView { .. } => "CREATE VIEW",
            Self::CreateSequence { .. } => "CREATE SEQUENCE",
            Self::CreateIndex { .. } => "CREATE INDEX",
            Self::DropIndexes { .. } => "DROP INDEX",
            Self::CreateExtension { .. } => "CREATE EXTENSION",
            Self::DropSequences { .. } => "DROP SEQUENCE",
            Self::CreateSchema { .. } => "CREATE SCHEMA",
            Self::DropTables { .. } => "DROP TABLE",
            Self::DropViews { .. } => "DROP VIEW",
            Self::DropSchema { .. } => "DROP SCHEMA",
            Self::AddColumn { .. }
            | Self::DropColumn { .. }
            | Self::RenameColumn { .. }
            | Self::RenameTable { .. } => "ALTER TABLE",
            Self::CommentTable { .. } | Self::CommentModel { .. } | Self::CommentConstraint { .. } => {
                "COMMENT"
            }
            Self::Vacuum { .. } => "VACUUM",
            Self::Analyze { .. } => "ANALYZE",
            Self::Optimize { .. } => "OPTIMIZE",
            Self::DropModel { .. } => "DROP MODEL",
            Self::AlterModel { .. } => "ALTER MODEL",
            Self::CancelTraining { .. } => "CANCEL TRAINING",
            Self::CreateRole { .. } => "CREATE ROLE",
            Self::AlterRole { .. } => "ALTER ROLE",
            Self::DropRoles { .. } => "DROP ROLE",
            Self::ChangeMembers { revoke, .. } | Self::ChangeGrants { revoke, .. } => match revoke {
                true => "REVOKE",
                false => "GRANT",
            },
            Self::ChangeOwner { of, .. } => match (of.stored.as_slice(), of.models.as_slice()) {
                ([], _) => "ALTER MODEL",
                ([AclTarget::Schema(_) | AclTarget::Models, ..], _) => "ALTER SCHEMA",
                _ => "ALTER TABLE",
            },
        }
    }

    /// How its tag is made; CREATE TABLE AS tells its rows, as PostgreSQL does.
    pub fn tag(&self, with_query: bool) -> Tag {
        if with_query { Tag::Count("SELECT") } else { Tag::Words(self.words()) }
    }
}

/// CREATE EXTENSION: there are none, which scripts that only ask for one to be there may go on without.
fn extension(name: &str, if_not_exists: bool, query: &QueryContext) -> Result<()> {
    let message = format!("extension \"{name}\" is not available");
    if !if_not_exists {
        let hint = "what Foretell can do needs no extension";
        return Err(Error::unsupported(message).with_hint(hint));
    }
    query.warn(message);
    Ok(())
}

/// Carries a command out and says how many rows it stored.
pub async fn run(
    engine: &Arc<Engine>,
    command: &Command,
    rows: Option<SendableRecordBatchStream>,
    query: &QueryContext,
    context: &Arc<TaskContext>,
) -> Result<u64> {
    let catalog = &engine.catalog;
    match command.clone() {
        Command::CreateTable { name, definition, if_exists } => {
            return table::create(engine, &name, definition, rows, if_exists, query).await;
        }
        Command::CreateTemporary { name, schema, tables, rest } => {
            return table::create_temporary(&tables, &name, schema, rows, rest, query, context).await;
        }
        Command::CreateExternal { name, table, if_exists } => {
            table::create_external(engine, &name, table, if_exists, query).await?;
        }
        Command::CreateView { name, view, replace } => catalog.create_view(&name, view, replace).await?,
        Command::CreateSequence { name, sequence, if_not_exists } => {
            let created = catalog.create_sequence(&name, sequence, if_not_exists).await?;
            table::notice_skipped(created, query, || format!("sequence {name} already exists, skipping"));
        }
        Command::CreateIndex { table, key, if_not_exists } => {
            table::create_index(engine, &table, key, if_not_exists, query).await?;
        }
        Command::DropIndexes { names, if_exists } => {
            for name in catalog.drop_indexes(names, if_exists).await? {
                query.notice(format!("index {name} does not exist, skipping"));
            }
        }
        Command::CreateExtension { name, if_not_exists } => extension(&name, if_not_exists, query)?,
        Command::DropSequences { names, if_exists } => {
            table::remove_kind(engine, "sequence", names, if_exists, query).await?;
        }
        Command::CreateSchema { name, if_not_exists } => {
            table::create_schema(engine, &name, if_not_exists, query).await?
        }
        Command::DropTables { stored, temporary, tables, if_exists } => {
            table::remove(engine, &stored, if_exists, query).await?;
            temporary.iter().try_for_each(|name| tables.drop_table(name))?;
        }
        Command::DropViews { names, if_exists } => {
            table::remove_kind(engine, "view", names, if_exists, query).await?;
        }
        Command::DropSchema { name, if_exists, cascade } => {
            let dropped = catalog.drop_schema(&name, if_exists, cascade).await?;
            table::notice_skipped(dropped, query, || format!("schema {name} does not exist, skipping"));
        }
        Command::AddColumn { table, column, fill, if_not_exists } => {
            let name = column.name.clone();
            let added = catalog.add_column(&table, column, fill, if_not_exists, context).await?;
            table::notice_skipped(added, query, || {
                format!("column {name} of {table} already exists, skipping")
            });
        }
        Command::DropColumn { table, column, if_exists } => {
            let dropped = catalog.drop_column(&table, &column, if_exists).await?;
            table::notice_skipped(dropped, query, || {
                format!("column {column} of {table} does not exist, skipping")
            });
        }
        Command::RenameColumn { table, from, to } => catalog.rename_column(&table, &from, &to).await?,
        Command::RenameTable { from, to } => catalog.rename_table(&from, &to).await?,
        Command::CommentTable { table, column, text } => {
            catalog.set_comment(&table, column.as_deref(), text).await?;
        }
        Command::CommentConstraint { table, constraint, text } => {
            catalog.comment_constraint(&table, &constraint, text).await?;
        }
        Command::Vacuum { tables, all, retain_hours } => {
            for table in &tables {
                match table::vacuum(engine, table, retain_hours, query).await {
                    // It was dropped meanwhile.
                    Err(error) if all && error.kind() == ErrorKind::NotFound => {}
                    vacuumed => vacuumed?,
                }
            }
        }
        Command::Analyze { tables } => {
            for name in &tables {
                if catalog.find(name)?.is_some_and(|entry| !matches!(entry, Entry::Table(_))) {
                    query.warn(format!("skipping {name}: only tables are analyzed"));
                } else {
                    catalog.table(name)?;
                }
            }
        }
        Command::Optimize { table, cluster_by } => {
            table::optimize(engine, &table, cluster_by.as_deref(), query, context).await?;
        }
        Command::DropModel { name, if_exists } => model::remove(engine, &name, if_exists, query)?,
        Command::AlterModel { name, change } => model::alter(engine, &name, change)?,
        Command::CommentModel { name, text } => engine.registry.set_comment(&name, text)?,
        Command::CancelTraining { job, actor } => {
            let rights = actor.rights(catalog)?;
            engine.trainings.cancel(job, |acl| rights.owns(acl))?;
        }
        Command::CreateRole { name, change } => role::create(engine, &name, change).await?,
        Command::AlterRole { name, change } => role::alter(engine, &name, change).await?,
        Command::DropRoles { names, if_exists } => role::remove(engine, &names, if_exists, query).await?,
        Command::ChangeMembers { groups, members, revoke } => {
            catalog.change_members(&groups, &members, revoke).await?;
        }
        Command::ChangeGrants { on, privileges, roles, revoke } => {
            role::change_grants(engine, &on, &privileges, &roles, revoke).await?;
        }
        Command::ChangeOwner { of, owner } => role::change_owner(engine, &of, &owner).await?,
    }
    Ok(0)
}
