//! Roles in the catalog, and what is granted to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::storage::catalog::Catalog;
use crate::engine::storage::catalog::acl::{Acl, PUBLIC, Privilege};
use crate::engine::storage::catalog::entries::{Contents, Role, TableName, check_identifier};
use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};

/// Roles that exist without being created: their members may read or write files of the server.
pub const FILE_ROLES: [&str; 2] = ["pg_read_server_files", "pg_write_server_files"];

/// What rights are kept with in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AclTarget {
    /// A table, view or table over files.
    Entry(TableName),
    /// A schema.
    Schema(String),
    /// The making of models.
    Models,
}

impl Catalog {
    /// The role of this name, if there is one.
    pub fn role(&self, name: &str) -> Result<Option<Role>> {
        Ok(self.contents()?.roles.get(name).cloned())
    }

    /// Creates the role `name`.
    pub async fn create_role(&self, name: &str, role: Role) -> Result<()> {
        let name = name.to_owned();
        self.update(move |contents| {
            contents.ensure_new_role(&name)?;
            role.member_of.iter().try_for_each(|group| contents.ensure_group(group))?;
            contents.roles.insert(name, role);
            Ok(())
        })
        .await
    }

    /// Changes the role `name`.
    pub async fn alter_role(
        &self,
        name: &str,
        change: impl FnOnce(&mut Role) + Send + 'static,
    ) -> Result<()> {
        let name = name.to_owned();
        self.update(move |contents| {
            let had = contents.has_superuser();
            change(contents.role_mut(&name)?);
            contents.ensure_superuser(had)
        })
        .await
    }

    /// Drops all of these roles, each with the models that it owns, or none, and takes all that was granted to them; tells
    /// which were not there.
    pub async fn drop_roles(
        &self,
        roles: Vec<(String, Vec<String>)>,
        if_exists: bool,
    ) -> Result<Vec<String>> {
        self.update(move |contents| {
            let (had, mut missing) = (contents.has_superuser(), vec![]);
            for (name, models) in roles {
                if if_exists && !contents.roles.contains_key(&name) {
                    missing.push(name);
                } else {
                    contents.drop_role(&name, &models)?;
                }
            }
            contents.ensure_superuser(had)?;
            Ok(missing)
        })
        .await
    }

    /// Makes all of `members` members of all of the roles `groups`, or with `remove` no longer, or none of them.
    pub async fn change_members(&self, groups: &[String], members: &[String], remove: bool) -> Result<()> {
        let (groups, members) = (groups.to_vec(), members.to_vec());
        self.update(move |contents| {
            let mut pairs = groups.iter().flat_map(|group| members.iter().map(move |member| (group, member)));
            pairs.try_for_each(|(group, member)| contents.change_member(group, member, remove))
        })
        .await
    }

