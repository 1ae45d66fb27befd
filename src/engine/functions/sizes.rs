//! How many bytes the results of functions take that grow, told by their arguments.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

/// The bytes of a result in so many rows.
pub type Size = fn(&[ColumnarValue], usize) -> Result<u64>;

/// The bytes of something in a row.
type Bytes = Box<dyn Fn(usize) -> u64>;

/// What an element takes whose type does not tell: a view of a text, or the ends of a list.
const ELEMENT_BYTES: u64 = 16;

const DAY_MICROS: i64 = 86_400_000_000;

/// `repeat(text, times)`.
pub fn repeated(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (texts, times) = (Numbers::lengths(&args[0])?, Numbers::of(&args[1])?);
    Ok(sum(rows, |row| texts.at(row).saturating_mul(times.at(row))))
}

/// `lpad(text, length)` and `rpad`, with what fills it or without.
pub fn padded(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (texts, lengths) = (Numbers::lengths(&args[0])?, Numbers::of(&args[1])?);
    let width = args.get(2).map_or(1, widest);
    Ok(sum(rows, |row| lengths.at(row).saturating_mul(width).saturating_add(texts.at(row))))
}

/// Bytes of the widest character that a text has.
fn widest(text: &ColumnarValue) -> u64 {
    let ColumnarValue::Scalar(text) = text else { return 4 };
    let text = text.try_as_str().flatten().unwrap_or_default();
    text.chars().map(char::len_utf8).max().unwrap_or(0) as u64
}

/// `concat(text, …)`, and `overlay`, of which it is a bound.
pub fn joined(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let texts = args.iter().filter(|value| !is_number(value)).map(Numbers::lengths);
    let texts = texts.collect::<Result<Vec<_>>>()?;
    Ok(sum(rows, |row| texts.iter().map(|text| text.at(row)).fold(0, u64::saturating_add)))
}

fn is_number(value: &ColumnarValue) -> bool {
    value.data_type().is_numeric()
}

/// `concat_ws(separator, text, …)`.
pub fn separated(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let separators = Numbers::lengths(&args[0])?;
    let between = args.len().saturating_sub(2) as u64;
    let all = sum(rows, |row| separators.at(row).saturating_mul(between));
    Ok(all.saturating_add(joined(&args[1..], rows)?))
}

/// `replace(text, from, to)`, at most.
pub fn replaced(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let texts = Numbers::lengths(&args[0])?;
    let (from, to) = (Numbers::lengths(&args[1])?, Numbers::lengths(&args[2])?);
    Ok(sum(rows, |row| {
        let matches = texts.at(row).checked_div(from.at(row)).unwrap_or(0);
        matches.saturating_mul(to.at(row)).saturating_add(texts.at(row))
    }))
}

/// `regexp_replace(text, pattern, replacement, flags)`, at most: a match at every character, groups and all.
pub fn replaced_by_pattern(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (texts, to) = (Numbers::lengths(&args[0])?, Numbers::lengths(&args[2])?);
    Ok(sum(rows, |row| {
        let text = texts.at(row);
        text.saturating_mul(2).saturating_add(1).saturating_mul(to.at(row)).saturating_add(text)
    }))
}

/// `array_to_string(array, separator, null)`, but for the elements.
pub fn listed(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let elements = Numbers::lengths(&args[0])?;
    let texts = args[1..].iter().map(Numbers::lengths).collect::<Result<Vec<_>>>()?;
    let between = |row: usize| texts.iter().map(|text| text.at(row)).fold(0, u64::saturating_add);
    Ok(sum(rows, |row| elements.at(row).saturating_mul(between(row))))
}

/// `array_repeat(element, times)`, with the indices that it takes the elements by.
pub fn repeated_elements(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (element, times) = (element_bytes(&args[0])?, Numbers::of(&args[1])?);
    Ok(sum(rows, |row| times.at(row).saturating_mul(element(row).saturating_add(8))))
}

/// `array_resize(array, size)`, with the element that fills it or without.
pub fn resized(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let sizes = Numbers::of(&args[1])?;
    let element: Bytes = match (args.get(2), args[0].data_type()) {
        (Some(element), _) => element_bytes(element)?,
        (None, DataType::List(field) | DataType::LargeList(field)) => {
            let bytes = width(field.data_type());
            Box::new(move |_: usize| bytes)
        }
        _ => Box::new(|_: usize| ELEMENT_BYTES),
    };
    Ok(sum(rows, |row| sizes.at(row).saturating_mul(element(row))))
}

