//! A repair of subqueries with LATERAL in them, which DataFusion takes for correlated: it counts the columns that LATERAL
//! finds in what stands before it among those of the outer query.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::find_out_reference_exprs;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

use crate::engine::plan::subqueries::with_subqueries;

/// The plan, whose subqueries tell the columns that they have from outside.
pub fn with_own_laterals(plan: LogicalPlan) -> Result<LogicalPlan> {
    with_subqueries(plan, |mut expr| {
        let changed = match &mut expr {
            Expr::ScalarSubquery(subquery)
            | Expr::Exists(Exists { subquery, .. })
            | Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::SetComparison(SetComparison { subquery, .. }) => keep_outer(subquery)?,
            _ => false,
        };
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    })
}

/// True where there were other columns among those from outside.
fn keep_outer(subquery: &mut Subquery) -> Result<bool> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let outer = from_outside(&subquery.subquery)?;
    let count = subquery.outer_ref_columns.len();
    subquery.outer_ref_columns.retain(|column| outer.contains(column));
    Ok(subquery.outer_ref_columns.len() < count)
}

/// The columns that a query has from outside.
fn from_outside(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found = vec![];
    plan.apply_expressions(|expr| {
        found.extend(find_out_reference_exprs(expr));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let before = match plan {
        LogicalPlan::Join(join) => Some(join.left.schema()),
        _ => None,
    };
    for (place, input) in plan.inputs().into_iter().enumerate() {
        let is_before = |expr: &Expr| match (expr, before) {
            (Expr::OuterReferenceColumn(_, column), Some(before)) => place > 0 && before.has_column(column),
            _ => false,
        };
        found.extend(from_outside(input)?.into_iter().filter(|expr| !is_before(expr)));
    }
    Ok(found)
}
