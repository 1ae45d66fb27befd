//! Everything that the catalogue tells, as it stands at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};

use crate::engine::access::Rights;
use crate::engine::functions::quoted_name;
use crate::engine::schemas::{FORECASTS, SYSTEM_SCHEMA};
use crate::engine::shared::Engine;
use crate::engine::storage::{
    Acl, AclKind, Contents, DEFAULT_SCHEMA, Entry, Key, KeyKind, PUBLIC, Privilege, Sequence, Table,
    TableName,
};
use crate::engine::system;
use crate::error::{Result, identifier};
use crate::postgres::PG_TYPE;

/// Numbers of what is not stored in the catalog: above those of stored things.
const SYSTEM_SCHEMA_OID: u32 = 0x3fff_0001;
const FORECASTS_OID: u32 = 0x3fff_0000;
const SYSTEM_VIEWS: u32 = 0x3fff_1000;
const MODELS: u32 = 0x6000_0000;
const PARTS: u32 = 0x2000_0000;
const CHECKS: u32 = 0x4000_0000;
const INDEXES: u32 = 0x8000_0000;

/// Numbers of PostgreSQL's own schemas and of its first role.
const PG_CATALOG_OID: u32 = 11;
const INFORMATION_SCHEMA_OID: u32 = 13_183;
/// The role that owns what was there before any role: PostgreSQL's bootstrap superuser.
pub const OWNER_OID: u32 = 10;

/// A schema.
#[derive(Debug, Clone)]
pub struct SchemaObject {
    /// Number.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// Its owner and what was granted on it.
    pub acl: Acl,
}

/// A column.
#[derive(Debug, Clone)]
pub struct ColumnObject {
    /// Number in its relation, from 1.
    pub number: i32,
    /// Name.
    pub name: String,
    /// Type.
    pub field: Field,
    /// True for NOT NULL.
    pub required: bool,
    /// SQL text of the DEFAULT.
    pub default_sql: Option<String>,
    /// Comment.
    pub comment: Option<String>,
}

/// A table or a view.
#[derive(Debug, Clone)]
pub struct RelationObject {
    /// Number.
    pub oid: u32,
    /// Its schema.
    pub schema: SchemaObject,
    /// Name.
    pub name: String,
    /// `r` table, `v` view, `f` table over files.
    pub kind: char,
    /// Columns, in order.
    pub columns: Vec<ColumnObject>,
    /// Comment.
    pub comment: Option<String>,
    /// SQL text of a view.
    pub definition: Option<String>,
    /// Names and texts of CHECK constraints.
    pub checks: Vec<(String, String)>,
    /// Keys.
    pub keys: Vec<KeyObject>,
    /// Comments on checks and keys, by their names.
    pub constraint_comments: BTreeMap<String, String>,
    /// Rows, when they were counted.
    pub rows: Option<u64>,
    /// Its owner and what was granted on it.
    pub acl: Acl,
}

/// A sequence.
#[derive(Debug, Clone)]
pub struct SequenceObject {
    /// Number.
    pub oid: u32,
    /// Its schema.
    pub schema: SchemaObject,
    /// Name.
    pub name: String,
    /// Bounds, step and owner.
    pub sequence: Arc<Sequence>,
    /// Numbers of the table and column that it goes with.
    pub of: Option<(u32, i32)>,
}

/// A key of a table.
#[derive(Debug, Clone)]
pub struct KeyObject {
    /// Name.
    pub name: String,
    /// `p` primary, `u` unique, `f` foreign; `i` index, `x` unique index.
    pub kind: char,
    /// Numbers of its columns.
    pub columns: Vec<i32>,
    /// Schema, table and columns that a foreign key points at.
    pub references: Option<(String, String, Vec<String>)>,
}

impl RelationObject {
    /// The number of a key.
    pub fn key_oid(&self, number: usize) -> u32 {
        self.check_oid(self.checks.len() + number)
    }

    /// The number of the index that clients take a key for.
    pub fn index_oid(&self, number: usize) -> u32 {
        part(INDEXES, self.oid, number as i32)
    }

    /// Names of columns by their numbers.
    pub fn column_names(&self, numbers: &[i32]) -> Vec<String> {
        let name = |number: &i32| self.columns.iter().find(|column| column.number == *number);
        numbers.iter().filter_map(name).map(|column| column.name.clone()).collect()
    }

