//! The rows of `information_schema`, from a snapshot; relations that are not here have none.

use super::Surroundings;
use super::rows::{Cell, Rows};
use super::snapshot::{ColumnObject, RelationObject, SequenceObject, Snapshot, type_of, type_of_field};
use crate::engine::storage::{PUBLIC, Privilege};
use crate::postgres;

/// Puts the rows of a relation of `information_schema`.
pub fn fill(rows: &mut Rows, name: &str, snapshot: &Snapshot, around: &Surroundings) {
    match name {
        "tables" => tables(rows, snapshot, around),
        "columns" => columns(rows, snapshot, around),
        "sequences" => sequences(rows, snapshot, around),
        "schemata" => schemata(rows, snapshot, around),
        "views" => views(rows, snapshot, around),
        "table_constraints" => constraints(rows, snapshot, around),
        "key_column_usage" => key_columns(rows, snapshot, around),
        "constraint_column_usage" => used_columns(rows, snapshot, around),
        "referential_constraints" => foreign_keys(rows, snapshot, around),
        "check_constraints" => checks(rows, snapshot, around),
        "information_schema_catalog_name" => rows.push([("catalog_name", around.database().into())]),
        "enabled_roles" => {
            for role in snapshot.roles.iter().filter(|role| around.includes(&role.name)) {
                rows.push([("role_name", role.name.as_str().into())]);
            }
        }
        "applicable_roles" => applicable_roles(rows, snapshot, around),
        "table_privileges" | "role_table_grants" => privileges(rows, snapshot, around),
        _ => {}
    }
}

fn applicable_roles(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for member in snapshot.roles.iter().filter(|role| around.includes(&role.name)) {
        for group in &member.member_of {
            rows.push([
                ("grantee", member.name.as_str().into()),
                ("role_name", group.as_str().into()),
                ("is_grantable", yes_no(false)),
            ]);
        }
    }
}

fn privileges(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for relation in &snapshot.relations {
        let owner = snapshot.owner(&relation.acl).1;
        let all = relation.acl_kind().privileges();
        let granted =
            relation.acl.grants.iter().flat_map(|(role, held)| held.iter().map(move |p| (role.as_str(), *p)));
        let own = all.iter().map(|privilege| (owner, *privilege));
        for (grantee, privilege) in own.chain(granted.filter(|(role, _)| *role != owner)) {
            rows.push(table_cells(relation, around).into_iter().chain([
                ("grantor", owner.into()),
                ("grantee", if grantee == PUBLIC { "PUBLIC" } else { grantee }.into()),
                ("privilege_type", privilege.word().into()),
                ("is_grantable", yes_no(grantee == owner)),
                ("with_hierarchy", yes_no(privilege == Privilege::Select)),
            ]));
        }
    }
}

fn yes_no(yes: bool) -> Cell {
    if yes { "YES" } else { "NO" }.into()
}

fn tables(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for relation in &snapshot.relations {
        let kind = match relation.kind {
            'v' => "VIEW",
            'f' => "FOREIGN",
            _ => "BASE TABLE",
        };
        rows.push(table_cells(relation, around).into_iter().chain([
            ("table_type", kind.into()),
            ("is_insertable_into", yes_no(relation.kind == 'r')),
            ("is_typed", yes_no(false)),
        ]));
    }
}

fn sequences(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for object in snapshot.sequences.iter().filter(|object| !object.sequence.identity) {
        let sequence = &object.sequence;
        let (oid, _) = type_of(&sequence.data_type);
        let bits = postgres::by_oid(oid).map_or(64, |found| i64::from(found.length) * 8);
        rows.push([
            ("sequence_catalog", around.database().into()),
            ("sequence_schema", object.schema.name.as_str().into()),
            ("sequence_name", object.name.as_str().into()),
            ("data_type", postgres::format_type(oid, None).into()),
            ("numeric_precision", bits.into()),
            ("numeric_precision_radix", 2_i64.into()),
            ("numeric_scale", 0_i64.into()),
            ("start_value", sequence.start.to_string().into()),
            ("minimum_value", sequence.min.to_string().into()),
            ("maximum_value", sequence.max.to_string().into()),
            ("increment", sequence.increment.to_string().into()),
            ("cycle_option", yes_no(false)),
        ]);
    }
}

