//! Which rows and columns of a result become which line.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result, Subject, did_you_mean};

use crate::repl::output::{is_numeric, texts};

/// More lines than this cannot be told apart.
const LINES_MAX: usize = 6;
/// Numbers that say where a row stands, not how much was sold.
const POSITIONS: [&str; 3] = ["step", "model_version", "version"];
/// Texts that say how a row came about, not which series it belongs to.
const REMARKS: [&str; 2] = ["status", "kind"];

/// Lines over one horizontal axis.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) axis: Axis,
    pub(super) x: Vec<f64>,
    pub(super) lines: Vec<Line>,
    pub(super) interval: Option<Interval>,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// Seconds since 1970.
    Time,
    /// Rows of the result.
    Row,
}

/// One column of numbers.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) y: Vec<Option<f64>>,
}

/// The bounds of a forecast.
#[derive(Debug)]
pub(super) struct Interval {
    pub(super) lower: Vec<Option<f64>>,
    pub(super) upper: Vec<Option<f64>>,
}

struct Request<'a> {
    columns: Vec<&'a str>,
    filters: Vec<(&'a str, &'a str)>,
}

/// Picks time, values and one series out of a result.
pub(super) fn select(batches: &[RecordBatch], request: &str) -> Result<Chart> {
    let first = batches.first().ok_or_else(nothing_to_plot)?;
    let all = concat_batches(&first.schema(), batches).map_err(arrow_error)?;
    let request = parse(request, &all)?;
    let filtered = keep_requested(&all, &request.filters)?;
    if filtered.num_rows() == 0 {
        return Err(nothing_to_plot());
    }
    if filtered.num_rows() == 1 {
        return Err(Error::input(Subject::Statement, "one row makes no line: a chart needs two or more"));
    }
    let time = filtered.schema().fields().iter().position(|f| f.data_type().is_temporal());
    let values = value_columns(&filtered, time, &request.columns)?;
    let (series, title) = match time {
        Some(time) => one_series(&filtered, time, &values)?,
        None => (filtered, String::new()),
    };
    let series = match time {
        Some(time) => sorted_by(&series, time)?,
        None => series,
    };
    build(&series, time, &values, title)
}

fn build(series: &RecordBatch, time: Option<usize>, values: &[usize], title: String) -> Result<Chart> {
    let (axis, x) = match time {
        Some(time) => (Axis::Time, seconds(series.column(time))?.into_iter().flatten().collect()),
        None => (Axis::Row, (1..=series.num_rows()).map(|row| row as f64).collect()),
    };
    let schema = series.schema();
    let line = |column: &usize| -> Result<Line> {
        Ok(Line { name: schema.field(*column).name().clone(), y: doubles(series.column(*column))? })
    };
    let bound =
        |name: &str| series.column_by_name(name).filter(|c| is_numeric(c.data_type())).map(|c| doubles(c));
    let shows_forecast = values.iter().any(|column| schema.field(*column).name() == "forecast");
    let interval = match (bound("lower_bound"), bound("upper_bound")) {
        (Some(lower), Some(upper)) if shows_forecast => Some(Interval { lower: lower?, upper: upper? }),
        _ => None,
    };
    Ok(Chart { title, axis, x, lines: values.iter().map(line).collect::<Result<_>>()?, interval })
}

fn parse<'a>(request: &'a str, batch: &RecordBatch) -> Result<Request<'a>> {
    let mut parsed = Request { columns: Vec::new(), filters: Vec::new() };
    for word in request.split_whitespace() {
        match word.split_once('=') {
            Some((column, value)) => parsed.filters.push((column, value)),
            None => parsed.columns.push(word),
        }
    }
    for name in parsed.columns.iter().chain(parsed.filters.iter().map(|(column, _)| column)) {
        if batch.schema().index_of(name).is_err() {
            let schema = batch.schema();
            let near = did_you_mean(name, schema.fields().iter().map(|f| f.name().as_str()));
            return Err(Error::not_found(
                Subject::Column,
                format!("no column {name} in the last result{near}"),
            ));
        }
    }
    Ok(parsed)
}