    /// SQL's text of the index that clients take a key for.
    pub fn index_text(&self, key: &KeyObject) -> String {
        let columns =
            self.column_names(&key.columns).iter().map(|name| quoted_name(name)).collect::<Vec<_>>();
        let table = format!("{}.{}", quoted_name(&self.schema.name), quoted_name(&self.name));
        let name = quoted_name(&key.name);
        let unique = if key.kind == 'i' { "" } else { "UNIQUE " };
        format!("CREATE {unique}INDEX {name} ON {table} USING btree ({})", columns.join(", "))
    }

    /// SQL's text of a key.
    pub fn key_text(&self, key: &KeyObject) -> String {
        let list =
            |names: &[String]| names.iter().map(|name| quoted_name(name)).collect::<Vec<_>>().join(", ");
        let columns = list(&self.column_names(&key.columns));
        match (&key.references, key.kind) {
            (Some((schema, table, referred)), _) => {
                let table = quoted_name(table);
                let schema = if schema == DEFAULT_SCHEMA {
                    String::new()
                } else {
                    format!("{}.", quoted_name(schema))
                };
                let referred =
                    if referred.is_empty() { String::new() } else { format!("({})", list(referred)) };
                format!("FOREIGN KEY ({columns}) REFERENCES {schema}{table}{referred}")
            }
            (None, 'p') => format!("PRIMARY KEY ({columns})"),
            (None, _) => format!("UNIQUE ({columns})"),
        }
    }

    /// What rights there are on it.
    pub fn acl_kind(&self) -> AclKind {
        if self.schema.name == FORECASTS { AclKind::Model } else { AclKind::Table }
    }

    /// The number of the default of a column.
    pub fn default_oid(&self, column: &ColumnObject) -> u32 {
        part(PARTS, self.oid, column.number)
    }

    /// The number of a constraint.
    pub fn check_oid(&self, number: usize) -> u32 {
        part(CHECKS, self.oid, number as i32)
    }
}

/// A number for a part of a relation, the same whenever it is asked for.
fn part(base: u32, relation: u32, number: i32) -> u32 {
    base.wrapping_add((relation & 0x3_ffff) << 11).wrapping_add(number as u32 & 0x7ff)
}

/// A role.
#[derive(Debug, Clone)]
pub struct RoleObject {
    /// Number.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// May connect.
    pub login: bool,
    /// May do everything.
    pub superuser: bool,
    /// The roles whose rights it has.
    pub member_of: Vec<String>,
}

/// A model as its view.
#[derive(Debug)]
pub struct ModelObject {
    /// Name.
    pub name: String,
    /// Comment.
    pub comment: Option<String>,
    /// Columns of its forecast.
    pub fields: Vec<Field>,
    /// Its owner and what was granted on it.
    pub acl: Acl,
}

/// The state of the catalogue.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Schemas, by name.
    pub schemas: Vec<SchemaObject>,
    /// Tables and views.
    pub relations: Vec<RelationObject>,
    /// Sequences.
    pub sequences: Vec<SequenceObject>,
    /// Roles, by name.
    pub roles: Vec<RoleObject>,
}

impl Snapshot {
    /// Of stored things; `models` and `system` are the views that are not stored.
    pub fn of(engine: &Engine, models: Vec<ModelObject>) -> Result<Self> {
        let contents = engine.catalog.contents()?;
        let mut snapshot = Self { schemas: schemas(&contents), ..Self::default() };
        for (schema, stored) in &contents.schemas {
            for (name, entry) in &stored.entries {
                let name = TableName::new(schema, name);
                let object = snapshot.schema(schema).cloned();
                if let Entry::Sequence(found) = entry {
                    let oid = contents.oids.entry(&name, entry);
                    let made = |schema| sequence(&contents, schema, oid, &name, found);
                    snapshot.sequences.extend(object.map(made));
                    continue;
                }
                let rows = engine.catalog.known_row_count(&name);
                snapshot
                    .relations
                    .extend(object.map(|object| relation(&contents, object, &name, entry, rows)));
            }
        }
        let forecasts = snapshot.schema(FORECASTS).cloned();
        snapshot.relations.extend(forecasts.into_iter().flat_map(|schema| {
            models.iter().map(move |model| {
                let definition = Some(format!("SELECT * FROM forecast({})", identifier(&model.name)));
                let oid = MODELS + (steady_hash(&model.name) & 0x0fff_ffff);
                let (name, fields) = (model.name.clone(), model.fields.clone());
                let view = view(oid, schema.clone(), name, fields, definition, model.comment.clone());
                RelationObject { acl: model.acl.clone(), ..view }
            })
        }));
        snapshot.relations.extend(system::TABLES.iter().zip(0u32..).map(|(name, n)| {
            let schema = system_schema(SYSTEM_SCHEMA_OID, SYSTEM_SCHEMA);
            let fields = system::columns_of(name);
            let view = view(SYSTEM_VIEWS + n, schema, (*name).to_owned(), fields, None, None);
            RelationObject { acl: for_everybody(Privilege::Select), ..view }
        }));
        snapshot.roles = roles(&contents);
        Ok(snapshot)
    }

