//! `hit_rate(rank, k)`: how often what came true is among the first.

use crate::engine::functions::aggregate::metric::{Metric, Term};
use crate::engine::functions::aggregate::mrr::{RANK, TOP, place};

/// Share of the rows whose rank is at most k.
pub const HIT_RATE: Metric = Metric {
    name: "hit_rate",
    aliases: &[],
    parameters: &[RANK, TOP],
    description: "Hit rate: the share of the rows whose rank is at most k; a rank of NULL, nothing found, is none.",
    sql_example: "SELECT hit_rate(rank, 10) FROM (VALUES (1), (2), (14)) AS t(rank);",
    term: |row| Ok(Some(Term::mean(f64::from(u8::from(place(row[0])? <= place(row[1])?))))),
    null: Term::MISS,
    finish: |mean| mean,
};
