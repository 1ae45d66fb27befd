//! Everything that names DataFusion: a database, its sessions and their statements.

mod sql;

pub use sql::Statement;
