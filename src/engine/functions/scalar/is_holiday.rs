//! `is_holiday(date, country)`.

use crate::engine::functions::scalar::holiday::{HolidayFunction, OfHoliday};
use crate::ml::holidays::Calendar;

/// True on a public holiday of a country.
pub const IS_HOLIDAY: HolidayFunction = HolidayFunction {
    name: "is_holiday",
    description: "True on a public holiday of a country.",
    sql_example: "SELECT is_holiday(DATE '2024-10-03', 'DE');",
    value: OfHoliday::Truth(Calendar::is_holiday),
};
