//! Comparisons with PostgreSQL's meaning: texts beside times are times of the session's zone, and intervals are as
//! long as their months of 30 days, days of 24 hours and hours together.

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast, when};
use datafusion::scalar::ScalarValue;

use crate::engine::functions;
use crate::postgres::{parse_interval, plain_time};

/// Rewrites a comparison; true when something was changed.
pub fn rewrite_comparison(expr: &mut Expr, schema: &DFSchema, zone: &str) -> Result<bool> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            let timed = type_text(left, right, schema, zone) || type_text(right, left, schema, zone);
            Ok(timed || measure(&mut [left.as_mut(), right.as_mut()], schema))
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            let timed = type_text(low, expr, schema, zone) | type_text(high, expr, schema, zone);
            Ok(timed || measure(&mut [expr.as_mut(), low.as_mut(), high.as_mut()], schema))
        }
        Expr::InList(InList { expr, list, .. }) => {
            let timed =
                list.iter_mut().fold(false, |changed, text| changed | type_text(text, expr, schema, zone));
            let mut sides: Vec<&mut Expr> = std::iter::once(expr.as_mut()).chain(list).collect();
            Ok(timed || measure(&mut sides, schema))
        }
        Expr::ScalarFunction(call) if call.func.name() == "nullif" => {
            let [value, other] = call.args.as_slice() else { return Ok(false) };
            let (left, right) = (Box::new(value.clone()), Box::new(other.clone()));
            let mut equal = Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right });
            if !is_interval(value, schema) || !rewrite_comparison(&mut equal, schema, zone)? {
                return Ok(false);
            }
            *expr = when(equal.is_not_true(), value.clone()).end()?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// True for an operator that says whether two values are alike or which comes first.
pub fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// The difference of two timestamps, a duration, is an interval too.
pub fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_)))
}

/// Makes a text that stands beside a time one itself.
fn type_text(text: &mut Expr, other: &Expr, schema: &DFSchema, zone: &str) -> bool {
    let Expr::Literal(value, _) = &*text else { return false };
    let Some(Some(written)) = value.try_as_str() else { return false };
    let target = match other.get_type(schema) {
        Ok(DataType::Timestamp(_, None)) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Ok(DataType::Timestamp(_, Some(_))) => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        _ => return false,
    };
    let instant =
        functions::instant_text(written, zone).filter(|_| matches!(target, DataType::Timestamp(_, Some(_))));
    let written = instant.or_else(|| plain_time(written)).unwrap_or_else(|| written.to_owned());
    *text = cast(Expr::Literal(ScalarValue::from(written), None), target);
    true
}

/// Compares intervals by their length, those among them that are texts or NULL, too.
fn measure(sides: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let mut all = sides.iter();
    if !all.clone().any(|side| is_interval(side, schema))
        || !all.all(|side| is_interval(side, schema) || is_written(side))
    {
        return false;
    }
    for side in sides {
        let interval = written_interval(side)
            .unwrap_or_else(|| cast(std::mem::take(*side), DataType::Interval(IntervalUnit::MonthDayNano)));
        **side = functions::interval_length().call(vec![interval]);
    }
    true
}

/// The interval that a text is.
fn written_interval(text: &Expr) -> Option<Expr> {
    let Expr::Literal(value, _) = text else { return None };
    let (months, days, micros) = parse_interval(value.try_as_str()??)?;
    let interval = IntervalMonthDayNano::new(months, days, micros.checked_mul(1_000)?);
    Some(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), None))
}

/// True for a text that is written out, and for NULL.
fn is_written(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null() || value.try_as_str().is_some())
}
