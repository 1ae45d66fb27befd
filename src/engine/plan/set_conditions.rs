//! Comparisons with ANY and ALL rows of a subquery: as one EXISTS where a row is to meet them, and as one value where their
//! answer is one and what is within the subquery is not to be planned again and again.
//!
//! DataFusion 55 asks by itself whether one is true, false and NULL, and so plans what is within comparisons within
//! comparisons more than twice as often with every level.

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Operator, binary_expr, is_not_true, not};

use crate::engine::plan::not_in::{compared, exists};
use crate::engine::plan::subqueries::{is_nested, node_has_set_comparison};

/// The plan with such comparisons asked once; where NULL is not as good as false, those with plain subqueries stay.
pub fn with_set_conditions(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let plan = match plan {
            LogicalPlan::Filter(filter) => in_filter(filter)?,
            plan => Transformed::no(plan),
        };
        plan.transform_data(with_values)
    })
    .data()
}

fn with_values(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !node_has_set_comparison(&node)? {
        return Ok(Transformed::no(node));
    }
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let valued = expr.transform_up(|part| as_value(part, &schema))?;
        Ok(valued.update_data(|expr| name.restore(expr)))
    })
}

fn as_value(part: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match part {
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) if is_nested(&subquery)? => {
            let contained = InSubquery { expr, subquery, negated: false };
            compared(&contained, schema, op, quantifier).map(Transformed::yes)
        }
        part => Ok(Transformed::no(part)),
    }
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
            let contained = InSubquery { expr, subquery, negated: false };
            let is_met = |inner: Expr, value: Expr| binary_expr(value, op, inner);
            match quantifier {
                SetQuantifier::Any => exists(&contained, schema, is_met),
                SetQuantifier::All => {
                    let is_not_met = |inner: Expr, value: Expr| is_not_true(is_met(inner, value));
                    Ok(not(exists(&contained, schema, is_not_met)?))
                }
            }
        }
        condition => Ok(condition),
    }
}
