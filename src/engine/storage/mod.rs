//! Everything durable but models: the database directory, its lock, its catalog and its tables.

mod catalog;
mod delta;
mod durable_fs;
mod durable_store;
mod lock;
mod row_memory;
mod sealed;
mod types;

#[cfg(test)]
pub(super) mod tests;

pub use catalog::{
    Access, Acl, AclKind, AclTarget, Catalog, Check, Column, ColumnDefinition, Contents, Created,
    DEFAULT_SCHEMA, Entry, ExternalTable, FILE_ROLES, IfExists, Key, KeyKind, NextValue, PUBLIC, Privilege,
    Role, SchemaEntry, Sequence, Serial, Table, TableDefinition, TableName, View, split_name, told_type,
};
#[cfg(any(test, fuzzing))]
pub use delta::fuzz_log;
pub use delta::{
    Change, ChangeExec, HeldVersions, OptimizeSummary, ReturnedRows, RowChange, StoredTable,
    StoredTableProvider, TableLock, TableVersion, VacuumSummary, VersionInfo, matching_rows, physical_expr,
    unqualified,
};
pub use durable_fs::{DurableFs, FileInfo, Fs, FsFile, OsFs, Publish, StagedFile};
pub use lock::DatabaseLock;
pub use row_memory::RowMemory;
pub use sealed::{seal, sealed, unsealed};
pub use types::sql_name;
