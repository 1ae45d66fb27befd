//! `number_plus`, `number_minus`, `number_times` and `number_over`: arithmetic that fails where it would be wrong.
//!
//! DataFusion's own wraps whole numbers around, divides floats by zero, and keeps four more digits of the quotient
//! of decimals than of the dividend.
//!
//! Source: PostgreSQL 15 documentation, section 9.3 (Mathematical Functions and Operators).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::compute::kernels::arity::{try_binary, try_unary};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, i256};
use datafusion::arrow::error::ArrowError;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::zero::with_one_zero;
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};

/// Digits behind the point that a quotient has at least.
const QUOTIENT_SCALE: i8 = 16;

/// Digits behind the point that a product has at most, so that there are as many before it.
const PRODUCT_SCALE: i8 = 20;

/// Digits of a number.
const DIGITS: u8 = 38;

/// Digits of the widest whole numbers.
pub const WHOLE_DIGITS: u8 = 20;

/// What is done with two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `a + b` of whole numbers.
    Plus,
    /// `a - b` of whole numbers.
    Minus,
    /// `a * b` of whole numbers, of floats, and of decimals that have many digits behind the point.
    Times,
    /// `a / b` of numbers that are not both whole.
    Over,
}

impl Operation {
    /// The name of the function.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plus => "number_plus",
            Self::Minus => "number_minus",
            Self::Times => "number_times",
            Self::Over => "number_over",
        }
    }

    /// The operator.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Over => "/",
        }
    }

    fn of(self, left: &DataType, right: &DataType) -> Option<DataType> {
        use DataType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64};
        match (self, left, right) {
            (Self::Over | Self::Times, Float32 | Float64, _) if left == right => Some(left.clone()),
            (Self::Over, Decimal128(_, a), Decimal128(_, b)) => {
                Some(Decimal128(DIGITS, QUOTIENT_SCALE.max(*a).max(*b)))
            }
            (Self::Times, Decimal128(_, a), Decimal128(_, b)) => {
                Some(Decimal128(DIGITS, (a + b).min(PRODUCT_SCALE)))
            }
            (Self::Plus | Self::Minus | Self::Times, Int8 | Int16 | Int32 | Int64, _) if left == right => {
                Some(left.clone())
            }
            _ => None,
        }
    }
}

/// True when the product of decimals of these types has so many digits behind the point that it needs rounding.
pub fn is_long_product(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => a + b > PRODUCT_SCALE,
        _ => false,
    }
}

/// Arithmetic with an error where the result does not fit, or there is none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Arithmetic {
    operation: Operation,
    signature: Signature,
    documentation: Documentation,
}

impl Arithmetic {
    /// The function.
    pub fn new(operation: Operation) -> Self {
        let section = DocSection { include: true, label: "Numbers", description: None };
        let (name, sign) = (operation.name(), operation.sign());
        let description =
            format!("What a {sign} b gives; an error where that does not fit the type of the numbers.");
        let documentation = Documentation::builder(section, description, format!("{name}(a, b)"))
            .with_sql_example(format!("SELECT {name}(7.0, 2.0);"))
            .with_argument("a", "a number")
            .with_argument("b", "a number of the same kind")
            .build();
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { operation, signature, documentation }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// A column of a UNION may have become a float since the operator was planned.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_float = types.iter().any(DataType::is_floating);
        let coerced = types.iter().map(|given| match given {
            number if is_float && number.is_numeric() => DataType::Float64,
            whole if whole.is_integer() => DataType::Decimal128(WHOLE_DIGITS, 0),
            other => other.clone(),
        });
        let coerced: Vec<DataType> = coerced.collect();
        for types in [types, &coerced] {
            if let [left, right] = types
                && self.operation.of(left, right).is_some()
            {
                return Ok(types.to_vec());
            }
        }
        let types: Vec<String> = types.iter().map(|t| sql_name(t).to_lowercase()).collect();
        let message =
            format!("no function {}({}) takes values of these types", self.name(), types.join(", "));
        Err(Error::input(Subject::Function, message).into())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let result = match types {
            [left, right] => self.operation.of(left, right),
            _ => None,
        };
        result.ok_or_else(|| Error::internal("arithmetic of other types than were coerced").into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(Error::internal("arithmetic takes two arguments").into());
        };
        let given = (left.data_type(), right.data_type(), args.return_field.data_type());
        let (DataType::Decimal128(_, a), DataType::Decimal128(_, b), DataType::Decimal128(_, scale)) = given
        else {
            return of_binary_numbers(self.operation, left, right, given.2);
        };
        match self.operation {
            Operation::Over => of_each::<Decimal128Type>(left, right, given.2, |l, r| {
                quotient(l, r, (scale - a + b).unsigned_abs())
            }),
            _ => of_each::<Decimal128Type>(left, right, given.2, |l, r| {
                product(l, r, (a + b - scale).unsigned_abs())
            }),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// Arithmetic of whole numbers and floats.
pub fn of_binary_numbers(
    operation: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    result: &DataType,
) -> Result<ColumnarValue> {
    let checked = |number: std::result::Result<ArrayRef, ArrowError>| number.map_err(|e| beyond(e, result));
    match operation {
        Operation::Plus => apply(left, right, |a, b| checked(add(a, b))),
        Operation::Minus => apply(left, right, |a, b| checked(sub(a, b))),
        Operation::Times => apply(left, right, |a, b| checked(mul(a, b))).map(with_one_zero),
        Operation::Over if result == &DataType::Float32 => {
            of_each::<Float32Type>(left, right, result, |l, r| match r {
                0.0 => Err(ArrowError::DivideByZero),
                r => Ok(l / r + 0.0),
            })
        }
        Operation::Over => of_each::<Float64Type>(left, right, result, |l, r| match r {
            0.0 => Err(ArrowError::DivideByZero),
            r => Ok(l / r + 0.0),
        }),
    }
}

/// PostgreSQL's words for a number that does not fit.
fn beyond(error: ArrowError, data_type: &DataType) -> ArrowError {
    match error {
        ArrowError::ArithmeticOverflow(_) => {
            let name = sql_name(data_type).to_lowercase();
            ArrowError::ExternalError(Box::new(Error::data(format!("{name} out of range"))))
        }
        error => error,
    }
}

/// Applies a function to the numbers of two columns.
fn of_each<T: ArrowPrimitiveType>(
    left: &ColumnarValue,
    right: &ColumnarValue,
    result: &DataType,
    f: impl Fn(T::Native, T::Native) -> std::result::Result<T::Native, ArrowError>,
) -> Result<ColumnarValue> {
    if let (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) = (left, right) {
        let right = right.to_array()?;
        let numbers = match right.is_null(0) {
            true => PrimitiveArray::<T>::new_null(left.len()),
            false => {
                let right = right.as_primitive::<T>().value(0);
                try_unary(left.as_primitive::<T>(), |l| f(l, right))?
            }
        };
        return Ok(ColumnarValue::Array(Arc::new(numbers.with_data_type(result.clone()))));
    }
    let arrays = ColumnarValue::values_to_arrays(&[left.clone(), right.clone()])?;
    let numbers: PrimitiveArray<T> =
        try_binary(arrays[0].as_primitive::<T>(), arrays[1].as_primitive::<T>(), f)?;
    let numbers = numbers.with_data_type(result.clone());
    Ok(match (left, right) {
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&numbers, 0)?)
        }
        _ => ColumnarValue::Array(Arc::new(numbers)),
    })
}

