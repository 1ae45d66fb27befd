//! Classes and numbers from the columns of a row: linear models, trees, machines of support vectors and encoders of texts
//! under one leaderboard.

mod boosted;
mod combination;
mod design;
mod fit;
mod lbfgs;
mod linear;
mod member;
mod model;
mod options;
mod scores;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use fit::{fit, leaked};
pub use model::{Fitted, RowsReport};
pub use options::{Member, MemberFamily, RowsOptions, Task};
pub use scores::RowScores;
pub use table::{Column, ColumnKind, Table, Target, Values, Words};
