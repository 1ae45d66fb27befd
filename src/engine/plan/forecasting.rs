//! What `forecast` does with its rows: panels of a few hundred series, predictions, output rows.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{concat, take};
use datafusion::arrow::datatypes::{DataType, Float32Type, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_plan::{EmptyRecordBatchStream, PhysicalExpr};
use futures::{Stream, StreamExt};

use crate::engine::plan::forecast::{Shape, needed_columns, quantile_name};
use crate::engine::plan::input::{InputColumn, Role};
use crate::engine::plan::past::Origin;
use crate::engine::plan::series::{Runs, SeriesLayout, column_spec, from_instants, incomplete, instants};
use crate::engine::query::QueryContext;
use crate::engine::registry::{Model, ModelRole};
use crate::engine::shared::Engine;
use crate::error::{Error, Result, Subject};
use crate::ml::Control;
use crate::ml::evaluation::levels::{lower_level, upper_level};
use crate::ml::features::RowColumn;
use crate::ml::forecaster::{Forecast, PredictOptions, Status};
use crate::ml::series::{
    ColumnSpec, Covariate, FinishOptions, FutureReport, FutureRows, Grid, Incomplete, MISSING, Panel,
    PanelBuilder, Values,
};

/// Series per panel: enough for one wide forward pass, few enough to stream.
const SERIES_PER_PANEL: usize = 512;

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
    last_key: Option<String>,
}

impl Chunk {
    fn new(layout: &SeriesLayout, schema: &SchemaRef, table: &str) -> Self {
        Self { builder: PanelBuilder::new(layout.panel_schema(table, schema)), keys: vec![], last_key: None }
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.given.is_none() {
            self.read_others().await?;
        }
        while !self.done {
            self.query.control.check()?;
            if self.fill()? {
                return self.predict().await.map(Some);
            }
            match self.history.next().await.transpose()? {
                Some(batch) if batch.num_rows() > 0 => {
                    let runs = Runs::new(&batch, &self.layout, &self.table)?;
                    self.pending = Some((batch, Arc::new(runs), 0));
                }
                Some(_) => {}
                None => {
                    self.done = true;
                    if !self.chunk.builder.is_empty() {
                        return self.predict().await.map(Some);
                    }
                }
            }
        }
        Ok(None)
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
        for n in first..runs.len() {
            let (row, key) = runs.key(n)?;
            if self.chunk.last_key.as_deref() != Some(&key) {
                if self.chunk.keys.len() == SERIES_PER_PANEL {
                    self.pending = Some((batch, runs, n));
                    return Ok(true);
                }
                let one = UInt32Array::from(vec![row as u32]);
                let columns = &batch.columns()[..self.layout.keys.len()];
                let taken =
                    columns.iter().map(|c| take(c, &one, None)).collect::<std::result::Result<_, _>>();
                self.chunk.keys.push(taken.map_err(|e| Error::internal(e.to_string()))?);
                self.chunk.last_key = Some(key.clone());
            }
            let builder = &mut self.chunk.builder;
            runs.with_run(n, |rows| builder.append(&key, rows))?;
        }
        Ok(false)
    }

