//! The length of an interval, by which intervals are compared.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};

const DAY_MICROS: i64 = 86_400_000_000;

/// The length of one interval.
pub fn micros_of_interval(interval: IntervalMonthDayNano) -> i64 {
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    days.saturating_mul(DAY_MICROS).saturating_add(interval.nanoseconds / 1_000)
}

/// Microseconds of an interval, its months of 30 days and days of 24 hours, as PostgreSQL compares them.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IntervalLength(Signature);

impl Default for IntervalLength {
    fn default() -> Self {
        Self(Signature::exact(vec![DataType::Interval(IntervalUnit::MonthDayNano)], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for IntervalLength {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(rows(&args))?;
        let values = values.as_primitive::<IntervalMonthDayNanoType>();
        let lengths: Int64Array = values.iter().map(|value| value.map(micros_of_interval)).collect();
        answer(Arc::new(lengths), is_one(&args))
    }
}
