//! What PostgreSQL does and DataFusion does not: numbers times intervals, casts that round, ranks with a sign.

use std::sync::Arc;

use datafusion::arrow::compute::cast_single_string_to_boolean_default;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::{math, unicode};
use datafusion::functions_aggregate::regr::{regr_r2_udaf, regr_sxx_udaf, regr_syy_udaf};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::{
    AggregateFunction, Cast, Placeholder, ScalarFunction, TryCast, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr, TypePlanner,
};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, Operator, WindowFunctionDefinition, binary_expr, cast, lit, when,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, CharacterLength, ExactNumberInfo, TimezoneInfo,
};

use crate::engine::functions::{self, Scaling};
use crate::engine::plan::compared::{is_interval, rewrite_comparison};
use crate::engine::plan::distinct_keys::firsts;
use crate::engine::plan::moments::{self, is_date};
use crate::engine::plan::numbers;
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};
use crate::postgres::{PG_TYPE, array_elements, parse_date, plain_time};

/// Expressions with PostgreSQL's meaning.
#[derive(Debug)]
pub struct Semantics;

/// `interval * number`, `number * interval` and `interval / number`; operators of numbers; what counts rows.
impl ExprPlanner for Semantics {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let expr = typed_literals(expr, schema);
        let op = match expr.op {
            BinaryOperator::Multiply => Some(Operator::Multiply),
            BinaryOperator::Divide => Some(Operator::Divide),
            _ => None,
        };
        let number = op.and_then(|op| functions::operator(op, &expr.left, &expr.right, schema));
        let planned = number.or_else(|| moments::reckoned(&expr, schema));
        if let Some(planned) = planned {
            return Ok(PlannerResult::Planned(planned));
        }
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
            // DataFusion gives a date, and forgets the hours.
            BinaryOperator::Plus | BinaryOperator::Minus
                if is_date(left, schema) && is_interval(right, schema) && !keeps_days(right, schema) =>
            {
                binary_expr(cast(left.clone(), micros(None)), operator_of(op), right.clone())
            }
            BinaryOperator::Plus
                if is_interval(left, schema) && is_date(right, schema) && !keeps_days(left, schema) =>
            {
                binary_expr(left.clone(), Operator::Plus, cast(right.clone(), micros(None)))
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_aggregate(&self, mut expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        // A key that came before decides nothing, and DataFusion takes no key twice.
        expr.order_by = firsts(expr.order_by, |one, other| one.expr == other.expr);
        let aggregate = |expr: RawAggregateExpr| {
            let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = expr;
            let call = AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment);
            Expr::AggregateFunction(call)
        };
        match (counted_type(expr.func.name()), expr.func.name()) {
            (Some(counted), _) => Ok(PlannerResult::Planned(cast(aggregate(expr), counted))),
            (None, "regr_r2") => {
                let of = |func| aggregate(RawAggregateExpr { func, ..expr.clone() });
                Ok(PlannerResult::Planned(fit(of)?))
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_window(&self, expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let window = |expr: RawWindowExpr| {
            let params = WindowFunctionParams {
                args: expr.args,
                partition_by: expr.partition_by,
                order_by: expr.order_by,
                window_frame: expr.window_frame,
                filter: expr.filter,
                null_treatment: expr.null_treatment,
                distinct: expr.distinct,
            };
            Expr::from(WindowFunction { fun: expr.func_def, params })
        };
        match (counted_type(expr.func_def.name()), expr.func_def.name()) {
            (Some(counted), _) => Ok(PlannerResult::Planned(cast(window(expr), counted))),
            (None, "regr_r2") => {
                let of = |func| {
                    let func_def = WindowFunctionDefinition::AggregateUDF(func);
                    window(RawWindowExpr { func_def, ..expr.clone() })
                };
                Ok(PlannerResult::Planned(fit(of)?))
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }
}

/// `regr_r2`: a constant is explained in full, where DataFusion has NULL.
fn fit(of: impl Fn(Arc<AggregateUDF>) -> Expr) -> Result<Expr> {
    let is_constant = of(regr_syy_udaf()).eq(lit(0.0)).and(of(regr_sxx_udaf()).gt(lit(0.0)));
    when(is_constant, lit(1.0)).otherwise(of(regr_r2_udaf()))
}

/// The type of what counts rows, where DataFusion has a number without a sign; a cast keeps the name of what is cast.
fn counted_type(function: &str) -> Option<DataType> {
    match function {
        "row_number" | "rank" | "dense_rank" | "regr_count" => Some(DataType::Int64),
        "ntile" => Some(DataType::Int32),
        _ => None,
    }
}

/// Types that are stored as text, and that clients are told.
impl TypePlanner for Semantics {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        use ast::DataType::{CharVarying, CharacterVarying, Custom, Float, Varchar};
        let mark = match sql_type {
            // DataFusion takes FLOAT for REAL.
            Float(ExactNumberInfo::Precision(..=24)) => return Ok(Some(unmarked(DataType::Float32))),
            Float(_) => return Ok(Some(unmarked(DataType::Float64))),
            Varchar(length) | CharVarying(length) | CharacterVarying(length) => match length {
                Some(CharacterLength::IntegerLength { length, .. }) => format!("varchar({length})"),
                _ => "varchar".to_owned(),
            },
            // Those of PostgreSQL, which reach further than nanoseconds: 9999-12-31 is the end of all time.
            ast::DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                return Ok(Some(unmarked(micros(None))));
            }
            // Casts to it read texts in the session's zone.
            ast::DataType::Timestamp(..) => return Ok(Some(unmarked(micros(Some("UTC"))))),
            ast::DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
                return match self.plan_type_field(element)? {
                    Some(field) if field.data_type() == &DataType::Int64 => {
                        Ok(Some(marked(list(&field), "_oid")))
                    }
                    _ => Ok(None),
                };
            }
            Custom(name, arguments) if arguments.is_empty() => match name.to_string().as_str() {
                "oid" => return Ok(Some(marked(DataType::Int64, "oid"))),
                name @ ("name" | "json") => name.to_owned(),
                "\"char\"" => "char".to_owned(),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(marked(DataType::Utf8View, &mark)))
    }
}

fn unmarked(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("", data_type, true))
}

/// A type that clients are told another one of.
fn marked(data_type: DataType, mark: &str) -> FieldRef {
    Arc::new(Field::new("", data_type, true).with_metadata([(PG_TYPE.to_owned(), mark.to_owned())].into()))
}

fn list(element: &Field) -> DataType {
    DataType::List(Arc::new(Field::new("item", element.data_type().clone(), true)))
}

/// A text that is compared with a truth value or an array is one itself: `relhasrules = 't'`, `conkey = '{1}'`.
fn typed_literals(expr: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    if !matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
        return expr;
    }
    let as_other = |text: &Expr, other: &Expr| {
        let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = text else { return None };
        match other.get_type(schema).ok()? {
            DataType::Boolean => cast_single_string_to_boolean_default(text).map(lit),
            list @ DataType::List(_) => array_of(text, &list),
            _ => None,
        }
    };
    let RawBinaryExpr { op, left, right } = expr;
    if let Some(left) = as_other(&left, &right) {
        return RawBinaryExpr { op, left, right };
    }
    match as_other(&right, &left) {
        Some(right) => RawBinaryExpr { op, left, right },
        None => RawBinaryExpr { op, left, right },
    }
}

/// The array that a text such as `{1,2}` is.
fn array_of(text: &str, list: &DataType) -> Option<Expr> {
    let element = |text| Expr::Literal(ScalarValue::Utf8(text), None);
    let elements = array_elements(text)?.into_iter().map(element);
    Some(cast(make_array(elements.collect()), list.clone()))
}

/// A number, or a parameter that has no type yet.
fn is_number(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr, Expr::Placeholder(p) if p.field.is_none())
        || expr.get_type(schema).is_ok_and(|t| t.is_numeric())
}

