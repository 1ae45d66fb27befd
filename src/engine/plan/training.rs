//! What TRAIN does with its rows: panel, roles, fit, publish, and the row that tells of it.

mod distilled;
mod explain;
mod forecast;
mod needs;
mod pretrain;
mod refreshed;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::metrics::Count;
use futures::StreamExt;

use crate::engine::controlled::controlled;
use crate::engine::options::TrainOptions;
use crate::engine::plan::hierarchy::{hierarchy, keys_of_rows};
use crate::engine::plan::input::{InputColumn, Role, table_name};
use crate::engine::plan::new_model::{NewModel, publish};
use crate::engine::plan::panels::{SeriesRows, read_series};
use crate::engine::plan::refresh::{Change, Refresh};
use crate::engine::plan::scores::{self, Named, static_columns};
use crate::engine::plan::series::{SeriesLayout, incomplete, kept_series};
use crate::engine::plan::training::distilled::{Compared, Teacher};
use crate::engine::plan::training::needs::{Needs, reading_bytes};
use crate::engine::query::QueryContext;
use crate::engine::registry::{ColumnRole, Contents, Manifest, Model, ModelRole, PublishMode};
use crate::engine::running::RunningTraining;
use crate::engine::shared::Engine;
use crate::engine::sql::{HolidaysClause, TrainStatement, fold};
use crate::engine::storage::{Acl, sql_name};
use crate::error::{Error, Result, identifier};
use crate::ml::Control;
use crate::ml::evaluation::ScoreSums;
use crate::ml::features::{Holidays, ListedDay, Outliers, Texts};
use crate::ml::forecaster::{
    Candidate, Family, FitOptions, FitReport, FittedForecaster, SeriesScores, Trial,
};
use crate::ml::foundation::{Base, FoundationConfig};
use crate::ml::hierarchy::{Hierarchy, Rollup, align};
use crate::ml::models::{self, BASE_NAME, Tuning};
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::{
    Covariate, FinishOptions, Gaps, Grid, Incomplete, MISSING, Panel, PanelReport, PanelSchema, Values,
};

pub use distilled::teacher_fields;
pub use explain::dry_run;
pub use forecast::forecast;
pub use needs::too_little_memory;
pub use pretrain::{Pretraining, pretrain};
pub use refreshed::{Changed, compressed_row, refreshed_schema};

/// One TRAIN, ready to read its rows.
#[derive(Debug)]
pub struct Job {
    /// The database.
    pub engine: Arc<Engine>,
    /// The statement.
    pub statement: Arc<TrainStatement>,
    /// Columns of the rows and their roles.
    pub columns: Vec<InputColumn>,
    /// Which keys are rolled up.
    pub rollup: Option<Rollup>,
    /// Columns left out by inference, with reasons.
    pub skipped: Vec<(String, String)>,
    /// The input after the rows tells of the rows of every period.
    pub has_periods: bool,
    /// Tables the rows come from.
    pub lineage: Arc<Vec<(String, u64)>>,
    /// Options.
    pub options: TrainOptions,
    /// The search for some of them.
    pub tuning: Option<Tuning>,
    /// The model whose network foundation models begin with; none for the one that ships with the engine.
    pub base: Option<Arc<Model>>,
    /// The text model that reads the texts of series; none where their words are weighed.
    pub encoder: Option<Arc<Model>>,
    /// The model that goes on, where one does.
    pub refresh: Option<Refresh>,
    /// The role that trains; none for the owner of the database.
    pub owner: Option<String>,
    /// The session that begins it.
    pub pid: i64,
}

/// The sums of the series of a job.
struct Sums {
    hierarchy: Hierarchy,
    /// How their forecasts are reconciled.
    method: Reconciliation,
    /// Series without rows up to the end of the others.
    ended: usize,
}

/// The panel of a job and what was learnt while reading it.
struct Prepared {
    panel: Panel,
    /// The keys of its series, and of the rows of sums, in the user's types.
    keys: Vec<ArrayRef>,
    /// What is known of the sums that are further series of the panel.
    sums: Option<Sums>,
    report: PanelReport,
    roles: Vec<ColumnRole>,
    /// The holidays that the model sees, and the names of their columns.
    holidays: Option<(Holidays, Vec<String>)>,
    /// How texts of series become numbers.
    texts: Option<Texts>,
    schema: PanelSchema,
    fit: FitOptions,
    /// The periods at the ends of the data whose rows are not all there.
    incomplete: Incomplete,
    /// Bytes that the reading took.
    reading: usize,
    memory: MemoryReservation,
}

impl Job {
    fn name(&self) -> String {
        fold(&self.statement.name)
    }

    fn enter(&self, control: &Arc<Control>) -> RunningTraining {
        self.engine.trainings.enter(&self.name(), self.pid, control, Acl::of_owner(self.owner.clone()))
    }

