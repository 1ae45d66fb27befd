//! What a function answers: one value where all of its arguments are one, else an array.

use datafusion::arrow::array::ArrayRef;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;

/// Rows to compute: one where every argument is the same for all rows.
pub fn rows(args: &ScalarFunctionArgs) -> usize {
    if is_one(args) { 1 } else { args.number_rows }
}

/// True where one value is the answer for all rows.
pub fn is_one(args: &ScalarFunctionArgs) -> bool {
    args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
}

/// The values that were computed, as the answer.
pub fn answer(values: ArrayRef, one: bool) -> Result<ColumnarValue> {
    Ok(match one {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?),
        false => ColumnarValue::Array(values),
    })
}
