//! The writer of one column.

use std::fmt::Display;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use bytes::{BufMut, BytesMut};

use super::zone::Zone;
use super::{Format, binary, json, list, numeric, text};
use crate::postgres::types;

/// How values look beyond their format.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Zone of instants.
    pub zone: Zone,
    /// `bytea_output = escape`.
    pub escape_bytes: bool,
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

type Write<'a> = Box<dyn Fn(usize, &mut BytesMut) + Send + 'a>;

/// Writes the values of one array.
pub struct ColumnWriter<'a> {
    nulls: Option<NullBuffer>,
    write: Write<'a>,
}

impl ColumnWriter<'_> {
    /// True for NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes the value of a row that is not NULL, without its length.
    pub fn write(&self, row: usize, out: &mut BytesMut) {
        (self.write)(row, out);
    }

    /// Writes the value with its length before it, -1 for NULL.
    pub fn write_field(&self, row: usize, out: &mut BytesMut) {
        if self.is_null(row) {
            out.put_i32(-1);
        } else {
            super::with_length(out, |out| (self.write)(row, out));
        }
    }
}

/// The writer of a column of this field in this format.
pub fn column<'a>(
    array: &'a ArrayRef,
    field: &Field,
    format: Format,
    style: Style,
) -> Result<ColumnWriter<'a>, ArrowError> {
    let oid = types::of_field(field).oid;
    let write = writer(array, oid, format, style)?;
    Ok(ColumnWriter { nulls: array.logical_nulls(), write })
}

/// Casts inside the integers that PostgreSQL has.
fn integers<'a, T>(array: &'a dyn Array, oid: u32, format: Format) -> Write<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let values = array.as_primitive::<T>();
    let value = move |row: usize| -> i64 { values.value(row).into() };
    if format == Format::Text {
        return match oid {
            16 => Box::new(move |row, out| text::boolean(value(row) != 0, out)),
            18 => Box::new(move |row, out| out.put_u8(value(row) as u8)),
            _ => Box::new(move |row, out| text::integer(value(row), out)),
        };
    }
    match oid {
        21 => Box::new(move |row, out| out.put_i16(value(row) as i16)),
        20 => Box::new(move |row, out| out.put_i64(value(row))),
        18 => Box::new(move |row, out| out.put_u8(value(row) as u8)),
        _ => Box::new(move |row, out| out.put_u32(value(row) as u32)),
    }
}

fn floats<'a, T>(array: &'a dyn Array, format: Format) -> Write<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    let values = array.as_primitive::<T>();
    match (format, array.data_type()) {
        (Format::Text, DataType::Float64) => {
            Box::new(move |row, out| text::double(values.value(row).into(), out))
        }
        (Format::Text, _) => Box::new(move |row, out| {
            let value: f64 = values.value(row).into();
            text::single(value as f32, out);
        }),
        (Format::Binary, DataType::Float64) => {
            Box::new(move |row, out| out.put_f64(values.value(row).into()))
        }
        (Format::Binary, _) => Box::new(move |row, out| {
            let value: f64 = values.value(row).into();
            out.put_f32(value as f32);
        }),
    }
}

fn decimals<'a, T>(array: &'a dyn Array, scale: i8, format: Format) -> Write<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Display,
{
    let values = array.as_primitive::<T>();
    // A negative scale has zeros in the place of digits.
    let digits = move |row: usize| match scale {
        0.. => values.value(row).to_string(),
        _ => format!("{}{}", values.value(row), "0".repeat(usize::from(scale.unsigned_abs()))),
    };
    match format {
        Format::Text => Box::new(move |row, out| numeric::text(&digits(row), scale, out)),
        Format::Binary => Box::new(move |row, out| numeric::binary(&digits(row), scale, out)),
    }
}

fn strings<'a>(value: impl Fn(usize) -> &'a str + Send + 'a) -> Write<'a> {
    Box::new(move |row, out| out.put_slice(value(row).as_bytes()))
}

fn bytes<'a>(value: impl Fn(usize) -> &'a [u8] + Send + 'a, format: Format, style: Style) -> Write<'a> {
    match format {
        Format::Text => Box::new(move |row, out| text::bytea(value(row), style.escape_bytes, out)),
        Format::Binary => Box::new(move |row, out| out.put_slice(value(row))),
    }
}

