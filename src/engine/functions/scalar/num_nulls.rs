//! `num_nulls(…)` and `num_nonnulls(…)`: how many of the arguments are NULL, and how many are not.

use std::sync::Arc;

use datafusion::arrow::array::{Array, Int32Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};

/// How many arguments are NULL, or are not.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct NumNulls {
    of_nulls: bool,
    signature: Signature,
}

impl NumNulls {
    /// `num_nulls`.
    pub fn new() -> Self {
        Self { of_nulls: true, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    /// `num_nonnulls`.
    pub fn of_others() -> Self {
        Self { of_nulls: false, ..Self::new() }
    }
}

impl ScalarUDFImpl for NumNulls {
    fn name(&self) -> &str {
        if self.of_nulls { "num_nulls" } else { "num_nonnulls" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut counts = vec![0_i32; rows(&args)];
        for value in &args.args {
            let nulls = match value {
                ColumnarValue::Scalar(value) if value.is_null() == self.of_nulls => None,
                ColumnarValue::Scalar(_) => continue,
                ColumnarValue::Array(values) => match values.logical_nulls() {
                    None if self.of_nulls => continue,
                    nulls => nulls,
                },
            };
            match nulls {
                None => counts.iter_mut().for_each(|count| *count += 1),
                Some(nulls) => {
                    for (count, is_valid) in counts.iter_mut().zip(&nulls) {
                        *count += i32::from(is_valid != self.of_nulls);
                    }
                }
            }
        }
        answer(Arc::new(Int32Array::from(counts)), is_one(&args))
    }
}
