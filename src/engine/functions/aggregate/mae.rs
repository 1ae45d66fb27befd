//! `mae(actual, forecast)`: mean absolute error.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Mean of |actual - forecast| over all rows.
pub const MAE: Metric = Metric {
    name: "mae",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST],
    description: "Mean absolute error: the mean of |actual - forecast| over all rows.",
    sql_example: "SELECT mae(actual, forecast) FROM (VALUES (3, 2), (5, 8)) AS t(actual, forecast);",
    term: |row| Ok(Some(Term::mean((row[0] - row[1]).abs()))),
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_and_three_average_to_two() {
        assert_eq!(MAE.score(&[[3.0, 2.0], [5.0, 8.0]]).unwrap(), Some(2.0));
        assert_eq!(MAE.score::<2>(&[]).unwrap(), None);
    }
}
