//! What the catalog remembers about schemas, tables, views and external tables, and the rules of naming.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::engine::PG_TYPE;
use crate::engine::storage::catalog::acl::Acl;
use crate::engine::storage::types;
use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};

/// The schema that unqualified names live in.
pub const DEFAULT_SCHEMA: &str = "public";

/// Schema and name of a table, view or external table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Schema.
    pub schema: String,
    /// Name inside the schema.
    pub table: String,
}

impl TableName {
    /// The name `schema.table`.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: schema.into(), table: table.into() }
    }

    /// The name `table` in the default schema.
    pub fn public(table: impl Into<String>) -> Self {
        Self::new(DEFAULT_SCHEMA, table)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema == DEFAULT_SCHEMA {
            f.write_str(&self.table)
        } else {
            write!(f, "{}.{}", self.schema, self.table)
        }
    }
}

/// A column as CREATE TABLE or ALTER TABLE declares it.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Name.
    pub name: String,
    /// Type; one that tables cannot store is refused when the column is created.
    pub data_type: DataType,
    /// PostgreSQL's name of the type, where arrow's does not tell it: `varchar(20)`.
    pub sql_type: Option<String>,
    /// False for NOT NULL.
    pub nullable: bool,
    /// SQL text of the DEFAULT.
    pub default_sql: Option<String>,
    /// Comment.
    pub comment: Option<String>,
}

/// A named CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name, unique in its table.
    pub name: String,
    /// SQL text of the condition over the table's columns.
    pub sql: String,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// PRIMARY KEY.
    Primary,
    /// UNIQUE.
    Unique,
    /// FOREIGN KEY.
    Foreign,
}

/// A key as it is declared: tools are told of it, rows are not checked against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Name, unique in its table.
    pub name: String,
    /// What it is for.
    pub kind: KeyKind,
    /// Its columns; stored names in a stored table.
    pub columns: Vec<String>,
    /// Schema, table and columns that a foreign key points at; no columns for the primary key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<(String, String, Vec<String>)>,
}

/// A table as CREATE TABLE declares it.
#[derive(Debug, Clone, Default)]
pub struct TableDefinition {
    /// Columns, in order.
    pub columns: Vec<ColumnDefinition>,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// Keys, with the names that SQL has for their columns.
    pub keys: Vec<Key>,
    /// Columns the rows are kept sorted by, series key first and time last; empty for none.
    pub cluster_by: Vec<String>,
    /// Comment.
    pub comment: Option<String>,
    /// The role that makes it; none for the owner of the database.
    pub owner: Option<String>,
}

impl TableDefinition {
    /// The table that can hold the rows of a query with this schema.
    pub fn from_query(schema: &Schema) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| {
            Ok(ColumnDefinition {
                name: field.name().clone(),
                data_type: types::from_query(field.name(), field.data_type())?,
                sql_type: told_type(field),
                nullable: true,
                default_sql: None,
                comment: None,
            })
        });
        Ok(Self { columns: columns.collect::<Result<_>>()?, ..Self::default() })
    }
}

/// The type that a field is marked with, when tables keep it.
pub fn told_type(field: &Field) -> Option<String> {
    field.metadata().get(PG_TYPE).filter(|mark| mark.starts_with("varchar")).cloned()
}

/// A column of a stored table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name that SQL uses.
    pub name: String,
    /// Name in the data files; given once and never reused in its table.
    pub stored_name: String,
    /// Type.
    pub data_type: DataType,
    /// PostgreSQL's name of the type, where arrow's does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
    /// True for NOT NULL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// SQL text of the DEFAULT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_sql: Option<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True once dropped; older versions of the table still have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// A stored table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Name of its directory under `tables/`; part of the lineage of models.
    pub id: String,
    /// Columns, in order, dropped ones included.
    pub columns: Vec<Column>,
    /// CHECK constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Stored names of the columns the rows are kept sorted by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_by: Vec<String>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its owner and what was granted on it.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub acl: Acl,
}

impl Table {
    /// The columns that are not dropped.
    pub fn live_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| !c.dropped)
    }

    /// Position among all columns of the live column `name`.
    pub fn column_index(&self, table: &TableName, name: &str) -> Result<usize> {
        self.columns.iter().position(|c| !c.dropped && c.name == name).ok_or_else(|| {
            let suggestion = did_you_mean(name, self.live_columns().map(|c| c.name.as_str()));
            Error::not_found(Subject::Column, format!("no column {name} in {table}{suggestion}"))
        })
    }

    /// Fails when a live column is called `name`.
    pub fn ensure_column_is_free(&self, table: &TableName, name: &str) -> Result<()> {
        check_identifier(name, Subject::Column)?;
        if self.live_columns().any(|c| c.name == name) {
            let message = format!("column {name} of table {table} already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Column, message));
        }
        Ok(())
    }

    /// A name for the data files that no column of this table ever had; `taken` are further names in use.
    pub fn free_stored_name(&self, name: &str, taken: &[String]) -> String {
        let mut used: Vec<String> = self.columns.iter().map(|c| c.stored_name.to_lowercase()).collect();
        used.extend(taken.iter().map(|t| t.to_lowercase()));
        stored_name(name, &used)
    }
}

