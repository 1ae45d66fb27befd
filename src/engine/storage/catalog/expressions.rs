//! SQL text of CHECK conditions: which columns it names, and the text after a column is renamed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, visit_expressions_mut};
use datafusion::sql::sqlparser::parser::Parser;

use crate::engine::dialect::PlainDialect;
use crate::error::{Error, Result, Subject};

/// True when the condition `sql` names the column `column`.
pub fn mentions(sql: &str, column: &str) -> Result<bool> {
    let mut found = false;
    visit_columns(&mut parse(sql)?, |name| found |= names(name, column));
    Ok(found)
}

/// The condition `sql` with the column `from` called `to`.
pub fn rename_column(sql: &str, from: &str, to: &str) -> Result<String> {
    let mut expr = parse(sql)?;
    visit_columns(&mut expr, |name| {
        if names(name, from) {
            *name = if is_plain(to) { Ident::new(to) } else { Ident::with_quote('"', to) };
        }
    });
    Ok(expr.to_string())
}

fn parse(sql: &str) -> Result<Expr> {
    let parsed = Parser::new(&PlainDialect::of(sql)).try_with_sql(sql).and_then(|mut p| p.parse_expr());
    parsed.map_err(|e| Error::input(Subject::Syntax, format!("condition {sql}: {e}")))
}

fn visit_columns(expr: &mut Expr, mut visit: impl FnMut(&mut Ident)) {
    let _: ControlFlow<()> = visit_expressions_mut(expr, |node| {
        match node {
            Expr::Identifier(name) => visit(name),
            Expr::CompoundIdentifier(parts) => parts.last_mut().into_iter().for_each(&mut visit),
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// Unquoted names are folded to lower case, as the planner does.
fn names(name: &Ident, column: &str) -> bool {
    if name.quote_style.is_some() { name.value == column } else { name.value.to_lowercase() == column }
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_column_of_that_name_is_renamed() {
        let renamed = rename_column("Qty >= 0 AND \"Qty\" < 9 AND t.qty <> 5", "qty", "Units Sold").unwrap();
        assert_eq!(renamed, "\"Units Sold\" >= 0 AND \"Qty\" < 9 AND t.\"Units Sold\" <> 5");
        assert!(mentions("abs(price) > 1", "price").unwrap());
        assert!(!mentions("abs(price) > 1", "abs").unwrap());
    }
}
