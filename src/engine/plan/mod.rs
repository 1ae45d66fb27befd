//! Our relations and statements as plan nodes, logical and physical side by side.

mod apply;
mod arguments;
mod authorize;
mod cancel;
mod columns;
mod command;
mod compared;
mod features;
mod forecast;
mod forecasting;
mod input;
mod marks;
mod node;
mod not_in;
mod numbers;
mod outer_keys;
mod past;
mod planner;
mod relation;
mod scope;
mod semantics;
mod series;
mod tables;
mod train;
mod train_function;
mod training;
mod work;

pub mod dml_guard;

pub use apply::{has_subqueries, with_applied_subqueries};
pub use authorize::{authorized, stored_table};
pub use cancel::cancellable;
pub use columns::columns;
pub use command::CommandNode;
pub use forecast::Shape;
pub use not_in::with_not_exists;
pub use numbers::{CheckedNumbers, FloatsInUnions};
pub use outer_keys::with_distinct_outer_keys;
pub use planner::ForetellPlanner;
pub use relation::{Relations, TABLE_FUNCTIONS, TableFunction};
pub use scope::Scope;
pub use semantics::{Semantics, TextCasts};
pub use train::{Mode, TrainNode};
pub use training::skill;
