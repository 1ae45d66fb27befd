//! `is_month_end(date)`.

use chrono::Datelike;

use crate::engine::functions::scalar::date::{DateFunction, OfDate};

/// True on the last day of a month.
pub const IS_MONTH_END: DateFunction = DateFunction {
    name: "is_month_end",
    description: "True on the last day of a month.",
    sql_example: "SELECT is_month_end(DATE '2024-02-29');",
    value: OfDate::Truth(|date| date.day() == u32::from(date.num_days_in_month())),
};
