//! `demand_class(y)`: smooth, erratic, intermittent or lumpy.

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::demand::{Demand, DemandStatistic};

const INTERVAL_CUTOFF: f64 = 1.32;
const VARIATION_CUTOFF: f64 = 0.49;

/// The class by average demand interval (cut at 1.32) and variation of sizes (cut at 0.49).
pub const DEMAND_CLASS: DemandStatistic = DemandStatistic {
    name: "demand_class",
    data_type: DataType::Utf8,
    description: "Class of the demand by the scheme of Syntetos, Boylan and Croston (2005): adi below 1.32 is \
                  smooth (cv2 below 0.49) or erratic, else intermittent or lumpy; NULL never sold.",
    sql_example: "SELECT demand_class(y) FROM (VALUES (0), (3), (0), (0), (5), (0)) AS s(y);",
    statistic: |demand| ScalarValue::Utf8(class(demand).map(str::to_owned)),
};

fn class(demand: &Demand) -> Option<&'static str> {
    let steady = demand.variation().unwrap_or(0.0) < VARIATION_CUTOFF;
    Some(match (demand.interval()? < INTERVAL_CUTOFF, steady) {
        (true, true) => "smooth",
        (true, false) => "erratic",
        (false, true) => "intermittent",
        (false, false) => "lumpy",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_corners_of_the_scheme() {
        let demand = |periods, squares| Demand { periods, demands: 3.0, mean: 2.0, squares };
        assert_eq!(class(&demand(3.0, 0.0)), Some("smooth"));
        assert_eq!(class(&demand(3.0, 4.0)), Some("erratic"));
        assert_eq!(class(&demand(9.0, 0.0)), Some("intermittent"));
        assert_eq!(class(&demand(9.0, 4.0)), Some("lumpy"));
        assert_eq!(class(&Demand::default()), None);
    }
}
