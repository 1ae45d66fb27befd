//! `days_in_month(date)`.

use chrono::Datelike;

use crate::engine::functions::scalar::date::{DateFunction, OfDate};

/// Days of the date's month.
pub const DAYS_IN_MONTH: DateFunction = DateFunction {
    name: "days_in_month",
    description: "Number of days of the date's month, 28 to 31.",
    sql_example: "SELECT days_in_month(DATE '2024-02-10');",
    value: OfDate::Number(|date| Some(i32::from(date.num_days_in_month()))),
};
