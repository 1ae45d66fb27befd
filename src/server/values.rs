//! PostgreSQL's forms of values for programs that hold arrow arrays or bytes of the wire.

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};
use bytes::{Bytes, BytesMut};

use super::decode;
use super::run::{Formats, writers};
use crate::error::Result;
use crate::postgres::{self, Format, Style, Zone};

/// The number of the type in `pg_type` that clients are told for a column.
pub fn type_oid(field: &Field) -> u32 {
    postgres::of_field(field).oid
}

/// The rows as psql shows them, with times in UTC; `None` for NULL.
pub fn rows_as_text(columns: &SchemaRef, batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let style = Style { zone: Zone::Utc, escape_bytes: false };
    let writers = writers(batch, columns, &Formats::default(), style)?;
    let mut out = BytesMut::new();
    let rows = (0..batch.num_rows()).map(|row| {
        let text = |writer: &crate::postgres::ColumnWriter<'_>| {
            out.clear();
            (!writer.is_null(row)).then(|| {
                writer.write(row, &mut out);
                String::from_utf8_lossy(&out).into_owned()
            })
        };
        writers.iter().map(text).collect()
    });
    Ok(rows.collect())
}

/// The text of a value in binary form of the type with this number.
pub fn binary_as_text(value: &[u8], type_oid: u32) -> Result<String> {
    decode::text(Bytes::copy_from_slice(value), type_oid, Format::Binary)
}
