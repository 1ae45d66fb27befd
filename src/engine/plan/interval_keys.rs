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
    Aggregate, Distinct, DistinctOn, Expr, GroupingSet, Join, LogicalPlan, LogicalPlanBuilder, Projection,
    Subquery, when,
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

/// The name of a column with the length of an interval.
fn length(place: usize) -> String {
    format!("length {place}\u{1}")
}

fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    if let [Expr::GroupingSet(set)] = aggregate.group_expr.as_slice() {
        let set = set.clone();
        return grouped_in_sets(aggregate, &set);
    }
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
        keys.push(measured(key.clone(), input.schema()).data.alias(length(place)));
        aggr_expr.push(first_value(key, vec![]).alias(shown(place)));
    }
    let aggregate = Aggregate::try_new(input, keys, aggr_expr)?;
    named_as_before(aggregate, &schema, &is_measured)
}

/// The columns by the names that whatever is above knows, and intervals for lengths where there are such.
fn named_as_before(
    aggregate: Aggregate,
    schema: &DFSchema,
    is_measured: &[bool],
) -> Result<Transformed<LogicalPlan>> {
    let is_in_sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
    // The number of a set is lost where grouping() is made of it.
    let is_lost = aggregate.aggr_expr.iter().any(is_grouping);
    let columns = schema.columns().into_iter().zip(aggregate.schema.columns()).enumerate();
    let columns =
        columns.filter(|(_, (_, column))| !(is_lost && column.name == Aggregate::INTERNAL_GROUPING_ID));
    let above = columns.map(|(place, (known, column))| -> Result<Expr> {
        let interval = || Expr::Column(Column::new_unqualified(shown(place)));
        let value = match is_measured.get(place) {
            // A key that is not in the set of a row shows nothing there.
            Some(true) if is_in_sets => when(Expr::Column(column).is_not_null(), interval()).end()?,
            Some(true) => interval(),
            _ if column == known => return Ok(Expr::Column(column)),
            _ => Expr::Column(column),
        };
        Ok(value.alias_qualified(known.relation, known.name))
    });
    let above = above.collect::<Result<Vec<_>>>()?;
    let aggregate = Arc::new(LogicalPlan::Aggregate(aggregate));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(above, aggregate)?)))
}

/// As [`grouped`], by sets of keys, which are columns below.
fn grouped_in_sets(aggregate: Aggregate, set: &GroupingSet) -> Result<Transformed<LogicalPlan>> {
    let keys: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
    let is_measured: Vec<bool> = keys.iter().map(|key| is_interval(key, aggregate.input.schema())).collect();
    if !is_measured.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, mut aggr_expr, schema, .. } = aggregate;
    let lengths_of = |written: &[Expr]| -> Vec<Expr> {
        let length_of = |key: &Expr| match keys.iter().position(|known| known == key) {
            Some(place) if is_measured[place] => Expr::Column(Column::new_unqualified(length(place))),
            _ => key.clone(),
        };
        written.iter().map(length_of).collect()
    };
    for call in &mut aggr_expr {
        if is_grouping(call)
            && let Expr::AggregateFunction(function) = call
        {
            function.params.args = lengths_of(&function.params.args);
        }
    }
    let set = match set {
        GroupingSet::Rollup(keys) => GroupingSet::Rollup(lengths_of(keys)),
        GroupingSet::Cube(keys) => GroupingSet::Cube(lengths_of(keys)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.iter().map(|keys| lengths_of(keys)).collect())
        }
    };
    let mut below: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for (place, key) in keys.iter().enumerate().filter(|(place, _)| is_measured[*place]) {
        let key = key.clone().unalias();
        below.push(measured(key.clone(), input.schema()).data.alias(length(place)));
        aggr_expr.push(first_value(key, vec![]).alias(shown(place)));
    }
    let below = Arc::new(LogicalPlan::Projection(Projection::try_new(below, input)?));
    let aggregate = Aggregate::try_new(below, vec![Expr::GroupingSet(set)], aggr_expr)?;
    named_as_before(aggregate, &schema, &is_measured)
}

/// True for a call of `grouping()`.
fn is_grouping(call: &Expr) -> bool {
    matches!(call, Expr::AggregateFunction(function) if function.func.name() == "grouping")
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