fn operator_of(op: &BinaryOperator) -> Operator {
    if *op == BinaryOperator::Minus { Operator::Minus } else { Operator::Plus }
}

/// True for an interval that is written out, of whole days, and whole multiples of it: a date and so many days are a date.
fn keeps_days(interval: &Expr, schema: &DFSchema) -> bool {
    match interval {
        Expr::Negative(inner) => keeps_days(inner, schema),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => value.nanoseconds == 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => value.milliseconds == 0,
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => true,
        Expr::ScalarFunction(call) if call.func.name() == "interval_times" => {
            call.args.iter().all(|arg| keeps_days(arg, schema) || is_whole(arg, schema))
        }
        Expr::Cast(Cast { expr, .. }) => keeps_days(expr, schema),
        _ => false,
    }
}

/// A whole number, or a cast of one.
fn is_whole(number: &Expr, schema: &DFSchema) -> bool {
    match number {
        Expr::Cast(Cast { expr, .. }) => is_whole(expr, schema),
        number => number.get_type(schema).is_ok_and(|given| given.is_integer()),
    }
}

fn scaled(scaling: Scaling, interval: &Expr, number: &Expr) -> Expr {
    let interval = cast(interval.clone(), DataType::Interval(IntervalUnit::MonthDayNano));
    let number = match number {
        Expr::Placeholder(parameter) if parameter.field.is_none() => {
            let field = Field::new(&parameter.id, DataType::Float64, true);
            Expr::Placeholder(Placeholder::new_with_field(parameter.id.clone(), Some(Arc::new(field))))
        }
        number => cast(number.clone(), DataType::Float64),
    };
    functions::scaled_interval(scaling).call(vec![interval, number])
}

