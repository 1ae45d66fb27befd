//! TRAIN FORECAST MODEL as a plan: rows in, a published model version out.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::engine::access::Actor;
use crate::engine::controlled::controlled;
use crate::engine::options::{RawOption, TrainOptions};
use crate::engine::pg_catalog::Surroundings;
use crate::engine::plan::forecast::Shape;
use crate::engine::plan::input::{Role, TrainingInput, ordering};
use crate::engine::plan::node::{all_columns, extension, identified, runs};
use crate::engine::plan::refresh::Refresh;
use crate::engine::plan::training::{self, Job};
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::registry::Model;
use crate::engine::shared::Engine;
use crate::engine::sql::{TrainStatement, fold};
use crate::error::{Error, Result as OurResult, Subject};
use crate::ml::forecaster::Family;
use crate::ml::hierarchy::Rollup;
use crate::ml::models::{self, BASE_NAME, Tuning};

/// What running the node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Train and publish.
    Publish,
    /// Train only (EXPLAIN ANALYZE).
    Discard,
    /// Read the rows and report what would be trained (EXPLAIN).
    DryRun,
    /// Forecast the rows and keep nothing.
    Forecast,
}

/// The logical node.
#[derive(Debug, Clone)]
pub struct TrainNode {
    /// The statement.
    pub statement: Arc<TrainStatement>,
    /// Its rows.
    pub input: TrainingInput,
    /// Tables that the rows come from, with their versions.
    pub lineage: Arc<Vec<(String, u64)>>,
    mode: Mode,
    rollup: Option<Rollup>,
    options: Vec<RawOption>,
    tuning: Option<Tuning>,
    /// What shapes the result of a forecast.
    shape: Shape,
    /// The model whose network foundation models begin with.
    base: Option<Arc<Model>>,
    /// The text model that reads the texts of series.
    encoder: Option<Arc<Model>>,
    /// The model that goes on, where one does.
    refresh: Option<Refresh>,
    schema: DFSchemaRef,
}

impl TrainNode {
    /// A node that trains and publishes; options are checked here as far as they have values.
    pub fn new(
        statement: Arc<TrainStatement>,
        input: TrainingInput,
        rollup: Option<Rollup>,
        (options, tuning): (Vec<RawOption>, Option<Tuning>),
        lineage: Vec<(String, u64)>,
    ) -> Result<Self> {
        let checked = TrainOptions::check(&statement.families(), &options)?;
        check_fine_tuning(&statement, (&checked.families, checked.distills()), &options)?;
        models::check_objective(&checked.families, statement.objective)?;
        let schema = if checked.background { job_schema() } else { result_schema(checked.distills()) };
        let schema = Arc::new(DFSchema::try_from(schema)?);
        let (lineage, mode) = (Arc::new(lineage), Mode::Publish);
        Ok(Self {
            statement,
            input,
            lineage,
            mode,
            rollup,
            options,
            tuning,
            shape: Shape::default(),
            base: None,
            encoder: None,
            refresh: None,
            schema,
        })
    }

    /// What running it does.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The model's name.
    pub fn model(&self) -> String {
        fold(&self.statement.name)
    }

    /// The same node with another effect.
    pub fn with_mode(&self, mode: Mode) -> Result<Self> {
        let schema = match (mode, &self.refresh) {
            (Mode::DryRun, _) => training::report_schema(),
            (_, Some(refresh)) => training::refreshed_schema(refresh.change),
            (_, None) => result_schema(self.statement.distills()),
        };
        Ok(Self { mode, schema: Arc::new(DFSchema::try_from(schema)?), ..self.clone() })
    }

    /// The same beginning with the network of a pretrained model, and reading texts by an encoder, where they are.
    pub fn beginning_with(self, base: Option<Arc<Model>>, encoder: Option<Arc<Model>>) -> Self {
        Self { base, encoder, ..self }
    }

    /// The node that lets a model go on with its rows.
    pub fn refreshing(self, refresh: Refresh) -> Result<Self> {
        Self { refresh: Some(refresh), ..self }.with_mode(Mode::Publish)
    }

