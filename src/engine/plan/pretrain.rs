//! PRETRAIN FORECAST MODEL as a plan: the rows of any number of relations in, a published network out.

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
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::engine::controlled::controlled;
use crate::engine::plan::input::ordering;
use crate::engine::plan::node::{all_columns, extension, identified, runs};
use crate::engine::plan::pretrain_function::PretrainRequest;
use crate::engine::plan::train::{TrainNode, job};
use crate::engine::plan::training::{Job, Pretraining, pretrain};
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::shared::Engine;

/// The logical node.
#[derive(Debug, Clone)]
pub struct PretrainNode {
    request: Arc<PretrainRequest>,
    /// How each relation is read.
    sources: Vec<TrainNode>,
    schema: DFSchemaRef,
}

impl PretrainNode {
    /// A node that pretrains on what these nodes would train on.
    pub fn new(request: PretrainRequest, sources: Vec<TrainNode>) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(result_schema())?);
        Ok(Self { request: Arc::new(request), sources, schema })
    }

    /// What is asked for.
    pub fn request(&self) -> &PretrainRequest {
        &self.request
    }

    /// True when running a plan pretrains and publishes a model.
    pub fn publishes(plan: &LogicalPlan) -> bool {
        runs(plan, |plan| extension::<Self>(plan).is_some())
    }

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        (&self.request.text, &self.sources)
    }
}

identified!(PretrainNode);

impl UserDefinedLogicalNodeCore for PretrainNode {
    fn name(&self) -> &str {
        "PretrainForecastModel"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.sources.iter().flat_map(UserDefinedLogicalNodeCore::inputs).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.sources.iter().flat_map(UserDefinedLogicalNodeCore::expressions).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PretrainForecastModel: {}", self.request.model.name)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (mut exprs, mut inputs) = (exprs.into_iter(), inputs.into_iter());
        let of_source = |source: &TrainNode| {
            let own = (source.expressions().len(), source.inputs().len());
            source.with_exprs_and_inputs(
                exprs.by_ref().take(own.0).collect(),
                inputs.by_ref().take(own.1).collect(),
            )
        };
        let sources = self.sources.iter().map(of_source).collect::<Result<_>>()?;
        Ok(Self { sources, ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// The row that PRETRAIN returns.
fn result_schema() -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Schema::new(vec![
        Field::new("model", DataType::Utf8, false),
        count("version"),
        count("series"),
        count("rows"),
        count("parameters"),
        count("steps"),
        number("train_loss"),
        number("valid_loss"),
        number("seconds"),
    ])
}

/// Plans a node over its rows.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &PretrainNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut sources = vec![];
    for source in &node.sources {
        sources.push((Arc::new(job(engine, source, session)?), source.inputs().len()));
    }
    let work = PretrainWork(Arc::new(Pretraining::new(engine, &node.request, sources, session)));
    Ok(Arc::new(WorkExec::new(Arc::new(work), inputs, Arc::clone(node.schema.inner()))))
}

#[derive(Debug)]
struct PretrainWork(Arc<Pretraining>);

impl Work for PretrainWork {
    fn name(&self) -> &'static str {
        "PretrainExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model={}", self.0.request.model.name)
    }

    /// Of every relation the rows come first.
    fn sorted_columns(&self, input: usize) -> usize {
        let mut first = 0;
        let begins = |(job, count): &(Arc<Job>, usize)| {
            let here = first == input;
            first += count;
            here.then(|| ordering(&job.columns))
        };
        self.0.sources.iter().find_map(begins).unwrap_or(0)
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        let output = Arc::clone(&schema);
        let work = controlled(Arc::clone(&query.control), async move {
            let columns = pretrain(&self.0, inputs, &query, context.memory_pool()).await?;
            Ok(RecordBatch::try_new(output, columns)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work)))
    }
}
