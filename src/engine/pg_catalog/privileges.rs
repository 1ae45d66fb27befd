//! `has_table_privilege` and its like: what a role may do, asked in SQL.

use super::rows::Cell;
use super::udf::Call;
use crate::engine::access::Rights;
use crate::engine::storage::{Acl, Privilege, split_name};
use crate::error::{Error, Result, Subject};

/// `has_table_privilege([role,] table, rights)`.
pub fn on_table(call: &Call<'_>) -> Result<Cell> {
    table(call, 2)
}

/// `has_sequence_privilege([role,] sequence, rights)`.
pub fn on_sequence(call: &Call<'_>) -> Result<Cell> {
    let (rights, n) = asked(call, 2)?;
    let snapshot = call.snapshot();
    let found = match (call.int(n), call.text(n)) {
        (Some(oid), _) => snapshot.sequences.iter().find(|object| i64::from(object.oid) == oid),
        (None, name) => {
            let name = name.unwrap_or_default();
            let (schema, bare) = split_name(&name);
            let path = schema.map_or_else(|| call.search_path(), |schema| Ok(vec![schema]))?;
            let found = path.iter().find_map(|schema| snapshot.sequence_named(schema, &bare));
            let message = || format!("relation \"{name}\" does not exist");
            Some(found.ok_or_else(|| Error::not_found(Subject::Table, message()))?)
        }
    };
    match found {
        Some(object) => {
            holds(&rights, &object.sequence.acl, &call.text(n + 1).unwrap_or_default()).map(Cell::from)
        }
        None => Ok(Cell::Null),
    }
}

/// `has_column_privilege([role,] table, column, rights)`: rights are on whole tables.
pub fn on_column(call: &Call<'_>) -> Result<Cell> {
    table(call, 3)
}

/// `has_schema_privilege([role,] schema, rights)`.
pub fn on_schema(call: &Call<'_>) -> Result<Cell> {
    let (rights, n) = asked(call, 2)?;
    let schemas = &call.snapshot().schemas;
    let found = match (call.int(n), call.text(n)) {
        (Some(oid), _) => schemas.iter().find(|schema| i64::from(schema.oid) == oid),
        (None, name) => {
            let name = split_name(&name.unwrap_or_default()).1;
            let found = schemas.iter().find(|schema| schema.name == name);
            let message = || format!("schema \"{name}\" does not exist");
            Some(found.ok_or_else(|| Error::not_found(Subject::Schema, message()))?)
        }
    };
    match found {
        Some(schema) => holds(&rights, &schema.acl, &call.text(n + 1).unwrap_or_default()).map(Cell::from),
        None => Ok(Cell::Null),
    }
}

/// `pg_has_role([role,] group, rights)`.
pub fn of_role(call: &Call<'_>) -> Result<Cell> {
    let (rights, n) = asked(call, 2)?;
    Ok(rights.includes(&role(call, n)?).into())
}

fn table(call: &Call<'_>, arguments: usize) -> Result<Cell> {
    let (rights, n) = asked(call, arguments)?;
    let words = call.text(n + arguments - 1).unwrap_or_default();
    if let Some(relation) = call.relation(n)? {
        return holds(&rights, &relation.acl, &words).map(Cell::from);
    }
    let system = match (call.int(n), call.text(n)) {
        (Some(oid), _) => ["pg_catalog", "information_schema"]
            .into_iter()
            .flat_map(super::relations::of_schema)
            .any(|relation| i64::from(relation.oid) == oid),
        (None, name) => {
            let (schema, name) = split_name(&name.unwrap_or_default());
            let schema = schema.unwrap_or_else(|| "pg_catalog".to_owned());
            if super::relations::find(&schema, &name).is_none() {
                return Err(Error::not_found(Subject::Table, format!("relation \"{name}\" does not exist")));
            }
            true
        }
    };
    if !system {
        return Ok(Cell::Null);
    }
    let mut acl = Acl::default();
    acl.grant(crate::engine::storage::PUBLIC, &[Privilege::Select]);
    holds(&rights, &acl, &words).map(Cell::from)
}

/// Whose rights are asked for, and the place of the argument behind the role.
fn asked(call: &Call<'_>, arguments: usize) -> Result<(Rights, usize)> {
    if call.len() <= arguments {
        return Ok((call.rights(None)?, 0));
    }
    Ok((call.rights(Some(&role(call, 0)?))?, 1))
}

fn role(call: &Call<'_>, n: usize) -> Result<String> {
    let roles = &call.snapshot().roles;
    let found = match (call.int(n), call.text(n)) {
        (Some(oid), _) => roles.iter().find(|role| i64::from(role.oid) == oid),
        (None, name) => roles.iter().find(|role| Some(&role.name) == name.as_ref()),
    };
    let name = call.text(n).unwrap_or_default();
    let known = found.map(|role| role.name.clone());
    let known =
        known.or_else(|| (name == call.session_user() || name.starts_with("pg_")).then(|| name.clone()));
    known.ok_or_else(|| Error::not_found(Subject::Role, format!("role \"{name}\" does not exist")))
}

/// True when one of the rights in a list such as `SELECT, INSERT WITH GRANT OPTION` is held.
fn holds(rights: &Rights, acl: &Acl, words: &str) -> Result<bool> {
    let mut any = false;
    for word in words.split(',') {
        let word = word.trim().to_uppercase();
        let (word, grants) = match word.strip_suffix(" WITH GRANT OPTION") {
            Some(word) => (word.trim().to_owned(), true),
            None => (word, false),
        };
        any |= match Privilege::ALL.into_iter().find(|privilege| privilege.word() == word) {
            Some(privilege) if !grants => rights.may(acl, privilege),
            Some(_) => rights.owns(acl),
            None if ["REFERENCES", "TRIGGER", "RULE"].contains(&word.as_str()) => rights.owns(acl),
            None => {
                let message = format!("unrecognized privilege type: \"{word}\"");
                return Err(Error::input(Subject::Option, message));
            }
        };
    }
    Ok(any)
}
