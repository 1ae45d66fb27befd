//! Rows that are looked for among those of a subquery: `(a, b) IN (SELECT x, y FROM t)`.
//!
//! DataFusion takes subqueries of one column alone here; EXISTS asks the same of their fields.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, TableAliasColumnDef, TableFactor, Value,
};

use crate::engine::sql::compatible::build::case;
use crate::engine::sql::compatible::rows::{comparison, fields};
use crate::engine::sql::select;

/// The name of what is looked in, and of its columns before their number, which no query has.
const MEMBERS: &str = "members\u{1}";

/// In what WHERE or HAVING asks of a row, NULL is as good as false: one EXISTS tells.
pub(super) fn search_rows_in_condition(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => search_rows_in_condition(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            search_rows_in_condition(left);
            search_rows_in_condition(right);
        }
        Expr::InSubquery { expr: row, subquery, negated } => {
            let Some(search) = Search::of(row) else { return };
            *condition = if *negated { search.excluded(subquery) } else { search.found(subquery) };
        }
        _ => {}
    }
}

/// Elsewhere the answer is NULL where a row has NULL in the place of what would decide.
pub(super) fn search_rows(expr: &mut Expr) {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return };
    let Some(search) = Search::of(row) else { return };
    let truth = |value: bool| Expr::Value(Value::Boolean(value).with_empty_span());
    let found = CaseWhen { condition: search.found(subquery), result: truth(!*negated) };
    let excluded = CaseWhen { condition: search.excluded(subquery), result: truth(*negated) };
    *expr = case(vec![found, excluded]);
}

/// What each row of a subquery is compared with.
struct Search {
    width: usize,
    equal: Expr,
}

impl Search {
    /// A row that is written out.
    fn of(row: &Expr) -> Option<Self> {
        let fields = fields(row)?;
        let width = fields.len();
        let members = (0..width).map(|n| Expr::CompoundIdentifier(vec![quoted(MEMBERS), column(n)]));
        let equal = comparison(members.collect(), &BinaryOperator::Eq, fields)?;
        Some(Self { width, equal })
    }

    /// True where a row of the subquery is the same.
    fn found(&self, rows: &Query) -> Expr {
        self.exists(rows, self.equal.clone(), false)
    }

    /// True where no row of the subquery is the same, nor could be if NULL were a value.
    fn excluded(&self, rows: &Query) -> Expr {
        self.exists(rows, Expr::IsNotFalse(Box::new(self.equal.clone())), true)
    }

    fn exists(&self, rows: &Query, condition: Expr, negated: bool) -> Expr {
        let columns = (0..self.width).map(|n| TableAliasColumnDef { name: column(n), data_type: None });
        let mut members = select::derived(rows.clone(), MEMBERS);
        if let TableFactor::Derived { alias: Some(alias), .. } = &mut members {
            alias.name = quoted(MEMBERS);
            alias.columns = columns.collect();
        }
        Expr::Exists { subquery: Box::new(select::select_from(members, Some(condition))), negated }
    }
}

fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

fn column(place: usize) -> Ident {
    quoted(format!("{MEMBERS}{}", place + 1))
}
