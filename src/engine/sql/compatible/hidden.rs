//! The hidden columns of tables: tableoid, xmin, ctid and their like.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, Query, Select, SelectItem, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::compatible::build::{call, taken};
use crate::engine::sql::words::{fold, last_word};

/// Columns that every table of PostgreSQL has, and what they are here.
const HIDDEN: [&str; 6] = ["tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"];

/// Replaces the hidden columns of the tables of a SELECT by what they are; what `withs` names has none.
pub(super) fn replace_hidden(select: &mut Select, withs: &[Vec<String>]) {
    let is_with = |name: &ObjectName| {
        name.0.len() == 1
            && last_word(name).is_some_and(|word| withs.iter().flatten().any(|with| *with == word))
    };
    let tables: Vec<(String, ObjectName)> =
        select.from.iter().flat_map(labelled).filter(|(_, name)| !is_with(name)).collect();
    struct Replace<'a> {
        tables: &'a [(String, ObjectName)],
        /// Subqueries around, which have tables of their own.
        depth: usize,
    }
    impl VisitorMut for Replace<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let (table, column) = match expr {
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [table, column] => (Some(fold(table)), fold(column)),
                    _ => return ControlFlow::Continue(()),
                },
                Expr::Identifier(column) => (None, fold(column)),
                _ => return ControlFlow::Continue(()),
            };
            if !HIDDEN.contains(&column.as_str()) || table.is_none() && self.depth > 0 {
                return ControlFlow::Continue(());
            }
            let found =
                self.tables.iter().find(|(label, _)| table.as_ref().is_none_or(|table| table == label));
            if let Some((_, name)) = found {
                *expr = hidden(&column, name);
            }
            ControlFlow::Continue(())
        }
    }
    if tables.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(column) = hidden_column(expr)
        {
            *item = SelectItem::ExprWithAlias { expr: taken(expr), alias: column };
        }
    }
    let _ = VisitMut::visit(select, &mut Replace { tables: &tables, depth: 0 });
}

/// The name of a hidden column, when an expression is one.
fn hidden_column(expr: &Expr) -> Option<Ident> {
    let column = match expr {
        Expr::Identifier(column) => column,
        Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    HIDDEN.contains(&fold(column).as_str()).then(|| column.clone())
}

fn hidden(column: &str, table: &ObjectName) -> Expr {
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).with_empty_span());
    match column {
        "tableoid" => call("regclass", vec![text(table.to_string())]),
        "ctid" => text("(0,1)".to_owned()),
        _ => call("xid", vec![Expr::Value(Value::Number("1".to_owned(), false).with_empty_span())]),
    }
}

fn labelled(table: &ast::TableWithJoins) -> Vec<(String, ObjectName)> {
    let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
    let named = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let label = match alias {
                Some(alias) => fold(&alias.name),
                None => last_word(name)?,
            };
            Some((label, name.clone()))
        }
        _ => None,
    });
    named.collect()
}