/// A view: the text of its query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// SQL text of the query.
    pub sql: String,
    /// Columns that the query had when the view was created.
    pub columns: Vec<Field>,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its owner and what was granted on it.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub acl: Acl,
}

/// A table whose rows live in files the database does not own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalTable {
    /// Where the files are.
    pub location: String,
    /// Format: `CSV`, `PARQUET`, `JSON`.
    pub format: String,
    /// Options of the format.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Columns, when they are not to be read from the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// SQL text of the CREATE EXTERNAL TABLE.
    pub definition: String,
    /// Comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Its owner and what was granted on it.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub acl: Acl,
}

/// Whatever a name in a schema can stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// A stored table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
    /// An external table.
    External(Arc<ExternalTable>),
}

impl Entry {
    /// The word SQL uses for this kind of thing.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::View(_) => "view",
            Self::External(_) => "external table",
        }
    }

    /// Its owner and what was granted on it.
    pub fn acl(&self) -> &Acl {
        match self {
            Self::Table(table) => &table.acl,
            Self::View(view) => &view.acl,
            Self::External(table) => &table.acl,
        }
    }

    /// As [`Entry::acl`], to change it.
    pub fn acl_mut(&mut self) -> &mut Acl {
        match self {
            Self::Table(table) => &mut Arc::make_mut(table).acl,
            Self::View(view) => &mut Arc::make_mut(view).acl,
            Self::External(table) => &mut Arc::make_mut(table).acl,
        }
    }
}

/// A schema and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaEntry {
    /// Entries by name.
    pub entries: BTreeMap<String, Entry>,
    /// Its owner and what was granted on it.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub acl: Acl,
}

/// Who may connect, and what for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// May connect.
    pub login: bool,
    /// May do everything.
    pub superuser: bool,
    /// What proves its password, in PostgreSQL's form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// The roles whose rights it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub member_of: BTreeSet<String>,
}

/// Everything the catalog holds at one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Schemas by name.
    pub schemas: BTreeMap<String, SchemaEntry>,
    /// Roles by name; empty until a server is first started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Role>,
    /// Who may create models.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub models: Acl,
    /// Numbers that clients know things by, given once.
    #[serde(default)]
    pub oids: Oids,
}

/// The first number of things that users make, as in PostgreSQL.
const FIRST_OID: u32 = 16_384;

/// The number of the default schema, as in PostgreSQL.
const PUBLIC_OID: u32 = 2_200;

/// Numbers of schemas, tables, views and roles, by what stays the same when a thing is renamed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oids {
    /// How many were given.
    given: u32,
    /// Number by key.
    numbers: BTreeMap<String, u32>,
}

impl Oids {
    /// The number of a schema.
    pub fn schema(&self, name: &str) -> u32 {
        if name == DEFAULT_SCHEMA { PUBLIC_OID } else { self.get(&format!("schema/{name}")) }
    }

    /// The number of a table, view or external table.
    pub fn entry(&self, name: &TableName, entry: &Entry) -> u32 {
        self.get(&entry_key(name, entry))
    }

    /// The number of a role.
    pub fn role(&self, name: &str) -> u32 {
        self.get(&format!("role/{name}"))
    }

    fn get(&self, key: &str) -> u32 {
        self.numbers.get(key).copied().unwrap_or(0)
    }

    /// Numbers what has none, and forgets what is gone.
    fn assign(&mut self, keys: Vec<String>) {
        let mut numbers = BTreeMap::new();
        for key in keys {
            let number = self.numbers.get(&key).copied().unwrap_or_else(|| {
                self.given += 1;
                FIRST_OID + self.given - 1
            });
            numbers.insert(key, number);
        }
        self.numbers = numbers;
    }
}

fn entry_key(name: &TableName, entry: &Entry) -> String {
    match entry {
        Entry::Table(table) => format!("table/{}", table.id),
        Entry::View(_) | Entry::External(_) => format!("name/{}/{}", name.schema, name.table),
    }
}

impl Default for Contents {
    fn default() -> Self {
        let schemas = BTreeMap::from([(DEFAULT_SCHEMA.to_string(), SchemaEntry::default())]);
        Self { schemas, roles: BTreeMap::new(), models: Acl::default(), oids: Oids::default() }
    }
}

impl Contents {
    /// Gives numbers to things that have none.
    pub fn assign_oids(&mut self) {
        let mut keys: Vec<String> = self.roles.keys().map(|role| format!("role/{role}")).collect();
        for (schema, contents) in &self.schemas {
            keys.push(format!("schema/{schema}"));
            let name = |table: &String| TableName::new(schema, table);
            keys.extend(contents.entries.iter().map(|(table, entry)| entry_key(&name(table), entry)));
        }
        self.oids.assign(keys);
    }

    /// The schema `name`.
    pub fn schema(&self, name: &str) -> Result<&SchemaEntry> {
        self.schemas.get(name).ok_or_else(|| self.no_schema(name))
    }

