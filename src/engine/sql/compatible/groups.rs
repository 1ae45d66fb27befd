//! `GROUP BY ()`: one group of all rows.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, GroupByExpr, Select};

use crate::engine::sql::compatible::build::{call, number};

/// Takes `()` out of GROUP BY: beside other keys it changes nothing, and alone it makes one group, as a condition does
/// that counts its rows and always holds.
pub(super) fn drop_empty_groups(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
    let written = groups.len();
    groups.retain(|group| !matches!(group, Expr::Tuple(fields) if fields.is_empty()));
    if groups.is_empty() && written > 0 && select.having.is_none() {
        let (left, right) = (Box::new(call("count", vec![number("1")])), Box::new(number("0")));
        select.having = Some(Expr::BinaryOp { left, op: BinaryOperator::GtEq, right });
    }
}