    /// The network that foundation models begin with, where it is not the one that ships with the engine.
    fn base(&self) -> Result<Option<Base>> {
        let begins = self.base.as_ref().filter(|_| !self.options.distills());
        begins.map(|base| Base::read(&base.network()?)).transpose()
    }

    fn gaps(&self) -> Gaps {
        self.statement.gaps.unwrap_or_default()
    }

    fn outliers(&self) -> Outliers {
        self.statement.outliers.unwrap_or_default()
    }
}

/// Trains, and with `publish` stores the model as the active version of its name.
pub async fn train(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
    publish: bool,
    epochs: &Count,
) -> Result<Vec<ArrayRef>> {
    if publish && let Some(version) = skips(job, query)? {
        return existing_row(job, &job.name(), version);
    }
    let running = job.enter(&query.control);
    let trained = fit(job, inputs, query, pool, publish, epochs).await;
    running.end(trained.as_ref().map(|trained| publish.then_some(trained.version)).map_err(Clone::clone));
    trained.map(|trained| trained.row)
}

/// Starts a training that goes on when its statement and its session have ended; the row tells its number.
pub fn train_in_background(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Vec<ArrayRef>> {
    if skips(job, query)?.is_some() {
        return Ok(job_row(None, &job.name()));
    }
    // The deadline of the statement is none of the training.
    query.control.set_deadline(None);
    let own = Arc::new(QueryContext::default());
    let running = job.enter(&own.control);
    let row = job_row(i64::try_from(running.job()).ok(), &job.name());
    let (job, pool, control) = (Arc::clone(job), Arc::clone(pool), Arc::clone(&own.control));
    tokio::spawn(controlled(control, async move {
        let trained = fit(&job, inputs, &own, &pool, true, &Count::new()).await;
        running.end(trained.map(|trained| Some(trained.version)));
    }));
    Ok(row)
}

fn job_row(number: Option<i64>, model: &str) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(vec![number])), Arc::new(StringArray::from(vec![model]))]
}

/// The version of a model that IF NOT EXISTS leaves alone.
fn skips(job: &Job, query: &QueryContext) -> Result<Option<u64>> {
    let TrainStatement { or_replace, if_not_exists, .. } = *job.statement;
    let model = NewModel { name: job.name(), or_replace, if_not_exists };
    model.existing(&job.engine, query, "TRAIN OR REPLACE FORECAST MODEL")
}

/// What a training gives.
struct Trained {
    version: u64,
    row: Vec<ArrayRef>,
}

async fn fit(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
    publish: bool,
    epochs: &Count,
) -> Result<Trained> {
    let (started, name) = (Instant::now(), job.name());
    let Prepared { panel, keys, sums, report, roles, holidays, texts, schema, fit, reading, memory, .. } =
        prepare(job, inputs, query, pool).await?;
    if let Some(row) = refreshed::unchanged(job, &report, query) {
        return Ok(row);
    }
    let nodes = sums.as_ref().map(|sums| sums.hierarchy.row_nodes().collect::<Vec<_>>());
    let series = series_columns(keys, &roles, &panel, nodes.as_deref())?;
    let families = job.options.families.clone();
    let family = if let [family] = families[..] { family } else { Family::Auto };
    let estimate = models::estimate(&families, &panel, &fit, &query.control)?;
    let needs = Needs::new(job, (&panel, &fit), &estimate, reading);
    memory.try_resize(needs.of_fit()).map_err(|_| too_little_memory(needs.peak()))?;
    let (season, frequency, origin) = (panel.season_length, panel.frequency, panel.origin);
    let longest = panel.history.iter().copied().max().unwrap_or(0);
    let (options, tuning, own, rows) = (fit.clone(), job.tuning.clone(), Arc::clone(job), report.clone());
    let reconciliation = sums.as_ref().map(|sums| sums.method);
    if job.engine.runtimes.is_training() {
        query.notice("another training runs; this one begins when it has ended");
        query.control.report(|p| p.phase = "wait");
    }
    // Reading counts, waiting for another training does not.
    let read = started.elapsed();
    let work = move |control: &Arc<Control>| {
        learn_taught(&own, (&panel, &rows), sums.as_ref(), (options, read), tuning, control)
    };
    let Learnt { model, report: fit_report, options, weights, change, compared } =
        job.engine.runtimes.train(&query.control, work).await?;
    drop(memory);
    if change.is_none() {
        tell_failures(&fit_report.candidates, query);
    }
    // Scores of sums are of other forecasts than those of seasonal naive.
    if job.refresh.is_none() && nodes.is_none() {
        tell_scores(&name, (longest, season), &fit_report, query);
    }
    tell_trials(&fit_report.trials, job, &options, query);
    epochs.add(fit_report.epochs);
    let seconds = started.elapsed().as_secs_f64();
    let manifest = Manifest {
        family: models::family_name(family).to_owned(),
        sql: job.statement.to_string(),
        horizon: fit.horizon,
        quantile_levels: fit.quantile_levels.clone(),
        roles,
        frequency,
        origin,
        time_kind: schema.time_kind,
        season_length: season,
        gaps: job.gaps(),
        hierarchy: job.rollup.clone(),
        reconciliation,
        holidays: holidays.map(|(holidays, _)| holidays),
        seed: fit.seed,
        context_length: model.context_length(),
        options,
        table_versions: job.lineage.as_ref().clone(),
        base: job.base.as_ref().map(|base| (base.manifest().name.clone(), base.manifest().version)),
        encoder: job.encoder_of_texts(),
        panel: report.clone(),
        report: fit_report.clone(),
        seconds,
        comment: job.statement.comment.clone(),
        ..Manifest::new(&name, Utc::now())
    };
    let manifest = match &job.refresh {
        Some(refresh) => refreshed::manifest(refresh, manifest),
        None => manifest,
    };
    query.control.check()?;
    let scores = match &nodes {
        _ if fit_report.series.model.is_empty() => vec![],
        None => scores::encode(series, &fit_report.series)?,
        Some(nodes) => scores::encode(series, &scores_of(nodes, &fit_report.series))?,
    };
    let texts = texts.as_ref().map(Texts::to_bytes).transpose()?.unwrap_or_default();
    let mut contents = Contents { weights, scores, texts };
    if let Some(Refresh { model, change: Change::Shrinks(_) }) = &job.refresh {
        contents.scores = model.scores()?.unwrap_or_default();
    }
    if let (Some(refresh), Some(changed)) = (&job.refresh, change) {
        let promoted = refreshed::is_promoted(refresh, &fit_report, &changed);
        let version = match promoted && publish {
            true => store(job, &name, manifest, contents).await?,
            false => refresh.model.manifest().version,
        };
        let row = refreshed::row(refresh, (version, promoted), &report, (&fit_report, &changed), seconds);
        return Ok(Trained { version, row });
    }
    let version = if publish { store(job, &name, manifest, contents).await? } else { 0 };
    let mut row = result_row(&name, version, &report, &fit_report, seconds);
    row.extend(job.teacher_name().into_iter().flat_map(|name| Compared::row(compared.as_ref(), name)));
    Ok(Trained { version, row })
}

