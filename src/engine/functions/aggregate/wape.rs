//! `wape(actual, forecast)`: weighted absolute percentage error.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Sum of |actual - forecast| over the sum of |actual|.
pub const WAPE: Metric = Metric {
    name: "wape",
    aliases: &["nd"],
    parameters: &[ACTUAL, FORECAST],
    description: "Weighted absolute percentage error as a share (also called normalised deviation): the sum of \
                  |actual - forecast| over the sum of |actual|; NULL when all actuals are 0.",
    sql_example: "SELECT wape(actual, forecast) FROM (VALUES (3, 2), (5, 8)) AS t(actual, forecast);",
    term: |row| Ok(Some(Term { numerator: (row[0] - row[1]).abs(), denominator: row[0].abs() })),
    null: Term::NOTHING,
    finish: |share| share,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_of_eight_units_were_wrong() {
        assert_eq!(WAPE.score(&[[3.0, 2.0], [-5.0, -8.0]]).unwrap(), Some(0.5));
        assert_eq!(WAPE.score(&[[0.0, 2.0]]).unwrap(), None);
    }
}
