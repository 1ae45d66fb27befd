//! What our logical nodes have in common.

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The node of ours that a plan is, if it is one of this kind.
pub(super) fn extension<T: 'static>(plan: &LogicalPlan) -> Option<&T> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<T>(),
        _ => None,
    }
}

/// True for a plan that runs a node for which `is_wanted` holds; EXPLAIN runs none.
pub(super) fn runs(plan: &LogicalPlan, is_wanted: impl Fn(&LogicalPlan) -> bool) -> bool {
    let explained = matches!(plan, LogicalPlan::Explain(_));
    !explained && plan.exists(|plan| Ok(is_wanted(plan))).unwrap_or(false)
}

/// True for an expression with a parameter in it.
pub(super) fn has_parameter(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::Placeholder(_)))).unwrap_or(true)
}

/// The columns that a node needs of its inputs: all, whichever of its own are read.
pub(super) fn all_columns(inputs: &[&LogicalPlan]) -> Vec<Vec<usize>> {
    inputs.iter().map(|input| (0..input.schema().fields().len()).collect()).collect()
}

/// Compares, hashes and orders a node by what its `identity()` returns; unequal nodes have no order.
macro_rules! identified {
    ($node:ty) => {
        impl PartialEq for $node {
            fn eq(&self, other: &Self) -> bool {
                self.identity() == other.identity()
            }
        }

        impl Eq for $node {}

        impl std::hash::Hash for $node {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.identity().hash(state);
            }
        }

        impl PartialOrd for $node {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                (self == other).then_some(std::cmp::Ordering::Equal)
            }
        }
    };
}

pub(super) use identified;
