//! Aggregates of the outer query in a subquery, by columns that are written without a table: `SELECT (SELECT max(k) FROM u)
//! FROM o`, where u has no k.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::engine::plan::subqueries::has_subquery;
use crate::engine::sql::outer_aggregate;

/// Aggregates that subqueries are written with: of what a subquery selects, and what it is an array of.
const WRITTEN: [&str; 2] = ["array_agg", "first_value"];

/// Fails for a plan with such an aggregate.
pub fn refuse_outer_aggregates(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            aggregate.aggr_expr.iter().try_for_each(refuse)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn refuse(aggregate: &Expr) -> Result<()> {
    let call = match aggregate {
        Expr::Alias(alias) => return refuse(&alias.expr),
        Expr::AggregateFunction(call) if !WRITTEN.contains(&call.func.name()) => call,
        _ => return Ok(()),
    };
    let outer = outer_columns(aggregate)?;
    if outer.is_empty() || !aggregate.column_refs().is_empty() || has_subquery(aggregate) {
        return Ok(());
    }
    Err(outer_aggregate(format!("{}({})", call.func.name(), outer.join(", "))).into())
}

/// The columns of outer queries in an expression, as they are written.
fn outer_columns(expr: &Expr) -> Result<Vec<String>> {
    let mut found = vec![];
    expr.apply(|part| {
        if let Expr::OuterReferenceColumn(_, column) = part {
            found.push(match &column.relation {
                Some(table) => format!("{}.{}", table.table(), column.name),
                None => column.name.clone(),
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
