//! Aggregates: metrics of forecasts, classes and rankings, the scales they divide by, and demand statistics.

mod accuracy;
mod adi;
mod auc;
mod bias;
mod confusion;
mod coverage;
mod cv2;
mod demand;
mod demand_class;
mod f1;
mod hit_rate;
mod log_loss;
mod mae;
mod mape;
mod mase;
mod metric;
mod mrr;
mod ndcg;
mod ordered;
mod quantile_loss;
mod rmse;
mod rmsse;
mod rmsse_scale;
mod seasonal_scale;
mod single_value;
mod smape;
mod sum;
mod wape;
mod winkler;

use datafusion::logical_expr::AggregateUDF;

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
        AggregateUDF::new_from_impl(single_value::SingleValue::new()),
        AggregateUDF::new_from_impl(sum::Sum::default()),
    ]
}
