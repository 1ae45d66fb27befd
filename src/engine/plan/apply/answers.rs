//! What the rows of a subquery say, for one combination of outer values and for many at once.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StructArray, UInt32Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{cast, concat_batches, take};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::scalar::ScalarValue;

use super::Kind;
use crate::error::{Error, ErrorKind, Subject};

/// The answer of this type for each of so many outer values; the first column of the rows is the place of theirs.
pub(super) fn for_all(kind: Kind, rows: &RecordBatch, count: usize, of: &DataType) -> Result<ArrayRef> {
    let places: Vec<usize> =
        rows.column(0).as_primitive::<Int64Type>().values().iter().map(|place| *place as usize).collect();
    let columns = &rows.columns()[1..];
    match (kind, columns) {
        (Kind::Rows, _) => rows_of_each(&places, columns, count, of),
        (Kind::Scalar, [column]) => only_values(&places, column, count, of),
        (Kind::Exists, []) => {
            let mut exist = vec![false; count];
            places.into_iter().for_each(|place| exist[place] = true);
            Ok(Arc::new(BooleanArray::from(exist)))
        }
        (Kind::In, [found, unsure]) => {
            let mut among = vec![Some(false); count];
            for (row, place) in places.into_iter().enumerate() {
                let is = |flags: &ArrayRef| flags.is_valid(row) && flags.as_boolean().value(row);
                among[place] = if is(found) { Some(true) } else { (!is(unsure)).then_some(false) };
            }
            Ok(Arc::new(BooleanArray::from(among)))
        }
        _ => Err(Error::internal("a subquery has other columns than were asked for").into()),
    }
}

/// The value of the only row of each, NULL without one.
fn only_values(places: &[usize], column: &ArrayRef, count: usize, of: &DataType) -> Result<ArrayRef> {
    let mut found = vec![None; count];
    for (row, place) in (0_u32..).zip(places) {
        if found[*place].replace(row).is_some() {
            return Err(more_than_one_row());
        }
    }
    Ok(cast(&take(column, &UInt32Array::from(found), None)?, of)?)
}

/// The rows of each as a list, in the order in which they come, NULL without any.
fn rows_of_each(places: &[usize], columns: &[ArrayRef], count: usize, of: &DataType) -> Result<ArrayRef> {
    let mut found: Vec<Vec<u32>> = vec![vec![]; count];
    for (row, place) in (0_u32..).zip(places) {
        found[*place].push(row);
    }
    let offsets = OffsetBuffer::from_lengths(found.iter().map(Vec::len));
    let nulls = NullBuffer::from_iter(found.iter().map(|rows| !rows.is_empty()));
    let order = UInt32Array::from(found.concat());
    let columns = columns.iter().map(|column| Ok(take(column, &order, None)?)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(lists(&columns, order.len(), offsets, Some(nulls), of)?))
}

pub(super) fn more_than_one_row() -> DataFusionError {
    let message = "more than one row returned by a subquery used as an expression";
    Error::new(ErrorKind::Data, Subject::Statement, message).into()
}

/// Rows as one value of this type of lists.
pub(super) fn listed(rows: &[RecordBatch], list: &DataType) -> Result<ScalarValue> {
    let rows = concat_batches(&rows[0].schema(), rows)?;
    let offsets = OffsetBuffer::from_lengths([rows.num_rows()]);
    Ok(ScalarValue::List(Arc::new(lists(rows.columns(), rows.num_rows(), offsets, None, list)?)))
}

/// Lists of this type: the rows between two offsets each.
fn lists(
    columns: &[ArrayRef],
    rows: usize,
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    list: &DataType,
) -> Result<ListArray> {
    let DataType::List(item) = list else { return Err(Error::internal("rows are a list").into()) };
    let DataType::Struct(parts) = item.data_type() else {
        return Err(Error::internal("a row is a struct").into());
    };
    let columns = columns.iter().zip(parts).map(|(column, part)| cast(column, part.data_type()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let rows = StructArray::try_new_with_length(parts.clone(), columns, None, rows)?;
    Ok(ListArray::try_new(Arc::clone(item), offsets, Arc::new(rows), nulls)?)
}

/// Whether a value is among the first column of rows, in SQL's logic of three values.
pub(super) fn among(wanted: &ScalarValue, rows: &[RecordBatch]) -> Result<ScalarValue> {
    let mut unsure = false;
    for batch in rows {
        let (found, given) = (batch.column(0).data_type(), wanted.data_type());
        let common = comparison_coercion(found, &given).unwrap_or(given);
        let wanted = wanted.cast_to(&common)?;
        for row in 0..batch.num_rows() {
            let value = ScalarValue::try_from_array(batch.column(0), row)?;
            if value.is_null() || wanted.is_null() {
                unsure = true;
            } else if value.cast_to(&common)? == wanted {
                return Ok(ScalarValue::Boolean(Some(true)));
            }
        }
    }
    Ok(ScalarValue::Boolean(if unsure { None } else { Some(false) }))
}
