//! A statement that changes a table, as a plan that does nothing until its row count is asked for.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::future::BoxFuture;
use futures::stream;

use crate::engine::controlled::{control_of, controlled};
use crate::error::Result as OurResult;

/// A change of a table; it says how many rows it touched.
pub trait Change: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Makes the change, in one commit; dropping the future before the commit leaves the table as it was.
    fn apply(self: Arc<Self>, context: Arc<TaskContext>) -> BoxFuture<'static, OurResult<u64>>;
}

/// Runs a [`Change`] when executed and returns its count in the one row of the column `count`.
#[derive(Debug)]
pub struct ChangeExec {
    change: Arc<dyn Change>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl ChangeExec {
    /// The plan that makes `change`.
    pub fn new(change: Arc<dyn Change>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { change, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for ChangeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeExec: {}", self.change)
    }
}

impl ExecutionPlan for ChangeExec {
    fn name(&self) -> &str {
        "ChangeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return internal_err!("a change of a table has no input plans");
        }
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a change of a table has one partition, not {partition}");
        }
        let (change, schema) = (Arc::clone(&self.change), Arc::clone(&self.schema));
        let row = async move {
            let count = controlled(control_of(&context), change.apply(context)).await?;
            Ok(RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![count]))])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream::once(row))))
    }
}
