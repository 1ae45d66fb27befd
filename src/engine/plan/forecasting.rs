//! What `forecast` and `simulate` do with their rows: panels of a few hundred series, predictions, output rows.

mod output;
mod sums;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Float32Type, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_plan::{EmptyRecordBatchStream, PhysicalExpr};
use futures::{Stream, StreamExt};

use crate::engine::plan::forecast::{OutputRows, Shape, needed_columns};
pub use crate::engine::plan::forecasting::output::status_word;
pub use crate::engine::plan::forecasting::output::{Frame, Output, shown};
use crate::engine::plan::forecasting::sums::Sums;
use crate::engine::plan::hierarchy::{hierarchy, refuse_null_keys};
use crate::engine::plan::input::{InputColumn, Role};
use crate::engine::plan::new_series::Items;
use crate::engine::plan::past::Origin;
use crate::engine::plan::series::{Runs, SeriesLayout, column_spec, incomplete, instants, kept_series};
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::query::QueryContext;
use crate::engine::registry::{Model, ModelRole};
use crate::engine::shared::Engine;
use crate::error::{Error, Result, Subject, identifier};
use crate::ml::Control;
use crate::ml::features::RowColumn;
use crate::ml::forecaster::{Forecast, PredictOptions};
use crate::ml::hierarchy::{Hierarchy, Rollup, align};
use crate::ml::series::{
    ColumnSpec, Covariate, FinishOptions, FutureReport, FutureRows, Grid, Incomplete, MISSING, Panel,
    PanelBuilder, Values,
};

/// Series per panel: enough for one wide forward pass, few enough to stream. A hierarchy needs all in one.
const SERIES_PER_PANEL: usize = 512;

/// Values of sample paths of a panel, unless one series has more.
const PATH_VALUES_MAX: usize = 4_000_000;

/// Longest horizon that `until` may ask for.
const HORIZON_MAX: i64 = 100_000;

/// One reading of a model, everything resolved.
#[derive(Debug)]
pub struct Reading {
    /// The database.
    pub engine: Arc<Engine>,
    /// The model.
    pub model: Arc<Model>,
    /// Columns of the history and their roles.
    pub columns: Vec<InputColumn>,
    /// The last input tells of the rows of every period.
    pub has_periods: bool,
    /// Where the history comes from.
    pub origin: Origin,
    /// The rows are new series, a row each.
    pub items: Option<Items>,
    /// How texts of series become numbers.
    pub texts: Option<SeriesTexts>,
    /// What shapes the result.
    pub shape: Shape,
    /// The rows that the model sees are wanted, of these columns, and no forecast.
    pub features: Option<Arc<Vec<RowColumn>>>,
    /// Steps; `None` takes the model's.
    pub horizon: Option<usize>,
    /// Last instant wanted.
    pub until: Option<i64>,
    /// New values of known covariates, over the columns of `known`.
    pub set: Vec<(String, Arc<dyn PhysicalExpr>)>,
    /// The known covariates.
    pub known: SchemaRef,
    /// The output.
    pub schema: SchemaRef,
}

impl Reading {
    /// What its rows look like.
    fn frame(&self) -> Frame<'_> {
        let manifest = self.model.manifest();
        Frame {
            shape: &self.shape,
            columns: &self.columns,
            schema: &self.schema,
            until: self.until,
            version: manifest.version,
            trained: manifest.horizon,
        }
    }
}

/// The instant of a constant `until`.
pub fn until_instant(expr: &Expr, session: &dyn Session) -> DfResult<i64> {
    let physical = session.create_physical_expr(expr.clone(), &DFSchema::empty())?;
    let one = RecordBatch::try_new_with_options(
        Arc::new(datafusion::arrow::datatypes::Schema::empty()),
        vec![],
        &datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
    )?;
    let value = match physical.evaluate(&one)? {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    let instant = instants(&value)?;
    let instant = instant.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    if instant.is_empty() || instant.is_null(0) {
        return Err(Error::input(Subject::Option, "until must not be NULL").into());
    }
    Ok(instant.value(0))
}

/// Streams the forecasts of all series of the first input, the history; then come future rows and periods,
/// each where there are any.
pub fn read(
    reading: Arc<Reading>,
    mut inputs: Vec<SendableRecordBatchStream>,
    query: Arc<QueryContext>,
    context: &TaskContext,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send + use<> {
    let memory = MemoryConsumer::new("forecast").register(context.memory_pool());
    let table = reading.model.manifest().name.clone();
    let layout = SeriesLayout::new(&reading.columns);
    let periods = if reading.has_periods { inputs.pop() } else { None };
    let mut inputs = inputs.into_iter();
    let (history, future) = (inputs.next(), inputs.next());
    let history =
        history.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(Arc::clone(&reading.schema))));
    let reader = Reader {
        chunk: Chunk::new(&layout, &history.schema(), &table),
        layout,
        table,
        history,
        future,
        periods,
        incomplete: Incomplete::default(),
        sums: Sums::new(Arc::clone(&reading)),
        given: None,
        query,
        memory,
        pending: None,
        done: false,
        reading,
    };
    futures::stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Ok(batch.map(|batch| (batch, reader)))
    })
}

