//! Lags and rolling means of sorted batches in one pass: every row is read once, whatever the windows.

use std::sync::Arc;

use datafusion::arrow::array::make_comparator;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::compute::kernels::cast;
use datafusion::arrow::compute::{SortOptions, partition};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::Result as DataFusionResult;

use crate::error::{Error, Result};

/// The order of keys and time that input rows must have.
pub const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Which features of which columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Rows back, each at least 1.
    pub lags: Vec<usize>,
    /// Rows in a rolling mean, each at least 1.
    pub rolling: Vec<usize>,
    /// Rows between a row and the last row of its rolling windows, at least 1.
    pub shift: usize,
}

impl Windows {
    /// Names of the feature columns, in order.
    pub fn names(&self) -> Vec<String> {
        let lags = self.lags.iter().map(|k| format!("lag_{k}"));
        lags.chain(self.rolling.iter().map(|w| format!("rolling_mean_{w}"))).collect()
    }

    /// Rows of history that a row needs.
    fn lookback(&self) -> usize {
        let lag = self.lags.iter().copied().max().unwrap_or(0);
        let window = self.rolling.iter().copied().max().map_or(0, |w| w + self.shift);
        lag.max(window)
    }
}

/// Where the columns are in the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Columns {
    /// The value that is lagged.
    pub target: usize,
    /// The series keys.
    pub keys: Vec<usize>,
    /// The time.
    pub time: usize,
}

/// Sum and number of the values present in some rows.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    sum: f64,
    present: usize,
}

impl Total {
    fn with(self, value: f64) -> Self {
        if value.is_nan() { self } else { Self { sum: self.sum + value, present: self.present + 1 } }
    }

    fn mean_with(self, other: Self) -> f64 {
        match self.present + other.present {
            0 => f64::NAN,
            present => (self.sum + other.sum) / present as f64,
        }
    }
}

/// A rolling sum of one series on its way, as the end of one block of rows and the begin of the next one.
///
/// Blocks are as long as the window, so every window is one end and one begin: nothing is ever subtracted,
/// rounding does not accumulate, and an extreme value leaves the sum with its row.
#[derive(Debug, Clone, Default)]
struct RollingSum {
    /// Rows that have entered the windows of the series so far.
    entered: usize,
    head: Total,
    /// Totals of the block before from each of its rows to its last.
    tails: Vec<Total>,
}

/// Appends feature columns to batches sorted by keys and time; a series may span batches.
#[derive(Debug)]
pub struct LagFeatures {
    columns: Columns,
    windows: Windows,
    schema: SchemaRef,
    lookback: usize,
    /// The last `lookback` values of the current series (NaN is missing), then the values of the current run.
    values: Vec<f64>,
    sums: Vec<RollingSum>,
    last: Option<(Vec<ArrayRef>, i64)>,
}

impl LagFeatures {
    /// Features of rows whose output has this schema.
    pub fn new(columns: Columns, windows: Windows, schema: SchemaRef) -> Self {
        let (lookback, sums) = (windows.lookback(), vec![RollingSum::default(); windows.rolling.len()]);
        Self { columns, windows, schema, lookback, values: vec![], sums, last: None }
    }

