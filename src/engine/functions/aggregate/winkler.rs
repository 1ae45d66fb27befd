//! `winkler(actual, lower, upper, level)`: the interval score.

use crate::engine::functions::aggregate::metric::{ACTUAL, LOWER, Metric, Term, UPPER, interval_level};
use crate::ml::metrics::winkler_term;

/// Mean of the width, plus 2 / (1 - level) times the distance of an actual outside the interval (Winkler 1972).
pub const WINKLER: Metric = Metric {
    name: "winkler",
    aliases: &[],
    parameters: &[ACTUAL, LOWER, UPPER, ("level", "the level of the interval, 90 or 0.9")],
    description: "Winkler's interval score: the mean of the interval's width, plus 2 / (1 - level) times the \
                  distance of an actual outside it; divided by the seasonal_scale it is the MSIS of M4.",
    sql_example: "SELECT winkler(actual, lo, hi, 80) FROM (VALUES (3, 1, 4), (9, 1, 8)) AS t(actual, lo, hi);",
    term: |row| Ok(Some(Term::mean(winkler_term(row[0], row[1], row[2], interval_level(row[3])?)))),
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_costs_more_at_a_higher_level() {
        let rows = |level| [[3.0, 1.0, 4.0, level], [9.0, 1.0, 8.0, level]];
        assert_eq!(WINKLER.score(&rows(0.5)).unwrap(), Some(7.0));
        assert_eq!(WINKLER.score(&rows(75.0)).unwrap(), Some(9.0));
    }
}
