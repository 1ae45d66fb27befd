//! Quotients of numbers that are not both whole, and products of many digits behind the point.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF, cast};

use crate::engine::functions::scalar::arithmetic::{Arithmetic, Operation, WHOLE_DIGITS, is_long_product};

/// The call of ours that an operator between two numbers is; `None` where DataFusion's is right. Types are not those that
/// DataFusion gives it, which is why it is made before it looks at types.
pub fn operator(op: Operator, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<Expr> {
    let operation = match op {
        Operator::Divide => Operation::Over,
        Operator::Multiply => Operation::Times,
        _ => return None,
    };
    let (a, b) = (left.get_type(schema).ok()?, right.get_type(schema).ok()?);
    let is_float = is_part(left) || is_part(right);
    if a.is_integer() && b.is_integer() && !is_float {
        return None;
    }
    let numbers = match (exact(&a), exact(&b)) {
        (Some(a), Some(b)) if !is_float => {
            if operation == Operation::Times && !is_long_product(&a, &b) {
                return None;
            }
            // The function casts whole numbers itself: a column of a UNION may still turn out not to be whole.
            vec![left.clone(), right.clone()]
        }
        _ if operation == Operation::Over && a.is_numeric() && b.is_numeric() => {
            let both = if a == b && a.is_floating() { a.clone() } else { DataType::Float64 };
            let of_type = |number: &Expr, given: &DataType| match given == &both {
                true => number.clone(),
                false => cast(number.clone(), both.clone()),
            };
            vec![of_type(left, &a), of_type(right, &b)]
        }
        _ => return None,
    };
    Some(ScalarUDF::new_from_impl(Arithmetic::new(operation)).call(numbers))
}

/// A part of a date or a time, which is a float in PostgreSQL.
fn is_part(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "date_part")
}

/// The type of decimals that holds the numbers of a type exactly.
fn exact(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Decimal128(..) => Some(data_type.clone()),
        whole if whole.is_integer() => Some(DataType::Decimal128(WHOLE_DIGITS, 0)),
        _ => None,
    }
}
