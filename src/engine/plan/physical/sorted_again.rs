//! A repair of plans that lost an order on the way.
//!
//! DataFusion 55 leaves a constant out of the keys of one branch of a UNION, moves the projection that knew of it into a
//! scan that does not, and refuses the plan, since its rows are sorted by fewer keys than are asked for; so it does where
//! a branch has a column twice. What its check refuses gets its sorts where they are missing.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

use crate::engine::methods::delegate;

/// The last check, which mends before it refuses.
#[derive(Debug)]
pub struct SortedAgain(pub Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for SortedAgain {
    delegate! {
        to 0:
        name() -> &str;
        schema_check() -> bool;
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.optimize(Arc::clone(&plan), config).or_else(|_| {
            let sorted = plan.transform_up(|node| with_sorted_inputs(node).map(Transformed::yes)).data()?;
            self.0.optimize(sorted, config)
        })
    }
}

/// The node, whose inputs have the orders that it asks for.
fn with_sorted_inputs(node: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let orders = node.required_input_ordering();
    let inputs = node.children().into_iter().zip(orders).map(|(input, order)| {
        let Some(order) = order.map(|order| order.into_single()) else { return Ok(Arc::clone(input)) };
        if input.equivalence_properties().ordering_satisfy_requirement(order.clone())? {
            return Ok(Arc::clone(input));
        }
        let sort = SortExec::new(LexOrdering::from(order), Arc::clone(input));
        Ok(Arc::new(sort.with_preserve_partitioning(input.output_partitioning().partition_count() > 1)) as _)
    });
    let inputs: Vec<_> = inputs.collect::<Result<_>>()?;
    replace_children_if_necessary(node, inputs)
}
