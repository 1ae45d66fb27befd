//! Texts that are dates and times in a pattern.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use super::dates::{DAYS, MONTHS, ROMAN};
use super::moment::julian;
use super::pattern::{Case, Field, FieldPart, Part};
use crate::error::{Error, Result, Subject};

/// What a text told.
#[derive(Debug, Default)]
struct Told {
    year: Option<i64>,
    /// Digits of the year as written.
    year_digits: usize,
    before_christ: bool,
    century: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    iso_day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: Option<i64>,
    twelve_hours: bool,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    second_of_day: Option<i64>,
    micros: Option<i64>,
    zone_hours: Option<i64>,
    zone_minutes: i64,
    zone_sign: i64,
}

/// A date with a time, and seconds east of Greenwich where the text tells them.
pub fn read(text: &str, parts: &[Part]) -> Result<(NaiveDateTime, Option<i64>)> {
    let mut reader = Reader { text, rest: text, told: Told { zone_sign: 1, ..Told::default() }, skipped: 0 };
    reader.read(parts)?;
    let out_of_range = || Error::data(format!("date/time field value out of range: \"{text}\""));
    reader.told.moment(&out_of_range)
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    told: Told,
    /// Blanks and signs skipped beyond those of the pattern.
    skipped: i64,
}

fn invalid(value: &str, word: &str, rule: &str) -> Error {
    Error::input(Subject::Value, format!("invalid value \"{value}\" for \"{word}\""))
        .with_detail(rule.to_owned())
}

impl Reader<'_> {
    fn read(&mut self, parts: &[Part]) -> Result<()> {
        let exact =
            parts.iter().any(|part| matches!(part, Part::Field(field) if field.field == Field::Exact));
        for (n, part) in parts.iter().enumerate() {
            if self.rest.is_empty() {
                break;
            }
            match part {
                Part::Text(c, quoted) => self.skip(*c, *quoted, exact, n == 0),
                Part::Field(field) => {
                    if !exact {
                        self.skip_blanks();
                    }
                    self.field(field, parts.get(n + 1))?;
                }
            }
        }
        Ok(())
    }

    fn skip_blanks(&mut self) {
        let trimmed = self.rest.trim_start();
        self.skipped += (self.rest.len() - trimmed.len()) as i64;
        self.rest = trimmed;
    }

    fn next_char(&mut self) {
        self.rest = self.rest.chars().next().map_or("", |c| &self.rest[c.len_utf8()..]);
    }

    /// A blank or sign of the pattern stands for one of the text, or none; any other character for any one.
    fn skip(&mut self, c: char, quoted: bool, exact: bool, first: bool) {
        let separator = |c: char| c.is_whitespace() || (c.is_ascii_punctuation());
        if exact {
            return self.next_char();
        }
        if first {
            self.skip_blanks();
        }
        if separator(c) && !quoted {
            self.skipped -= 1;
            if self.rest.chars().next().is_some_and(separator) {
                self.next_char();
                self.skipped += 1;
            }
        } else if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.next_char();
        }
    }

    /// A whole number of at most so many digits, all there are where no digit follows in the pattern.
    fn number(&mut self, part: &FieldPart, next: Option<&Part>) -> Result<(i64, usize)> {
        let width = part.field.width();
        let free = part.fill || part.ordinal.is_some() || ends_number(next);
        let start = self.rest.trim_start();
        let signed = usize::from(start.starts_with(['-', '+']));
        let digits = start[signed..].bytes().take_while(u8::is_ascii_digit).count();
        let available = signed + digits;
        let taken = if free { available } else { available.min(width) };
        let value = &start[..taken];
        if digits == 0 || taken == signed {
            let shown: String = start.chars().take(width).collect();
            return Err(invalid(&shown, part.word, "Value must be an integer."));
        }
        if !free && taken < width {
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            let error = match start.len() < width {
                true => {
                    let message = format!("source string too short for \"{}\" formatting field", part.word);
                    let rule = format!("Field requires {width} characters, but only {} remain.", start.len());
                    Error::input(Subject::Value, message).with_detail(rule)
                }
                false => {
                    let shown: String = start.chars().take(width).collect();
                    let rule =
                        format!("Field requires {width} characters, but only {taken} could be parsed.");
                    invalid(&shown, part.word, &rule)
                }
            };
            return Err(error.with_hint(hint));
        }
        let number = value.parse::<i32>().map_err(|_| {
            Error::data(format!("value for \"{}\" in source string is out of range", part.word))
        })?;
        self.rest = &start[taken..];
        if part.ordinal.is_some() {
            self.rest = self.rest.get(2..).unwrap_or("");
        }
        Ok((i64::from(number), digits))
    }

    /// One of these names, whatever its case; its place.
    fn name(&mut self, names: &[&str], part: &FieldPart) -> Result<i64> {
        let begins = |name: &str| self.rest.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
        // The longest first: XII before X.
        let found =
            names.iter().enumerate().filter(|(_, name)| begins(name)).max_by_key(|(_, name)| name.len());
        let Some((place, name)) = found else {
            let word: String = self.rest.chars().take_while(|c| !c.is_whitespace()).collect();
            let rule = "The given value did not match any of the allowed values for this field.";
            let written = match part.case {
                Case::Lower => part.word.to_lowercase(),
                _ => part.word.to_owned(),
            };
            return Err(invalid(&word, &written, rule));
        };
        self.rest = &self.rest[name.len()..];
        Ok(place as i64)
    }

    fn field(&mut self, part: &FieldPart, next: Option<&Part>) -> Result<()> {
        if part.field.is_digits() {
            let (value, digits) = self.number(part, next)?;
            return self.told.number(part, value, digits);
        }
        let short = |names: &[&'static str]| names.iter().map(|name| &name[..3]).collect::<Vec<_>>();
        match part.field {
            Field::Exact => {}
            Field::MonthName => self.told.month = Some(self.name(&MONTHS, part)? + 1),
            Field::ShortMonthName => self.told.month = Some(self.name(&short(&MONTHS), part)? + 1),
            Field::RomanMonth => self.told.month = Some(self.name(&ROMAN, part)? + 1),
            Field::DayName => drop(self.name(&DAYS, part)?),
            Field::ShortDayName => drop(self.name(&short(&DAYS), part)?),
            Field::HalfDay { dots } => {
                let names: [&str; 2] = if dots { ["A.M.", "P.M."] } else { ["AM", "PM"] };
                self.told.afternoon = Some(self.name(&names, part)? == 1);
                self.told.twelve_hours = true;
            }
            Field::Era { dots } => {
                let names: [&str; 2] = if dots { ["A.D.", "B.C."] } else { ["AD", "BC"] };
                self.told.before_christ = self.name(&names, part)? == 1;
            }
            Field::ZoneHours | Field::ZoneMinutes => self.zone(part, next)?,
            _ => {
                let message = format!("formatting field \"{}\" is only supported in to_char", part.word);
                return Err(Error::unsupported(message));
            }
        }
        Ok(())
    }

    fn zone(&mut self, part: &FieldPart, next: Option<&Part>) -> Result<()> {
        if part.field == Field::ZoneHours {
            self.told.zone_sign = if self.rest.starts_with('-') { -1 } else { 1 };
            self.rest = self.rest.strip_prefix(['-', '+', ' ']).unwrap_or(self.rest);
            self.told.zone_hours = Some(self.number(part, next)?.0);
        } else {
            self.told.zone_minutes = self.number(part, next)?.0;
        }
        if self.told.zone_hours.is_some_and(|hours| hours > 15) || self.told.zone_minutes > 59 {
            let message = format!("date/time field value out of range: \"{}\"", self.text);
            return Err(Error::data(message));
        }
        Ok(())
    }
}

