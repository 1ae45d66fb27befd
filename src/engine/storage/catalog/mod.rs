//! The durable catalog: schemas, tables, views and external tables of one database directory.

mod acl;
mod alter;
mod counts;
mod create;
mod entries;
mod expressions;
mod generations;
mod roles;
mod sequences;
mod store;

pub use acl::{Acl, AclKind, PUBLIC, Privilege};
pub use create::{Created, IfExists};
pub use entries::{
    Check, Column, ColumnDefinition, Contents, DEFAULT_SCHEMA, Entry, ExternalTable, Key, KeyKind, Role,
    SchemaEntry, Sequence, Serial, Table, TableDefinition, TableName, View, split_name, told_type,
};
pub use roles::{AclTarget, FILE_ROLES};
pub use sequences::NextValue;
pub use store::{Access, Catalog};
