//! Expressions made and taken apart: what the rewrites share.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::words::fold;

/// Schemas of functions and types that need no schema here.
pub(super) const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];

fn null() -> Expr {
    Expr::Value(Value::Null.with_empty_span())
}

pub(super) fn taken(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, null())
}

/// A number that is written out.
pub(super) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).with_empty_span())
}

/// A call of a function by its bare name.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// Conditions joined by AND or OR, in a tree that is as low as it can be; no conditions are true for AND, and false for OR.
pub(super) fn balanced(mut conditions: Vec<Expr>, op: &BinaryOperator) -> Expr {
    if conditions.len() > 1 {
        let right = Box::new(balanced(conditions.split_off(conditions.len() / 2), op));
        let left = Box::new(balanced(conditions, op));
        return Expr::Nested(Box::new(Expr::BinaryOp { left, op: op.clone(), right }));
    }
    let empty = || Expr::Value(Value::Boolean(*op == BinaryOperator::And).with_empty_span());
    conditions.pop().unwrap_or_else(empty)
}

pub(super) fn case(conditions: Vec<ast::CaseWhen>) -> Expr {
    let token = ast::helpers::attached_token::AttachedToken::empty;
    Expr::Case { case_token: token(), end_token: token(), operand: None, conditions, else_result: None }
}

/// True for a text that is written out.
pub(super) fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

pub(super) fn plain_arguments(list: &FunctionArgumentList) -> Vec<Expr> {
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// Takes the schema of PostgreSQL's own functions away.
pub(super) fn strip_schema(name: &mut ObjectName) {
    if let [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(_)] = name.0.as_slice()
        && SYSTEM.contains(&fold(schema).as_str())
    {
        name.0.remove(0);
    }
}

/// Does something with every expression but those in subqueries, which have columns of their own.
pub(super) fn each_outside_subqueries(node: &mut impl VisitMut, work: impl FnMut(&mut Expr)) {
    struct Each<F> {
        work: F,
        depth: usize,
    }
    impl<F: FnMut(&mut Expr)> VisitorMut for Each<F> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if self.depth == 0 {
                (self.work)(expr);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = node.visit(&mut Each { work, depth: 0 });
}
