//! Everything that names DataFusion: a database, its sessions and their statements.

mod access;
mod activity;
mod analysis;
mod array_bytes;
mod branches;
mod constants;
mod controlled;
mod database;
mod ddl;
mod dialect;
mod external;
mod fault;
mod functions;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod histories;
mod methods;
mod options;
mod panics;
mod parquet_claims;
mod pg_catalog;
mod plan;
mod query;
mod registry;
mod running;
mod runtime;
mod schemas;
mod session;
mod settings;
mod shared;
mod spill_files;
mod sql;
mod statement_pool;
mod states;
mod system;
mod temporary;
mod words;

#[cfg(test)]
mod tests;

pub mod storage;

pub use access::{FileAccess, Verifier};
pub use activity::SessionActivity;
pub use database::{Database, Login, Settings};
pub use plan::{TABLE_FUNCTIONS, TableFunction};
pub use query::{CancelHandle, ClientCopy, CopyFormat, CopyIn, CopyKind, Notice, ProgressHandle, Query};
pub use session::{Prepared, Session, TransactionStatus, failure_warning};
pub use settings::{SharedVariables, VERSION_TEXT};
pub use sql::Piece;
pub use words::Words;
