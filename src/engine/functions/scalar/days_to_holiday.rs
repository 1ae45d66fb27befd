//! `days_to_holiday(date, country)`.

use crate::engine::functions::scalar::holiday::{HolidayFunction, OfHoliday};
use crate::ml::holidays::Calendar;

/// Days until the next public holiday of a country, 0 on one.
pub const DAYS_TO_HOLIDAY: HolidayFunction = HolidayFunction {
    name: "days_to_holiday",
    description: "Days until the next public holiday of a country, 0 on one.",
    sql_example: "SELECT days_to_holiday(DATE '2024-12-20', 'GB');",
    value: OfHoliday::Days(Calendar::days_to),
};
