//! `seasonal_scale(y, season_length ORDER BY t)`: the denominator of MASE.

use crate::engine::functions::aggregate::ordered::{OrderedStatistic, SEASON_LENGTH, TARGET};

/// Mean of |y[t] - y[t - season_length]| over the pairs in which both are present.
pub const SEASONAL_SCALE: OrderedStatistic = OrderedStatistic {
    name: "seasonal_scale",
    parameters: &[TARGET, SEASON_LENGTH],
    description: "Scale of the MASE: the mean of |y[t] - y[t - season_length]| over the rows of a series in time \
                  order; pairs with a missing member are skipped, NULL when there is no pair.",
    sql_example: "SELECT seasonal_scale(y, 1 ORDER BY t) FROM (VALUES (1, 3), (2, 5), (3, 9)) AS s(t, y);",
    statistic: |values, season_length| {
        let pairs = values.iter().skip(season_length).zip(values);
        mean(pairs.map(|(late, early)| (late - early).abs()))
    },
};

/// Mean of the values that are not NaN.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.filter(|v| !v.is_nan()).fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
    (n > 0.0).then(|| sum / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_members_take_their_pairs_along() {
        let scale = SEASONAL_SCALE.statistic;
        assert_eq!(scale(&[1.0, 5.0, 2.0, 9.0], 2), Some(2.5));
        assert_eq!(scale(&[1.0, 5.0, f64::NAN, 9.0], 2), Some(4.0));
        assert_eq!(scale(&[1.0, 5.0], 2), None);
    }
}
