//! A repair of subqueries in the arguments of aggregates and window functions, `sum((SELECT price FROM …))`.
//!
//! DataFusion 55 runs subqueries in projections and filters alone, so that they are computed in one below.

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use crate::engine::plan::beside::{Beside, Part};
use crate::engine::plan::subqueries::has_subquery;

/// The plan with such subqueries in projections of their own.
pub fn with_subqueries_below(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(window) if window.window_expr.iter().any(has_subquery) => {
            Beside::windowed(window, has_subquery, Part::All)
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(has_subquery) => {
            Beside::aggregated(aggregate, has_subquery, Part::All)
        }
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}
