//! Subqueries as DataFusion takes them: one value of each, and the arrays that they fill.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Function, FunctionArguments, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value,
};

use crate::engine::functions;
use crate::engine::sql::compatible::arrays::place_keys;
use crate::engine::sql::compatible::build::{
    call, case, each_outside_subqueries, number, plain_arguments, taken,
};
use crate::engine::sql::words::{fold, last_word};

/// `(SELECT ARRAY (SELECT …))` is `ARRAY (SELECT …)`, which reaches the tables around it; so is
/// `(SELECT array_to_string(ARRAY (SELECT …), ','))` without the outer SELECT.
pub(super) fn unwrap_array_query(expr: &mut Expr) {
    let Expr::Subquery(query) = &*expr else { return };
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let plain = select.from.is_empty() && select.selection.is_none() && query.with.is_none();
    if let [SelectItem::UnnamedExpr(only) | SelectItem::ExprWithAlias { expr: only, .. }] =
        select.projection.as_slice()
        && plain
        && is_array_query(only)
    {
        *expr = only.clone();
    }
}

fn is_array_query(expr: &Expr) -> bool {
    let Expr::Function(Function { name, args, .. }) = expr else { return false };
    match (last_word(name).as_deref(), args) {
        (Some("array"), FunctionArguments::Subquery(_)) => true,
        (Some("array_to_string"), FunctionArguments::List(list)) => {
            plain_arguments(list).first().is_some_and(is_array_query)
        }
        _ => false,
    }
}

/// `ANY (ARRAY (SELECT …))` is `ANY (SELECT …)`.
pub(super) fn take_array_query(array: &mut Expr) {
    while let Expr::Nested(inner) = array {
        *array = taken(inner);
    }
    if let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = array
        && last_word(name).as_deref() == Some("array")
    {
        *array = Expr::Subquery(query.clone());
    }
}

/// The rows behind ANY and ALL are no value: they look like those of EXISTS until what is in them is rewritten.
pub(super) fn set_apart(operand: &mut Expr) {
    if let Expr::Subquery(query) = operand {
        *operand = Expr::Exists { subquery: query.clone(), negated: false };
    }
}

/// The opposite of [`set_apart`].
pub(super) fn put_back(operand: &mut Expr) {
    if let Expr::Exists { subquery, negated: false } = operand {
        *operand = Expr::Subquery(subquery.clone());
    }
}

/// What `(SELECT x)` gives for each row of the outer query. Without a column of it, the value is one for all rows, and
/// `(SELECT 1 AS x)` may be a relation of one row, as an argument is.
pub(super) fn only_expression(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.group_by_is_empty();
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    // An aggregate of outer columns alone is one of the outer query.
    let own_aggregate = has_part(expr, |call| is_aggregate(call) && !names_column(call));
    (plain && names_column(expr) && !own_aggregate && !has_part(expr, sees_rows)).then(|| expr.clone())
}

/// True for an expression that is made of columns, and is none itself.
pub(super) fn is_computed(expr: &Expr) -> bool {
    !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && names_column(expr)
}

/// True when an expression has a column in it.
fn names_column(expr: &Expr) -> bool {
    has_part(expr, |part| matches!(part, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))
}

