//! From text to statements: PostgreSQL's language and ours, guarded before anything is parsed.

mod command;
mod copy;
mod dialect;
mod guard;
mod repair;
mod source;
mod statement;
mod sugar;
mod train;
mod words;

pub use command::{CommandStatement, Commented, ModelChange, TableChange};
pub use copy::Copy;
pub use repair::repair;
pub use source::Source;
pub use statement::{Body, Piece, Statement, is_complete, parse_one, shift, split};
pub use train::{CLAUSES, Item, MARK, Relation, TrainStatement, parse_text, rows, select_from, table};
pub use words::fold;
