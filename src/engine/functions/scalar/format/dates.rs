//! Dates, times and intervals in a pattern.

use chrono::Datelike;

use super::moment::{Moment, julian};
use super::pattern::{Case, Field, FieldPart, Part, ending};
use crate::error::{Error, Result, Subject};

/// Names of months.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Names of days, Sunday first.
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Months in Roman numerals.
pub const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Writes a moment in a pattern.
pub fn write(moment: &Moment, parts: &[Part], out: &mut String) -> Result<()> {
    for part in parts {
        match part {
            Part::Text(c, _) => out.push(*c),
            Part::Field(part) => field(moment, part, out)?,
        }
    }
    Ok(())
}

fn field(moment: &Moment, part: &FieldPart, out: &mut String) -> Result<()> {
    if let Some(text) = letters(moment, part)? {
        out.push_str(&text);
    } else if let Some(digits) = digits(moment, part)? {
        out.push_str(&digits);
        if let Some(case) = part.ordinal {
            out.push_str(ending(&digits, case));
        }
    }
    Ok(())
}

fn not_of_intervals() -> Error {
    Error::input(Subject::Value, "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates.")
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Lower => text.to_lowercase(),
        Case::Title => text.to_owned(),
    }
}

/// A name with the blanks of the longest one behind it.
fn padded(text: String, part: &FieldPart, width: usize) -> String {
    if part.fill { text } else { format!("{text:<width$}") }
}

/// The text of a field that is not a plain number; `None` for the others.
fn letters(moment: &Moment, part: &FieldPart) -> Result<Option<String>> {
    let date = || moment.date.ok_or_else(not_of_intervals);
    let dotted = |text: &str, dots: bool| {
        cased(&if dots { text.chars().flat_map(|c| [c, '.']).collect() } else { text.to_owned() }, part.case)
    };
    Ok(Some(match part.field {
        Field::Era { dots } => dotted(if date()?.year() <= 0 { "BC" } else { "AD" }, dots),
        Field::HalfDay { dots } => dotted(if moment.hour % 24 >= 12 { "PM" } else { "AM" }, dots),
        Field::MonthName => padded(cased(MONTHS[date()?.month0() as usize], part.case), part, 9),
        Field::ShortMonthName => cased(&MONTHS[date()?.month0() as usize][..3], part.case),
        Field::DayName => padded(cased(day_name(date()?), part.case), part, 9),
        Field::ShortDayName => cased(&day_name(date()?)[..3], part.case),
        Field::RomanMonth => match moment.month {
            0 if moment.year == 0 => String::new(),
            month => padded(cased(ROMAN[(month - 1).rem_euclid(12) as usize], part.case), part, 4),
        },
        Field::Zone => {
            date()?;
            let name = moment.zone.as_ref().map_or("", |(name, _)| name);
            if part.case == Case::Lower { name.to_lowercase() } else { name.to_owned() }
        }
        Field::ZoneHours | Field::ZoneMinutes | Field::Offset => {
            date()?;
            offset(moment.zone.as_ref().map_or(0, |(_, seconds)| *seconds), part)
        }
        Field::Exact => String::new(),
        _ => return Ok(None),
    }))
}

fn day_name(date: chrono::NaiveDate) -> &'static str {
    DAYS[date.weekday().num_days_from_sunday() as usize]
}

fn offset(seconds: i32, part: &FieldPart) -> String {
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match part.field {
        Field::ZoneHours => format!("{sign}{hours:02}"),
        Field::ZoneMinutes => format!("{minutes:02}"),
        _ => {
            let hours = if part.fill { hours.to_string() } else { format!("{hours:02}") };
            if minutes == 0 { format!("{sign}{hours}") } else { format!("{sign}{hours}:{minutes:02}") }
        }
    }
}

/// A number with zeros before it, its sign not counted.
fn zeros(value: i64, width: usize, part: &FieldPart) -> String {
    if part.fill {
        return value.to_string();
    }
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{:0width$}", value.unsigned_abs())
}

/// The number of a field; `None` for what an interval without months does not have.
fn digits(moment: &Moment, part: &FieldPart) -> Result<Option<String>> {
    let date = || moment.date.ok_or_else(not_of_intervals);
    let zeros = |value: i64, width: usize| zeros(value, width, part);
    // Days of an interval may be negative; their sign is one of the places.
    let signed = |value: i64, width: usize| match part.fill {
        true => value.to_string(),
        false => format!("{value:0width$}"),
    };
    let fraction = |digits: u32| {
        let value = moment.micros.abs() / 10_i64.pow(6 - digits);
        format!("{value:0width$}", width = digits as usize)
    };
    Ok(Some(match part.field {
        Field::Hour12 if moment.hour % 12 == 0 => zeros(12, 2),
        Field::Hour12 => zeros(moment.hour % 12, 2),
        Field::Hour24 => zeros(moment.hour, 2),
        Field::Minute => zeros(moment.minute, 2),
        Field::Second => zeros(moment.second, 2),
        Field::Fraction(digits) => fraction(digits),
        Field::Milliseconds => fraction(3),
        Field::Microseconds => fraction(6),
        Field::SecondOfDay => (moment.hour * 3_600 + moment.minute * 60 + moment.second).to_string(),
        Field::Month => zeros(moment.month, 2),
        Field::DayOfMonth => signed(moment.day, 2),
        Field::DayOfYear => signed(moment.day_of_year(), 3),
        Field::DayOfWeek => i64::from(date()?.weekday().number_from_sunday()).to_string(),
        Field::IsoDayOfWeek => i64::from(date()?.weekday().number_from_monday()).to_string(),
        Field::IsoDayOfYear => {
            let week = date()?.iso_week();
            let day = (i64::from(week.week()) - 1) * 7 + i64::from(date()?.weekday().number_from_monday());
            zeros(day, 3)
        }
        Field::WeekOfYear => zeros((moment.day_of_year() - 1) / 7 + 1, 2),
        Field::WeekOfMonth => ((moment.day - 1) / 7 + 1).to_string(),
        Field::IsoWeek => zeros(i64::from(date()?.iso_week().week()), 2),
        Field::Quarter if moment.month == 0 => return Ok(None),
        Field::Quarter => ((moment.month - 1) / 3 + 1).to_string(),
        Field::Century => century(moment, part),
        Field::JulianDay => julian(date()?).to_string(),
        Field::GroupedYear => {
            let year = shown_year(moment.year, moment);
            format!("{},{:03}", year / 1_000, year % 1_000)
        }
        Field::Year(count) => year(shown_year(moment.year, moment), count, part),
        Field::IsoYear(count) => year(shown_year(i64::from(date()?.iso_week().year()), moment), count, part),
        _ => return Ok(None),
    }))
}

/// Years before Christ count backwards and have no zero.
fn shown_year(year: i64, moment: &Moment) -> i64 {
    if moment.date.is_some() && year <= 0 { 1 - year } else { year }
}

fn year(year: i64, count: u32, part: &FieldPart) -> String {
    zeros(if count >= 4 { year } else { year % 10_i64.pow(count) }, count as usize, part)
}

fn century(moment: &Moment, part: &FieldPart) -> String {
    let century = match (moment.date.is_some(), moment.year) {
        (false, years) => years / 100,
        (true, year @ 1..) => (year - 1) / 100 + 1,
        (true, year) => year / 100 - 1,
    };
    zeros(century, 2, part)
}
