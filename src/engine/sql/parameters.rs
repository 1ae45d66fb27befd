//! Parameters (`$1`) of a statement: their number, the types that the text tells, and values in their places.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::{CopyToSource, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, CastKind, DataType, Expr, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::command::CommandStatement;
use crate::engine::sql::session::SessionStatement;
use crate::engine::sql::statement::{Body, Statement};
use crate::error::{Error, ErrorKind, Result, Subject};

/// Most parameters of one statement, as in PostgreSQL's protocol.
const PARAMETERS_MAX: usize = 65_535;

/// The type of a parameter that nothing tells.
pub const UNKNOWN: DataType = DataType::Text;

/// The number of a parameter, counted from 0.
fn number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(ast::ValueWithSpan { value: Value::Placeholder(id), .. }) => {
            id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
        }
        _ => None,
    }
}

/// How many parameters a statement has: the highest number in it.
pub fn count(statement: &Statement) -> Result<usize> {
    let mut highest = 0;
    visit(&mut statement.clone(), &mut |expr| {
        highest = highest.max(number(expr).map_or(0, |n| n + 1));
    });
    if highest > PARAMETERS_MAX {
        let message = format!("statement has parameter ${highest}; the limit is ${PARAMETERS_MAX}");
        return Err(Error::new(ErrorKind::Input, Subject::Statement, message));
    }
    Ok(highest)
}

/// Calls `f` with every expression of the statement, outer ones first.
fn visit(statement: &mut Statement, f: &mut impl FnMut(&mut Expr)) {
    struct Each<'a, F>(&'a mut F);
    impl<F: FnMut(&mut Expr)> VisitorMut for Each<'_, F> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            (self.0)(expr);
            ControlFlow::Continue(())
        }
    }
    walk(statement, &mut Each(f));
}

fn walk(statement: &mut Statement, visitor: &mut impl VisitorMut) {
    match &mut statement.body {
        Body::Sql(body) => walk_sql(body, visitor),
        Body::Command(command) => {
            if let CommandStatement::Copy(copy) = command.as_mut() {
                let _ = copy.visit_query(visitor);
            }
        }
        Body::Session(session) => {
            if let SessionStatement::Declare { query, .. } = session.as_mut() {
                drop(query.visit(visitor));
            }
        }
        // The parameters of what PREPARE prepares are not those of PREPARE.
        Body::Prepare { .. } => return,
    }
    for train in &mut statement.trains {
        Arc::make_mut(train).visit(visitor);
    }
}

/// The value without the cast around it, as a statement of ours is recorded.
fn bare(value: Expr) -> Expr {
    match value {
        Expr::Cast { expr, .. } if matches!(*expr, Expr::Value(_)) => *expr,
        value => value,
    }
}

fn walk_sql(statement: &mut DfStatement, visitor: &mut impl VisitorMut) {
    match statement {
        DfStatement::Statement(inner) => drop(inner.visit(visitor)),
        DfStatement::Explain(explain) => walk_sql(&mut explain.statement, visitor),
        DfStatement::CopyTo(copy) => {
            if let CopyToSource::Query(query) = &mut copy.source {
                drop(query.visit(visitor));
            }
        }
        _ => {}
    }
}

/// The statement without the arguments of functions that are parameters of the type void: drivers send one in the place
/// of what a call returns.
///
/// Source: PostgreSQL 15, `ParseFuncOrColumn`.
pub fn without_void(statement: &Statement, types: &[Option<DataType>]) -> Statement {
    struct Drop<'a>(&'a [Option<DataType>]);
    impl Drop<'_> {
        fn keeps(&self, argument: &ast::FunctionArg) -> bool {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument else { return true };
            !number(expr).and_then(|n| self.0.get(n)).is_some_and(|given| given.as_ref().is_some_and(is_void))
        }
    }
    impl VisitorMut for Drop<'_> {
        type Break = ();

        fn pre_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<()> {
            match factor {
                ast::TableFactor::Table { args: Some(list), .. } => list.args.retain(|a| self.keeps(a)),
                ast::TableFactor::Function { args, .. } => args.retain(|a| self.keeps(a)),
                _ => {}
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(ast::Function { args: ast::FunctionArguments::List(list), .. }) = expr {
                list.args.retain(|a| self.keeps(a));
            }
            ControlFlow::Continue(())
        }
    }
    let mut kept = statement.clone();
    walk(&mut kept, &mut Drop(types));
    kept
}

/// The type of what is no value.
pub fn is_void(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("void"))
}

