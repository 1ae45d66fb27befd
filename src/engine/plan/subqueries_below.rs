//! A repair of subqueries in the arguments of aggregates and window functions, `sum((SELECT price FROM …))`, and in
//! ORDER BY.
//!
//! DataFusion 55 runs subqueries in projections and filters alone, so that they are computed in one below.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, SortExpr};

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
        LogicalPlan::Sort(sort) if sort.expr.iter().any(|key| has_subquery(&key.expr)) => sorted(sort),
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn sorted(sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let columns = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut beside = Beside::new(with_named(&sort.input, &sort.expr)?, has_subquery);
    let expr = beside.order(sort.expr);
    let sort = LogicalPlan::Sort(Sort { expr, input: beside.plan()?, fetch: sort.fetch });
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(sort))?)))
}

/// The rows with the columns that subqueries name, of which DataFusion leaves out those that are not selected.
fn with_named(rows: &Arc<LogicalPlan>, keys: &[SortExpr]) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Projection(projection) = rows.as_ref() else { return Ok(Arc::clone(rows)) };
    let mut columns = projection.expr.clone();
    for column in named(keys)? {
        let is_left_out = !rows.schema().has_column(&column) && projection.input.schema().has_column(&column);
        let column = Expr::Column(column);
        if is_left_out && !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(&projection.input))?)))
}

/// The columns of the outer query that the subqueries in these keys name.
fn named(keys: &[SortExpr]) -> Result<Vec<Column>> {
    let mut found = vec![];
    for key in keys {
        key.expr.apply(|part| {
            if let Expr::ScalarSubquery(subquery)
            | Expr::Exists(Exists { subquery, .. })
            | Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::SetComparison(SetComparison { subquery, .. }) = part
            {
                found.extend(subquery.outer_ref_columns.iter().filter_map(|outer| match outer {
                    Expr::OuterReferenceColumn(_, column) => Some(column.clone()),
                    _ => None,
                }));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}
