//! Intervals as keys of groups, joins and sets: those that are as long are the same, `1 day` and `24 hours`.
//!
//! DataFusion 55 compares their months, days and nanoseconds. Their lengths are compared in their place; a group shows
//! one of its intervals.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, JoinConstraint};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::first_value;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, Subquery,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::engine::plan::orders::{is_interval, measure_keys, measured};
use crate::engine::plan::subqueries::node_has_subquery;

/// The rule that has DataFusion compare such keys by their length.
#[derive(Debug)]
pub struct IntervalKeys;

impl AnalyzerRule for IntervalKeys {
    fn name(&self) -> &str {
        "interval_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => distinct(input),
            LogicalPlan::Distinct(Distinct::On(on)) => Ok(distinct_on(on)),
            LogicalPlan::Join(join) => Ok(joined(join)),
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) if node_has_subquery(&plan)? => {
                contained(plan)
            }
            plan => Ok(Transformed::no(plan)),
        })
        .data()
    }
}

/// The name of a column with the interval of a group, which SQL cannot say.
fn shown(place: usize) -> String {
    format!("interval {place}\u{1}")
}

fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let is_measured: Vec<bool> =
        aggregate.group_expr.iter().map(|key| is_interval(key, aggregate.input.schema())).collect();
    if !is_measured.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, mut aggr_expr, schema, .. } = aggregate;
    let mut keys = Vec::with_capacity(group_expr.len());
    for (place, key) in group_expr.into_iter().enumerate() {
        if !is_measured[place] {
            keys.push(key);
            continue;
        }
        let key = key.unalias();
        keys.push(measured(key.clone(), input.schema()).data.alias(format!("length {place}\u{1}")));
        aggr_expr.push(first_value(key, vec![]).alias(shown(place)));
    }
    let aggregate = Aggregate::try_new(input, keys, aggr_expr)?;
    // Whatever is above knows the columns by the names they had.
    let columns = schema.columns().into_iter().zip(aggregate.schema.columns()).enumerate();
    let above = columns
        .map(|(place, (known, column))| match is_measured.get(place) {
            Some(true) => Expr::Column(Column::new_unqualified(shown(place)))
                .alias_qualified(known.relation, known.name),
            _ if column == known => Expr::Column(column),
            _ => Expr::Column(column).alias_qualified(known.relation, known.name),
        })
        .collect();
    let aggregate = Arc::new(LogicalPlan::Aggregate(aggregate));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(above, aggregate)?)))
}

/// Rows that are alike are a group.
fn distinct(input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    if !columns.iter().any(|column| is_interval(column, input.schema())) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
    }
    grouped(Aggregate::try_new(input, columns, vec![])?)
}

fn distinct_on(on: DistinctOn) -> Transformed<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, mut sort_expr, input, schema } = on;
    let keys: Vec<_> = on_expr.into_iter().map(|key| measured(key, input.schema())).collect();
    let is_sorted = sort_expr.as_mut().is_some_and(|order| measure_keys(order, input.schema()));
    let changed = is_sorted || keys.iter().any(|key| key.transformed);
    let on_expr = keys.into_iter().map(|key| key.data).collect();
    let on = DistinctOn { on_expr, select_expr, sort_expr, input, schema };
    Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(on)), changed)
}

fn joined(mut join: Join) -> Transformed<LogicalPlan> {
    let (left_schema, right_schema) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    let mut changed = false;
    for (left, right) in &mut join.on {
        if is_interval(left, &left_schema) && is_interval(right, &right_schema) {
            *left = measured(std::mem::take(left), &left_schema).data;
            *right = measured(std::mem::take(right), &right_schema).data;
            changed = true;
        }
    }
    if changed {
        // The keys are columns no more.
        join.join_constraint = JoinConstraint::On;
    }
    Transformed::new_transformed(LogicalPlan::Join(join), changed)
}

/// The plan of `x IN (SELECT …)`.
fn contained(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(schema) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
        return Ok(Transformed::no(plan));
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|part| match part {
            Expr::InSubquery(contained) => of_lengths(contained, &schema),
            part => Ok(Transformed::no(part)),
        })?;
        Ok(if changed.transformed { changed.update_data(|expr| name.restore(expr)) } else { changed })
    })
}

fn of_lengths(contained: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = contained;
    let rows = subquery.subquery.schema();
    let column = Expr::Column(Column::from(rows.qualified_field(0)));
    if !is_interval(&expr, schema) || !is_interval(&column, rows) {
        return Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })));
    }
    let length = measured(column, rows).data.alias("length\u{1}");
    let plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery)).project([length])?.build()?;
    let subquery = Subquery { subquery: plan.into(), ..subquery };
    let expr = Box::new(measured(*expr, schema).data);
    Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
}
