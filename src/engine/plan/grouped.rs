//! Grouping sets of expressions, and `grouping(…)` of them, over columns that hold what was computed below.
//!
//! DataFusion 55 knows the sets, and what `grouping(…)` is of, no more once a rewrite has changed an expression in them.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection};

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
    let keys: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?
        .into_iter()
        .filter(|key| !matches!(key, Expr::Column(_)))
        .cloned()
        .collect();
    if keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let mut below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    below.extend(keys.iter().enumerate().map(|(n, key)| key.clone().unalias().alias(name(n))));
    let input = Arc::new(LogicalPlan::Projection(Projection::try_new(below, input)?));
    let group_expr = group_expr.into_iter().map(|key| in_key(key, &keys)).collect();
    let aggr_expr = aggr_expr.into_iter().map(|expr| in_grouping(expr, &keys)).collect::<Result<_>>()?;
    let aggregate = Aggregate::try_new(input, group_expr, aggr_expr)?;
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

/// No name that SQL can say.
fn name(place: usize) -> String {
    format!("key {place}\u{1}")
}

/// The column of a key, or the expression itself.
fn column(expr: Expr, keys: &[Expr]) -> Expr {
    match keys.iter().position(|key| *key == expr) {
        Some(place) => Expr::Column(Column::new_unqualified(name(place))),
        None => expr,
    }
}

fn in_key(key: Expr, keys: &[Expr]) -> Expr {
    let all = |exprs: Vec<Expr>| exprs.into_iter().map(|expr| column(expr, keys)).collect::<Vec<_>>();
    match key {
        Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(all(exprs))),
        Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(all(exprs))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.into_iter().map(all).collect()))
        }
        key => column(key, keys),
    }
}

/// `grouping(…)` of the columns of its keys.
fn in_grouping(expr: Expr, keys: &[Expr]) -> Result<Expr> {
    if !is_grouping(&expr) {
        return Ok(expr);
    }
    let changed = expr.transform_down(|part| {
        let found = column(part.clone(), keys);
        let changed = found != part;
        let next = if changed { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue };
        Ok(Transformed::new(found, changed, next))
    })?;
    Ok(changed.data)
}