    /// The node that forecasts its rows at once, with the network of a pretrained model.
    pub fn forecasting(self, shape: Shape, base: Option<Arc<Model>>) -> Result<Self> {
        let types = self.input.plan.schema();
        let seen = self.input.columns.iter().zip(types.fields());
        let keys = seen.filter(|(column, _)| matches!(column.role, Role::Key | Role::Time));
        let mut fields: Vec<Field> =
            keys.map(|(_, field)| field.as_ref().clone().with_nullable(true)).collect();
        fields.extend(shape.fields());
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(Self { mode: Mode::Forecast, shape, base, schema, ..self })
    }

    /// True when running a plan trains and publishes a model.
    pub fn publishes(plan: &LogicalPlan) -> bool {
        runs(plan, |plan| extension::<Self>(plan).is_some_and(|train| train.mode == Mode::Publish))
    }

    /// The TRAIN at the root of a plan, below projections of all its columns.
    pub fn at_root(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Projection(p) => Self::at_root(&p.input),
            LogicalPlan::SubqueryAlias(a) => Self::at_root(&a.input),
            plan => extension::<Self>(plan).filter(|train| train.mode != Mode::Forecast),
        }
    }

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn check_options(&self) -> Result<TrainOptions> {
        Ok(TrainOptions::check(&self.statement.families(), &self.options)?)
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        let version = |model: &Option<Arc<Model>>| {
            model.as_ref().map(|model| (model.manifest().name.clone(), model.manifest().version))
        };
        let refresh = self.refresh.as_ref().map(|refresh| format!("{:?}", refresh.change));
        let base = (version(&self.base), version(&self.encoder), refresh);
        (self.statement.to_string(), self.mode, &self.input, &self.options, base, format!("{:?}", self.shape))
    }
}

identified!(TrainNode);

