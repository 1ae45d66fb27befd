//! Unnested arrays beside a column that takes the name of another one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Select, SelectItem,
    TableWithJoins,
};

use crate::engine::sql::select::{derived, query_of};
use crate::engine::sql::words::{fold, last_word};

/// The name of the rows before arrays are unnested.
const ROWS: &str = "before_unnest";

/// Computes what stands beside `unnest(…)` in a query of its own, where a name is given that a column in it has
/// too: DataFusion has both at once then, and cannot tell them apart.
///
/// `SELECT unnest(a), b + 1 AS b FROM t` becomes
/// `SELECT unnest(r._1), r._2 AS b FROM (SELECT a AS _1, b + 1 AS _2 FROM t) AS r`.
pub fn separate_unnest(select: &mut Select) {
    if !select.projection.iter_mut().any(|item| expression(item).is_some_and(|e| unnested(e).is_some()))
        || !takes_a_name(select)
        || !is_plain(select)
    {
        return;
    }
    let mut inner = select.clone();
    for (n, (item, inner)) in select.projection.iter_mut().zip(&mut inner.projection).enumerate() {
        keep_name(item);
        let (Some(outer), Some(expr)) = (expression(item), expression(inner)) else { return };
        let alias = Ident::new(format!("_{}", n + 1));
        let place = Expr::CompoundIdentifier(vec![Ident::new(ROWS), alias.clone()]);
        let expr = match (unnested(outer), unnested(expr)) {
            (Some(argument), Some(own)) => {
                *argument = place;
                own.clone()
            }
            _ => {
                *outer = place;
                expr.clone()
            }
        };
        *inner = SelectItem::ExprWithAlias { expr, alias };
    }
    let relation = derived(query_of(inner), ROWS);
    select.from = vec![TableWithJoins { relation, joins: vec![] }];
    select.selection = None;
}

fn expression(item: &mut SelectItem) -> Option<&mut Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Gives a column its own name, which is to be told of what takes its place, too.
fn keep_name(item: &mut SelectItem) {
    let SelectItem::UnnamedExpr(expr) = item else { return };
    let name = match &*expr {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        _ => None,
    };
    if let Some(alias) = name {
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
    }
}

/// The array of `unnest(array)`.
fn unnested(expr: &mut Expr) -> Option<&mut Expr> {
    let Expr::Function(function) = expr else { return None };
    if last_word(&function.name).as_deref() != Some("unnest") {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(array),
        _ => None,
    }
}

/// True when every item is an expression, rows are neither grouped nor distinct.
fn is_plain(select: &mut Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let plain = !grouped && select.distinct.is_none() && select.having.is_none() && !select.from.is_empty();
    plain && select.projection.iter_mut().all(|item| expression(item).is_some())
}

/// True when an alias is the name of a column that its expression, or another one, reads.
fn takes_a_name(select: &Select) -> bool {
    let mut read = BTreeSet::new();
    let mut given = BTreeSet::new();
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
            SelectItem::UnnamedExpr(expr) => (expr, None),
            _ => return false,
        };
        let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        given.extend(alias.filter(|_| !is_column));
        let _ = ast::visit_expressions(expr, |part| {
            match part {
                Expr::Identifier(name) => read.extend([fold(name)]),
                Expr::CompoundIdentifier(parts) => read.extend(parts.last().map(fold)),
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
    }
    !given.is_disjoint(&read)
}
