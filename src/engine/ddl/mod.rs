//! Changes of tables, views, schemas and models: checked commands in, durable effects out.

mod client_copy;
mod command;
mod copy;
mod create;
mod keys;
mod lower;
mod model;
mod names;
mod rights;
mod role;
mod table;

pub use command::{Command, Lowered, run};
pub use create::{create_table, create_view};
pub use lower::{lower, lower_command};
pub use names::table_name;
