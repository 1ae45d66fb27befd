//! What PostgreSQL does and DataFusion does not: numbers times intervals, and casts that round.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::math;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::engine::functions;

/// Expressions with PostgreSQL's meaning.
#[derive(Debug)]
pub struct Semantics;

/// `interval * number`, `number * interval` and `interval / number`.
impl ExprPlanner for Semantics {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_interval = |e: &Expr| matches!(e.get_type(schema), Ok(DataType::Interval(_)));
        let is_number = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_numeric());
        let (left, right) = (&expr.left, &expr.right);
        let planned = match expr.op {
            BinaryOperator::Multiply if is_interval(left) && is_number(right) => times(left, right.clone()),
            BinaryOperator::Multiply if is_number(left) && is_interval(right) => times(right, left.clone()),
            BinaryOperator::Divide if is_interval(left) && is_number(right) => {
                times(left, lit(1.0) / cast(right.clone(), DataType::Float64))
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

fn times(interval: &Expr, number: Expr) -> Expr {
    functions::interval_times().call(vec![interval.clone(), number])
}

/// A cast of a fraction to a whole number rounds, half away from zero as PostgreSQL's numeric does.
impl FunctionRewrite for Semantics {
    fn name(&self) -> &str {
        "round_casts"
    }

    fn rewrite(
        &self,
        mut expr: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let (Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field })) =
            &mut expr
        else {
            return Ok(Transformed::no(expr));
        };
        if !field.data_type().is_integer()
            || is_rounded(value)
            || !value.get_type(schema).is_ok_and(fractional)
        {
            return Ok(Transformed::no(expr));
        }
        **value = math::round().call(vec![std::mem::take(value)]);
        Ok(Transformed::yes(expr))
    }
}

fn fractional(data_type: DataType) -> bool {
    data_type.is_floating() || data_type.is_decimal()
}

fn is_rounded(value: &Expr) -> bool {
    matches!(value, Expr::ScalarFunction(ScalarFunction { func, .. }) if func.name() == "round")
}