/// True when what follows a number in a pattern cannot be a digit.
fn ends_number(next: Option<&Part>) -> bool {
    match next {
        None => true,
        Some(Part::Text(c, _)) => !c.is_ascii_digit(),
        Some(Part::Field(part)) => !part.field.is_digits(),
    }
}

/// Years of two or three digits are those next to 2020.
fn full_year(year: i64) -> i64 {
    match year {
        ..70 => year + 2_000,
        70..100 => year + 1_900,
        100..520 => year + 2_000,
        520..1_000 => year + 1_000,
        _ => year,
    }
}

impl Told {
    fn set(place: &mut Option<i64>, value: i64, part: &FieldPart) -> Result<()> {
        match place.replace(value) {
            Some(before) if before != value => {
                let message = format!("conflicting values for \"{}\" field in formatting string", part.word);
                Err(Error::input(Subject::Value, message).with_detail(
                    "This value contradicts a previous setting for the same field type.".to_owned(),
                ))
            }
            _ => Ok(()),
        }
    }

    fn number(&mut self, part: &FieldPart, value: i64, digits: usize) -> Result<()> {
        let fraction = |width: usize| value * 10_i64.pow(6_u32.saturating_sub(digits.min(width) as u32));
        let place = match part.field {
            Field::Year(count) | Field::IsoYear(count) => {
                self.year_digits = count as usize;
                let value = if digits < 4 && count < 4 { full_year(value) } else { value };
                let place =
                    if matches!(part.field, Field::Year(_)) { &mut self.year } else { &mut self.iso_year };
                return Self::set(place, value, part);
            }
            Field::GroupedYear => &mut self.year,
            Field::Century => &mut self.century,
            Field::Month => &mut self.month,
            Field::DayOfMonth => &mut self.day,
            Field::DayOfYear => &mut self.day_of_year,
            Field::IsoDayOfYear => &mut self.iso_day_of_year,
            Field::WeekOfYear => &mut self.week,
            Field::WeekOfMonth => &mut self.week_of_month,
            Field::IsoWeek => &mut self.iso_week,
            Field::IsoDayOfWeek => &mut self.iso_day,
            Field::JulianDay => &mut self.julian,
            Field::Hour12 => {
                self.twelve_hours = true;
                &mut self.hour
            }
            Field::Hour24 => &mut self.hour,
            Field::Minute => &mut self.minute,
            Field::Second => &mut self.second,
            Field::SecondOfDay => &mut self.second_of_day,
            Field::Milliseconds => return Self::set(&mut self.micros, fraction(3), part),
            Field::Microseconds | Field::Fraction(_) => {
                return Self::set(&mut self.micros, fraction(6), part);
            }
            // The day of the week and the quarter say nothing that the rest does not.
            _ => return Ok(()),
        };
        Self::set(place, value, part)
    }

