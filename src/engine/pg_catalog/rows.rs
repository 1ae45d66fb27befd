//! Rows of a catalogue relation, by the names of their columns.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, Int64Builder,
    ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};

use super::relations::Relation;
use crate::error::{Error, Result};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number, or the number of a thing.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A text, a name or a letter.
    Text(String),
    /// An array of numbers.
    Ints(Vec<i64>),
    /// An array of texts.
    Texts(Vec<String>),
    /// Rights: grantor, grantee, right, whether it may be granted on.
    Items(Vec<(u32, u32, String, bool)>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The rows of one relation.
#[derive(Debug)]
pub struct Rows {
    relation: &'static Relation,
    columns: Vec<Vec<Cell>>,
}

/// What a column has that a row does not name: nothing known, or what PostgreSQL has there for things that lack it.
fn default(pg_type: &str) -> Cell {
    match pg_type {
        "bool" => Cell::Bool(false),
        "int2" | "int4" | "int8" | "oid" | "xid" | "regproc" => Cell::Int(0),
        "float4" | "float8" => Cell::Float(0.0),
        "name" | "char" => Cell::Text(String::new()),
        "int2vector" | "oidvector" => Cell::Ints(vec![]),
        _ => Cell::Null,
    }
}

impl Rows {
    /// No rows yet.
    pub fn new(relation: &'static Relation) -> Self {
        Self { relation, columns: vec![vec![]; relation.columns.len()] }
    }

    /// Adds a row; columns that it does not name have their defaults.
    pub fn push<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Cell)>) {
        let mut cells: Vec<_> = cells.into_iter().collect();
        for ((name, pg_type), column) in self.relation.columns.iter().zip(&mut self.columns) {
            let given = cells.iter_mut().find(|(column, _)| column == name);
            column.push(
                given.map_or_else(|| default(pg_type), |(_, cell)| std::mem::replace(cell, Cell::Null)),
            );
        }
    }

    /// Adds a row of PostgreSQL's text format of COPY.
    pub fn push_text(&mut self, line: &str) {
        let texts = line.split('\t');
        for (((_, pg_type), column), text) in self.relation.columns.iter().zip(&mut self.columns).zip(texts) {
            column.push(cell(text, pg_type));
        }
    }

    /// The rows as a batch.
    pub fn finish(self) -> Result<RecordBatch> {
        let fields = self.relation.arrow.fields().iter();
        let arrays = fields.zip(&self.columns).map(|(field, cells)| array(field, cells));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&self.relation.arrow), arrays).map_err(internal)
    }
}

fn internal(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::internal(error.to_string())
}

fn cell(text: &str, pg_type: &str) -> Cell {
    if text == "\\N" {
        return Cell::Null;
    }
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    match pg_type {
        "bool" => Cell::Bool(text == "t"),
        "int2" | "int4" | "int8" | "oid" | "xid" => Cell::Int(number(text)),
        // A function is written by its name there; what it is called here does not matter, whether there is one does.
        "regproc" => Cell::Int(text.parse().unwrap_or_else(|_| i64::from(super::procedure_oid(text)))),
        "float4" | "float8" => Cell::Float(text.parse().unwrap_or(0.0)),
        "int2vector" | "oidvector" => {
            Cell::Ints(text.split(' ').filter(|t| !t.is_empty()).map(number).collect())
        }
        "text[]" | "name[]" | "char[]" | "aclitem[]" => {
            let inner = text.trim_start_matches('{').trim_end_matches('}');
            Cell::Texts(inner.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect())
        }
        array if array.ends_with("[]") => {
            let inner = text.trim_start_matches('{').trim_end_matches('}');
            Cell::Ints(inner.split(',').filter(|t| !t.is_empty()).map(number).collect())
        }
        _ => Cell::Text(text.replace("\\\\", "\\")),
    }
}

/// The cells as an array of the field's type.
pub fn array(field: &Field, cells: &[Cell]) -> Result<ArrayRef> {
    let int = |cell: &Cell| match cell {
        Cell::Int(value) => Some(*value),
        _ => None,
    };
    let ints = cells.iter().map(int);
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(
            cells
                .iter()
                .map(|c| if let Cell::Bool(b) = c { Some(*b) } else { None })
                .collect::<BooleanArray>(),
        ),
        DataType::Int16 => Arc::new(ints.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        DataType::Int32 => Arc::new(ints.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(ints.collect::<Int64Array>()),
        DataType::Float32 => {
            Arc::new(cells.iter().map(|c| real(c).map(|v| v as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(cells.iter().map(real).collect::<Float64Array>()),
        DataType::Timestamp(_, _) => {
            Arc::new(ints.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        DataType::Utf8 => Arc::new(cells.iter().map(text).collect::<StringArray>()),
        DataType::List(element) if element.data_type() == &DataType::Utf8 => texts(cells),
        DataType::List(element) if element.data_type() == &super::relations::acl_item() => {
            acl_items(cells, element)?
        }
        DataType::List(element) if element.data_type().is_nested() => expanded(cells, element)?,
        DataType::List(_) => cast(&numbers(cells), field.data_type()).map_err(internal)?,
        other => new_null_array(other, cells.len()),
    })
}

fn real(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        Cell::Int(value) => Some(*value as f64),
        _ => None,
    }
}

fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn texts(cells: &[Cell]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for cell in cells {
        match cell {
            Cell::Texts(texts) => builder.append_value(texts.iter().map(Some)),
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

/// Arrays of elements with their numbers.
fn expanded(cells: &[Cell], element: &FieldRef) -> Result<ArrayRef> {
    let (mut values, mut positions, mut lengths) = (vec![], vec![], vec![]);
    for cell in cells {
        let numbers: &[i64] = if let Cell::Ints(numbers) = cell { numbers } else { &[] };
        values.extend_from_slice(numbers);
        positions.extend(1..=numbers.len() as i32);
        lengths.push(numbers.len());
    }
    let DataType::Struct(fields) = element.data_type() else { return Err(Error::internal("not a struct")) };
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(values)), Arc::new(Int32Array::from(positions))];
    let elements = StructArray::try_new(fields.clone(), columns, None).map_err(internal)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(
        ListArray::try_new(Arc::clone(element), offsets, Arc::new(elements), None).map_err(internal)?,
    ))
}

/// Arrays of rights.
fn acl_items(cells: &[Cell], element: &FieldRef) -> Result<ArrayRef> {
    let none: &[(u32, u32, String, bool)] = &[];
    let lists = cells.iter().map(|cell| if let Cell::Items(items) = cell { items.as_slice() } else { none });
    let lists: Vec<_> = lists.collect();
    let all = || lists.iter().flat_map(|items| items.iter());
    let DataType::Struct(fields) = element.data_type() else { return Err(Error::internal("not a struct")) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|item| Some(i64::from(item.0))).collect::<Int64Array>()),
        Arc::new(all().map(|item| Some(i64::from(item.1))).collect::<Int64Array>()),
        Arc::new(all().map(|item| Some(item.2.as_str())).collect::<StringArray>()),
        Arc::new(all().map(|item| Some(item.3)).collect::<BooleanArray>()),
    ];
    let items = StructArray::try_new(fields.clone(), columns, None).map_err(internal)?;
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|items| items.len()));
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, Arc::new(items), None).map_err(internal)?))
}

fn numbers(cells: &[Cell]) -> ArrayRef {
    let mut builder = ListBuilder::new(Int64Builder::new());
    for cell in cells {
        match cell {
            Cell::Ints(numbers) => builder.append_value(numbers.iter().copied().map(Some)),
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}
