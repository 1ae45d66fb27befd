//! The rows of `pg_catalog`, from a snapshot; relations that are not here have none.

use super::relations::{self, Relation};
use super::rows::{Cell, Rows};
use super::snapshot::{
    ColumnObject, KeyObject, OWNER_OID, RelationObject, RoleObject, Snapshot, type_of, type_of_field,
};
use super::{Surroundings, procedures};
use crate::engine::shared::Engine;
use crate::engine::storage::{Acl, AclKind};
use crate::postgres;

/// The table of files in pg_class's catalog itself: `d.classoid`.
const PG_CLASS: u32 = 1259;

/// The database: the first number that PostgreSQL gives to one that a user makes.
const DATABASE_OID: u32 = 16_384;

/// The role that owns everything.
fn owner() -> Cell {
    OWNER_OID.into()
}

/// The rights on a thing as PostgreSQL lists them.
fn items(snapshot: &Snapshot, acl: &Acl, kind: AclKind) -> Cell {
    acl.items(snapshot.owner(acl).1, kind).map_or(Cell::Null, Cell::Texts)
}

/// Puts the rows of a relation of `pg_catalog`.
pub fn fill(rows: &mut Rows, name: &str, snapshot: &Snapshot, around: &Surroundings, engine: &Engine) {
    match name {
        "pg_namespace" => namespaces(rows, snapshot),
        "pg_class" => classes(rows, snapshot),
        "pg_attribute" => attributes(rows, snapshot),
        "pg_type" => text(rows, postgres::PG_TYPE_ROWS),
        "pg_attrdef" => defaults(rows, snapshot),
        "pg_constraint" => {
            constraints(rows, snapshot);
            keys(rows, snapshot);
        }
        "pg_index" => indexes(rows, snapshot),
        "pg_sequence" => sequence_bounds(rows, snapshot),
        "pg_sequences" => sequences(rows, snapshot),
        "pg_depend" => dependencies(rows, snapshot),
        "pg_indexes" => index_texts(rows, snapshot),
        "pg_description" => descriptions(rows, snapshot, around),
        "pg_prepared_statements" => prepared(rows, around),
        "pg_cursors" => cursors(rows, around),
        "pg_database" => databases(rows, around),
        "pg_roles" | "pg_authid" => roles(rows, snapshot),
        "pg_user" | "pg_shadow" => users(rows, snapshot),
        "pg_auth_members" => members(rows, snapshot),
        "pg_group" => groups(rows, snapshot),
        "pg_proc" => procedures::fill(rows, around),
        "pg_tables" => tables(rows, snapshot),
        "pg_views" => views(rows, snapshot),
        "pg_settings" => settings(rows, around),
        "pg_stat_activity" => activity(rows, snapshot, around, engine),
        "pg_stat_progress_train" => trainings(rows, around, engine),
        "pg_stat_user_tables" | "pg_stat_all_tables" => statistics(rows, snapshot),
        "pg_tablespace" => text(rows, include_str!("data/pg_tablespace.tsv")),
        "pg_am" => text(rows, include_str!("data/pg_am.tsv")),
        "pg_collation" => text(rows, include_str!("data/pg_collation.tsv")),
        "pg_language" => text(rows, include_str!("data/pg_language.tsv")),
        "pg_range" => text(rows, include_str!("data/pg_range.tsv")),
        "pg_opclass" => text(rows, include_str!("data/pg_opclass.tsv")),
        "pg_opfamily" => text(rows, include_str!("data/pg_opfamily.tsv")),
        "pg_operator" => text(rows, include_str!("data/pg_operator.tsv")),
        "pg_cast" => text(rows, include_str!("data/pg_cast.tsv")),
        "pg_timezone_names" => zones(rows),
        "pg_get_keywords" => keywords(rows),
        _ => {}
    }
}

fn text(rows: &mut Rows, lines: &'static str) {
    lines.lines().for_each(|line| rows.push_text(line));
}

