//! `width_bucket(value, low, high, count)`: the number of the bucket of a histogram that a value falls into.
//!
//! Source: PostgreSQL 15 documentation, table 9.5, `width_bucket_float8` in float.c and `width_bucket_numeric` in numeric.c.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float64Type, Int32Type, i256,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::engine::functions::scalar::arithmetic::WHOLE_DIGITS;
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
        let [bounds @ .., count] = given else { return Err(mismatch(self.name(), given)) };
        let fits = |given: &DataType| given.is_numeric() || given.is_null();
        if bounds.len() != 3 || !bounds.iter().all(fits) || !(count.is_integer() || count.is_null()) {
            return Err(mismatch(self.name(), given));
        }
        let mut coerced = exact(bounds).unwrap_or_else(|| vec![DataType::Float64; 3]);
        coerced.push(DataType::Int32);
        Ok(coerced)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let columns = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let buckets = match scales(&columns) {
            Some(scales) => {
                let most = scales.into_iter().fold(i8::MIN, i8::max);
                let powers = scales.map(|scale| i256::from_i128(10).wrapping_pow((most - scale) as u32));
                buckets::<Decimal128Type>(&columns, |numbers, count| {
                    let [value, low, high] = numbers.map(i256::from_i128);
                    let scaled = [(value, powers[0]), (low, powers[1]), (high, powers[2])]
                        .map(|(number, power)| number.checked_mul(power));
                    let [Some(value), Some(low), Some(high)] = scaled else { return Err(too_long()) };
                    bucket([value, low, high], count, exact_place)
                })?
            }
            None => buckets::<Float64Type>(&columns, |numbers, count| {
                check_floats(numbers)?;
                bucket(numbers, count, float_place)
            })?,
        };
        answer(buckets, is_one(&args))
    }
}

/// The types of a value and bounds that are computed digit by digit: one is a number with digits behind the point, and
/// none is a float.
fn exact(given: &[DataType]) -> Option<Vec<DataType>> {
    let is_decimal = |given: &DataType| matches!(given, DataType::Decimal128(..));
    let exact = |given: &DataType| match given {
        DataType::Decimal128(..) => Some(given.clone()),
        whole if whole.is_integer() || whole.is_null() => Some(DataType::Decimal128(WHOLE_DIGITS, 0)),
        _ => None,
    };
    given.iter().any(is_decimal).then(|| given.iter().map(exact).collect()).flatten()
}

/// The digits behind the points of a value and its bounds, when they are no floats.
fn scales(columns: &[ArrayRef]) -> Option<[i8; 3]> {
    let scale = |n: usize| match columns[n].data_type() {
        DataType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    };
    Some([scale(0)?, scale(1)?, scale(2)?])
}

/// The bucket of each row; none where a value is NULL.
fn buckets<T: ArrowPrimitiveType>(
    columns: &[ArrayRef],
    bucket: impl Fn([T::Native; 3], i32) -> Result<i32>,
) -> Result<ArrayRef> {
    let numbers = [0, 1, 2].map(|n: usize| columns[n].as_primitive::<T>());
    let counts = columns[3].as_primitive::<Int32Type>();
    let buckets = (0..counts.len()).map(|row| {
        let known = columns.iter().all(|column| column.is_valid(row));
        known.then(|| bucket(numbers.map(|column| column.value(row)), counts.value(row))).transpose()
    });
    let buckets: Int32Array = buckets.collect::<Result<_>>()?;
    Ok(Arc::new(buckets))
}

fn refused(message: &str) -> DataFusionError {
    Error::input(Subject::Value, message).into()
}

fn too_long() -> DataFusionError {
    Error::data("numeric value out of range: its bucket takes more than 76 digits to compute").into()
}

fn check_floats(numbers: [f64; 3]) -> Result<()> {
    let [value, low, high] = numbers;
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(refused("operand, lower bound, and upper bound of width_bucket() cannot be NaN"));
    }
    if !(low.is_finite() && high.is_finite()) {
        return Err(refused("lower and upper bounds of width_bucket() must be finite"));
    }
    Ok(())
}

/// The bucket of a value between bounds, of which `place` tells the one that it is in.
fn bucket<N: PartialOrd + Copy>(
    numbers: [N; 3],
    count: i32,
    place: impl Fn([N; 3], i32) -> Result<i32>,
) -> Result<i32> {
    let [value, low, high] = numbers;
    if count <= 0 {
        return Err(refused("count of width_bucket() must be greater than zero"));
    }
    if low == high {
        return Err(refused("lower bound of width_bucket() cannot equal upper bound"));
    }
    // Bounds that fall are a histogram from right to left.
    let (is_below, is_beyond) = match low < high {
        true => (value < low, value >= high),
        false => (value > low, value <= high),
    };
    match (is_below, is_beyond) {
        (true, _) => Ok(0),
        (_, true) => count.checked_add(1).ok_or_else(|| Error::data("integer out of range").into()),
        _ => place(numbers, count),
    }
}

fn exact_place([value, low, high]: [i256; 3], count: i32) -> Result<i32> {
    let above = value.checked_sub(low).and_then(|above| above.checked_mul(i256::from_i128(count.into())));
    let width = high.checked_sub(low);
    let before = above.zip(width).and_then(|(above, width)| above.checked_div(width)?.to_i128());
    // There are fewer buckets before it than there are at all.
    before.and_then(|before| i32::try_from(before + 1).ok()).ok_or_else(too_long)
}

/// In the order of PostgreSQL's operations, but with halves where they are too large; a value that is rounded to the upper
/// bound is in the last bucket still.
fn float_place([value, low, high]: [f64; 3], count: i32) -> Result<i32> {
    let all = f64::from(count);
    let before = all * (value - low) / (high - low);
    let before = match before.is_finite() {
        true => before,
        false => all * ((value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0)),
    };
    Ok(((before + 1.0) as i32).min(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_bounds_are_in_one_of_the_buckets() {
        let whole = |numbers: [i128; 3], count| bucket(numbers.map(i256::from_i128), count, exact_place);
        assert_eq!(whole([29, 0, 100], 100).unwrap(), 30);
        assert_eq!(whole([-25, -10, -40], 3).unwrap(), 2);
        assert_eq!(whole([9, 10, 0], 10).unwrap(), 2);
        let long = 10_i128.pow(37);
        assert_eq!(whole([long - 1, -long, long], i32::MAX).unwrap(), i32::MAX);
        let float = |numbers, count| bucket(numbers, count, float_place);
        for (numbers, count, expected) in [
            ([0.29, 0.0, 1.0], 100, 29),
            ([0.999_999_999_999_999_9, -1.0, 1.0], 10, 10),
            ([-1.6e308, -1.7e308, 1.7e308], 10, 1),
            ([0.0, -1.7e308, 1.7e308], 10, 6),
            ([1.6e308, 1.7e308, -1.7e308], 10, 1),
            ([9.999_999_999_999_998, 0.0, 10.0], i32::MAX, i32::MAX),
        ] {
            assert_eq!(float(numbers, count).unwrap(), expected, "{numbers:?}");
        }
        assert!(float([1.0, 0.0, 1.0], i32::MAX).is_err());
    }
}