fn columns(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for relation in &snapshot.relations {
        for (column, position) in relation.columns.iter().zip(1..) {
            let identity =
                snapshot.sequence_of(relation, column.number).filter(|object| object.sequence.identity);
            push_column(rows, relation, column, position, around, identity);
        }
    }
}

fn push_column(
    rows: &mut Rows,
    relation: &RelationObject,
    column: &ColumnObject,
    position: i32,
    around: &Surroundings,
    identity: Option<&SequenceObject>,
) {
    let (oid, modifier) = type_of_field(&column.field);
    let found = postgres::by_oid(oid);
    let array = found.is_some_and(|t| t.category == "A");
    let data_type = if array { "ARRAY".to_owned() } else { postgres::format_type(oid, None) };
    let (precision, radix, scale) = match oid {
        21 => (Some(16), Some(2), Some(0)),
        23 => (Some(32), Some(2), Some(0)),
        20 => (Some(64), Some(2), Some(0)),
        700 => (Some(24), Some(2), None),
        701 => (Some(53), Some(2), None),
        1700 if modifier >= 0 => (Some((modifier - 4) >> 16), Some(10), Some((modifier - 4) & 0x7ff)),
        1700 => (None, Some(10), None),
        _ => (None, None, None),
    };
    let times = matches!(oid, 1082 | 1083 | 1114 | 1184 | 1186);
    let time_precision = times.then_some(if oid == 1082 { 0 } else { 6 });
    let octets = matches!(oid, 25 | 1043).then_some(1_073_741_824_i64);
    rows.push([
        ("table_catalog", around.database().into()),
        ("table_schema", relation.schema.name.as_str().into()),
        ("table_name", relation.name.as_str().into()),
        ("column_name", column.name.as_str().into()),
        ("ordinal_position", position.into()),
        ("column_default", column.default_sql.clone().filter(|_| identity.is_none()).into()),
        ("is_nullable", yes_no(!column.required)),
        ("data_type", data_type.into()),
        ("character_maximum_length", (oid == 1043 && modifier > 4).then_some(modifier - 4).into()),
        ("character_octet_length", octets.into()),
        ("numeric_precision", precision.into()),
        ("numeric_precision_radix", radix.into()),
        ("numeric_scale", scale.into()),
        ("datetime_precision", time_precision.into()),
        ("udt_catalog", around.database().into()),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", found.map_or("text", |t| t.name).into()),
        ("dtd_identifier", position.to_string().into()),
        ("is_self_referencing", yes_no(false)),
        ("is_identity", yes_no(identity.is_some())),
        ("identity_generation", identity.map(|_| "BY DEFAULT").into()),
        ("identity_start", identity.map(|object| object.sequence.start.to_string()).into()),
        ("identity_increment", identity.map(|object| object.sequence.increment.to_string()).into()),
        ("identity_maximum", identity.map(|object| object.sequence.max.to_string()).into()),
        ("identity_minimum", identity.map(|object| object.sequence.min.to_string()).into()),
        ("identity_cycle", yes_no(false)),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes_no(relation.kind == 'r')),
    ]);
}

fn schemata(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for schema in &snapshot.schemas {
        rows.push([
            ("catalog_name", around.database().into()),
            ("schema_name", schema.name.as_str().into()),
            ("schema_owner", snapshot.owner(&schema.acl).1.into()),
        ]);
    }
}

