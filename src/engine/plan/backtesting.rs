//! What `backtest` and `evaluate` on new rows do: panels of the past, forecasts of windows of them, rows or scores.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::Stream;

use crate::engine::plan::forecasting::status_word;
use crate::engine::plan::input::InputColumn;
use crate::engine::plan::panels::{self, Told};
use crate::engine::plan::scores::{self, Entry, Named, column, grouped, static_columns};
use crate::engine::plan::series::from_instants;
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::plan::training::{refit_options, too_little_memory};
use crate::engine::query::QueryContext;
use crate::engine::registry::{Manifest, Model};
use crate::engine::shared::Engine;
use crate::engine::sql;
use crate::error::{Error, Result};
use crate::ml::Control;
use crate::ml::evaluation::{ScoreSums, scale};
use crate::ml::forecaster::{Family, FitOptions, Forecast, PredictOptions, Status};
use crate::ml::hierarchy::SummedRow;
use crate::ml::models::{self, BacktestWindow, Rolling};
use crate::ml::series::Panel;

/// One backtest, everything resolved.
#[derive(Debug)]
pub struct Backtest {
    /// The database.
    pub engine: Arc<Engine>,
    /// What is compared.
    pub contenders: Vec<Contender>,
    /// What they learn from.
    pub pasts: Vec<PastRows>,
    /// The windows that are forecast.
    pub windows: Windows,
    /// What a row is.
    pub rows: BacktestRows,
    /// The output.
    pub schema: SchemaRef,
}

/// One of those that are compared.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Its name in the rows.
    pub label: String,
    /// The past that it learns from.
    pub past: usize,
    /// What is fitted to it; `None` for what the model of the past is made of.
    pub family: Option<Family>,
}

/// The past of a model: an input, and one more where rows are aggregated to periods.
#[derive(Debug)]
pub struct PastRows {
    /// The model.
    pub model: Arc<Model>,
    /// The text model that reads the texts of its series, where it has one.
    pub encoder: Option<Arc<Model>>,
    /// The model whose network it began with, where it is fitted again.
    pub base: Option<Arc<Model>>,
    /// Columns of the rows and their roles.
    pub columns: Vec<InputColumn>,
    /// The next input tells of the rows of every period.
    pub has_periods: bool,
}

/// The windows that are forecast.
#[derive(Debug, Clone, Copy)]
pub enum Windows {
    /// Windows that roll over the past; models are fitted to what was known before them.
    Rolling(Rolling),
    /// All windows of the model's horizon after its training, by the model as it is.
    AfterTraining,
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterTraining => write!(f, "windows after the training"),
            Self::Rolling(Rolling { windows, step, horizon, refit_every }) => {
                write!(f, "windows={windows} step={step} horizon={horizon}")?;
                refit_every.map_or(Ok(()), |n| write!(f, " refit={n}"))
            }
        }
    }
}

/// What a row of the result is.
#[derive(Debug, Clone)]
pub enum BacktestRows {
    /// A step of a window of a series, with an interval of this level.
    Steps {
        /// Its level.
        level: f64,
    },
    /// Scores of what shares the values of some columns.
    Scores {
        /// The columns.
        by: Vec<String>,
        /// The scores are those of a version of a model.
        of_versions: bool,
    },
}

