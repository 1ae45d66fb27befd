//! Comparisons with ANY and ALL rows of a subquery that a row is to meet, as one EXISTS.
//!
//! DataFusion 55 asks by itself whether one is true, false and NULL, and so plans what is within comparisons within
//! comparisons more than twice as often with every level.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Operator, binary_expr, is_not_true, not};

use crate::engine::plan::not_in::exists;

/// The plan with such conditions written as EXISTS; where NULL is not as good as false, comparisons stay.
pub fn with_set_conditions(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => in_filter(filter),
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn in_filter(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    if !filter.predicate.exists(|part| Ok(matches!(part, Expr::SetComparison(_))))? {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let predicate = written(filter.predicate, filter.input.schema())?;
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
}

fn written(condition: Expr, schema: &DFSchema) -> Result<Expr> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            Ok(binary_expr(written(*left, schema)?, op, written(*right, schema)?))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let compared = InSubquery { expr, subquery, negated: false };
            let is_met = |inner: Expr, value: Expr| binary_expr(value, op, inner);
            match quantifier {
                SetQuantifier::Any => exists(&compared, schema, is_met),
                SetQuantifier::All => {
                    let is_not_met = |inner: Expr, value: Expr| is_not_true(is_met(inner, value));
                    Ok(not(exists(&compared, schema, is_not_met)?))
                }
            }
        }
        condition => Ok(condition),
    }
}