fn views(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for relation in snapshot.relations.iter().filter(|relation| relation.kind == 'v') {
        rows.push(table_cells(relation, around).into_iter().chain([
            ("view_definition", relation.definition.clone().into()),
            ("check_option", "NONE".into()),
            ("is_updatable", yes_no(false)),
            ("is_insertable_into", yes_no(false)),
            ("is_trigger_updatable", yes_no(false)),
            ("is_trigger_deletable", yes_no(false)),
            ("is_trigger_insertable_into", yes_no(false)),
        ]));
    }
}

fn constraints(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    let checks = snapshot
        .relations
        .iter()
        .flat_map(|relation| relation.checks.iter().map(move |(name, _)| (relation, name.as_str(), "CHECK")));
    let keys = snapshot.constraints().map(|(relation, _, key)| {
        let kind = match key.kind {
            'p' => "PRIMARY KEY",
            'u' => "UNIQUE",
            _ => "FOREIGN KEY",
        };
        (relation, key.name.as_str(), kind)
    });
    for (relation, name, kind) in checks.chain(keys) {
        rows.push(
            constraint_cells(relation, name, around).into_iter().chain(table_cells(relation, around)).chain(
                [
                    ("constraint_type", kind.into()),
                    ("is_deferrable", yes_no(false)),
                    ("initially_deferred", yes_no(false)),
                    ("enforced", yes_no(kind == "CHECK")),
                ],
            ),
        );
    }
}

/// The cells that name a table.
fn table_cells(relation: &RelationObject, around: &Surroundings) -> [(&'static str, Cell); 3] {
    [
        ("table_catalog", around.database().into()),
        ("table_schema", relation.schema.name.as_str().into()),
        ("table_name", relation.name.as_str().into()),
    ]
}

/// The cells that name a constraint of a table.
fn constraint_cells(
    relation: &RelationObject,
    name: &str,
    around: &Surroundings,
) -> [(&'static str, Cell); 3] {
    [
        ("constraint_catalog", around.database().into()),
        ("constraint_schema", relation.schema.name.as_str().into()),
        ("constraint_name", name.into()),
    ]
}

fn key_columns(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for (relation, _, key) in snapshot.constraints() {
        for (column, position) in relation.column_names(&key.columns).into_iter().zip(1..) {
            let names = constraint_cells(relation, &key.name, around).into_iter();
            rows.push(names.chain(table_cells(relation, around)).chain([
                ("column_name", column.into()),
                ("ordinal_position", position.into()),
                ("position_in_unique_constraint", (key.kind == 'f').then_some(position).into()),
            ]));
        }
    }
}

fn used_columns(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for (relation, _, key) in snapshot.constraints() {
        let referred = snapshot.referred(key);
        let (table, columns) =
            referred.as_ref().map_or((relation, &key.columns), |(table, columns)| (*table, columns));
        for column in table.column_names(columns) {
            let names = constraint_cells(relation, &key.name, around).into_iter();
            rows.push(names.chain(table_cells(table, around)).chain([("column_name", column.into())]));
        }
    }
}

fn foreign_keys(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for (relation, _, key) in snapshot.constraints().filter(|(.., key)| key.kind == 'f') {
        let Some((table, columns)) = snapshot.referred(key) else { continue };
        let unique = table.keys.iter().find(|key| key.kind != 'f' && key.columns == columns);
        rows.push(constraint_cells(relation, &key.name, around).into_iter().chain([
            ("unique_constraint_catalog", around.database().into()),
            ("unique_constraint_schema", table.schema.name.as_str().into()),
            ("unique_constraint_name", unique.map(|key| key.name.clone()).into()),
            ("match_option", "NONE".into()),
            ("update_rule", "NO ACTION".into()),
            ("delete_rule", "NO ACTION".into()),
        ]));
    }
}

fn checks(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for relation in &snapshot.relations {
        for (name, sql) in &relation.checks {
            let names = constraint_cells(relation, name, around).into_iter();
            rows.push(names.chain([("check_clause", sql.as_str().into())]));
        }
    }
}