fn namespaces(rows: &mut Rows, snapshot: &Snapshot) {
    for schema in &snapshot.schemas {
        rows.push([
            ("oid", schema.oid.into()),
            ("nspname", schema.name.as_str().into()),
            ("nspowner", snapshot.owner(&schema.acl).0.into()),
            ("nspacl", items(snapshot, &schema.acl, AclKind::Schema)),
        ]);
    }
}

/// Relations of PostgreSQL's own schemas, with the numbers of the schemas.
fn system_relations() -> impl Iterator<Item = (&'static Relation, u32)> {
    let own = relations::of_schema("pg_catalog").map(|r| (r, 11));
    let own = own.filter(|(relation, _)| relation.oid != 0);
    own.chain(relations::of_schema("information_schema").map(|r| (r, 13_183)))
}

fn classes(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in &snapshot.relations {
        let tuples = relation.rows.map_or(-1.0, |n| n as f64);
        rows.push([
            ("oid", relation.oid.into()),
            ("relname", relation.name.as_str().into()),
            ("relnamespace", relation.schema.oid.into()),
            ("relowner", snapshot.owner(&relation.acl).0.into()),
            ("relacl", items(snapshot, &relation.acl, relation.acl_kind())),
            ("relam", if relation.kind == 'r' { 2_i64 } else { 0 }.into()),
            ("relfilenode", if relation.kind == 'r' { relation.oid } else { 0 }.into()),
            ("reltuples", tuples.into()),
            ("relkind", relation.kind.to_string().into()),
            ("relpersistence", "p".into()),
            ("relnatts", relation.columns.iter().map(|c| i64::from(c.number)).max().unwrap_or(0).into()),
            ("relchecks", (relation.checks.len() as i64).into()),
            ("relhasindex", relation.keys.iter().any(|key| key.kind != 'f').into()),
            ("relhasrules", (relation.kind == 'v').into()),
            ("relispopulated", true.into()),
            ("relreplident", if relation.kind == 'r' { "d" } else { "n" }.into()),
        ]);
    }
    for (relation, number, key) in indexed(snapshot) {
        rows.push([
            ("oid", relation.index_oid(number).into()),
            ("relname", key.name.as_str().into()),
            ("relnamespace", relation.schema.oid.into()),
            ("relowner", snapshot.owner(&relation.acl).0.into()),
            ("relam", 403_i64.into()),
            ("reltuples", (-1.0).into()),
            ("relkind", "i".into()),
            ("relpersistence", "p".into()),
            ("relnatts", (key.columns.len() as i64).into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]);
    }
    for object in &snapshot.sequences {
        rows.push([
            ("oid", object.oid.into()),
            ("relname", object.name.as_str().into()),
            ("relnamespace", object.schema.oid.into()),
            ("relowner", snapshot.owner(&object.sequence.acl).0.into()),
            ("relacl", items(snapshot, &object.sequence.acl, AclKind::Sequence)),
            ("reltuples", 1.0.into()),
            ("relkind", "S".into()),
            ("relpersistence", "p".into()),
            ("relnatts", 3_i64.into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]);
    }
    for (relation, schema) in system_relations() {
        rows.push([
            ("oid", relation.oid.into()),
            ("relname", relation.name.into()),
            ("relnamespace", schema.into()),
            ("relowner", owner()),
            ("reltuples", (-1.0).into()),
            ("relkind", relation.kind.into()),
            ("relpersistence", "p".into()),
            ("relnatts", (relation.columns.len() as i64).into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]);
    }
}

fn attributes(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in &snapshot.relations {
        for column in &relation.columns {
            let (oid, modifier) = type_of_field(&column.field);
            let told = identity(snapshot, relation, column);
            attribute(rows, relation.oid, column.number, &column.name, (oid, modifier), Some((column, told)));
        }
    }
    for (relation, _) in system_relations() {
        for ((name, pg_type), number) in relation.columns.iter().zip(1..) {
            let oid = postgres::by_name(pg_type).map_or(25, |t| t.oid);
            attribute(rows, relation.oid, number, name, (oid, -1), None);
        }
    }
}

fn attribute(
    rows: &mut Rows,
    relation: u32,
    number: i32,
    name: &str,
    (oid, modifier): (u32, i32),
    column: Option<(&ColumnObject, bool)>,
) {
    let found = postgres::by_oid(oid);
    let collation = if matches!(oid, 19 | 25 | 1042 | 1043) { 100_i64 } else { 0 };
    rows.push([
        ("attrelid", relation.into()),
        ("attname", name.into()),
        ("atttypid", oid.into()),
        ("attstattarget", (-1).into()),
        ("attlen", found.map_or(-1, |t| i64::from(t.length)).into()),
        ("attnum", number.into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", modifier.into()),
        ("attndims", i64::from(found.is_some_and(|t| t.category == "A")).into()),
        ("attbyval", found.is_some_and(|t| matches!(t.length, 1 | 2 | 4 | 8)).into()),
        ("attalign", "i".into()),
        ("attstorage", if found.is_some_and(|t| t.length > 0) { "p" } else { "x" }.into()),
        ("attnotnull", column.is_some_and(|(c, _)| c.required).into()),
        ("atthasdef", column.is_some_and(|(c, identity)| c.default_sql.is_some() && !identity).into()),
        ("attidentity", if column.is_some_and(|(_, identity)| identity) { "d" } else { "" }.into()),
        ("attislocal", true.into()),
        ("attcollation", collation.into()),
    ]);
}

/// True for columns that are GENERATED AS IDENTITY.
fn identity(snapshot: &Snapshot, relation: &RelationObject, column: &ColumnObject) -> bool {
    snapshot.sequence_of(relation, column.number).is_some_and(|object| object.sequence.identity)
}

fn sequence_bounds(rows: &mut Rows, snapshot: &Snapshot) {
    for object in &snapshot.sequences {
        let sequence = &object.sequence;
        rows.push([
            ("seqrelid", object.oid.into()),
            ("seqtypid", type_of(&sequence.data_type).0.into()),
            ("seqstart", sequence.start.into()),
            ("seqincrement", sequence.increment.into()),
            ("seqmax", sequence.max.into()),
            ("seqmin", sequence.min.into()),
            ("seqcache", 1_i64.into()),
            ("seqcycle", false.into()),
        ]);
    }
}

fn sequences(rows: &mut Rows, snapshot: &Snapshot) {
    for object in &snapshot.sequences {
        let sequence = &object.sequence;
        rows.push([
            ("schemaname", object.schema.name.as_str().into()),
            ("sequencename", object.name.as_str().into()),
            ("sequenceowner", snapshot.owner(&sequence.acl).1.into()),
            ("data_type", type_of(&sequence.data_type).0.into()),
            ("start_value", sequence.start.into()),
            ("min_value", sequence.min.into()),
            ("max_value", sequence.max.into()),
            ("increment_by", sequence.increment.into()),
            ("cycle", false.into()),
            ("cache_size", 1_i64.into()),
        ]);
    }
}

/// The sequences of columns: with `a` for SERIAL and `i` for identities.
fn dependencies(rows: &mut Rows, snapshot: &Snapshot) {
    for object in &snapshot.sequences {
        let Some((table, column)) = object.of else { continue };
        rows.push([
            ("classid", PG_CLASS.into()),
            ("objid", object.oid.into()),
            ("objsubid", 0_i64.into()),
            ("refclassid", PG_CLASS.into()),
            ("refobjid", table.into()),
            ("refobjsubid", column.into()),
            ("deptype", if object.sequence.identity { "i" } else { "a" }.into()),
        ]);
    }
}

fn defaults(rows: &mut Rows, snapshot: &Snapshot) {
    for (relation, column) in columns(snapshot) {
        if let Some(sql) = column.default_sql.as_ref().filter(|_| !identity(snapshot, relation, column)) {
            rows.push([
                ("oid", relation.default_oid(column).into()),
                ("adrelid", relation.oid.into()),
                ("adnum", column.number.into()),
                ("adbin", sql.as_str().into()),
            ]);
        }
    }
}

fn columns(snapshot: &Snapshot) -> impl Iterator<Item = (&RelationObject, &ColumnObject)> {
    snapshot
        .relations
        .iter()
        .flat_map(|relation| relation.columns.iter().map(move |column| (relation, column)))
}

fn constraints(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in &snapshot.relations {
        for (number, (name, sql)) in relation.checks.iter().enumerate() {
            rows.push([
                ("oid", relation.check_oid(number).into()),
                ("conname", name.as_str().into()),
                ("connamespace", relation.schema.oid.into()),
                ("contype", "c".into()),
                ("convalidated", true.into()),
                ("conrelid", relation.oid.into()),
                ("confupdtype", " ".into()),
                ("confdeltype", " ".into()),
                ("confmatchtype", " ".into()),
                ("conislocal", true.into()),
                ("conbin", sql.as_str().into()),
            ]);
        }
    }
}

fn keys(rows: &mut Rows, snapshot: &Snapshot) {
    for (relation, number, key) in snapshot.constraints() {
        let referred = snapshot.referred(key);
        let (confrelid, confkey) = match &referred {
            Some((table, columns)) => (table.oid, Cell::Ints(wide(columns))),
            None => (0, Cell::Null),
        };
        let foreign = key.kind == 'f';
        // The key that it refers to.
        let index = referred.as_ref().and_then(|(table, columns)| {
            let same = |key: &KeyObject| matches!(key.kind, 'p' | 'u') && key.columns == *columns;
            Some(table.index_oid(table.keys.iter().position(same)?))
        });
        let index = index.unwrap_or(0);
        rows.push([
            ("oid", relation.key_oid(number).into()),
            ("conname", key.name.as_str().into()),
            ("connamespace", relation.schema.oid.into()),
            ("contype", key.kind.to_string().into()),
            ("convalidated", false.into()),
            ("conrelid", relation.oid.into()),
            ("conindid", if foreign { index } else { relation.index_oid(number) }.into()),
            ("confrelid", confrelid.into()),
            ("confupdtype", if foreign { "a" } else { " " }.into()),
            ("confdeltype", if foreign { "a" } else { " " }.into()),
            ("confmatchtype", if foreign { "s" } else { " " }.into()),
            ("conislocal", true.into()),
            ("conkey", Cell::Ints(wide(&key.columns))),
            ("confkey", confkey),
        ]);
    }
}

fn wide(numbers: &[i32]) -> Vec<i64> {
    numbers.iter().map(|number| i64::from(*number)).collect()
}

/// Keys that clients take for unique indexes.
fn indexed(snapshot: &Snapshot) -> impl Iterator<Item = (&RelationObject, usize, &KeyObject)> {
    snapshot.keys().filter(|(.., key)| key.kind != 'f')
}

fn indexes(rows: &mut Rows, snapshot: &Snapshot) {
    for (relation, number, key) in indexed(snapshot) {
        let count = key.columns.len();
        rows.push([
            ("indexrelid", relation.index_oid(number).into()),
            ("indrelid", relation.oid.into()),
            ("indnatts", (count as i64).into()),
            ("indnkeyatts", (count as i64).into()),
            ("indisunique", (key.kind != 'i').into()),
            ("indisprimary", (key.kind == 'p').into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", Cell::Ints(wide(&key.columns))),
            ("indcollation", Cell::Ints(vec![0; count])),
            ("indclass", Cell::Ints(vec![0; count])),
            ("indoption", Cell::Ints(vec![0; count])),
        ]);
    }
}

fn index_texts(rows: &mut Rows, snapshot: &Snapshot) {
    for (relation, _, key) in indexed(snapshot) {
        rows.push([
            ("schemaname", relation.schema.name.as_str().into()),
            ("tablename", relation.name.as_str().into()),
            ("indexname", key.name.as_str().into()),
            ("indexdef", relation.index_text(key).into()),
        ]);
    }
}

fn prepared(rows: &mut Rows, around: &Surroundings) {
    let Some(session) = around.planner.upgrade() else { return };
    for statement in session.prepared_statements() {
        let types = statement.parameters.iter().filter_map(|name| postgres::by_name(name));
        rows.push([
            ("name", statement.name.into()),
            ("statement", statement.text.into()),
            ("parameter_types", Cell::Ints(types.map(|t| i64::from(t.oid)).collect())),
            ("from_sql", true.into()),
            ("generic_plans", (statement.generic_plans as i64).into()),
            ("custom_plans", (statement.custom_plans as i64).into()),
        ]);
    }
}

fn cursors(rows: &mut Rows, around: &Surroundings) {
    let Some(session) = around.planner.upgrade() else { return };
    for (name, text, hold) in session.cursors() {
        rows.push([("name", name.into()), ("statement", text.into()), ("is_holdable", hold.into())]);
    }
}

/// The tables of functions and of constraints in pg_class.
const PG_PROC: u32 = 1255;
const PG_CONSTRAINT: u32 = 2606;

fn descriptions(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings) {
    for (oid, text) in procedures::descriptions(around) {
        rows.push([("objoid", oid.into()), ("classoid", PG_PROC.into()), ("description", text.into())]);
    }
    for (oid, text) in snapshot.constraint_comments() {
        rows.push([("objoid", oid.into()), ("classoid", PG_CONSTRAINT.into()), ("description", text.into())]);
    }
    let mut push = |relation: &RelationObject, number: i32, text: &Option<String>| {
        if let Some(text) = text {
            rows.push([
                ("objoid", relation.oid.into()),
                ("classoid", PG_CLASS.into()),
                ("objsubid", number.into()),
                ("description", text.as_str().into()),
            ]);
        }
    };
    snapshot.relations.iter().for_each(|relation| push(relation, 0, &relation.comment));
    columns(snapshot).for_each(|(relation, column)| push(relation, column.number, &column.comment));
}

fn databases(rows: &mut Rows, around: &Surroundings) {
    rows.push([
        ("oid", DATABASE_OID.into()),
        ("datname", around.database().into()),
        ("datdba", owner()),
        ("encoding", 6_i64.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("datfrozenxid", 1_i64.into()),
        ("datminmxid", 1_i64.into()),
        ("dattablespace", 1_663_i64.into()),
        ("datcollate", "C.UTF-8".into()),
        ("datctype", "C.UTF-8".into()),
    ]);
}

fn roles(rows: &mut Rows, snapshot: &Snapshot) {
    for role in &snapshot.roles {
        rows.push([
            ("oid", role.oid.into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", role.superuser.into()),
            ("rolcreatedb", false.into()),
            ("rolcanlogin", role.login.into()),
            ("rolconnlimit", (-1).into()),
            ("rolpassword", "********".into()),
        ]);
    }
}

fn users(rows: &mut Rows, snapshot: &Snapshot) {
    for role in snapshot.roles.iter().filter(|role| role.login) {
        rows.push([
            ("usename", role.name.as_str().into()),
            ("usesysid", role.oid.into()),
            ("usesuper", role.superuser.into()),
            ("passwd", "********".into()),
        ]);
    }
}

fn members(rows: &mut Rows, snapshot: &Snapshot) {
    for (group, member) in memberships(snapshot) {
        rows.push([
            ("roleid", group.oid.into()),
            ("member", member.oid.into()),
            ("grantor", owner()),
            ("admin_option", false.into()),
        ]);
    }
}

/// Groups with each of their members.
fn memberships(snapshot: &Snapshot) -> impl Iterator<Item = (&RoleObject, &RoleObject)> {
    snapshot.roles.iter().flat_map(move |member| {
        let groups = member.member_of.iter();
        groups
            .filter_map(move |name| snapshot.roles.iter().find(|r| r.name == *name))
            .map(move |g| (g, member))
    })
}

fn groups(rows: &mut Rows, snapshot: &Snapshot) {
    for group in snapshot.roles.iter().filter(|role| !role.login) {
        let members = memberships(snapshot).filter(|(of, _)| of.oid == group.oid);
        rows.push([
            ("groname", group.name.as_str().into()),
            ("grosysid", group.oid.into()),
            ("grolist", Cell::Ints(members.map(|(_, member)| i64::from(member.oid)).collect())),
        ]);
    }
}

fn tables(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in snapshot.relations.iter().filter(|relation| relation.kind != 'v') {
        rows.push([
            ("schemaname", relation.schema.name.as_str().into()),
            ("tablename", relation.name.as_str().into()),
            ("tableowner", snapshot.owner(&relation.acl).1.into()),
        ]);
    }
}

fn views(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in snapshot.relations.iter().filter(|relation| relation.kind == 'v') {
        rows.push([
            ("schemaname", relation.schema.name.as_str().into()),
            ("viewname", relation.name.as_str().into()),
            ("viewowner", snapshot.owner(&relation.acl).1.into()),
            ("definition", relation.definition.clone().into()),
        ]);
    }
}

fn settings(rows: &mut Rows, around: &Surroundings) {
    for (name, value, description) in around.variables.read().list() {
        rows.push([
            ("name", name.into()),
            ("setting", value.as_str().into()),
            ("category", "Foretell".into()),
            ("short_desc", description.into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", "default".into()),
            ("boot_val", value.as_str().into()),
            ("reset_val", value.into()),
            ("pending_restart", false.into()),
        ]);
    }
}

fn activity(rows: &mut Rows, snapshot: &Snapshot, around: &Surroundings, engine: &Engine) {
    for session in engine.activity.list() {
        let now = session.now();
        // What others run is shown to those who have their rights.
        let open = around.includes(&session.role);
        let told = |text: &str| if open { Cell::from(text) } else { Cell::Null };
        let role = snapshot.roles.iter().find(|role| role.name == session.role);
        rows.push([
            ("datid", DATABASE_OID.into()),
            ("datname", around.database().into()),
            ("pid", session.pid.into()),
            ("usesysid", role.map(|role| role.oid).into()),
            ("usename", session.role.as_str().into()),
            ("application_name", now.application.as_str().into()),
            ("client_addr", session.address.map(|address| address.ip().to_string()).into()),
            ("client_port", session.address.map_or(-1, |address| i32::from(address.port())).into()),
            ("backend_start", session.started_at.timestamp_micros().into()),
            ("query_start", now.changed_at.timestamp_micros().into()),
            ("state_change", now.changed_at.timestamp_micros().into()),
            ("state", told(if now.running.is_some() { "active" } else { "idle" })),
            ("query", told(&now.query)),
            ("backend_type", "client backend".into()),
        ]);
    }
}

fn trainings(rows: &mut Rows, around: &Surroundings, engine: &Engine) {
    let Ok(rights) = around.actor.rights(&engine.catalog) else { return };
    let all = engine.trainings.list().into_iter();
    for training in all.filter(|training| training.outcome.is_none() && rights.sees(&training.acl)) {
        let progress = &training.progress;
        rows.push([
            ("pid", training.pid.into()),
            ("datid", DATABASE_OID.into()),
            ("datname", around.database().into()),
            ("job", (training.job as i64).into()),
            ("model", training.model.as_str().into()),
            ("phase", progress.phase.into()),
            ("epoch", (progress.epoch as i64).into()),
            ("epochs", (progress.epochs as i64).into()),
            ("percent", (progress.fraction * 100.0).into()),
            ("loss", progress.train_loss.into()),
            ("elapsed", training.seconds.into()),
            ("eta", training.eta().into()),
        ]);
    }
}

fn statistics(rows: &mut Rows, snapshot: &Snapshot) {
    for relation in snapshot.relations.iter().filter(|relation| relation.kind == 'r') {
        rows.push([
            ("relid", relation.oid.into()),
            ("schemaname", relation.schema.name.as_str().into()),
            ("relname", relation.name.as_str().into()),
            ("n_live_tup", relation.rows.map_or(0, |n| n as i64).into()),
        ]);
    }
}

fn keywords(rows: &mut Rows) {
    for word in datafusion::sql::sqlparser::keywords::ALL_KEYWORDS {
        rows.push([
            ("word", word.to_lowercase().into()),
            ("catcode", "U".into()),
            ("barelabel", true.into()),
            ("catdesc", "unreserved".into()),
            ("baredesc", "can be bare label".into()),
        ]);
    }
}

fn zones(rows: &mut Rows) {
    for name in chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()) {
        rows.push([("name", name.into()), ("abbrev", name.into()), ("is_dst", false.into())]);
    }
}
