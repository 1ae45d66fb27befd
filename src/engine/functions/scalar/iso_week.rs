//! `iso_week(date)`.

use chrono::Datelike;

use crate::engine::functions::scalar::date::{DateFunction, OfDate};

/// Week of the year by ISO 8601.
pub const ISO_WEEK: DateFunction = DateFunction {
    name: "iso_week",
    description: "Week of the year by ISO 8601, 1 to 53: weeks begin on Monday, week 1 has the year's first Thursday.",
    sql_example: "SELECT iso_week(DATE '2021-01-03');",
    value: OfDate::Number(|date| i32::try_from(date.iso_week().week()).ok()),
};
