//! `rmse(actual, forecast)`: root mean squared error, pooled.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Root of the mean of (actual - forecast)² over all rows of the group.
pub const RMSE: Metric = Metric {
    name: "rmse",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST],
    description: "Root mean squared error, pooled: the root of the mean of (actual - forecast)² over all rows; \
                  group by series and average for the mean over series.",
    sql_example: "SELECT rmse(actual, forecast) FROM (VALUES (3, 2), (5, 12)) AS t(actual, forecast);",
    term: |row| Ok(Some(Term::mean((row[0] - row[1]) * (row[0] - row[1])))),
    null: Term::NOTHING,
    finish: f64::sqrt,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_one_and_seven_have_the_root_mean_five() {
        assert_eq!(RMSE.score(&[[3.0, 2.0], [5.0, 12.0]]).unwrap(), Some(5.0));
    }
}
