//! Arguments of calls that have names, or that are left out.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments,
    Ident,
};

use crate::engine::sql::compatible::build::{call, number};
use crate::engine::sql::words::{fold, last_word};

/// What `make_interval` takes, each 0 where it is left out.
const FIELDS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Writes `name := value` as `name => value`, all fields of `make_interval`, and the day that `age` counts to.
pub(super) fn fill_arguments(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    list.args.iter_mut().for_each(name_assigned);
    let filled = match (last_word(&function.name).as_deref(), list.args.as_slice()) {
        (Some("make_interval"), given) => all_fields(given),
        (Some("age"), [FunctionArg::Unnamed(since)]) => {
            let today = FunctionArgExpr::Expr(call("current_date", vec![]));
            Some(vec![FunctionArg::Unnamed(today), FunctionArg::Unnamed(since.clone())])
        }
        _ => None,
    };
    if let Some(filled) = filled {
        list.args = filled;
    }
}

fn name_assigned(argument: &mut FunctionArg) {
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp { left, op, right })) = argument
        && *op == BinaryOperator::Assignment
        && let Expr::Identifier(name) = left.as_ref()
    {
        *argument = FunctionArg::Named {
            name: name.clone(),
            arg: FunctionArgExpr::Expr(right.as_ref().clone()),
            operator: FunctionArgOperator::RightArrow,
        };
    }
}

/// Every field in its place; nothing where one is given twice, or is none.
fn all_fields(given: &[FunctionArg]) -> Option<Vec<FunctionArg>> {
    let mut fields: [Option<FunctionArgExpr>; FIELDS.len()] = Default::default();
    let place_of = |name: &Ident| FIELDS.iter().position(|field| *field == fold(name));
    let mut named = false;
    for (n, argument) in given.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(value) if !named => (n, value),
            FunctionArg::Named { name, arg, .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (place_of(name)?, arg),
            _ => return None,
        };
        named |= !matches!(argument, FunctionArg::Unnamed(_));
        let field = fields.get_mut(place).filter(|field| field.is_none())?;
        *field = Some(value.clone());
    }
    let zero = || FunctionArgExpr::Expr(number("0"));
    Some(fields.into_iter().map(|field| FunctionArg::Unnamed(field.unwrap_or_else(zero))).collect())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn arguments_are_in_their_places() {
        for (call, expected) in [
            ("make_interval()", "make_interval(0, 0, 0, 0, 0, 0, 0)"),
            ("make_interval(1, secs => 1.5, days := 3)", "make_interval(1, 0, 0, 3, 0, 0, 1.5)"),
            ("make_interval(1, years => 2)", "make_interval(1, years => 2)"),
            ("make_interval(days => 1, 2)", "make_interval(days => 1, 2)"),
            ("make_interval(foo => 1)", "make_interval(foo => 1)"),
            ("f(a := 1)", "f(a => 1)"),
            ("age(a)", "age(current_date(), a)"),
            ("age(a, b)", "age(a, b)"),
        ] {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(call).unwrap();
            let Expr::Function(mut function) = parser.parse_expr().unwrap() else { unreachable!("{call}") };
            fill_arguments(&mut function);
            assert_eq!(function.to_string(), expected);
        }
    }
}
