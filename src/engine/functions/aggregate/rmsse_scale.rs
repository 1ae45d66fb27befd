//! `rmsse_scale(y ORDER BY t)`: the denominator of the M5 competition's RMSSE.

use crate::engine::functions::aggregate::ordered::{OrderedStatistic, TARGET};
use crate::engine::functions::aggregate::seasonal_scale::mean;

/// Root of the mean of (y[t] - y[t - 1])² from the first value that is not 0.
pub const RMSSE_SCALE: OrderedStatistic = OrderedStatistic {
    name: "rmsse_scale",
    parameters: &[TARGET],
    description: "Scale of the RMSSE of the M5 competition: the root of the mean of (y[t] - y[t - 1])² over the \
                  rows of a series in time order, from its first value that is not 0; pairs with a missing member \
                  are skipped, NULL when there is no pair.",
    sql_example: "SELECT rmsse_scale(y ORDER BY t) FROM (VALUES (1, 0), (2, 5), (3, 9)) AS s(t, y);",
    statistic: |values, _| {
        let first = values.iter().position(|v| !v.is_nan() && *v != 0.0)?;
        let squares = values[first..].windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0]));
        mean(squares).map(f64::sqrt)
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_before_the_first_sale_do_not_count() {
        let scale = RMSSE_SCALE.statistic;
        assert_eq!(scale(&[0.0, 0.0, 3.0, 4.0, 11.0], 1), Some(5.0));
        assert_eq!(scale(&[0.0, 3.0, f64::NAN, 4.0, 6.0], 1), Some(2.0));
        assert_eq!(scale(&[0.0, 0.0], 1), None);
    }
}
