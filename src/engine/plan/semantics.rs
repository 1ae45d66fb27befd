//! What PostgreSQL does and DataFusion does not: numbers times intervals, and casts that round.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::math;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::engine::functions::{self, Scaling};

/// Expressions with PostgreSQL's meaning.
#[derive(Debug)]
pub struct Semantics;

/// `interval * number`, `number * interval` and `interval / number`.
impl ExprPlanner for Semantics {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let planned = match op {
            BinaryOperator::Multiply if is_interval(left, schema) && is_number(right, schema) => {
                scaled(Scaling::Times, left, right)
            }
            BinaryOperator::Multiply if is_number(left, schema) && is_interval(right, schema) => {
                scaled(Scaling::Times, right, left)
            }
            BinaryOperator::Divide if is_interval(left, schema) && is_number(right, schema) => {
                scaled(Scaling::Over, left, right)
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// The difference of two timestamps, a duration, is an interval too.
fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_)))
}

/// A number, or a parameter that has no type yet.
fn is_number(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr, Expr::Placeholder(p) if p.field.is_none())
        || expr.get_type(schema).is_ok_and(|t| t.is_numeric())
}

fn scaled(scaling: Scaling, interval: &Expr, number: &Expr) -> Expr {
    let interval = cast(interval.clone(), DataType::Interval(IntervalUnit::MonthDayNano));
    functions::scaled_interval(scaling).call(vec![interval, cast(number.clone(), DataType::Float64)])
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
    matches!(value, Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "round" && args.len() == 1)
}
