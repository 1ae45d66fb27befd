//! Everything that names DataFusion: a database, its sessions and their statements.

mod database;
mod ddl;
mod external;
mod fault;
mod functions;
mod options;
mod plan;
mod query;
mod registry;
mod running;
mod runtime;
mod schemas;
mod session;
mod settings;
mod shared;
mod sql;
mod system;
mod words;

pub mod storage;

pub use database::{Database, Settings};
pub use plan::{TABLE_FUNCTIONS, TableFunction};
pub use query::{CancelHandle, ProgressHandle, Query};
pub use session::Session;
pub use sql::Piece;
pub use words::Words;
