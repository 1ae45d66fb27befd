//! Dates, times and intervals by their parts.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use datafusion::arrow::array::timezone::Tz;

use crate::error::{Error, Result};
use crate::postgres::plain_time;

/// Time before a change of a zone's clocks at which the old offset holds, whatever the zone.
const LONGEST_CHANGE: chrono::TimeDelta = chrono::TimeDelta::days(1);

/// Julian day of the first of January 1970.
const EPOCH_JULIAN: i64 = 2_440_588;

/// The parts of an instant as a calendar and a clock show it, or of an interval.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Years, 0 for the year before the first.
    pub year: i64,
    /// 1 to 12; of an interval 0 to 11.
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// What only days of the calendar have.
    pub date: Option<NaiveDate>,
    /// What only instants have: the short name of the zone and seconds east of Greenwich.
    pub zone: Option<(String, i32)>,
}

fn out_of_range() -> Error {
    Error::data("timestamp out of range")
}

impl Moment {
    /// Of microseconds since 1970, without a zone.
    pub fn of_timestamp(micros: i64) -> Result<Self> {
        let at = DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
        Ok(Self::of(at.naive_utc()))
    }

    /// Of the beginning of a day (since 1970) in a zone.
    pub fn of_day(days: i32, zone: &str) -> Result<Self> {
        let date = NaiveDate::from_epoch_days(days).ok_or_else(out_of_range)?;
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        let instant = instant_of(midnight, None, zone).ok_or_else(out_of_range)?;
        Ok(Self { zone: Self::of_instant(instant, zone)?.zone, ..Self::of(midnight) })
    }

    /// Of an instant, as the clocks of a zone show it.
    pub fn of_instant(micros: i64, zone: &str) -> Result<Self> {
        let at = DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
        let (name, offset) = offset_at(at.naive_utc(), zone);
        let local = at.naive_utc().checked_add_signed(chrono::TimeDelta::seconds(i64::from(offset)));
        Ok(Self { zone: Some((name, offset)), ..Self::of(local.ok_or_else(out_of_range)?) })
    }

    /// Of an interval.
    pub fn of_interval(months: i32, days: i32, micros: i64) -> Self {
        Self {
            year: i64::from(months / 12),
            month: i64::from(months % 12),
            day: i64::from(days),
            hour: micros / 3_600_000_000,
            minute: micros / 60_000_000 % 60,
            second: micros / 1_000_000 % 60,
            micros: micros % 1_000_000,
            date: None,
            zone: None,
        }
    }

    fn of(at: NaiveDateTime) -> Self {
        Self {
            year: i64::from(at.year()),
            month: i64::from(at.month()),
            day: i64::from(at.day()),
            hour: i64::from(at.hour()),
            minute: i64::from(at.minute()),
            second: i64::from(at.second()),
            micros: i64::from(at.and_utc().timestamp_subsec_micros()),
            date: Some(at.date()),
            zone: None,
        }
    }

    /// Day of the year; of an interval days in years of 360.
    pub fn day_of_year(&self) -> i64 {
        match self.date {
            Some(date) => i64::from(date.ordinal()),
            None => (self.year * 12 + self.month) * 30 + self.day,
        }
    }
}

/// The day's number in the Julian calendar.
pub fn julian(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - 719_163 + EPOCH_JULIAN
}

/// The short name of a zone and its seconds east of Greenwich at an instant.
fn offset_at(utc: NaiveDateTime, zone: &str) -> (String, i32) {
    use chrono::{Offset, TimeZone};
    use chrono_tz::OffsetName;
    if let Ok(named) = zone.parse::<chrono_tz::Tz>() {
        let offset = named.offset_from_utc_datetime(&utc);
        let seconds = offset.fix().local_minus_utc();
        return (offset.abbreviation().map_or_else(|| short_offset(seconds), str::to_owned), seconds);
    }
    let seconds =
        zone.parse::<Tz>().map_or(0, |zone| zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
    (short_offset(seconds), seconds)
}

/// Microseconds since 1970 of a time that stands on clocks so many seconds east of Greenwich, or else of a zone.
pub fn instant_of(local: NaiveDateTime, offset: Option<i64>, zone: &str) -> Option<i64> {
    use chrono::{MappedLocalTime, Offset, TimeZone};
    let seconds = offset.unwrap_or_else(|| {
        let Ok(zone) = zone.parse::<Tz>() else { return 0 };
        let offset = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) | MappedLocalTime::Ambiguous(_, offset) => offset.fix(),
            // In the hour that a zone leaves out the clock was still on the old offset.
            MappedLocalTime::None => zone.offset_from_utc_datetime(&(local - LONGEST_CHANGE)).fix(),
        };
        i64::from(offset.local_minus_utc())
    });
    local.and_utc().timestamp_micros().checked_sub(seconds.checked_mul(1_000_000)?)
}

/// The instant of a text that is a time on the clocks of a zone, written with its offset; `None` for any other text.
pub fn instant_text(text: &str, zone: &str) -> Option<String> {
    let text = plain_time(text).unwrap_or_else(|| text.trim().to_owned());
    let midnight = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN);
    let local = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f"))
        .or_else(|_| NaiveDate::parse_from_str(&text, "%Y-%m-%d").map(midnight))
        .ok()?;
    let at = DateTime::from_timestamp_micros(instant_of(local, None, zone)?)?;
    (1..=9999).contains(&at.year()).then(|| at.format("%Y-%m-%d %H:%M:%S%.f+00:00").to_string())
}

/// `+02`, `-03:30`.
fn short_offset(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}
