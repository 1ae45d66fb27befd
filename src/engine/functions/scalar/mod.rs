//! Scalar functions: calendar, prices, and PostgreSQL's where DataFusion's differ.

mod coalesce;
mod date;
mod days_in_month;
mod discount_pct;
mod easter;
mod easter_offset;
mod interval;
mod is_month_end;
mod is_weekend;
mod iso_week;
mod pg_sleep;
mod timezone;

use datafusion::logical_expr::ScalarUDF;

pub use easter::easter_sunday;
pub use interval::Scaling;

/// The function behind `interval * number` or `interval / number`.
pub fn scaled_interval(scaling: Scaling) -> ScalarUDF {
    ScalarUDF::new_from_impl(interval::ScaledInterval::new(scaling))
}

/// Every scalar function, one line each.
pub fn all() -> Vec<ScalarUDF> {
    vec![
        is_weekend::IS_WEEKEND.into_udf(),
        iso_week::ISO_WEEK.into_udf(),
        days_in_month::DAYS_IN_MONTH.into_udf(),
        is_month_end::IS_MONTH_END.into_udf(),
        easter_offset::EASTER_OFFSET.into_udf(),
        ScalarUDF::new_from_impl(discount_pct::DiscountPct::new()),
        ScalarUDF::new_from_impl(coalesce::Coalesce::default()),
        pg_sleep::udf(),
        ScalarUDF::new_from_impl(timezone::Timezone::new()),
        scaled_interval(Scaling::Times),
        scaled_interval(Scaling::Over),
    ]
}
