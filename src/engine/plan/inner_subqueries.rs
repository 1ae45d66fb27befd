//! Subqueries that say the same for every row, inside of expressions: each is run once, before the statement, and its
//! values take its place.
//!
//! DataFusion 55 joins them instead, which says false where `x IN (SELECT …)` is NULL; elsewhere than in WHERE it does
//! not know them, and in a change it forgets them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, WriteOp, lit};

use super::member_of::member_of;
use crate::error::Error;

/// Of more values, a set is made.
const LIST_MAX: usize = 1_000;

/// Which subqueries of a statement are run before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    /// Of a query: those that are no condition of WHERE by themselves.
    Inside,
    /// Of an UPDATE or DELETE: all.
    Everywhere,
}

impl Places {
    fn of(plan: &LogicalPlan) -> Self {
        match plan {
            LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Delete | WriteOp::Update) => Self::Everywhere,
            _ => Self::Inside,
        }
    }

    /// The plan of a subquery that is run before.
    fn subquery(self, expr: &Expr) -> Result<Option<LogicalPlan>> {
        let (subquery, exists) = match expr {
            Expr::InSubquery(InSubquery { subquery, .. }) => (subquery, false),
            Expr::Exists(Exists { subquery, .. }) if self == Self::Inside => (subquery, true),
            Expr::ScalarSubquery(subquery) if self == Self::Everywhere => (subquery, false),
            _ => return Ok(None),
        };
        if !subquery.outer_ref_columns.is_empty() || looks_outside(&subquery.subquery)? {
            return Ok(None);
        }
        let plan = LogicalPlanBuilder::from(Arc::clone(&subquery.subquery));
        // One row tells that there are some.
        let plan = if exists { plan.limit(0, Some(1))?.project(vec![lit(1)])? } else { plan };
        plan.build().map(Some)
    }

    /// True for a condition that DataFusion makes the right join of.
    fn is_join(self, condition: &Expr) -> bool {
        let inner = match condition {
            Expr::Not(inner) => inner,
            condition => condition,
        };
        self == Self::Inside && matches!(inner, Expr::InSubquery(_) | Expr::Exists(_))
    }
}

/// True where a subquery inside refers to columns that none of the relations around it has.
fn looks_outside(plan: &LogicalPlan) -> Result<bool> {
    let (mut wanted, mut schemas) = (vec![], vec![]);
    plan.apply_with_subqueries(|node| {
        schemas.push(Arc::clone(node.schema()));
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::OuterReferenceColumn(_, column) = e {
                    wanted.push(column.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(wanted.iter().any(|column| !schemas.iter().any(|schema| schema.has_column(column))))
}

/// The subqueries of a statement that are run before it, in the order in which [`with_values`] wants their values.
pub fn inner_subqueries(plan: &LogicalPlan) -> Result<Vec<LogicalPlan>> {
    let places = Places::of(plan);
    let mut found = vec![];
    plan.apply(|node| {
        for expr in node.expressions() {
            let mut conditions = vec![&expr];
            if matches!(node, LogicalPlan::Filter(_)) {
                conditions = split_conjunction(&expr);
                conditions.retain(|condition| !places.is_join(condition));
            }
            for condition in conditions {
                condition.apply(|e| {
                    found.extend(places.subquery(e)?);
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The statement with the values of its subqueries in their places; what many values take comes from `pool`.
pub fn with_values(
    plan: LogicalPlan,
    values: Vec<ArrayRef>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<LogicalPlan> {
    let mut found = Found { places: Places::of(&plan), values: values.into_iter(), pool };
    plan.transform_down(|node| found.put_into(node)).data()
}

struct Found<'a> {
    places: Places,
    values: std::vec::IntoIter<ArrayRef>,
    pool: &'a Arc<dyn MemoryPool>,
}

impl Found<'_> {
    fn put_into(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        if let LogicalPlan::Filter(filter) = node {
            return self.put_into_filter(filter, &schema);
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(self.put(expr, &schema)?.update_data(|expr| name.restore(expr)))
        })
    }

    fn put_into_filter(&mut self, filter: Filter, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
        let (mut changed, mut conditions) = (false, vec![]);
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            if self.places.is_join(&condition) {
                conditions.push(condition);
                continue;
            }
            let put = self.put(condition, schema)?;
            changed |= put.transformed;
            conditions.push(put.data);
        }
        match conjunction(conditions).filter(|_| changed) {
            Some(predicate) => {
                Filter::try_new(predicate, filter.input).map(|f| Transformed::yes(LogicalPlan::Filter(f)))
            }
            None => Ok(Transformed::no(LogicalPlan::Filter(filter))),
        }
    }

    /// The expression with the values of its subqueries.
    fn put(&mut self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        expr.transform_down(|e| match self.places.subquery(&e)? {
            None => Ok(Transformed::no(e)),
            Some(_) => self.value(e, schema).map(Transformed::yes),
        })
    }

    /// What a subquery says.
    fn value(&mut self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let found = self.values.next().ok_or_else(|| Error::internal("a subquery has not been run"))?;
        let value = |row| Ok(lit(ScalarValue::try_from_array(&found, row)?));
        match expr {
            Expr::Exists(Exists { negated, .. }) => Ok(lit(found.is_empty() == negated)),
            Expr::InSubquery(InSubquery { expr, negated, .. }) if found.len() <= LIST_MAX => {
                Ok(expr.in_list((0..found.len()).map(value).collect::<Result<_>>()?, negated))
            }
            Expr::InSubquery(InSubquery { expr, negated, .. }) => {
                member_of(*expr, &found, negated, schema, self.pool)
            }
            _ if found.len() > 1 => {
                Err(Error::data("more than one row returned by a subquery used as an expression").into())
            }
            _ if found.is_empty() => Ok(lit(ScalarValue::Null)),
            _ => value(0),
        }
    }
}