/// Reads history run by run and predicts whenever a panel is full.
struct Reader {
    reading: Arc<Reading>,
    layout: SeriesLayout,
    table: String,
    history: SendableRecordBatchStream,
    future: Option<SendableRecordBatchStream>,
    periods: Option<SendableRecordBatchStream>,
    /// The periods at the ends of the data whose rows are not all there.
    incomplete: Incomplete,
    /// Sums over series and steps, where they are asked for.
    sums: Sums,
    /// All rows of `future =>`, read once.
    given: Option<Vec<RecordBatch>>,
    query: Arc<QueryContext>,
    memory: MemoryReservation,
    chunk: Chunk,
    /// The batch that is being read, and its next run.
    pending: Option<(RecordBatch, Arc<Runs>, usize)>,
    done: bool,
}

/// The series of one panel while they are read.
struct Chunk {
    builder: PanelBuilder,
    keys: Vec<Vec<ArrayRef>>,
    /// The keys as texts, where some are rolled up.
    parts: Vec<Vec<String>>,
    last_key: Option<String>,
}

impl Chunk {
    fn new(layout: &SeriesLayout, schema: &SchemaRef, table: &str) -> Self {
        let builder = PanelBuilder::new(layout.panel_schema(table, schema));
        Self { builder, keys: vec![], parts: vec![], last_key: None }
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.given.is_none() {
            self.read_others().await?;
        }
        while !self.done {
            self.query.control.check()?;
            if self.fill()?
                && let Some(rows) = self.predict().await?
            {
                return Ok(Some(rows));
            }
            match self.history.next().await.transpose()? {
                Some(batch) if batch.num_rows() > 0 => {
                    if let Some(rollup) = self.rollup() {
                        refuse_null_keys(&batch, rollup, &self.table)?;
                        self.memory.try_grow(batch.get_array_memory_size())?;
                    }
                    let runs = Runs::new(&batch, &self.layout, &self.table)?;
                    self.pending = Some((batch, Arc::new(runs), 0));
                }
                Some(_) => {}
                None => {
                    self.done = true;
                    let rows = match self.chunk.builder.is_empty() {
                        true => None,
                        false => self.predict().await?,
                    };
                    let rows = if self.reading.shape.is_sum() { self.sums.rows()? } else { rows };
                    return Ok(rows);
                }
            }
        }
        Ok(None)
    }

    /// Series that are forecast at once: fewer where each has many paths.
    fn series_per_panel(&self) -> usize {
        let horizon = self.reading.horizon.unwrap_or(self.reading.model.manifest().horizon);
        let paths = self.reading.shape.paths().map_or(0, |paths| paths.count * horizon);
        (PATH_VALUES_MAX / paths.max(1)).clamp(1, SERIES_PER_PANEL)
    }

    /// Which keys are rolled up.
    fn rollup(&self) -> Option<&Rollup> {
        self.reading.model.manifest().hierarchy.as_ref()
    }

    /// Reads all that is not history.
    async fn read_others(&mut self) -> Result<()> {
        let mut batches = vec![];
        if let Some(mut rows) = self.future.take() {
            while let Some(batch) = rows.next().await.transpose()? {
                self.query.control.check()?;
                self.memory.try_grow(batch.get_array_memory_size())?;
                batches.push(batch);
            }
        }
        self.given = Some(batches);
        let frequency = self.reading.model.manifest().frequency;
        if let Some(periods) = self.periods.take() {
            self.incomplete = incomplete(periods, frequency).await?;
        }
        Ok(())
    }

