//! `cv2(y)`: squared coefficient of variation of the demand sizes.

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::demand::DemandStatistic;

/// Sample variance of the demands other than 0, over the square of their mean.
pub const CV2: DemandStatistic = DemandStatistic {
    name: "cv2",
    data_type: DataType::Float64,
    description: "Squared coefficient of variation of the demand sizes: the sample variance of the demands other \
                  than 0 over the square of their mean; NULL with fewer than two of them.",
    sql_example: "SELECT cv2(y) FROM (VALUES (0), (2), (4), (6)) AS s(y);",
    statistic: |demand| ScalarValue::Float64(demand.variation()),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::functions::aggregate::demand::Demand;

    #[test]
    fn variance_four_over_mean_four_squared() {
        let demand = Demand { periods: 4.0, demands: 3.0, mean: 4.0, squares: 8.0 };
        assert_eq!((CV2.statistic)(&demand), ScalarValue::Float64(Some(0.25)));
        let once = Demand { periods: 4.0, demands: 1.0, mean: 4.0, squares: 0.0 };
        assert_eq!((CV2.statistic)(&once), ScalarValue::Float64(None));
    }
}
