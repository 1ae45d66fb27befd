//! Rows that are looked for among those of a subquery: `(a, b) IN (SELECT x, y FROM t)`.
//!
//! DataFusion takes subqueries of one column alone here; EXISTS asks the same of their fields, and IN of one of them.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, SelectItem, SetExpr, TableAliasColumnDef, TableFactor,
    Value,
};

use crate::engine::sql::compatible::build::case;
use crate::engine::sql::compatible::rows::{comparison, fields};
use crate::engine::sql::compatible::subqueries::{is_computed, is_of_own_rows};
use crate::engine::sql::select;
use crate::error::{Error, Result};

/// The name of what is looked in, and of its columns before their number, which no query has.
const MEMBERS: &str = "members\u{1}";

/// In what WHERE or HAVING asks of a row, NULL is as good as false: one EXISTS tells.
pub(super) fn search_rows_in_condition(condition: &mut Expr) -> Result<()> {
    match condition {
        Expr::Nested(inner) => search_rows_in_condition(inner)?,
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            search_rows_in_condition(left)?;
            search_rows_in_condition(right)?;
        }
        Expr::InSubquery { expr: row, subquery, negated } => {
            let Some(search) = Search::of(row)? else { return Ok(()) };
            *condition = if *negated { search.excluded(subquery) } else { search.found(subquery) };
        }
        _ => {}
    }
    Ok(())
}

/// Elsewhere the answer is NULL where a row has NULL in the place of what would decide.
pub(super) fn search_rows(expr: &mut Expr) -> Result<()> {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return Ok(()) };
    let Some(search) = Search::of(row)? else { return Ok(()) };
    let truth = |value: bool| Expr::Value(Value::Boolean(value).with_empty_span());
    let found = CaseWhen { condition: search.found(subquery), result: truth(!*negated) };
    let excluded = CaseWhen { condition: search.excluded(subquery), result: truth(*negated) };
    *expr = case(vec![found, excluded]);
    Ok(())
}

/// What each row of a subquery is compared with.
struct Search {
    width: usize,
    /// The place and the value of a field that no subquery can ask for: an aggregate, a function of a window, or what the
    /// groups of the query may be made by.
    apart: Option<(usize, Expr)>,
    /// What the other fields are to be.
    equal: Expr,
}

impl Search {
    /// A row that is written out.
    fn of(row: &Expr) -> Result<Option<Self>> {
        let Some(mut values) = fields(row) else { return Ok(None) };
        if values.iter().filter(|value| is_of_own_rows(value)).count() > 1 {
            let message =
                "a row with two aggregates, or functions of a window, IN a subquery is not supported";
            return Err(Error::unsupported(message).with_hint("compute them in a subquery in FROM"));
        }
        let width = values.len();
        let mut places: Vec<usize> = (0..width).collect();
        let place = values.iter().position(is_of_own_rows).or_else(|| values.iter().position(is_computed));
        let apart = place.map(|place| (places.remove(place), values.remove(place)));
        let members = places.into_iter().map(member).collect();
        let equal = comparison(members, &BinaryOperator::Eq, values);
        Ok(equal.map(|equal| Self { width, apart, equal }))
    }

    /// True where a row of the subquery is the same.
    fn found(&self, rows: &Query) -> Expr {
        self.asked(rows, self.equal.clone(), false)
    }

    /// True where no row of the subquery is the same, nor could be if NULL were a value.
    fn excluded(&self, rows: &Query) -> Expr {
        self.asked(rows, Expr::IsNotFalse(Box::new(self.equal.clone())), true)
    }

    fn asked(&self, rows: &Query, condition: Expr, negated: bool) -> Expr {
        let columns = (0..self.width).map(|n| TableAliasColumnDef { name: column(n), data_type: None });
        let mut members = select::derived(rows.clone(), MEMBERS);
        if let TableFactor::Derived { alias: Some(alias), .. } = &mut members {
            alias.name = quoted(MEMBERS);
            alias.columns = columns.collect();
        }
        let mut subquery = Box::new(select::select_from(members, Some(condition)));
        let Some((place, value)) = &self.apart else { return Expr::Exists { subquery, negated } };
        if let SetExpr::Select(select) = subquery.body.as_mut() {
            select.projection = vec![SelectItem::UnnamedExpr(member(*place))];
        }
        Expr::InSubquery { expr: Box::new(value.clone()), subquery, negated }
    }
}

fn member(place: usize) -> Expr {
    Expr::CompoundIdentifier(vec![quoted(MEMBERS), column(place)])
}

fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

fn column(place: usize) -> Ident {
    quoted(format!("{MEMBERS}{}", place + 1))
}