/// The columns that tell the series apart, by which their scores are kept; with sums, those of the rows that have these
/// nodes.
fn series_columns(
    keys: Vec<ArrayRef>,
    roles: &[ColumnRole],
    panel: &Panel,
    nodes: Option<&[usize]>,
) -> Result<Named> {
    let names = roles.iter().filter(|r| r.role == ModelRole::Key).map(|r| r.name.clone());
    let mut statics = static_columns(&panel.statics, roles);
    if let Some(nodes) = nodes {
        statics = scores::at(statics, &nodes.iter().map(|node| Some(*node as u32)).collect())?;
    }
    Ok(names.zip(keys).chain(statics).collect())
}

/// The scores of the rows that have these nodes.
fn scores_of(nodes: &[usize], scores: &SeriesScores) -> SeriesScores {
    let of = |scores: &[ScoreSums]| {
        nodes.iter().map(|node| scores.get(*node).cloned().unwrap_or_default()).collect()
    };
    SeriesScores { model: of(&scores.model), naive: of(&scores.naive) }
}

/// The model whose network a model begins with when it is fitted again.
pub fn base_of(engine: &Engine, manifest: &Manifest) -> Result<Option<Arc<Model>>> {
    match &manifest.base {
        // Of what it learnt from a teacher nothing is known any more: it learns from the rows.
        Some((name, version)) if !manifest.options.distill => {
            engine.registry.get(name, Some(*version)).map(Some)
        }
        _ => Ok(None),
    }
}

/// The options of a fit as it was when a model was trained.
pub fn refit_options(base: Option<&Model>, manifest: &Manifest) -> Result<FitOptions> {
    let base = base.map(|base| Base::read(&base.network()?)).transpose()?;
    Ok(FitOptions { base, ..manifest.options.clone() })
}

/// What is learnt of a panel.
struct Learnt {
    model: Arc<dyn FittedForecaster>,
    report: FitReport,
    /// The options, with those that were found by trials.
    options: FitOptions,
    weights: Vec<u8>,
    /// What the version before it was, where it was made from one.
    change: Option<Changed>,
    /// How it compares with the model that it learnt from, where there is one.
    compared: Option<Compared>,
}

/// Seconds that a fit has at least, however long the reading took.
const SECONDS_MIN: f64 = 0.1;
/// Share of the progress of a training that trials take.
const TRIALS_SHARE: f64 = 0.8;

