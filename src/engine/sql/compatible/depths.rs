//! How deep queries may be nested in expressions and in WITH, and aggregates in each other, which is not at all: DataFusion
//! looks through what is within twice as often with every level. Sets of keys are for GROUP BY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Query, Select, VisitorMut,
};

use crate::engine::sql::compatible::subqueries::is_aggregate;
use crate::engine::sql::grouping::{MISPLACED, is_sets};
use crate::engine::sql::guard::too_complex;
use crate::error::{Error, Subject};

/// Deepest nesting of queries in expressions, and of WITH in WITH.
const DEPTH_MAX: usize = 16;

/// The queries around what is visited, and the aggregates of each.
#[derive(Default)]
pub(super) struct Depths {
    in_expressions: usize,
    in_with: usize,
    aggregates: Vec<usize>,
    /// Sets of keys that each SELECT has in its GROUP BY.
    sets: Vec<usize>,
}

impl Depths {
    fn aggregates(&mut self) -> &mut usize {
        if self.aggregates.is_empty() {
            self.aggregates.push(0);
        }
        let last = self.aggregates.len() - 1;
        &mut self.aggregates[last]
    }
}

impl VisitorMut for Depths {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.aggregates.push(0);
        self.in_with += usize::from(query.with.is_some());
        within(self.in_with, "WITH may be")
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.aggregates.pop();
        self.in_with -= usize::from(query.with.is_some());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.sets.push(match &select.group_by {
            GroupByExpr::Expressions(keys, _) => keys.iter().filter(|key| is_sets(key)).count(),
            GroupByExpr::All(_) => 0,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Error> {
        self.sets.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if is_sets(expr) {
            match self.sets.last_mut().filter(|sets| **sets > 0) {
                Some(sets) => *sets -= 1,
                None => return ControlFlow::Break(Error::input(Subject::Statement, MISPLACED)),
            }
        }
        if is_over_rows(expr) {
            *self.aggregates() += 1;
            if *self.aggregates() > 1 {
                let message = "aggregate function calls cannot be nested";
                return ControlFlow::Break(Error::input(Subject::Statement, message));
            }
        }
        self.in_expressions += usize::from(has_query(expr));
        within(self.in_expressions, "subqueries may be")
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.in_expressions -= usize::from(has_query(expr));
        *self.aggregates() -= usize::from(is_over_rows(expr));
        ControlFlow::Continue(())
    }
}

fn within(depth: usize, what: &str) -> ControlFlow<Error> {
    if depth <= DEPTH_MAX {
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(too_complex(format!(
        "statement nests too deep: {what} {DEPTH_MAX} deep in each other"
    )))
}

/// True for an aggregate over the rows of its query, or of its groups.
fn is_over_rows(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if function.over.is_none()) && is_aggregate(expr)
}

/// True for an expression that is a query, or looks into one.
fn has_query(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
        Expr::Function(Function { args, .. }) => matches!(args, FunctionArguments::Subquery(_)),
        _ => false,
    }
}
