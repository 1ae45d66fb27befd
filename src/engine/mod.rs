//! Everything that names DataFusion: a database, its sessions and their statements.

mod sql;
pub mod storage;

pub use sql::Statement;
