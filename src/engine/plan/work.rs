//! The physical operator of everything that reads whole inputs and gives one stream: TRAIN, forecasts, commands.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties,
};

use crate::engine::query::QueryContext;

/// What is done with the rows; nothing happens before the stream is read.
pub trait Work: fmt::Debug + Send + Sync + 'static {
    /// The operator's name in EXPLAIN.
    fn name(&self) -> &'static str;

    /// What EXPLAIN says after the name.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Leading columns by which an input must be sorted.
    fn sorted_columns(&self, _input: usize) -> usize {
        0
    }

    /// The rows that come of the inputs' rows, in `schema`.
    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream;
}

/// Runs one [`Work`] over inputs of one partition each.
#[derive(Debug)]
pub struct WorkExec {
    work: Arc<dyn Work>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WorkExec {
    /// An operator whose rows have this schema.
    pub fn new(work: Arc<dyn Work>, inputs: Vec<Arc<dyn ExecutionPlan>>, schema: SchemaRef) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { work, inputs, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for WorkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.work.name())?;
        self.work.describe(f)
    }
}

impl ExecutionPlan for WorkExec {
    fn name(&self) -> &str {
        self.work.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.inputs.len()])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let columns = |i: usize| self.work.sorted_columns(i);
        self.inputs.iter().enumerate().map(|(i, input)| sorted_by(&input.schema(), columns(i))).collect()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(Arc::clone(&self.work), children, self.schema())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inputs = self.inputs.iter().map(|input| input.execute(0, Arc::clone(&context)));
        let inputs = inputs.collect::<Result<_>>()?;
        Ok(Arc::clone(&self.work).start(self.schema(), inputs, context, &self.metrics))
    }
}

/// Rows sorted by the first `columns` columns, ascending.
fn sorted_by(schema: &SchemaRef, columns: usize) -> Option<OrderingRequirements> {
    let exprs = schema.fields().iter().take(columns).enumerate().map(|(i, field)| {
        PhysicalSortExpr::new_default(Arc::new(Column::new(field.name(), i))).asc().nulls_last()
    });
    LexOrdering::new(exprs).map(OrderingRequirements::from)
}

/// The running statement that a task belongs to.
pub fn query_context(context: &TaskContext) -> Arc<QueryContext> {
    context.session_config().get_extension::<QueryContext>().unwrap_or_default()
}
