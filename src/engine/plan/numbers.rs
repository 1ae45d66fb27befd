//! Averages, parts of times, and sums and comparisons of numbers as PostgreSQL has them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, IntervalUnit,
};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{
    AggregateFunction, BinaryExpr, Case, Cast, ScalarFunction, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast, lit, when};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::{self, Operation};
use crate::engine::plan::compared::{is_comparison, is_interval};

/// Digits behind the point of what is averaged; DataFusion gives the average four more.
const AVERAGED_SCALE: i8 = 12;

/// Numbers that DataFusion gives other types or fewer digits than PostgreSQL.
pub fn rewrite_number(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::AggregateFunction(AggregateFunction { func, params }) if func.name() == "avg" => {
            widen_averaged(&mut params.args, schema)
        }
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, params } = window.as_mut();
            match fun.name() {
                "avg" => widen_averaged(&mut params.args, schema),
                "lag" | "lead" => float_beside(params.args.iter_mut().step_by(2).collect(), schema),
                _ => false,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            float_beside(vec![left, right], schema)
        }
        Expr::Between(between) => {
            float_beside(vec![&mut between.expr, &mut between.low, &mut between.high], schema)
        }
        Expr::InList(list) => {
            float_beside(std::iter::once(list.expr.as_mut()).chain(&mut list.list).collect(), schema)
        }
        Expr::Case(case) => {
            let Case { expr, when_then_expr, .. } = case;
            let whens = when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
            expr.as_mut().is_some_and(|expr| {
                float_beside(std::iter::once(expr.as_mut()).chain(whens).collect(), schema)
            })
        }
        Expr::ScalarFunction(call) => match call.func.name() {
            name if CHOICES.contains(&name) => float_beside(call.args.iter_mut().collect(), schema),
            "date_part" => {
                with_length(&mut call.args, schema)
                    || part_with_fraction(expr, schema)
                    || spans_of_years(expr, schema)
            }
            "round" => {
                rounds_to_even(call, schema) || small_literal(&mut call.args) || whole_digits(expr, schema)
            }
            _ => whole_digits(expr, schema),
        },
        _ => false,
    }
}

/// Functions whose arguments are of one type.
const CHOICES: [&str; 7] = ["coalesce", "greatest", "ifnull", "least", "make_array", "nullif", "nvl"];

/// An average of decimals has as many digits as a quotient of them.
fn widen_averaged(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [number] = args else { return false };
    match number.get_type(schema) {
        Ok(DataType::Decimal128(_, scale)) if scale < AVERAGED_SCALE => {
            let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, AVERAGED_SCALE);
            *number = cast(std::mem::take(number), wide);
            true
        }
        _ => false,
    }
}

/// Beside a float, decimals are floats; DataFusion makes decimals of the floats, which may not fit.
fn float_beside(mut numbers: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<Option<DataType>> = numbers.iter().map(|number| number.get_type(schema).ok()).collect();
    if !types.iter().flatten().any(DataType::is_floating) {
        return false;
    }
    let mut changed = false;
    for (number, data_type) in numbers.iter_mut().zip(types) {
        if data_type.is_some_and(|t| t.is_decimal()) {
            **number = cast(std::mem::take(*number), DataType::Float64);
            changed = true;
        }
    }
    changed
}

/// The seconds of a difference of times have a fraction, which those of a duration lack.
fn with_length(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [Expr::Literal(part, _), time] = args else { return false };
    let of_length = ["epoch", "second", "seconds", "millisecond", "milliseconds"];
    let part = part.try_as_str().flatten().map(str::to_lowercase);
    let measures = part.is_some_and(|part| of_length.contains(&part.as_str()))
        && matches!(time.get_type(schema), Ok(DataType::Duration(_)));
    if measures {
        *time = cast(std::mem::take(time), DataType::Interval(IntervalUnit::MonthDayNano));
    }
    measures
}

/// Halves of floats are rounded to the even number.
fn rounds_to_even(call: &mut ScalarFunction, schema: &DFSchema) -> bool {
    let is_float =
        call.args.len() == 1 && call.args[0].get_type(schema).is_ok_and(|given| given.is_floating());
    if is_float {
        call.func = Arc::new(functions::rint());
    }
    is_float
}

/// A number of digits that is written out has the type that `round` takes: a cast of it, folded later, would change the
/// type of what is rounded.
fn small_literal(args: &mut [Expr]) -> bool {
    let [_, digits] = args else { return false };
    let (literal, sign) = match &*digits {
        Expr::Negative(inner) => (inner.as_ref(), -1),
        literal => (literal, 1),
    };
    let Expr::Literal(ScalarValue::Int64(Some(number)), _) = literal else { return false };
    let Ok(number) = i32::try_from(*number) else { return false };
    *digits = lit(sign * number);
    true
}

/// Seconds and milliseconds have fractions.
fn part_with_fraction(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    let [Expr::Literal(part, _), time] = call.args.as_slice() else { return false };
    let per_second = match part.try_as_str().flatten().map(str::to_lowercase).as_deref() {
        Some("second" | "seconds") => 1.0,
        Some("millisecond" | "milliseconds") => 1e3,
        _ => return false,
    };
    // Those of an interval are whole in all of its parts, and not in its length.
    if is_interval(time, schema) {
        call.args[0] = lit("epoch");
        *expr = (std::mem::take(expr) % lit(60.0)) * lit(per_second);
        return true;
    }
    call.args[0] = lit("microsecond");
    let whole = cast(std::mem::take(expr), DataType::Float64);
    *expr = functions::arithmetic(Operation::Over).call(vec![whole, lit(1e6 / per_second)]);
    true
}