/// Casts that round, arrays beside texts.
impl FunctionRewrite for Semantics {
    fn name(&self) -> &str {
        "postgresql_semantics"
    }

    fn rewrite(
        &self,
        mut expr: Expr,
        schema: &DFSchema,
        config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let zone = config.execution.time_zone.as_deref().unwrap_or("UTC");
        if is_now(&expr) {
            return Ok(Transformed::yes(cast(expr, micros(Some("UTC")))));
        }
        if let Some(truth) = truth(&expr, schema)? {
            return Ok(Transformed::yes(truth));
        }
        let changed = rewrite_comparison(&mut expr, schema, zone)?
            || numbers::rewrite_number(&mut expr, schema)
            || moments::bin_in_micros(&mut expr, schema)
            || match &mut expr {
                Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field }) => {
                    match field.data_type() {
                        DataType::Timestamp(_, Some(_)) => in_zone(value, field, schema, zone),
                        DataType::Date32 if write_date(value) => true,
                        DataType::Timestamp(_, None) | DataType::Date32 => {
                            write_in_full(value) || to_local(value, schema, zone)
                        }
                        data_type if data_type.is_string() => cut(value, field, schema),
                        data_type => data_type.is_integer() && round(value, schema),
                    }
                }
                Expr::ScalarFunction(call) if ["date_trunc", "date_part"].contains(&call.func.name()) => {
                    call.args.get_mut(1).is_some_and(|time| clock_of(time, schema, zone))
                }
                Expr::ScalarFunction(call) if call.func.name() == "coalesce" => {
                    type_arrays(&mut call.args, schema)?
                }
                _ => false,
            };
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
}

/// Casts to text, and from text to bytes and arrays, those that DataFusion adds, too, write and read values as PostgreSQL does.
#[derive(Debug)]
pub struct TextCasts;

impl FunctionRewrite for TextCasts {
    fn name(&self) -> &str {
        "postgresql_text"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field })) = &expr
        else {
            return Ok(Transformed::no(expr));
        };
        let (target, given) = (field.data_type(), value.get_type(schema)?);
        if given.is_string() && functions::is_read_otherwise(target) {
            return Ok(Transformed::yes(
                functions::from_text(target.clone()).call(vec![value.as_ref().clone()]),
            ));
        }
        if !target.is_string() || !functions::is_written_otherwise(&given) {
            return Ok(Transformed::no(expr));
        }
        Ok(Transformed::yes(functions::text(target.clone()).call(vec![value.as_ref().clone()])))
    }
}

/// Timestamps of microseconds, as PostgreSQL has them.
fn micros(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

/// `now()`, which DataFusion has in nanoseconds; a plan that is analyzed twice has its cast twice, which changes nothing.
fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "now")
}

/// A cast of a whole number to a truth value, as a comparison: of files whose numbers are from below to above zero, DataFusion
/// takes the cast to be true throughout.
fn truth(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let Expr::Cast(Cast { expr: number, field }) = expr else { return Ok(None) };
    let given = number.get_type(schema)?;
    if field.data_type() != &DataType::Boolean || !given.is_integer() {
        return Ok(None);
    }
    let zero = Expr::Literal(ScalarValue::new_zero(&given)?, None);
    Ok(Some(number.as_ref().clone().not_eq(zero)))
}

/// A cast of a text, a date or a timestamp to an instant reads it in the session's zone.
fn in_zone(value: &mut Expr, field: &mut FieldRef, schema: &DFSchema, zone: &str) -> bool {
    let written = write_instant(value, zone) || write_in_full(value);
    let given = value.get_type(schema);
    let is_local = given.is_ok_and(|given| {
        given.is_string() || matches!(given, DataType::Date32 | DataType::Timestamp(_, None))
    });
    if !is_local || field.data_type() == &micros(Some(zone)) {
        return written;
    }
    *field = Arc::new(field.as_ref().clone().with_data_type(micros(Some(zone))));
    true
}

