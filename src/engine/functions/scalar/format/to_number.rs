//! `to_number(text, pattern)`: the number that a text is in a pattern.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Builder};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::numbers::NumberPattern;
use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::error::{Error, Subject};

/// Digits of the numbers that are read.
const PRECISION: u8 = 38;

/// Digits behind the point where the pattern is not known before it runs.
const SCALE_UNKNOWN: i8 = 10;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToNumber(Signature);

impl Default for ToNumber {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ToNumber {
    fn name(&self) -> &str {
        "to_number"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        match arg_types {
            [value, pattern] if text(value) && text(pattern) => Ok(vec![DataType::Utf8; 2]),
            _ => Err(Error::input(Subject::Function, "to_number takes a text and a pattern").into()),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(PRECISION, SCALE_UNKNOWN))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let pattern = args.scalar_arguments.get(1).copied().flatten().and_then(|value| value.try_as_str());
        let scale = match pattern.flatten() {
            Some(pattern) => NumberPattern::parse(pattern)?.scale_read() as i8,
            None => SCALE_UNKNOWN,
        };
        let data_type = DataType::Decimal128(PRECISION, scale.min(PRECISION as i8));
        Ok(Arc::new(datafusion::arrow::datatypes::Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Decimal128(precision, scale) = *args.return_field.data_type() else {
            return Err(Error::internal("to_number gives decimals").into());
        };
        let rows = rows(&args);
        let (texts, patterns) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
        let mut numbers = Decimal128Builder::new().with_precision_and_scale(precision, scale)?;
        for (text, pattern) in texts.as_string::<i32>().iter().zip(patterns.as_string::<i32>()) {
            let number = text
                .zip(pattern)
                .map(|(text, pattern)| read(text, &NumberPattern::parse(pattern)?, scale as usize));
            numbers.append_option(number.transpose()?);
        }
        let numbers: ArrayRef = Arc::new(numbers.finish());
        answer(numbers, is_one(&args))
    }
}

/// The number of a text in units of `scale` digits behind the point.
fn read(text: &str, pattern: &NumberPattern, scale: usize) -> Result<i128> {
    let invalid =
        || Error::input(Subject::Value, format!("invalid input syntax for type numeric: \"{text}\""));
    let negative = text.contains('-') || text.trim().starts_with('<');
    let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).collect::<String>();
    let (whole, behind) = (digits(whole), digits(behind));
    if whole.is_empty() && behind.is_empty() {
        return Err(invalid().into());
    }
    // Digits behind `V` are digits behind the point, which is not written.
    let shifted = pattern.scale_read() - pattern.scale();
    let (whole, behind) = match shifted {
        0 => (whole.as_str(), behind),
        _ => whole
            .split_at_checked(whole.len().saturating_sub(shifted))
            .map_or(("", whole.clone()), |(w, b)| (w, format!("{b:0>shifted$}"))),
    };
    let places = pattern.scale_read().min(scale);
    let behind: String = behind.chars().chain(std::iter::repeat('0')).take(places).collect();
    let number = format!("{whole}{behind:0<scale$}");
    let number: i128 = number.parse().map_err(|_| Error::data("value overflows numeric format"))?;
    Ok(if negative { -number } else { number })
}
