//! A repair of correlated subqueries that are no joins.
//!
//! DataFusion 55 takes the conditions on the outer query out of a subquery, past windows, LIMIT, outer joins and totals,
//! which then are of the rows of all outer rows together. It does not pass a sort: below one, by nothing, such a subquery
//! stays what it is, and is run for the values of the outer rows. LATERAL is such a subquery, too.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, Sort, SortExpr, Subquery, lit};

use crate::engine::plan::above_totals::gives_a_total;
use crate::engine::plan::subqueries::with_subqueries;

/// The plan with such subqueries kept from being joined.
pub fn with_unjoined(plan: LogicalPlan) -> Result<LogicalPlan> {
    // Subqueries of expressions are such nodes as well, but no inputs.
    let laterals = plan.transform_up_with_subqueries(|node| node.map_children(unjoined_lateral));
    with_subqueries(laterals.data()?, unjoined)
}

fn unjoined_lateral(input: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match input {
        LogicalPlan::Subquery(lateral) if is_torn(&lateral, Place::Lateral) => {
            Ok(Transformed::yes(LogicalPlan::Subquery(below_sort(lateral))))
        }
        input => Ok(Transformed::no(input)),
    }
}

fn unjoined(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Exists(Exists { subquery, negated }) if is_torn(&subquery, Place::Exists) => {
            Transformed::yes(Expr::Exists(Exists { subquery: below_sort(subquery), negated }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_torn(&subquery, Place::In) => {
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: below_sort(subquery), negated }))
        }
        Expr::ScalarSubquery(subquery) if is_torn(&subquery, Place::Scalar) => {
            Transformed::yes(Expr::ScalarSubquery(below_sort(subquery)))
        }
        expr => Transformed::no(expr),
    })
}

fn below_sort(subquery: Subquery) -> Subquery {
    let sort = Sort { expr: by_nothing(), input: subquery.subquery, fetch: None };
    Subquery { subquery: Arc::new(LogicalPlan::Sort(sort)), ..subquery }
}

fn by_nothing() -> Vec<SortExpr> {
    vec![lit(true).sort(true, false)]
}

/// Where a subquery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Exists,
    In,
    Lateral,
    Scalar,
}

/// True where a join would be of other rows than the subquery.
fn is_torn(subquery: &Subquery, place: Place) -> bool {
    let plan = subquery.subquery.as_ref();
    if matches!(plan, LogicalPlan::Sort(sort) if sort.expr == by_nothing()) {
        return false;
    }
    let plan = match place {
        Place::Lateral | Place::Scalar => below_total(plan),
        Place::Exists | Place::In => plan,
    };
    !subquery.outer_ref_columns.is_empty() && is_passed_wrongly(plan, place)
}

/// The rows that a value is a total of: of totals that are the value itself, DataFusion knows what they are of no rows.
fn below_total(plan: &LogicalPlan) -> &LogicalPlan {
    let mut total = plan;
    while let LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) = total {
        total = total.inputs()[0];
    }
    match total {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => aggregate.input.as_ref(),
        _ => plan,
    }
}

/// True where a condition on the outer query comes to stand above what is to see the rows that pass it.
fn is_passed_wrongly(plan: &LogicalPlan, place: Place) -> bool {
    let passed = match plan {
        // What it refers to is beside it.
        LogicalPlan::Subquery(_) => return false,
        LogicalPlan::Limit(limit) => place == Place::Exists && looks_outside(&limit.input),
        LogicalPlan::Window(window) => looks_outside(&window.input),
        LogicalPlan::Distinct(Distinct::On(distinct)) => looks_outside(&distinct.input),
        // Rows that are distinct by the columns of conditions, too, are others.
        LogicalPlan::Distinct(Distinct::All(input)) => place == Place::Lateral && looks_outside(input),
        LogicalPlan::Aggregate(aggregate) => {
            let is_distinct = place == Place::Lateral && aggregate.aggr_expr.is_empty();
            (is_distinct || gives_a_total(aggregate)) && looks_outside(&aggregate.input)
        }
        LogicalPlan::RecursiveQuery(_) => looks_outside(plan),
        LogicalPlan::Join(join) => is_passed_in_join(join),
        _ => false,
    };
    passed || plan.inputs().into_iter().any(|input| is_passed_wrongly(input, place))
}

/// True where the condition is on rows that a join has NULL for, or does not have at all.
fn is_passed_in_join(join: &Join) -> bool {
    let (left, right) = (looks_outside(&join.left), looks_outside(&join.right));
    match join.join_type {
        JoinType::Inner => false,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => right,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => left,
        JoinType::Full => left || right,
    }
}

fn looks_outside(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}
