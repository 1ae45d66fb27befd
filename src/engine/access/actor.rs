//! The role that a statement acts for, and its rights.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use datafusion::execution::session_state::SessionState;

use crate::engine::storage::{
    Acl, Catalog, Contents, DEFAULT_SCHEMA, FILE_ROLES, PUBLIC, Privilege, SchemaEntry,
};
use crate::error::{Error, ErrorKind, Result, Subject};

/// Who a session acts for; without a role, for whoever owns the directory.
#[derive(Debug, Default)]
pub struct Actor {
    session: Option<String>,
    /// What SET ROLE said.
    acting: RwLock<Option<String>>,
}

impl Actor {
    /// An actor for a role that has logged in.
    pub fn new(session: Option<String>) -> Self {
        Self { session, acting: RwLock::default() }
    }

    /// The actor of the session that this state is of; without one, it may do everything.
    pub fn of(state: &SessionState) -> std::sync::Arc<Self> {
        state.config().get_extension::<Self>().unwrap_or_default()
    }

    /// The role whose rights count now.
    pub fn role(&self) -> Option<String> {
        let acting = self.acting.read().unwrap_or_else(PoisonError::into_inner).clone();
        acting.or_else(|| self.session.clone())
    }

    /// The role that has logged in.
    pub fn login(&self) -> Option<String> {
        self.session.clone()
    }

    /// Acts for another role from now on, or for the session's own again.
    pub fn set_role(&self, role: Option<&str>, contents: &Contents) -> Result<()> {
        if let Some(role) = role {
            if !contents.roles.contains_key(role) {
                return Err(Error::not_found(Subject::Role, format!("role \"{role}\" does not exist")));
            }
            let own = Rights::of(self.session.as_deref(), contents);
            if !own.superuser && !own.roles.contains(role) {
                let message = format!("permission denied to set role \"{role}\"");
                return Err(Error::new(ErrorKind::Denied, Subject::Statement, message)
                    .with_hint("only a superuser and members of a role may act for it"));
            }
        }
        *self.acting.write().unwrap_or_else(PoisonError::into_inner) = role.map(str::to_owned);
        Ok(())
    }

    /// Its rights as the catalog stands now.
    pub fn rights(&self, catalog: &Catalog) -> Result<Rights> {
        Ok(Rights::of(self.role().as_deref(), &*catalog.contents()?))
    }
}

/// What a role may do.
#[derive(Debug, Clone)]
pub struct Rights {
    superuser: bool,
    /// The role and all whose rights it has.
    roles: BTreeSet<String>,
    role: Option<String>,
}

impl Rights {
    /// Of a role; `None` is whoever owns the directory and may do everything.
    pub fn of(role: Option<&str>, contents: &Contents) -> Self {
        let superuser = role.is_none_or(|name| contents.roles.get(name).is_some_and(|role| role.superuser));
        let roles = role.map(|name| contents.roles_of(name)).unwrap_or_default();
        Self {
            superuser,
            roles: roles.into_iter().map(str::to_owned).collect(),
            role: role.map(str::to_owned),
        }
    }

    /// May do everything.
    pub fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// The role, as hints name it.
    pub fn role(&self) -> &str {
        self.role.as_deref().unwrap_or("owner")
    }

    /// True when it is this role, or has its rights.
    pub fn includes(&self, role: &str) -> bool {
        self.superuser || self.roles.contains(role)
    }

    /// True when it owns the thing.
    pub fn owns(&self, acl: &Acl) -> bool {
        self.superuser || acl.owner.as_deref().is_some_and(|owner| self.roles.contains(owner))
    }

    /// True when it has this right.
    pub fn may(&self, acl: &Acl, privilege: Privilege) -> bool {
        self.owns(acl) || self.held(acl).any(|held| held.contains(&privilege))
    }

    /// True when it has any right, so that the thing exists for it.
    pub fn sees(&self, acl: &Acl) -> bool {
        self.owns(acl) || self.held(acl).next().is_some()
    }

    fn held<'a>(&'a self, acl: &'a Acl) -> impl Iterator<Item = &'a BTreeSet<Privilege>> {
        acl.grants
            .iter()
            .filter(|(role, _)| *role == PUBLIC || self.roles.contains(*role))
            .map(|(_, held)| held)
    }

    /// True when it may look up what is in a schema; everybody may in the default one.
    pub fn may_use(&self, name: &str, schema: &SchemaEntry) -> bool {
        name == DEFAULT_SCHEMA || self.may(&schema.acl, Privilege::Usage)
    }

    /// True when the schema exists for it.
    pub fn sees_schema(&self, name: &str, schema: &SchemaEntry) -> bool {
        name == DEFAULT_SCHEMA
            || self.sees(&schema.acl)
            || schema.entries.values().any(|entry| self.sees(entry.acl()))
    }

    /// True when it may read files of the server.
    pub fn may_read_files(&self) -> bool {
        self.superuser || self.roles.contains(FILE_ROLES[0])
    }

    /// True when it may write files of the server.
    pub fn may_write_files(&self) -> bool {
        self.superuser || self.roles.contains(FILE_ROLES[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::Role;

    #[test]
    fn rights_come_from_groups_and_from_everybody() {
        let role = |groups: &[&str], superuser| Role {
            superuser,
            member_of: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..Role::default()
        };
        let mut contents = Contents::default();
        contents.roles.insert("boss".into(), role(&[], true));
        contents.roles.insert("readers".into(), role(&[], false));
        contents.roles.insert("analysts".into(), role(&["readers"], false));
        contents.roles.insert("ann".into(), role(&["analysts"], false));
        let mut acl = Acl::of_owner(Some("analysts".into()));
        let ann = Rights::of(Some("ann"), &contents);
        assert!(ann.owns(&acl) && ann.may(&acl, Privilege::Delete));
        acl.owner = None;
        assert!(!ann.sees(&acl) && Rights::of(Some("boss"), &contents).owns(&acl));
        acl.grant("readers", &[Privilege::Select]);
        assert!(ann.may(&acl, Privilege::Select) && !ann.may(&acl, Privilege::Insert));
        acl.grant(PUBLIC, &[Privilege::Insert]);
        assert!(Rights::of(Some("gone"), &contents).may(&acl, Privilege::Insert));
        assert!(!Rights::of(Some("gone"), &contents).may(&acl, Privilege::Select));
        assert!(Rights::of(None, &contents).is_superuser());
    }

    #[test]
    fn only_members_act_for_a_role() {
        let mut contents = Contents::default();
        contents.roles.insert("readers".into(), Role::default());
        contents.roles.insert("ann".into(), Role { member_of: ["readers".into()].into(), ..Role::default() });
        let ann = Actor::new(Some("ann".into()));
        ann.set_role(Some("readers"), &contents).unwrap();
        assert_eq!(ann.role().as_deref(), Some("readers"));
        ann.set_role(None, &contents).unwrap();
        let denied = Actor::new(Some("readers".into())).set_role(Some("ann"), &contents).unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::Denied);
        assert_eq!(ann.set_role(Some("nobody"), &contents).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
