//! A change of tables or models as a plan: nothing happens until its stream is read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, PhysicalExpr,
    PlanProperties, ReplaceChildrenOptions,
};

use crate::engine::database::Engine;
use crate::engine::ddl::{self, Command};
use crate::engine::fault::external;
use crate::engine::plan::exec::{query_context, single_partition};

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

    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn identity(&self) -> (String, &Option<LogicalPlan>) {
        (format!("{:?}", self.command), &self.input)
    }
}

impl PartialEq for CommandNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for CommandNode {}

impl Hash for CommandNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for CommandNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self == other).then_some(std::cmp::Ordering::Equal)
    }
}

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
        Some(self.input.iter().map(|i| (0..i.schema().fields().len()).collect()).collect())
    }
}

/// The physical operator.
#[derive(Debug)]
pub struct CommandExec {
    engine: Arc<Engine>,
    command: Arc<Command>,
    input: Option<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
}

impl CommandExec {
    /// Plans a node over the rows of its query.
    pub fn new(engine: &Arc<Engine>, node: &CommandNode, input: Option<Arc<dyn ExecutionPlan>>) -> Self {
        Self {
            engine: Arc::clone(engine),
            command: Arc::clone(&node.command),
            input,
            properties: single_partition(Arc::clone(node.schema.inner())),
        }
    }

    fn with_input(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self {
            engine: Arc::clone(&self.engine),
            command: Arc::clone(&self.command),
            input: children.pop(),
            properties: Arc::clone(&self.properties),
        })
    }
}

impl DisplayAs for CommandExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandExec: {}", self.command.words())
    }
}

#[async_trait]
impl ExecutionPlan for CommandExec {
    fn name(&self) -> &str {
        "CommandExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.input.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.children().len()])
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.with_input(children))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self.with_input(children))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.as_ref().map(|i| i.execute(0, Arc::clone(&context))).transpose()?;
        let (engine, command) = (Arc::clone(&self.engine), Arc::clone(&self.command));
        let query = query_context(&context);
        let schema = self.schema();
        let output = Arc::clone(&schema);
        let work = async move {
            let count = ddl::run(&engine, &command, rows, &query, &context).await.map_err(external)?;
            let column: ArrayRef = Arc::new(UInt64Array::from(vec![count]));
            Ok(RecordBatch::try_new(output, vec![column])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(work))))
    }
}
