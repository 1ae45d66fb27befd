//! `ndcg(rank, k)`: normalised discounted cumulative gain of one relevant thing.

use crate::engine::functions::aggregate::metric::{Metric, Term};
use crate::engine::functions::aggregate::mrr::{RANK, TOP, place};

/// Mean of 1 / log2(rank + 1) where the rank is at most k, else 0 (Järvelin and Kekäläinen 2002).
pub const NDCG: Metric = Metric {
    name: "ndcg",
    aliases: &[],
    parameters: &[RANK, TOP],
    description: "Normalised discounted cumulative gain of one relevant thing: the mean of 1 / log2(rank + 1), 0 beyond k and where the rank is NULL, nothing found.",
    sql_example: "SELECT ndcg(rank, 10) FROM (VALUES (1), (3), (14)) AS t(rank);",
    term: |row| {
        let rank = place(row[0])?;
        Ok(Some(Term::mean(if rank <= place(row[1])? { 1.0 / (rank + 1.0).log2() } else { 0.0 })))
    },
    null: Term::MISS,
    finish: |mean| mean,
};
