//! The durable catalog: schemas, tables, views and external tables of one database directory.

mod alter;
mod create;
mod entries;
mod expressions;
mod generations;
mod roles;
mod store;

pub use create::{Created, IfExists};
pub use entries::{
    Check, Column, ColumnDefinition, Contents, DEFAULT_SCHEMA, Entry, ExternalTable, Role, SchemaEntry,
    Table, TableDefinition, TableName, View,
};
pub use store::{Access, Catalog};