/// Rows with these values and with a time.
fn keep_requested(batch: &RecordBatch, filters: &[(&str, &str)]) -> Result<RecordBatch> {
    let mut keep = vec![true; batch.num_rows()];
    for (column, value) in filters {
        let cells = batch.column_by_name(column).map(|c| texts(c)).transpose().map_err(arrow_error)?;
        for (keep, cell) in keep.iter_mut().zip(cells.unwrap_or_default()) {
            *keep &= cell.as_deref() == Some(*value);
        }
    }
    if let Some(time) = batch.columns().iter().find(|c| c.data_type().is_temporal()) {
        keep.iter_mut().enumerate().for_each(|(row, keep)| *keep &= time.is_valid(row));
    }
    filter_record_batch(batch, &BooleanArray::from(keep)).map_err(arrow_error)
}

/// The requested columns; else forecasts beside actuals; else the numbers that are no keys.
fn value_columns(batch: &RecordBatch, time: Option<usize>, requested: &[&str]) -> Result<Vec<usize>> {
    let schema = batch.schema();
    let numeric = |index: usize| is_numeric(schema.field(index).data_type());
    if !requested.is_empty() {
        let columns: Vec<usize> = requested.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        return match columns.iter().find(|column| !numeric(**column)) {
            Some(text) => {
                let name = schema.field(*text).name();
                let message =
                    format!("column {name} is no number; \\plot {name}=value keeps the rows of one value");
                Err(Error::input(Subject::Column, message))
            }
            None => Ok(columns.into_iter().take(LINES_MAX).collect()),
        };
    }
    let named = |name: &&str| schema.index_of(name).ok().filter(|index| numeric(*index));
    let forecast: Vec<usize> = ["actual", "forecast"].iter().filter_map(named).collect();
    if schema.index_of("forecast").is_ok() && !forecast.is_empty() {
        return Ok(forecast);
    }
    let measures = |from: usize| -> Vec<usize> {
        (from..schema.fields().len())
            .filter(|i| numeric(*i) && !POSITIONS.contains(&schema.field(*i).name().as_str()))
            .take(LINES_MAX)
            .collect()
    };
    let after_time = measures(time.map_or(0, |time| time + 1));
    let columns = if after_time.is_empty() { measures(0) } else { after_time };
    if columns.is_empty() { Err(nothing_to_plot()) } else { Ok(columns) }
}

/// The rows of the first series when times repeat, and the words that say which one it is.
fn one_series(batch: &RecordBatch, time: usize, values: &[usize]) -> Result<(RecordBatch, String)> {
    let times = texts(batch.column(time)).map_err(arrow_error)?;
    if times.iter().collect::<HashSet<_>>().len() == times.len() {
        return Ok((batch.clone(), String::new()));
    }
    let schema = batch.schema();
    let is_text = |i: usize| {
        !is_numeric(schema.field(i).data_type()) && !REMARKS.contains(&schema.field(i).name().as_str())
    };
    let keys: Vec<usize> = (0..schema.fields().len())
        .filter(|i| !values.contains(i) && *i != time && (*i < time || is_text(*i)))
        .collect();
    let columns: Vec<_> =
        keys.iter().map(|k| texts(batch.column(*k))).collect::<Result<_, _>>().map_err(arrow_error)?;
    let key_of = |row: usize| columns.iter().map(|c| c[row].as_deref().unwrap_or("NULL")).collect::<Vec<_>>();
    let first = key_of(0);
    let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(key_of(row) == first)).collect();
    let series = (0..batch.num_rows()).map(key_of).collect::<BTreeSet<_>>().len();
    let names = keys.iter().zip(&first).map(|(k, value)| format!("{}={value}", schema.field(*k).name()));
    let mut title = names.collect::<Vec<_>>().join(" ");
    if series > 1 {
        title += &format!("   (1 of {series} series; \\plot {} picks another)", example(&schema, &keys));
    }
    Ok((filter_record_batch(batch, &mask).map_err(arrow_error)?, title))
}

