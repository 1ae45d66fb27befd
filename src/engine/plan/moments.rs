//! Differences of days, days and moments with times of day, and bins of moments, in microseconds as all moments of
//! PostgreSQL's are.
//!
//! DataFusion 55 has nanoseconds there, which reach from 1677 to 2262, and whose differences soon have no sum.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, binary_expr, cast, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::engine::functions;

/// The difference of two dates, and `date + time` and what is like it, as a moment and an interval.
pub fn reckoned(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let RawBinaryExpr { op, left, right } = expr;
    match op {
        BinaryOperator::Plus if is_time(left, schema) => {
            Some(binary_expr(moment(right, schema)?, Operator::Plus, since_midnight(left)))
        }
        BinaryOperator::Plus if is_time(right, schema) => {
            Some(binary_expr(moment(left, schema)?, Operator::Plus, since_midnight(right)))
        }
        BinaryOperator::Minus if is_date(left, schema) && is_date(right, schema) => {
            let day = |expr: &Expr| expr.clone().cast_to(&DataType::Date32, schema).ok();
            Some(functions::days_between().call(vec![day(left)?, day(right)?]))
        }
        BinaryOperator::Minus if is_moment(left, schema) && is_date(right, schema) => {
            Some(binary_expr(left.clone(), Operator::Minus, moment(right, schema)?))
        }
        BinaryOperator::Minus if is_date(left, schema) && is_moment(right, schema) => {
            Some(binary_expr(moment(left, schema)?, Operator::Minus, right.clone()))
        }
        BinaryOperator::Minus if is_time(right, schema) => {
            Some(binary_expr(moment(left, schema)?, Operator::Minus, since_midnight(right)))
        }
        _ => None,
    }
}

/// True for a day.
pub fn is_date(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Date32 | DataType::Date64))
}

/// True for a moment that no zone belongs to.
fn is_moment(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Timestamp(_, None)))
}

/// Makes microseconds of a bin; true where there was one in nanoseconds.
pub fn bin_in_micros(expr: &mut Expr, schema: &DFSchema) -> bool {
    let is_bin = matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "date_bin");
    let Some(DataType::Timestamp(TimeUnit::Nanosecond, zone)) =
        is_bin.then(|| expr.get_type(schema).ok()).flatten()
    else {
        return false;
    };
    *expr = cast(std::mem::take(expr), DataType::Timestamp(TimeUnit::Microsecond, zone));
    true
}

fn is_time(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Time32(_) | DataType::Time64(_)))
}

/// The begin of a day, or a moment as it is.
fn moment(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    match expr.get_type(schema).ok()? {
        DataType::Date32 | DataType::Date64 => {
            Some(cast(expr.clone(), DataType::Timestamp(TimeUnit::Microsecond, None)))
        }
        DataType::Timestamp(..) => Some(expr.clone()),
        _ => None,
    }
}

/// A time of day as an interval.
fn since_midnight(time: &Expr) -> Expr {
    let midnight = lit(ScalarValue::Time64Nanosecond(Some(0)));
    binary_expr(time.clone(), Operator::Minus, midnight)
}