    async fn predict(&mut self) -> Result<RecordBatch> {
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
        let all_keys = chunk.keys;
        let text_keys: Vec<String> = chunk.builder.keys().to_vec();
        let (panel, _) = chunk.builder.finish(&finish, &self.query.control)?;
        let kept: Vec<usize> = kept_series(&text_keys, &panel.keys);
        let horizon = self.horizon(&panel)?;
        let panel = self.with_future(panel, horizon)?;
        let keys: Vec<Vec<ArrayRef>> = kept.into_iter().map(|i| all_keys[i].clone()).collect();
        let model = Arc::clone(&self.reading.model);
        let shared = Arc::new(panel);
        let input = Arc::clone(&shared);
        let steps = Steps { reading: &self.reading, panel: &shared, keys };
        if let Some(columns) = &self.reading.features {
            let work = move |_: &Control| model.forecaster()?.featurize(&input, horizon);
            let runtimes = &self.reading.engine.runtimes;
            let values = runtimes.predict(shared.len(), &self.query.control, work).await?;
            return feature_rows(&steps, horizon, columns, &values);
        }
        let options = PredictOptions { horizon, quantile_levels: self.reading.shape.quantile_levels() };
        let forecast = self
            .reading
            .engine
            .runtimes
            .predict(shared.len(), &self.query.control, move |control| {
                model.forecaster()?.predict(&input, &options, control)
            })
            .await?;
        Output { reading: &self.reading, panel: &shared, forecast: &forecast, steps }.rows()
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
        let covered = self.layout.known.len() == self.reading.set.len();
        if report.absent > 0 && !covered {
            return Err(self.missing_future(&panel, &report, horizon));
        }
        self.set(&mut panel)?;
        if let Some(holidays) = holidays {
            holidays.extend(&mut panel)?;
        }
        Ok(panel)
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
            known.join(" = …, "),
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

/// Which of the series that were read are in the panel.
fn kept_series(read: &[String], kept: &[String]) -> Vec<usize> {
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

/// Keys and times of output rows.
struct Steps<'a> {
    reading: &'a Reading,
    panel: &'a Panel,
    /// Key columns of every series, one row each.
    keys: Vec<Vec<ArrayRef>>,
}

/// The rows of one panel's forecasts.
struct Output<'a> {
    reading: &'a Reading,
    panel: &'a Panel,
    forecast: &'a Forecast,
    steps: Steps<'a>,
}

/// One output row: a step of a series, counted from 1, or a row of its history (0 or less).
struct Place {
    series: usize,
    step: i64,
}

impl Steps<'_> {
    /// Key columns, then time.
    fn columns(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.key_columns(places)?;
        columns.push(self.time_column(places)?);
        Ok(columns)
    }

    fn key_columns(&self, places: &[Place]) -> Result<Vec<ArrayRef>> {
        let count = self.keys.first().map_or(0, Vec::len);
        let index: UInt32Array = places.iter().map(|p| p.series as u32).collect();
        let mut columns = vec![];
        for k in 0..count {
            let parts: Vec<&dyn Array> = self.keys.iter().map(|row| row[k].as_ref()).collect();
            let all = concat(&parts).and_then(|all| take(&all, &index, None));
            columns.push(all.map_err(|e| Error::internal(e.to_string()))?);
        }
        Ok(columns)
    }

    fn time_column(&self, places: &[Place]) -> Result<ArrayRef> {
        let at = self.reading.columns.iter().filter(|c| c.role == Role::Key).count();
        let data_type: &DataType = self.reading.schema.field(at).data_type();
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            let period = self.panel.first_step(place.series) + place.step - 1;
            let instant = self.panel.instant(period);
            found.push(instant.ok_or_else(|| Error::data("the forecast reaches beyond the range of time"))?);
        }
        from_instants(found, data_type)
    }
}

/// The rows that a model sees of the steps after every history.
fn feature_rows(
    steps: &Steps<'_>,
    horizon: usize,
    features: &[RowColumn],
    values: &[f32],
) -> Result<RecordBatch> {
    let step = |row: usize| (row % horizon) as i64 + 1;
    let rows = steps.panel.len() * horizon;
    let places: Vec<Place> = (0..rows).map(|row| Place { series: row / horizon, step: step(row) }).collect();
    let mut columns = steps.columns(&places)?;
    columns.push(Arc::new((0..rows).map(step).collect::<Int64Array>()));
    for (at, feature) in features.iter().enumerate().filter(|(_, feature)| feature.name != "step") {
        let value = |row: usize| Some(values[row * features.len() + at]).filter(|x| x.is_finite());
        columns.push(match &feature.words {
            None => Arc::new((0..rows).map(|row| value(row).map(f64::from)).collect::<Float64Array>()),
            Some(words) => {
                let word = |row: usize| words.get((value(row)? as usize).checked_sub(1)?).map(String::as_str);
                Arc::new((0..rows).map(word).collect::<StringArray>())
            }
        });
    }
    RecordBatch::try_new(Arc::clone(&steps.reading.schema), columns)
        .map_err(|e| Error::internal(e.to_string()))
}

