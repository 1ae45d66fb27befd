//! Comparisons of rows, as comparisons of their fields: a field that is NULL leaves open what no other field decides.
//!
//! Source: PostgreSQL 15 documentation, section 9.24.5 (Row Constructor Comparison).

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use crate::engine::sql::compatible::build::{balanced, call, plain_arguments};
use crate::engine::sql::words::last_word;

/// `(a, b) = (c, d)`, `(a, b) IN ((c, d), (e, f))`, `(a, b) IS NULL` and their like.
pub(super) fn rewrite_rows(expr: &mut Expr) {
    let compared = match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            pair(left, right).and_then(|(a, b)| overlap(&a, &b))
        }
        Expr::BinaryOp { left, op, right } => pair(left, right).and_then(|(a, b)| comparison(a, op, b)),
        Expr::InList { expr, list, negated } => member(expr, list, *negated),
        Expr::Between { expr, negated, low, high } => between(expr, low, high, *negated),
        Expr::IsNull(row) => each(row, Expr::IsNull),
        Expr::IsNotNull(row) => each(row, Expr::IsNotNull),
        Expr::IsDistinctFrom(left, right) => {
            distinction(left, right, Expr::IsDistinctFrom, BinaryOperator::Or)
        }
        Expr::IsNotDistinctFrom(left, right) => {
            distinction(left, right, Expr::IsNotDistinctFrom, BinaryOperator::And)
        }
        _ => None,
    };
    if let Some(compared) = compared {
        *expr = compared;
    }
}

/// Rows of expressions that are counted, as DataFusion has them.
pub(super) fn rows_as_structs(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(row)) = argument
            && let Some(fields) = fields(row)
        {
            *row = call("struct", fields);
        }
    }
}

/// The fields of a row that is written out.
pub(super) fn fields(row: &Expr) -> Option<Vec<Expr>> {
    match row {
        Expr::Tuple(fields) if !fields.is_empty() => Some(fields.clone()),
        Expr::Nested(inner) => fields(inner),
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. })
            if last_word(name).as_deref() == Some("row") =>
        {
            let fields = plain_arguments(list);
            (!fields.is_empty() && fields.len() == list.args.len()).then_some(fields)
        }
        _ => None,
    }
}

/// The fields of two rows that have as many.
fn pair(left: &Expr, right: &Expr) -> Option<(Vec<Expr>, Vec<Expr>)> {
    let (left, right) = (fields(left)?, fields(right)?);
    (left.len() == right.len()).then_some((left, right))
}

pub(super) fn comparison(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let joined = |by: BinaryOperator| {
        let pairs = left.iter().zip(&right);
        balanced(pairs.map(|(left, right)| binary(left.clone(), op, right.clone())).collect(), &by)
    };
    match op {
        Eq => Some(joined(And)),
        NotEq => Some(joined(Or)),
        Lt | LtEq => Some(in_order(left, &Lt, op, right)),
        Gt | GtEq => Some(in_order(left, &Gt, op, right)),
        _ => None,
    }
}

/// Periods share a time when they begin at one, or each begins before the other ends; their ends may be the wrong way round.
fn overlap(left: &[Expr], right: &[Expr]) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Lt, Or};
    let period = |fields: &[Expr]| match fields {
        [from, length @ Expr::Interval(_)] => {
            let to = binary(from.clone(), &BinaryOperator::Plus, length.clone());
            Some(vec![from.clone(), Expr::Nested(Box::new(to))])
        }
        [_, _] => Some(fields.to_vec()),
        _ => None,
    };
    let (left, right) = (period(left)?, period(right)?);
    let begin = |fields: &[Expr]| call("least", fields.to_vec());
    let end = |fields: &[Expr]| call("greatest", fields.to_vec());
    let together = binary(begin(&left), &Eq, begin(&right));
    let before = [binary(begin(&left), &Lt, end(&right)), binary(begin(&right), &Lt, end(&left))];
    Some(balanced(vec![together, balanced(before.into(), &And)], &Or))
}

/// The first fields that differ decide: `a < c OR (a = c AND b < d)`.
fn in_order(left: Vec<Expr>, strict: &BinaryOperator, last: &BinaryOperator, right: Vec<Expr>) -> Expr {
    let nested =
        |left: Expr, op: &BinaryOperator, right: Expr| Expr::Nested(Box::new(binary(left, op, right)));
    let mut decided: Option<Expr> = None;
    for (left, right) in left.into_iter().zip(right).rev() {
        decided = Some(match decided {
            None => binary(left, last, right),
            Some(rest) => {
                let alike = binary(left.clone(), &BinaryOperator::Eq, right.clone());
                let later = nested(alike, &BinaryOperator::And, rest);
                nested(binary(left, strict, right), &BinaryOperator::Or, later)
            }
        });
    }
    decided.unwrap_or_else(|| balanced(vec![], &BinaryOperator::And))
}

/// Fields may be rows, too.
fn binary(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    let mut expr = Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) };
    rewrite_rows(&mut expr);
    expr
}

fn member(row: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    let equal = |other: &Expr| pair(row, other).and_then(|(a, b)| comparison(a, &BinaryOperator::Eq, b));
    let found = balanced(list.iter().map(equal).collect::<Option<_>>()?, &BinaryOperator::Or);
    Some(if negated { not(found) } else { found })
}

fn between(row: &Expr, low: &Expr, high: &Expr, negated: bool) -> Option<Expr> {
    let ((above, low), (below, high)) = (pair(row, low)?, pair(row, high)?);
    let bounds =
        vec![comparison(above, &BinaryOperator::GtEq, low)?, comparison(below, &BinaryOperator::LtEq, high)?];
    let within = balanced(bounds, &BinaryOperator::And);
    Some(if negated { not(within) } else { within })
}

/// A row is NULL where all of its fields are, and not NULL where none is.
fn each(row: &Expr, test: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let tested = fields(row)?.into_iter().map(|field| {
        let mut tested = test(Box::new(field));
        rewrite_rows(&mut tested);
        tested
    });
    Some(balanced(tested.collect(), &BinaryOperator::And))
}

fn distinction(
    left: &Expr,
    right: &Expr,
    test: fn(Box<Expr>, Box<Expr>) -> Expr,
    by: BinaryOperator,
) -> Option<Expr> {
    let (left, right) = pair(left, right)?;
    let tested = left.into_iter().zip(right).map(|(left, right)| {
        let mut tested = test(Box::new(left), Box::new(right));
        rewrite_rows(&mut tested);
        tested
    });
    Some(balanced(tested.collect(), &by))
}

fn not(expr: Expr) -> Expr {
    let expr = Box::new(Expr::Nested(Box::new(expr)));
    Expr::Nested(Box::new(Expr::UnaryOp { op: ast::UnaryOperator::Not, expr }))
}
