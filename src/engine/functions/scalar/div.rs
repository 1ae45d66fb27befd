//! `div(y, x)`: the whole part of a quotient of numbers.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Decimal128Array};
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, i256};
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::engine::functions::scalar::arithmetic::WHOLE_DIGITS;
use crate::error::Error;

/// The quotient without its digits behind the point.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Div(Signature);

impl Default for Div {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Div {
    fn name(&self) -> &str {
        "div"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let exact = |given: &DataType| match given {
            DataType::Decimal128(..) => Some(given.clone()),
            whole if whole.is_integer() || whole.is_null() => Some(DataType::Decimal128(WHOLE_DIGITS, 0)),
            _ => None,
        };
        match types.iter().map(exact).collect::<Option<Vec<_>>>() {
            Some(coerced) if coerced.len() == 2 => Ok(coerced),
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let [left, right] = [args.args[0].to_array(rows)?, args.args[1].to_array(rows)?];
        let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
        let more = right.scale() - left.scale();
        let quotients: Decimal128Array = try_binary(left, right, |l, r| quotient(l, r, more))?;
        let quotients = quotients.with_data_type(args.return_field.data_type().clone());
        answer(Arc::new(quotients), is_one(&args))
    }
}

/// The whole part of a quotient of numbers of which the second has so many digits more behind its point.
fn quotient(left: i128, right: i128, more: i8) -> std::result::Result<i128, ArrowError> {
    if right == 0 {
        return Err(ArrowError::DivideByZero);
    }
    let power = i256::from_i128(10).wrapping_pow(more.unsigned_abs().into());
    let (left, right) = (i256::from_i128(left), i256::from_i128(right));
    // A number and a power have 38 digits at most, and their product fits.
    let (left, right) = match more {
        0.. => (left.wrapping_mul(power), right),
        _ => (left, right.wrapping_mul(power)),
    };
    let whole = left.wrapping_div(right).to_i128();
    whole
        .filter(|number| Decimal128Type::is_valid_decimal_precision(*number, DECIMAL128_MAX_PRECISION))
        .ok_or_else(|| {
            let message =
                format!("numeric value out of range: it has more than {DECIMAL128_MAX_PRECISION} digits");
            ArrowError::ExternalError(Box::new(Error::data(message)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_behind_the_point_are_cut_off() {
        for (left, right, more, expected) in
            [(9, 4, 0, 2), (-9, 4, 0, -2), (95, 2, -1, 4), (-75, -2, -1, 3), (1, 3, 1, 3), (1, -1_000, 2, 0)]
        {
            assert_eq!(quotient(left, right, more).unwrap(), expected, "{left} / {right}, {more}");
        }
        let long = 10_i128.pow(37);
        assert!(quotient(long, long, 38).unwrap_err().to_string().contains("out of range"));
        assert_eq!(quotient(long, long, -38).unwrap(), 0);
        assert!(quotient(1, 0, 0).is_err());
    }
}
