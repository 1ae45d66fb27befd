//! `smape(actual, forecast)`: symmetric mean absolute percentage error on the scale of the M4 competition.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};
use crate::ml::metrics::smape_term;

/// Mean of 200 |actual - forecast| / (|actual| + |forecast|), where 0 / 0 is 0.
pub const SMAPE: Metric = Metric {
    name: "smape",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST],
    description: "Symmetric mean absolute percentage error as in the M4 competition, from 0 to 200: the mean of \
                  200 |actual - forecast| / (|actual| + |forecast|); a row of two zeros counts as 0.",
    sql_example: "SELECT smape(actual, forecast) FROM (VALUES (1, 3), (0, 0)) AS t(actual, forecast);",
    term: |row| Ok(Some(Term::mean(smape_term(row[0], row[1])))),
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_over_four_and_nothing_over_nothing_average_to_fifty() {
        assert_eq!(SMAPE.score(&[[1.0, 3.0], [0.0, 0.0]]).unwrap(), Some(50.0));
    }
}
