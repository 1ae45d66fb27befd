//! Subqueries in the expressions of a plan.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

/// The plan with its subqueries rewritten, the inner ones first; its columns keep their names.
pub fn with_subqueries(
    plan: LogicalPlan,
    rewrite: fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        if !node_has_subquery(&node)? {
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

/// True for an expression with a subquery in it.
pub fn has_subquery(expr: &Expr) -> bool {
    has_part(expr, is_subquery)
}

/// True for a node with a subquery in its expressions.
pub fn node_has_subquery(node: &LogicalPlan) -> Result<bool> {
    node_has_part(node, is_subquery)
}

/// True for a query with subqueries in it: asked twice, they would be planned twice as often with every level.
pub fn is_nested(query: &Subquery) -> Result<bool> {
    query.subquery.exists(node_has_subquery)
}

/// True for a plan with comparisons with ANY or ALL rows of a subquery.
pub fn has_set_comparisons(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= node_has_set_comparison(node)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// True for a node with such comparisons in its expressions.
pub fn node_has_set_comparison(node: &LogicalPlan) -> Result<bool> {
    node_has_part(node, |expr| matches!(expr, Expr::SetComparison(_)))
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

fn node_has_part(node: &LogicalPlan, is_wanted: fn(&Expr) -> bool) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= has_part(expr, is_wanted);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn has_part(expr: &Expr, is_wanted: fn(&Expr) -> bool) -> bool {
    // The question cannot fail.
    expr.exists(|part| Ok(is_wanted(part))).unwrap_or(true)
}
