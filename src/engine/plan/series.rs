//! Batches sorted by key and time, on their way into a panel.

use std::ops::Range;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, partition};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, Schema, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::engine::plan::input::{InputColumn, Role};
use crate::error::{Error, Result};
use crate::ml::series::{
    Column, ColumnKind, ColumnSpec, Frequency, Incomplete, PanelSchema, PeriodRows, Rows, TimeKind,
    incomplete_periods,
};

/// Where the roles are among the columns of the input.
#[derive(Debug, Clone)]
pub struct SeriesLayout {
    /// Names of the key columns, which come first.
    pub keys: Vec<String>,
    /// The time column.
    pub time: usize,
    /// The target column; absent in future rows that have none.
    pub target: Option<usize>,
    /// Known covariates, candidates included.
    pub known: Vec<usize>,
    /// Past covariates.
    pub past: Vec<usize>,
    /// Static covariates.
    pub statics: Vec<usize>,
    /// Those of them that are texts.
    pub texts: Vec<usize>,
}

impl SeriesLayout {
    /// Columns by role.
    pub fn new(columns: &[InputColumn]) -> Self {
        let of = |roles: &[Role]| -> Vec<usize> {
            columns.iter().enumerate().filter(|(_, c)| roles.contains(&c.role)).map(|(i, _)| i).collect()
        };
        Self {
            keys: columns.iter().filter(|c| c.role == Role::Key).map(|c| c.name.clone()).collect(),
            time: of(&[Role::Time]).first().copied().unwrap_or(0),
            target: of(&[Role::Target]).first().copied(),
            known: of(&[Role::Known, Role::Candidate]),
            past: of(&[Role::Past]),
            statics: of(&[Role::Static, Role::Text, Role::Country]),
            texts: of(&[Role::Text]),
        }
    }

    /// The panel's schema for a table of these columns.
    pub fn panel_schema(&self, table: &str, schema: &Schema) -> PanelSchema {
        let name = |i: usize| schema.field(i).name().clone();
        let specs = |columns: &[usize]| -> Vec<ColumnSpec> {
            let spec = |i: &usize| match column_spec(schema, *i) {
                spec if self.texts.contains(i) => ColumnSpec { kind: ColumnKind::Text, ..spec },
                spec => spec,
            };
            columns.iter().map(spec).collect()
        };
        PanelSchema {
            table: table.to_owned(),
            time: name(self.time),
            time_kind: time_kind(schema.field(self.time).data_type()),
            target: self.target.map(name).unwrap_or_default(),
            known: specs(&self.known),
            past: specs(&self.past),
            statics: specs(&self.statics),
        }
    }
}

/// A covariate's name and kind in the panel.
pub fn column_spec(schema: &Schema, column: usize) -> ColumnSpec {
    let field = schema.field(column);
    let kind = if field.data_type() == &DataType::Utf8 { ColumnKind::Category } else { ColumnKind::Number };
    ColumnSpec { name: field.name().clone(), kind }
}

/// What the values of a time column are.
pub fn time_kind(data_type: &DataType) -> TimeKind {
    match data_type {
        DataType::Timestamp(..) => TimeKind::Timestamp,
        DataType::Date32 | DataType::Date64 => TimeKind::Date,
        _ => TimeKind::Integer,
    }
}

/// Instants of a time column: microseconds since 1970-01-01, or the integers themselves.
pub fn instants(column: &ArrayRef) -> Result<ArrayRef> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = match column.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => cast(column, &micros),
        _ => Ok(ArrayRef::clone(column)),
    };
    column.and_then(|c| cast(&c, &DataType::Int64)).map_err(|e| Error::data(e.to_string()))
}

/// The first and last period where their rows do not fill them; `periods` has begin, first and last time of each.
pub async fn incomplete(mut periods: SendableRecordBatchStream, frequency: Frequency) -> Result<Incomplete> {
    let mut found = vec![];
    while let Some(batch) = periods.next().await.transpose()? {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(instants).collect::<Result<_>>()?;
        let [begin, first, last] = [0, 1, 2].map(|c| columns[c].as_primitive::<Int64Type>());
        let rows = (0..batch.num_rows()).filter(|row| begin.is_valid(*row));
        found.extend(rows.map(|row| PeriodRows {
            begin: begin.value(row),
            first: first.value(row),
            last: last.value(row),
        }));
    }
    Ok(incomplete_periods(found, frequency))
}

/// Which of the series that were read are among those that were kept, which are in the same order.
pub fn kept_series(read: &[String], kept: &[String]) -> Vec<usize> {
    let mut found = Vec::with_capacity(kept.len());
    let mut next = kept.iter().peekable();
    for (i, key) in read.iter().enumerate() {
        if next.peek() == Some(&key) {
            found.push(i);
            next.next();
        }
    }
    found
}

/// Instants back in the type of the user's time column.
pub fn from_instants(instants: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    use datafusion::arrow::array::{Int64Array, TimestampMicrosecondArray};
    let column: ArrayRef = match data_type {
        DataType::Timestamp(_, Some(zone)) => std::sync::Arc::new(
            TimestampMicrosecondArray::from(instants).with_timezone(std::sync::Arc::clone(zone)),
        ),
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            std::sync::Arc::new(TimestampMicrosecondArray::from(instants))
        }
        _ => std::sync::Arc::new(Int64Array::from(instants)),
    };
    cast(&column, data_type).map_err(|e| Error::data(format!("time out of range: {e}")))
}

