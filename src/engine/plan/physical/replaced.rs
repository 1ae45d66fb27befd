//! The walk of rules that put one node in the place of another.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

/// The plan with what `other` has for its nodes in their places, those below first.
pub fn replaced(
    plan: Arc<dyn ExecutionPlan>,
    other: impl Fn(&Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match other(&node)? {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(node),
        })
    })
    .data()
}
