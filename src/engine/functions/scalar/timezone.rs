//! `timezone(zone, timestamp)`, which `timestamp AT TIME ZONE zone` becomes.

use std::sync::Arc;

use chrono::{NaiveDateTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::format::instant_of;
use crate::error::{Error, Subject};

/// An instant as the wall clock of a zone shows it, or the instant at which that clock shows a time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Timezone(Signature);

impl Timezone {
    /// The function.
    pub fn new() -> Self {
        Self(Signature::user_defined(Volatility::Stable))
    }
}

fn local() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, time] = arg_types else {
            return Err(Error::input(Subject::Function, "timezone takes a zone and a timestamp").into());
        };
        let time = match time {
            DataType::Timestamp(_, Some(_)) => instant(),
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Null => local(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => instant(),
            other => {
                let message = format!(
                    "AT TIME ZONE needs a timestamp, not {}",
                    crate::engine::storage::sql_name(other)
                );
                return Err(Error::input(Subject::Type, message).into());
            }
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(if matches!(arg_types[1], DataType::Timestamp(_, Some(_))) { local() } else { instant() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let to_local = matches!(arrays[1].data_type(), DataType::Timestamp(_, Some(_)));
        let times: ArrayRef = cast(&arrays[1], &if to_local { instant() } else { local() })?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let zones = arrays[0].as_string::<i32>();
        let value = |(zone, time): (Option<&str>, Option<i64>)| {
            zone.zip(time).map(|(zone, time)| shifted(zone, time, to_local)).transpose()
        };
        let values: TimestampMicrosecondArray = zones.iter().zip(times).map(value).collect::<Result<_>>()?;
        let values = if to_local { values } else { values.with_timezone("UTC") };
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// Microseconds of the wall clock for an instant, or the other way round; of two instants the second.
fn shifted(name: &str, micros: i64, to_local: bool) -> Result<i64> {
    let parsed: std::result::Result<Tz, _> = name.parse();
    let zone =
        parsed.map_err(|_| Error::input(Subject::Value, format!("time zone \"{name}\" not recognized")))?;
    let out_of_range = || Error::data("timestamp out of range");
    let naive: NaiveDateTime =
        chrono::DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?.naive_utc();
    if !to_local {
        return Ok(instant_of(naive, None, name).ok_or_else(out_of_range)?);
    }
    let offset = zone.offset_from_utc_datetime(&naive).fix();
    Ok(micros + i64::from(offset.local_minus_utc()) * 1_000_000)
}
