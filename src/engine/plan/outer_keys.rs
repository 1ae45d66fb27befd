//! A repair of correlated subqueries over several tables.
//!
//! DataFusion 55 turns `(SELECT … FROM a, b WHERE a.id = o.x AND b.id = o.y)` into a join on the columns of the
//! subquery by their bare names: with two of the same name it joins on one of them twice, and gives wrong rows. Each
//! such column gets a name of its own first.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator};

/// The plan with names of their own for columns that are compared with the outer query.
pub fn with_distinct_outer_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan
        .transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Filter(filter) => rename_keys(filter),
            plan => Ok(Transformed::no(plan)),
        })?
        .data)
}

/// The inner column of an equality with a column of the outer query.
fn inner_key(condition: &Expr) -> Option<&Column> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(inner), outer) | (outer, Expr::Column(inner)) if outer.contains_outer() => Some(inner),
        _ => None,
    }
}

fn rename_keys(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let conditions = split_conjunction_owned(filter.predicate.clone());
    let keys: Vec<&Column> = conditions.iter().filter_map(inner_key).collect();
    let is_twin = |key: &Column| keys.iter().any(|k| k.name == key.name && k.relation != key.relation);
    let twins: Vec<Column> = keys.iter().filter(|key| is_twin(key)).map(|key| (*key).clone()).collect();
    if twins.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let name = |n: usize, key: &Column| format!("{} of {}", key.name, n + 1);
    let schema: &DFSchema = filter.input.schema();
    let mut columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    columns.extend(twins.iter().enumerate().map(|(n, key)| Expr::Column(key.clone()).alias(name(n, key))));
    let renamed = |condition: Expr| {
        let Some(n) = inner_key(&condition).and_then(|key| twins.iter().position(|twin| twin == key)) else {
            return condition;
        };
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return condition };
        let own = || Box::new(Expr::Column(Column::from_name(name(n, &twins[n]))));
        let is_key = |side: &Expr| matches!(side, Expr::Column(column) if *column == twins[n]);
        let (left, right) = if is_key(&left) { (own(), right) } else { (left, own()) };
        Expr::BinaryExpr(BinaryExpr { left, op, right })
    };
    let predicate = conjunction(conditions.into_iter().map(renamed)).unwrap_or(filter.predicate);
    let plan = LogicalPlanBuilder::from(filter.input.as_ref().clone())
        .project(columns)?
        .filter(predicate)?
        .build()?;
    Ok(Transformed::yes(plan))
}