/// Learns from a panel, and from the forecasts of a teacher where the job has one.
fn learn_taught(
    job: &Job,
    (panel, rows): (&Panel, &PanelReport),
    sums: Option<&Sums>,
    (options, read): (FitOptions, Duration),
    tuning: Option<Tuning>,
    control: &Arc<Control>,
) -> Result<Learnt> {
    let (started, families) = (Instant::now(), &job.options.families);
    let learn = |options, read, control: &Arc<Control>| match &job.refresh {
        None => learn(families, panel, sums, (options, read), tuning, control),
        Some(refresh) => refreshed::learn(refresh, families, panel, sums, (options, read), control),
    };
    let Some(teacher) = Teacher::of(job, panel, rows, &options, control)? else {
        return learn(options, read, control);
    };
    let options = teacher.teach(panel, options, control)?;
    let part = Arc::new(Control::part(control, 1.0 - models::TAUGHT_SHARE));
    let mut learnt = learn(options, read + started.elapsed(), &part)?;
    learnt.compared = Some(teacher.compared(&learnt, panel, control)?);
    learnt.options.taught = None;
    Ok(learnt)
}

/// Learns from a panel that took `read` to read.
fn learn(
    families: &[Family],
    panel: &Panel,
    sums: Option<&Sums>,
    (options, read): (FitOptions, Duration),
    tuning: Option<Tuning>,
    control: &Arc<Control>,
) -> Result<Learnt> {
    let (started, max_seconds) = (Instant::now(), options.max_seconds);
    let left = |seconds: f64| (seconds - (read + started.elapsed()).as_secs_f64()).max(SECONDS_MIN);
    let (mut options, trials, share) = match tuning {
        None => (options, vec![], 0.0),
        Some(tuning) => {
            // Half of the seconds are for what is learnt with what the search finds.
            let tuning = Tuning { seconds: tuning.seconds.or(max_seconds.map(|s| left(s) / 2.0)), ..tuning };
            let part = Arc::new(Control::part(control, TRIALS_SHARE));
            let (options, trials) = models::tune(families, panel, &options, &tuning, &part)?;
            (options, trials, TRIALS_SHARE)
        }
    };
    options.max_seconds = max_seconds.map(left);
    let part = Control::part(control, 1.0 - share);
    let (model, mut report) = match sums {
        None => models::fit(families, panel, &options, &part)?,
        Some(Sums { hierarchy, method, .. }) => {
            models::fit_coherent(families, panel, hierarchy, *method, &options, &part)?
        }
    };
    part.report(|p| (p.phase, p.fraction) = ("save", 1.0));
    (report.trials, options.max_seconds) = (trials, max_seconds);
    let weights = model.to_bytes()?;
    Ok(Learnt { model, report, options, weights, change: None, compared: None })
}

fn existing_row(job: &Job, name: &str, version: u64) -> Result<Vec<ArrayRef>> {
    let model = job.engine.registry.get(name, Some(version))?;
    let manifest = model.manifest();
    let mut row = result_row(name, version, &manifest.panel, &manifest.report, manifest.seconds);
    row.extend(job.teacher_name().into_iter().flat_map(|name| Compared::row(None, name)));
    Ok(row)
}

async fn store(job: &Arc<Job>, name: &str, manifest: Manifest, contents: Contents) -> Result<u64> {
    let mode = match &job.refresh {
        Some(refresh) => PublishMode::Refresh(refresh.model.id().to_owned()),
        None if job.statement.or_replace => PublishMode::Replace,
        None => PublishMode::New,
    };
    publish(&job.engine, name, (manifest, contents), mode, job.owner.clone()).await
}

