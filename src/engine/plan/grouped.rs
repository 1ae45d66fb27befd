//! Grouping sets of expressions, and `grouping(…)` of them, over columns that hold what was computed below.
//!
//! DataFusion 55 knows the sets, and what `grouping(…)` is of, no more once a rewrite has changed an expression in them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection};

use crate::engine::plan::beside::Beside;

/// The plan with the keys of such aggregates in columns.
pub fn with_keys_in_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan
        .transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) if tells_keys_apart(&aggregate) => in_columns(aggregate),
            plan => Ok(Transformed::no(plan)),
        })?
        .data)
}

/// True for an aggregate with grouping sets or `grouping(…)`.
fn tells_keys_apart(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)))
        || aggregate.aggr_expr.iter().any(is_grouping)
}

fn is_grouping(aggregate: &Expr) -> bool {
    match aggregate {
        Expr::Alias(alias) => is_grouping(&alias.expr),
        Expr::AggregateFunction(aggregate) => aggregate.func.name() == "grouping",
        _ => false,
    }
}

fn in_columns(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut beside = Beside::new(Arc::clone(&aggregate.input), |key| !matches!(key, Expr::Column(_)));
    let keys = aggregate.group_expr.iter().cloned();
    let group_expr: Vec<Expr> = keys.map(|key| in_key(key, &mut beside)).collect();
    if group_expr == aggregate.group_expr {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { aggr_expr, schema, .. } = aggregate;
    let aggr_expr = aggr_expr.into_iter().map(|expr| in_grouping(expr, &beside)).collect::<Result<_>>()?;
    let aggregate = Aggregate::try_new(beside.plan()?, group_expr, aggr_expr)?;
    // Whatever is above knows the columns by the names they had, and the number of the set not at all.
    let columns = aggregate.schema.columns().into_iter().zip(schema.columns());
    let above = columns
        .filter(|(column, _)| column.name != Aggregate::INTERNAL_GROUPING_ID)
        .map(|(column, known)| match column == known {
            true => Expr::Column(column),
            false => Expr::Column(column).alias_qualified(known.relation, known.name),
        })
        .collect();
    let aggregate = Arc::new(LogicalPlan::Aggregate(aggregate));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(above, aggregate)?)))
}

fn in_key(key: Expr, beside: &mut Beside) -> Expr {
    let Expr::GroupingSet(set) = key else { return beside.expr(key) };
    Expr::GroupingSet(match set {
        GroupingSet::Rollup(exprs) => GroupingSet::Rollup(beside.exprs(exprs)),
        GroupingSet::Cube(exprs) => GroupingSet::Cube(beside.exprs(exprs)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.into_iter().map(|exprs| beside.exprs(exprs)).collect())
        }
    })
}

/// `grouping(…)` of the columns of its keys.
fn in_grouping(expr: Expr, beside: &Beside) -> Result<Expr> {
    if !is_grouping(&expr) {
        return Ok(expr);
    }
    let changed = expr.transform_down(|part| {
        Ok(match beside.column(&part) {
            Some(column) => Transformed::new(column, true, TreeNodeRecursion::Jump),
            None => Transformed::no(part),
        })
    })?;
    Ok(changed.data)
}