    /// The batch with its features.
    pub fn extend(&mut self, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
        let n = batch.num_rows();
        let target = cast::cast(batch.column(self.columns.target), &DataType::Float64)?;
        let times = self.times(batch)?;
        let mut features = vec![vec![f64::NAN; n]; self.windows.names().len()];
        if n > 0 {
            let runs = self.runs(batch)?;
            self.check_order(batch, &runs, &times)?;
            for (start, end) in runs {
                self.append(target.as_primitive(), start, end)?;
                self.features(&mut features, start, end);
                self.forget();
            }
            let keys = self.columns.keys.iter().map(|k| batch.column(*k).slice(n - 1, 1)).collect();
            self.last = Some((keys, times[n - 1]));
        }
        let features = features.into_iter().map(|f| Arc::new(nullable(f)) as ArrayRef);
        let columns = batch.columns().iter().cloned().chain(features).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn times(&self, batch: &RecordBatch) -> DataFusionResult<Vec<i64>> {
        let column = batch.column(self.columns.time);
        if column.null_count() > 0 {
            let name = self.name(self.columns.time);
            let message =
                format!("lag_features: {name} is NULL in a row; the time of every row must be known");
            return Err(Error::data(message).into());
        }
        let narrow = match column.data_type() {
            DataType::Date32 => cast::cast(column, &DataType::Int32)?,
            _ => Arc::clone(column),
        };
        let times = cast::cast(&narrow, &DataType::Int64)?;
        Ok(times.as_primitive::<Int64Type>().values().to_vec())
    }

    /// Ranges of rows with equal keys.
    fn runs(&self, batch: &RecordBatch) -> DataFusionResult<Vec<(usize, usize)>> {
        if self.columns.keys.is_empty() {
            return Ok(vec![(0, batch.num_rows())]);
        }
        let keys: Vec<ArrayRef> = self.columns.keys.iter().map(|k| Arc::clone(batch.column(*k))).collect();
        Ok(partition(&keys)?.ranges().into_iter().map(|r| (r.start, r.end)).collect())
    }

    /// Every series follows the one before it, every row is later than the one before it; a new series starts afresh.
    fn check_order(
        &mut self,
        batch: &RecordBatch,
        runs: &[(usize, usize)],
        times: &[i64],
    ) -> DataFusionResult<()> {
        let continued = match &self.last {
            None => false,
            Some((keys, time)) => match compare(batch, &self.columns.keys, keys, 0)? {
                std::cmp::Ordering::Equal => {
                    self.check_time(batch, *time, times[0], 0)?;
                    true
                }
                order => self.check_series(order).map(|()| false)?,
            },
        };
        if !continued {
            self.start_series();
        }
        for pair in runs.windows(2) {
            let boundary = pair[1].0;
            let before: Vec<ArrayRef> =
                self.columns.keys.iter().map(|k| batch.column(*k).slice(boundary - 1, 1)).collect();
            self.check_series(compare(batch, &self.columns.keys, &before, boundary)?)?;
        }
        for (start, end) in runs {
            let late = times[*start..*end].windows(2).position(|pair| pair[0] >= pair[1]);
            if let Some(i) = late {
                let row = start + i + 1;
                self.check_time(batch, times[row - 1], times[row], row)?;
            }
        }
        Ok(())
    }

    fn check_series(&self, order: std::cmp::Ordering) -> Result<()> {
        if order == std::cmp::Ordering::Less {
            return Ok(());
        }
        Err(Error::internal("lag_features: the rows of its input are not in the order of their series"))
    }

    fn check_time(&self, batch: &RecordBatch, before: i64, time: i64, row: usize) -> Result<()> {
        if time > before {
            return Ok(());
        }
        let place = self.place(batch, row);
        if time < before {
            let message =
                format!("lag_features: the rows of its input are not in the order of time at {place}");
            return Err(Error::internal(message));
        }
        let message = format!("lag_features: more than one row for {place}; a series has one row a time");
        Err(Error::data(message).with_hint("aggregate the rows first, or add the missing key to by =>"))
    }

    fn place(&self, batch: &RecordBatch, row: usize) -> String {
        let columns = self.columns.keys.iter().chain([&self.columns.time]);
        let parts = columns.map(|c| {
            let value = array_value_to_string(batch.column(*c), row).unwrap_or_default();
            format!("{}={value}", self.name(*c))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn name(&self, column: usize) -> &str {
        self.schema.field(column).name()
    }

    fn start_series(&mut self) {
        self.values.clear();
        for sum in &mut self.sums {
            (sum.entered, sum.head) = (0, Total::default());
            sum.tails.clear();
        }
    }

    /// Adds the values of rows `start..end`; a run that does not begin the batch begins a series.
    fn append(&mut self, target: &Float64Array, start: usize, end: usize) -> Result<()> {
        if start > 0 {
            self.start_series();
        }
        let values = &target.values()[start..end];
        let first = self.values.len();
        self.values.extend_from_slice(values);
        if target.null_count() > 0 {
            for row in (start..end).filter(|row| target.is_null(*row)) {
                self.values[first + row - start] = f64::NAN;
            }
        }
        let finite = |row: usize| target.is_null(row) || target.value(row).is_finite();
        if values.iter().all(|v| v.is_finite()) || (start..end).all(finite) {
            return Ok(());
        }
        let name = self.name(self.columns.target);
        Err(Error::data(format!(
            "lag_features: {name} is NaN or infinite in a row; it must be finite or NULL"
        )))
    }

    fn features(&mut self, features: &mut [Vec<f64>], start: usize, end: usize) {
        let run = end - start;
        let history = self.values.len() - run;
        let (lags, means) = features.split_at_mut(self.windows.lags.len());
        for (lag, column) in self.windows.lags.iter().zip(lags) {
            let missing = lag.saturating_sub(history).min(run);
            let from = history + missing - (*lag).min(history + missing);
            column[start + missing..end].copy_from_slice(&self.values[from..from + run - missing]);
        }
        for ((window, column), sum) in self.windows.rolling.iter().zip(means).zip(&mut self.sums) {
            let values =
                Rolling { values: &self.values, history, window: *window, shift: self.windows.shift };
            values.means(sum, &mut column[start..end]);
        }
    }

    /// Keeps only the values that later rows of the series look back at.
    fn forget(&mut self) {
        let unneeded = self.values.len().saturating_sub(self.lookback);
        self.values.drain(..unneeded);
    }
}

/// Rolling means over a run of one series.
struct Rolling<'a> {
    values: &'a [f64],
    history: usize,
    window: usize,
    shift: usize,
}

impl Rolling<'_> {
    /// Means of the values present among the `window` rows that end `shift` rows before each row.
    fn means(&self, rolling: &mut RollingSum, means: &mut [f64]) {
        for (i, mean) in means.iter_mut().enumerate() {
            let Some(at) = (self.history + i).checked_sub(self.shift) else { continue };
            let place = rolling.entered % self.window;
            if place == 0 && rolling.entered > 0 {
                self.end_block(rolling, at);
            }
            rolling.head = rolling.head.with(self.values[at]);
            rolling.entered += 1;
            let tail = rolling.tails.get(place + 1).copied().unwrap_or_default();
            *mean = tail.mean_with(rolling.head);
        }
    }

    /// Turns the block that ends before `at` into the totals of its ends.
    fn end_block(&self, rolling: &mut RollingSum, at: usize) {
        rolling.head = Total::default();
        rolling.tails.resize(self.window, Total::default());
        let mut total = Total::default();
        let block = &self.values[at - self.window..at];
        for (tail, value) in rolling.tails.iter_mut().zip(block).rev() {
            total = total.with(*value);
            *tail = total;
        }
    }
}

/// How the keys `before` sort against those of `row`.
fn compare(
    batch: &RecordBatch,
    keys: &[usize],
    before: &[ArrayRef],
    row: usize,
) -> DataFusionResult<std::cmp::Ordering> {
    for (column, before) in keys.iter().zip(before) {
        let order = make_comparator(before, batch.column(*column), ORDER)?(0, row);
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(std::cmp::Ordering::Equal)
}

/// The values, NULL where NaN.
fn nullable(values: Vec<f64>) -> Float64Array {
    if !values.iter().any(|v| v.is_nan()) {
        return Float64Array::from(values);
    }
    let present = BooleanBuffer::collect_bool(values.len(), |i| !values[i].is_nan());
    datafusion::arrow::array::PrimitiveArray::<Float64Type>::new(
        values.into(),
        Some(NullBuffer::new(present)),
    )
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Date32Array, Int32Array};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;

    fn features(shift: usize) -> LagFeatures {
        let windows = Windows { lags: vec![1, 3], rolling: vec![2], shift };
        let mut fields = vec![
            Field::new("item", DataType::Int32, true),
            Field::new("day", DataType::Date32, false),
            Field::new("y", DataType::Float64, true),
        ];
        fields.extend(windows.names().iter().map(|n| Field::new(n, DataType::Float64, true)));
        LagFeatures::new(
            Columns { target: 2, keys: vec![0], time: 1 },
            windows,
            Arc::new(Schema::new(fields)),
        )
    }

    fn batch(rows: &[(i32, i32, Option<f64>)]) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([
            ("item", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int32Array>()) as ArrayRef, true),
            ("day", Arc::new(rows.iter().map(|r| Some(r.1)).collect::<Date32Array>()), false),
            ("y", Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()), true),
        ])
        .unwrap()
    }

    fn column(batch: &RecordBatch, i: usize) -> Vec<Option<f64>> {
        batch.column(i).as_primitive::<Float64Type>().iter().collect()
    }

    #[test]
    fn series_span_batches_and_do_not_mix() {
        let rows = [
            (1, 1, Some(1.0)),
            (1, 2, Some(2.0)),
            (1, 3, None),
            (1, 4, Some(4.0)),
            (1, 5, Some(8.0)),
            (2, 1, Some(10.0)),
            (2, 2, Some(20.0)),
        ];
        for cut in 1..rows.len() {
            let mut features = features(1);
            let (left, right) = rows.split_at(cut);
            let parts = [features.extend(&batch(left)).unwrap(), features.extend(&batch(right)).unwrap()];
            let all = |i| parts.iter().flat_map(|p| column(p, i)).collect::<Vec<_>>();
            assert_eq!(all(3), [None, Some(1.0), Some(2.0), None, Some(4.0), None, Some(10.0)]);
            assert_eq!(all(4), [None, None, None, Some(1.0), Some(2.0), None, None]);
            assert_eq!(all(5), [None, Some(1.0), Some(1.5), Some(2.0), Some(4.0), None, Some(10.0)]);
        }
    }

    #[test]
    fn shifted_means_do_not_see_the_rows_between() {
        let rows: Vec<_> = (0..5).map(|day| (1, day, Some(f64::from(day)))).collect();
        let means = column(&features(2).extend(&batch(&rows)).unwrap(), 5);
        assert_eq!(means, [None, None, Some(0.0), Some(0.5), Some(1.5)]);
    }

    #[test]
    fn rolling_means_equal_plain_ones_in_long_series() {
        let value = |i: i32| f64::from((i * 7919) % 101) / 10.0;
        let rows: Vec<_> = (0..1000).map(|i| (1, i, Some(value(i)))).collect();
        let means = column(&features(1).extend(&batch(&rows)).unwrap(), 5);
        for i in 2..1000 {
            let plain = (value(i - 1) + value(i - 2)) / 2.0;
            assert!((means[i as usize].unwrap() - plain).abs() < 1e-12);
        }
    }

    #[test]
    fn an_extreme_value_leaves_the_mean_with_its_row() {
        let rows: Vec<_> = (0..6).map(|day| (1, day, Some(if day == 1 { 1e17 } else { 3.0 }))).collect();
        let means = column(&features(1).extend(&batch(&rows)).unwrap(), 5);
        assert_eq!(means[4..], [Some(3.0), Some(3.0)]);
    }

    #[test]
    fn duplicates_disorder_and_nan_fail_by_name() {
        let message =
            |rows: &[(i32, i32, Option<f64>)]| features(1).extend(&batch(rows)).unwrap_err().to_string();
        let twice = message(&[(1, 1, None), (1, 1, None)]);
        assert!(twice.contains("more than one row for item=1, day=1970-01-02"), "{twice}");
        assert!(message(&[(1, 2, None), (1, 1, None)]).contains("not in the order of time"));
        assert!(message(&[(2, 1, None), (1, 1, None)]).contains("not in the order of their series"));
        assert!(message(&[(1, 1, Some(f64::NAN))]).contains("y is NaN or infinite"));
    }
}