/// Reads the rows into a panel and settles every role and option.
async fn prepare(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Prepared> {
    query.control.report(|p| p.phase = "read");
    let table = table_name(&job.statement);
    let memory = MemoryConsumer::new(format!("TRAIN {}", job.statement.name)).register(pool);
    let mut inputs = inputs.into_iter();
    let rows = inputs.next().ok_or_else(|| Error::internal("TRAIN has no input"))?;
    let layout = SeriesLayout::new(&job.columns);
    let (columns, schema) = (rows.schema(), layout.panel_schema(&table, &rows.schema()));
    let SeriesRows { builder, keys, parts } =
        read_series(rows, &layout, (&table, job.rollup.as_ref()), query, &memory).await?;
    if builder.is_empty() {
        return Err(Error::data(format!("{table} has no rows: there is nothing to train on")));
    }
    let periods = if job.has_periods { inputs.next() } else { None };
    let incomplete = match (periods, job.statement.every) {
        (Some(periods), Some(every)) => incomplete(periods, every).await?,
        _ => Incomplete::default(),
    };
    let holidays = holidays(job, inputs.next()).await?;
    let kept = job.refresh.as_ref().map(|refresh| &refresh.model).or(job.trained_teacher());
    let (grid, season_length) = match kept {
        Some(model) => refreshed::grid(model.manifest()),
        None => (job.statement.every.map_or(Grid::Infer, Grid::Every), job.options.season_length),
    };
    let finish = FinishOptions {
        grid,
        gaps: job.gaps(),
        season_length,
        incomplete: incomplete.begins(),
        ..FinishOptions::default()
    };
    let (read, reading) = (builder.keys().to_vec(), reading_bytes(&columns, &builder, pool.as_ref()));
    let keyless = !job.columns.iter().any(|c| c.role == Role::Key);
    let (mut panel, report) = builder
        .finish(&finish, &query.control)
        .map_err(|e| if keyless { suggest_keys(e, job) } else { e })?;
    let ended = if job.rollup.is_some() { align(&mut panel, job.gaps()) } else { 0 };
    memory.try_resize(panel.bytes())?;
    let roles = settle_roles(job, &mut panel);
    let (mut panel, texts) = read_texts(job, panel, &roles, query).await?;
    let holidays = match holidays {
        Some(holidays) => Some((holidays.clone(), holidays.extend(&mut panel)?)),
        None => None,
    };
    memory.try_resize(panel.bytes())?;
    let series = panel.len();
    let hierarchy = job.rollup.as_ref().map(|rollup| hierarchy(rollup, &read, &parts, &panel.keys));
    if let Some(hierarchy) = &hierarchy {
        panel = hierarchy.aggregate(&panel);
        memory.try_resize(panel.bytes())?;
    }
    let mut keys = keys.of(&kept_series(&read, &panel.keys[..series]))?;
    if let Some(hierarchy) = &hierarchy {
        keys = keys_of_rows(&keys, hierarchy)?;
    }
    let horizon = job.options.horizon.unwrap_or_else(|| panel.frequency.default_horizon());
    let (outliers, objective) = (job.outliers(), job.statement.objective);
    let fine_tune = job.statement.from.is_some() && !job.options.distills();
    let base = job.base()?;
    let mut fit = FitOptions { outliers, objective, fine_tune, base, ..job.options.fit_options(horizon) };
    if let Some(refresh) = &job.refresh {
        refreshed::settle_options(refresh, &panel, &mut fit);
    }
    check_lengths(&panel, &fit, &table)?;
    objective.map_or(Ok(()), |kind| kind.check(&panel, &schema.target))?;
    let (windows, length) = models::held_out(&panel, &fit);
    let method = job.statement.reconcile.unwrap_or(Reconciliation::usual(windows * length));
    let sums = hierarchy.map(|hierarchy| Sums { hierarchy, method, ended });
    let prepared = Prepared {
        panel,
        keys,
        sums,
        report,
        roles,
        holidays,
        texts,
        schema,
        fit,
        incomplete,
        reading,
        memory,
    };
    distilled::check(job, &prepared, query)?;
    prepared.tell(job, query);
    Ok(prepared)
}

/// Puts numbers into the place of the texts of a panel, and tells how.
async fn read_texts(
    job: &Arc<Job>,
    mut panel: Panel,
    roles: &[ColumnRole],
    query: &Arc<QueryContext>,
) -> Result<(Panel, Option<Texts>)> {
    let names = roles.iter().filter(|r| r.role == ModelRole::Text).map(|r| r.name.clone());
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return Ok((panel, None));
    }
    query.control.report(|p| p.phase = "read texts");
    let (encoder, seed) = (job.encoder.clone(), job.options.fit_options(1).seed);
    let known = refreshed::texts(job)?;
    let work = move |control: &Arc<Control>| {
        if let Some(known) = known {
            known.extend(&mut panel, control)?;
            return Ok((panel, Some(known.texts().clone())));
        }
        let encoder = encoder.map(|model| model.encoder()).transpose()?;
        let texts = Texts::fit(&panel, &names, encoder.as_deref(), seed, control)?;
        texts.extend(&mut panel, encoder.as_deref(), control)?;
        Ok((panel, Some(texts)))
    };
    job.engine.runtimes.predict(usize::MAX, &query.control, work).await
}

/// The holidays that the model is to see; `calendar` holds the rows of their table.
async fn holidays(job: &Job, calendar: Option<SendableRecordBatchStream>) -> Result<Option<Holidays>> {
    let country = job.columns.iter().find(|c| c.role == Role::Country).map(|c| c.name.clone());
    Ok(match (&job.statement.holidays, calendar, country) {
        (None, ..) => None,
        (Some(HolidaysClause::Countries(codes)), ..) => Some(Holidays::Countries(codes.clone())),
        (_, Some(calendar), column) => Some(Holidays::Listed { column, days: listed_days(calendar).await? }),
        (_, None, Some(column)) => Some(Holidays::ByCountry { column }),
        (_, None, None) => return Err(Error::internal("HOLIDAYS has neither countries nor a table")),
    })
}

/// Most rows of a table of holidays: they are stored with the model.
const LISTED_DAYS_MAX: usize = 100_000;

