//! `days_since_holiday(date, country)`.

use crate::engine::functions::scalar::holiday::{HolidayFunction, OfHoliday};
use crate::ml::holidays::Calendar;

/// Days since the last public holiday of a country, 0 on one.
pub const DAYS_SINCE_HOLIDAY: HolidayFunction = HolidayFunction {
    name: "days_since_holiday",
    description: "Days since the last public holiday of a country, 0 on one.",
    sql_example: "SELECT days_since_holiday(DATE '2024-12-31', 'FR');",
    value: OfHoliday::Days(Calendar::days_since),
};
