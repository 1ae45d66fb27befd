//! A repair of `x IN (SELECT …)` and `x NOT IN (SELECT …)` that refer to the outer query.
//!
//! DataFusion 55 looks for NULL among all rows of the subquery, not among those that belong to the outer row, and
//! then gives no rows at all; within an expression it says false where the answer is NULL. EXISTS says what is meant.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue, Spans};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not};

/// The value of a row of the subquery.
const VALUE: &str = "value of the row";

/// The plan with such conditions written as EXISTS.
pub fn with_exists(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => in_filter(filter),
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn in_filter(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    if !filter.predicate.exists(|part| Ok(is_correlated(part)))? {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let predicate = written(filter.predicate, filter.input.schema(), Place::Condition)?;
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
}

fn is_correlated(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery(contained) if !contained.subquery.outer_ref_columns.is_empty())
}

/// What is made of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is a condition that a row is to meet.
    Condition,
    /// It is a part of such a condition: NULL is as good as false.
    Part,
    /// Anything.
    Value,
}

fn written(expr: Expr, schema: &DFSchema, place: Place) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let place = match (place, op) {
                (Place::Condition, Operator::Or) => Place::Part,
                (place, _) => place,
            };
            let (left, right) = (written(*left, schema, place)?, written(*right, schema, place)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Not(inner) if is_correlated(&inner) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                written(Expr::InSubquery(InSubquery { expr, subquery, negated: !negated }), schema, place)
            }
            inner => Ok(not(inner)),
        },
        Expr::InSubquery(contained) if !contained.subquery.outer_ref_columns.is_empty() => {
            answered(contained, schema, place)
        }
        expr => expr.map_children(|part| Ok(Transformed::yes(written(part, schema, Place::Value)?))).data(),
    }
}

fn answered(contained: InSubquery, schema: &DFSchema, place: Place) -> Result<Expr> {
    let is_equal = |inner: Expr, value: Expr| inner.eq(value);
    let is_unknown = |inner: Expr, value: Expr| inner.is_null().or(value.is_null());
    match (place, contained.negated) {
        (Place::Condition, false) => Ok(Expr::InSubquery(contained)),
        (Place::Part, false) => exists(&contained, schema, is_equal),
        // No row has the value, or NULL, and none is there when the value is NULL.
        (Place::Condition | Place::Part, true) => {
            let may_be = |inner: Expr, value: Expr| {
                is_equal(inner.clone(), value.clone()).or(is_unknown(inner, value))
            };
            Ok(not(exists(&contained, schema, may_be)?))
        }
        (Place::Value, negated) => {
            let unknown = exists(&contained, schema, is_unknown)?.and(lit(ScalarValue::Boolean(None)));
            let answer = exists(&contained, schema, is_equal)?.or(unknown);
            Ok(if negated { not(answer) } else { answer })
        }
    }
}

/// The condition that the subquery has a row that meets a condition on its value and the wanted one.
pub fn exists(
    contained: &InSubquery,
    schema: &DFSchema,
    condition: impl FnOnce(Expr, Expr) -> Expr,
) -> Result<Expr> {
    let plan = contained.subquery.subquery.as_ref().clone();
    let mut outer = contained.subquery.outer_ref_columns.clone();
    let value = contained.expr.as_ref().clone().transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?;
            let reference = Expr::OuterReferenceColumn(Arc::clone(field), column);
            if !outer.contains(&reference) {
                outer.push(reference.clone());
            }
            Ok(Transformed::yes(reference))
        }
        expr => Ok(Transformed::no(expr)),
    });
    let value = value.data()?;
    let first = Expr::Column(plan.schema().columns()[0].clone());
    let plan = LogicalPlanBuilder::from(plan)
        .project([first.alias(VALUE)])?
        .filter(condition(Expr::Column(Column::from_name(VALUE)), value))?
        .build()?;
    let subquery = Subquery { subquery: plan.into(), outer_ref_columns: outer, spans: Spans::new() };
    Ok(Expr::Exists(Exists { subquery, negated: false }))
}
