//! `make_interval(years, months, weeks, days, hours, mins, secs)`: the interval of these fields.
//!
//! Source: PostgreSQL 15, `make_interval` in timestamp.c.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::{mismatch, whole_and_float};
use crate::error::Error;

/// An interval of its fields; the reader of statements writes 0 for those that a call leaves out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MakeInterval(Signature);

impl Default for MakeInterval {
    fn default() -> Self {
        let mut signature = Signature::user_defined(Volatility::Immutable);
        let names = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
        signature.parameter_names = Some(names.map(str::to_owned).to_vec());
        Self(signature)
    }
}

impl ScalarUDFImpl for MakeInterval {
    fn name(&self) -> &str {
        "make_interval"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() {
            7 => whole_and_float(self.name(), types, 6),
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let columns = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let intervals = (0..rows).map(|row| -> Result<Option<IntervalMonthDayNano>> {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let fields = std::array::from_fn(|n| columns[n].as_primitive::<Int64Type>().value(row));
            let seconds = columns[6].as_primitive::<Float64Type>().value(row);
            let interval = interval(fields, seconds).ok_or_else(|| Error::data("interval out of range"))?;
            Ok(Some(interval))
        });
        let intervals: IntervalMonthDayNanoArray = intervals.collect::<Result<_>>()?;
        answer(Arc::new(intervals), is_one(&args))
    }
}

/// The interval, if it is one.
fn interval(fields: [i64; 6], seconds: f64) -> Option<IntervalMonthDayNano> {
    let [years, months, weeks, days, hours, minutes] = fields;
    let months = years.checked_mul(12)?.checked_add(months)?;
    let days = weeks.checked_mul(7)?.checked_add(days)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    let micros = Some((seconds * 1e6).round_ties_even()).filter(|micros| micros.abs() < 9.2e18)? as i64;
    let micros = minutes.checked_mul(60_000_000)?.checked_add(micros)?;
    let (months, days) = (months.try_into().ok()?, days.try_into().ok()?);
    Some(IntervalMonthDayNano::new(months, days, micros.checked_mul(1_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_add_up() {
        let expected = IntervalMonthDayNano::new(14, 25, 18_367_890_000_000);
        assert_eq!(interval([1, 2, 3, 4, 5, 6], 7.89), Some(expected));
        assert_eq!(
            interval([0, 0, 0, 0, -1, 0], -0.5),
            Some(IntervalMonthDayNano::new(0, 0, -3_600_500_000_000))
        );
        for seconds in [f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(interval([0; 6], seconds), None);
        }
        assert_eq!(interval([i64::MAX, 0, 0, 0, 0, 0], 0.0), None);
        assert_eq!(interval([0, 0, 0, 1 << 31, 0, 0], 0.0), None);
    }
}
