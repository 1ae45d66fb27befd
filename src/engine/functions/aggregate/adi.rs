//! `adi(y)`: average demand interval.

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::demand::DemandStatistic;

/// Periods per period with a demand other than 0.
pub const ADI: DemandStatistic = DemandStatistic {
    name: "adi",
    data_type: DataType::Float64,
    description: "Average demand interval: periods per period with a demand other than 0 (Syntetos, Boylan and \
                  Croston 2005); 1 sells in every period, NULL never sold.",
    sql_example: "SELECT adi(y) FROM (VALUES (0), (3), (0), (0), (5), (0)) AS s(y);",
    statistic: |demand| ScalarValue::Float64(demand.interval()),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::functions::aggregate::demand::Demand;

    #[test]
    fn six_periods_with_two_demands_sell_every_third() {
        let demand = Demand { periods: 6.0, demands: 2.0, ..Demand::default() };
        assert_eq!((ADI.statistic)(&demand), ScalarValue::Float64(Some(3.0)));
        assert_eq!((ADI.statistic)(&Demand::default()), ScalarValue::Float64(None));
    }
}
