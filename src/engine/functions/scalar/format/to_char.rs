//! `to_char(value, pattern)`: a date, time, interval or number in a pattern.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type,
    IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::functions::datetime::to_char::ToCharFunc;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::dates;
use super::moment::Moment;
use super::numbers::NumberPattern;
use super::pattern::{Part, parts};
use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};

/// The function; patterns with `%` are those of DataFusion's function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToChar {
    signature: Signature,
    strftime: ToCharFunc,
}

impl Default for ToChar {
    fn default() -> Self {
        // What it gives for an instant depends on the session's zone.
        Self { signature: Signature::user_defined(Volatility::Stable), strftime: ToCharFunc::new() }
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn aliases(&self) -> &[String] {
        self.strftime.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = arg_types else {
            let message = "to_char takes a date, time, interval or number and a pattern";
            return Err(Error::input(Subject::Function, message).into());
        };
        if !(pattern.is_string() || pattern.is_null()) {
            let message = format!("the pattern of to_char is text, not {}", sql_name(pattern));
            return Err(Error::input(Subject::Type, message).into());
        }
        Ok(vec![shown_as(value)?, DataType::Utf8])
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let patterns = args.args[1].to_array(1.max(args.number_rows))?;
        let patterns = patterns.as_string::<i32>();
        let is_date = matches!(args.args[0].data_type(), DataType::Date32 | DataType::Timestamp(..));
        if is_date && patterns.iter().flatten().any(|pattern| pattern.contains('%')) {
            return self.strftime.invoke_with_args(args);
        }
        let values = args.args[0].to_array(rows(&args))?;
        let zone = args.config_options.execution.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let mut out = StringBuilder::new();
        let mut known: Option<(&str, Shape)> = None;
        let mut text = String::new();
        for row in 0..values.len() {
            if values.is_null(row) || patterns.is_null(row) {
                out.append_null();
                continue;
            }
            let pattern = patterns.value(row);
            let shape = match known.take() {
                Some((before, shape)) if before == pattern => shape,
                _ => Shape::of(pattern, values.data_type())?,
            };
            text.clear();
            shape.write(&values, row, &zone, &mut text)?;
            out.append_value(&text);
            known = Some((pattern, shape));
        }
        let texts: ArrayRef = Arc::new(out.finish());
        answer(texts, is_one(&args))
    }
}

/// The type that values of a type are shown as.
fn shown_as(value: &DataType) -> Result<DataType> {
    use DataType::{
        Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Duration, Float16, Float32, Float64,
        Int8, Int16, Int32, Int64, Interval, LargeUtf8, Null, Time32, Time64, Timestamp, UInt8, UInt16,
        UInt32, UInt64, Utf8, Utf8View,
    };
    Ok(match value {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Decimal32(p, s) | Decimal64(p, s) => Decimal128(*p, *s),
        Decimal128(..) | Decimal256(..) | Float64 => value.clone(),
        Float16 | Float32 => Float32,
        Date32 | Date64 => Date32,
        Timestamp(_, None) | Utf8 | LargeUtf8 | Utf8View | Null => Timestamp(TimeUnit::Microsecond, None),
        Timestamp(_, Some(zone)) => Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))),
        Interval(_) | Duration(_) | Time32(_) | Time64(_) => Interval(IntervalUnit::MonthDayNano),
        other => {
            let message = format!("to_char takes a date, time, interval or number, not {}", sql_name(other));
            return Err(Error::input(Subject::Type, message).into());
        }
    })
}

/// A pattern for values of one kind.
enum Shape {
    Number(NumberPattern),
    Date(Vec<Part>),
}

impl Shape {
    fn of(pattern: &str, data_type: &DataType) -> Result<Self> {
        Ok(match data_type.is_numeric() {
            true => Self::Number(NumberPattern::parse(pattern)?),
            false => Self::Date(parts(pattern)),
        })
    }

    fn write(&self, values: &ArrayRef, row: usize, zone: &str, out: &mut String) -> Result<()> {
        match self {
            Self::Number(pattern) => number(pattern, values, row, out),
            Self::Date(parts) => dates::write(&moment(values, row, zone)?, parts, out)?,
        }
        Ok(())
    }
}

fn number(pattern: &NumberPattern, values: &ArrayRef, row: usize, out: &mut String) {
    match values.data_type() {
        DataType::Float64 => pattern.write_double(values.as_primitive::<Float64Type>().value(row), out),
        DataType::Float32 => pattern.write_single(values.as_primitive::<Float32Type>().value(row), out),
        DataType::Decimal128(..) => {
            pattern.write_decimal(&values.as_primitive::<Decimal128Type>().value_as_string(row), out);
        }
        DataType::Decimal256(..) => {
            pattern.write_decimal(&values.as_primitive::<Decimal256Type>().value_as_string(row), out);
        }
        _ => pattern.write_decimal(&values.as_primitive::<Int64Type>().value(row).to_string(), out),
    }
}

fn moment(values: &ArrayRef, row: usize, zone: &str) -> Result<Moment> {
    Ok(match values.data_type() {
        DataType::Date32 => Moment::of_day(values.as_primitive::<Date32Type>().value(row), zone)?,
        DataType::Timestamp(_, None) => {
            Moment::of_timestamp(values.as_primitive::<TimestampMicrosecondType>().value(row))?
        }
        DataType::Timestamp(_, Some(_)) => {
            Moment::of_instant(values.as_primitive::<TimestampMicrosecondType>().value(row), zone)?
        }
        _ => {
            let value = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Moment::of_interval(value.months, value.days, value.nanoseconds / 1_000)
        }
    })
}
