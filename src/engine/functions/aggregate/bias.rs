//! `bias(actual, forecast)`: relative bias, positive when too much was forecast.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Sum of (forecast - actual) over the sum of |actual|.
pub const BIAS: Metric = Metric {
    name: "bias",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST],
    description: "Relative bias as a share: the sum of (forecast - actual) over the sum of |actual|; positive \
                  when too much was forecast, NULL when all actuals are 0.",
    sql_example: "SELECT bias(actual, forecast) FROM (VALUES (3, 2), (5, 8)) AS t(actual, forecast);",
    term: |row| Ok(Some(Term { numerator: row[1] - row[0], denominator: row[0].abs() })),
    null: Term::NOTHING,
    finish: |share| share,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_too_many_on_eight() {
        assert_eq!(BIAS.score(&[[3.0, 2.0], [5.0, 8.0]]).unwrap(), Some(0.25));
    }
}