/// Streams the rows, contender by contender.
pub fn run(
    backtest: Arc<Backtest>,
    inputs: Vec<SendableRecordBatchStream>,
    query: Arc<QueryContext>,
    context: &TaskContext,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send + use<> {
    let memory = MemoryConsumer::new("backtest").register(context.memory_pool());
    let run = Run { told: vec![], inputs, next: 0, memory, query, backtest };
    futures::stream::try_unfold(run, |mut run| async move {
        let rows = run.next().await?;
        Ok(rows.map(|rows| (rows, run)))
    })
}

struct Run {
    backtest: Arc<Backtest>,
    inputs: Vec<SendableRecordBatchStream>,
    /// The pasts, once they are read.
    told: Vec<Arc<Told>>,
    /// The contender whose turn it is.
    next: usize,
    memory: MemoryReservation,
    query: Arc<QueryContext>,
}

impl Run {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.told.is_empty() {
            self.read().await?;
        }
        let Some(contender) = self.backtest.contenders.get(self.next).cloned() else { return Ok(None) };
        self.next += 1;
        let told = Arc::clone(&self.told[contender.past]);
        let windows = self.forecast(&contender, &told).await?;
        let naive = match self.backtest.rows {
            BacktestRows::Steps { .. } => vec![],
            BacktestRows::Scores { .. } => self.naive(contender.past, &windows, &told).await?,
        };
        let model = &self.backtest.pasts[contender.past].model;
        let output = Output { backtest: &self.backtest, label: &contender.label, model, told: &told };
        match &self.backtest.rows {
            BacktestRows::Steps { .. } => output.steps(&windows).map(Some),
            BacktestRows::Scores { by, of_versions } => {
                output.scores(&[windows, naive], by, *of_versions).map(Some)
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.query.control.report(|p| p.phase = "read");
        let mut inputs = std::mem::take(&mut self.inputs).into_iter();
        for past in &self.backtest.pasts {
            let rows = inputs.next().ok_or_else(|| Error::internal("a past without rows"))?;
            let periods = if past.has_periods { inputs.next() } else { None };
            let memory = self.memory.new_empty();
            let manifest = past.model.manifest();
            let texts = SeriesTexts::of(&past.model, past.encoder.as_deref())?;
            let known = (manifest, texts.as_ref());
            let told = panels::read(known, &past.columns, (rows, periods), &self.query, &memory).await?;
            self.memory.try_grow(memory.free())?;
            self.told.push(Arc::new(told));
        }
        Ok(())
    }

    /// Everything that is asked of the forecasts of a window.
    fn wanted(&self, horizon: usize) -> PredictOptions {
        let interval_levels = match self.backtest.rows {
            BacktestRows::Steps { level } => vec![level],
            BacktestRows::Scores { .. } => vec![],
        };
        let quantile_levels = self.levels().to_vec();
        PredictOptions { horizon, quantile_levels, interval_levels, ..PredictOptions::default() }
    }

    /// The levels at which quantiles are scored: those of the first model.
    fn levels(&self) -> &[f64] {
        &self.backtest.pasts[0].model.manifest().quantile_levels
    }

    async fn forecast(&mut self, contender: &Contender, told: &Arc<Told>) -> Result<Vec<BacktestWindow>> {
        let past = &self.backtest.pasts[contender.past];
        let (model, base) = (Arc::clone(&past.model), past.base.clone());
        let (told, manifest) = (Arc::clone(told), model.manifest());
        let runtimes = &self.backtest.engine.runtimes;
        match self.backtest.windows {
            Windows::Rolling(rolling) => {
                let families = match contender.family {
                    Some(family) => vec![family],
                    None => families(manifest)?,
                };
                let options = refit_options(base.as_deref(), manifest)?;
                let options = FitOptions { horizon: rolling.horizon, ..options };
                let memory = self.reserve(&families, told.whole(), &options, &rolling)?;
                if runtimes.is_training() {
                    self.query.notice("a training runs; the backtest begins when it has ended");
                }
                let wanted = self.wanted(rolling.horizon);
                let windows = runtimes.train(&self.query.control, move |control| {
                    let _memory = memory;
                    models::backtest(&families, told.past(), &options, &wanted, &rolling, control)
                });
                windows.await
            }
            Windows::AfterTraining => {
                let cutoffs = cutoffs_after(manifest, &told.panel)?;
                let (wanted, model) = (self.wanted(manifest.horizon), Arc::clone(&model));
                let series = told.whole().len() * cutoffs.len();
                let windows = runtimes.predict(series, &self.query.control, move |control| {
                    let forecaster = model.forecaster()?;
                    let window = |cutoff: &i64| {
                        models::window(&*forecaster, told.past(), (*cutoff, i64::MIN), &wanted, control)
                    };
                    cutoffs.iter().map(window).collect()
                });
                windows.await
            }
        }
    }

    /// Seasonal naive on the same windows.
    async fn naive(
        &mut self,
        past: usize,
        windows: &[BacktestWindow],
        told: &Arc<Told>,
    ) -> Result<Vec<BacktestWindow>> {
        let Some(first) = windows.first() else { return Ok(vec![]) };
        let manifest = self.backtest.pasts[past].model.manifest();
        let horizon = first.forecast.horizon;
        let options = FitOptions { horizon, ..manifest.options.clone() };
        let (told, wanted) = (Arc::clone(told), self.wanted(horizon));
        let cutoffs: Vec<i64> = windows.iter().map(|window| window.cutoff).collect();
        let run =
            move |control: &Arc<Control>| models::naive(told.past(), &cutoffs, &options, &wanted, control);
        let series = windows.iter().map(|w| w.panel.len()).sum();
        self.backtest.engine.runtimes.predict(series, &self.query.control, run).await
    }

    /// Sets aside what fits side by side need.
    fn reserve(
        &self,
        families: &[Family],
        panel: &Panel,
        options: &FitOptions,
        rolling: &Rolling,
    ) -> Result<MemoryReservation> {
        let estimate = models::estimate(families, panel, options, &self.query.control)?;
        let fits = rolling.refit_every.map_or(1, |every| rolling.windows.div_ceil(every));
        let beside = fits.min(std::thread::available_parallelism().map_or(1, usize::from));
        let memory = self.memory.new_empty();
        let needed = beside * (estimate.memory_bytes + panel.bytes());
        memory.try_grow(needed).map_err(|_| too_little_memory(needed))?;
        Ok(memory)
    }
}

/// The families of the statement that trained a model.
fn families(manifest: &Manifest) -> Result<Vec<Family>> {
    let using = sql::parse_text(&manifest.sql)?.families();
    Ok(if using.is_empty() { vec![Family::Auto] } else { using })
}

/// The last periods before the windows of the horizon that begin after the training.
fn cutoffs_after(manifest: &Manifest, panel: &Panel) -> Result<Vec<i64>> {
    let trained = manifest.frequency.period(manifest.origin, manifest.panel.last_time);
    let last = panel.last_period().unwrap_or(trained);
    if last <= trained {
        let end = manifest.time_kind.format(manifest.panel.last_time);
        let message = format!("no row lies after {end}, where the training of model {} ended", manifest.name);
        return Err(Error::data(message).with_hint(format!(
            "SELECT * FROM evaluate({}) tells how it did on the steps held out in training",
            manifest.name
        )));
    }
    Ok((trained..last).step_by(manifest.horizon.max(1)).collect())
}

/// The rows of one contender.
struct Output<'a> {
    backtest: &'a Backtest,
    label: &'a str,
    model: &'a Model,
    told: &'a Told,
}

/// A step that came true.
struct Step<'a> {
    window: &'a BacktestWindow,
    /// Its series or sum.
    of: &'a SummedRow,
    /// Its place in the panel of all of them.
    place: usize,
    /// Counted from 0.
    step: usize,
}

