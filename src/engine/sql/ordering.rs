//! ORDER BY by a column of a table whose name another output column takes.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    WildcardAdditionalOptions, visit_expressions,
};

use crate::engine::sql::naming::{name_columns, output_name};
use crate::engine::sql::select::{derived, query_of, select_from};
use crate::engine::sql::words::fold;

/// The name of the rows before they are sorted.
const ROWS: &str = "before_order";

/// Computes what is sorted by beside the output, where a column has the name of another one in the output: DataFusion
/// has both at once then, and cannot tell them apart.
///
/// `SELECT upper(t.d) AS d FROM t ORDER BY t.d` becomes
/// `SELECT d FROM (SELECT upper(t.d) AS d, t.d AS "order 1" FROM t) ORDER BY "order 1"`.
pub fn separate_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(OrderByKind::Expressions(order)) = query.order_by.as_mut().map(|order| &mut order.kind) else {
        return;
    };
    if select.distinct.is_some() || !order.iter().any(|o| is_hidden(&o.expr, select)) {
        return;
    }
    name_columns(select, false);
    let names: Vec<Ident> = select.projection.iter().filter_map(output_name).collect();
    let mut hidden = vec![];
    for (n, order) in order.iter_mut().enumerate() {
        if is_output(&order.expr, &names) {
            continue;
        }
        let alias = Ident::with_quote('"', format!("order {}", n + 1));
        let expr = std::mem::replace(&mut order.expr, Expr::Identifier(alias.clone()));
        hidden.push(SelectItem::ExprWithAlias { expr, alias });
    }
    let items = if names.len() == select.projection.len() {
        names.into_iter().map(|name| SelectItem::UnnamedExpr(Expr::Identifier(name))).collect()
    } else {
        vec![all_but(&hidden)]
    };
    select.projection.extend(hidden);
    let mut outer = select_from(derived(query_of(select.as_ref().clone()), ROWS), None);
    if let SetExpr::Select(select) = outer.body.as_mut() {
        select.projection = items;
    }
    query.body = outer.body;
}

/// True for a sort by a column whose name is the alias of something else in the output.
fn is_hidden(order: &Expr, select: &Select) -> bool {
    let takes = |parts: &[Ident]| {
        let name = parts.last().map(fold);
        select.projection.iter().any(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                Some(fold(alias)) == name && !matches!(expr, Expr::CompoundIdentifier(own) if own == parts)
            }
            _ => false,
        })
    };
    visit_expressions(order, |expr| match expr {
        Expr::CompoundIdentifier(parts) if takes(parts) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// True for a sort by the number or the name of an output column.
fn is_output(order: &Expr, names: &[Ident]) -> bool {
    match order {
        Expr::Identifier(name) => names.iter().any(|output| fold(output) == fold(name)),
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
    }
}

/// `* EXCLUDE (…)`.
fn all_but(hidden: &[SelectItem]) -> SelectItem {
    let names = hidden.iter().filter_map(output_name).map(|name| ast::ObjectName::from(vec![name])).collect();
    SelectItem::Wildcard(WildcardAdditionalOptions {
        opt_exclude: Some(ast::ExcludeSelectItem::Multiple(names)),
        ..WildcardAdditionalOptions::default()
    })
}

/// The rows before they were sorted, when a SELECT is made by [`separate_order`].
pub fn before_order(select: &mut Select) -> Option<&mut SetExpr> {
    let [TableWithJoins { relation: TableFactor::Derived { subquery, alias: Some(alias), .. }, .. }] =
        select.from.as_mut_slice()
    else {
        return None;
    };
    (alias.name.value == ROWS).then(|| subquery.body.as_mut())
}
