//! Subqueries in the expressions of a plan.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan with its subqueries rewritten, the inner ones first; its columns keep their names.
pub fn with_subqueries(
    plan: LogicalPlan,
    rewrite: fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if !has_subquery(&node)? {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(rewrite)?.update_data(|expr| name.restore(expr)))
        })
    })
    .data()
}

/// True for a node with a subquery in its expressions.
pub fn has_subquery(node: &LogicalPlan) -> Result<bool> {
    has_expression(node, |expr| {
        matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        )
    })
}

/// True for a plan with comparisons with ANY or ALL rows of a subquery.
pub fn has_set_comparisons(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= has_expression(node, |expr| matches!(expr, Expr::SetComparison(_)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn has_expression(node: &LogicalPlan, is_wanted: fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(is_wanted(part)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