impl Step<'_> {
    fn at(&self) -> usize {
        self.of.node * self.window.forecast.horizon + self.step
    }

    fn status(&self) -> Option<Status> {
        self.window.forecast.status[self.of.node]
    }

    /// A value of the forecast, where there was something to say.
    fn value(&self, of: impl Fn(&Forecast) -> f64) -> Option<f64> {
        (self.status() != Some(Status::NoHistory)).then(|| of(&self.window.forecast))
    }
}

impl Output<'_> {
    fn steps(&self, windows: &[BacktestWindow]) -> Result<RecordBatch> {
        let panel = self.told.whole();
        let steps: Vec<Step<'_>> = windows
            .iter()
            .flat_map(|window| {
                let of_row = move |of| {
                    window.steps(panel, of).map(move |(place, step)| Step { window, of, place, step })
                };
                window.rows.iter().flat_map(of_row)
            })
            .collect();
        let number = |of: &dyn Fn(&Step<'_>) -> Option<f64>| -> ArrayRef {
            Arc::new(steps.iter().map(of).collect::<Float64Array>())
        };
        let rows: UInt32Array = steps.iter().map(|s| Some(s.of.row as u32)).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![self.label; steps.len()]))];
        for key in &self.told.keys {
            columns.push(take(key, &rows, None).map_err(|e| Error::internal(e.to_string()))?);
        }
        columns.push(self.times(steps.iter().map(|s| s.window.cutoff))?);
        columns.push(self.times(steps.iter().map(|s| s.window.panel.first_step(s.of.node) + s.step as i64))?);
        columns.push(Arc::new(steps.iter().map(|s| Some(s.step as i64 + 1)).collect::<Int64Array>()));
        columns.push(number(&|s| Some(panel.target[s.place]).filter(|y| !y.is_nan())));
        columns.push(number(&|s| s.value(|f| f.point[s.at()])));
        columns.push(number(&|s| s.value(|f| f.intervals[s.at()].0)));
        columns.push(number(&|s| s.value(|f| f.intervals[s.at()].1)));
        columns.push(Arc::new(steps.iter().map(|s| Some(s.window.refit)).collect::<BooleanArray>()));
        let status = steps.iter().map(|s| s.status().map(status_word));
        columns.push(Arc::new(status.collect::<StringArray>()));
        self.batch(columns)
    }

    fn scores(
        &self,
        windows: &[Vec<BacktestWindow>; 2],
        by: &[String],
        of_versions: bool,
    ) -> Result<RecordBatch> {
        let entries = self.entries(windows, by.iter().any(|name| name == "step"));
        let all: Named = self.groups(&entries)?;
        let name = self.model.manifest().name.as_str();
        let groups = by.iter().map(|by| column(name, &all, by).cloned()).collect::<Result<Vec<_>>>()?;
        let entries: Vec<Entry> = entries.into_iter().map(|(entry, ..)| entry).collect();
        let (groups, scores) = grouped(&groups, &entries)?;
        let rows = scores.len();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![self.label; rows]))];
        if of_versions {
            let version = self.model.manifest().version as i64;
            columns.push(Arc::new(Int64Array::from(vec![version; rows])));
            columns.push(Arc::new(StringArray::from(vec!["new rows"; rows])));
        }
        columns.extend(groups);
        columns.extend(scores::columns(&scores));
        self.batch(columns)
    }

    /// The sums of every series and window, of every step where they are told apart, with cutoff and step.
    fn entries(&self, [model, naive]: &[Vec<BacktestWindow>; 2], by_step: bool) -> Vec<(Entry, i64, i64)> {
        let (panel, mut entries) = (self.told.whole(), vec![]);
        let levels = &self.backtest.pasts[0].model.manifest().quantile_levels;
        for (window, naive) in model.iter().zip(naive) {
            let horizon = window.forecast.horizon;
            for of in &window.rows {
                let mut actual = vec![f64::NAN; horizon];
                window.steps(panel, of).for_each(|(place, step)| actual[step] = panel.target[place]);
                let scale = scale(window.panel.history_of(of.node), panel.season_length);
                let sums = |actual: &[f64]| {
                    [window, naive].map(|window| {
                        let mut sums = ScoreSums::default();
                        sums.add(scale, of.node, actual, &window.forecast, levels);
                        sums
                    })
                };
                let entry = |sums, step| (Entry { series: of.row, sums }, window.cutoff, step);
                if !by_step {
                    entries.push(entry(sums(&actual), 0));
                    continue;
                }
                for step in (0..horizon).filter(|step| !actual[*step].is_nan()) {
                    let mut one = vec![f64::NAN; horizon];
                    one[step] = actual[step];
                    entries.push(entry(sums(&one), step as i64 + 1));
                }
            }
        }
        entries.retain(|(entry, ..)| !entry.sums[0].is_empty());
        entries
    }

    /// The columns that entries can be grouped by.
    fn groups(&self, entries: &[(Entry, i64, i64)]) -> Result<Named> {
        let manifest = self.model.manifest();
        let rows = || entries.iter().map(|(entry, ..)| entry.series);
        let keys = manifest.key_columns().map(str::to_owned).zip(self.told.keys.iter().cloned());
        let mut all = scores::at(keys.collect(), &rows().map(|row| Some(row as u32)).collect())?;
        let nodes = rows().map(|row| Some(self.told.node(row) as u32)).collect();
        all.extend(scores::at(static_columns(&self.told.whole().statics, &manifest.roles), &nodes)?);
        all.push(("cutoff".to_owned(), self.times(entries.iter().map(|(_, cutoff, _)| *cutoff))?));
        let steps: Int64Array = entries.iter().map(|(.., step)| Some(*step)).collect();
        all.push(("step".to_owned(), Arc::new(steps)));
        Ok(all)
    }

    /// Periods in the type of the user's time.
    fn times(&self, periods: impl Iterator<Item = i64>) -> Result<ArrayRef> {
        let instant = |period| {
            let lost = || Error::data("the backtest reaches beyond the range of time");
            self.told.panel.instant(period).ok_or_else(lost)
        };
        from_instants(periods.map(instant).collect::<Result<_>>()?, &self.told.time_type)
    }

    /// The columns in the types of the output.
    fn batch(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let schema = Arc::clone(&self.backtest.schema);
        let typed = columns.into_iter().zip(schema.fields()).map(|(column, field)| {
            let data_type: &DataType = field.data_type();
            if column.data_type() == data_type { Ok(column) } else { cast(&column, data_type) }
        });
        typed
            .collect::<std::result::Result<Vec<_>, _>>()
            .and_then(|columns| RecordBatch::try_new(schema, columns))
            .map_err(|e| Error::internal(e.to_string()))
    }
}