    /// What of it exists for a role.
    pub fn visible_to(&self, rights: &Rights) -> Self {
        let mut visible = self.clone();
        visible.relations.retain(|relation| rights.sees(&relation.acl));
        visible.sequences.retain(|object| rights.sees(&object.sequence.acl));
        let used: BTreeSet<u32> = visible.relations.iter().map(|relation| relation.schema.oid).collect();
        visible.schemas.retain(|schema| rights.sees(&schema.acl) || used.contains(&schema.oid));
        visible
    }

    /// Numbers and comments of checks and keys that have one.
    pub fn constraint_comments(&self) -> impl Iterator<Item = (u32, &str)> {
        self.relations.iter().flat_map(|relation| {
            let checks =
                relation.checks.iter().enumerate().map(|(n, (name, _))| (relation.check_oid(n), name));
            let keys = relation.keys.iter().enumerate().map(|(n, key)| (relation.key_oid(n), &key.name));
            let comment = |(oid, name)| Some((oid, relation.constraint_comments.get(name)?.as_str()));
            checks.chain(keys).filter_map(comment)
        })
    }

    /// The comment on the check or key of this number.
    pub fn constraint_comment(&self, oid: u32) -> Option<&str> {
        self.constraint_comments().find(|(number, _)| *number == oid).map(|(_, text)| text)
    }

    /// The sequence of this name.
    pub fn sequence_named(&self, schema: &str, name: &str) -> Option<&SequenceObject> {
        self.sequences.iter().find(|object| object.name == name && object.schema.name == schema)
    }

    /// The sequence of a column.
    pub fn sequence_of(&self, relation: &RelationObject, column: i32) -> Option<&SequenceObject> {
        self.sequences.iter().find(|object| object.of == Some((relation.oid, column)))
    }

    /// The keys of all tables, with their numbers.
    pub fn keys(&self) -> impl Iterator<Item = (&RelationObject, usize, &KeyObject)> {
        self.relations.iter().flat_map(|relation| {
            relation.keys.iter().enumerate().map(move |(number, key)| (relation, number, key))
        })
    }

    /// The keys that are constraints.
    pub fn constraints(&self) -> impl Iterator<Item = (&RelationObject, usize, &KeyObject)> {
        self.keys().filter(|(.., key)| matches!(key.kind, 'p' | 'u' | 'f'))
    }

    /// The table and the numbers of the columns that a key points at; those of its primary key where none are named.
    pub fn referred(&self, key: &KeyObject) -> Option<(&RelationObject, Vec<i32>)> {
        let (schema, table, columns) = key.references.as_ref()?;
        let relation = self.relation_named(schema, table)?;
        let number = |name: &String| relation.columns.iter().find(|column| column.name == *name);
        let numbers: Vec<i32> = columns.iter().filter_map(number).map(|column| column.number).collect();
        let primary = || relation.keys.iter().find(|key| key.kind == 'p').map(|key| key.columns.clone());
        Some((relation, if columns.is_empty() { primary().unwrap_or_default() } else { numbers }))
    }

    /// Number and name of the owner of a thing.
    pub fn owner(&self, acl: &Acl) -> (u32, &str) {
        let named = acl.owner.as_deref().and_then(|name| self.roles.iter().find(|role| role.name == name));
        let owner = named.or_else(|| self.roles.iter().find(|role| role.superuser));
        owner.map_or((OWNER_OID, "foretell"), |role| (role.oid, role.name.as_str()))
    }

