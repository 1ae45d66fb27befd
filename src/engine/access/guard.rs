//! The checks of rights: what a role may not see does not exist for it, the rest is denied with the way out.

use std::sync::Arc;

use crate::engine::access::{Actor, Rights};
use crate::engine::registry::ModelRegistry;
use crate::engine::shared::Engine;
use crate::engine::storage::{Acl, Contents, Entry, Privilege, TableName};
use crate::error::{Error, ErrorKind, Result, Subject, identifier, qualified_identifier};

/// Checks of one role on the catalog as it stands.
#[derive(Debug)]
pub struct Guard {
    rights: Rights,
    contents: Arc<Contents>,
    registry: Arc<ModelRegistry>,
}

impl Guard {
    /// Checks of whoever acts.
    pub fn new(engine: &Engine, actor: &Actor) -> Result<Self> {
        Self::of_role(engine, actor.role().as_deref())
    }

    /// Checks of a role; `None` may do everything.
    pub fn of_role(engine: &Engine, role: Option<&str>) -> Result<Self> {
        let contents = engine.catalog.contents()?;
        let rights = Rights::of(role, &contents);
        Ok(Self { rights, contents, registry: Arc::clone(&engine.registry) })
    }

    /// The rights.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Fails unless the role has this right on a table or view.
    pub fn entry(&self, name: &TableName, privilege: Privilege) -> Result<()> {
        let Some(entry) = self.visible(name)? else { return Ok(()) };
        if self.rights.may(entry.acl(), privilege) {
            return Ok(());
        }
        let hint = self.grant(privilege, &qualified_identifier(&name.to_string()));
        Err(denied(format!("permission denied for {} {name}", entry.kind())).with_hint(hint))
    }

    /// Fails unless the role owns a table or view; what does not exist is for the command to tell.
    pub fn owner_of_entry(&self, name: &TableName) -> Result<()> {
        let Some(entry) = self.visible(name)? else { return Ok(()) };
        match self.rights.owns(entry.acl()) {
            true => Ok(()),
            false => Err(self.not_owner(entry.kind(), &name.to_string(), entry.acl())),
        }
    }

    /// Fails unless the role owns the table of an index.
    pub fn owner_of_index(&self, name: &TableName) -> Result<()> {
        self.contents.index(name).map_or(Ok(()), |table| self.owner_of_entry(&table))
    }

    /// What the name stands for, when the role may know of it; `None` when there is nothing of that name.
    fn visible(&self, name: &TableName) -> Result<Option<&Entry>> {
        match self.find(name)? {
            None if self.contents.find(name).is_some() => {
                Err(Error::not_found(Subject::Table, format!("no table {name}")))
            }
            entry => Ok(entry),
        }
    }

    /// What the name stands for; `None` when there is nothing that the role may know of.
    pub fn find(&self, name: &TableName) -> Result<Option<&Entry>> {
        let Some(schema) = self.contents.schemas.get(&name.schema) else { return Ok(None) };
        match schema.entries.get(&name.table).filter(|entry| self.rights.sees(entry.acl())) {
            Some(_) if !self.rights.may_use(&name.schema, schema) => {
                Err(self.schema_denied(&name.schema, Privilege::Usage))
            }
            entry => Ok(entry),
        }
    }

    fn schema_denied(&self, schema: &str, privilege: Privilege) -> Error {
        let hint = self.grant(privilege, &format!("SCHEMA {}", identifier(schema)));
        denied(format!("permission denied for schema {schema}")).with_hint(hint)
    }

    /// Fails unless the role may create things in a schema.
    pub fn create_in(&self, schema: &str) -> Result<()> {
        let Some(found) = self.contents.schemas.get(schema) else { return Ok(()) };
        if self.rights.may(&found.acl, Privilege::Create) {
            return Ok(());
        }
        Err(self.schema_denied(schema, Privilege::Create))
    }

    /// Fails unless the role owns a schema.
    pub fn owner_of_schema(&self, name: &str) -> Result<()> {
        match self.contents.schemas.get(name) {
            Some(schema) if !self.rights.owns(&schema.acl) => {
                Err(self.not_owner("schema", name, &schema.acl))
            }
            _ => Ok(()),
        }
    }

    /// Fails unless the role may create models.
    pub fn create_models(&self) -> Result<()> {
        if self.rights.may(&self.contents.models, Privilege::Create) {
            return Ok(());
        }
        let hint = self.grant(Privilege::Create, "SCHEMA forecasts");
        Err(denied("permission denied to create models".to_owned()).with_hint(hint))
    }

    /// Fails unless the role has this right on a model.
    pub fn model(&self, name: &str, privilege: Privilege) -> Result<()> {
        let Some(acl) = self.visible_model(name)? else { return Ok(()) };
        if self.rights.may(&acl, privilege) {
            return Ok(());
        }
        let hint = self.grant(privilege, &format!("MODEL {}", identifier(name)));
        Err(denied(format!("permission denied for model {name}")).with_hint(hint))
    }

    /// Fails unless the role owns a model.
    pub fn owner_of_model(&self, name: &str) -> Result<()> {
        match self.visible_model(name)? {
            Some(acl) if !self.rights.owns(&acl) => Err(self.not_owner("model", name, &acl)),
            _ => Ok(()),
        }
    }

    fn visible_model(&self, name: &str) -> Result<Option<Acl>> {
        if self.rights.is_superuser() {
            return Ok(None);
        }
        let Some(acl) = self.registry.acl(name)? else { return Ok(None) };
        match self.rights.sees(&acl) {
            true => Ok(Some(acl)),
            false => Err(Error::not_found(Subject::Model, format!("no model {name}"))),
        }
    }

    /// Fails unless the role may do everything.
    pub fn superuser(&self, what: &str) -> Result<()> {
        if self.rights.is_superuser() {
            return Ok(());
        }
        Err(denied(format!("permission denied to {what}")).with_hint("only a superuser may"))
    }

    fn grant(&self, privilege: Privilege, object: &str) -> String {
        let role = identifier(self.rights.role());
        format!("its owner can GRANT {} ON {object} TO {role}", privilege.word())
    }

    fn not_owner(&self, kind: &str, name: &str, acl: &Acl) -> Error {
        let owner = acl.owner.as_deref().or(self.contents.owner()).unwrap_or("the database's owner");
        denied(format!("must be owner of {kind} {name}")).with_hint(format!("it belongs to {owner}"))
    }
}

fn denied(message: String) -> Error {
    Error::new(ErrorKind::Denied, Subject::Table, message)
}