/// Makes a text that is a date one.
fn write_date(value: &mut Expr) -> bool {
    let Expr::Literal(literal, _) = value else { return false };
    let Some(days) = literal.try_as_str().flatten().and_then(parse_date) else { return false };
    *literal = ScalarValue::Date32(Some(days));
    true
}

/// Writes a text that is a time in a zone as an instant: clocks that are put back show it twice, or leave it out.
fn write_instant(value: &mut Expr, zone: &str) -> bool {
    let Expr::Literal(literal, _) = value else { return false };
    let text = literal.try_as_str().flatten();
    let Some(instant) = text.and_then(|text| functions::instant_text(text, zone)) else { return false };
    *literal = ScalarValue::from(instant);
    true
}

fn is_instant(value: &Expr, schema: &DFSchema) -> bool {
    matches!(value.get_type(schema), Ok(DataType::Timestamp(_, Some(_))))
}

/// An instant that becomes a date or a timestamp is what the clocks of the session's zone show.
fn to_local(value: &mut Expr, schema: &DFSchema, zone: &str) -> bool {
    let shifts = zone != "UTC" && is_instant(value, schema);
    if shifts {
        *value = functions::timezone().call(vec![lit(zone), std::mem::take(value)]);
    }
    shifts
}

/// The parts of an instant are those of the session's zone.
fn clock_of(value: &mut Expr, schema: &DFSchema, zone: &str) -> bool {
    let there = micros(Some(zone));
    let other = is_instant(value, schema) && value.get_type(schema).is_ok_and(|given| given != there);
    if other {
        *value = cast(std::mem::take(value), there);
    }
    other
}

/// A cast to `varchar(n)` leaves the first n characters.
fn cut(value: &mut Expr, field: &FieldRef, schema: &DFSchema) -> bool {
    let length = field.metadata().get(PG_TYPE).and_then(|mark| mark.strip_prefix("varchar("));
    let length = length.and_then(|length| length.trim_end_matches(')').parse::<i64>().ok());
    let is_cut = matches!(value, Expr::ScalarFunction(call) if call.func.name() == "left");
    match length {
        Some(length) if !is_cut && value.get_type(schema).is_ok_and(|given| given.is_string()) => {
            *value = unicode::left().call(vec![std::mem::take(value), lit(length)]);
            true
        }
        _ => false,
    }
}

/// Writes a text that is a time in the form that arrow reads.
fn write_in_full(value: &mut Expr) -> bool {
    let Expr::Literal(literal, _) = value else { return false };
    let Some(plain) = literal.try_as_str().flatten().and_then(plain_time) else { return false };
    *literal = ScalarValue::from(plain);
    true
}

/// Texts beside arrays are arrays: `coalesce(names, '{}')`.
fn type_arrays(args: &mut [Expr], schema: &DFSchema) -> Result<bool> {
    let list = args.iter().find_map(|arg| match arg.get_type(schema) {
        Ok(list @ DataType::List(_)) => Some(list),
        _ => None,
    });
    let Some(list) = list else { return Ok(false) };
    let mut changed = false;
    for arg in args.iter_mut().filter(|arg| arg.get_type(schema).is_ok_and(|t| t.is_string())) {
        let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = arg else {
            let message = format!("coalesce of {} and TEXT: all values are of one type", sql_name(&list));
            return Err(Error::input(Subject::Type, message).into());
        };
        let array = array_of(text, &list).ok_or_else(|| {
            let message = format!("\"{text}\" is not an array; arrays are written as in '{{a,b}}'");
            Error::input(Subject::Value, message)
        })?;
        *arg = array;
        changed = true;
    }
    Ok(changed)
}

/// Rounds a fraction that is cast to a whole number: half away from zero of numeric, half to even of floats.
fn round(value: &mut Expr, schema: &DFSchema) -> bool {
    let function = match value.get_type(schema) {
        _ if is_rounded(value) => return false,
        Ok(given) if given.is_floating() => Arc::new(functions::rint()),
        Ok(given) if given.is_decimal() => math::round(),
        _ => return false,
    };
    *value = function.call(vec![std::mem::take(value)]);
    true
}

fn is_rounded(value: &Expr) -> bool {
    let is_one = |args: &[Expr]| args.len() == 1;
    matches!(value, Expr::ScalarFunction(ScalarFunction { func, args }) if ["round", "rint"].contains(&func.name()) && is_one(args))
}
