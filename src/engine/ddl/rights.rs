//! Whether whoever acts may carry out a command.

use crate::engine::access::Guard;
use crate::engine::ddl::command::Command;
use crate::engine::storage::{AclTarget, IfExists, TableName};
use crate::error::Result;

impl Command {
    /// Fails unless the role may do this.
    pub fn check_rights(&self, guard: &Guard) -> Result<()> {
        match self {
            // Whose training it is shows when it is looked for.
            Self::CreateTemporary { .. } | Self::CancelTraining { .. } => Ok(()),
            Self::CreateTable { name, if_exists, .. } | Self::CreateExternal { name, if_exists, .. } => {
                replaces(guard, *if_exists == IfExists::Replace, name)
            }
            Self::CreateView { name, replace, .. } => replaces(guard, *replace, name),
            Self::CreateExtension { .. } => Ok(()),
            Self::CreateIndex { table, .. } => guard.owner_of_entry(table),
            Self::DropIndexes { names, .. } => names.iter().try_for_each(|name| guard.owner_of_index(name)),
            Self::CreateSequence { name, .. } => guard.create_in(&name.schema),
            Self::DropTables { stored: names, .. }
            | Self::DropViews { names, .. }
            | Self::DropSequences { names, .. } => {
                names.iter().try_for_each(|name| guard.owner_of_entry(name))
            }
            Self::CreateSchema { .. } => guard.superuser("create schemas"),
            Self::DropSchema { name, .. } => guard.owner_of_schema(name),
            Self::AddColumn { table, .. }
            | Self::DropColumn { table, .. }
            | Self::RenameColumn { table, .. }
            | Self::CommentTable { table, .. }
            | Self::CommentConstraint { table, .. }
            | Self::Optimize { table, .. } => guard.owner_of_entry(table),
            Self::Vacuum { tables, .. } | Self::Analyze { tables } => {
                tables.iter().try_for_each(|table| guard.owner_of_entry(table))
            }
            Self::RenameTable { from, to } => {
                guard.owner_of_entry(from)?;
                guard.create_in(&to.schema)
            }
            Self::DropModel { name, .. }
            | Self::AlterModel { name, .. }
            | Self::CommentModel { name, .. } => guard.owner_of_model(name),
            Self::CreateRole { .. } => guard.superuser("create roles"),
            Self::AlterRole { name, change }
                if change.is_password_only() && guard.rights().role() == name =>
            {
                Ok(())
            }
            Self::AlterRole { .. } => guard.superuser("change roles"),
            Self::DropRoles { .. } => guard.superuser("drop roles"),
            Self::ChangeMembers { .. } => guard.superuser("change who is in a role"),
            Self::ChangeGrants { on, .. } => owns_all(guard, &on.stored, &on.models),
            Self::ChangeOwner { of, owner } => {
                owns_all(guard, &of.stored, &of.models)?;
                // Nothing may be given to who does not ask for it.
                if guard.rights().includes(owner) { Ok(()) } else { guard.superuser("give things away") }
            }
        }
    }
}

/// Creating takes the right to; taking something's place takes owning it.
fn replaces(guard: &Guard, replace: bool, name: &TableName) -> Result<()> {
    guard.create_in(&name.schema)?;
    if replace { guard.owner_of_entry(name) } else { Ok(()) }
}

fn owns_all(guard: &Guard, stored: &[AclTarget], models: &[String]) -> Result<()> {
    for target in stored {
        match target {
            AclTarget::Entry(name) => guard.owner_of_entry(name)?,
            AclTarget::Schema(name) => guard.owner_of_schema(name)?,
            AclTarget::Models => guard.superuser("say who creates models")?,
        }
    }
    models.iter().try_for_each(|model| guard.owner_of_model(model))
}
