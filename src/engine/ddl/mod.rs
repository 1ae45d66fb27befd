//! Changes of tables, views, schemas and models: checked commands in, durable effects out.

mod command;
mod lower;
mod model;
mod table;

pub use command::{Command, run};
pub use lower::{create_table, create_view, fold, lower, lower_command, table_name};
