//! Arrays that queries fill, `ARRAY (SELECT x FROM t ORDER BY y)`, and those of columns, `ARRAY[x, y]`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr, OrderByKind,
    Query, Select, SelectItem, SetExpr, TableAliasColumnDef, TableFactor, Value, visit_expressions,
};

use crate::engine::sql::compatible::build::{call, taken};
use crate::engine::sql::compatible::subqueries::{GroupByIsEmpty, is_of_rows};
use crate::engine::sql::naming::output_name;
use crate::engine::sql::select::{derived, select_columns};
use crate::engine::sql::words::fold;

/// The function that makes an array of its arguments.
pub(super) const MAKE_ARRAY: &str = "make_array";

/// `ARRAY[x, (SELECT y)]` as a call: DataFusion plans an array that is written out without the tables around the query.
pub(super) fn call_array(expr: &mut Expr) {
    if let Expr::Array(array) = expr
        && array.elem.iter().any(looks_around)
    {
        *expr = call(MAKE_ARRAY, std::mem::take(&mut array.elem));
    }
}

/// True for an expression with a column or a subquery in it.
fn looks_around(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Subquery(_)
        | Expr::InSubquery { .. }
        | Expr::Exists { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The name of rows that are set apart, and of what they give.
const ROWS: &str = "collected";
const VALUE: &str = "element";

/// `(SELECT x … ORDER BY y)` as `(SELECT array_agg(x ORDER BY y) …)`.
pub(super) fn collect_rows(query: &mut Query) {
    let mut order = match query.order_by.as_ref().map(|order| &order.kind) {
        Some(OrderByKind::Expressions(exprs)) => exprs.clone(),
        _ => vec![],
    };
    if let SetExpr::Select(select) = query.body.as_ref()
        && let [item] = select.projection.as_slice()
    {
        place_keys(&mut order, item);
    }
    if !is_plain(query) {
        set_apart(query, &mut order);
    }
    query.order_by = None;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_mut_slice()
    {
        *expr = call("array_agg", vec![taken(expr)]);
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr
            && !order.is_empty()
        {
            list.clauses.push(FunctionArgumentClause::OrderBy(order));
        }
    }
}

/// Writes the only column of a query where its order has the column's place, or its name.
pub(super) fn place_keys(order: &mut [OrderByExpr], item: &SelectItem) {
    let (SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) = item else {
        return;
    };
    let name = output_name(item).as_ref().map(fold);
    for key in order {
        let is_column = match &key.expr {
            Expr::Value(value) => matches!(value.value, Value::Number(..)),
            Expr::Identifier(written) => Some(fold(written)) == name,
            _ => false,
        };
        if is_column {
            key.expr = column.clone();
        }
    }
}

/// True for a query whose rows an aggregate may be over, as FROM and WHERE give them.
fn is_plain(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let counted = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => is_of_rows(expr),
        _ => false,
    };
    query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.group_by_is_empty()
        && !select.projection.iter().any(counted)
}

/// Puts the query into FROM of another one, which has its column, and beside it what it is sorted by.
fn set_apart(query: &mut Query, order: &mut [OrderByExpr]) {
    let mut rows = query.clone();
    let mut columns = vec![Ident::new(VALUE)];
    // The order tells which rows there are, too.
    let mut is_needed = rows.limit_clause.is_some() || rows.fetch.is_some();
    match rows.body.as_mut() {
        SetExpr::Select(select) if !matches!(select.distinct, Some(Distinct::Distinct)) => {
            is_needed |= select.distinct.is_some();
            add_keys(select, order, &mut columns);
        }
        // Such queries are sorted by what they give.
        _ => order.iter_mut().for_each(|key| key.expr = Expr::Identifier(Ident::new(VALUE))),
    }
    if !is_needed {
        rows.order_by = None;
    }
    let mut factor = derived(rows, ROWS);
    if let TableFactor::Derived { alias: Some(alias), .. } = &mut factor {
        let named = |name| TableAliasColumnDef { name, data_type: None };
        alias.columns = columns.into_iter().map(named).collect();
    }
    *query = select_columns(factor, vec![Ident::new(VALUE)]);
}

/// Adds what is sorted by to the output, unless that has it.
fn add_keys(select: &mut Select, order: &mut [OrderByExpr], columns: &mut Vec<Ident>) {
    let Some(SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) =
        select.projection.first().cloned()
    else {
        return;
    };
    for (n, key) in order.iter_mut().enumerate() {
        if key.expr == column {
            key.expr = Expr::Identifier(Ident::new(VALUE));
            continue;
        }
        let alias = Ident::with_quote('"', format!("order {}", n + 1));
        let expr = std::mem::replace(&mut key.expr, Expr::Identifier(alias.clone()));
        select.projection.push(SelectItem::ExprWithAlias { expr, alias: alias.clone() });
        columns.push(alias);
    }
}
