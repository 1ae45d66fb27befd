//! `row_to_json(t)`: a row of a subquery in FROM as JSON.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem,
    SetExpr, TableFactor, Value, visit_expressions_mut,
};

use crate::engine::sql::naming::{name_columns, output_name};
use crate::engine::sql::words::{fold, last_word};

/// Functions of a whole row.
const FUNCTIONS: [&str; 4] = ["row_to_json", "row_to_jsonb", "to_json", "to_jsonb"];

/// Writes the columns of a subquery out where a function is given its whole row.
///
/// `row_to_json(t) FROM (SELECT 1 AS a) AS t` becomes `json_build_object('a', t.a) FROM (SELECT 1 AS a) AS t`.
pub fn write_out_rows(select: &mut Select) {
    let mut relations: Vec<(String, Vec<Ident>)> = vec![];
    for table in &mut select.from {
        let joined = table.joins.iter_mut().map(|join| &mut join.relation);
        relations.extend(std::iter::once(&mut table.relation).chain(joined).filter_map(columns));
    }
    if relations.is_empty() {
        return;
    }
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let _ = visit_expressions_mut(expr, |expr| {
            if let Expr::Function(function) = expr {
                write_out(function, &relations);
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// The alias of a subquery and the names of its columns, when its text tells them all.
fn columns(factor: &mut TableFactor) -> Option<(String, Vec<Ident>)> {
    let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor else { return None };
    let SetExpr::Select(inner) = subquery.body.as_mut() else { return None };
    name_columns(inner, true);
    let own: Option<Vec<Ident>> = inner.projection.iter().map(output_name).collect();
    let given = alias.columns.iter().map(|column| column.name.clone());
    let names = given.chain(own?.into_iter().skip(alias.columns.len())).collect();
    Some((fold(&alias.name), names))
}

fn write_out(function: &mut Function, relations: &[(String, Vec<Ident>)]) {
    if !last_word(&function.name).is_some_and(|name| FUNCTIONS.contains(&name.as_str())) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(row)))) = list.args.first() else {
        return;
    };
    let Some((_, names)) = relations.iter().find(|(alias, _)| *alias == fold(row)) else { return };
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let pairs = names.iter().flat_map(|name| {
        let text = Expr::Value(Value::SingleQuotedString(fold(name)).with_empty_span());
        [argument(text), argument(Expr::CompoundIdentifier(vec![row.clone(), name.clone()]))]
    });
    list.args = pairs.collect();
    function.name = ast::ObjectName::from(vec![Ident::new("json_build_object")]);
}
