//! The days from one date to another, as the difference of dates is.
//!
//! DataFusion 55 takes `date - date` for a number in one place and for a duration in another: `WHERE b - a > 1` fails.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::binary;
use datafusion::arrow::datatypes::{DataType, Date32Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};

/// The function behind `date - date`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DaysBetween(Signature);

impl Default for DaysBetween {
    fn default() -> Self {
        Self(Signature::exact(vec![DataType::Date32, DataType::Date32], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for DaysBetween {
    fn name(&self) -> &str {
        "date_minus"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (one, rows) = (is_one(&args), rows(&args));
        let [later, earlier] = [0, 1].map(|n| args.args[n].to_array(rows));
        let (later, earlier): (ArrayRef, ArrayRef) = (later?, earlier?);
        let days = |later: i32, earlier: i32| i64::from(later) - i64::from(earlier);
        let between: Int64Array =
            binary(later.as_primitive::<Date32Type>(), earlier.as_primitive::<Date32Type>(), days)?;
        answer(Arc::new(between), one)
    }
}
