//! One node for all statements that make or change a model and tell of it in a few rows.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::engine::access::{Actor, Guard};
use crate::engine::controlled::controlled;
use crate::engine::pg_catalog::Surroundings;
use crate::engine::plan::node::{all_columns, extension, identified, runs};
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::query::QueryContext;
use crate::engine::running::RunningTraining;
use crate::engine::shared::Engine;
use crate::engine::storage::Acl;
use crate::error::Result as OurResult;

/// What a statement does with the rows of its inputs; nothing happens before its own rows are read.
#[async_trait]
pub trait ModelTask: fmt::Debug + Send + Sync + 'static {
    /// The node's name in EXPLAIN.
    fn name(&self) -> &'static str;

    /// The model.
    fn model(&self) -> &str;

    /// The statement, which tells tasks apart.
    fn text(&self) -> &str;

    /// Its own rows.
    fn schema(&self) -> Schema;

    /// Leading columns by which the rows of its inputs must be sorted.
    fn sorted_columns(&self) -> usize {
        0
    }

    /// Fails where whoever acts may not do it.
    fn check_rights(&self, engine: &Engine, guard: &Guard) -> OurResult<()>;

    /// Does it.
    async fn run(self: Arc<Self>, call: TaskCall) -> OurResult<RecordBatch>;
}

/// What a task works with.
pub struct TaskCall {
    /// The database.
    pub engine: Arc<Engine>,
    /// The rows of its inputs.
    pub inputs: Vec<SendableRecordBatchStream>,
    /// The running statement.
    pub query: Arc<QueryContext>,
    /// Where memory is taken from.
    pub pool: Arc<dyn MemoryPool>,
    /// The role that acts.
    pub owner: Option<String>,
    pid: i64,
}

impl TaskCall {
    /// Enters the list of trainings that run.
    pub fn enter(&self, model: &str) -> RunningTraining {
        let acl = Acl::of_owner(self.owner.clone());
        self.engine.trainings.enter(model, self.pid, &self.query.control, acl)
    }
}

/// The logical node.
#[derive(Debug, Clone)]
pub struct TaskNode {
    task: Arc<dyn ModelTask>,
    inputs: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl TaskNode {
    /// A node that runs a task over the rows of these plans.
    pub fn new(task: Arc<dyn ModelTask>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(task.schema())?);
        Ok(Self { task, inputs, schema })
    }

    /// The task.
    pub fn task(&self) -> &dyn ModelTask {
        self.task.as_ref()
    }

    /// True when running a plan changes a model.
    pub fn publishes(plan: &LogicalPlan) -> bool {
        runs(plan, |plan| extension::<Self>(plan).is_some())
    }

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        (self.task.name(), self.task.text(), &self.inputs)
    }
}

identified!(TaskNode);

impl UserDefinedLogicalNodeCore for TaskNode {
    fn name(&self) -> &str {
        self.task.name()
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.task.name(), self.task.model())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { inputs, ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// Plans a node over its rows.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &TaskNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
) -> Arc<dyn ExecutionPlan> {
    let work = TaskWork {
        engine: Arc::clone(engine),
        task: Arc::clone(&node.task),
        owner: session.config().get_extension::<Actor>().and_then(|actor| actor.role()),
        pid: session.config_options().extensions.get::<Surroundings>().map_or(0, Surroundings::pid),
    };
    Arc::new(WorkExec::new(Arc::new(work), inputs, Arc::clone(node.schema.inner())))
}

#[derive(Debug)]
struct TaskWork {
    engine: Arc<Engine>,
    task: Arc<dyn ModelTask>,
    owner: Option<String>,
    pid: i64,
}

impl Work for TaskWork {
    fn name(&self) -> &'static str {
        self.task.name()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model={}", self.task.model())
    }

    fn sorted_columns(&self, _: usize) -> usize {
        self.task.sorted_columns()
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let call = TaskCall {
            engine: Arc::clone(&self.engine),
            inputs,
            query: query_context(&context),
            pool: Arc::clone(context.memory_pool()),
            owner: self.owner.clone(),
            pid: self.pid,
        };
        let (task, control) = (Arc::clone(&self.task), Arc::clone(&call.query.control));
        let work = controlled(control, async move { Ok(task.run(call).await?) });
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work)))
    }
}
