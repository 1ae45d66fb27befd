//! A repair of orders by comparisons: `ORDER BY length(note) > 3` and windows and aggregates that do the same.
//!
//! DataFusion 55 follows the ranges of values through an expression, finds that those of most functions are of no type
//! that could be compared, and takes its own sort by this expression for none: it refuses the plan. Such a key is
//! computed below what sorts by it, which then sorts by a column.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::plan::beside::{Beside, Part};

/// The rule that computes keys below a sort, a window or an aggregate.
#[derive(Debug)]
pub struct ComputedKeys;

impl OptimizerRule for ComputedKeys {
    fn name(&self) -> &str {
        "computed_keys"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Sort(sort) if sort.expr.iter().any(|key| is_opaque(&key.expr)) => sorted(sort),
            LogicalPlan::Window(window) if window.window_expr.iter().any(|w| has_keys(w, is_computed)) => {
                Beside::windowed(window, is_computed, Part::Keys)
            }
            LogicalPlan::Aggregate(aggregate)
                if aggregate.aggr_expr.iter().any(|a| has_keys(a, is_opaque)) =>
            {
                Beside::aggregated(aggregate, is_opaque, Part::Keys)
            }
            plan => Ok(Transformed::no(plan)),
        }
    }
}

/// True where the range of a function, or of whatever has none, is compared or reckoned with.
fn is_opaque(key: &Expr) -> bool {
    let mut opaque = false;
    // Neither the walk nor the question can fail.
    let _ = key.apply(|expr| {
        if !is_operator(expr) {
            return Ok(TreeNodeRecursion::Continue);
        }
        opaque |= expr.exists(|part| Ok(!is_plain(part)))?;
        Ok(if opaque { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Jump })
    });
    opaque
}

fn is_operator(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(_) | Expr::Not(_) | Expr::Negative(_) | Expr::Between(_))
}

fn is_plain(expr: &Expr) -> bool {
    is_operator(expr) || matches!(expr, Expr::Column(_) | Expr::Literal(..) | Expr::Cast(_) | Expr::Alias(_))
}

/// True for an expression that is no column, but made of some.
pub fn is_computed(key: &Expr) -> bool {
    !matches!(key, Expr::Column(_)) && key.any_column_refs()
}

/// True for a function over a window, or an aggregate, with such keys.
fn has_keys(function: &Expr, is_wanted: fn(&Expr) -> bool) -> bool {
    match function {
        Expr::Alias(alias) => has_keys(&alias.expr, is_wanted),
        Expr::WindowFunction(window) => {
            let order = window.params.order_by.iter().map(|key| &key.expr);
            window.params.partition_by.iter().chain(order).any(is_wanted)
        }
        Expr::AggregateFunction(aggregate) => {
            aggregate.params.order_by.iter().any(|key| is_wanted(&key.expr))
        }
        _ => false,
    }
}

fn sorted(Sort { expr, input, fetch }: Sort) -> Result<Transformed<LogicalPlan>> {
    let mut beside = Beside::new(input, is_opaque);
    let columns = beside.columns();
    let expr = beside.order(expr);
    let sort = LogicalPlan::Sort(Sort { expr, input: beside.plan()?, fetch });
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(sort))?)))
}
