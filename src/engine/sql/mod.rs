//! From text to statements: PostgreSQL's language and ours, guarded before anything is parsed.

mod command;
mod compatible;
mod copy;
mod dialect;
mod explain;
mod form;
mod grouping;
mod guard;
mod literal;
mod naming;
mod natural;
mod ordering;
mod parameters;
mod qualify;
mod repair;
mod role;
mod select;
mod select_into;
mod session;
mod source;
mod statement;
mod sugar;
mod tokens;
mod train;
mod unnest;
mod whole_row;
mod words;

pub use command::{CommandStatement, Commented, ModelChange, TableChange};
pub use compatible::outer_aggregate;
pub use copy::{Copy, End};
pub use literal::literal;
pub use naming::shown;
pub use natural::write_out_natural;
pub use parameters::{
    UNKNOWN, cast, declared, elements_for_arrays, is_void, typed, types_in_text, with_values, without_void,
};
pub use qualify::{SearchPath, qualify_sequences};
pub use repair::repair;
pub use role::{Granted, RoleOptions, RoleStatement};
pub use select::{select_from, table};
pub use session::{Discard, Distance, NewValue, SessionStatement, TransactionModes};
pub use source::Source;
pub use statement::{Body, Names, Piece, Statement, is_complete, parse_one, split};
pub use train::{
    CLAUSES, HolidaysClause, Item, MARK, Relation, TrainStatement, TuneClause, TuneValues, all_of,
    items_written, parse_text, parse_written, rows,
};
pub use words::{fold, last_word};
