//! Roles and what is granted to them.

use std::collections::BTreeSet;

use crate::engine::access::{Actor, Verifier};
use crate::engine::ddl::command::Command;
use crate::engine::ddl::names::object_name;
use crate::engine::query::QueryContext;
use crate::engine::schemas::FORECASTS;
use crate::engine::shared::Engine;
use crate::engine::sql::{Granted, RoleOptions, RoleStatement};
use crate::engine::storage::{Acl, AclKind, AclTarget, Entry, Privilege, Role, TableName};
use crate::error::{Error, Result, Subject, did_you_mean};

/// What CREATE ROLE and ALTER ROLE settle.
#[derive(Debug, Clone)]
pub struct RoleChange {
    login: Option<bool>,
    superuser: Option<bool>,
    /// What proves the password, never the password.
    verifier: Option<Option<String>>,
    groups: BTreeSet<String>,
}

impl RoleChange {
    /// True when a role may make this change of itself.
    pub fn is_password_only(&self) -> bool {
        self.login.is_none() && self.superuser.is_none() && self.groups.is_empty()
    }

    fn new(options: RoleOptions) -> Result<Self> {
        let verifier = options.password.map(|password| password.as_deref().map(verifier).transpose());
        Ok(Self {
            login: options.login,
            superuser: options.superuser,
            verifier: verifier.transpose()?,
            groups: options.groups.into_iter().collect(),
        })
    }

    fn apply(self, role: &mut Role) {
        role.login = self.login.unwrap_or(role.login);
        role.superuser = self.superuser.unwrap_or(role.superuser);
        role.verifier = self.verifier.unwrap_or(role.verifier.take());
        role.member_of.extend(self.groups);
    }
}

/// What proves a password; clients may send that instead of the password, as psql's `\password` does.
fn verifier(password: &str) -> Result<String> {
    if password.len() == 35 && password.starts_with("md5") {
        let error = Error::unsupported("MD5 passwords are not supported");
        return Err(error.with_hint("send the password, or a SCRAM-SHA-256 verifier"));
    }
    match Verifier::parse(password) {
        Some(verifier) => Ok(verifier.text()),
        None => Ok(Verifier::of_password(password)?.text()),
    }
}

/// What rights are granted on or who is made owner of.
#[derive(Debug, Clone)]
pub struct Objects {
    /// Tables, views and schemas.
    pub stored: Vec<AclTarget>,
    /// Models.
    pub models: Vec<String>,
}

/// Names resolved and rights read.
pub fn lower(engine: &Engine, actor: &Actor, statement: RoleStatement) -> Result<Command> {
    let all =
        |roles: Vec<String>| roles.into_iter().map(|role| named(actor, role)).collect::<Result<Vec<_>>>();
    Ok(match statement {
        RoleStatement::Create { name, options } => {
            Command::CreateRole { name, change: RoleChange::new(options)? }
        }
        RoleStatement::Alter { name, options } => {
            Command::AlterRole { name, change: RoleChange::new(options)? }
        }
        RoleStatement::Drop { names, if_exists } => Command::DropRoles { names, if_exists },
        RoleStatement::Member { groups, members, revoke } => {
            Command::ChangeMembers { groups, members: all(members)?, revoke }
        }
        RoleStatement::Grant { privileges, on, roles, revoke } => {
            let kind = kind_of(&on);
            let on = objects(engine, on)?;
            let kind = if on.stored.is_empty() && !on.models.is_empty() { AclKind::Model } else { kind };
            let privileges = read_privileges(&privileges, kind)?;
            Command::ChangeGrants { on, privileges, roles: all(roles)?, revoke }
        }
        RoleStatement::Owner { of, owner } => {
            Command::ChangeOwner { of: objects(engine, of)?, owner: named(actor, owner)? }
        }
    })
}

/// The role of this name; CURRENT_USER, CURRENT_ROLE and SESSION_USER are whoever acts or has logged in.
fn named(actor: &Actor, role: String) -> Result<String> {
    let found = match role.as_str() {
        "current_user" | "current_role" => actor.role(),
        "session_user" => actor.login(),
        _ => return Ok(role),
    };
    let nobody = || Error::not_found(Subject::Role, format!("{role} is no role: nobody has logged in"));
    found.ok_or_else(|| nobody().with_hint("name the role"))
}

fn kind_of(on: &Granted) -> AclKind {
    match on {
        Granted::Tables(_) | Granted::TablesOf(_) => AclKind::Table,
        Granted::Models(_) | Granted::AllModels => AclKind::Model,
        Granted::Schemas(_) => AclKind::Schema,
        Granted::Sequences(_) | Granted::SequencesOf(_) => AclKind::Sequence,
    }
}

fn read_privileges(words: &[String], kind: AclKind) -> Result<Vec<Privilege>> {
    let all = kind.privileges();
    if words.is_empty() {
        return Ok(all.to_vec());
    }
    let thing = match kind {
        AclKind::Table => "a table",
        AclKind::Model => "a model",
        AclKind::Schema => "a schema",
        AclKind::Sequence => "a sequence",
    };
    let read = words.iter().map(|word| {
        all.iter().copied().find(|p| p.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|p| p.word()).collect();
            let suggestion = did_you_mean(&word.to_uppercase(), names.iter().copied());
            let message = format!("{} is no right on {thing}{suggestion}", word.to_uppercase());
            Error::input(Subject::Syntax, message)
                .with_hint(format!("rights on {thing}: {} and ALL", names.join(", ")))
        })
    });
    read.collect()
}