    /// The schema of this name.
    pub fn schema(&self, name: &str) -> Option<&SchemaObject> {
        self.schemas.iter().find(|schema| schema.name == name)
    }

    /// The relation of this number.
    pub fn relation(&self, oid: u32) -> Option<&RelationObject> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    /// The relation of this name.
    pub fn relation_named(&self, schema: &str, name: &str) -> Option<&RelationObject> {
        self.relations.iter().find(|relation| relation.name == name && relation.schema.name == schema)
    }
}

fn schemas(contents: &Contents) -> Vec<SchemaObject> {
    let mut all: Vec<_> = contents
        .schemas
        .iter()
        .map(|(name, schema)| {
            let mut acl = schema.acl.clone();
            if name == DEFAULT_SCHEMA {
                acl.grant(PUBLIC, &[Privilege::Usage]);
            }
            SchemaObject { oid: contents.oids.schema(name), name: name.clone(), acl }
        })
        .collect();
    let mut forecasts = system_schema(FORECASTS_OID, FORECASTS);
    forecasts.acl.grants.extend(contents.models.grants.clone());
    all.extend([
        forecasts,
        system_schema(INFORMATION_SCHEMA_OID, "information_schema"),
        system_schema(SYSTEM_SCHEMA_OID, SYSTEM_SCHEMA),
        system_schema(PG_CATALOG_OID, "pg_catalog"),
    ]);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A schema that everybody may look into.
fn system_schema(oid: u32, name: &str) -> SchemaObject {
    SchemaObject { oid, name: name.to_owned(), acl: for_everybody(Privilege::Usage) }
}

fn for_everybody(privilege: Privilege) -> Acl {
    let mut acl = Acl::default();
    acl.grant(PUBLIC, &[privilege]);
    acl
}

fn roles(contents: &Contents) -> Vec<RoleObject> {
    let role = |(name, role): (&String, &crate::engine::storage::Role)| RoleObject {
        oid: contents.oids.role(name),
        name: name.clone(),
        login: role.login,
        superuser: role.superuser,
        member_of: role.member_of.iter().cloned().collect(),
    };
    let mut roles: Vec<_> = contents.roles.iter().map(role).collect();
    // The first role that may do everything has the number of PostgreSQL's: it owns all.
    if let Some(owner) = roles.iter_mut().find(|role| role.superuser) {
        owner.oid = OWNER_OID;
    }
    roles
}

fn sequence(
    contents: &Contents,
    schema: SchemaObject,
    oid: u32,
    name: &TableName,
    found: &Arc<Sequence>,
) -> SequenceObject {
    let of = found.owned_by.as_ref().and_then(|(id, column)| {
        let (owner, entry, table) = contents.schemas.iter().find_map(|(schema, contents)| {
            contents.entries.iter().find_map(|(name, entry)| match entry {
                Entry::Table(table) if table.id == *id => Some((TableName::new(schema, name), entry, table)),
                _ => None,
            })
        })?;
        let number = table.columns.iter().position(|c| c.stored_name == *column)?;
        Some((contents.oids.entry(&owner, entry), i32::try_from(number + 1).ok()?))
    });
    SequenceObject { oid, schema, name: name.table.clone(), sequence: Arc::clone(found), of }
}

fn relation(
    contents: &Contents,
    schema: SchemaObject,
    name: &TableName,
    entry: &Entry,
    rows: Option<u64>,
) -> RelationObject {
    let oid = contents.oids.entry(name, entry);
    let acl = entry.acl().clone();
    match entry {
        Entry::Table(table) => {
            let columns = table.columns.iter().zip(1..).filter(|(column, _)| !column.dropped);
            let columns = columns.map(|(column, number)| ColumnObject {
                number,
                name: column.name.clone(),
                field: Field::new(&column.name, column.data_type.clone(), !column.required).with_metadata(
                    column.sql_type.iter().map(|name| (PG_TYPE.to_owned(), name.clone())).collect(),
                ),
                required: column.required,
                default_sql: column.default_sql.clone(),
                comment: column.comment.clone(),
            });
            RelationObject {
                oid,
                schema,
                name: name.table.clone(),
                kind: 'r',
                columns: columns.collect(),
                comment: table.comment.clone(),
                definition: None,
                checks: table.checks.iter().map(|check| (check.name.clone(), check.sql.clone())).collect(),
                keys: table.keys.iter().map(|key| key_object(table, key)).collect(),
                constraint_comments: table.constraint_comments.clone(),
                rows,
                acl,
            }
        }
        Entry::View(found) => {
            let fields = found.columns.clone();
            let (sql, comment) = (Some(found.sql.clone()), found.comment.clone());
            RelationObject { acl, ..view(oid, schema, name.table.clone(), fields, sql, comment) }
        }
        Entry::External(table) => {
            let fields = table.schema.iter().flat_map(|s| s.fields().iter()).map(|f| f.as_ref().clone());
            let columns =
                view(oid, schema, name.table.clone(), fields.collect(), None, table.comment.clone());
            RelationObject { kind: 'f', acl, ..columns }
        }
        Entry::Sequence(_) => view(oid, schema, name.table.clone(), vec![], None, None),
    }
}

fn view(
    oid: u32,
    schema: SchemaObject,
    name: String,
    fields: Vec<Field>,
    definition: Option<String>,
    comment: Option<String>,
) -> RelationObject {
    let columns = fields.into_iter().zip(1..).map(|(field, number)| ColumnObject {
        number,
        name: crate::engine::sql::shown(field.name()).to_owned(),
        field,
        required: false,
        default_sql: None,
        comment: None,
    });
    let columns = columns.collect();
    RelationObject {
        oid,
        schema,
        name,
        kind: 'v',
        columns,
        comment,
        definition,
        checks: vec![],
        keys: vec![],
        constraint_comments: BTreeMap::new(),
        rows: None,
        acl: Acl::default(),
    }
}

fn key_object(table: &Table, key: &Key) -> KeyObject {
    let number = |stored: &String| {
        let place = table.columns.iter().position(|column| column.stored_name == *stored);
        place.and_then(|n| i32::try_from(n + 1).ok()).unwrap_or(0)
    };
    let kind = match key.kind {
        KeyKind::Primary => 'p',
        KeyKind::Unique => 'u',
        KeyKind::Foreign => 'f',
        KeyKind::Index => 'i',
        KeyKind::UniqueIndex => 'x',
    };
    let columns = key.columns.iter().map(number).collect();
    KeyObject { name: key.name.clone(), kind, columns, references: key.references.clone() }
}

/// FNV-1a: the same in every process.
fn steady_hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The number of the type of a column in pg_type and its modifier.
pub fn type_of_field(field: &Field) -> (u32, i32) {
    let marked = field.metadata().get(PG_TYPE).and_then(|mark| {
        let (name, length) = mark.split_once('(').unwrap_or((mark, ""));
        let modifier = length.trim_end_matches(')').parse::<i32>().map_or(-1, |length| length + 4);
        crate::postgres::by_name(name).map(|found| (found.oid, modifier))
    });
    marked.unwrap_or_else(|| type_of(field.data_type()))
}

/// The number of a type in pg_type and its modifier.
pub fn type_of(data_type: &DataType) -> (u32, i32) {
    let plain = |oid| (oid, -1);
    match data_type {
        DataType::Boolean => plain(16),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => plain(21),
        DataType::Int32 | DataType::UInt16 => plain(23),
        DataType::Int64 | DataType::UInt32 => plain(20),
        DataType::Float16 | DataType::Float32 => plain(700),
        DataType::Float64 => plain(701),
        DataType::UInt64 => plain(1700),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (1700, ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            plain(17)
        }
        DataType::Date32 | DataType::Date64 => plain(1082),
        DataType::Time32(_) | DataType::Time64(_) => plain(1083),
        DataType::Timestamp(_, None) => plain(1114),
        DataType::Timestamp(_, Some(_)) => plain(1184),
        DataType::Interval(_) | DataType::Duration(_) => plain(1186),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            plain(array_of(type_of(item.data_type()).0))
        }
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => plain(114),
        DataType::Dictionary(_, values) => type_of(values),
        _ => plain(25),
    }
}

/// The number of the array type over an element type.
fn array_of(element: u32) -> u32 {
    crate::postgres::by_oid(element).map_or(1009, |found| found.array)
}