fn dates<'a>(days: impl Fn(usize) -> i64 + Send + 'a, format: Format) -> Write<'a> {
    match format {
        Format::Text => Box::new(move |row, out| text::date(days(row), out)),
        Format::Binary => Box::new(move |row, out| binary::date(days(row), out)),
    }
}

/// Microseconds in a unit, or units in a microsecond.
fn micros<'a, T>(array: &'a dyn Array, unit: TimeUnit) -> impl Fn(usize) -> i64 + Send + 'a
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let values: &'a PrimitiveArray<T> = array.as_primitive::<T>();
    move |row| {
        let value: i64 = values.value(row).into();
        match unit {
            TimeUnit::Second => value.saturating_mul(1_000_000),
            TimeUnit::Millisecond => value.saturating_mul(1_000),
            TimeUnit::Microsecond => value,
            TimeUnit::Nanosecond => value.div_euclid(1_000),
        }
    }
}

type Micros<'a> = Box<dyn Fn(usize) -> i64 + Send + 'a>;

fn timestamps<'a>(array: &'a dyn Array, unit: TimeUnit) -> Micros<'a> {
    match unit {
        TimeUnit::Second => Box::new(micros::<TimestampSecondType>(array, unit)),
        TimeUnit::Millisecond => Box::new(micros::<TimestampMillisecondType>(array, unit)),
        TimeUnit::Microsecond => Box::new(micros::<TimestampMicrosecondType>(array, unit)),
        TimeUnit::Nanosecond => Box::new(micros::<TimestampNanosecondType>(array, unit)),
    }
}

fn times<'a>(array: &'a dyn Array, unit: TimeUnit) -> Micros<'a> {
    match unit {
        TimeUnit::Second => Box::new(micros::<Time32SecondType>(array, unit)),
        TimeUnit::Millisecond => Box::new(micros::<Time32MillisecondType>(array, unit)),
        TimeUnit::Microsecond => Box::new(micros::<Time64MicrosecondType>(array, unit)),
        TimeUnit::Nanosecond => Box::new(micros::<Time64NanosecondType>(array, unit)),
    }
}

fn durations<'a>(array: &'a dyn Array, unit: TimeUnit) -> Micros<'a> {
    match unit {
        TimeUnit::Second => Box::new(micros::<DurationSecondType>(array, unit)),
        TimeUnit::Millisecond => Box::new(micros::<DurationMillisecondType>(array, unit)),
        TimeUnit::Microsecond => Box::new(micros::<DurationMicrosecondType>(array, unit)),
        TimeUnit::Nanosecond => Box::new(micros::<DurationNanosecondType>(array, unit)),
    }
}

fn intervals<'a>(parts: impl Fn(usize) -> (i32, i32, i64) + Send + 'a, format: Format) -> Write<'a> {
    match format {
        Format::Text => Box::new(move |row, out| {
            let (months, days, micros) = parts(row);
            text::interval(months, days, micros, out);
        }),
        Format::Binary => Box::new(move |row, out| {
            let (months, days, micros) = parts(row);
            binary::interval(months, days, micros, out);
        }),
    }
}

fn interval<'a>(array: &'a dyn Array, unit: IntervalUnit, format: Format) -> Write<'a> {
    match unit {
        IntervalUnit::YearMonth => {
            let values = array.as_primitive::<IntervalYearMonthType>();
            intervals(move |row| (values.value(row), 0, 0), format)
        }
        IntervalUnit::DayTime => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            let parts = move |row| {
                let value = values.value(row);
                (0, value.days, i64::from(value.milliseconds) * 1_000)
            };
            intervals(parts, format)
        }
        IntervalUnit::MonthDayNano => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            let parts = move |row| {
                let value = values.value(row);
                (value.months, value.days, value.nanoseconds / 1_000)
            };
            intervals(parts, format)
        }
    }
}