/// The types that stand in the text: a cast, LIMIT and OFFSET; `given` ones come first.
pub fn types_in_text(statement: &Statement, given: &[Option<DataType>]) -> Result<Vec<Option<DataType>>> {
    struct Types(HashMap<usize, DataType>);
    impl Types {
        fn tell(&mut self, expr: &Expr, data_type: &DataType) {
            if let Some(n) = number(expr) {
                self.0.entry(n).or_insert_with(|| data_type.clone());
            }
        }
    }
    impl VisitorMut for Types {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
                let offset = offset.as_ref().map(|offset| &offset.value);
                limit.iter().chain(offset).for_each(|expr| self.tell(expr, &DataType::BigInt(None)));
            }
            if let Some(quantity) = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref()) {
                self.tell(quantity, &DataType::BigInt(None));
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr, data_type, .. } = expr {
                self.tell(expr, data_type);
            }
            if let Some(arguments) = call_of(expr, "array_has_any") {
                let texts = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None));
                arguments.into_iter().for_each(|argument| self.tell(argument, &texts));
            }
            ControlFlow::Continue(())
        }
    }
    let mut told = Types(HashMap::new());
    walk(&mut statement.clone(), &mut told);
    let count = count(statement)?.max(given.len());
    Ok((0..count).map(|n| given.get(n).cloned().flatten().or_else(|| told.0.get(&n).cloned())).collect())
}

/// The arguments of an expression that calls this function.
fn call_of<'a>(expr: &'a Expr, name: &str) -> Option<Vec<&'a Expr>> {
    let Expr::Function(ast::Function { name: called, args: ast::FunctionArguments::List(list), .. }) = expr
    else {
        return None;
    };
    let called = called.0.last()?.as_ident()?;
    let argument = |arg: &'a ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    };
    (called.value == name).then(|| list.args.iter().filter_map(argument).collect())
}

/// The statement with `x = $1` in the places of `x = ANY ($1)`, and the numbers of such parameters: an array has the
/// type of what it is compared with.
pub fn elements_for_arrays(statement: &Statement) -> (Statement, Vec<usize>) {
    let (mut statement, mut arrays) = (statement.clone(), vec![]);
    visit(&mut statement, &mut |expr| {
        let Some([array, element]) =
            call_of(expr, "array_has").as_deref().map(|a| [a.first().copied(), a.get(1).copied()])
        else {
            return;
        };
        let (Some(array), Some(element)) = (array, element) else { return };
        if let Some(n) = number(array) {
            arrays.push(n);
            let (left, right) = (Box::new(element.clone()), Box::new(array.clone()));
            *expr = Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right };
        }
    });
    (statement, arrays)
}

/// The statement with a cast to its type around every parameter whose type is known.
pub fn typed(statement: &Statement, types: &[Option<DataType>]) -> Statement {
    bound(statement, &|n, expr| {
        let data_type = types.get(n).cloned().flatten()?;
        Some(cast(expr.clone(), data_type))
    })
}

/// The statement as PREPARE writes it, with the types of all its parameters.
pub fn declared(statement: &Statement, types: &[DataType]) -> Statement {
    let known: Vec<Option<DataType>> = types.iter().cloned().map(Some).collect();
    let mut declared = typed(statement, &known);
    if let Body::Sql(body) = &mut declared.body
        && let DfStatement::Statement(inner) = body.as_mut()
        && !types.is_empty()
    {
        let (name, data_types) = (ast::Ident::new("generic"), types.to_vec());
        let statement = inner.clone();
        **inner = ast::Statement::Prepare { name, data_types, statement };
    }
    declared
}

/// The statement with a value in the place of every parameter.
pub fn with_values(statement: &Statement, values: &[Expr]) -> Statement {
    bound(statement, &|n, _| values.get(n).cloned())
}

fn bound(statement: &Statement, value: &dyn Fn(usize, &Expr) -> Option<Expr>) -> Statement {
    struct Bind<'a>(&'a dyn Fn(usize, &Expr) -> Option<Expr>);
    impl Bind<'_> {
        /// A number that stands alone there would be the place of a column.
        fn constant(&self, expr: &mut Expr) {
            let value = number(expr).and_then(|n| (self.0)(n, expr));
            if let Some(value @ Expr::Value(ast::ValueWithSpan { value: Value::Number(..), .. })) = value {
                *expr = cast(value, DataType::BigInt(None));
            }
        }
    }
    impl VisitorMut for Bind<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(exprs), .. }) = &mut query.order_by
            {
                exprs.iter_mut().for_each(|order| self.constant(&mut order.expr));
            }
            ControlFlow::Continue(())
        }

        fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
            if let ast::GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
                exprs.iter_mut().for_each(|expr| self.constant(expr));
            }
            ControlFlow::Continue(())
        }

        // After its parts: what was put in is not looked at again.
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(value) = number(expr).and_then(|n| (self.0)(n, expr)) {
                *expr = value;
            }
            ControlFlow::Continue(())
        }
    }
    let mut bound = Statement { trains: vec![], ..statement.clone() };
    walk(&mut bound, &mut Bind(value));
    let bare = |n: usize, expr: &Expr| value(n, expr).map(bare);
    bound.trains = statement.trains.clone();
    bound.trains.iter_mut().for_each(|train| Arc::make_mut(train).visit(&mut Bind(&bare)));
    bound
}

/// `CAST(expr AS data_type)`.
pub fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}