    /// The schema `name`, to change it.
    pub fn schema_mut(&mut self, name: &str) -> Result<&mut SchemaEntry> {
        if !self.schemas.contains_key(name) {
            return Err(self.no_schema(name));
        }
        Ok(self.schemas.entry(name.to_string()).or_default())
    }

    fn no_schema(&self, name: &str) -> Error {
        let suggestion = did_you_mean(name, self.schemas.keys().map(String::as_str));
        Error::not_found(Subject::Schema, format!("no schema {name}{suggestion}"))
    }

    /// What `name` stands for, if anything.
    pub fn find(&self, name: &TableName) -> Option<&Entry> {
        self.schemas.get(&name.schema)?.entries.get(&name.table)
    }

    /// What `name` stands for; `wanted` says what the caller looked for.
    pub fn entry(&self, name: &TableName, wanted: &str) -> Result<&Entry> {
        let schema = self.schema(&name.schema)?;
        schema.entries.get(&name.table).ok_or_else(|| {
            let suggestion = did_you_mean(&name.table, schema.entries.keys().map(String::as_str));
            Error::not_found(Subject::Table, format!("no {wanted} {name}{suggestion}"))
        })
    }

    /// The stored table `name`.
    pub fn table(&self, name: &TableName) -> Result<&Arc<Table>> {
        match self.entry(name, "table")? {
            Entry::Table(table) => Ok(table),
            other => Err(wrong_kind(name, other, "table")),
        }
    }

    /// Puts `entry` under `name`; with `replace` it may take the place of an entry of its kind, and its rights.
    pub fn put(&mut self, name: &TableName, mut entry: Entry, replace: bool) -> Result<Option<Entry>> {
        check_identifier(&name.table, Subject::Table)?;
        let schema = self.schema_mut(&name.schema)?;
        match schema.entries.get(&name.table) {
            Some(found) if found.kind() != entry.kind() => Err(wrong_kind(name, found, entry.kind())),
            Some(found) if !replace => {
                let message = format!("{} {name} already exists", found.kind());
                Err(Error::new(ErrorKind::Exists, Subject::Table, message))
            }
            found => {
                if let Some(found) = found {
                    *entry.acl_mut() = found.acl().clone();
                }
                Ok(schema.entries.insert(name.table.clone(), entry))
            }
        }
    }

    /// Takes `name`, which must be of the kind `wanted`, out of its schema.
    pub fn take(&mut self, name: &TableName, wanted: &str) -> Result<Entry> {
        let found = self.entry(name, wanted)?;
        if found.kind() != wanted {
            return Err(wrong_kind(name, found, wanted));
        }
        let taken = self.schema_mut(&name.schema)?.entries.remove(&name.table);
        Ok(taken.expect("the entry was found a line above"))
    }

    /// Ids of all stored tables.
    pub fn table_ids(&self) -> impl Iterator<Item = &str> {
        self.schemas.values().flat_map(|s| s.entries.values()).filter_map(|entry| match entry {
            Entry::Table(table) => Some(table.id.as_str()),
            _ => None,
        })
    }
}

fn wrong_kind(name: &TableName, found: &Entry, wanted: &str) -> Error {
    let article = if found.kind().starts_with('e') { "an" } else { "a" };
    let message = format!("{name} is {article} {}, not a {wanted}", found.kind());
    Error::input(Subject::Table, message)
}

/// Fails when `name` cannot name anything.
pub fn check_identifier(name: &str, subject: Subject) -> Result<()> {
    if name.is_empty() {
        return Err(Error::input(subject, "a name must have at least one character"));
    }
    if name.contains('\0') {
        return Err(Error::input(subject, "a name must not contain the character NUL"));
    }
    Ok(())
}

/// The file name of the column `name` where `used` (lower case) are taken: the name itself when other
/// readers of the open format accept it, else a plain one.
pub fn stored_name(name: &str, used: &[String]) -> String {
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let base = if plain && name.len() <= 128 { name.to_string() } else { "column".to_string() };
    let mut candidate = base.clone();
    let mut suffix = 1;
    while used.contains(&candidate.to_lowercase()) {
        suffix += 1;
        candidate = format!("{base}_{suffix}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_plain_and_differ_beyond_case() {
        assert_eq!(stored_name("price", &[]), "price");
        assert_eq!(stored_name("Price", &["price".into()]), "Price_2");
        assert_eq!(stored_name("unit price; net", &["column".into()]), "column_2");
        assert_eq!(stored_name("größe", &[]), "größe");
    }

    #[test]
    fn missing_names_come_with_a_suggestion() {
        let mut contents = Contents::default();
        let view = Entry::View(Arc::new(View {
            sql: "SELECT 1".into(),
            columns: vec![],
            comment: None,
            acl: Acl::default(),
        }));
        contents.put(&TableName::public("sales"), view, false).unwrap();
        let error = contents.table(&TableName::public("slaes")).unwrap_err();
        assert_eq!(error.message(), "no table slaes; did you mean sales?");
        let error = contents.table(&TableName::public("sales")).unwrap_err();
        assert_eq!(error.message(), "sales is a view, not a table");
    }
}