/// Decades, centuries and millennia, which DataFusion does not count: there is no year 0, nor a first century before it.
///
/// Source: PostgreSQL 15, `timestamp_part_common` and `interval_part_common`.
fn spans_of_years(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    let [Expr::Literal(part, _), time] = call.args.as_slice() else { return false };
    let years = match part.try_as_str().flatten().map(str::to_lowercase).as_deref() {
        Some("decade" | "decades") => 10,
        Some("century" | "centuries") => 100,
        Some("millennium" | "millenniums" | "millennia") => 1_000,
        _ => return false,
    };
    let in_interval = is_interval(time, schema);
    call.args[0] = lit("year");
    let year = std::mem::take(expr);
    let spans = match (in_interval, years) {
        (true, _) => Ok(year / lit(years)),
        (_, 10) => {
            let before = -((lit(9) - year.clone()) / lit(10));
            when(year.clone().gt_eq(lit(0)), year / lit(10)).otherwise(before)
        }
        _ => {
            let before = -((lit(years) - year.clone()) / lit(years));
            when(year.clone().gt(lit(0)), (year + lit(years - 1)) / lit(years)).otherwise(before)
        }
    };
    spans.is_ok_and(|spans| {
        *expr = spans;
        true
    })
}

/// What is rounded to whole numbers, or to so many digits, has no others.
fn whole_digits(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::ScalarFunction(call) = expr else { return false };
    let digits = match (call.func.name(), call.args.as_slice()) {
        ("ceil" | "floor" | "round" | "trunc", [_]) => 0,
        ("trunc", [_, Expr::Literal(ScalarValue::Int64(Some(digits)), _)]) => *digits.clamp(&0, &38) as i8,
        _ => return false,
    };
    match call.args[0].get_type(schema) {
        Ok(DataType::Decimal128(precision, scale)) if scale > digits => {
            if ["ceil", "floor"].contains(&call.func.name()) && precision < DECIMAL128_MAX_PRECISION {
                // 9.5 becomes 10.0.
                let wide = DataType::Decimal128(precision + 1, scale);
                call.args[0] = cast(std::mem::take(&mut call.args[0]), wide);
            }
            let whole = DataType::Decimal128(DECIMAL128_MAX_PRECISION, digits);
            *expr = cast(std::mem::take(expr), whole);
            true
        }
        _ => false,
    }
}

/// Whole numbers that do not fit are an error, products of floats have one zero, and a number that is written out becomes
/// the float next to it.
#[derive(Debug)]
pub struct CheckedNumbers;

impl FunctionRewrite for CheckedNumbers {
    fn name(&self) -> &str {
        "checked_numbers"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        Ok(match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match checked(op, &left, &right, schema)? {
                Some(operation) => Transformed::yes(functions::joined(operation, *left, *right)),
                None if is_product_of_floats(op, &left, &right, schema)? => {
                    Transformed::yes(functions::arithmetic(Operation::Times).call(vec![*left, *right]))
                }
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            },
            Expr::Negative(number) => match float_zero(&number, schema)? {
                Some(zero) => Transformed::yes(lit(zero) - *number),
                None => Transformed::no(Expr::Negative(number)),
            },
            Expr::Cast(Cast { expr: number, field }) => match nearest(&number, field.data_type()) {
                Some(float) => Transformed::yes(float),
                None => Transformed::no(Expr::Cast(Cast { expr: number, field })),
            },
            expr => Transformed::no(expr),
        })
    }
}

fn checked(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<Option<Operation>> {
    let operation = match op {
        Operator::Plus => Operation::Plus,
        Operator::Minus => Operation::Minus,
        Operator::Multiply => Operation::Times,
        _ => return Ok(None),
    };
    let type_of = |number| functions::first_number(number).get_type(schema);
    let (left, right) = (type_of(left)?, type_of(right)?);
    Ok((left.is_signed_integer() && left == right).then_some(operation))
}

fn is_product_of_floats(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<bool> {
    if op != Operator::Multiply {
        return Ok(false);
    }
    let (left, right) = (left.get_type(schema)?, right.get_type(schema)?);
    Ok(matches!(left, DataType::Float32 | DataType::Float64) && left == right)
}

/// Zero of the type of a float, which a number is taken from to have its sign turned.
fn float_zero(number: &Expr, schema: &DFSchema) -> Result<Option<ScalarValue>> {
    let given = number.get_type(schema)?;
    given.is_floating().then(|| ScalarValue::new_zero(&given)).transpose()
}

/// Arrow divides by a power of ten, which may miss the nearest float.
fn nearest(number: &Expr, target: &DataType) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Decimal128(Some(number), precision, scale), metadata) = number else {
        return None;
    };
    let text = Decimal128Type::format_decimal(*number, *precision, *scale);
    let float = match target {
        DataType::Float32 => ScalarValue::Float32(Some(text.parse().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().ok()?)),
        _ => return None,
    };
    Some(Expr::Literal(float, metadata.clone()))
}