    /// Grants rights on things to roles, or takes them with `revoke`.
    pub async fn change_grants(
        &self,
        targets: Vec<AclTarget>,
        privileges: Vec<Privilege>,
        roles: Vec<String>,
        revoke: bool,
    ) -> Result<()> {
        self.update(move |contents| {
            for role in &roles {
                contents.ensure_grantee(role)?;
                for target in &targets {
                    contents.acl_mut(target)?.change(role, &privileges, revoke);
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives a thing to another role.
    pub async fn change_owner(&self, target: AclTarget, owner: &str) -> Result<()> {
        let owner = owner.to_owned();
        self.update(move |contents| {
            contents.role_mut(&owner)?;
            contents.acl_mut(&target)?.give_to(&owner);
            Ok(())
        })
        .await
    }
}

impl Contents {
    /// The role itself and all whose rights it has.
    pub fn roles_of<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::from([name]);
        let mut next = vec![name];
        while let Some(role) = next.pop().and_then(|name| self.roles.get(name)) {
            next.extend(role.member_of.iter().map(String::as_str).filter(|group| found.insert(group)));
        }
        found
    }

    /// Fails for a name that a role has, or may not have.
    pub fn ensure_new_role(&self, name: &str) -> Result<()> {
        check_role_name(name)?;
        if self.roles.contains_key(name) {
            let message = format!("role \"{name}\" already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Role, message));
        }
        Ok(())
    }

    /// Fails when there is no such role to grant to.
    pub fn ensure_grantee(&self, name: &str) -> Result<()> {
        if name == PUBLIC || self.roles.contains_key(name) { Ok(()) } else { Err(self.no_role(name)) }
    }

    /// The role that owns what has no owner of its own: the first that may do everything.
    pub fn owner(&self) -> Option<&str> {
        self.roles.iter().find(|(_, role)| role.superuser).map(|(name, _)| name.as_str())
    }

    /// The rights on a thing.
    pub fn acl(&self, target: &AclTarget) -> Result<&Acl> {
        Ok(match target {
            AclTarget::Entry(name) => self.entry(name, "table")?.acl(),
            AclTarget::Schema(name) => &self.schema(name)?.acl,
            AclTarget::Models => &self.models,
        })
    }

    fn acl_mut(&mut self, target: &AclTarget) -> Result<&mut Acl> {
        self.acl(target)?;
        let lost = || Error::internal("what was found is gone");
        Ok(match target {
            AclTarget::Entry(name) => {
                let entry = self.schema_mut(&name.schema)?.entries.get_mut(&name.table);
                entry.ok_or_else(lost)?.acl_mut()
            }
            AclTarget::Schema(name) => &mut self.schema_mut(name)?.acl,
            AclTarget::Models => &mut self.models,
        })
    }

    fn acls_mut(&mut self) -> impl Iterator<Item = &mut Acl> {
        let schemas = self.schemas.values_mut().flat_map(|schema| {
            let entries = schema.entries.values_mut().map(|entry| entry.acl_mut());
            std::iter::once(&mut schema.acl).chain(entries)
        });
        std::iter::once(&mut self.models).chain(schemas)
    }

    /// What a role owns, in SQL's words.
    fn owned_by(&self, role: &str) -> Vec<String> {
        let is_owner = |acl: &Acl| acl.owner.as_deref() == Some(role);
        let mut owned = vec![];
        for (schema, contents) in &self.schemas {
            owned.extend(is_owner(&contents.acl).then(|| format!("schema {schema}")));
            let entries: BTreeMap<_, _> =
                contents.entries.iter().filter(|(_, e)| is_owner(e.acl())).collect();
            owned.extend(
                entries
                    .into_iter()
                    .map(|(name, entry)| format!("{} {}", entry.kind(), TableName::new(schema, name))),
            );
        }
        owned
    }

    fn drop_role(&mut self, name: &str, models: &[String]) -> Result<()> {
        self.role_mut(name)?;
        let mut owned = self.owned_by(name);
        owned.extend(models.iter().map(|model| format!("model {model}")));
        if let Some(first) = owned.first() {
            let message = format!("role \"{name}\" cannot be dropped because it owns {}", owned.join(", "));
            let hint = format!("give it to another role first: ALTER {} OWNER TO …", sql_kind(first));
            return Err(Error::input(Subject::Role, message).with_hint(hint));
        }
        self.roles.remove(name);
        self.roles.values_mut().for_each(|role| role.member_of.retain(|group| group != name));
        self.acls_mut().for_each(|acl| acl.forget(name));
        Ok(())
    }

    fn change_member(&mut self, group: &str, member: &str, remove: bool) -> Result<()> {
        self.ensure_group(group)?;
        if !remove && self.roles_of(group).contains(member) {
            let message = format!("role \"{member}\" is a member of role \"{group}\" already, or is itself");
            return Err(Error::input(Subject::Role, message)
                .with_hint(format!("\"{group}\" has the rights of \"{member}\": turn the grant around")));
        }
        let groups = &mut self.role_mut(member)?.member_of;
        let _ = if remove { groups.remove(group) } else { groups.insert(group.to_owned()) };
        Ok(())
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Role> {
        if !self.roles.contains_key(name) {
            return Err(self.no_role(name));
        }
        Ok(self.roles.entry(name.to_owned()).or_default())
    }

    fn no_role(&self, name: &str) -> Error {
        let suggestion = did_you_mean(name, self.roles.keys().map(String::as_str));
        Error::not_found(Subject::Role, format!("role \"{name}\" does not exist{suggestion}"))
    }

    fn ensure_group(&self, name: &str) -> Result<()> {
        let known = self.roles.contains_key(name) || FILE_ROLES.contains(&name);
        if known { Ok(()) } else { Err(self.no_role(name)) }
    }

    fn has_superuser(&self) -> bool {
        self.roles.values().any(|role| role.superuser && role.login)
    }

    /// Fails when nobody can do everything any more.
    fn ensure_superuser(&self, had: bool) -> Result<()> {
        if !had || self.has_superuser() {
            return Ok(());
        }
        let message = "no role would be left that may log in and do everything";
        Err(Error::input(Subject::Role, message).with_hint("make another superuser first"))
    }
}

/// The kind of a thing as ALTER names it.
fn sql_kind(thing: &str) -> String {
    let upper = ["external table", "table", "view", "schema", "model"].into_iter();
    let kind = upper.clone().find(|kind| thing.starts_with(kind)).unwrap_or("table");
    let name = thing[kind.len()..].trim();
    let kind = if kind == "external table" { "table" } else { kind };
    format!("{} {name}", kind.to_uppercase())
}

fn check_role_name(name: &str) -> Result<()> {
    check_identifier(name, Subject::Role)?;
    let words = [PUBLIC, "none", "current_user", "current_role", "session_user"];
    if words.contains(&name) || name.starts_with("pg_") {
        return Err(Error::input(Subject::Role, format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}
