//! `make_timestamp(year, month, mday, hour, min, sec)`: the timestamp of these fields.
//!
//! Source: PostgreSQL 15, `make_timestamp_internal` in timestamp.c.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use datafusion::arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::{mismatch, whole_and_float};
use crate::error::Error;

const DAY_MICROS: i64 = 86_400_000_000;

/// Days from the first of year 1 to 1970, of which day 1 is the first.
const EPOCH: i64 = 719_163;

/// A timestamp of its fields.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MakeTimestamp(Signature);

impl Default for MakeTimestamp {
    fn default() -> Self {
        let mut signature = Signature::user_defined(Volatility::Immutable);
        let names = ["year", "month", "mday", "hour", "min", "sec"];
        signature.parameter_names = Some(names.map(str::to_owned).to_vec());
        Self(signature)
    }
}

impl ScalarUDFImpl for MakeTimestamp {
    fn name(&self) -> &str {
        "make_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() {
            6 => whole_and_float(self.name(), types, 5),
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let columns = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let timestamps = (0..rows).map(|row| -> Result<Option<i64>> {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let whole = |n: usize| columns[n].as_primitive::<Int64Type>().value(row);
            let seconds = columns[5].as_primitive::<Float64Type>().value(row);
            let days = days(whole(0), whole(1), whole(2))?;
            Ok(Some(days * DAY_MICROS + micros(whole(3), whole(4), seconds)?))
        });
        let timestamps: TimestampMicrosecondArray = timestamps.collect::<Result<_>>()?;
        answer(Arc::new(timestamps), is_one(&args))
    }
}

/// The day since 1970; a negative year is one before Christ, and there is no year 0.
fn days(year: i64, month: i64, day: i64) -> Result<i64> {
    let date = || {
        let year = if year < 0 { year.checked_add(1)? } else { Some(year).filter(|year| *year != 0)? };
        NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)
    };
    let date = date()
        .ok_or_else(|| Error::data(format!("date field value out of range: {year}-{month:02}-{day:02}")))?;
    Ok(i64::from(date.num_days_from_ce()) - EPOCH)
}

/// The microseconds of a day; 60 seconds are the next minute, and 24 hours the next day.
fn micros(hour: i64, minute: i64, seconds: f64) -> Result<i64> {
    let rest = (seconds * 1e6).round_ties_even();
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&rest);
    let time = fits.then(|| (hour * 60 + minute) * 60_000_000 + rest as i64);
    let time = time.filter(|time| *time <= DAY_MICROS).ok_or_else(|| {
        Error::data(format!("time field value out of range: {hour}:{minute:02}:{seconds:02}"))
    })?;
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_days_and_microseconds() {
        assert_eq!(days(1970, 1, 1).unwrap(), 0);
        assert_eq!(days(-1, 12, 31).unwrap(), days(1, 1, 1).unwrap() - 1);
        assert_eq!(micros(23, 59, 60.0).unwrap(), DAY_MICROS);
        assert_eq!(micros(1, 2, 3.4567891).unwrap(), 3_723_456_789);
        for refused in [days(0, 1, 1), days(2023, 2, 29), days(i64::MIN, 1, 1), days(2023, 13, 1)] {
            assert!(refused.unwrap_err().to_string().contains("date field value out of range"));
        }
        for refused in [micros(24, 0, 0.1), micros(-1, 0, 0.0), micros(1, 60, 0.0), micros(1, 0, f64::NAN)] {
            assert!(refused.unwrap_err().to_string().contains("time field value out of range"));
        }
    }
}