/// The writer of an array whose column has the type of this number.
pub(super) fn writer<'a>(
    array: &'a ArrayRef,
    oid: u32,
    format: Format,
    style: Style,
) -> Result<Write<'a>, ArrowError> {
    let array: &'a dyn Array = array.as_ref();
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| {}),
        DataType::Boolean => {
            let values = array.as_boolean();
            match format {
                Format::Text => Box::new(move |row, out| text::boolean(values.value(row), out)),
                Format::Binary => Box::new(move |row, out| out.put_u8(u8::from(values.value(row)))),
            }
        }
        DataType::Int8 => integers::<Int8Type>(array, oid, format),
        DataType::Int16 => integers::<Int16Type>(array, oid, format),
        DataType::Int32 => integers::<Int32Type>(array, oid, format),
        DataType::Int64 => integers::<Int64Type>(array, oid, format),
        DataType::UInt8 => integers::<UInt8Type>(array, oid, format),
        DataType::UInt16 => integers::<UInt16Type>(array, oid, format),
        DataType::UInt32 => integers::<UInt32Type>(array, oid, format),
        DataType::UInt64 if oid == 20 => {
            let values = array.as_primitive::<UInt64Type>();
            match format {
                Format::Text => decimals::<UInt64Type>(array, 0, format),
                Format::Binary => Box::new(move |row, out| out.put_u64(values.value(row))),
            }
        }
        DataType::UInt64 => decimals::<UInt64Type>(array, 0, format),
        DataType::Float16 => floats::<Float16Type>(array, format),
        DataType::Float32 => floats::<Float32Type>(array, format),
        DataType::Float64 => floats::<Float64Type>(array, format),
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale, format),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale, format),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale, format),
        DataType::Decimal256(_, scale) => decimals::<Decimal256Type>(array, *scale, format),
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            strings(move |row| values.value(row))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            strings(move |row| values.value(row))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            strings(move |row| values.value(row))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            bytes(move |row| values.value(row), format, style)
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            bytes(move |row| values.value(row), format, style)
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            bytes(move |row| values.value(row), format, style)
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            bytes(move |row| values.value(row), format, style)
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            dates(move |row| i64::from(values.value(row)), format)
        }
        DataType::Date64 => {
            let values = array.as_primitive::<Date64Type>();
            dates(move |row| values.value(row).div_euclid(86_400_000), format)
        }
        DataType::Time32(unit) | DataType::Time64(unit) => {
            let value = times(array, *unit);
            match format {
                Format::Text => Box::new(move |row, out| text::time(value(row), out)),
                Format::Binary => Box::new(move |row, out| out.put_i64(value(row))),
            }
        }
        DataType::Timestamp(unit, zone) => {
            let value = timestamps(array, *unit);
            match (format, zone) {
                (Format::Binary, _) => Box::new(move |row, out| binary::timestamp(value(row), out)),
                (Format::Text, None) => Box::new(move |row, out| text::timestamp(value(row), out)),
                (Format::Text, Some(_)) => {
                    Box::new(move |row, out| text::timestamptz(value(row), style.zone, out))
                }
            }
        }
        DataType::Interval(unit) => interval(array, *unit, format),
        DataType::Duration(unit) => {
            let value = durations(array, *unit);
            // The difference of two timestamps is days and what is left of one.
            intervals(move |row| (0, (value(row) / DAY) as i32, value(row) % DAY), format)
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => list::writer(array, oid, format, style)?,
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => json::writer(array)?,
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) => unpacked(array, oid, format, style)?,
    })
}

/// Dictionaries and runs, by their values.
fn unpacked<'a>(
    array: &'a dyn Array,
    oid: u32,
    format: Format,
    style: Style,
) -> Result<Write<'a>, ArrowError> {
    let values = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        other => other.clone(),
    };
    let plain: ArrayRef = arrow::compute::cast(array, &values)?;
    let mut texts = Vec::with_capacity(plain.len());
    let write = writer(&plain, oid, format, style)?;
    for row in 0..plain.len() {
        let mut out = BytesMut::new();
        if plain.is_valid(row) {
            write(row, &mut out);
        }
        texts.push(out.freeze());
    }
    drop(write);
    Ok(Box::new(move |row, out| out.put_slice(&texts[row])))
}
