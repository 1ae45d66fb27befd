//! `width_bucket(value, low, high, count)`: the number of the bucket of a histogram that a value falls into.
//!
//! Source: PostgreSQL 15 documentation, table 9.5, and `width_bucket_float8` in float.c.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Int32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::error::{Error, Subject};

/// Buckets of one width, from 1; 0 is below all of them, `count + 1` above.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WidthBucket(Signature);

impl Default for WidthBucket {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for WidthBucket {
    fn name(&self) -> &str {
        "width_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let fits = |given: &DataType| given.is_numeric() || given.is_null();
        match given {
            [bounds @ .., count]
                if bounds.len() == 3
                    && bounds.iter().all(fits)
                    && (count.is_integer() || count.is_null()) =>
            {
                Ok(vec![DataType::Float64, DataType::Float64, DataType::Float64, DataType::Int32])
            }
            _ => Err(mismatch(self.name(), given)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let floats = args.args[..3].iter().map(|value| Ok(cast(&value.to_array(rows)?, &DataType::Float64)?));
        let floats = floats.collect::<Result<Vec<_>>>()?;
        let counts = cast(&args.args[3].to_array(rows)?, &DataType::Int32)?;
        let float = |column: usize, row: usize| {
            floats[column].is_valid(row).then(|| floats[column].as_primitive::<Float64Type>().value(row))
        };
        let buckets = (0..rows).map(|row| {
            let count = counts.is_valid(row).then(|| counts.as_primitive::<Int32Type>().value(row));
            match (float(0, row), float(1, row), float(2, row), count) {
                (Some(value), Some(low), Some(high), Some(count)) => {
                    bucket(value, low, high, count).map(Some)
                }
                _ => Ok(None),
            }
        });
        let buckets: Int32Array = buckets.collect::<Result<_>>()?;
        answer(Arc::new(buckets), is_one(&args))
    }
}

fn bucket(value: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let refuse = |message: &str| Err(Error::input(Subject::Value, message).into());
    if count <= 0 {
        return refuse("count of width_bucket() must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return refuse("operand, lower bound, and upper bound of width_bucket() cannot be NaN");
    }
    if !(low.is_finite() && high.is_finite()) {
        return refuse("lower and upper bounds of width_bucket() must be finite");
    }
    if low == high {
        return refuse("lower bound of width_bucket() cannot equal upper bound");
    }
    // Bounds that fall are a histogram from right to left.
    let (above, is_below, is_beyond) = match low < high {
        true => ((value - low) / (high - low), value < low, value >= high),
        false => ((low - value) / (low - high), value > low, value <= high),
    };
    match (is_below, is_beyond) {
        (true, _) => Ok(0),
        (_, true) => count.checked_add(1).ok_or_else(|| Error::data("integer out of range").into()),
        _ => Ok((above * f64::from(count)) as i32 + 1),
    }
}
