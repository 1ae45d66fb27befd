//! Everything durable but models: the database directory, its lock, its catalog and its tables.

mod catalog;
mod delta;
mod durable_fs;
mod durable_store;
mod lock;
mod types;

#[cfg(test)]
mod tests;

pub use catalog::{
    Access, Acl, AclKind, AclTarget, Catalog, Check, Column, ColumnDefinition, Contents, Created,
    DEFAULT_SCHEMA, Entry, ExternalTable, FILE_ROLES, IfExists, Key, KeyKind, NextValue, PUBLIC, Privilege,
    Role, SchemaEntry, Sequence, Serial, Table, TableDefinition, TableName, View, split_name, told_type,
};
pub use delta::{
    OptimizeSummary, ReturnedRows, StoredTable, StoredTableProvider, TableVersion, VacuumSummary,
    VersionInfo, unqualified,
};
pub use durable_fs::{DurableFs, FileInfo, Fs, FsFile, OsFs, Publish, StagedFile};
pub use lock::DatabaseLock;
pub use types::sql_name;
