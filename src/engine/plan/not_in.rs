//! A repair of `x NOT IN (SELECT …)` that refers to the outer query.
//!
//! DataFusion 55 looks for NULL among all rows of the subquery, not among those that belong to the outer row, and
//! then gives no rows at all. NOT EXISTS with the same three cases says what is meant.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Spans};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Subquery};

/// The plan with such conditions written as NOT EXISTS.
pub fn with_not_exists(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => in_filter(filter),
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn in_filter(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let schema = filter.input.schema();
    let predicate = filter.predicate.clone().transform_up(|expr| match &expr {
        Expr::InSubquery(contained)
            if contained.negated && !contained.subquery.outer_ref_columns.is_empty() =>
        {
            Ok(Transformed::yes(not_exists(contained, schema)?))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    if !predicate.transformed {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate.data, filter.input)?)))
}

/// No row has the value, or NULL, and none is there when the value is NULL.
fn not_exists(contained: &InSubquery, schema: &DFSchema) -> Result<Expr> {
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
    let inner = Expr::Column(plan.schema().columns()[0].clone());
    let unknown = inner.clone().is_null().or(value.clone().is_null());
    let plan = LogicalPlanBuilder::from(plan).filter(inner.eq(value).or(unknown))?.build()?;
    let subquery = Subquery { subquery: plan.into(), outer_ref_columns: outer, spans: Spans::new() };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
}
