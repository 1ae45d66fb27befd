//! `easter_offset(date)`.

use chrono::Datelike;

use crate::engine::functions::scalar::date::{DateFunction, OfDate};
use crate::ml::holidays::easter_sunday;

/// Days since Easter Sunday of the date's year.
pub const EASTER_OFFSET: DateFunction = DateFunction {
    name: "easter_offset",
    description: "Days since Easter Sunday of the date's year, negative before it: -2 is Good Friday, 1 Easter \
                  Monday, 39 Ascension, 50 Whit Monday.",
    sql_example: "SELECT easter_offset(DATE '2024-03-29');",
    value: OfDate::Number(|date| {
        let days = (date - easter_sunday(date.year())?).num_days();
        i32::try_from(days).ok()
    }),
};