    /// Appends runs of the pending batch; true when the panel is full and a new series begins.
    fn fill(&mut self) -> Result<bool> {
        let Some((batch, runs, first)) = self.pending.take() else { return Ok(false) };
        let items = self.reading.items.is_some();
        for n in first..runs.len() {
            let (row, key) = runs.key(n)?;
            let again = self.chunk.last_key.as_deref() == Some(&key);
            if !again {
                if self.chunk.keys.len() == self.series_per_panel() && self.rollup().is_none() {
                    self.pending = Some((batch, runs, n));
                    return Ok(true);
                }
                let one = UInt32Array::from(vec![row as u32]);
                let columns = &batch.columns()[..self.layout.keys.len()];
                let taken =
                    columns.iter().map(|c| take(c, &one, None)).collect::<std::result::Result<_, _>>();
                self.chunk.keys.push(taken.map_err(|e| Error::internal(e.to_string()))?);
                if self.rollup().is_some() {
                    self.chunk.parts.push(runs.parts(row)?);
                }
                self.chunk.last_key = Some(key.clone());
            }
            let builder = &mut self.chunk.builder;
            runs.with_run(n, |rows| match items && (again || rows.timestamps.len() > 1) {
                true => Err(Error::data(format!("items => has two rows of {key}"))
                    .with_hint("give one row for every new series")),
                false => builder.append(&key, rows),
            })?;
        }
        Ok(false)
    }

    /// The rows of the panel that was read; none where they go into sums.
    async fn predict(&mut self) -> Result<Option<RecordBatch>> {
        let next = Chunk::new(&self.layout, &self.history.schema(), &self.table);
        let chunk = std::mem::replace(&mut self.chunk, next);
        let manifest = self.reading.model.manifest();
        let finish = FinishOptions {
            grid: Grid::Fixed { frequency: manifest.frequency, origin: manifest.origin },
            gaps: manifest.gaps,
            season_length: Some(manifest.season_length),
            cutoff: Some(self.cutoff()),
            incomplete: self.incomplete.begins(),
            ..FinishOptions::default()
        };
        let text_keys: Vec<String> = chunk.builder.keys().to_vec();
        let (mut panel, _) = chunk.builder.finish(&finish, &self.query.control)?;
        let kept = kept_series(&text_keys, &panel.keys);
        let keys = kept.into_iter().map(|i| chunk.keys[i].clone()).collect();
        let sums = self.rollup().map(|rollup| hierarchy(rollup, &text_keys, &chunk.parts, &panel.keys));
        if sums.is_some() {
            align(&mut panel, manifest.gaps);
        }
        let panel = self.with_texts(panel).await?;
        let horizon = self.horizon(&panel)?;
        let panel = self.with_future(panel, horizon)?;
        let panel = match &sums {
            Some(sums) => sums.aggregate(&panel),
            None => panel,
        };
        if let Some(columns) = self.reading.features.clone() {
            return self.features(panel, sums.as_ref(), keys, horizon, &columns).await.map(Some);
        }
        let shape = &self.reading.shape;
        let (quantile_levels, interval_levels) = (shape.quantiles.clone(), shape.levels.clone());
        let paths = shape.paths();
        let options = PredictOptions { horizon, quantile_levels, interval_levels, mean: shape.mean, paths };
        let path_bytes = paths.map_or(0, |paths| panel.len() * paths.count * horizon * size_of::<f64>());
        self.memory.try_grow(path_bytes)?;
        let (panel, sums) = (Arc::new(panel), sums.map(Arc::new));
        let forecast = self.forecast(Arc::clone(&panel), sums.clone(), options).await?;
        let (reading, sums) = (Arc::clone(&self.reading), sums.as_deref());
        let frame = reading.frame();
        let shown = shown(panel.len(), sums);
        let output = Output { frame, panel: &panel, sums, forecast: &forecast, keys, shown };
        let rows = match reading.shape.rows {
            OutputRows::Steps => Some(output.rows()?),
            OutputRows::Paths(_) => Some(output.paths()?),
            OutputRows::Sums { .. } => {
                self.sums.add(&output, &mut self.memory)?;
                None
            }
        };
        self.memory.shrink(path_bytes);
        Ok(rows)
    }

    /// The panel with numbers in the place of texts.
    async fn with_texts(&mut self, mut panel: Panel) -> Result<Panel> {
        let Some(texts) = self.reading.texts.clone() else { return Ok(panel) };
        let work = move |control: &Arc<Control>| texts.extend(&mut panel, control).map(|()| panel);
        self.reading.engine.runtimes.predict(usize::MAX, &self.query.control, work).await
    }

