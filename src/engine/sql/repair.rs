//! Rewrites of right SQL that DataFusion 55 would refuse.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, FromTable, Ident, Query, Select, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::compatible::make_compatible;
use crate::engine::sql::naming::name_columns;
use crate::engine::sql::ordering::separate_order;
use crate::engine::sql::unnest::separate_unnest;
use crate::engine::sql::whole_row::write_out_rows;
use crate::engine::sql::words::fold;
use crate::error::Result;

/// Rewrites the statement, or the query, and everything in it.
pub fn repair(node: &mut impl VisitMut) -> Result<()> {
    // Names of columns come before: they are those of what was written.
    let _ = node.visit(&mut Repairs { is_query: false, depth: 0 });
    make_compatible(node)
}

struct Repairs {
    /// The statement gives rows to whoever asks.
    is_query: bool,
    /// Queries around what is visited.
    depth: usize,
}

impl VisitorMut for Repairs {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &mut ast::Statement) -> ControlFlow<()> {
        self.is_query = matches!(statement, ast::Statement::Query(_));
        if let ast::Statement::Delete(delete) = statement {
            resolve_alias(delete);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        limit_by_fetch(query);
        separate_order(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_columns(select, self.depth > 1 || !self.is_query);
        write_out_rows(select);
        separate_unnest(select);
        ControlFlow::Continue(())
    }
}

/// FETCH FIRST n ROWS ONLY is LIMIT n; DataFusion has no PERCENT.
fn limit_by_fetch(query: &mut Query) {
    if !query.fetch.as_ref().is_some_and(|fetch| !fetch.with_ties && !fetch.percent) {
        return;
    }
    let nothing = ast::LimitClause::LimitOffset { limit: None, offset: None, limit_by: vec![] };
    if let ast::LimitClause::LimitOffset { limit: limit @ None, .. } =
        query.limit_clause.get_or_insert(nothing)
        && let Some(fetch) = query.fetch.take()
    {
        let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
        *limit = Some(fetch.quantity.unwrap_or_else(one));
    }
}

/// Writes the table's own name where DELETE has an alias for it.
fn resolve_alias(delete: &mut ast::Delete) {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &mut delete.from;
    let [table] = tables.as_mut_slice() else { return };
    let TableFactor::Table { name, alias, .. } = &mut table.relation else { return };
    let Some(table) = name.0.last().and_then(|part| part.as_ident()).cloned() else { return };
    let (Some(alias), Some(condition)) = (alias.take(), &mut delete.selection) else { return };
    let _ = ast::visit_expressions_mut(condition, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() == 2
            && fold(&parts[0]) == fold(&alias.name)
        {
            parts[0] = Ident { span: parts[0].span, ..table.clone() };
        }
        ControlFlow::<()>::Continue(())
    });
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn repaired(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        repair(&mut statement).unwrap();
        statement.to_string()
    }

    #[test]
    fn fetch_is_a_limit() {
        for (sql, expected) in [
            ("SELECT a FROM t FETCH FIRST ROW ONLY", "SELECT a FROM t LIMIT 1"),
            ("SELECT a FROM t OFFSET 2 ROWS FETCH NEXT 3 ROWS ONLY", "SELECT a FROM t LIMIT 3 OFFSET 2 ROWS"),
        ] {
            assert_eq!(repaired(sql), expected);
        }
    }

    #[test]
    fn the_alias_in_delete_becomes_the_table() {
        assert_eq!(
            repaired("DELETE FROM stock AS s WHERE S.item = 'A' OR n = 1"),
            "DELETE FROM stock WHERE stock.item = 'A' OR n = 1"
        );
    }
}
