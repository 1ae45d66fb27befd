//! The regular time grid of a panel: instants to period numbers and back.

use std::fmt;

use chrono::{DateTime, Datelike, Months, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject, did_you_mean};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Microseconds in a civil day.
pub(super) const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
/// 1970-01-05, the first Monday of the epoch.
const FIRST_MONDAY: i64 = 4 * MICROS_PER_DAY;

const WORDS: [(&str, Frequency); 8] = [
    ("SECOND", Frequency::Seconds(1)),
    ("MINUTE", Frequency::Seconds(60)),
    ("HOUR", Frequency::Seconds(3600)),
    ("DAY", Frequency::Days(1)),
    ("WEEK", Frequency::Days(7)),
    ("MONTH", Frequency::Months(1)),
    ("QUARTER", Frequency::Months(3)),
    ("YEAR", Frequency::Months(12)),
];

/// The step of a time grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Frequency {
    /// Every `n` units of an integer time column.
    Integer(i64),
    /// Every `n` seconds (minutes and hours too).
    Seconds(i64),
    /// Every `n` civil days; 7 is a week, anchored on the weekday of the data.
    Days(i64),
    /// Every `n` civil months; 3 is a quarter, 12 a year.
    Months(i64),
}

/// What the values of a time column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeKind {
    /// Plain integers, such as a week number.
    Integer,
    /// Civil dates; microseconds since 1970-01-01 at midnight.
    Date,
    /// Instants; microseconds since 1970-01-01.
    Timestamp,
}

impl TimeKind {
    /// The instant as the user would write it.
    pub fn format(self, instant: i64) -> String {
        let time = match self {
            Self::Integer => None,
            Self::Date | Self::Timestamp => DateTime::from_timestamp_micros(instant),
        };
        let Some(time) = time else { return instant.to_string() };
        match (self, instant.rem_euclid(MICROS_PER_SECOND)) {
            (Self::Date, _) => time.format("%Y-%m-%d").to_string(),
            (_, 0) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
            _ => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        }
    }
}

