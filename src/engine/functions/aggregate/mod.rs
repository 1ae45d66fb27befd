//! Aggregates: metrics of forecasts, classes and rankings, the scales they divide by, and demand statistics.

mod accuracy;
mod adi;
mod ahead;
mod array_agg;
mod auc;
mod avg;
mod bias;
mod bool_and_or;
mod confusion;
mod count;
mod coverage;
mod cv2;
mod demand;
mod demand_class;
mod extreme;
mod f1;
mod frame_texts;
mod hit_rate;
mod interval_distinct;
mod interval_extreme;
mod log_loss;
mod mae;
mod mape;
mod mase;
mod median;
mod metric;
mod mode;
mod mrr;
mod ndcg;
mod ordered;
mod percentile_cont;
mod percentile_disc;
mod quantile_loss;
mod rmse;
mod rmsse;
mod rmsse_scale;
mod seasonal_scale;
mod smape;
mod sorted_values;
mod string_agg;
mod sum;
mod wape;
mod winkler;

use std::collections::HashSet;
use std::sync::LazyLock;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::AggregateUDF;

/// The names of all aggregates, DataFusion's, too.
static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let names = |function: &AggregateUDF| {
        let name = function.name().to_owned();
        function.aliases().iter().cloned().chain([name]).collect::<Vec<_>>()
    };
    let others = all_default_aggregate_functions();
    let mut all: HashSet<String> = others.iter().flat_map(|function| names(function)).collect();
    all.extend(self::all().iter().flat_map(names));
    all.insert("variance".to_owned());
    all
});

/// True for the name of an aggregate, in lower case.
pub fn is_aggregate(name: &str) -> bool {
    NAMES.contains(name)
}

/// The function behind `min` and `max` of intervals.
pub fn interval_extreme(least: bool) -> AggregateUDF {
    AggregateUDF::new_from_impl(interval_extreme::IntervalExtreme::new(least))
}

/// The function behind `sum` and `avg` of distinct intervals.
pub fn interval_distinct(averages: bool) -> AggregateUDF {
    AggregateUDF::new_from_impl(interval_distinct::IntervalDistinct::new(averages))
}

/// Every aggregate, one line each.
pub fn all() -> Vec<AggregateUDF> {
    vec![
        mae::MAE.into_udaf(),
        rmse::RMSE.into_udaf(),
        wape::WAPE.into_udaf(),
        smape::SMAPE.into_udaf(),
        mape::MAPE.into_udaf(),
        bias::BIAS.into_udaf(),
        mase::MASE.into_udaf(),
        rmsse::RMSSE.into_udaf(),
        quantile_loss::QUANTILE_LOSS.into_udaf(),
        coverage::COVERAGE.into_udaf(),
        winkler::WINKLER.into_udaf(),
        accuracy::ACCURACY.into_udaf(),
        f1::F1.into_udaf(),
        auc::udaf(),
        log_loss::LOG_LOSS.into_udaf(),
        mrr::MRR.into_udaf(),
        hit_rate::HIT_RATE.into_udaf(),
        ndcg::NDCG.into_udaf(),
        seasonal_scale::SEASONAL_SCALE.into_udaf(),
        rmsse_scale::RMSSE_SCALE.into_udaf(),
        adi::ADI.into_udaf(),
        cv2::CV2.into_udaf(),
        demand_class::DEMAND_CLASS.into_udaf(),
        AggregateUDF::new_from_impl(array_agg::ArrayAgg::default()),
        AggregateUDF::new_from_impl(avg::Average::default()),
        AggregateUDF::new_from_impl(count::Count::default()),
        AggregateUDF::new_from_impl(extreme::Extreme(Min::new())),
        AggregateUDF::new_from_impl(extreme::Extreme(Max::new())),
        AggregateUDF::new_from_impl(string_agg::StringAgg::default()),
        AggregateUDF::new_from_impl(sum::Sum::default()),
        AggregateUDF::new_from_impl(bool_and_or::BoolAndOr::and()),
        AggregateUDF::new_from_impl(bool_and_or::BoolAndOr::or()),
        AggregateUDF::new_from_impl(median::Median::default()),
        mode::MODE.into_udaf(),
        percentile_disc::PERCENTILE_DISC.into_udaf(),
        AggregateUDF::new_from_impl(percentile_cont::PercentileCont::default()),
    ]
}
