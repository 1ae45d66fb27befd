//! `coverage(actual, lower, upper)`: how often the interval held the truth.

use crate::engine::functions::aggregate::metric::{ACTUAL, LOWER, Metric, Term, UPPER};

/// Share of rows with lower <= actual <= upper, both ends included.
pub const COVERAGE: Metric = Metric {
    name: "coverage",
    aliases: &[],
    parameters: &[ACTUAL, LOWER, UPPER],
    description: "Coverage: the share of rows with lower <= actual <= upper, both ends included; a 90 % interval \
                  should cover 0.9.",
    sql_example: "SELECT coverage(actual, lo, hi) FROM (VALUES (3, 1, 3), (9, 1, 8)) AS t(actual, lo, hi);",
    term: |row| Ok(Some(Term::mean(f64::from(row[1] <= row[0] && row[0] <= row[2])))),
    null: Term::NOTHING,
    finish: |share| share,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_interval() {
        let rows = [[3.0, 1.0, 3.0], [1.0, 1.0, 3.0], [9.0, 1.0, 8.0], [0.5, 1.0, 8.0]];
        assert_eq!(COVERAGE.score(&rows).unwrap(), Some(0.5));
    }
}
