//! One statement's result in the format that was asked for.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonFormat, Writer as JsonWriter, WriterBuilder as JsonBuilder};

use super::cell;
use super::table::TablePrinter;
use crate::repl::terminal::Style;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// A header line, then one line a row.
    Csv,
    /// One array of objects for each statement.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            _ => Err(format!("no format {name}: choose table, csv or json")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
        })
    }
}

/// Whether tables show one column a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expanded {
    /// Always.
    On,
    /// Never.
    Off,
    /// When the row does not fit the screen.
    #[default]
    Auto,
}

/// What tables are drawn on; without a width, lines are as long as they need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: Option<usize>,
    pub(crate) style: Style,
}

/// Writes the batches of one statement, as they come.
#[derive(Debug)]
pub(crate) enum ResultWriter {
    /// See [`Format::Table`].
    Table(Box<TablePrinter>),
    /// See [`Format::Csv`]; the flag is set once the header is out.
    Csv(SchemaRef, bool),
    /// See [`Format::Json`]; the flag is set once a row is out.
    Json(bool),
}

impl ResultWriter {
    /// A writer for results of this schema.
    pub(crate) fn new(format: Format, schema: SchemaRef, screen: Screen, expanded: Expanded) -> Self {
        match format {
            Format::Table => Self::Table(Box::new(TablePrinter::new(&schema, screen, expanded))),
            Format::Csv => Self::Csv(schema, false),
            Format::Json => Self::Json(false),
        }
    }

    /// Writes one batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table(printer) => printer.write(batch, out),
            Self::Csv(_, header_written) => {
                let header = !std::mem::replace(header_written, true);
                write_csv(batch, header, out).map_err(io::Error::other)
            }
            Self::Json(started) => {
                let first = !*started;
                *started |= batch.num_rows() > 0;
                write_json(batch, first, out).map_err(io::Error::other)
            }
        }
    }

    /// Writes what closes the result.
    pub(crate) fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table(printer) => printer.finish(out),
            Self::Csv(_, true) => Ok(()),
            Self::Csv(schema, false) => {
                write_csv(&RecordBatch::new_empty(schema), true, out).map_err(io::Error::other)
            }
            Self::Json(true) => writeln!(out, "\n]"),
            Self::Json(false) => writeln!(out, "[]"),
        }
    }
}

fn write_csv(batch: &RecordBatch, header: bool, out: &mut dyn Write) -> Result<(), ArrowError> {
    CsvBuilder::new()
        .with_header(header)
        .with_timestamp_format(cell::TIMESTAMP.to_owned())
        .with_timestamp_tz_format(cell::TIMESTAMP_TZ.to_owned())
        .with_datetime_format(cell::TIMESTAMP.to_owned())
        .with_time_format(cell::TIME.to_owned())
        .build(out)
        .write(&flat(batch)?)
}

/// CSV has no nested values: they become their text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            columns.push(Arc::new(StringArray::from(cell::texts(column)?)) as ArrayRef);
            fields.push(field.as_ref().clone().with_data_type(DataType::Utf8).with_nullable(true));
        } else {
            columns.push(Arc::clone(column));
            fields.push(field.as_ref().clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Rows of an array, one a line; the brackets around them are written once a statement.
#[derive(Debug, Default)]
struct ArrayRows;

impl JsonFormat for ArrayRows {
    fn start_row<W: Write>(&self, out: &mut W, is_first: bool) -> Result<(), ArrowError> {
        Ok(out.write_all(if is_first { b"" } else { b",\n" })?)
    }
}

fn write_json(batch: &RecordBatch, first: bool, out: &mut dyn Write) -> Result<(), ArrowError> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    out.write_all(if first { b"[\n" } else { b",\n" })?;
    let mut writer: JsonWriter<_, ArrayRows> = JsonBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(cell::TIMESTAMP.to_owned())
        .with_timestamp_tz_format(cell::TIMESTAMP_TZ.to_owned())
        .with_datetime_format(cell::TIMESTAMP.to_owned())
        .with_time_format(cell::TIME.to_owned())
        .build(out);
    writer.write(batch)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Float64Array, ListArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn sample() -> RecordBatch {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None]));
        let lists: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None]));
        RecordBatch::try_from_iter_with_nullable([
            ("day", days, true),
            ("units", floats, true),
            ("lags", lists, true),
        ])
        .unwrap()
    }

    fn written(format: Format, batches: &[RecordBatch]) -> String {
        let screen = Screen { width: None, style: Style::PLAIN };
        let mut writer = ResultWriter::new(format, sample().schema(), screen, Expanded::Auto);
        let mut out = Vec::new();
        for batch in batches {
            writer.write(batch, &mut out).unwrap();
        }
        writer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_has_one_header_and_floats_that_read_back_exactly() {
        let expected = "day,units,lags\n1970-01-01,0.30000000000000004,\"[1, 2]\"\n,,\n";
        assert_eq!(written(Format::Csv, &[sample()]), expected);
        let twice = written(Format::Csv, &[sample(), sample()]);
        assert_eq!(twice.matches("day,units").count(), 1);
        assert_eq!(written(Format::Csv, &[]), "day,units,lags\n");
    }

    #[test]
    fn json_is_one_valid_array_whatever_the_batches() {
        let empty = RecordBatch::new_empty(sample().schema());
        for (batches, rows) in [(vec![], 0), (vec![empty.clone()], 0), (vec![sample(), empty, sample()], 4)] {
            let value: serde_json::Value = serde_json::from_str(&written(Format::Json, &batches)).unwrap();
            assert_eq!(value.as_array().unwrap().len(), rows);
        }
        let value: serde_json::Value = serde_json::from_str(&written(Format::Json, &[sample()])).unwrap();
        assert_eq!(value[0]["units"], 0.1 + 0.2);
        assert!(value[1].as_object().unwrap().contains_key("units"));
    }
}
