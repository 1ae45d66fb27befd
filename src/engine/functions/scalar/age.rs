//! `age(timestamp, timestamp)`: the years, months, days and hours from the second to the first, by the calendar.
//!
//! Source: PostgreSQL 15, `timestamp_age` in timestamp.c.

use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion::arrow::array::{AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::error::Error;
use crate::postgres::Zone;

const DAY_MICROS: i64 = 86_400_000_000;

/// The interval between two times; the reader of statements writes today for a first one that a call leaves out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Age(Signature);

impl Default for Age {
    fn default() -> Self {
        // Instants are what the clocks of the session's zone show.
        Self(Signature::user_defined(Volatility::Stable))
    }
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let time = |given: &DataType| match given {
            DataType::Timestamp(_, Some(_)) => Some(micros(Some("UTC"))),
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => Some(micros(None)),
            text if text.is_string() || text.is_null() => Some(micros(None)),
            _ => None,
        };
        match types.iter().map(time).collect::<Option<Vec<_>>>() {
            Some(coerced) if coerced.len() == 2 => Ok(coerced),
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let zone = Zone::of(args.config_options.execution.time_zone.as_deref().unwrap_or("UTC"));
        let clock = |value: &ColumnarValue| -> Result<Vec<Option<i64>>> {
            let is_instant = matches!(value.data_type(), DataType::Timestamp(_, Some(_)));
            let east = |micros: i64| if is_instant { i64::from(zone.offset(micros)) * 1_000_000 } else { 0 };
            let times = value.to_array(rows)?;
            let times = times.as_primitive::<TimestampMicrosecondType>().iter();
            Ok(times.map(|time| time.map(|micros| micros.saturating_add(east(micros)))).collect())
        };
        let (to, from) = (clock(&args.args[0])?, clock(&args.args[1])?);
        let ages =
            to.into_iter().zip(from).map(|(to, from)| to.zip(from).map(|(t, f)| age(t, f)).transpose());
        let ages: IntervalMonthDayNanoArray = ages.collect::<Result<_>>()?;
        answer(Arc::new(ages), is_one(&args))
    }
}

/// The interval from one time to another, in microseconds since 1970.
fn age(to: i64, from: i64) -> Result<IntervalMonthDayNano> {
    let (later, earlier) = (to.max(from), to.min(from));
    let (end, start) = (calendar(later)?, calendar(earlier)?);
    let mut micros = later.rem_euclid(DAY_MICROS) - earlier.rem_euclid(DAY_MICROS);
    let mut days = i64::from(end.day()) - i64::from(start.day());
    let mut months = (i64::from(end.year()) - i64::from(start.year())) * 12 + i64::from(end.month())
        - i64::from(start.month());
    if micros < 0 {
        micros += DAY_MICROS;
        days -= 1;
    }
    // Days that are missing are those of the month of the earlier time.
    while days < 0 {
        days += days_of_month(start);
        months -= 1;
    }
    let sign = if to < from { -1 } else { 1 };
    match (i32::try_from(sign * months), i32::try_from(sign * days)) {
        (Ok(months), Ok(days)) => Ok(IntervalMonthDayNano::new(months, days, sign * micros * 1_000)),
        _ => Err(Error::data("interval out of range").into()),
    }
}

fn calendar(micros: i64) -> Result<NaiveDateTime> {
    let time =
        DateTime::from_timestamp_micros(micros).ok_or_else(|| Error::data("timestamp out of range"))?;
    Ok(time.naive_utc())
}

fn days_of_month(time: NaiveDateTime) -> i64 {
    let days = (28..=31).rev().find(|day| NaiveDate::from_ymd_opt(time.year(), time.month(), *day).is_some());
    days.map_or(31, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_of_the_calendar() {
        let at = |year, month, day, hour| {
            let date = NaiveDate::from_ymd_opt(year, month, day).unwrap();
            date.and_hms_opt(hour, 0, 0).unwrap().and_utc().timestamp_micros()
        };
        let hours = |hours: i64| hours * 3_600_000_000_000;
        for (to, from, (months, days, nanos)) in [
            (at(2001, 4, 10, 0), at(1957, 6, 13, 0), (525, 27, 0)),
            (at(1957, 6, 13, 0), at(2001, 4, 10, 0), (-525, -27, 0)),
            (at(2024, 3, 1, 0), at(2024, 1, 31, 0), (1, 1, 0)),
            (at(2024, 1, 31, 0), at(2024, 3, 1, 0), (-1, -1, 0)),
            (at(2024, 2, 29, 0), at(2023, 2, 28, 1), (12, 0, hours(23))),
            (at(2024, 3, 1, 10), at(2024, 3, 1, 11), (0, 0, hours(-1))),
            (at(2024, 1, 1, 0), at(2024, 1, 1, 0), (0, 0, 0)),
        ] {
            assert_eq!(age(to, from).unwrap(), IntervalMonthDayNano::new(months, days, nanos));
        }
    }
}
