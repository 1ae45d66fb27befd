//! `isfinite(x)`: whether a date, a timestamp or an interval is one that ends; `infinity` is none that this engine has.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BooleanArray};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;

/// True for every date, timestamp and interval.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IsFinite(Signature);

impl Default for IsFinite {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for IsFinite {
    fn name(&self) -> &str {
        "isfinite"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [
                DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Interval(_)
                | DataType::Duration(_)
                | DataType::Null,
            ] => Ok(types.to_vec()),
            _ => Err(mismatch("isfinite", types)),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = args.args[0].to_array(rows(&args))?;
        let truths = BooleanArray::new(BooleanBuffer::new_set(times.len()), times.logical_nulls());
        answer(Arc::new(truths), is_one(&args))
    }
}
