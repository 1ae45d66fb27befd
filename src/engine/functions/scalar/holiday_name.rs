//! `holiday_name(date, country)`.

use crate::engine::functions::scalar::holiday::{HolidayFunction, OfHoliday};
use crate::ml::holidays::Calendar;

/// The public holiday of a country on a date, NULL where there is none; a day that stands in for one on a weekend says so.
pub const HOLIDAY_NAME: HolidayFunction = HolidayFunction {
    name: "holiday_name",
    description: "The public holiday of a country on a date, NULL where there is none; a day that stands in for one on a weekend says so.",
    sql_example: "SELECT holiday_name(DATE '2021-07-05', 'US');",
    value: OfHoliday::Name(Calendar::name),
};