/// `string_to_array(text, delimiter, null)`, at most: one delimiter behind the other.
pub fn split(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (texts, delimiters) = (Numbers::lengths(&args[0])?, Numbers::lengths(&args[1])?);
    Ok(sum(rows, |row| {
        let elements = texts.at(row) / delimiters.at(row).max(1) + 1;
        elements.saturating_mul(ELEMENT_BYTES).saturating_add(texts.at(row))
    }))
}

/// `array_concat(array, …)`, and `array_append` and `array_prepend`, with arrays and elements.
pub fn collected(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let parts = args.iter().map(element_bytes).collect::<Result<Vec<_>>>()?;
    Ok(sum(rows, |row| parts.iter().map(|part| part(row)).fold(0, u64::saturating_add)))
}

/// `range(start, stop, step)` and `generate_series`, of numbers, dates or times.
pub fn series(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let (start, stop) = match args {
        [stop] => (None, Numbers::places(stop)?),
        [start, stop, ..] => (Some(Numbers::places(start)?), Numbers::places(stop)?),
        [] => return Ok(0),
    };
    let step = args.get(2).map(Numbers::steps).transpose()?;
    Ok(sum(rows, |row| {
        let start = start.as_ref().map_or(Some(0), |start| start.get(row));
        let step = step.as_ref().map_or(Some(1), |step| step.get(row));
        let (Some(start), Some(stop), Some(step)) = (start, stop.get(row), step) else { return 0 };
        let ahead = if step > 0 { start <= stop } else { start >= stop };
        let count = start.abs_diff(stop).checked_div(step.unsigned_abs()).filter(|_| ahead);
        count.map_or(0, |count| count.saturating_add(1).saturating_mul(8))
    }))
}

fn sum(rows: usize, each: impl Fn(usize) -> u64) -> u64 {
    (0..rows).map(each).fold(0, u64::saturating_add)
}

/// The bytes of an element that is repeated, in a row.
fn element_bytes(element: &ColumnarValue) -> Result<Bytes> {
    let data_type = element.data_type();
    let each = match &data_type {
        text if text.is_string() => 1,
        DataType::List(field) | DataType::LargeList(field) => width(field.data_type()),
        other => {
            let bytes = width(other);
            return Ok(Box::new(move |_: usize| bytes));
        }
    };
    let lengths = Numbers::lengths(element)?;
    Ok(Box::new(move |row: usize| lengths.at(row).saturating_mul(each).saturating_add(ELEMENT_BYTES)))
}

fn width(data_type: &DataType) -> u64 {
    data_type.primitive_width().map_or(ELEMENT_BYTES, |bytes| bytes as u64)
}

/// A whole number in every row: one for all where the argument is a constant.
struct Numbers {
    each: Int64Array,
    constant: bool,
}

impl Numbers {
    fn new(value: &ColumnarValue, read: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Self> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let each = match array.data_type() {
            DataType::Null => Int64Array::new_null(array.len()),
            _ => cast(&read(&array)?, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
        };
        Ok(Self { each, constant })
    }

    /// The argument itself.
    fn of(value: &ColumnarValue) -> Result<Self> {
        Self::new(value, |array| Ok(Arc::clone(array)))
    }

    /// The bytes of its texts, or the elements of its lists.
    fn lengths(value: &ColumnarValue) -> Result<Self> {
        Self::new(value, |array| Ok(length(array.as_ref())?))
    }

    /// Where its numbers, dates or times are, these in microseconds.
    fn places(value: &ColumnarValue) -> Result<Self> {
        Self::new(value, |array| match array.data_type() {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                Ok(cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?)
            }
            _ => Ok(Arc::clone(array)),
        })
    }

    /// What its numbers or intervals lead from one place to the next by.
    fn steps(value: &ColumnarValue) -> Result<Self> {
        Self::new(value, |array| match array.as_primitive_opt::<IntervalMonthDayNanoType>() {
            Some(intervals) => Ok(Arc::new(intervals.unary::<_, Int64Type>(micros))),
            None => Ok(Arc::clone(array)),
        })
    }

    fn get(&self, row: usize) -> Option<i64> {
        let row = if self.constant { 0 } else { row };
        self.each.is_valid(row).then(|| self.each.value(row))
    }

    /// The number, 0 where there is none or a negative one.
    fn at(&self, row: usize) -> u64 {
        self.get(row).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
    }
}

/// The length of an interval, with months of 30 days.
fn micros(interval: IntervalMonthDayNano) -> i64 {
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    let rest = interval.nanoseconds / 1_000;
    // An interval below a microsecond is none of no length.
    let rest = if rest == 0 { interval.nanoseconds.signum() } else { rest };
    days.saturating_mul(DAY_MICROS).saturating_add(rest)
}
