//! A repair of DISTINCT ON with a key twice, in its list or its ORDER BY, which numbers and names of columns may be.
//!
//! DataFusion 55 makes aggregates of it that sort by each key once, and counts them as they were written.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Distinct, DistinctOn, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::methods::delegate;

/// The rule that makes aggregates of it, each of its keys once.
#[derive(Debug)]
pub struct DistinctKeys(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for DistinctKeys {
    delegate! {
        to 0:
        name() -> &str;
        apply_order() -> Option<ApplyOrder>;
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let plan = match plan {
            LogicalPlan::Distinct(Distinct::On(on)) => LogicalPlan::Distinct(Distinct::On(keys_once(on))),
            plan => plan,
        };
        self.0.rewrite(plan, config)
    }
}

fn keys_once(on: DistinctOn) -> DistinctOn {
    let on_expr = firsts(on.on_expr, |one, other| one == other);
    let sort_expr = on.sort_expr.map(|order| firsts(order, |one, other| one.expr == other.expr));
    DistinctOn { on_expr, sort_expr, ..on }
}

/// Those that are not the same as one before them.
pub fn firsts<T>(keys: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(keys.len());
    for key in keys {
        if !kept.iter().any(|earlier| same(earlier, &key)) {
            kept.push(key);
        }
    }
    kept
}