fn example(schema: &arrow::datatypes::Schema, keys: &[usize]) -> String {
    keys.iter().map(|k| format!("{}=…", schema.field(*k).name())).collect::<Vec<_>>().join(" ")
}

fn sorted_by(batch: &RecordBatch, time: usize) -> Result<RecordBatch> {
    let order = arrow::compute::sort_to_indices(batch.column(time), None, None).map_err(arrow_error)?;
    let columns = arrow::compute::take_arrays(batch.columns(), &order, None).map_err(arrow_error)?;
    RecordBatch::try_new(batch.schema(), columns).map_err(arrow_error)
}

fn seconds(column: &dyn Array) -> Result<Vec<Option<f64>>> {
    let times = match column.data_type() {
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => {
            cast(column, &DataType::Int64)
        }
        _ => cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))
            .and_then(|t| cast(&t, &DataType::Int64)),
    };
    let times = times.map_err(arrow_error)?;
    Ok(times.as_primitive::<Int64Type>().iter().map(|t| t.map(|t| t as f64 / 1000.0)).collect())
}

fn doubles(column: &dyn Array) -> Result<Vec<Option<f64>>> {
    let values = cast(column, &DataType::Float64).map_err(arrow_error)?;
    Ok(values.as_primitive::<Float64Type>().iter().map(|v| v.filter(|v| v.is_finite())).collect())
}

fn nothing_to_plot() -> Error {
    Error::input(Subject::Statement, "the last result has no rows with numbers to plot")
        .with_hint("run a SELECT with a date or time column and a numeric column, then \\plot")
}

fn arrow_error(error: ArrowError) -> Error {
    Error::internal(format!("the last result cannot be plotted: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn forecasts() -> RecordBatch {
        let store: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 2]));
        let day: ArrayRef = Arc::new(Date32Array::from(vec![1, 0, 0, 1]));
        let actual: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(4.0), Some(7.0), None]));
        let forecast: ArrayRef = Arc::new(Float64Array::from(vec![Some(5.0), None, None, Some(8.0)]));
        let status: ArrayRef = Arc::new(StringArray::from(vec![Some("extended"), None, None, None]));
        RecordBatch::try_from_iter_with_nullable([
            ("store_id", store, false),
            ("day", day, false),
            ("actual", actual, true),
            ("forecast", Arc::clone(&forecast), true),
            ("lower_bound", Arc::clone(&forecast), true),
            ("upper_bound", forecast, true),
            ("status", status, true),
        ])
        .unwrap()
    }

    #[test]
    fn one_series_is_drawn_in_time_order_with_its_interval() {
        let chart = select(&[forecasts()], "").unwrap();
        assert_eq!(chart.x, [0.0, 86400.0]);
        assert_eq!(chart.lines.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["actual", "forecast"]);
        assert_eq!(chart.lines[0].y, [Some(4.0), None]);
        assert!(chart.interval.is_some());
        assert!(chart.title.starts_with("store_id=1   (1 of 2 series"), "{}", chart.title);
    }

    #[test]
    fn requests_pick_series_and_columns_and_name_what_is_missing() {
        let chart = select(&[forecasts()], "store_id=2 forecast").unwrap();
        assert_eq!((chart.lines.len(), chart.lines[0].y.clone()), (1, vec![None, Some(8.0)]));
        let error = select(&[forecasts()], "forcast").unwrap_err();
        assert_eq!(error.message(), "no column forcast in the last result; did you mean forecast?");
        assert!(select(&[forecasts()], "status").is_err());
        assert!(select(&[forecasts()], "store_id=9").is_err());
        assert!(select(&[], "").is_err());
    }
}