impl Output<'_> {
    fn rows(&self) -> Result<RecordBatch> {
        let places = self.places();
        let mut columns = self.steps.columns(&places)?;
        if self.reading.shape.history.is_some() {
            let kind = places.iter().map(|p| if p.step > 0 { "forecast" } else { "history" });
            columns.push(Arc::new(kind.map(Some).collect::<StringArray>()));
            columns.push(Arc::new(self.numbers(&places, |p| self.actual(p))));
        }
        columns.push(Arc::new(places.iter().map(|p| (p.step > 0).then_some(p.step)).collect::<Int64Array>()));
        columns.push(Arc::new(self.numbers(&places, |p| self.point(p))));
        for level in &self.reading.shape.levels {
            let lower = self.quantile(&places, lower_level(*level))?;
            columns.push(Arc::new(lower.clone()));
            columns.push(Arc::new(self.upper(&places, *level, &lower)?));
        }
        for level in &self.reading.shape.quantiles {
            columns.push(Arc::new(self.quantile(&places, *level)?));
        }
        let version = self.reading.model.manifest().version as i64;
        columns.push(Arc::new(Int64Array::from(vec![version; places.len()])));
        let status = places.iter().map(|p| self.status(p).map(status_word));
        columns.push(Arc::new(status.collect::<StringArray>()));
        RecordBatch::try_new(Arc::clone(&self.reading.schema), columns)
            .map_err(|e| Error::internal(e.to_string()))
    }

    fn places(&self) -> Vec<Place> {
        let manifest = self.reading.model.manifest();
        let mut places = vec![];
        for series in 0..self.panel.len() {
            let before = self.reading.shape.history.map_or(0, |n| n.min(self.panel.history[series])) as i64;
            let steps = match self.reading.until {
                Some(until) => {
                    manifest.frequency.period(manifest.origin, until) - self.panel.first_step(series) + 1
                }
                None => self.forecast.horizon as i64,
            };
            places.extend((1 - before..=steps.max(0)).map(|step| Place { series, step }));
        }
        places
    }

    fn numbers(&self, places: &[Place], value: impl Fn(&Place) -> Option<f64>) -> Float64Array {
        places.iter().map(value).collect()
    }

    fn actual(&self, place: &Place) -> Option<f64> {
        let back = usize::try_from(-place.step).ok()? + 1;
        let row = self.panel.offsets[place.series] + self.panel.history[place.series].checked_sub(back)?;
        self.panel.target.get(row).copied().filter(|v| !v.is_nan())
    }

    /// The step, counted from 0, where the model has something to say.
    fn forecast_step(&self, place: &Place) -> Option<usize> {
        let lost = self.forecast.status[place.series] == Some(Status::NoHistory);
        usize::try_from(place.step - 1).ok().filter(|_| !lost)
    }

    /// The status of a step; only those beyond the trained horizon are extended.
    fn status(&self, place: &Place) -> Option<Status> {
        let trained = self.reading.model.manifest().horizon as i64;
        let applies = |status: &Status| *status != Status::Extended || place.step > trained;
        self.forecast.status[place.series].filter(|status| place.step > 0 && applies(status))
    }

    fn point(&self, place: &Place) -> Option<f64> {
        let step = self.forecast_step(place)?;
        self.forecast.point.get(place.series * self.forecast.horizon + step).copied()
    }

    /// Upper bounds of the intervals of a level, above these lower bounds.
    fn upper(&self, places: &[Place], level: f64, lower: &Float64Array) -> Result<Float64Array> {
        let usual = self.quantile(places, upper_level(level, 1.0))?;
        let from_nothing = self.quantile(places, upper_level(level, 0.0))?;
        let bounds = places.iter().zip(lower).zip(usual.iter().zip(&from_nothing));
        let upper = bounds.map(|((place, lower), (usual, other))| match lower {
            Some(0.0) => other.map(|other| other.max(self.point(place).unwrap_or(other))),
            _ => usual,
        });
        Ok(upper.collect())
    }

    fn quantile(&self, places: &[Place], level: f64) -> Result<Float64Array> {
        let levels = &self.forecast.quantile_levels;
        let at = levels.iter().position(|l| (l - level).abs() < 1e-9);
        let at = at.ok_or_else(|| Error::internal(format!("the model gave no {}", quantile_name(level))))?;
        Ok(self.numbers(places, |p| {
            let step = self.forecast_step(p)?;
            let row = p.series * self.forecast.horizon + step;
            self.forecast.quantiles.get(row * levels.len() + at).copied()
        }))
    }
}

/// The word of a status in SQL.
fn status_word(status: Status) -> &'static str {
    match status {
        Status::NoHistory => "failed: no history",
        Status::ShortHistory => "short_history",
        Status::FallbackNaive => "fallback_naive",
        Status::Extended => "extended",
        Status::CovariatesCarried => "covariates_carried",
        Status::ConstantSeries => "constant_series",
        Status::ColdStart => "cold_start",
    }
}
