//! `FETCH FIRST n ROWS WITH TIES`: also the rows that are sorted as the last of the n is, which are those of its rank.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
    WindowSpec, WindowType,
};

use crate::engine::sql::compatible::build::call;
use crate::engine::sql::words::fold;

/// Keeps the rows by their rank in the order of the query; OFFSET then leaves out the first of them.
pub(super) fn keep_ties(query: &mut Query) {
    let Some(fetch) = query.fetch.as_ref().filter(|fetch| fetch.with_ties && !fetch.percent) else { return };
    let skipped = match &query.limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) if limit_by.is_empty() => {
            offset.as_ref().map(|offset| offset.value.clone())
        }
        _ => return,
    };
    let Some(OrderByKind::Expressions(order)) = query.order_by.as_ref().map(|order| &order.kind) else {
        return;
    };
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if select.distinct.is_some() || select.qualify.is_some() {
        return;
    }
    let Some(keys) = order.iter().map(|key| key_of_rows(key, select)).collect::<Option<Vec<_>>>() else {
        return;
    };
    let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    let mut last = Expr::Nested(Box::new(fetch.quantity.clone().unwrap_or_else(one)));
    if let Some(skipped) = skipped {
        last = binary(last, BinaryOperator::Plus, Expr::Nested(Box::new(skipped)));
    }
    select.qualify = Some(binary(rank(keys), BinaryOperator::LtEq, last));
    query.fetch = None;
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn rank(order_by: Vec<OrderByExpr>) -> Expr {
    let mut rank = call("rank", vec![]);
    if let Expr::Function(function) = &mut rank {
        let window = WindowSpec { window_name: None, partition_by: vec![], order_by, window_frame: None };
        function.over = Some(WindowType::WindowSpec(window));
    }
    rank
}

/// The key as one of the rows that the columns of the output are computed from.
fn key_of_rows(key: &OrderByExpr, select: &Select) -> Option<OrderByExpr> {
    let aliased = |name: &str| {
        select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr.clone()),
            _ => None,
        })
    };
    let expr = match &key.expr {
        Expr::Identifier(name) => aliased(&fold(name)).unwrap_or_else(|| key.expr.clone()),
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => {
                match select.projection.get(place.parse::<usize>().ok()?.checked_sub(1)?)? {
                    SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                    _ => return None,
                }
            }
            _ => return None,
        },
        expr => expr.clone(),
    };
    Some(OrderByExpr { expr, ..key.clone() })
}