/// The quotient with `missing` more digits behind the point than both numbers leave it, its last digit rounded.
fn quotient(left: i128, right: i128, missing: u8) -> std::result::Result<i128, ArrowError> {
    if right == 0 {
        return Err(ArrowError::DivideByZero);
    }
    if let Some(dividend) = 10_i128.checked_pow(missing.into()).and_then(|power| left.checked_mul(power)) {
        return fitting(Some(rounded(dividend, right)));
    }
    let dividend = i256::from_i128(left).checked_mul(power_of_ten(missing));
    fitting(dividend.and_then(|dividend| widely_rounded(dividend, i256::from_i128(right))))
}

/// The product without its last `surplus` digits, rounded.
fn product(left: i128, right: i128, surplus: u8) -> std::result::Result<i128, ArrowError> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right));
    fitting(product.and_then(|product| widely_rounded(product, power_of_ten(surplus))))
}

fn power_of_ten(digits: u8) -> i256 {
    i256::from_i128(10).wrapping_pow(digits.into())
}

fn rounded(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let is_up = rest.unsigned_abs() * 2 >= divisor.unsigned_abs();
    if is_up { quotient + dividend.signum() * divisor.signum() } else { quotient }
}

fn widely_rounded(dividend: i256, divisor: i256) -> Option<i128> {
    let quotient = dividend.checked_div(divisor)?.to_i128()?;
    let rest = dividend.checked_rem(divisor)?;
    let is_up = rest.wrapping_abs() >= divisor.wrapping_abs().wrapping_sub(rest.wrapping_abs());
    let sign = if dividend.is_negative() == divisor.is_negative() { 1 } else { -1 };
    if is_up { quotient.checked_add(sign) } else { Some(quotient) }
}

fn fitting(number: Option<i128>) -> std::result::Result<i128, ArrowError> {
    const MOST: u128 = 10_u128.pow(DIGITS as u32);
    number.filter(|number| number.unsigned_abs() < MOST).ok_or_else(|| {
        let message = format!("numeric value out of range: it has more than {DIGITS} digits");
        ArrowError::ExternalError(Box::new(Error::data(message)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_digits_are_rounded_away_from_zero() {
        for (left, right, expected) in
            [(20, 3, 667), (-20, 3, -667), (10, 4, 250), (1, 1000, 0), (1, -200, -1)]
        {
            assert_eq!(quotient(left, right, 2).unwrap(), expected, "{left} / {right}");
        }
        assert_eq!(product(15, 3, 1).unwrap(), 5);
        assert_eq!(product(-15, 3, 1).unwrap(), -5);
        assert_eq!(product(14, 1, 1).unwrap(), 1);
    }

    #[test]
    fn long_numbers_are_divided_in_256_bits() {
        let long = 12_345_678_901_234_567_890_123_456_i128;
        // SELECT 12345678901234567890123456 / 7 in PostgreSQL 15: 1763668414462081127160493.71…
        assert_eq!(quotient(long, 7, 13).unwrap(), 17_636_684_144_620_811_271_604_937_142_857_142_857);
        assert!(quotient(long, 1, 13).is_err());
        assert!(quotient(1, 0, 0).is_err());
        let (half, third) = (5 * 10_i128.pow(29), 333_333_333_333_333_333_i128);
        assert_eq!(product(half, third, 30).unwrap(), 166_666_666_666_666_667);
    }
}
