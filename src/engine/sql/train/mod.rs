//! `TRAIN FORECAST MODEL`: the statement, its clauses in any order, and its canonical text.

mod clauses;
mod display;
mod error;
mod hierarchy;
mod holidays;
mod items;
mod parse;
mod query;
mod statement;
mod tune;

pub use clauses::CLAUSES;
pub use error::ParseError;
pub use holidays::HolidaysClause;
pub use items::{Item, Relation};
pub use parse::{items_written, parse, parse_text, parse_written};
pub use query::{MARK, all_of, marker, rows};
pub use statement::TrainStatement;
pub use tune::{TuneClause, TuneValues};
