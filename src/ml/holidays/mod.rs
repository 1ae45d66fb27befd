//! Public holidays: countries, their rules, and the calendars that they make.

mod americas;
mod asia;
mod calendar;
mod country;
mod easter;
mod europe;
mod lunar;
mod rule;

pub use calendar::{Calendar, date_of_day, day_number};
pub use country::{Country, Holiday, countries, parse_country};
pub use easter::easter_sunday;
