//! Aggregates of the outer query in a subquery: `SELECT (SELECT count(*) FROM u WHERE u.k = max(o.k)) FROM o`.
//!
//! DataFusion 55 takes them for aggregates of the subquery, which has rows of its own.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Select, VisitorMut};

use crate::engine::sql::compatible::build::each_outside_subqueries;
use crate::engine::sql::compatible::subqueries::{is_aggregate, is_plain, labels, tables_of};
use crate::error::Error;

/// The error for such an aggregate.
pub fn outer_aggregate(call: impl fmt::Display) -> Error {
    let message = format!("{call} is an aggregate of the outer query, which a subquery cannot have");
    Error::unsupported(message).with_hint(format!(
        "compute it before, and ask for it by its name: SELECT (SELECT … q.m …) FROM (SELECT {call} AS m FROM …) q"
    ))
}

/// Looks at all aggregates and changes nothing.
#[derive(Default)]
pub(super) struct OuterAggregates {
    /// What the columns of the queries around may be written after.
    around: Vec<Vec<String>>,
}

impl VisitorMut for OuterAggregates {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let own = labels(select);
        // Without tables, a subquery is what it selects, for the query around.
        let found = if select.from.is_empty() { None } else { self.first_outer(select, &own) };
        self.around.push(own);
        found.map_or(ControlFlow::Continue(()), |call| ControlFlow::Break(outer_aggregate(call)))
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.around.pop();
        ControlFlow::Continue(())
    }
}

impl OuterAggregates {
    /// The first aggregate of a query whose columns are all written after tables of queries around.
    fn first_outer(&self, select: &mut Select, own: &[String]) -> Option<Expr> {
        if self.around.is_empty() {
            return None;
        }
        let is_outer = |table: &String| !own.contains(table) && self.around.iter().any(|q| q.contains(table));
        let mut found = None;
        each_outside_subqueries(select, |call| {
            let is_window = matches!(call, Expr::Function(function) if function.over.is_some());
            let is_wanted = is_aggregate(call) && is_plain(call) && !is_window;
            let tables = if is_wanted { tables_of(call) } else { vec![] };
            if found.is_none() && !tables.is_empty() && tables.iter().all(is_outer) {
                found = Some(call.clone());
            }
        });
        found
    }
}