async fn listed_days(mut rows: SendableRecordBatchStream) -> Result<Vec<ListedDay>> {
    let mut days = vec![];
    while let Some(batch) = rows.next().await.transpose()? {
        let dates = batch.column(0).as_primitive::<Date32Type>();
        let [names, countries] = [1, 2].map(|column| batch.column(column).as_string::<i32>());
        for row in 0..batch.num_rows() {
            if dates.is_null(row) || names.is_null(row) {
                let message = "the table of HOLIDAYS has a row whose holiday_date or name is NULL";
                return Err(Error::data(message).with_hint("leave it out: HOLIDAYS FROM (SELECT … WHERE …)"));
            }
            let country = countries.is_valid(row).then(|| countries.value(row).to_owned());
            days.push(ListedDay { day: dates.value(row), name: names.value(row).to_owned(), country });
        }
        if days.len() > LISTED_DAYS_MAX {
            let message = format!("the table of HOLIDAYS has more than {LISTED_DAYS_MAX} rows");
            return Err(Error::data(message).with_hint("leave out days far from those of the series"));
        }
    }
    match days.is_empty() {
        true => Err(Error::data("the table of HOLIDAYS has no rows")),
        false => {
            days.sort_by(|a, b| (a.day, &a.country, &a.name).cmp(&(b.day, &b.country, &b.name)));
            Ok(days)
        }
    }
}

fn check_lengths(panel: &Panel, fit: &FitOptions, table: &str) -> Result<()> {
    let longest = panel.history.iter().copied().max().unwrap_or(0);
    if longest <= 1 {
        return Err(Error::data(format!(
            "the longest series of {table} has {longest} row; a model needs at least 2"
        ))
        .with_hint("check PARTITION BY: does it split every row into a series of its own?"));
    }
    if let Some(steps) = fit.validation_length.filter(|steps| *steps >= longest) {
        let message = format!(
            "VALIDATE LAST {steps} leaves nothing to learn from: the longest series of {table} has {longest} rows"
        );
        return Err(Error::data(message).with_hint("hold out less, or leave VALIDATE away"));
    }
    if fit.horizon > longest.saturating_mul(10).max(1000) {
        let message =
            format!("horizon {} is more than ten times the longest series of {longest} steps", fit.horizon);
        return Err(Error::data(message));
    }
    Ok(())
}

/// Repeated times without a key mostly mean that the key was forgotten.
fn suggest_keys(error: Error, job: &Job) -> Error {
    if error.kind() != crate::error::ErrorKind::Data || !error.message().contains(" rows for ") {
        return error;
    }
    let time = job.columns.iter().find(|c| c.role == Role::Time).map_or("time", |c| c.name.as_str());
    let candidates: Vec<&str> =
        job.columns.iter().filter(|c| c.role == Role::Candidate).map(|c| c.name.as_str()).collect();
    let list = if candidates.is_empty() {
        String::new()
    } else {
        format!(" (candidates: {})", candidates.join(", "))
    };
    Error::data(format!("series key not given and {time} repeats: add PARTITION BY{list}"))
        .with_detail(error.message().to_owned())
}

/// Gives candidates their role from the data: constant per series, filled after the cutoff, or past.
fn settle_roles(job: &Job, panel: &mut Panel) -> Vec<ColumnRole> {
    let candidates: HashSet<&str> =
        job.columns.iter().filter(|c| c.role == Role::Candidate).map(|c| c.name.as_str()).collect();
    let (mut kept, mut texts) = (vec![], vec![]);
    for covariate in std::mem::take(&mut panel.known) {
        if !candidates.contains(covariate.name.as_str()) {
            kept.push(covariate);
        } else if let Some(values) = constant_per_series(panel, &covariate.values) {
            if says_something(&values) {
                texts.push(covariate.name.clone());
            }
            panel.statics.push(Covariate { name: covariate.name, values });
        } else if filled_after_cutoff(panel, &covariate.values) {
            kept.push(covariate);
        } else {
            panel.past.push(covariate);
        }
    }
    panel.known = kept;
    job.columns.iter().map(|column| role_of(column, panel, &texts)).collect()
}

/// Words of a category that are texts where most series have one of their own.
const TEXT_WORDS: usize = 3;
/// Fewest texts that teach what others say.
const TEXTS_MIN: usize = 20;

/// True of texts: most series have one of their own, of several words.
fn says_something(values: &Values) -> bool {
    let Values::Category { codes, labels } = values else { return false };
    let words: usize = labels.iter().map(|label| label.split_whitespace().count()).sum();
    labels.len() >= TEXTS_MIN.max(codes.len() / 2) && words >= TEXT_WORDS * labels.len()
}

