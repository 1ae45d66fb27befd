//! A repair of subqueries whose value is another one each time: `SELECT (SELECT nextval('s')), (SELECT nextval('s'))`.
//!
//! DataFusion 55 runs subqueries that are written alike once for all of them. A name of its own tells each apart.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, SubqueryAlias};

use crate::engine::plan::subqueries::node_has_subquery;

/// The plan with such subqueries under names of their own.
pub fn with_own_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut named = 0;
    plan.transform_up_with_subqueries(|node| {
        if !node_has_subquery(&node)? {
            return Ok(Transformed::no(node));
        }
        node.map_expressions(|expr| expr.transform_up(|expr| told_apart(expr, &mut named)))
    })
    .data()
}

fn told_apart(expr: Expr, named: &mut usize) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarSubquery(subquery)
            if subquery.outer_ref_columns.is_empty() && is_volatile(&subquery.subquery)? =>
        {
            *named += 1;
            let name = TableReference::bare(format!("value {named}"));
            let plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(subquery.subquery, name)?);
            let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
            Ok(Transformed::yes(Expr::ScalarSubquery(subquery)))
        }
        expr => Ok(Transformed::no(expr)),
    }
}

/// True where a query itself has another answer each time; what WITH names has one answer.
fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if matches!(node, LogicalPlan::SubqueryAlias(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        node.apply_expressions(|expr| {
            found |= expr.is_volatile();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