impl UserDefinedLogicalNodeCore for TrainNode {
    fn name(&self) -> &str {
        if self.mode == Mode::Forecast { "ForecastRows" } else { "TrainForecastModel" }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        std::iter::once(&self.input.plan).chain(&self.input.periods).chain(&self.input.calendar).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.options.iter().map(|option| option.value.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Forecast => write!(f, "Forecast: model={}", self.statement.name),
            _ if self.refresh.is_some() => write!(f, "ChangeModel: {}", self.statement.name),
            _ => write!(f, "TrainForecastModel: {}", self.statement.name),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut node = self.clone();
        let mut inputs = inputs.into_iter();
        let values = node.options.iter_mut().map(|option| &mut option.value);
        values.zip(exprs).for_each(|(value, expr)| *value = expr);
        if let Some(rows) = inputs.next() {
            node.input.plan = rows;
        }
        node.input.periods = node.input.periods.and_then(|_| inputs.next());
        node.input.calendar = node.input.calendar.and_then(|_| inputs.next());
        Ok(node)
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// Options of networks that adapt.
const FINE_TUNING: [&str; 9] = [
    "batch_size",
    "context",
    "device",
    "early_stop",
    "epochs",
    "freeze",
    "learning_rate",
    "lora_rank",
    "replay",
];

/// Fails where FROM and what is fine-tuned do not go together.
fn check_fine_tuning(
    statement: &TrainStatement,
    (families, distills): (&[Family], bool),
    options: &[RawOption],
) -> OurResult<()> {
    let written = options.iter().find(|option| option.name == "distill");
    if distills != statement.distills() {
        let error = Error::input(Subject::Option, "distill is written true or false, once");
        return Err(error.at(written.and_then(|option| option.place)));
    }
    let Some(from) = &statement.from else {
        if let Some(option) = written.filter(|_| distills) {
            let message = "distill learns from the forecasts of a model, which FROM names".to_owned();
            let hint = format!("FROM {BASE_NAME}, or FROM a model that was trained on these rows");
            return Err(Error::input(Subject::Option, message).with_hint(hint).at(option.place));
        }
        let tunes = |option: &&RawOption| FINE_TUNING.contains(&option.name.as_str());
        return match options.iter().find(tunes).filter(|_| families == [Family::Foundation]) {
            None => Ok(()),
            Some(option) => {
                let message =
                    format!("{} is of fine-tuning, and foundation learns nothing by itself", option.name);
                let hint = format!("FROM {BASE_NAME} fine-tunes the network that ships with the engine");
                Err(Error::input(Subject::Option, message).with_hint(hint).at(option.place))
            }
        };
    };
    let begins = families.iter().any(|family| matches!(family, Family::Foundation | Family::Auto));
    if begins && distills {
        let message =
            format!("a model that learns from {from} begins from nothing: USING names foundation or auto");
        return Err(Error::input(Subject::Option, message)
            .with_hint("USING tide, gbt or another that learns from windows; without distill FROM fine-tunes")
            .at(written.and_then(|option| option.place)));
    }
    if begins || distills {
        return Ok(());
    }
    let message = format!("FROM {from} is for the family foundation, which USING does not name");
    Err(Error::input(Subject::Option, message)
        .with_hint("USING foundation, alone or with others; or leave USING away"))
}

/// The row that TRAIN returns, and what it tells besides where a model `distills`.
fn result_schema(distills: bool) -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    let mut fields = vec![
        Field::new("model", DataType::Utf8, false),
        count("version"),
        count("series"),
        count("rows"),
        count("gaps_filled"),
        count("duplicates"),
        count("outliers"),
        count("epochs"),
        number("train_loss"),
        Field::new("metric", DataType::Utf8, false),
        number("value"),
        number("naive_value"),
        number("skill"),
        number("seconds"),
    ];
    fields.extend(distills.then(training::teacher_fields).into_iter().flatten());
    Schema::new(fields)
}

/// The row that TRAIN in the background returns.
fn job_schema() -> Schema {
    Schema::new(vec![Field::new("job", DataType::Int64, true), Field::new("model", DataType::Utf8, false)])
}

/// A training with its effect.
#[derive(Debug)]
struct Training {
    job: Arc<Job>,
    mode: Mode,
    shape: Shape,
}

/// What a node says of how its rows are read and learnt.
pub fn job(engine: &Arc<Engine>, node: &TrainNode, session: &dyn Session) -> Result<Job> {
    let mut options = node.check_options()?;
    if node.mode == Mode::Forecast {
        // Nothing is held out of rows that are forecast at once.
        options.validation_length = Some(0);
    }
    Ok(Job {
        engine: Arc::clone(engine),
        statement: Arc::clone(&node.statement),
        columns: node.input.columns.clone(),
        rollup: node.rollup.clone(),
        skipped: node.input.skipped.clone(),
        has_periods: node.input.periods.is_some(),
        lineage: Arc::clone(&node.lineage),
        options,
        tuning: node.tuning.clone(),
        base: node.base.clone(),
        encoder: node.encoder.clone(),
        refresh: node.refresh.clone(),
        owner: session.config().get_extension::<Actor>().and_then(|actor| actor.role()),
        pid: session.config_options().extensions.get::<Surroundings>().map_or(0, Surroundings::pid),
    })
}

/// Plans a node over its rows.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &TrainNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let job = Arc::new(job(engine, node, session)?);
    let work = Training { job, mode: node.mode, shape: node.shape.clone() };
    Ok(Arc::new(WorkExec::new(Arc::new(work), inputs, Arc::clone(node.schema.inner()))))
}

impl Work for Training {
    fn name(&self) -> &'static str {
        if self.mode == Mode::Forecast { "ForecastRowsExec" } else { "TrainExec" }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model={}", self.job.statement.name)
    }

    fn sorted_columns(&self, input: usize) -> usize {
        if input == 0 { ordering(&self.job.columns) } else { 0 }
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        let epochs = MetricBuilder::new(metrics).counter("epochs", 0);
        let output = Arc::clone(&schema);
        let work = controlled(Arc::clone(&query.control), async move {
            let (job, pool) = (&self.job, context.memory_pool());
            let columns = match self.mode {
                Mode::Forecast => {
                    return Ok(training::forecast(job, inputs, &query, pool, (&self.shape, &output)).await?);
                }
                Mode::DryRun => training::dry_run(job, inputs, &query, pool).await?,
                Mode::Publish if job.options.background => {
                    training::train_in_background(job, inputs, &query, pool)?
                }
                Mode::Publish => training::train(job, inputs, &query, pool, true, &epochs).await?,
                Mode::Discard => training::train(job, inputs, &query, pool, false, &epochs).await?,
            };
            Ok(RecordBatch::try_new(output, columns)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work)))
    }
}
