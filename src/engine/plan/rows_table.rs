//! Batches of rows as a table of numbers, words and texts.

use std::collections::HashSet;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Date32Type, Float64Type, TimestampMicrosecondType};

use crate::error::{Error, Result};
use crate::ml::supervised::{Column, ColumnKind, Table, Values, Words};

/// Microseconds of a day.
const DAY: f64 = 86_400e6;
/// Words of a mean text, and distinct texts among all, from which on a column is read as texts.
const TEXT: (f64, f64) = (3.0, 0.2);
/// Share of distinct words from which on a column only tells rows apart.
const IDENTIFIERS: f64 = 0.5;
/// Rows from which on that is looked for.
const ROWS_MIN: usize = 50;

/// True for a type that a column of rows may have.
pub fn is_readable(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_string()
        || matches!(
            data_type,
            DataType::Boolean | DataType::Date32 | DataType::Timestamp(..) | DataType::Null
        )
}

/// An empty table of columns with these names; those of texts are texts whatever they hold.
pub fn empty<'a>(columns: impl Iterator<Item = (&'a str, &'a DataType, Option<ColumnKind>)>) -> Table {
    let column = |(name, data_type, kind): (&str, &DataType, Option<ColumnKind>)| {
        let words = data_type.is_string() || matches!(kind, Some(ColumnKind::Category | ColumnKind::Text));
        Column {
            name: name.to_owned(),
            kind: kind.unwrap_or(if words { ColumnKind::Category } else { ColumnKind::Number }),
            values: if words { Values::Words(Words::default()) } else { Values::Numbers(vec![]) },
        }
    };
    Table { columns: columns.map(column).collect(), rows: 0 }
}

/// Adds the rows of a batch, whose columns from `first` on are those of the table.
pub fn append(table: &mut Table, batch: &RecordBatch, first: usize) -> Result<()> {
    for (column, values) in table.columns.iter_mut().zip(&batch.columns()[first..]) {
        match &mut column.values {
            Values::Numbers(numbers) => {
                let found = as_numbers(values)?;
                let found = found.as_primitive::<Float64Type>();
                // Infinite numbers are as good as none.
                numbers.extend(found.iter().map(|x| x.filter(|x| x.is_finite()).unwrap_or(f64::NAN)));
            }
            Values::Words(words) => {
                let texts = cast(values, &DataType::Utf8).map_err(|e| Error::internal(e.to_string()))?;
                texts.as_string::<i32>().iter().for_each(|text| words.push(text));
            }
        }
    }
    table.rows += batch.num_rows();
    Ok(())
}

/// A column as numbers: days of dates, 0 and 1 of conditions.
fn as_numbers(values: &dyn Array) -> Result<datafusion::arrow::array::ArrayRef> {
    use datafusion::arrow::array::Float64Array;
    use std::sync::Arc;
    let internal = |e: datafusion::arrow::error::ArrowError| Error::internal(e.to_string());
    Ok(match values.data_type() {
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().iter();
            Arc::new(days.map(|day| day.map(f64::from)).collect::<Float64Array>())
        }
        DataType::Timestamp(..) => {
            let micros = DataType::Timestamp(datafusion::arrow::datatypes::TimeUnit::Microsecond, None);
            let micros = cast(values, &micros).map_err(internal)?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>().iter();
            Arc::new(micros.map(|at| at.map(|at| at as f64 / DAY)).collect::<Float64Array>())
        }
        DataType::Boolean => {
            let flags = values.as_boolean().iter();
            Arc::new(flags.map(|flag| flag.map(|flag| f64::from(u8::from(flag)))).collect::<Float64Array>())
        }
        _ => cast(values, &DataType::Float64).map_err(internal)?,
    })
}

/// Decides what columns without a given kind are read as; names those that are left out, with the reason.
pub fn settle(table: &mut Table, given: &HashSet<String>) -> Vec<(String, String)> {
    let (mut left_out, rows) = (vec![], table.rows);
    table.columns.retain_mut(|column| {
        if given.contains(&column.name) {
            return true;
        }
        let why = match &column.values {
            Values::Numbers(numbers) => {
                let distinct: HashSet<u64> = numbers.iter().map(|x| x.to_bits()).collect();
                let whole = numbers.iter().all(|x| x.fract() == 0.0);
                let name = column.name.to_lowercase();
                let named = name == "id" || name.ends_with("_id");
                match () {
                    () if distinct.len() <= 1 => Some("it is the same in all rows"),
                    () if named && whole && distinct.len() == rows && rows >= ROWS_MIN => {
                        Some("it is another one in every row")
                    }
                    () => None,
                }
            }
            Values::Words(words) => {
                let distinct = words.labels.len() as f64 / rows.max(1) as f64;
                let length = |text: &String| text.split_whitespace().count() as f64;
                let mean = words.labels.iter().map(length).sum::<f64>() / words.labels.len().max(1) as f64;
                if mean >= TEXT.0 && distinct > TEXT.1 {
                    column.kind = ColumnKind::Text;
                    None
                } else if words.labels.len() <= 1 && words.codes.iter().all(|code| *code == 0) {
                    Some("it is the same in all rows")
                } else if distinct > IDENTIFIERS && rows >= ROWS_MIN {
                    Some("it is another one in most rows")
                } else {
                    None
                }
            }
        };
        left_out.extend(why.map(|why| (column.name.clone(), why.to_owned())));
        why.is_none()
    });
    left_out
}
