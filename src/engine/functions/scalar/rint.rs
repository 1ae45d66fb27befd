//! Floats rounded to whole numbers, halves to the even one, as PostgreSQL rounds them; its numeric rounds them away from 0.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};

/// `round(x)` of a float.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Rint(Signature);

impl Default for Rint {
    fn default() -> Self {
        Self(Signature::uniform(1, vec![DataType::Float64, DataType::Float32], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Rint {
    fn name(&self) -> &str {
        "rint"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = cast(&args.args[0].to_array(rows(&args))?, &DataType::Float64)?;
        let rounded: Float64Array = values.as_primitive::<Float64Type>().unary(|x| x.round_ties_even() + 0.0);
        answer(Arc::new(rounded), is_one(&args))
    }
}
