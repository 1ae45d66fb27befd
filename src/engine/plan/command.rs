//! A change of tables or models as a plan: nothing happens until its stream is read.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::engine::controlled::controlled;
use crate::engine::ddl::{self, Command};
use crate::engine::plan::node::{all_columns, identified};
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::shared::Engine;

/// The logical node.
#[derive(Debug, Clone)]
pub struct CommandNode {
    command: Arc<Command>,
    input: Option<LogicalPlan>,
    schema: DFSchemaRef,
}

impl CommandNode {
    /// A node for a command; `input` is the query of CREATE TABLE AS.
    pub fn new(command: Command, input: Option<LogicalPlan>) -> Result<Self> {
        let schema = Schema::new(vec![Field::new("count", DataType::UInt64, false)]);
        Ok(Self { command: Arc::new(command), input, schema: Arc::new(DFSchema::try_from(schema)?) })
    }

    /// What it does.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn identity(&self) -> (String, &Option<LogicalPlan>) {
        (format!("{:?}", self.command), &self.input)
    }
}

identified!(CommandNode);

impl UserDefinedLogicalNodeCore for CommandNode {
    fn name(&self) -> &str {
        "Command"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.input.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command: {}", self.command.words())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.pop(), ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// A command and the database it changes.
#[derive(Debug)]
struct Change {
    engine: Arc<Engine>,
    command: Arc<Command>,
}

/// Plans a node over the rows of its query.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &CommandNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Arc<dyn ExecutionPlan> {
    let change = Change { engine: Arc::clone(engine), command: Arc::clone(&node.command) };
    Arc::new(WorkExec::new(Arc::new(change), inputs, Arc::clone(node.schema.inner())))
}

impl Work for Change {
    fn name(&self) -> &'static str {
        "CommandExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command.words())
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        mut inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        let output = Arc::clone(&schema);
        let work = controlled(Arc::clone(&query.control), async move {
            let count = ddl::run(&self.engine, &self.command, inputs.pop(), &query, &context).await?;
            let column: ArrayRef = Arc::new(UInt64Array::from(vec![count]));
            Ok(RecordBatch::try_new(output, vec![column])?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work)))
    }
}
