//! `format(text, …)`: a text with values in it, `%s` as they are, `%I` as names and `%L` as literals.
//!
//! Source: PostgreSQL 15, `text_format` in varlena.c.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::engine::functions::scalar::quoted::{quoted_name, quoted_text};
use crate::error::{Error, Subject};
use crate::postgres::{ColumnWriter, Format, Style, Zone, column};

/// What a value takes whose type has no length, about.
const VALUE_BYTES: u64 = 64;

/// A text with values in it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Formatted(Signature);

impl Default for Formatted {
    fn default() -> Self {
        // An instant is written in the session's zone.
        Self(Signature::user_defined(Volatility::Stable))
    }
}

impl ScalarUDFImpl for Formatted {
    fn name(&self) -> &str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [format, values @ ..] if format.is_string() || format.is_null() => {
                Ok(std::iter::once(DataType::Utf8).chain(values.iter().cloned()).collect())
            }
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC");
        let columns = columns(&args.args, rows)?;
        let writers = writers(&columns, &args.arg_fields, Zone::of(zone))?;
        let (mut texts, mut text) = (StringBuilder::new(), String::new());
        each_row(columns[0].as_string::<i32>(), columns.len(), |row, parts| {
            let Some(parts) = parts else {
                texts.append_null();
                return Ok(());
            };
            text.clear();
            parts.iter().try_for_each(|part| part.write(&writers, row, &mut text))?;
            texts.append_value(&text);
            Ok(())
        })?;
        answer(Arc::new(texts.finish()), is_one(&args))
    }
}

/// The bytes of what is made in so many rows, at most, if nearly no character is quoted.
pub fn formatted_bytes(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let columns = columns(args, rows)?;
    let fields = args.iter().map(|value| Arc::new(Field::new("", value.data_type(), true)));
    let writers = writers(&columns, &fields.collect::<Vec<_>>(), Zone::Utc)?;
    let lengths = columns.iter().map(lengths).collect::<Result<Vec<_>>>()?;
    let mut bytes = 0_u64;
    let formats = cast(&columns[0], &DataType::Utf8)?;
    each_row(formats.as_string::<i32>(), columns.len(), |row, parts| {
        for part in parts.unwrap_or_default() {
            let taken = match part {
                Part::Text(text) => text.len() as u64,
                Part::Value { argument, width, .. } => {
                    let width = width.at(&writers, row)?.unsigned_abs();
                    lengths[*argument](row).saturating_add(width.into())
                }
            };
            bytes = bytes.saturating_add(taken);
        }
        Ok(())
    })?;
    Ok(bytes)
}

fn columns(args: &[ColumnarValue], rows: usize) -> Result<Vec<ArrayRef>> {
    args.iter().map(|value| value.to_array(rows)).collect()
}

fn writers<'a>(columns: &'a [ArrayRef], fields: &[FieldRef], zone: Zone) -> Result<Vec<ColumnWriter<'a>>> {
    let style = Style { zone, escape_bytes: false };
    let writers =
        columns.iter().zip(fields).map(|(values, field)| column(values, field, Format::Text, style));
    Ok(writers.collect::<std::result::Result<_, _>>()?)
}

/// The bytes of a column's values.
fn lengths(values: &ArrayRef) -> Result<Box<dyn Fn(usize) -> u64>> {
    let each = match values.data_type() {
        text if text.is_string() => 1,
        DataType::List(_) | DataType::LargeList(_) => VALUE_BYTES,
        _ => return Ok(Box::new(|_: usize| VALUE_BYTES)),
    };
    let lengths = cast(&length(values.as_ref())?, &DataType::Int64)?;
    Ok(Box::new(move |row: usize| {
        lengths.as_primitive::<Int64Type>().value(row).unsigned_abs().saturating_mul(each)
    }))
}

/// Reads the format of every row, once where it is the same, for a call with so many arguments.
fn each_row<'a>(
    formats: &'a StringArray,
    arguments: usize,
    mut each: impl FnMut(usize, Option<&[Part<'a>]>) -> Result<()>,
) -> Result<()> {
    let (mut read, mut parts) = (None, vec![]);
    for row in 0..formats.len() {
        if formats.is_null(row) {
            each(row, None)?;
            continue;
        }
        let format = formats.value(row);
        if read != Some(format) {
            parts = Part::all(format, arguments)?;
            read = Some(format);
        }
        each(row, Some(&parts))?;
    }
    Ok(())
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    Plain,
    Name,
    Literal,
}

/// The characters that a value takes at least; where they are fewer than none, it stands on the left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fixed(i32),
    /// The value of an argument.
    Of(usize),
}

/// A part of a format; its arguments are numbered from the format, which is 0.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Value { argument: usize, conversion: Conversion, width: Width, to_left: bool },
}

impl<'a> Part<'a> {
    fn all(format: &'a str, arguments: usize) -> Result<Vec<Self>> {
        let mut reader = Reader { rest: format, next: 1, arguments };
        let mut parts = vec![];
        while let Some((text, rest)) = reader.rest.split_once('%') {
            parts.push(Self::Text(text));
            reader.rest = rest;
            parts.push(if reader.takes('%') { Self::Text("%") } else { reader.value()? });
        }
        parts.push(Self::Text(reader.rest));
        Ok(parts)
    }

