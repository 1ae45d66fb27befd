//! Sorted rows whose texts stand in buffers of their own.
//!
//! A merge of spilled rows hands on batches of views into the buffers of all that it merges. Each batch keeps those buffers,
//! and is counted as all of them: what merges or joins such rows ran out of memory with a few batches.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::SortMergeJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::StreamExt;

use super::replaced::replaced;
use crate::engine::array_bytes::compacted;
use crate::engine::methods::{rows_of_input, rule_named};

/// Lets merges and joins have such rows.
#[derive(Debug)]
pub struct OwnTexts;

impl PhysicalOptimizerRule for OwnTexts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            if !node.is::<SortPreservingMergeExec>() && !node.is::<SortMergeJoinExec>() {
                return Ok(None);
            }
            let children = node.children().into_iter().map(|child| with_own_texts(Arc::clone(child)));
            replace_children_if_necessary(Arc::clone(node), children.collect()).map(Some)
        })
    }

    rule_named!("OwnTexts");
}

fn with_own_texts(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    // The first rows of a sort are never spilled.
    let merges = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
    match merges && has_texts(&plan.schema()) {
        true => Arc::new(OwnTextsExec { input: plan }),
        false => plan,
    }
}

fn has_texts(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView))
}

/// The rows of its input, their texts in buffers of their own.
#[derive(Debug)]
struct OwnTextsExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for OwnTextsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for OwnTextsExec {
    rows_of_input!();

    fn name(&self) -> &str {
        "OwnTextsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { input: children.pop().unwrap_or_else(|| Arc::clone(&self.input)) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?.map(|batch| compacted(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
