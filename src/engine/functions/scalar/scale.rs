//! `scale(x)`: how many digits a number has behind the point.

use std::sync::Arc;

use datafusion::arrow::array::{Array, Int32Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;

/// The digits behind the point of the type of a number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Scale(Signature);

impl Default for Scale {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Scale {
    fn name(&self) -> &str {
        "scale"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [number] if number.is_decimal() || number.is_integer() || number.is_null() => Ok(types.to_vec()),
            _ => Err(mismatch("scale", types)),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = args.args[0].to_array(rows(&args))?;
        let digits = match numbers.data_type() {
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale).max(0),
            _ => 0,
        };
        let scales = Int32Array::new(vec![digits; numbers.len()].into(), numbers.logical_nulls());
        answer(Arc::new(scales), is_one(&args))
    }
}