fn role_of(column: &InputColumn, panel: &Panel, texts: &[String]) -> ColumnRole {
    let has = |list: &[Covariate]| list.iter().find(|c| c.name == column.name).cloned();
    let (role, covariate) = match column.role {
        Role::Key => (ModelRole::Key, None),
        Role::Time => (ModelRole::Time, None),
        Role::Target => (ModelRole::Target, None),
        Role::Country => (ModelRole::Holidays, has(&panel.statics)),
        _ if column.role == Role::Text || texts.contains(&column.name) => {
            (ModelRole::Text, has(&panel.statics))
        }
        _ => match (has(&panel.known), has(&panel.past), has(&panel.statics)) {
            (Some(c), _, _) => (ModelRole::Known, Some(c)),
            (_, Some(c), _) => (ModelRole::Past, Some(c)),
            (_, _, c) => (ModelRole::Static, c),
        },
    };
    let (cardinality, missing) = covariate.as_ref().map_or((None, None), |c| match &c.values {
        Values::Category { labels, codes } => {
            (Some(labels.len()), Some(codes.iter().filter(|c| **c == MISSING).count()))
        }
        Values::Number(numbers) => (None, Some(numbers.iter().filter(|n| n.is_nan()).count())),
    });
    ColumnRole {
        name: column.name.clone(),
        role,
        inferred: column.role == Role::Candidate,
        cardinality: cardinality.map(|n| n as u64),
        missing: missing.map(|n| n as u64),
        data_type: sql_name(&column.data_type).to_lowercase(),
    }
}

/// One value per series, when a covariate never changes within one.
fn constant_per_series(panel: &Panel, values: &Values) -> Option<Values> {
    match values {
        Values::Number(numbers) => constants(panel, numbers, f32::NAN, |v| v.is_nan()).map(Values::Number),
        Values::Category { codes, labels } => constants(panel, codes, MISSING, |code| *code == MISSING)
            .map(|codes| Values::Category { codes, labels: labels.clone() }),
    }
}

/// The only value of every series besides missing ones; `None` where a series has two.
fn constants<T: Copy + PartialEq>(
    panel: &Panel,
    values: &[T],
    missing: T,
    is_missing: impl Fn(&T) -> bool,
) -> Option<Vec<T>> {
    let constant = |i| {
        let mut seen = values[panel.rows_of(i)].iter().filter(|v| !is_missing(v));
        let first = seen.next().copied().unwrap_or(missing);
        seen.all(|v| *v == first).then_some(first)
    };
    (0..panel.len()).map(constant).collect()
}

fn filled_after_cutoff(panel: &Panel, values: &Values) -> bool {
    let present = |row: usize| match values {
        Values::Number(numbers) => !numbers[row].is_nan(),
        Values::Category { codes, .. } => codes[row] != MISSING,
    };
    (0..panel.len()).any(|i| {
        let rows = panel.rows_of(i);
        (rows.start + panel.history[i]..rows.end).any(present)
    })
}

impl Prepared {
    /// Notices of everything that was decided without being asked for.
    fn tell(&self, job: &Job, query: &QueryContext) {
        if let Some(text) = self.inferred(job) {
            query.notice(format!("inferred: {text}"));
        }
        for (column, reason) in &job.skipped {
            query.notice(format!("column {column} is left out: {reason}"));
        }
        let unit = self.panel.frequency.to_string().to_lowercase();
        if let Some(first) = &self.incomplete.first {
            let (begin, from) = (self.time(first.begin), self.time(first.first));
            query.notice(format!("the {unit} of {begin} has rows only from {from}: it is left out"));
        }
        if let Some(last) = &self.incomplete.last {
            let (begin, to) = (self.time(last.begin), self.time(last.last));
            query.notice(format!(
                "the {unit} of {begin} has rows only to {to}: it is not over yet, and is forecast instead of learnt from"
            ));
        }
        self.tell_frequency(job, query);
        let gaps = self.report.gaps_filled;
        let asked = job.statement.gaps.is_some() || job.statement.censored.is_some();
        if gaps > 0 && !asked && job.refresh.is_none() {
            query.notice(format!(
                "{gaps} times within series have no row: GAPS ZERO says that nothing happened then, GAPS NULL that nobody knows, \
                 as is taken for granted here"
            ));
        }
        let ended = self.sums.as_ref().map_or(0, |sums| sums.ended);
        if ended > 0 && job.gaps() != Gaps::Zero {
            let to = self.time(self.report.last_time);
            query.notice(format!(
                "{ended} series have no rows up to {to}: what they were since is unknown, also in their sums; \
                 GAPS ZERO says that it was nothing"
            ));
        }
        if self.fit.validation_length != Some(0) && models::held_out(&self.panel, &self.fit) == (0, 0) {
            let steps = self.fit.validation_length.unwrap_or(self.fit.horizon);
            query.notice(format!(
                "no series is longer than the {steps} steps to hold out: nothing is held out, and there is no score"
            ));
        }
        if self.report.dropped_series > 0 {
            query.notice(format!(
                "{} of {} series have no value of {} and are left out",
                self.report.dropped_series,
                self.report.series + self.report.dropped_series,
                self.schema.target,
            ));
        }
    }

