//! `mase(actual, forecast, scale)`: mean absolute scaled error.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Mean of |actual - forecast| / scale over the rows whose scale is above 0 (Hyndman and Koehler 2006).
pub const MASE: Metric = Metric {
    name: "mase",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST, ("scale", "seasonal_scale of the training rows of the series")],
    description: "Mean absolute scaled error: the mean of |actual - forecast| / scale, where scale is the \
                  seasonal_scale of the series' training rows; rows whose scale is NULL or 0 are left out. With \
                  equally many rows per series it is the mean of the series' own MASE.",
    sql_example: "SELECT mase(actual, forecast, 2.0) FROM (VALUES (3, 2), (5, 8)) AS t(actual, forecast);",
    term: |row| Ok((row[2] > 0.0).then(|| Term::mean((row[0] - row[1]).abs() / row[2]))),
    null: Term::NOTHING,
    finish: |mean| mean,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_scale_are_left_out() {
        assert_eq!(MASE.score(&[[3.0, 2.0, 2.0], [5.0, 8.0, 4.0], [7.0, 1.0, 0.0]]).unwrap(), Some(0.625));
    }
}
