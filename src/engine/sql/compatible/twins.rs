//! Aggregates, windows and keys of GROUP BY that differ by a cast alone: `min(day), min(day::text)`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, OrderBy, Query, Select, SelectItem,
    SetExpr, Value, visit_expressions_mut,
};

use crate::engine::sql::compatible::build::{call, each_outside_subqueries, taken};
use crate::engine::sql::words::{fold, last_word};

/// The function of a value under a name that tells its type.
const TOLD_APART: &str = "told_apart";

/// As [`tell_casts_apart`], in a query's ORDER BY as well.
pub(super) fn tell_casts_apart_in_query(query: &mut Query) {
    let Query { body, order_by, .. } = query;
    if let SetExpr::Select(select) = body.as_mut() {
        tell_apart(select, order_by);
    }
}

/// Gives casts names of their own where two columns would have one: DataFusion leaves casts out of the names by which it
/// knows aggregates, windows and keys.
///
/// `SELECT min(day), min(day::text)` becomes `SELECT min(day), min(told_apart(day::text, 'TEXT'))`.
pub(super) fn tell_casts_apart(select: &mut Select) {
    tell_apart(select, &mut None);
}

fn tell_apart(select: &mut Select, order: &mut Option<OrderBy>) {
    // Neither makes names.
    let (from, condition) = (std::mem::take(&mut select.from), select.selection.take());
    let mut casts = false;
    each(select, order, |expr| casts |= matches!(expr, Expr::Cast { .. }));
    if casts && has_twins(select, order) {
        each(select, order, put_into_call);
    }
    (select.from, select.selection) = (from, condition);
}

fn each(select: &mut Select, order: &mut Option<OrderBy>, mut work: impl FnMut(&mut Expr)) {
    each_outside_subqueries(select, &mut work);
    each_outside_subqueries(order, &mut work);
}

/// True where two functions or keys that are written otherwise have one name.
fn has_twins(select: &mut Select, order: &mut Option<OrderBy>) -> bool {
    let mut written: HashMap<String, String> = HashMap::new();
    let mut is_twin = |expr: &Expr| {
        let text = unqualified(expr);
        let name = lower(&without_casts(text.clone()));
        let text = lower(&text);
        *written.entry(name).or_insert_with(|| text.clone()) != text
    };
    let mut found = false;
    keys(select).iter().for_each(|key| found |= is_twin(key));
    each(select, order, |expr| {
        if matches!(expr, Expr::Function(_)) {
            found |= is_twin(&*expr);
        }
    });
    found
}

/// The keys of GROUP BY, those of output columns written out.
fn keys(select: &Select) -> Vec<Expr> {
    let GroupByExpr::Expressions(written, _) = &select.group_by else { return vec![] };
    let mut keys = vec![];
    for key in written {
        match key {
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                keys.extend(sets.iter().flatten().cloned());
            }
            key => keys.push(key.clone()),
        }
    }
    let outputs: Vec<Expr> = keys.iter().filter_map(|key| output(key, select)).cloned().collect();
    keys.extend(outputs);
    keys
}

/// The output column that a key names or counts.
fn output<'a>(key: &Expr, select: &'a Select) -> Option<&'a Expr> {
    match key {
        Expr::Value(value) => {
            let Value::Number(digits, _) = &value.value else { return None };
            match select.projection.get(digits.parse::<usize>().ok()?.checked_sub(1)?)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            }
        }
        Expr::Identifier(name) => select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => Some(expr),
            _ => None,
        }),
        _ => None,
    }
}

fn lower(expr: &Expr) -> String {
    expr.to_string().to_lowercase()
}

/// The expression without the tables of its columns.
fn unqualified(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    let _ = visit_expressions_mut(&mut expr, |part| {
        if let Expr::CompoundIdentifier(parts) = part
            && let Some(column) = parts.pop()
        {
            *part = Expr::Identifier(column);
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

fn without_casts(mut expr: Expr) -> Expr {
    let _ = visit_expressions_mut(&mut expr, |part| {
        while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = part {
            *part = taken(inner);
        }
        ControlFlow::<()>::Continue(())
    });
    expr
}

/// One call around all casts of a value, `x::int::text`; what is written out keeps its cast as it is.
fn put_into_call(expr: &mut Expr) {
    let Expr::Cast { expr: value, data_type, .. } = expr else { return };
    if matches!(value.as_ref(), Expr::Value(written) if written.value != Value::Null) {
        return;
    }
    let mut types = data_type.to_string();
    if let Some((inner, earlier)) = parts(value) {
        types = format!("{earlier}::{types}");
        **value = inner;
    }
    let types = Expr::Value(Value::SingleQuotedString(types).with_empty_span());
    *expr = call(TOLD_APART, vec![taken(expr), types]);
}

/// The value and the types of such a call.
fn parts(expr: &mut Expr) -> Option<(Expr, String)> {
    let Expr::Function(function) = expr else { return None };
    if last_word(&function.name).as_deref() != Some(TOLD_APART) {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(types))),
    ] = list.args.as_mut_slice()
    else {
        return None;
    };
    let types = types.value.clone().into_string()?;
    Some((taken(value), types))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use crate::engine::sql::compatible::make_compatible;

    #[test]
    fn casts_that_alone_differ_are_told_apart() {
        for (sql, expected) in [
            (
                "SELECT min(day), min(t.day::text) FROM t",
                "SELECT min(day), min(told_apart(t.day::TEXT, 'TEXT')) FROM t",
            ),
            (
                "SELECT day, day::int::text AS d FROM t WHERE x::int = 1 GROUP BY 1, 2 ORDER BY day::int::text",
                "SELECT day, told_apart(day::INT::TEXT, 'INT::TEXT') AS d FROM t WHERE x::INT = 1 GROUP BY 1, 2 \
                 ORDER BY told_apart(day::INT::TEXT, 'INT::TEXT')",
            ),
            (
                "SELECT max(NULL::timestamp), max(NULL::text)",
                "SELECT max(told_apart(NULL::TIMESTAMP, 'TIMESTAMP')), max(told_apart(NULL::TEXT, 'TEXT'))",
            ),
            ("SELECT min(day::text), max(day) FROM t", "SELECT min(day::TEXT), max(day) FROM t"),
            ("SELECT day::text, day FROM t", "SELECT day::TEXT, day FROM t"),
            ("SELECT max('b'), max('b'::text) FROM t", "SELECT max('b'), max('b'::TEXT) FROM t"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            make_compatible(&mut statement).unwrap();
            assert_eq!(statement.to_string(), expected);
        }
    }
}
