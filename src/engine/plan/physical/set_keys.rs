//! A repair of aggregates with grouping sets, whose keys are NULL in the rows of some sets.
//!
//! DataFusion 55 takes what its input knows of the keys, that one is a constant, or equal to another, for true of the
//! groups, too: `ORDER BY` left such keys out.

use std::fmt;
use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    replace_children_if_necessary,
};

use super::replaced::replaced;
use crate::engine::methods::rows_of_input;

/// Lets such aggregates know nothing of the rows of their input.
#[derive(Debug)]
pub struct SetKeys;

impl PhysicalOptimizerRule for SetKeys {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let sets = node.downcast_ref::<AggregateExec>().filter(|aggregate| {
                aggregate.group_expr().has_grouping_set()
                    && aggregate.mode().input_mode() == AggregateInputMode::Raw
            });
            let forgetful = |sets: &AggregateExec| {
                replace_children_if_necessary(Arc::clone(node), vec![unknown(Arc::clone(sets.input()))])
            };
            sets.map(forgetful).transpose()
        })
    }

    fn name(&self) -> &str {
        "SetKeys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn unknown(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let partitions = input.output_partitioning().partition_count();
    let properties = PlanProperties::clone(input.properties())
        .with_partitioning(Partitioning::UnknownPartitioning(partitions))
        .with_eq_properties(EquivalenceProperties::new(input.schema()));
    Arc::new(GroupingSetInputExec { input, properties: Arc::new(properties) })
}

/// The rows of its input, of whose columns nothing is known.
#[derive(Debug)]
struct GroupingSetInputExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for GroupingSetInputExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for GroupingSetInputExec {
    rows_of_input!();

    fn name(&self) -> &str {
        "GroupingSetInputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(unknown(children.pop().unwrap_or_else(|| Arc::clone(&self.input))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
