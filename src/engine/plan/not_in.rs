//! A repair of `x IN (SELECT …)` and `x NOT IN (SELECT …)` that refer to the outer query.
//!
//! DataFusion 55 looks for NULL among all rows of the subquery, not among those that belong to the outer row, and
//! then gives no rows at all; within an expression it says false where the answer is NULL. EXISTS says what is meant.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue, Spans};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::logical_expr::expr::{BinaryExpr, Exists, InSubquery, SetQuantifier};
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, not, when,
};

use crate::engine::plan::subqueries::is_nested;

/// The value of a row of the subquery.
const VALUE: &str = "value of the row";
/// Whether a row decides a comparison, and whether one is not known.
const FOUND: [&str; 2] = ["is decided", "is unsure"];

/// The plan with such conditions written as EXISTS.
pub fn with_exists(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => in_filter(filter),
        plan => Ok(Transformed::no(plan)),
    })
    .data()
}

fn in_filter(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    if !filter.predicate.exists(|part| Ok(is_correlated(part)))? {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let predicate = written(filter.predicate, filter.input.schema(), Place::Condition)?;
    Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
}

fn is_correlated(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery(contained) if !contained.subquery.outer_ref_columns.is_empty())
}

/// What is made of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is a condition that a row is to meet.
    Condition,
    /// It is a part of such a condition: NULL is as good as false.
    Part,
    /// Anything.
    Value,
}

fn written(expr: Expr, schema: &DFSchema, place: Place) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let place = match (place, op) {
                (Place::Condition, Operator::Or) => Place::Part,
                (place, _) => place,
            };
            let (left, right) = (written(*left, schema, place)?, written(*right, schema, place)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Not(inner) if is_correlated(&inner) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                written(Expr::InSubquery(InSubquery { expr, subquery, negated: !negated }), schema, place)
            }
            inner => Ok(not(inner)),
        },
        Expr::InSubquery(contained) if !contained.subquery.outer_ref_columns.is_empty() => {
            answered(contained, schema, place)
        }
        expr => expr.map_children(|part| Ok(Transformed::yes(written(part, schema, Place::Value)?))).data(),
    }
}

fn answered(contained: InSubquery, schema: &DFSchema, place: Place) -> Result<Expr> {
    let is_equal = |inner: Expr, value: Expr| inner.eq(value);
    let is_unknown = |inner: Expr, value: Expr| inner.is_null().or(value.is_null());
    match (place, contained.negated) {
        (Place::Condition, false) => Ok(Expr::InSubquery(contained)),
        (Place::Part, false) => exists(&contained, schema, is_equal),
        // No row has the value, or NULL, and none is there when the value is NULL.
        (Place::Condition | Place::Part, true) => {
            let may_be = |inner: Expr, value: Expr| {
                is_equal(inner.clone(), value.clone()).or(is_unknown(inner, value))
            };
            Ok(not(exists(&contained, schema, may_be)?))
        }
        (Place::Value, negated) if is_nested(&contained.subquery)? => {
            let answer = compared(&contained, schema, Operator::Eq, SetQuantifier::Any)?;
            Ok(if negated { not(answer) } else { answer })
        }
        (Place::Value, negated) => {
            let unknown = exists(&contained, schema, is_unknown)?.and(lit(ScalarValue::Boolean(None)));
            let answer = exists(&contained, schema, is_equal)?.or(unknown);
            Ok(if negated { not(answer) } else { answer })
        }
    }
}

/// The condition that the subquery has a row that meets a condition on its value and the wanted one.
pub fn exists(
    contained: &InSubquery,
    schema: &DFSchema,
    condition: impl FnOnce(Expr, Expr) -> Expr,
) -> Result<Expr> {
    let Compared { rows, inner, value, outer } = Compared::of(contained, schema)?;
    let plan = rows.filter(condition(inner, value))?.build()?;
    let subquery = Subquery { subquery: plan.into(), outer_ref_columns: outer, spans: Spans::new() };
    Ok(Expr::Exists(Exists { subquery, negated: false }))
}

/// Whether any or all rows of the subquery meet a comparison, as one value, which is NULL where that is not known.
pub fn compared(
    contained: &InSubquery,
    schema: &DFSchema,
    op: Operator,
    quantifier: SetQuantifier,
) -> Result<Expr> {
    let Compared { rows, inner, value, outer } = Compared::of(contained, schema)?;
    let is_met = binary_expr(value, op, inner);
    let (decides, answer) = match quantifier {
        SetQuantifier::Any => (is_met.clone(), true),
        SetQuantifier::All => (not(is_met.clone()), false),
    };
    let [decided, unsure] = FOUND.map(|name| Expr::Column(Column::from_name(name)));
    let any = [bool_or(decides).alias(FOUND[0]), bool_or(is_met.is_null()).alias(FOUND[1])];
    let said =
        when(decided, lit(answer)).when(unsure, lit(ScalarValue::Boolean(None))).otherwise(lit(!answer))?;
    let plan = rows.aggregate(Vec::<Expr>::new(), any)?.project([said.alias(VALUE)])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: plan.into(),
        outer_ref_columns: outer,
        spans: Spans::new(),
    }))
}

/// The rows of a subquery beside a value of the outer query.
struct Compared {
    /// With one column.
    rows: LogicalPlanBuilder,
    /// That column.
    inner: Expr,
    value: Expr,
    /// The columns of the outer query in the rows and in the value.
    outer: Vec<Expr>,
}

impl Compared {
    fn of(contained: &InSubquery, schema: &DFSchema) -> Result<Self> {
        let rows = contained.subquery.subquery.as_ref().clone();
        let mut outer = contained.subquery.outer_ref_columns.clone();
        let value = contained.expr.as_ref().clone().transform_up(|expr| match expr {
            Expr::Column(column) => {
                let field = schema.field_from_column(&column)?;
                let reference = Expr::OuterReferenceColumn(Arc::clone(field), column);
                if !outer.contains(&reference) {
                    outer.push(reference.clone());
                }
                Ok(Transformed::yes(reference))
            }
            expr => Ok(Transformed::no(expr)),
        });
        let value = value.data()?;
        let first = Expr::Column(rows.schema().columns()[0].clone());
        let rows = LogicalPlanBuilder::from(rows).project([first.alias(VALUE)])?;
        Ok(Self { rows, inner: Expr::Column(Column::from_name(VALUE)), value, outer })
    }
}
