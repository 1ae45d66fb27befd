//! A repair of correlated subqueries over an aggregate without groups, and of LIMIT and OFFSET in EXISTS.
//!
//! DataFusion 55 joins the groups of such an aggregate, among which that of no rows is missing, and lets EXISTS go on
//! without its LIMIT and OFFSET. What one row says is asked as a value, and whether there are many rows by their number.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Aggregate, Case, Expr, FetchType, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    SkipType, Sort, Subquery, binary_expr, exists, is_true, lit, not, scalar_subquery,
};

use crate::engine::plan::above_totals::gives_a_total;
use crate::engine::plan::subqueries::{is_nested, with_subqueries};

/// What a subquery is asked for.
const ASKED: &str = "asked";

/// The plan with such subqueries as comparisons with a value.
pub fn with_single_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    with_subqueries(plan, as_value)
}

fn as_value(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match said(&expr)? {
        Some(said) => Transformed::yes(said),
        None => Transformed::no(expr),
    })
}

/// What an expression says, where it is a subquery that DataFusion takes for another.
fn said(expr: &Expr) -> Result<Option<Expr>> {
    let correlated = |subquery: &Subquery| !subquery.outer_ref_columns.is_empty();
    Ok(match expr {
        Expr::Exists(Exists { subquery, negated }) if correlated(subquery) => {
            has_rows(&subquery.subquery)?.map(|has_rows| negated_if(*negated, has_rows))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if correlated(subquery) => {
            let is_any = |row: SingleRow| row.compared(expr, Operator::Eq, SetQuantifier::Any);
            compared_row(subquery)?.map(|row| negated_if(*negated, is_any(row)))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) if correlated(subquery) => {
            compared_row(subquery)?.map(|row| row.compared(expr, *op, *quantifier))
        }
        Expr::ScalarSubquery(subquery) if correlated(subquery) => {
            single_row(&subquery.subquery)?.map(|row| row.value).filter(|value| value != expr)
        }
        _ => None,
    })
}

fn negated_if(negated: bool, condition: Expr) -> Expr {
    if negated { not(condition) } else { condition }
}

/// The condition that a query has rows, where EXISTS would say something else.
fn has_rows(plan: &LogicalPlan) -> Result<Option<Expr>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.len() < 2 && gives_a_total(aggregate) => {
            Ok(Some(lit(true)))
        }
        LogicalPlan::Filter(filter) if is_one_row(&filter.input) => passes(filter).map(Some),
        LogicalPlan::Limit(limit) => has_more_rows(limit).map(Some),
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(Sort { fetch: None, .. }) => has_rows(plan.inputs()[0]),
        _ => Ok(None),
    }
}

/// The condition that the only row passes a filter.
fn passes(filter: &Filter) -> Result<Expr> {
    let plan = LogicalPlanBuilder::from(Arc::clone(&filter.input))
        .project([filter.predicate.clone().alias(ASKED)])?
        .build()?;
    Ok(is_true(scalar_subquery(plan.into())))
}

/// The condition that LIMIT and OFFSET leave rows.
fn has_more_rows(limit: &Limit) -> Result<Expr> {
    let or = |count: &Option<Box<Expr>>, default: i64| match count {
        Some(count) => coalesce(vec![count.as_ref().clone(), lit(default)]),
        None => lit(default),
    };
    let input = unsorted(&limit.input);
    let rows = match limit.get_skip_type()? {
        SkipType::Literal(0) => has_rows(input)?.unwrap_or_else(|| exists(Arc::clone(input))),
        _ => number_of_rows(input)?.gt(or(&limit.skip, 0)),
    };
    Ok(match limit.get_fetch_type()? {
        FetchType::Literal(Some(0)) => lit(false),
        FetchType::Literal(_) => rows,
        FetchType::UnsupportedExpr => rows.and(or(&limit.fetch, 1).gt(lit(0_i64))),
    })
}

fn unsorted(plan: &Arc<LogicalPlan>) -> &Arc<LogicalPlan> {
    match plan.as_ref() {
        LogicalPlan::Sort(Sort { input, fetch: None, .. }) => unsorted(input),
        _ => plan,
    }
}

fn number_of_rows(rows: &Arc<LogicalPlan>) -> Result<Expr> {
    let number = count(lit(1_i64));
    let name = number.schema_name().to_string();
    let plan = LogicalPlanBuilder::from(Arc::clone(rows))
        .aggregate(Vec::<Expr>::new(), [number])?
        .project([Expr::Column(Column::from_name(name)).alias(ASKED)])?
        .build()?;
    Ok(scalar_subquery(plan.into()))
}

/// A query that gives one row, or none.
struct SingleRow {
    /// The value of the row, NULL without it.
    value: Expr,
    /// The condition that there is the row, unless it is always there.
    is_there: Option<Expr>,
}

impl SingleRow {
    /// The comparison of an expression with any or all rows.
    fn compared(self, expr: &Expr, op: Operator, quantifier: SetQuantifier) -> Expr {
        let compared = binary_expr(expr.clone(), op, self.value);
        match (self.is_there, quantifier) {
            (None, _) => compared,
            (Some(is_there), SetQuantifier::Any) => is_there.and(compared),
            (Some(is_there), SetQuantifier::All) => not(is_there).or(compared),
        }
    }
}

/// The row of a query that a value is compared with, where asking for it asks nothing twice that is nested itself.
fn compared_row(subquery: &Subquery) -> Result<Option<SingleRow>> {
    match single_row(&subquery.subquery)? {
        Some(row) if row.is_there.is_some() && is_nested(subquery)? => Ok(None),
        row => Ok(row),
    }
}

/// The query as one that gives one row at most, where it is one.
fn single_row(plan: &LogicalPlan) -> Result<Option<SingleRow>> {
    match plan {
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Filter(filter) if is_one_row(&filter.input) => filtered_row(projection, filter),
            _ => Ok(plain_row(plan)),
        },
        LogicalPlan::Aggregate(_) => Ok(plain_row(plan)),
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(0), FetchType::Literal(fetch)) if fetch != Some(0) => single_row(&limit.input),
            _ => Ok(None),
        },
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(Sort { fetch: None, .. }) => single_row(plan.inputs()[0]),
        _ => Ok(None),
    }
}

fn plain_row(plan: &LogicalPlan) -> Option<SingleRow> {
    let row = || SingleRow { value: scalar_subquery(Arc::new(plan.clone())), is_there: None };
    is_one_row(plan).then(row)
}

/// The row of an aggregate that HAVING is asked about: the value is computed where it is kept alone.
fn filtered_row(projection: &Projection, filter: &Filter) -> Result<Option<SingleRow>> {
    let [value] = projection.expr.as_slice() else { return Ok(None) };
    let kept = (Box::new(filter.predicate.clone()), Box::new(value.clone().unalias()));
    let value = Expr::Case(Case::new(None, vec![kept], None)).alias(ASKED);
    let plan = LogicalPlanBuilder::from(Arc::clone(&filter.input)).project([value])?.build()?;
    Ok(Some(SingleRow { value: scalar_subquery(plan.into()), is_there: Some(passes(filter)?) }))
}

/// True for a query that always gives one row.
pub fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => group_expr.is_empty(),
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(Sort { fetch: None, .. }) => is_one_row(plan.inputs()[0]),
        _ => false,
    }
}
