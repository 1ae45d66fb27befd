//! Changes of tables, views, schemas and models: checked commands in, durable effects out.

mod client_copy;
mod command;
mod copy;
mod create;
mod drop;
mod keys;
mod lower;
mod model;
mod names;
mod rights;
mod role;
mod sequence;
mod stored;
mod table;

pub use command::{Command, Lowered, run};
pub use create::{create_table, create_view};
pub use drop::{drop_all, is_dropped};
pub use keys::create_index;
pub use lower::{lower, lower_command};
pub use names::{object_name, table_name};
pub use stored::{meant_types, with_meant_types};