impl Frequency {
    /// The frequency named by a unit (`DAY`), a count and a unit (`2 HOURS`) or a plain count (`5`).
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (count, unit) = match words[..] {
            [one] if one.starts_with(|c: char| c.is_ascii_digit() || c == '-') => (one, None),
            [unit] => ("1", Some(unit)),
            [count, unit] => (count, Some(unit)),
            _ => return Err(unknown_frequency(text, "")),
        };
        let count: i64 = count.parse().map_err(|_| unknown_frequency(text, ""))?;
        let base = match unit {
            None => Self::Integer(1),
            Some(unit) => unit_of(unit).ok_or_else(|| {
                unknown_frequency(text, &did_you_mean(unit, WORDS.iter().map(|(word, _)| *word)))
            })?,
        };
        base.times(count).ok_or_else(|| {
            Error::input(
                Subject::Option,
                format!("EVERY {text}: the count must be a positive number that fits"),
            )
        })
    }

    fn times(self, count: i64) -> Option<Self> {
        let scaled = |n: i64| n.checked_mul(count).filter(|n| *n > 0 && *n <= i64::MAX / MICROS_PER_DAY);
        Some(match self {
            Self::Integer(n) => Self::Integer(n.checked_mul(count).filter(|n| *n > 0)?),
            Self::Seconds(n) => Self::of_seconds(scaled(n)?),
            Self::Days(n) => Self::Days(scaled(n)?),
            Self::Months(n) => Self::Months(scaled(n)?),
        })
    }

    /// Seconds, or civil days where they are whole.
    pub(super) fn of_seconds(seconds: i64) -> Self {
        match seconds % SECONDS_PER_DAY {
            0 => Self::Days(seconds / SECONDS_PER_DAY),
            _ => Self::Seconds(seconds),
        }
    }

    /// The usual horizon: four weeks of days, a quarter of weeks, a year of months, two days of hours.
    pub fn default_horizon(self) -> usize {
        match self {
            Self::Months(n) if n >= 12 => 4,
            Self::Months(n) if n >= 3 => 8,
            Self::Months(_) | Self::Integer(_) => 12,
            Self::Days(n) if n >= 7 => 13,
            Self::Days(_) => 28,
            Self::Seconds(_) => 48,
        }
    }

    /// Periods in the season that data of this frequency usually has; 1 where there is none.
    pub fn default_season_length(self) -> usize {
        let share = |whole: i64, part: i64| if part > 0 && whole % part == 0 { whole / part } else { 1 };
        let length = match self {
            Self::Integer(_) => 1,
            Self::Seconds(n) if n < 60 => share(3600, n),
            Self::Seconds(n) => share(SECONDS_PER_DAY, n),
            Self::Days(n) if n % 7 == 0 => share(52, n / 7),
            Self::Days(n) => share(7, n),
            Self::Months(n) => share(12, n),
        };
        length as usize
    }

    /// Which of the common frequencies it is, as foundation models count them: years, quarters, months, weeks, days,
    /// working days, hours and parts of an hour from 1 on; 0 for any other.
    pub fn common(self) -> usize {
        match self {
            Self::Months(12) => 1,
            Self::Months(3) => 2,
            Self::Months(1) => 3,
            Self::Days(7) => 4,
            Self::Days(1) => 5,
            Self::Seconds(3600) => 7,
            Self::Seconds(60..3600) => 8,
            _ => 0,
        }
    }

    /// The distance of neighbouring periods where it is the same everywhere: not for months.
    pub(super) fn fixed_step(self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(n),
            Self::Seconds(n) => n.checked_mul(MICROS_PER_SECOND),
            Self::Days(n) => n.checked_mul(MICROS_PER_DAY),
            Self::Months(_) => None,
        }
    }

    /// Periods of a year, rounded up; `None` for integers, of which nobody knows.
    pub fn periods_per_year(self) -> Option<usize> {
        let (year, step) = match self {
            Self::Integer(_) => return None,
            Self::Seconds(n) => (366 * 86_400, n),
            Self::Days(n) => (366, n),
            Self::Months(n) => (12, n),
        };
        usize::try_from((year + step - 1) / step.max(1)).ok()
    }

    /// The instant at which period `period` of the grid from `origin` begins; `None` beyond the calendar.
    pub fn instant(self, origin: i64, period: i64) -> Option<i64> {
        match self {
            Self::Months(n) => add_months(origin, n.checked_mul(period)?),
            _ => origin.checked_add(self.fixed_step()?.checked_mul(period)?),
        }
    }

    /// The number of the period of the grid from `origin` that contains the instant.
    pub fn period(self, origin: i64, instant: i64) -> i64 {
        match self {
            Self::Months(n) => {
                let guess = (month_number(instant) - month_number(origin)).div_euclid(n.max(1));
                match self.instant(origin, guess) {
                    Some(begin) if begin > instant => guess - 1,
                    _ => guess,
                }
            }
            _ => match (self.fixed_step(), instant.checked_sub(origin)) {
                (Some(step), Some(distance)) => distance.div_euclid(step.max(1)),
                _ => 0,
            },
        }
    }

    /// True when a period of the grid from `origin` begins at the instant.
    pub fn is_on_grid(self, origin: i64, instant: i64) -> bool {
        self.instant(origin, self.period(origin, instant)) == Some(instant)
    }

    /// The origin that truncation uses: midnight, Monday, the first of January.
    pub fn civil_origin(self) -> i64 {
        match self {
            Self::Days(n) if n % 7 == 0 => FIRST_MONDAY,
            _ => 0,
        }
    }

    /// The instant at which the period that contains `instant` begins on the civil grid.
    pub fn truncate(self, instant: i64) -> i64 {
        let origin = self.civil_origin();
        self.instant(origin, self.period(origin, instant)).unwrap_or(instant)
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match *self {
            Self::Integer(n) => return write!(f, "{n}"),
            Self::Seconds(n) if n % 3600 == 0 => (n / 3600, "HOUR"),
            Self::Seconds(n) if n % 60 == 0 => (n / 60, "MINUTE"),
            Self::Seconds(n) => (n, "SECOND"),
            Self::Days(n) if n % 7 == 0 => (n / 7, "WEEK"),
            Self::Days(n) => (n, "DAY"),
            Self::Months(n) if n % 12 == 0 => (n / 12, "YEAR"),
            Self::Months(n) if n % 3 == 0 => (n / 3, "QUARTER"),
            Self::Months(n) => (n, "MONTH"),
        };
        match count {
            1 => f.write_str(unit),
            _ => write!(f, "{count} {unit}"),
        }
    }
}