    fn moment(&self, out_of_range: &dyn Fn() -> Error) -> Result<(NaiveDateTime, Option<i64>)> {
        let date = self.date(out_of_range)?;
        let (hour, minute, second) = self.clock()?;
        if !((0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second)) {
            return Err(out_of_range());
        }
        let micros = (hour * 3_600 + minute * 60 + second) * 1_000_000 + self.micros.unwrap_or(0);
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        let at = midnight.checked_add_signed(TimeDelta::microseconds(micros)).ok_or_else(out_of_range)?;
        let zone = self.zone_hours.map(|hours| self.zone_sign * (hours * 3_600 + self.zone_minutes * 60));
        Ok((at, zone))
    }

    fn clock(&self) -> Result<(i64, i64, i64)> {
        if let Some(seconds) = self.second_of_day {
            return Ok((seconds / 3_600, seconds / 60 % 60, seconds % 60));
        }
        let mut hour = self.hour.unwrap_or(0);
        if self.twelve_hours && self.hour.is_some() {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(Error::input(Subject::Value, message)
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 };
        }
        Ok((hour, self.minute.unwrap_or(0), self.second.unwrap_or(0)))
    }

    /// The year in the calendar's count, in which 0 is the year before the first.
    fn calendar_year(&self) -> Option<i64> {
        let year = match (self.year, self.century) {
            (Some(year), Some(century)) if self.year_digits <= 2 => {
                (century - 1) * 100 + year % 100 + if year % 100 == 0 { 100 } else { 0 }
            }
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            (None, None) => return None,
        };
        Some(if self.before_christ && year > 0 { 1 - year } else { year })
    }

    fn date(&self, out_of_range: &dyn Fn() -> Error) -> Result<NaiveDate> {
        if let Some(day) = self.julian {
            return from_julian(day).ok_or_else(out_of_range);
        }
        if let Some(year) = self.iso_year.or(self.year.filter(|_| self.iso_week.is_some())) {
            return self.iso_date(year).ok_or_else(out_of_range);
        }
        let year = self.calendar_year();
        let day_of_year = self.week.map(|week| (week - 1) * 7 + 1).or(self.day_of_year);
        if let (Some(day), None) = (day_of_year, self.month) {
            let Some(year) = year else {
                let message = "cannot calculate day of year without year information";
                return Err(Error::input(Subject::Value, message));
            };
            return of_year_and_day(year, day).ok_or_else(out_of_range);
        }
        let day = self.day.or(self.week_of_month.map(|week| (week - 1) * 7 + 1)).unwrap_or(1);
        let month = self.month.unwrap_or(1);
        let part = |value: i64| u32::try_from(value).ok();
        let year = i32::try_from(year.unwrap_or(0)).ok();
        let date = year.zip(part(month)).zip(part(day));
        date.and_then(|((y, m), d)| NaiveDate::from_ymd_opt(y, m, d)).ok_or_else(out_of_range)
    }

    fn iso_date(&self, year: i64) -> Option<NaiveDate> {
        let first = NaiveDate::from_isoywd_opt(i32::try_from(year).ok()?, 1, chrono::Weekday::Mon)?;
        let days = match (self.iso_day_of_year, self.iso_week) {
            (Some(day), _) => day - 1,
            (None, week) => (week.unwrap_or(1) - 1) * 7 + self.iso_day.unwrap_or(1) - 1,
        };
        first.checked_add_signed(TimeDelta::try_days(days)?)
    }
}

fn of_year_and_day(year: i64, day: i64) -> Option<NaiveDate> {
    NaiveDate::from_yo_opt(i32::try_from(year).ok()?, u32::try_from(day).ok()?)
}

fn from_julian(day: i64) -> Option<NaiveDate> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let date = epoch.checked_add_signed(TimeDelta::try_days(day - julian(epoch))?)?;
    (date.year() > -4_714).then_some(date)
}
