//! `mrr(rank)`: mean reciprocal rank.

use crate::engine::functions::aggregate::metric::{Metric, Parameter, Term};
use crate::error::{Error, Result, Subject};

/// Where what came true stood.
pub const RANK: Parameter = (
    "rank",
    "the place of what came true among all that was ranked, from 1; NULL where it is not among them",
);
/// How many are looked at.
pub const TOP: Parameter = ("k", "how many of the first places count");

/// A place in a ranking.
pub fn place(rank: f64) -> Result<f64> {
    if rank >= 1.0 && rank.fract() == 0.0 {
        return Ok(rank);
    }
    Err(Error::input(Subject::Value, format!("a rank must be a whole number from 1 on, got {rank}")))
}

/// Mean of 1 / rank (Voorhees 1999).
pub const MRR: Metric = Metric {
    name: "mrr",
    aliases: &[],
    parameters: &[RANK],
    description: "Mean reciprocal rank: the mean of 1 / rank; a rank of NULL, nothing found, is 0.",
    sql_example: "SELECT mrr(rank) FROM (VALUES (1), (2), (4)) AS t(rank);",
    term: |row| Ok(Some(Term::mean(1.0 / place(row[0])?))),
    null: Term::MISS,
    finish: |mean| mean,
};
