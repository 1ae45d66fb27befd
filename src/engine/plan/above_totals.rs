//! A repair of conditions above an aggregate that gives a row for no rows.
//!
//! DataFusion 55 moves a condition on none of its columns below it, `WHERE false` for one: the row is there all the same.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, Filter, GroupingSet, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::methods::delegate;

/// The rule that moves conditions down, but not below such an aggregate.
#[derive(Debug)]
pub struct AboveTotals(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for AboveTotals {
    delegate! {
        to 0:
        name() -> &str;
        apply_order() -> Option<ApplyOrder>;
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Filter(filter) if stays(filter) => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}

fn stays(filter: &Filter) -> bool {
    let mut input = filter.input.as_ref();
    // Conditions on conditions are made one on the way down.
    while let LogicalPlan::Filter(inner) = input {
        input = &inner.input;
    }
    let LogicalPlan::Aggregate(aggregate) = input else { return false };
    let mut conditions = split_conjunction(&filter.predicate).into_iter();
    gives_a_total(aggregate) && conditions.any(|condition| condition.column_refs().is_empty())
}

/// True for an aggregate over all rows, also beside others.
pub fn gives_a_total(aggregate: &Aggregate) -> bool {
    let Aggregate { group_expr, .. } = aggregate;
    group_expr.is_empty()
        || group_expr.iter().any(|expr| match expr {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => sets.iter().any(Vec::is_empty),
            Expr::GroupingSet(_) => true,
            _ => false,
        })
}