/// One batch, its columns in the types a panel reads, cut into runs of one series.
pub struct Runs {
    keys: Vec<ArrayRef>,
    key_names: Vec<String>,
    ranges: Vec<Range<usize>>,
    instants: ArrayRef,
    target: Option<ArrayRef>,
    nulls: Vec<bool>,
    known: Vec<Values>,
    past: Vec<Values>,
    statics: Vec<Values>,
}

/// A covariate of one batch.
enum Values {
    Number(Vec<f32>),
    Text(ArrayRef),
}

impl Runs {
    /// Cuts a batch.
    pub fn new(batch: &RecordBatch, layout: &SeriesLayout, table: &str) -> Result<Self> {
        let keys: Vec<ArrayRef> = batch.columns()[..layout.keys.len()].to_vec();
        let time = batch.column(layout.time);
        if time.null_count() > 0 {
            let name = batch.schema().field(layout.time).name().clone();
            return Err(Error::data(format!("{table} has a row whose time {name} is NULL"))
                .with_hint(format!("leave it out: ON (SELECT * FROM {table} WHERE {name} IS NOT NULL)")));
        }
        let ranges = match keys.len() {
            0 => std::iter::once(0..batch.num_rows()).collect(),
            _ => partition(&keys).map_err(|e| Error::internal(e.to_string()))?.ranges(),
        };
        let target = layout.target.map(|i| ArrayRef::clone(batch.column(i)));
        let nulls = target.as_ref().map(null_flags).unwrap_or_default();
        let read = |columns: &[usize]| columns.iter().map(|i| values(batch.column(*i))).collect();
        Ok(Self {
            keys,
            key_names: layout.keys.clone(),
            ranges,
            instants: instants(time)?,
            target,
            nulls,
            known: read(&layout.known),
            past: read(&layout.past),
            statics: read(&layout.statics),
        })
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The first row of run `n` and its key as text.
    pub fn key(&self, n: usize) -> Result<(usize, String)> {
        let row = self.ranges[n].start;
        Ok((row, self.parts(row)?.join(", ")))
    }

    /// Calls `visit` with the rows of run `n`.
    pub fn with_run(&self, n: usize, visit: impl FnOnce(&Rows<'_>) -> Result<()>) -> Result<()> {
        let range = &self.ranges[n];
        let instants = self.instants.as_primitive::<Int64Type>().values();
        let missing;
        let target: &[f64] = match &self.target {
            Some(column) => &column.as_primitive::<Float64Type>().values()[range.clone()],
            None => {
                missing = vec![f64::NAN; range.len()];
                &missing
            }
        };
        let slices = [&self.known, &self.past, &self.statics].map(|values| Slices::of(values, range));
        let [known, past, statics] = slices.each_ref().map(Slices::columns);
        visit(&Rows {
            timestamps: &instants[range.clone()],
            target,
            nulls: self.nulls.get(range.clone()).filter(|n| n.contains(&true)),
            known: &known,
            past: &past,
            statics: &statics,
        })
    }

    /// Calls `visit` with every run: its first row, its key as text, and its rows.
    pub fn for_each(&self, mut visit: impl FnMut(usize, &str, &Rows<'_>) -> Result<()>) -> Result<()> {
        for n in 0..self.len() {
            let (row, key) = self.key(n)?;
            self.with_run(n, |rows| visit(row, &key, rows))?;
        }
        Ok(())
    }

    /// The keys of a row, each as text: `store_id=3`.
    pub fn parts(&self, row: usize) -> Result<Vec<String>> {
        let options = FormatOptions::default().with_null("NULL");
        let mut parts = vec![];
        for (name, column) in self.key_names.iter().zip(&self.keys) {
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
                .map_err(|e| Error::internal(e.to_string()))?;
            parts.push(format!("{name}={}", formatter.value(row)));
        }
        Ok(parts)
    }
}

/// The covariates of one run.
struct Slices<'a>(Vec<Slice<'a>>);

enum Slice<'a> {
    Number(&'a [f32]),
    Text(Vec<Option<&'a str>>),
}

impl<'a> Slices<'a> {
    fn of(values: &'a [Values], range: &Range<usize>) -> Self {
        let slice = |v: &'a Values| match v {
            Values::Number(numbers) => Slice::Number(&numbers[range.clone()]),
            Values::Text(column) => {
                let words = column.as_string::<i32>();
                Slice::Text(range.clone().map(|row| words.is_valid(row).then(|| words.value(row))).collect())
            }
        };
        Self(values.iter().map(slice).collect())
    }

    fn columns(&self) -> Vec<Column<'_>> {
        self.0
            .iter()
            .map(|s| match s {
                Slice::Number(numbers) => Column::Number(numbers),
                Slice::Text(words) => Column::Text(words),
            })
            .collect()
    }
}

fn null_flags(column: &ArrayRef) -> Vec<bool> {
    match column.null_count() {
        0 => vec![],
        _ => (0..column.len()).map(|row| column.is_null(row)).collect(),
    }
}

fn values(column: &ArrayRef) -> Values {
    match column.as_primitive_opt::<Float32Type>() {
        Some(numbers) if numbers.null_count() == 0 => Values::Number(numbers.values().to_vec()),
        Some(numbers) => Values::Number(numbers.iter().map(|v| v.unwrap_or(f32::NAN)).collect()),
        None => Values::Text(ArrayRef::clone(column)),
    }
}