    /// The rows that the model sees of the steps after every history.
    async fn features(
        &mut self,
        panel: Panel,
        sums: Option<&Hierarchy>,
        keys: Vec<Vec<ArrayRef>>,
        horizon: usize,
        columns: &[RowColumn],
    ) -> Result<RecordBatch> {
        let (model, panel) = (Arc::clone(&self.reading.model), Arc::new(panel));
        let input = Arc::clone(&panel);
        let work = move |_: &Arc<Control>| model.forecaster()?.featurize(&input, horizon);
        let runtimes = &self.reading.engine.runtimes;
        let values = runtimes.predict(panel.len(), &self.query.control, work).await?;
        let (forecast, shown) = (Forecast::default(), shown(panel.len(), sums));
        let output =
            Output { frame: self.reading.frame(), panel: &panel, sums, forecast: &forecast, keys, shown };
        output.features(horizon, columns, &values)
    }

    async fn forecast(
        &mut self,
        panel: Arc<Panel>,
        sums: Option<Arc<Hierarchy>>,
        options: PredictOptions,
    ) -> Result<Forecast> {
        let model = Arc::clone(&self.reading.model);
        let (series, runtimes) = (panel.len(), &self.reading.engine.runtimes);
        let work = move |control: &Arc<Control>| {
            let forecaster = model.forecaster()?;
            match &sums {
                None => forecaster.predict(&panel, &options, control),
                Some(sums) => forecaster.predict_coherent(&panel, sums, &options, control),
            }
        };
        runtimes.predict(series, &self.query.control, work).await
    }

    /// Where training ended, or before it where that period is not over after all.
    fn cutoff(&self) -> i64 {
        let manifest = self.reading.model.manifest();
        let before = self.incomplete.last.and_then(|last| {
            let period = manifest.frequency.period(manifest.origin, last.begin);
            manifest.frequency.instant(manifest.origin, period - 1)
        });
        before.map_or(manifest.panel.last_time, |before| before.min(manifest.panel.last_time))
    }

    /// Steps to forecast so that every series reaches what is asked for.
    fn horizon(&self, panel: &Panel) -> Result<usize> {
        let manifest = self.reading.model.manifest();
        let Some(until) = self.reading.until else {
            return Ok(self.reading.horizon.unwrap_or(manifest.horizon));
        };
        let last = manifest.frequency.period(manifest.origin, until);
        let steps = (0..panel.len()).map(|i| last - panel.first_step(i) + 1).max().unwrap_or(0);
        if steps > HORIZON_MAX {
            let message = format!("until is {steps} steps away; the limit is {HORIZON_MAX}");
            return Err(Error::input(Subject::Option, message));
        }
        if steps < 1 {
            let message = format!("until lies before the first step of model {}", manifest.name);
            return Err(Error::input(Subject::Option, message)
                .with_hint("the history ends later: ask for a later time, or leave until away"));
        }
        Ok(steps as usize)
    }

    /// Puts the known covariates of the horizon into the panel: given rows, then `set`, then holidays.
    fn with_future(&self, panel: Panel, horizon: usize) -> Result<Panel> {
        let holidays = self.reading.model.manifest().holidays.as_ref();
        if panel.known.is_empty() && holidays.is_none() {
            return Ok(panel);
        }
        let specs: Vec<ColumnSpec> =
            self.layout.known.iter().map(|i| column_spec(&self.history.schema(), *i)).collect();
        let mut rows = FutureRows::new(&specs);
        let columns: Vec<InputColumn> = self
            .reading
            .columns
            .iter()
            .filter(|c| matches!(c.role, Role::Key | Role::Time | Role::Known))
            .cloned()
            .collect();
        let layout = SeriesLayout::new(&columns);
        for batch in self.given.iter().flatten() {
            let runs = Runs::new(batch, &layout, "future")?;
            runs.for_each(|_, key, run| rows.append(key, run.timestamps, run.known))?;
        }
        let (mut panel, report) =
            panel.append_future(rows, horizon, self.reading.model.manifest().horizon)?;
        let covered = self.layout.known.len() == self.reading.set.len() || self.carry_known(&mut panel);
        if report.absent > 0 && !covered {
            return Err(self.missing_future(&panel, &report, horizon));
        }
        self.set(&mut panel)?;
        if let Some(holidays) = holidays {
            holidays.extend(&mut panel)?;
        }
        Ok(panel)
    }

