//! `is_weekend(date)`.

use chrono::Datelike;

use crate::engine::functions::scalar::date::{DateFunction, OfDate};

/// True on Saturday and Sunday.
pub const IS_WEEKEND: DateFunction = DateFunction {
    name: "is_weekend",
    description: "True on Saturday and Sunday.",
    sql_example: "SELECT is_weekend(DATE '2024-06-01');",
    value: OfDate::Truth(|date| date.weekday().num_days_from_monday() >= 5),
};
