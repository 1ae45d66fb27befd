//! All rows of a model's past as one panel.

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use crate::engine::plan::hierarchy::{keys_of_rows, refuse_null_keys};
use crate::engine::plan::input::InputColumn;
use crate::engine::plan::series::{Runs, SeriesLayout, incomplete, kept_series};
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::query::QueryContext;
use crate::engine::registry::Manifest;
use crate::engine::sql;
use crate::error::{Error, Result};
use crate::ml::hierarchy::{Rollup, Summing, align};
use crate::ml::models::Past;
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{FinishOptions, Grid, Incomplete, Panel, PanelBuilder};

/// All series of a past.
#[derive(Debug)]
pub struct Told {
    /// The series.
    pub panel: Panel,
    /// How they are summed, the panel of all series and sums, and how these are reconciled where it is not the usual way.
    pub sums: Option<(Summing, Panel, Option<Reconciliation>)>,
    /// Keys in the user's types: a row for each series and sum, NULL where a sum is over all of a key.
    pub keys: Vec<ArrayRef>,
    /// The type of the user's time.
    pub time_type: DataType,
}

impl Told {
    /// What models learn from.
    pub fn past(&self) -> Past<'_> {
        let sums = self.sums.as_ref().map(|(summing, _, method)| (summing, *method));
        Past { panel: &self.panel, sums }
    }

    /// The panel of all series, and of their sums.
    pub fn whole(&self) -> &Panel {
        self.sums.as_ref().map_or(&self.panel, |(_, whole, _)| whole)
    }

    /// The series of that panel that a row has.
    pub fn node(&self, row: usize) -> usize {
        self.sums.as_ref().map_or(row, |(summing, ..)| summing.node(row))
    }
}

/// The rows of a past, and the rows of every period where rows are aggregated to periods.
pub type Inputs = (SendableRecordBatchStream, Option<SendableRecordBatchStream>);

/// Reads the past of a model, sorted by keys and time, with the columns of its training.
pub async fn read(
    (manifest, texts): (&Manifest, Option<&SeriesTexts>),
    columns: &[InputColumn],
    (rows, periods): Inputs,
    query: &QueryContext,
    memory: &MemoryReservation,
) -> Result<Told> {
    let (layout, table) = (SeriesLayout::new(columns), manifest.name.as_str());
    let time_type = rows.schema().field(layout.time).data_type().clone();
    let rollup = manifest.hierarchy.as_ref();
    let SeriesRows { builder, keys, parts } =
        read_series(rows, &layout, (table, rollup), query, memory).await?;
    if builder.is_empty() {
        return Err(Error::data(format!("the past of model {table} has no rows")));
    }
    let incomplete = match periods {
        Some(periods) => incomplete(periods, manifest.frequency).await?,
        None => Incomplete::default(),
    };
    let finish = FinishOptions {
        grid: Grid::Fixed { frequency: manifest.frequency, origin: manifest.origin },
        gaps: manifest.gaps,
        season_length: Some(manifest.season_length),
        incomplete: incomplete.begins(),
        ..FinishOptions::default()
    };
    let read = builder.keys().to_vec();
    let (mut panel, _) = builder.finish(&finish, &query.control)?;
    if rollup.is_some() {
        align(&mut panel, manifest.gaps);
    }
    if let Some(texts) = texts {
        texts.extend(&mut panel, &query.control)?;
    }
    if let Some(holidays) = &manifest.holidays {
        holidays.extend(&mut panel)?;
    }
    memory.try_resize(panel.bytes())?;
    let kept = kept_series(&read, &panel.keys);
    let mut keys = keys.of(&kept)?;
    let mut sums = None;
    if let Some(rollup) = rollup {
        let summing = Summing::new(rollup.clone(), kept.iter().map(|i| parts[*i].clone()).collect());
        let whole = summing.whole().aggregate(&panel);
        memory.try_resize(panel.bytes() + whole.bytes())?;
        keys = keys_of_rows(&keys, summing.whole())?;
        sums = Some((summing, whole, sql::parse_text(&manifest.sql)?.reconcile));
    }
    Ok(Told { panel, sums, keys, time_type })
}

/// Series that were read.
pub struct SeriesRows {
    /// Their rows.
    pub builder: PanelBuilder,
    /// The keys in the user's types.
    pub keys: SeriesKeys,
    /// The keys of every series, each as text, where some are rolled up.
    pub parts: Vec<Vec<String>>,
}

/// Reads rows of a table that are sorted by keys and time.
pub async fn read_series(
    mut rows: SendableRecordBatchStream,
    layout: &SeriesLayout,
    (table, rollup): (&str, Option<&Rollup>),
    query: &QueryContext,
    memory: &MemoryReservation,
) -> Result<SeriesRows> {
    let mut builder = PanelBuilder::new(layout.panel_schema(table, &rows.schema()));
    let (mut keys, mut parts) = (SeriesKeys::new(layout), vec![]);
    while let Some(batch) = rows.next().await.transpose()? {
        query.control.check()?;
        if batch.num_rows() == 0 {
            continue;
        }
        memory.try_grow(batch.num_rows() * (24 + 4 * batch.num_columns()))?;
        if let Some(rollup) = rollup {
            refuse_null_keys(&batch, rollup, table)?;
        }
        let runs = Runs::new(&batch, layout, table)?;
        runs.for_each(|row, key, rows| {
            if rollup.is_some() && builder.keys().last().is_none_or(|last| last != key) {
                parts.push(runs.parts(row)?);
            }
            keys.add(&batch, row, key)?;
            builder.append(key, rows)
        })?;
    }
    Ok(SeriesRows { builder, keys, parts })
}

/// The keys of the series, in the order in which they are read.
#[derive(Debug)]
pub struct SeriesKeys {
    last: Option<String>,
    /// By key, the value of every series.
    rows: Vec<Vec<ArrayRef>>,
}

impl SeriesKeys {
    /// None yet.
    fn new(layout: &SeriesLayout) -> Self {
        Self { last: None, rows: vec![vec![]; layout.keys.len()] }
    }

    /// The keys in a row, whose text is `key`, of the series that is being read.
    fn add(&mut self, batch: &RecordBatch, row: usize, key: &str) -> Result<()> {
        if self.last.as_deref() == Some(key) {
            return Ok(());
        }
        self.last = Some(key.to_owned());
        let one = UInt32Array::from(vec![row as u32]);
        for (rows, column) in self.rows.iter_mut().zip(batch.columns()) {
            rows.push(take(column, &one, None).map_err(|e| Error::internal(e.to_string()))?);
        }
        Ok(())
    }

    /// Those of some series, an array for each key.
    pub fn of(self, series: &[usize]) -> Result<Vec<ArrayRef>> {
        let all = |rows: Vec<ArrayRef>| {
            let kept: Vec<_> = series.iter().map(|i| rows[*i].as_ref()).collect();
            concat(&kept).map_err(|e| Error::internal(e.to_string()))
        };
        self.rows.into_iter().map(all).collect()
    }
}
