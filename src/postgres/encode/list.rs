//! Arrays: lists, and lists of lists as arrays of more dimensions.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bytes::{BufMut, BytesMut};

use super::column::{Style, writer as value_writer};
use super::{Format, text, with_length};
use crate::postgres::types;

type Write<'a> = Box<dyn Fn(usize, &mut BytesMut) + Send + 'a>;

/// The list of one row as an array of its own.
fn row_values(array: &dyn Array, row: usize) -> ArrayRef {
    match array.data_type() {
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        DataType::ListView(_) => array.as_list_view::<i32>().value(row),
        DataType::LargeListView(_) => array.as_list_view::<i64>().value(row),
        _ => array.as_list::<i32>().value(row),
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

/// The writer of a column of arrays.
pub fn writer<'a>(
    array: &'a dyn Array,
    oid: u32,
    format: Format,
    style: Style,
) -> Result<Write<'a>, ArrowError> {
    let element = types::element_of(oid).unwrap_or(25);
    // What can go wrong with the elements goes wrong here, for an empty list too.
    let none = arrow::array::new_empty_array(&innermost(array.data_type()));
    drop(value_writer(&none, element, format, style)?);
    Ok(match (format, oid) {
        // int2vector and oidvector are written without braces.
        (Format::Text, 22 | 30) => Box::new(move |row, out| vector(&row_values(array, row), style, out)),
        (Format::Text, _) => Box::new(move |row, out| braces(&row_values(array, row), element, style, out)),
        (Format::Binary, _) => {
            let first = i32::from(!matches!(oid, 22 | 30));
            Box::new(move |row, out| dimensions(&row_values(array, row), element, first, style, out))
        }
    })
}

fn innermost(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => innermost(item.data_type()),
        other => other.clone(),
    }
}

fn vector(values: &ArrayRef, style: Style, out: &mut BytesMut) {
    let Ok(write) = value_writer(values, 23, Format::Text, style) else { return };
    for row in 0..values.len() {
        if row > 0 {
            out.put_u8(b' ');
        }
        write(row, out);
    }
}

fn braces(values: &ArrayRef, element: u32, style: Style, out: &mut BytesMut) {
    out.put_u8(b'{');
    let nested = is_list(values.data_type());
    let write = if nested { None } else { value_writer(values, element, Format::Text, style).ok() };
    let mut buffer = BytesMut::new();
    for row in 0..values.len() {
        if row > 0 {
            out.put_u8(b',');
        }
        if values.is_null(row) {
            out.put_slice(b"NULL");
        } else if nested {
            braces(&row_values(values.as_ref(), row), element, style, out);
        } else if let Some(write) = &write {
            buffer.clear();
            write(row, &mut buffer);
            text::quote_array_element(&buffer, out);
        }
    }
    out.put_u8(b'}');
}

/// Dimensions, flags and elements in row order, as array_send writes them.
fn dimensions(values: &ArrayRef, element: u32, first: i32, style: Style, out: &mut BytesMut) {
    let mut lengths = vec![];
    let mut level = ArrayRef::clone(values);
    while is_list(level.data_type()) && !level.is_empty() {
        lengths.push(level.len());
        level = row_values(level.as_ref(), 0);
    }
    if !(lengths.is_empty() && level.is_empty()) {
        lengths.push(level.len());
    }
    let mut leaves = vec![];
    flatten(values, &mut leaves);
    out.put_i32(lengths.len() as i32);
    out.put_i32(i32::from(leaves.iter().any(|leaf| leaf.null_count() > 0)));
    out.put_u32(element);
    for length in &lengths {
        out.put_i32(*length as i32);
        out.put_i32(first);
    }
    for leaf in &leaves {
        let Ok(write) = value_writer(leaf, element, Format::Binary, style) else { return };
        for row in 0..leaf.len() {
            if leaf.is_null(row) {
                out.put_i32(-1);
            } else {
                with_length(out, |out| write(row, out));
            }
        }
    }
}

fn flatten(values: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    if !is_list(values.data_type()) {
        return leaves.push(ArrayRef::clone(values));
    }
    for row in 0..values.len() {
        if values.is_valid(row) {
            flatten(&row_values(values.as_ref(), row), leaves);
        }
    }
}
