//! Texts in PostgreSQL's form as values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, ListArray, StringArray, StringBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};

use super::array::array_elements;
use crate::error::{Error, Result};

/// Texts as values of a type.
pub fn parse(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef> {
    let failed = |e: arrow::error::ArrowError| Error::data(e.to_string());
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let mut builder = BinaryBuilder::new();
            for text in texts {
                match text {
                    None => builder.append_null(),
                    Some(text) => builder.append_value(bytea_of(text).ok_or_else(|| invalid_bytes(text))?),
                }
            }
            arrow::compute::cast(&builder.finish(), data_type).map_err(failed)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            arrow::compute::cast(texts, data_type).map_err(failed)
        }
        DataType::List(item) => parse_arrays(texts, item),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            arrow::compute::cast(&parse_arrays(texts, item)?, data_type).map_err(failed)
        }
        DataType::Struct(_) => Err(Error::unsupported("a text cannot be read as a struct")),
        _ => {
            let trimmed: StringArray = match texts.iter().flatten().any(|t| t.trim().len() != t.len()) {
                true => texts.iter().map(|text| text.map(str::trim)).collect(),
                false => texts.clone(),
            };
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&trimmed, data_type, &strict).map_err(failed)
        }
    }
}

/// Texts such as `{1,2}` as arrays of these elements.
fn parse_arrays(texts: &StringArray, item: &FieldRef) -> Result<ArrayRef> {
    let (mut elements, mut lengths) = (StringBuilder::new(), vec![]);
    for text in texts {
        let items = match text {
            Some(text) => array_elements(text)
                .ok_or_else(|| Error::data(format!("malformed array literal: \"{text}\"")))?,
            None => vec![],
        };
        lengths.push(items.len());
        items.into_iter().for_each(|element| elements.append_option(element));
    }
    let values = parse(&elements.finish(), item.data_type())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(Arc::clone(item), offsets, values, texts.nulls().cloned());
    Ok(Arc::new(list.map_err(|e| Error::data(e.to_string()))?))
}

fn invalid_bytes(text: &str) -> Error {
    Error::data(format!("invalid input syntax for type bytea: \"{text}\""))
}

/// The bytes of a bytea in hex or escape form.
pub fn bytea_of(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits = digits.as_bytes();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(pair).collect()).flatten();
    }
    let (mut bytes, mut rest) = (vec![], text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let (byte, left) = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [a, b, c, after @ ..]) => {
                let octal = std::str::from_utf8(&[*a, *b, *c]).ok().map(str::to_owned)?;
                (u8::from_str_radix(&octal, 8).ok()?, after)
            }
            (b'\\', _) => return None,
            (byte, after) => (byte, after),
        };
        bytes.push(byte);
        rest = left;
    }
    Some(bytes)
}