fn unit_of(word: &str) -> Option<Frequency> {
    let word = word.to_ascii_uppercase();
    let singular = word.strip_suffix('S').unwrap_or(&word);
    WORDS.iter().find(|(name, _)| *name == singular).map(|(_, frequency)| *frequency)
}

fn unknown_frequency(text: &str, suggestion: &str) -> Error {
    let message = format!("EVERY {text} is not a frequency{suggestion}");
    Error::input(Subject::Option, message)
        .with_hint("write HOUR, DAY, WEEK, MONTH, QUARTER, YEAR, or a count before one of them")
}

/// The civil date that contains the instant.
pub(super) fn date_of(instant: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp_micros(instant).map(|time| time.date_naive())
}

/// Months since year 0 of the civil month that contains the instant.
pub(super) fn month_number(instant: i64) -> i64 {
    date_of(instant).map_or(0, |date| i64::from(date.year()) * 12 + i64::from(date.month0()))
}

/// The same day of the month and time of day that many months away; the last day where the month is shorter.
fn add_months(instant: i64, months: i64) -> Option<i64> {
    let date = date_of(instant)?;
    let distance = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    let moved =
        if months < 0 { date.checked_sub_months(distance) } else { date.checked_add_months(distance) }?;
    let days = moved.signed_duration_since(NaiveDate::default()).num_days();
    days.checked_mul(MICROS_PER_DAY)?.checked_add(instant.rem_euclid(MICROS_PER_DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> i64 {
        let date: NaiveDate = text.parse().unwrap();
        date.signed_duration_since(NaiveDate::default()).num_days() * MICROS_PER_DAY
    }

    #[test]
    fn names_parse_and_print() {
        for (text, name, season) in [
            ("day", "DAY", 7),
            ("7 days", "WEEK", 52),
            ("2 HOURS", "2 HOUR", 12),
            ("15 minute", "15 MINUTE", 96),
            ("24 hour", "DAY", 7),
            ("month", "MONTH", 12),
            ("6 months", "2 QUARTER", 2),
            ("QUARTER", "QUARTER", 4),
            ("YEAR", "YEAR", 1),
            ("5", "5", 1),
            ("2 day", "2 DAY", 1),
        ] {
            let frequency = Frequency::parse(text).unwrap();
            assert_eq!((frequency.to_string().as_str(), frequency.default_season_length()), (name, season));
            assert_eq!(Frequency::parse(&frequency.to_string()).unwrap(), frequency);
        }
        assert!(Frequency::parse("wek").unwrap_err().message().contains("did you mean WEEK?"));
        for bad in ["", "0 day", "-1", "99999999999 day", "day day day", "1.5 hour"] {
            assert!(Frequency::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn month_ends_come_back_as_month_ends() {
        let origin = day("2020-01-31");
        let expected = ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"];
        for (period, text) in expected.into_iter().enumerate() {
            assert_eq!(Frequency::Months(1).instant(origin, period as i64), Some(day(text)));
            assert_eq!(Frequency::Months(1).period(origin, day(text)), period as i64);
        }
        assert!(!Frequency::Months(1).is_on_grid(origin, day("2020-02-28")));
        assert_eq!(Frequency::Months(1).period(origin, day("2019-12-30")), -2);
    }

    #[test]
    fn truncation_is_civil() {
        let at = day("2026-01-08") + 13 * 3600 * MICROS_PER_SECOND;
        for (text, expected) in
            [("DAY", "2026-01-08"), ("WEEK", "2026-01-05"), ("QUARTER", "2026-01-01"), ("YEAR", "2026-01-01")]
        {
            assert_eq!(Frequency::parse(text).unwrap().truncate(at), day(expected), "{text}");
        }
        assert_eq!(Frequency::Days(1).truncate(-1), -MICROS_PER_DAY);
    }

    #[test]
    fn extreme_instants_do_not_overflow() {
        for frequency in [Frequency::Days(1), Frequency::Months(1), Frequency::Integer(1)] {
            for instant in [i64::MIN, i64::MAX, 0] {
                frequency.period(0, instant);
                frequency.period(i64::MAX, instant);
                frequency.truncate(instant);
                assert_eq!(frequency.instant(i64::MAX, i64::MAX), None);
                TimeKind::Timestamp.format(instant);
            }
        }
    }
}
