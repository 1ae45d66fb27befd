//! What PostgreSQL does and DataFusion does not: numbers times intervals, casts that round, patterns of dates.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::math;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::{Cast, Placeholder, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, cast, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, CharacterLength, ExactNumberInfo,
};

use crate::engine::PG_TYPE;
use crate::engine::functions::{self, Scaling};
use crate::engine::plan::date_patterns::translate_call;
use crate::engine::sql::array_elements;
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};

/// Expressions with PostgreSQL's meaning.
#[derive(Debug)]
pub struct Semantics;

/// `interval * number`, `number * interval` and `interval / number`.
impl ExprPlanner for Semantics {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let expr = typed_literals(expr, schema);
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
            DataType::Boolean => match text.trim().to_lowercase().as_str() {
                "t" | "true" | "yes" | "on" | "1" => Some(lit(true)),
                "f" | "false" | "no" | "off" | "0" => Some(lit(false)),
                _ => None,
            },
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
    let number = match number {
        Expr::Placeholder(parameter) if parameter.field.is_none() => {
            let field = Field::new(&parameter.id, DataType::Float64, true);
            Expr::Placeholder(Placeholder::new_with_field(parameter.id.clone(), Some(Arc::new(field))))
        }
        number => cast(number.clone(), DataType::Float64),
    };
    functions::scaled_interval(scaling).call(vec![interval, number])
}

/// Casts that round and patterns of dates.
impl FunctionRewrite for Semantics {
    fn name(&self) -> &str {
        "postgresql_semantics"
    }

    fn rewrite(
        &self,
        mut expr: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let changed = match &mut expr {
            Expr::Cast(Cast { expr: value, field }) | Expr::TryCast(TryCast { expr: value, field }) => {
                field.data_type().is_integer() && round(value, schema)
            }
            Expr::ScalarFunction(call) if call.func.name() == "coalesce" => {
                type_arrays(&mut call.args, schema)?
            }
            Expr::ScalarFunction(call) => translate_call(call)?,
            _ => false,
        };
        Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
    }
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

/// Rounds a fraction that is cast to a whole number, half away from zero as PostgreSQL's numeric does.
fn round(value: &mut Expr, schema: &DFSchema) -> bool {
    let rounds = !is_rounded(value) && value.get_type(schema).is_ok_and(fractional);
    if rounds {
        *value = math::round().call(vec![std::mem::take(value)]);
    }
    rounds
}

fn fractional(data_type: DataType) -> bool {
    data_type.is_floating() || data_type.is_decimal()
}

fn is_rounded(value: &Expr) -> bool {
    matches!(value, Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "round" && args.len() == 1)
}
