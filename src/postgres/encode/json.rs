//! Structs, maps and unions: JSON.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut, BytesMut};

type Write<'a> = Box<dyn Fn(usize, &mut BytesMut) + Send + 'a>;

/// The writer of a column of such values.
pub fn writer(array: &dyn Array) -> Result<Write<'_>, ArrowError> {
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        texts.push(value(array, row)?.to_string());
    }
    Ok(Box::new(move |row, out| out.put_slice(texts[row].as_bytes())))
}

fn value(array: &dyn Array, row: usize) -> Result<serde_json::Value, ArrowError> {
    use serde_json::Value;
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let pairs =
                fields.iter().zip(columns).map(|(f, c)| Ok((f.name().clone(), value(c.as_ref(), row)?)));
            Value::Object(pairs.collect::<Result<_, ArrowError>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let pairs = (0..entries.len()).map(|n| {
                let key = plain(entries.column(0).as_ref(), n)?;
                Ok((key, value(entries.column(1).as_ref(), n)?))
            });
            Value::Object(pairs.collect::<Result<_, ArrowError>>()?)
        }
        DataType::List(_) => elements(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => elements(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => elements(&array.as_fixed_size_list().value(row))?,
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        other if other.is_numeric() => {
            let text = plain(array, row)?;
            text.parse::<serde_json::Number>().map_or(Value::String(text), Value::Number)
        }
        _ => Value::String(plain(array, row)?),
    })
}

fn elements(values: &ArrayRef) -> Result<serde_json::Value, ArrowError> {
    (0..values.len()).map(|row| value(values.as_ref(), row)).collect()
}

fn plain(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    Ok(ArrayFormatter::try_new(array, &FormatOptions::new())?.value(row).to_string())
}