    fn write(&self, writers: &[ColumnWriter<'_>], row: usize, text: &mut String) -> Result<()> {
        let (argument, conversion, width, to_left) = match self {
            Self::Text(part) => {
                text.push_str(part);
                return Ok(());
            }
            Self::Value { argument, conversion, width, to_left } => {
                (*argument, *conversion, *width, *to_left)
            }
        };
        let width = width.at(writers, row)?;
        let value = match (value(&writers[argument], row), conversion) {
            (Some(value), Conversion::Plain) => value,
            (Some(value), Conversion::Name) => quoted_name(&value),
            (Some(value), Conversion::Literal) => quoted_text(&value),
            (None, Conversion::Plain) => String::new(),
            (None, Conversion::Literal) => "NULL".to_owned(),
            (None, Conversion::Name) => {
                return Err(Error::data("null values cannot be formatted as an SQL identifier").into());
            }
        };
        let missing = (width.unsigned_abs() as usize).saturating_sub(value.chars().count());
        if to_left || width < 0 {
            text.push_str(&value);
        }
        text.extend(std::iter::repeat_n(' ', missing));
        if !to_left && width >= 0 {
            text.push_str(&value);
        }
        Ok(())
    }
}

impl Width {
    fn at(self, writers: &[ColumnWriter<'_>], row: usize) -> Result<i32> {
        let argument = match self {
            Self::Fixed(width) => return Ok(width),
            Self::Of(argument) => argument,
        };
        let Some(text) = value(&writers[argument], row) else { return Ok(0) };
        let number: i64 = text.trim().parse().map_err(|_| {
            Error::input(Subject::Value, format!("invalid input syntax for type integer: \"{text}\""))
        })?;
        let width = i32::try_from(number).ok().filter(|width| *width != i32::MIN);
        Ok(width.ok_or_else(out_of_range)?)
    }
}

/// The text of a value, none for NULL.
fn value(writer: &ColumnWriter<'_>, row: usize) -> Option<String> {
    if writer.is_null(row) {
        return None;
    }
    let mut out = BytesMut::new();
    writer.write(row, &mut out);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// What is left of a format, and the argument that the next value is.
struct Reader<'a> {
    rest: &'a str,
    next: usize,
    arguments: usize,
}

impl<'a> Reader<'a> {
    fn takes(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn number(&mut self) -> Result<Option<i32>> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(unterminated)?;
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(None);
        }
        Ok(Some(digits.parse().map_err(|_| out_of_range())?))
    }

    /// What stands behind `%`: `[position$][-][width]conversion`.
    fn value(&mut self) -> Result<Part<'a>> {
        let number = self.number()?;
        let position = number.filter(|_| self.takes('$'));
        let (mut to_left, mut width) = (false, Width::Fixed(number.unwrap_or(0)));
        if number.is_none() || position.is_some() {
            while self.takes('-') {
                to_left = true;
            }
            width = self.width()?;
        }
        let conversion = match self.rest.chars().next() {
            Some('s') => Conversion::Plain,
            Some('I') => Conversion::Name,
            Some('L') => Conversion::Literal,
            Some(other) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                return Err(Error::input(Subject::Option, message).with_hint(FOR_PERCENT).into());
            }
            None => return Err(unterminated().into()),
        };
        self.rest = &self.rest[1..];
        Ok(Part::Value { argument: self.argument(position)?, conversion, width, to_left })
    }

    /// A width, which may be an argument: `*` or `*position$`.
    fn width(&mut self) -> Result<Width> {
        if !self.takes('*') {
            return Ok(Width::Fixed(self.number()?.unwrap_or(0)));
        }
        let position = self.number()?;
        if position.is_some() && !self.takes('$') {
            let message = "width argument position must be ended by \"$\"";
            return Err(Error::input(Subject::Option, message).into());
        }
        Ok(Width::Of(self.argument(position)?))
    }

    /// The argument at a position, or the next one.
    fn argument(&mut self, position: Option<i32>) -> Result<usize> {
        let argument = position.map_or(self.next, |position| position.unsigned_abs() as usize);
        let refused = match argument {
            0 => "format specifies argument 0, but arguments are numbered from 1",
            argument if argument >= self.arguments => "too few arguments for format()",
            argument => {
                self.next = argument + 1;
                return Ok(argument);
            }
        };
        Err(Error::input(Subject::Option, refused).into())
    }
}

const FOR_PERCENT: &str = "For a single \"%\" use \"%%\".";

fn unterminated() -> Error {
    Error::input(Subject::Option, "unterminated format() type specifier").with_hint(FOR_PERCENT)
}

fn out_of_range() -> Error {
    Error::data("number is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(argument: usize, width: Width, to_left: bool) -> Part<'static> {
        Part::Value { argument, conversion: Conversion::Plain, width, to_left }
    }

    #[test]
    fn formats_are_texts_and_values() {
        let parts = |format: &'static str| Part::all(format, 4).unwrap();
        assert_eq!(
            parts("a%%b%sc"),
            [
                Part::Text("a"),
                Part::Text("%"),
                Part::Text("b"),
                value_of(1, Width::Fixed(0), false),
                Part::Text("c")
            ]
        );
        for (format, expected) in [
            ("%-*s", value_of(2, Width::Of(1), true)),
            ("%2$*1$s", value_of(2, Width::Of(1), false)),
            ("%3$--12s", value_of(3, Width::Fixed(12), true)),
            ("%12s", value_of(1, Width::Fixed(12), false)),
        ] {
            assert_eq!(parts(format), [Part::Text(""), expected, Part::Text("")], "{format}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for (format, expected) in [
            ("%", "unterminated"),
            ("%5", "unterminated"),
            ("%1$", "unterminated"),
            ("%*1", "unterminated"),
            ("%5-s", "unrecognized"),
            ("%é", "\"é\""),
            ("%0$s", "argument 0"),
            ("%*0$s", "argument 0"),
            ("%*1s", "must be ended by"),
            ("%4$s", "too few"),
            ("%s%s%s%s", "too few"),
            ("%2147483648s", "out of range"),
        ] {
            let error = Part::all(format, 4).unwrap_err().to_string();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }
}