/// The things by their names; views of models are the models.
fn objects(engine: &Engine, named: Granted) -> Result<Objects> {
    let mut found = Objects { stored: vec![], models: vec![] };
    let models = || engine.registry.list().map(|models| models.into_iter().map(|model| model.name));
    match named {
        Granted::Tables(names) => {
            for name in names {
                let name = object_name(&name)?;
                if name.schema == FORECASTS {
                    found.models.push(name.table);
                } else {
                    found.stored.push(AclTarget::Entry(name));
                }
            }
        }
        Granted::TablesOf(schemas) => {
            for schema in schemas {
                if schema == FORECASTS {
                    found.models.extend(models()?);
                    continue;
                }
                found.stored.extend(entries(engine, &schema, |entry| !matches!(entry, Entry::Sequence(_)))?);
            }
        }
        Granted::Sequences(names) => {
            for name in names {
                let name = object_name(&name)?;
                if let Some(entry) = engine.catalog.find(&name)?
                    && !matches!(entry, Entry::Sequence(_))
                {
                    let message = format!("{name} is no sequence but a {}", entry.kind());
                    return Err(Error::input(Subject::Sequence, message));
                }
                found.stored.push(AclTarget::Entry(name));
            }
        }
        Granted::SequencesOf(schemas) => {
            for schema in schemas {
                found.stored.extend(entries(engine, &schema, |entry| matches!(entry, Entry::Sequence(_)))?);
            }
        }
        Granted::Models(names) => found.models = names,
        Granted::AllModels => found.models = models()?.collect(),
        Granted::Schemas(names) => {
            let target =
                |name: String| if name == FORECASTS { AclTarget::Models } else { AclTarget::Schema(name) };
            found.stored = names.into_iter().map(target).collect();
        }
    }
    Ok(found)
}

/// What a schema holds of one kind.
fn entries(engine: &Engine, schema: &str, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<AclTarget>> {
    let entries = engine.catalog.entries(schema)?.into_iter().filter(|(_, entry)| wanted(entry));
    Ok(entries.map(|(name, _)| AclTarget::Entry(TableName::new(schema, name))).collect())
}

/// CREATE ROLE.
pub async fn create(engine: &Engine, name: &str, change: RoleChange) -> Result<()> {
    let mut role = Role::default();
    change.apply(&mut role);
    engine.catalog.contents()?.ensure_new_role(name)?;
    // What a dropped role of this name was granted on models may be left when the process died meanwhile.
    forget_on_models(engine, name)?;
    engine.catalog.create_role(name, role).await
}

/// ALTER ROLE.
pub async fn alter(engine: &Engine, name: &str, change: RoleChange) -> Result<()> {
    engine.catalog.alter_role(name, move |role| change.apply(role)).await
}

/// DROP ROLE.
pub async fn remove(engine: &Engine, names: &[String], if_exists: bool, query: &QueryContext) -> Result<()> {
    let models = engine.registry.list()?;
    let owned_by = |role: &str| -> Vec<String> {
        let owned = models.iter().filter(|model| model.acl.owner.as_deref() == Some(role));
        owned.map(|model| model.name.clone()).collect()
    };
    let roles = names.iter().map(|name| (name.clone(), owned_by(name))).collect();
    let missing = engine.catalog.drop_roles(roles, if_exists).await?;
    for name in names {
        if missing.contains(name) {
            query.notice(format!("role \"{name}\" does not exist, skipping"));
        } else {
            // The role is gone; what is left goes when one of its name is created.
            let _ = forget_on_models(engine, name);
        }
    }
    Ok(())
}

fn forget_on_models(engine: &Engine, role: &str) -> Result<()> {
    for model in engine.registry.list()? {
        if model.acl.grants.contains_key(role) {
            engine.registry.change_acls(&[model.name], |acl| acl.forget(role))?;
        }
    }
    Ok(())
}

/// GRANT and REVOKE of rights: on all of the things, or on none.
pub async fn change_grants(
    engine: &Engine,
    on: &Objects,
    privileges: &[Privilege],
    roles: &[String],
    revoke: bool,
) -> Result<()> {
    let contents = engine.catalog.contents()?;
    roles.iter().try_for_each(|role| contents.ensure_grantee(role))?;
    on.stored.iter().try_for_each(|target| contents.acl(target).map(|_| ()))?;
    if !on.models.is_empty() {
        let change = |acl: &mut Acl| roles.iter().for_each(|role| acl.change(role, privileges, revoke));
        engine.registry.change_acls(&on.models, change)?;
    }
    engine.catalog.change_grants(on.stored.clone(), privileges.to_vec(), roles.to_vec(), revoke).await
}

/// ALTER … OWNER TO.
pub async fn change_owner(engine: &Engine, of: &Objects, owner: &str) -> Result<()> {
    for target in &of.stored {
        engine.catalog.change_owner(target.clone(), owner).await?;
    }
    if !of.models.is_empty() {
        engine.catalog.contents()?.ensure_grantee(owner)?;
        engine.registry.change_acls(&of.models, |acl| acl.give_to(owner))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_whoever_acts() {
        let ann = Actor::new(Some("ann".to_owned()));
        for (word, role) in [("current_user", "ann"), ("session_user", "ann"), ("bob", "bob")] {
            assert_eq!(named(&ann, word.to_owned()).unwrap(), role);
        }
        let nobody = named(&Actor::default(), "current_role".to_owned()).unwrap_err();
        assert_eq!(nobody.message(), "current_role is no role: nobody has logged in");
    }
}
