//! `single_value(row)`: the value of a subquery that must not have two rows, of a row with that of its first row and with
//! their number. It fails where it is asked for the value: a subquery without one may have what no row asks for.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::{is_null, nullif};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one};
use crate::error::{Error, ErrorKind, Subject};

/// The value of the only row, NULL for none; two rows are an error.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SingleValue(Signature);

impl Default for SingleValue {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for SingleValue {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Struct(fields)] if fields.len() == 2 && fields[1].data_type() == &DataType::Int64 => {
                Ok(fields[0].data_type().clone())
            }
            _ => {
                let message = "single_value takes a row of a value and a number of rows";
                Err(Error::input(Subject::Function, message).into())
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[0].to_array(if is_one(&args) { 1 } else { args.number_rows })?;
        let (rows, is_one) = (rows.as_struct(), is_one(&args));
        let counts = rows.column(1).as_primitive::<Int64Type>();
        if (0..rows.len()).any(|row| rows.is_valid(row) && counts.is_valid(row) && counts.value(row) > 1) {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(ErrorKind::Data, Subject::Statement, message).into());
        }
        let values: ArrayRef = match rows.nulls() {
            Some(_) => nullif(rows.column(0), &is_null(rows)?)?,
            None => Arc::clone(rows.column(0)),
        };
        answer(values, is_one)
    }
}
