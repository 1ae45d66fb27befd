//! `mape(actual, forecast)`: mean absolute percentage error.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Mean of 100 |actual - forecast| / |actual| over the rows whose actual is not 0.
pub const MAPE: Metric = Metric {
    name: "mape",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST],
    description: "Mean absolute percentage error, in percent: the mean of 100 |actual - forecast| / |actual|; \
                  rows whose actual is 0 are left out, so prefer wape for slow sellers.",
    sql_example: "SELECT mape(actual, forecast) FROM (VALUES (4, 5), (2, 1)) AS t(actual, forecast);",
    term: |row| {
        let share = (row[0] - row[1]).abs() / row[0].abs();
        Ok((row[0] != 0.0).then(|| Term::mean(100.0 * share)))
    },
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_actuals_are_left_out() {
        assert_eq!(MAPE.score(&[[4.0, 5.0], [2.0, 1.0], [0.0, 9.0]]).unwrap(), Some(37.5));
        assert_eq!(MAPE.score(&[[0.0, 9.0]]).unwrap(), None);
    }
}