/// True when a part of an expression is one of these.
fn has_part(expr: &Expr, wanted: impl Fn(&Expr) -> bool) -> bool {
    let found = ast::visit_expressions(expr, |expr| match wanted(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// True for a call that sees the rows of its query, or makes more of them.
fn sees_rows(call: &Expr) -> bool {
    let Expr::Function(function) = call else { return false };
    function.over.is_some() || last_word(&function.name).as_deref() == Some("unnest")
}

/// True for an expression of many rows: with an aggregate or a function of a window in it.
pub(super) fn is_of_rows(expr: &Expr) -> bool {
    has_part(expr, |call| is_aggregate(call) || sees_rows(call))
}

/// True for an expression with an aggregate or a function of a window in it that is not one of a subquery.
pub(super) fn is_of_own_rows(expr: &Expr) -> bool {
    let mut found = false;
    each_outside_subqueries(&mut expr.clone(), |part| found |= is_aggregate(part) || sees_rows(part));
    found
}

/// True for a call of an aggregate.
pub(super) fn is_aggregate(call: &Expr) -> bool {
    let Expr::Function(function) = call else { return false };
    last_word(&function.name).is_some_and(|name| functions::is_aggregate(&name))
}

/// DataFusion takes a subquery that refers to the outer query as one value only when it cannot have two rows: an
/// aggregate says so, which takes the first, where LIMIT 1 does, or counts the rows, too, for a function around the
/// subquery that fails for two. Conditions on the outer query alone are asked before the subquery.
pub(super) fn as_value(query: &mut Query) -> Option<Expr> {
    let first = match (&query.limit_clause, &query.order_by, &query.fetch) {
        (None, None, None) => false,
        (Some(limit), _, None) if is_one(limit) => true,
        _ => return None,
    };
    let mut order = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(ast::OrderByKind::Expressions(exprs)) => exprs.clone(),
        Some(ast::OrderByKind::All(_)) => return None,
        None => vec![],
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    if !select.group_by_is_empty()
        || select.distinct.is_some()
        || select.having.is_some()
        || !looks_outside(select)
    {
        return None;
    }
    let many = match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => !is_of_rows(expr),
        _ => false,
    };
    if !many {
        return None;
    }
    let outer = split_conditions(select);
    let [item] = select.projection.as_mut_slice() else { return None };
    place_keys(&mut order, item);
    // The place of a value that is written out would be taken for the number of a column.
    order.retain(|key| !matches!(key.expr, Expr::Value(_)));
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return None };
    let mut value = call("first_value", vec![taken(expr)]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut value
        && !order.is_empty()
    {
        list.clauses.push(ast::FunctionArgumentClause::OrderBy(order));
    }
    *expr = if first { value } else { call("struct", vec![value, call("count", vec![number("1")])]) };
    query.order_by = None;
    query.limit_clause = None;
    let rows = Expr::Subquery(Box::new(query.clone()));
    let result = if first { rows } else { call("single_value", vec![rows]) };
    Some(match outer {
        Some(condition) => case(vec![ast::CaseWhen { condition, result }]),
        None => result,
    })
}

/// Takes the conditions on the outer query alone out of WHERE, and writes the inner side of an equality where other
/// conditions compare its outer side: what is left refers to the outer query by equalities, as far as it can.
fn split_conditions(select: &mut Select) -> Option<Expr> {
    let labels = labels(select);
    let mut conditions = vec![];
    conjuncts(select.selection.take()?, &mut conditions);
    let outer_only = |expr: &Expr| {
        let tables = tables_of(expr);
        !tables.is_empty() && !tables.iter().any(|table| labels.contains(table)) && is_plain(expr)
    };
    let (outer, mut inner): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(outer_only);
    let is_outer = |expr: &Expr| matches!(expr, Expr::CompoundIdentifier(_)) && outer_only(expr);
    let equal: Vec<(Expr, Expr)> = inner
        .iter()
        .filter_map(|condition| match condition {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_outer(right) && !is_outer(left) => {
                Some((right.as_ref().clone(), left.as_ref().clone()))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_outer(left) && !is_outer(right) => {
                Some((left.as_ref().clone(), right.as_ref().clone()))
            }
            _ => None,
        })
        .collect();
    for condition in &mut inner {
        if !matches!(condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. }) {
            write_inside(condition, &equal);
        }
    }
    select.selection = joined(inner);
    joined(outer)
}

/// Writes the second of two equal columns where the first is compared as it is: computed with, it may be of another type,
/// and in a subquery its table may be another one.
fn write_inside(condition: &mut Expr, equal: &[(Expr, Expr)]) {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let write = |side: &mut Expr| {
        if let Some((_, inside)) = equal.iter().find(|(outside, _)| same_column(outside, side)) {
            *side = inside.clone();
        }
    };
    each_outside_subqueries(condition, |expr| match expr {
        Expr::BinaryOp { left, op: Eq | NotEq | Lt | LtEq | Gt | GtEq, right } => {
            write(left);
            write(right);
        }
        Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().for_each(|side| write(side)),
        _ => {}
    });
}

/// True for the same column, wherever it stands.
fn same_column(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::CompoundIdentifier(a), Expr::CompoundIdentifier(b)) => {
            a.iter().map(fold).eq(b.iter().map(fold))
        }
        _ => false,
    }
}

fn conjuncts(expr: Expr, found: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, found);
            conjuncts(*right, found);
        }
        Expr::Nested(inner) if !matches!(*inner, Expr::BinaryOp { op: BinaryOperator::Or, .. }) => {
            conjuncts(*inner, found)
        }
        other => found.push(other),
    }
}

fn joined(conditions: Vec<Expr>) -> Option<Expr> {
    conditions.into_iter().reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    })
}

/// The tables that the columns of an expression are written after.
pub(super) fn tables_of(expr: &Expr) -> Vec<String> {
    let mut tables = vec![];
    let _ = ast::visit_expressions(expr, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            tables.push(fold(&parts[parts.len() - 2]));
        }
        ControlFlow::<()>::Continue(())
    });
    tables
}

/// True for an expression without a subquery and without a column whose table is not told.
pub(super) fn is_plain(expr: &Expr) -> bool {
    let mut plain = true;
    let _ = ast::visit_expressions(expr, |expr| {
        plain &= !matches!(
            expr,
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Identifier(_)
        );
        ControlFlow::<()>::Continue(())
    });
    plain
}

fn is_one(limit: &ast::LimitClause) -> bool {
    match limit {
        ast::LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, limit_by } => {
            limit_by.is_empty() && matches!(&limit.value, Value::Number(digits, _) if digits == "1")
        }
        _ => false,
    }
}

/// True when a column is written after a table that FROM does not have.
fn looks_outside(select: &Select) -> bool {
    let labels = labels(select);
    let mut outside = false;
    let _ = ast::visit_expressions(select, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
        {
            outside |= !labels.contains(&fold(&parts[parts.len() - 2]));
        }
        ControlFlow::<()>::Continue(())
    });
    outside
}

/// What the columns of the tables of FROM may be written after.
pub(super) fn labels(select: &Select) -> Vec<String> {
    select.from.iter().flat_map(labels_of).collect()
}

fn labels_of(table: &TableWithJoins) -> Vec<String> {
    let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
    let labels = factors.flat_map(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => vec![fold(&alias.name)],
        TableFactor::NestedJoin { table_with_joins, .. } => labels_of(table_with_joins),
        TableFactor::Table { name, .. } => last_word(name).into_iter().collect(),
        _ => vec![],
    });
    labels.collect()
}

pub(super) trait GroupByIsEmpty {
    fn group_by_is_empty(&self) -> bool;
}

impl GroupByIsEmpty for Select {
    fn group_by_is_empty(&self) -> bool {
        matches!(&self.group_by, ast::GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty())
    }
}
