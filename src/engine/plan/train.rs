//! TRAIN FORECAST MODEL as a plan: rows in, a published model version out.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, PhysicalExpr,
    PlanProperties, ReplaceChildrenOptions,
};

use crate::engine::database::Engine;
use crate::engine::fault::external;
use crate::engine::options::{RawOption, TrainOptions};
use crate::engine::plan::exec::{query_context, single_partition, sorted_by};
use crate::engine::plan::input::{Role, TrainingInput};
use crate::engine::plan::training::{self, Job};
use crate::engine::sql::TrainStatement;

/// What running the node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Train and publish.
    Publish,
    /// Train only (EXPLAIN ANALYZE).
    Discard,
    /// Read the rows and report what would be trained (EXPLAIN).
    DryRun,
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
    options: Vec<RawOption>,
    quantiles: Option<Vec<Expr>>,
    schema: DFSchemaRef,
}

impl TrainNode {
    /// A node that trains and publishes; options are checked here as far as they have values.
    pub fn new(
        statement: Arc<TrainStatement>,
        input: TrainingInput,
        options: Vec<RawOption>,
        quantiles: Option<Vec<Expr>>,
        lineage: Vec<(String, u64)>,
    ) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(result_schema())?);
        let node = Self {
            statement,
            input,
            lineage: Arc::new(lineage),
            mode: Mode::Publish,
            options,
            quantiles,
            schema,
        };
        node.check_options()?;
        Ok(node)
    }

    /// The same node with another effect.
    pub fn with_mode(&self, mode: Mode) -> Result<Self> {
        let schema = if mode == Mode::DryRun { training::report_schema() } else { result_schema() };
        Ok(Self { mode, schema: Arc::new(DFSchema::try_from(schema)?), ..self.clone() })
    }

    /// The TRAIN at the root of a plan, below projections of all its columns.
    pub fn at_root(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref::<Self>(),
            LogicalPlan::Projection(p) => Self::at_root(&p.input),
            LogicalPlan::SubqueryAlias(a) => Self::at_root(&a.input),
            _ => None,
        }
    }

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn check_options(&self) -> Result<TrainOptions> {
        let family = self.statement.using.as_ref().map(|i| i.value.as_str());
        TrainOptions::check(family, self.quantiles.as_deref(), &self.options).map_err(external)
    }

    fn identity(&self) -> (String, Mode, &TrainingInput, &[RawOption], &Option<Vec<Expr>>) {
        (self.statement.to_string(), self.mode, &self.input, &self.options, &self.quantiles)
    }
}

impl PartialEq for TrainNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for TrainNode {}

impl Hash for TrainNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for TrainNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self == other).then_some(std::cmp::Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for TrainNode {
    fn name(&self) -> &str {
        "TrainForecastModel"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input.plan]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.options.iter().map(|o| o.value.clone()).chain(self.quantiles.iter().flatten().cloned()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrainForecastModel: {}", self.statement.name)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut node = self.clone();
        let mut exprs = exprs.into_iter();
        for (option, value) in node.options.iter_mut().zip(exprs.by_ref()) {
            option.value = value;
        }
        node.quantiles = node.quantiles.map(|_| exprs.collect());
        node.input.plan = inputs.swap_remove(0);
        Ok(node)
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.columns.len()).collect()])
    }
}

/// The row that TRAIN returns.
fn result_schema() -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Schema::new(vec![
        Field::new("model", DataType::Utf8, false),
        count("version"),
        count("series"),
        count("rows"),
        count("gaps_filled"),
        count("duplicates"),
        count("epochs"),
        number("train_loss"),
        Field::new("metric", DataType::Utf8, false),
        number("value"),
        number("naive_value"),
        number("skill"),
        number("seconds"),
    ])
}

/// The physical operator.
#[derive(Debug)]
pub struct TrainExec {
    job: Arc<Job>,
    mode: Mode,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TrainExec {
    /// Plans a node over its rows.
    pub fn plan(engine: &Arc<Engine>, node: &TrainNode, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let job = Job {
            engine: Arc::clone(engine),
            statement: Arc::clone(&node.statement),
            columns: node.input.columns.clone(),
            skipped: node.input.skipped.clone(),
            lineage: Arc::clone(&node.lineage),
            options: node.check_options()?,
        };
        Ok(Self::new(Arc::new(job), node.mode, input, node.schema.inner()))
    }

    fn new(job: Arc<Job>, mode: Mode, input: Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Self {
        let properties = single_partition(Arc::clone(schema));
        Self { job, mode, input, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    fn sort_columns(&self) -> usize {
        self.job.columns.iter().filter(|c| matches!(c.role, Role::Key | Role::Time)).count()
    }
}

impl DisplayAs for TrainExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrainExec: model={}", self.job.statement.name)
    }
}

#[async_trait]
impl ExecutionPlan for TrainExec {
    fn name(&self) -> &str {
        "TrainExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![sorted_by(&self.input.schema(), self.sort_columns())]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        Ok(Arc::new(Self::new(Arc::clone(&self.job), self.mode, input, &self.schema())))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.swap_remove(0);
        Ok(Arc::new(Self::new(Arc::clone(&self.job), self.mode, input, &self.schema())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(0, Arc::clone(&context))?;
        let query = query_context(&context);
        let (job, mode) = (Arc::clone(&self.job), self.mode);
        let epochs = MetricBuilder::new(&self.metrics).counter("epochs", partition);
        let schema = self.schema();
        let output = Arc::clone(&schema);
        let pool = Arc::clone(context.memory_pool());
        let work = async move {
            let columns = match mode {
                Mode::DryRun => training::dry_run(&job, rows, &query, &pool).await,
                Mode::Publish => training::train(&job, rows, &query, &pool, true, &epochs).await,
                Mode::Discard => training::train(&job, rows, &query, &pool, false, &epochs).await,
            };
            Ok(RecordBatch::try_new(output, columns.map_err(external)?)?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work))))
    }
}