    /// A notice where a network that was asked for has never seen such series.
    fn tell_frequency(&self, job: &Job, query: &QueryContext) {
        let asked = job.statement.from.is_some() || job.options.families == [Family::Foundation];
        let asked = asked && job.trained_teacher().is_none();
        let own = job.base.as_ref().filter(|_| asked && self.fit.base.is_none());
        let teacher = own.and_then(|base| Base::read(&base.network().ok()?).ok());
        let (usual, base) = (FoundationConfig::default(), self.fit.base.as_ref().or(teacher.as_ref()));
        let config = base.map_or(&usual, |base| base.network().config());
        if asked && !config.has_seen(self.panel.frequency) {
            let name = job.base.as_ref().map_or(BASE_NAME, |base| base.manifest().name.as_str());
            let unit = self.panel.frequency.to_string().to_lowercase();
            let several = if unit.starts_with(|c: char| c.is_ascii_digit()) { "s" } else { "" };
            query.notice(format!(
                "{name} has never seen series with a row every {unit}{several}: trust its forecasts as far as their scores are good"
            ));
        }
    }

    /// An instant as the user writes it.
    fn time(&self, instant: i64) -> String {
        self.schema.time_kind.format(instant)
    }

    /// The roles and options that the statement leaves open.
    fn inferred(&self, job: &Job) -> Option<String> {
        let mut found = vec![];
        for role in [ModelRole::Known, ModelRole::Past, ModelRole::Static, ModelRole::Text] {
            let inferred = self.roles.iter().filter(|r| r.inferred && r.role == role);
            let names: Vec<&str> = inferred.map(|r| r.name.as_str()).collect();
            if !names.is_empty() {
                found.push(format!("{} {}", role.word().to_uppercase(), names.join(", ")));
            }
        }
        if job.statement.order_by.is_none() {
            found.push(format!("ORDER BY {}", self.schema.time));
        }
        if job.options.horizon.is_none() {
            found.push(format!("HORIZON {}", self.fit.horizon));
        }
        if let Some(sums) = self.sums.as_ref().filter(|_| job.statement.reconcile.is_none()) {
            found.push(format!("RECONCILE {}", sums.method.word()));
        }
        (!found.is_empty()).then(|| found.join("; "))
    }
}

fn result_row(
    name: &str,
    version: u64,
    panel: &PanelReport,
    report: &FitReport,
    seconds: f64,
) -> Vec<ArrayRef> {
    let count = |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
    let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
    let text = |s: &str| -> ArrayRef { Arc::new(StringArray::from(vec![s])) };
    let (value, naive) = (report.scores.mase, report.naive.mase);
    vec![
        text(name),
        count(version as usize),
        count(panel.series),
        count(panel.rows),
        count(panel.gaps_filled),
        count(panel.duplicates),
        count(report.outliers),
        count(report.epochs),
        number(report.log.last().map(|l| l.train_loss)),
        text("mase"),
        number(value),
        number(naive),
        number(skill(value, naive)),
        number(Some(seconds)),
    ]
}

/// How much better than seasonal naive: 1 - value / naive.
pub fn skill(value: Option<f64>, naive: Option<f64>) -> Option<f64> {
    match (value, naive) {
        (Some(value), Some(naive)) if naive > 0.0 => Some(1.0 - value / naive),
        _ => None,
    }
}

/// Columns of EXPLAIN TRAIN.
pub fn report_schema() -> Schema {
    Schema::new(vec![
        Field::new("property", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ])
}

/// A notice of what a search found.
fn tell_trials(trials: &[Trial], job: &Job, options: &FitOptions, query: &QueryContext) {
    let Some(first) = trials.first() else { return };
    let used = trials.iter().rev().find(|trial| {
        let mut tuned = options.clone();
        trial.options.iter().for_each(|(name, value)| tuned.set(name, *value));
        tuned == *options
    });
    let told = &used.unwrap_or(first).options;
    let told: Vec<String> = told.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let count = trials.len();
    let planned = job.tuning.as_ref().map_or(count, |tuning| tuning.trials);
    let stopped = if count < planned { format!(" of {planned}, which took the time") } else { String::new() };
    query.notice(format!("tuned by {count} trials{stopped}: {}", told.join(", ")));
}

/// Scores are so many times those of seasonal naive where they are told to be worse.
const WORSE: f64 = 1.01;

/// A notice where a model is worse than no model, or where no history is `longest` enough to tell by a season.
fn tell_scores(name: &str, (longest, season): (usize, usize), report: &FitReport, query: &QueryContext) {
    let (windows, length) = report.held_out;
    match (report.scores.mase, report.naive.mase) {
        (Some(own), Some(naive)) if own > WORSE * naive => query.notice(format!(
            "{name} forecasts the steps held out worse than repeating the last season does: mase {own:.4} against {naive:.4}"
        )),
        (None, _) if report.scores.n > 0 && longest.saturating_sub(windows * length) <= season => {
            query.notice(format!(
                "before the steps held out no series has more than a season of {season} steps: there is no mase, \
                 leaderboard({}) has wape",
                identifier(name)
            ));
        }
        _ => {}
    }
}

/// Notices of candidates that could not take part.
fn tell_failures(candidates: &[Candidate], query: &QueryContext) {
    for candidate in candidates {
        if let Some(why) = &candidate.failure {
            query.notice(format!("{} is left out: {why}", models::family_name(candidate.family)));
        }
    }
}
