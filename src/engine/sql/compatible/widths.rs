//! Subqueries with another number of columns than is wanted of them, where their text tells it.
//!
//! DataFusion 55 panics over a value without a column.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
    VisitorMut,
};

use crate::engine::sql::compatible::rows::fields;
use crate::engine::sql::words::{fold, last_word};
use crate::error::{Error, Subject};

/// Looks at all subqueries and changes nothing.
#[derive(Default)]
pub(super) struct Widths {
    /// What the WITH clauses around name, and how many columns that has.
    named: Vec<Named>,
    /// How many there were before each of the queries around.
    before: Vec<usize>,
}

type Named = (String, Option<usize>);

impl VisitorMut for Widths {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.before.push(self.named.len());
        name_tables(query, &mut self.named);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.named.truncate(self.before.pop().unwrap_or_default());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.wrong(expr).map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

impl Widths {
    /// What is wrong with the subquery of an expression.
    fn wrong(&self, expr: &Expr) -> Option<Error> {
        match expr {
            Expr::Subquery(value) => self.without_column(value),
            Expr::Function(Function { name, args: FunctionArguments::Subquery(array), .. })
                if last_word(name).as_deref() == Some("array") =>
            {
                self.without_column(array)
            }
            Expr::InSubquery { expr: row, subquery, .. } => self.unlike(row, subquery),
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => match right.as_ref() {
                Expr::Subquery(rows) => self.unlike(left, rows),
                _ => None,
            },
            _ => None,
        }
    }

    fn without_column(&self, query: &Query) -> Option<Error> {
        let has_none = width(query, &self.named)? == 0;
        has_none.then(|| {
            Error::input(Subject::Syntax, "subquery must return only one column")
                .with_hint("EXISTS (SELECT …) asks whether there are rows")
        })
    }

    fn unlike(&self, row: &Expr, query: &Query) -> Option<Error> {
        let wanted = fields(row).map_or(1, |fields| fields.len());
        let amount = match width(query, &self.named)?.cmp(&wanted) {
            Ordering::Less => "few",
            Ordering::Equal => return None,
            Ordering::Greater => "many",
        };
        let error = Error::input(Subject::Syntax, format!("subquery has too {amount} columns"));
        Some(error.with_hint(
            "a value is compared with one column, a row with many: (a, b) IN (SELECT x, y FROM …)",
        ))
    }
}

/// The number of columns of a query among these tables; `None` where it is a matter of tables that are stored.
fn width(query: &Query, around: &[Named]) -> Option<usize> {
    let mut own;
    let named = match &query.with {
        None => around,
        Some(_) => {
            own = around.to_vec();
            name_tables(query, &mut own);
            own.as_slice()
        }
    };
    let mut body = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    match body {
        SetExpr::Select(select) => select.projection.iter().map(|item| of_item(item, select, named)).sum(),
        SetExpr::Query(query) => width(query, named),
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

fn name_tables(query: &Query, named: &mut Vec<Named>) {
    for table in query.with.iter().flat_map(|with| &with.cte_tables) {
        let width = width(&table.query, named);
        named.push((fold(&table.alias.name), width));
    }
}

fn of_item(item: &SelectItem, select: &Select, named: &[Named]) -> Option<usize> {
    match item {
        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => Some(1),
        SelectItem::Wildcard(_) if !select.from.is_empty() => {
            select.from.iter().map(|table| of_table(table, named)).sum()
        }
        _ => None,
    }
}

fn of_table(table: &TableWithJoins, named: &[Named]) -> Option<usize> {
    match &table.relation {
        _ if !table.joins.is_empty() => None,
        TableFactor::Derived { subquery, .. } => width(subquery, named),
        TableFactor::Table { name, args: None, .. } if name.0.len() == 1 => {
            let name = last_word(name)?;
            named.iter().rev().find(|(known, _)| *known == name)?.1
        }
        _ => None,
    }
}