    /// Lets what is known of new series hold for all steps that nothing else is known of; false where it is not told.
    fn carry_known(&self, panel: &mut Panel) -> bool {
        let (Some(Items { has_known: true }), Panel { known, offsets, .. }) = (self.reading.items, panel)
        else {
            return false;
        };
        for rows in offsets.windows(2).map(|ends| ends[0]..ends[1]).filter(|rows| !rows.is_empty()) {
            for values in known.iter_mut().map(|covariate| &mut covariate.values) {
                match values {
                    Values::Number(numbers) => {
                        let first = numbers[rows.start];
                        numbers[rows.clone()].iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = first);
                    }
                    Values::Category { codes, .. } => {
                        let first = codes[rows.start];
                        codes[rows.clone()].iter_mut().filter(|x| **x == MISSING).for_each(|x| *x = first);
                    }
                }
            }
        }
        true
    }

    fn missing_future(&self, panel: &Panel, report: &FutureReport, horizon: usize) -> Error {
        let manifest = self.reading.model.manifest();
        let known: Vec<&str> =
            manifest.roles.iter().filter(|c| c.role == ModelRole::Known).map(|c| c.name.as_str()).collect();
        let kind = manifest.time_kind;
        let place = report.first_absent.map_or_else(String::new, |(series, period)| {
            let key = &panel.keys[series];
            let comma = if key.is_empty() { "" } else { ", " };
            let time = panel.instant(period).map_or_else(String::new, |instant| kind.format(instant));
            format!(" (first: {key}{comma}{time})")
        });
        let message = format!(
            "model {} needs known covariates {} for {horizon} steps; {} of {} rows are missing{place}",
            manifest.name,
            known.join(", "),
            report.absent,
            report.wanted,
        );
        Error::data(message).with_hint(format!(
            "pass them: forecast({}, future => plan) with the columns {}; or give all of them a value: set => ({} = …)",
            manifest.name,
            needed_columns(manifest).join(", "),
            known.iter().map(|name| identifier(name)).collect::<Vec<_>>().join(" = …, "),
        ))
    }

    /// Puts the values of `set` into the future rows of the panel; each sees the columns as they were given.
    fn set(&self, panel: &mut Panel) -> Result<()> {
        if self.reading.set.is_empty() {
            return Ok(());
        }
        let future: Vec<usize> = (0..panel.len())
            .flat_map(|i| panel.offsets[i] + panel.history[i]..panel.offsets[i + 1])
            .collect();
        let given = panel.known.iter().zip(self.reading.known.fields()).map(|(covariate, field)| {
            let values = column_of(panel, covariate, &future);
            datafusion::arrow::compute::cast(&values, field.data_type())
        });
        let given = given.collect::<std::result::Result<_, _>>().map_err(DataFusionError::from)?;
        let given =
            RecordBatch::try_new(Arc::clone(&self.reading.known), given).map_err(DataFusionError::from)?;
        for (name, expr) in &self.reading.set {
            let values = expr.evaluate(&given)?.into_array(given.num_rows())?;
            let covariate = panel.known.iter_mut().find(|c| c.name == *name);
            let covariate = covariate.ok_or_else(|| Error::internal("no such covariate"))?;
            write_column(&mut covariate.values, &values, &future)?;
        }
        Ok(())
    }
}

/// Values of a known covariate at these rows; a missing one is the last value before it.
fn column_of(panel: &Panel, covariate: &Covariate, rows: &[usize]) -> ArrayRef {
    let start = |row: usize| panel.offsets.partition_point(|o| *o <= row) - 1;
    match &covariate.values {
        Values::Number(numbers) => {
            let carried = |row: usize| {
                let from = panel.offsets[start(row)];
                numbers[from..=row].iter().rev().find(|v| !v.is_nan()).copied()
            };
            Arc::new(rows.iter().map(|row| carried(*row)).collect::<datafusion::arrow::array::Float32Array>())
        }
        Values::Category { codes, labels } => {
            let carried = |row: usize| {
                let from = panel.offsets[start(row)];
                codes[from..=row].iter().rev().find(|c| **c != MISSING).map(|c| labels[*c as usize].as_str())
            };
            Arc::new(rows.iter().map(|row| carried(*row)).collect::<StringArray>())
        }
    }
}

fn write_column(values: &mut Values, column: &ArrayRef, rows: &[usize]) -> Result<()> {
    match values {
        Values::Number(numbers) => {
            let column = column.as_primitive::<Float32Type>();
            for (value, row) in column.iter().zip(rows) {
                numbers[*row] = value.unwrap_or(f32::NAN);
            }
        }
        Values::Category { codes, labels } => {
            for (value, row) in column.as_string::<i32>().iter().zip(rows) {
                codes[*row] = match value {
                    None => MISSING,
                    Some(word) => {
                        let found = labels.iter().position(|l| l == word);
                        let code = found.unwrap_or_else(|| {
                            labels.push(word.to_owned());
                            labels.len() - 1
                        });
                        u32::try_from(code).map_err(|_| Error::data("too many categories"))?
                    }
                };
            }
        }
    }
    Ok(())
}
