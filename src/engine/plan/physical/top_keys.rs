//! A sort that wants the first rows of each partition shares one threshold among them, but leaves keys out that are
//! constant in each, whatever they are in the others: then the rows of one partition drop those of another.

use std::sync::Arc;

use crate::engine::methods::rule_named;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{AcrossPartitions, LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Gives such sorts the keys by which their partitions are merged, or takes their threshold away.
#[derive(Debug)]
pub struct WholeKeys;

impl PhysicalOptimizerRule for WholeKeys {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        mended(plan, None)
    }

    rule_named!("WholeKeys");
}

/// The plan, whose partitions are merged by `keys` if nothing but projections stands between.
fn mended(plan: Arc<dyn ExecutionPlan>, keys: Option<&LexOrdering>) -> Result<Arc<dyn ExecutionPlan>> {
    if plan.children().is_empty() {
        return Ok(plan);
    }
    let below = keys_below(&plan, keys);
    let children = plan.children().into_iter().map(|child| mended(Arc::clone(child), below.as_ref()));
    let children = children.collect::<Result<Vec<_>>>()?;
    let plan = replace_children_if_necessary(plan, children)?;
    let sort = plan.downcast_ref::<SortExec>().and_then(|sort| with_whole_keys(sort, keys));
    Ok(sort.unwrap_or(plan))
}

/// The keys by which the partitions of a node's input are merged, in the input's columns.
fn keys_below(plan: &Arc<dyn ExecutionPlan>, keys: Option<&LexOrdering>) -> Option<LexOrdering> {
    if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
        return Some(merge.expr().clone());
    }
    let projection = plan.downcast_ref::<ProjectionExec>()?;
    let below = keys?.iter().map(|key| {
        let column = key.expr.downcast_ref::<Column>()?;
        let source = projection.expr().get(column.index())?;
        Some(PhysicalSortExpr::new(Arc::clone(&source.expr), key.options))
    });
    LexOrdering::new(below.collect::<Option<Vec<_>>>()?)
}

/// What takes the place of a sort whose threshold is wrong.
fn with_whole_keys(sort: &SortExec, keys: Option<&LexOrdering>) -> Option<Arc<dyn ExecutionPlan>> {
    let fetch = sort.fetch()?;
    if !sort.preserve_partitioning() || sort.input().output_partitioning().partition_count() < 2 {
        return None;
    }
    let sorted_by = |keys: &LexOrdering| {
        SortExec::new(keys.clone(), Arc::clone(sort.input())).with_preserve_partitioning(true)
    };
    match keys {
        Some(keys) if keys == sort.expr() => None,
        Some(keys) if is_within(sort.expr(), keys) => Some(Arc::new(sorted_by(keys).with_fetch(Some(fetch)))),
        _ if differs_between_partitions(sort) => {
            Some(Arc::new(LocalLimitExec::new(Arc::new(sorted_by(sort.expr())), fetch)))
        }
        _ => None,
    }
}

/// True if one order is the other, without some of its keys.
fn is_within(part: &LexOrdering, whole: &LexOrdering) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|key| whole.any(|other| other == key))
}

/// True if something is constant in each partition, without being the same in all, that may have been a key.
fn differs_between_partitions(sort: &SortExec) -> bool {
    let constants = sort.input().equivalence_properties().constants();
    constants.into_iter().any(|constant| {
        constant.across_partitions == AcrossPartitions::Heterogeneous
            && !sort.expr().iter().any(|key| key.expr.eq(&constant.expr))
    })
}
