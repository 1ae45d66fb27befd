//! `rmsse(actual, forecast, scale)`: root mean squared scaled error of the M5 competition.

use crate::engine::functions::aggregate::metric::{ACTUAL, FORECAST, Metric, Term};

/// Root of the mean of ((actual - forecast) / scale)² over the rows whose scale is above 0.
pub const RMSSE: Metric = Metric {
    name: "rmsse",
    aliases: &[],
    parameters: &[ACTUAL, FORECAST, ("scale", "rmsse_scale of the training rows of the series")],
    description: "Root mean squared scaled error of the M5 competition: the root of the mean of \
                  ((actual - forecast) / scale)², where scale is the rmsse_scale of the series' training rows; \
                  rows whose scale is NULL or 0 are left out. Group by series and average for the mean over series.",
    sql_example: "SELECT rmsse(actual, forecast, 2.0) FROM (VALUES (3, 1), (5, 19)) AS t(actual, forecast);",
    term: |row| {
        let error = (row[0] - row[1]) / row[2];
        Ok((row[2] > 0.0).then(|| Term::mean(error * error)))
    },
    null: Term::NOTHING,
    finish: f64::sqrt,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_errors_of_one_and_seven_have_the_root_mean_five() {
        assert_eq!(RMSSE.score(&[[3.0, 1.0, 2.0], [5.0, 19.0, 2.0], [5.0, 0.0, 0.0]]).unwrap(), Some(5.0));
    }
}
