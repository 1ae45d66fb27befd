//! Functions that ask the catalogue: names of things, their texts, their visibility, privileges and sizes.

use super::rows::Cell;
use super::snapshot::{OWNER_OID, RelationObject};
use super::udf::{Call, Function};
use super::{privileges, procedure_name, procedure_oid, procedures};
use crate::engine::access::Guard;
use crate::engine::activity::SessionActivity;
use crate::engine::functions::{quoted_name, quoted_text};
use crate::engine::settings::VERSION_TEXT;
use crate::engine::storage::{DEFAULT_SCHEMA, Privilege, TableName, split_name};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres;

type Value = Result<Cell>;

const fn function(name: &'static str, returns: &'static str, value: fn(&Call<'_>) -> Value) -> Function {
    Function { name, returns, value, strict: true }
}

/// As [`function`], for functions that look at NULL themselves.
const fn lenient(name: &'static str, returns: &'static str, value: fn(&Call<'_>) -> Value) -> Function {
    Function { name, returns, value, strict: false }
}

fn yes(_: &Call<'_>) -> Value {
    Ok(true.into())
}

fn no(_: &Call<'_>) -> Value {
    Ok(false.into())
}

fn null(_: &Call<'_>) -> Value {
    Ok(Cell::Null)
}

fn zero(_: &Call<'_>) -> Value {
    Ok(0_i64.into())
}

fn nothing(_: &Call<'_>) -> Value {
    Ok("".into())
}

/// All of them.
pub const FUNCTIONS: &[Function] = &[
    // identity
    function("version", "text", |_| Ok(VERSION_TEXT.into())),
    function("current_database", "name", |call| Ok(call.database().into())),
    function("current_catalog", "name", |call| Ok(call.database().into())),
    function("current_schema", "name", |call| Ok(call.search_path()?.into_iter().next().into())),
    function("current_schemas", "name[]", |call| {
        let implicit = call.bool(0).then(|| "pg_catalog".to_owned());
        Ok(Cell::Texts(implicit.into_iter().chain(call.search_path()?).collect()))
    }),
    function("session_user", "name", |call| Ok(call.session_user().into())),
    function("current_user", "name", |call| Ok(call.user().into())),
    function("current_role", "name", |call| Ok(call.user().into())),
    function("user", "name", |call| Ok(call.user().into())),
    function("pg_backend_pid", "int4", |call| Ok(call.around().pid().into())),
    function("pg_is_in_recovery", "bool", no),
    function("inet_server_addr", "inet", null),
    function("inet_client_addr", "inet", null),
    function("inet_server_port", "int4", null),
    function("inet_client_port", "int4", null),
    function("pg_my_temp_schema", "oid", zero),
    function("pg_is_other_temp_schema", "bool", no),
    function("txid_current", "int8", |_| Ok(1_i64.into())),
    function("pg_client_encoding", "name", |_| Ok("UTF8".into())),
    function("getdatabaseencoding", "name", |_| Ok("UTF8".into())),
    function("pg_encoding_to_char", "name", |call| {
        Ok(if call.int(0) == Some(6) { "UTF8" } else { "" }.into())
    }),
    function("pg_char_to_encoding", "int4", |_| Ok(6_i64.into())),
    function("pg_cancel_backend", "bool", |call| stop_backend(call, SessionActivity::cancel)),
    function("pg_terminate_backend", "bool", |call| stop_backend(call, SessionActivity::terminate)),
    // settings
    lenient("current_setting", "text", current_setting),
    lenient("set_config", "text", set_config),
    // visibility
    function("pg_table_is_visible", "bool", |call| {
        let oid = call.int(0).unwrap_or(0);
        let system =
            || super::relations::of_schema("pg_catalog").any(|relation| i64::from(relation.oid) == oid);
        let snapshot = call.snapshot();
        let sequence = || snapshot.sequences.iter().find(|object| i64::from(object.oid) == oid);
        let schema = snapshot.relation(oid as u32).map(|relation| &relation.schema);
        let schema = schema.or_else(|| sequence().map(|object| &object.schema));
        let path = call.search_path()?;
        Ok(schema.map_or_else(system, |schema| path.contains(&schema.name)).into())
    }),
    function("pg_type_is_visible", "bool", yes),
    function("pg_function_is_visible", "bool", yes),
    function("pg_operator_is_visible", "bool", yes),
    function("pg_opclass_is_visible", "bool", yes),
    function("pg_opfamily_is_visible", "bool", yes),
    function("pg_collation_is_visible", "bool", yes),
    function("pg_conversion_is_visible", "bool", yes),
    function("pg_statistics_obj_is_visible", "bool", yes),
    function("pg_ts_config_is_visible", "bool", yes),
    function("pg_ts_dict_is_visible", "bool", yes),
    function("pg_ts_parser_is_visible", "bool", yes),
    function("pg_ts_template_is_visible", "bool", yes),
    // names
    lenient("format_type", "text", |call| match call.int(0) {
        Some(oid) => Ok(postgres::format_type(oid as u32, call.int(1).map(|m| m as i32)).into()),
        None => Ok(Cell::Null),
    }),
    function("pg_get_userbyid", "name", |call| {
        let oid = call.int(0).unwrap_or(0);
        let role =
            call.snapshot().roles.iter().find(|role| i64::from(role.oid) == oid).map(|r| r.name.clone());
        Ok(role
            .unwrap_or_else(|| match oid {
                oid if oid == i64::from(OWNER_OID) => call.user(),
                oid => format!("unknown (OID={oid})"),
            })
            .into())
    }),
    function("quote_ident", "text", |call| Ok(call.text(0).map(|text| quoted_name(&text)).into())),
    function("quote_literal", "text", |call| Ok(call.text(0).map(|text| quoted_text(&text)).into())),
    lenient("quote_nullable", "text", |call| {
        Ok(call.text(0).map_or_else(|| "NULL".to_owned(), |text| quoted_text(&text)).into())
    }),
    // texts of things
    function("pg_get_expr", "text", |call| Ok(call.text(0).into())),
    function("pg_get_viewdef", "text", |call| {
        Ok(call.relation(0)?.and_then(|relation| relation.definition).map(|sql| format!(" {sql};")).into())
    }),
    function("pg_get_constraintdef", "text", constraint_text),
    function("pg_get_indexdef", "text", index_text),
    function("pg_get_triggerdef", "text", null),
    function("pg_get_ruledef", "text", null),
    function("pg_get_partkeydef", "text", null),
    function("pg_get_partition_constraintdef", "text", null),
    function("pg_get_statisticsobjdef", "text", null),
    function("pg_get_statisticsobjdef_columns", "text", null),
    function("pg_get_functiondef", "text", null),
    function("pg_get_function_sqlbody", "text", null),
    function("pg_get_function_arguments", "text", function_arguments),
    function("pg_get_function_identity_arguments", "text", function_arguments),
    function("pg_get_function_arg_default", "text", null),
    function("pg_get_function_result", "text", |call| {
        Ok(procedures::result(call.around(), call.int(0)).into())
    }),
    function("pg_get_serial_sequence", "text", serial_sequence),
    function("nextval", "int8", |call| {
        let name = sequence_named(call, Privilege::Usage)?;
        Ok(call.engine().catalog.next_values(&name, 1)?.first().copied().into())
    }),
    function("setval", "int8", |call| {
        let name = sequence_named(call, Privilege::Update)?;
        let value = call.int(1).unwrap_or(0);
        call.engine().catalog.set_value(&name, value, call.len() < 3 || call.bool(2))?;
        Ok(value.into())
    }),
    function("pg_relation_is_publishable", "bool", no),
    function("pg_relation_is_updatable", "int4", zero),
    function("pg_column_is_updatable", "bool", no),
    // comments
    function("obj_description", "text", |call| Ok(description(call, 0))),
    function("col_description", "text", |call| Ok(description(call, call.int(1).unwrap_or(0)))),
    function("shobj_description", "text", null),
    // sizes
    function("pg_relation_size", "int8", size),
    function("pg_total_relation_size", "int8", size),
    function("pg_table_size", "int8", size),
    function("pg_indexes_size", "int8", zero),
    function("pg_database_size", "int8", database_size),
    function("pg_tablespace_size", "int8", database_size),
    function("pg_size_pretty", "text", |call| Ok(call.int(0).map(pretty_size).into())),
    function("pg_tablespace_location", "text", nothing),
    function("pg_relation_filenode", "oid", zero),
    function("pg_relation_filepath", "text", null),
    // privileges
    function("has_table_privilege", "bool", privileges::on_table),
    function("has_any_column_privilege", "bool", privileges::on_table),
    function("has_column_privilege", "bool", privileges::on_column),
    function("has_schema_privilege", "bool", privileges::on_schema),
    function("has_database_privilege", "bool", yes),
    function("has_function_privilege", "bool", yes),
    function("has_sequence_privilege", "bool", privileges::on_sequence),
    function("has_tablespace_privilege", "bool", yes),
    function("has_language_privilege", "bool", yes),
    function("has_type_privilege", "bool", yes),
    function("has_foreign_data_wrapper_privilege", "bool", yes),
    function("has_server_privilege", "bool", yes),
    function("pg_has_role", "bool", privileges::of_role),
    function("row_security_active", "bool", no),
    // numbers of things by name
    function("to_regclass", "regclass", |call| {
        Ok(relation_oid(call, &call.text(0).unwrap_or_default()).into())
    }),
    function("to_regtype", "regtype", |call| Ok(call.text(0).and_then(|name| type_named(&name)).into())),
    function("to_regnamespace", "regnamespace", |call| {
        Ok(schema_oid(call, &call.text(0).unwrap_or_default()).into())
    }),
    function("to_regproc", "regproc", |call| {
        Ok(call.text(0).map(|name| procedure_oid(&name)).filter(|oid| *oid != 0).into())
    }),
    function("to_regrole", "regrole", |call| Ok(role_oid(call, &call.text(0).unwrap_or_default()).into())),
    // casts: `x::regclass` and so on, and their texts
    function("regclass", "regclass", |call| cast(call, "relation", relation_oid)),
    function("regnamespace", "regnamespace", |call| cast(call, "schema", schema_oid)),
    function("regrole", "regrole", |call| cast(call, "role", role_oid)),
    function("regtype", "regtype", |call| cast(call, "type", |_, name| type_named(name))),
    function("regproc", "regproc", |call| {
        cast(call, "function", |_, name| Some(procedure_oid(last_part(name))).filter(|oid| *oid != 0))
    }),
    function("oid", "oid", |call| cast(call, "number", |_, _| None)),
    function("xid", "xid", |call| cast(call, "number", |_, _| None)),
    function("acl_items", "acl[]", acl_items),
    function("pg_partition_ancestors", "regclass[]", |_| Ok(Cell::Ints(vec![]))),
    function("pg_blocking_pids", "int4[]", |_| Ok(Cell::Ints(vec![]))),
    function("pg_index_column_has_property", "bool", null),
    function("pg_indexam_has_property", "bool", null),
    function("parse_ident", "text[]", |call| {
        let (schema, name) = split_name(&call.text(0).unwrap_or_default());
        Ok(Cell::Texts(schema.into_iter().chain([name]).collect()))
    }),
    function("regexp_substring", "text", regexp_substring),
    function("regclass_text", "text", |call| Ok(call.int(0).map(|oid| relation_name(call, oid)).into())),
    function("regnamespace_text", "text", |call| Ok(call.int(0).map(|oid| schema_name(call, oid)).into())),
    function("regrole_text", "text", |call| Ok(call.int(0).map(|oid| role_name(call, oid)).into())),
    function("regtype_text", "text", |call| {
        Ok(call.int(0).map(|oid| postgres::format_type(oid as u32, None)).into())
    }),
    function("regproc_text", "text", |call| {
        let name = |oid: i64| procedure_name(oid as u32).map_or_else(|| oid.to_string(), str::to_owned);
        Ok(call.int(0).map(|oid| if oid == 0 { "-".to_owned() } else { name(oid) }).into())
    }),
    function("oidvectortypes", "text", |call| {
        let names = call.ints(0).into_iter().map(|oid| postgres::format_type(oid as u32, None));
        Ok(names.collect::<Vec<_>>().join(", ").into())
    }),
    function("host", "text", null),
    function("role_names", "name[]", |call| {
        let names = call
            .ints(0)
            .into_iter()
            .map(|oid| if oid == 0 { "public".to_owned() } else { role_name(call, oid) });
        Ok(Cell::Texts(names.collect()))
    }),
    function("expanded_array", "expanded[]", |call| Ok(Cell::Ints(call.ints(0)))),
    lenient("json_build_object", "json", json_object),
    lenient("jsonb_build_object", "jsonb", json_object),
    lenient("to_json", "json", |call| Ok(call.json(0).to_string().into())),
    lenient("to_jsonb", "jsonb", |call| Ok(call.json(0).to_string().into())),
    // locks, which statements here do not need
    function("pg_advisory_lock", "void", nothing),
    function("pg_advisory_unlock", "bool", yes),
    function("pg_advisory_unlock_all", "void", nothing),
    function("pg_advisory_xact_lock", "void", nothing),
    function("pg_try_advisory_lock", "bool", yes),
    function("pg_try_advisory_xact_lock", "bool", yes),
    function("pg_stat_get_numscans", "int8", zero),
];

/// The items of a list of rights: grantor, grantee, right, whether it may be granted on.
fn acl_items(call: &Call<'_>) -> Value {
    let number = |name: &str| if name.is_empty() { 0 } else { role_oid(call, name).unwrap_or(0) };
    let mut items = vec![];
    for item in call.texts(0) {
        let Some((grantee, rest)) = item.split_once('=') else { continue };
        let (letters, grantor) = rest.split_once('/').unwrap_or((rest, ""));
        let letters: Vec<char> = letters.chars().collect();
        for (n, letter) in letters.iter().enumerate().filter(|(_, letter)| **letter != '*') {
            let right = Privilege::of_letter(*letter).map_or("UNKNOWN", Privilege::word);
            let grantable = letters.get(n + 1) == Some(&'*');
            items.push((number(grantor), number(grantee), right.to_owned(), grantable));
        }
    }
    Ok(Cell::Items(items))
}

/// `substring(text FROM pattern)`: what the first parentheses of the pattern match, or all of it.
fn regexp_substring(call: &Call<'_>) -> Value {
    let (Some(text), Some(pattern)) = (call.text(0), call.text(1)) else { return Ok(Cell::Null) };
    let pattern = regex::Regex::new(&format!("(?s){pattern}"))
        .map_err(|e| Error::input(Subject::Value, format!("invalid regular expression: {e}")))?;
    let found = pattern.captures(&text);
    Ok(found.and_then(|found| found.get(usize::from(found.len() > 1))).map(|m| m.as_str().to_owned()).into())
}

/// Stops what another session runs, or the session; false when there is none of this number.
fn stop_backend(call: &Call<'_>, stop: fn(&SessionActivity)) -> Value {
    let pid = call.int(0).and_then(|pid| i32::try_from(pid).ok());
    let Some(session) = pid.and_then(|pid| call.engine().activity.get(pid)) else { return Ok(false.into()) };
    if !call.rights(None)?.includes(&session.role) {
        let message = "must be a member of the role whose query is being canceled";
        return Err(Error::new(ErrorKind::Denied, Subject::Statement, message));
    }
    stop(&session);
    Ok(true.into())
}

/// An object with its keys in the order that they were given in.
fn json_object(call: &Call<'_>) -> Value {
    let pairs = (0..call.len()).step_by(2).map(|n| {
        let key = call.text(n).ok_or_else(|| Error::data("null value not allowed for object key"))?;
        Ok(format!("{}:{}", serde_json::Value::from(key), call.json(n + 1)))
    });
    Ok(format!("{{{}}}", pairs.collect::<Result<Vec<_>>>()?.join(",")).into())
}

fn current_setting(call: &Call<'_>) -> Value {
    let Some(name) = call.text(0) else { return Ok(Cell::Null) };
    match call.variables().read().show(&name) {
        Ok((_, value)) => Ok(value.into()),
        Err(_) if call.bool(1) => Ok(Cell::Null),
        Err(error) => Err(error),
    }
}

fn set_config(call: &Call<'_>) -> Value {
    let Some(name) = call.text(0) else {
        return Err(Error::input(Subject::Option, "set_config: the name of the setting is NULL"));
    };
    let mut variables = call.variables().write();
    variables.set(&name, call.text(1).as_deref(), call.bool(2))?;
    Ok(variables.value(&name).into())
}

fn constraint_text(call: &Call<'_>) -> Value {
    let oid = call.int(0).unwrap_or(0);
    let snapshot = call.snapshot();
    let checks = snapshot.relations.iter().flat_map(|relation| {
        relation.checks.iter().enumerate().map(move |(n, (_, sql))| (i64::from(relation.check_oid(n)), sql))
    });
    if let Some((_, sql)) = checks.into_iter().find(|(number, _)| *number == oid) {
        return Ok(format!("CHECK (({sql}))").into());
    }
    let key = snapshot.keys().find(|(relation, number, _)| i64::from(relation.key_oid(*number)) == oid);
    Ok(key.map(|(relation, _, key)| relation.key_text(key)).into())
}

/// `pg_get_indexdef(index [, column, pretty])`.
fn index_text(call: &Call<'_>) -> Value {
    let oid = call.int(0).unwrap_or(0);
    let found = call
        .snapshot()
        .keys()
        .find(|(relation, number, key)| key.kind != 'f' && i64::from(relation.index_oid(*number)) == oid);
    let Some((relation, _, key)) = found else { return Ok(Cell::Null) };
    match call.int(1).and_then(|column| usize::try_from(column).ok()).filter(|column| *column > 0) {
        Some(column) => Ok(relation.column_names(&key.columns).get(column - 1).cloned().into()),
        None => Ok(relation.index_text(key).into()),
    }
}

/// The comment of a relation, or of its column of this number.
fn description(call: &Call<'_>, column: i64) -> Cell {
    let Some(oid) = call.int(0) else { return Cell::Null };
    let snapshot = call.snapshot();
    let Some(relation) = snapshot.relation(oid as u32) else {
        return snapshot.constraint_comment(oid as u32).map(str::to_owned).into();
    };
    match column {
        0 => relation.comment.clone().into(),
        n => {
            let found = relation.columns.iter().find(|c| i64::from(c.number) == n);
            found.and_then(|c| c.comment.clone()).into()
        }
    }
}

fn function_arguments(call: &Call<'_>) -> Value {
    Ok(procedures::arguments(call.around(), call.int(0)).into())
}

/// Bytes of a relation on the disk; 0 for what has no files of its own.
fn size(call: &Call<'_>) -> Value {
    let named = || call.text(0).and_then(|name| relation_oid(call, &name)).map(i64::from);
    let Some(oid) = call.int(0).or_else(named) else { return Ok(Cell::Null) };
    let snapshot = call.snapshot();
    let Some(relation) = snapshot.relation(oid as u32) else {
        // Relations of the catalogue have names, too.
        let is_known = relation_name(call, oid) != oid.to_string() && oid != 0;
        return Ok(if is_known { 0_i64.into() } else { Cell::Null });
    };
    if relation.kind != 'r' {
        return Ok(0_i64.into());
    }
    let name = TableName::new(&relation.schema.name, &relation.name);
    // It may have been dropped meanwhile.
    Ok(call.around().engine.catalog.table_bytes(&name).map_or(Cell::Null, |bytes| (bytes as i64).into()))
}

fn database_size(call: &Call<'_>) -> Value {
    Ok((call.around().engine.catalog.bytes()? as i64).into())
}

/// As PostgreSQL writes sizes: in the largest unit of which there are at least ten.
fn pretty_size(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size.abs() < 10_240.0 || unit == "TB" {
            return format!("{} {unit}", size.round());
        }
        size /= 1_024.0;
    }
    format!("{bytes} bytes")
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The sequence that an argument names, when whoever asks may take its numbers.
fn sequence_named(call: &Call<'_>, privilege: Privilege) -> Result<TableName> {
    let by_number = |oid: i64| {
        let found = call.snapshot().sequences.iter().find(|object| i64::from(object.oid) == oid);
        found.map(|object| TableName::new(&object.schema.name, &object.name))
    };
    let name = match call.int(0) {
        Some(oid) => by_number(oid).unwrap_or_else(|| TableName::public(oid.to_string())),
        None => {
            let (schema, name) = split_name(&call.text(0).unwrap_or_default());
            let snapshot = call.snapshot();
            let path = schema.map_or_else(|| call.search_path(), |schema| Ok(vec![schema]))?;
            let found = path.iter().find(|schema| snapshot.sequence_named(schema, &name).is_some());
            let schema = found.or(path.first()).map_or(DEFAULT_SCHEMA, String::as_str);
            TableName::new(schema, name)
        }
    };
    Guard::new(call.engine(), &call.around().actor)?.entry(&name, privilege)?;
    Ok(name)
}

fn serial_sequence(call: &Call<'_>) -> Value {
    let Some(relation) = call.relation(0)? else { return Ok(Cell::Null) };
    let wanted = call.text(1).unwrap_or_default();
    let column = relation.columns.iter().find(|column| column.name == wanted);
    let found = column.and_then(|column| call.snapshot().sequence_of(&relation, column.number));
    let written = |schema: &str, name: &str| format!("{}.{}", quoted_name(schema), quoted_name(name));
    Ok(found.map(|object| written(&object.schema.name, &object.name)).into())
}

fn relation_oid(call: &Call<'_>, name: &str) -> Option<u32> {
    let (schema, name) = split_name(name);
    let snapshot = call.snapshot();
    let sequence = |schema: &str| snapshot.sequence_named(schema, &name).map(|object| object.oid);
    let own = |schema: &str| {
        snapshot.relation_named(schema, &name).map(|relation| relation.oid).or_else(|| sequence(schema))
    };
    let system = |schema: &str| super::relations::find(schema, &name).map(|relation| relation.oid);
    match schema.as_deref() {
        Some(schema) => own(schema).or_else(|| system(schema)),
        None => {
            let path = call.search_path().unwrap_or_default();
            let found = || path.iter().find_map(|schema| own(schema).or_else(|| system(schema)));
            system("pg_catalog").or_else(found)
        }
    }
}

/// The number of a type by its name, with or without a schema and quotes.
fn type_named(name: &str) -> Option<u32> {
    postgres::by_name(name).or_else(|| postgres::by_name(&split_name(name).1)).map(|found| found.oid)
}

fn schema_oid(call: &Call<'_>, name: &str) -> Option<u32> {
    call.snapshot().schema(&split_name(name).1).map(|schema| schema.oid)
}

fn role_oid(call: &Call<'_>, name: &str) -> Option<u32> {
    let name = split_name(name).1;
    call.snapshot().roles.iter().find(|role| role.name == name).map(|role| role.oid)
}

/// A number stays what it is; a name becomes its number.
fn cast(call: &Call<'_>, kind: &str, find: impl Fn(&Call<'_>, &str) -> Option<u32>) -> Value {
    if let Some(oid) = call.int(0) {
        return Ok(oid.into());
    }
    let Some(text) = call.text(0) else { return Ok(Cell::Null) };
    if let Ok(oid) = text.trim().parse::<u32>() {
        return Ok(oid.into());
    }
    if text == "-" {
        return Ok(0_i64.into());
    }
    match find(call, &text) {
        Some(oid) => Ok(oid.into()),
        None => {
            let subject = match kind {
                "relation" => Subject::Table,
                "schema" => Subject::Schema,
                "role" => Subject::Role,
                "function" => Subject::Function,
                _ => Subject::Type,
            };
            Err(Error::not_found(subject, format!("{kind} \"{text}\" does not exist")))
        }
    }
}

/// The name of a relation as it must be written here.
pub fn relation_name(call: &Call<'_>, oid: i64) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let snapshot = call.snapshot();
    if let Some(relation) = snapshot.relation(oid as u32) {
        return qualified(relation);
    }
    let system = ["pg_catalog", "information_schema"].into_iter().flat_map(super::relations::of_schema);
    let found = system.into_iter().find(|relation| i64::from(relation.oid) == oid);
    match found {
        Some(relation) if relation.schema == "pg_catalog" => relation.name.to_owned(),
        Some(relation) => format!("{}.{}", relation.schema, relation.name),
        None => oid.to_string(),
    }
}

fn qualified(relation: &RelationObject) -> String {
    let name = quoted_name(&relation.name);
    match relation.schema.name.as_str() {
        "public" => name,
        schema => format!("{}.{name}", quoted_name(schema)),
    }
}

fn schema_name(call: &Call<'_>, oid: i64) -> String {
    let snapshot = call.snapshot();
    let found = snapshot.schemas.iter().find(|schema| i64::from(schema.oid) == oid);
    found.map_or_else(|| oid.to_string(), |schema| quoted_name(&schema.name))
}

/// The name of a role as it must be written.
fn role_name(call: &Call<'_>, oid: i64) -> String {
    let snapshot = call.snapshot();
    let found = snapshot.roles.iter().find(|role| i64::from(role.oid) == oid);
    found.map_or_else(|| oid.to_string(), |role| quoted_name(&role.name))
}
