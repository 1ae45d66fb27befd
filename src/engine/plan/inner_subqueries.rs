//! Subqueries that say the same for every row, inside of expressions, also of those of other subqueries: each is run
//! once, before the statement, and its values take its place.
//!
//! DataFusion 55 joins them instead, which says false where `x IN (SELECT …)` is NULL; elsewhere than in WHERE it does
//! not know them, in a change it forgets them, and VALUES it computes before anything runs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, WriteOp, lit};

use super::apply::has_subqueries;
use super::member_of::member_of;
use super::subqueries::node_has_subquery;
use crate::engine::storage::{StoredTable, StoredTableProvider};
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
    /// Of VALUES: all, and EXISTS.
    Rows,
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
            Expr::Exists(Exists { subquery, .. }) if self != Self::Everywhere => (subquery, true),
            Expr::ScalarSubquery(subquery) if self != Self::Inside => (subquery, false),
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
        let (inner, not) = match condition {
            Expr::Not(inner) => (inner.as_ref(), true),
            condition => (condition, false),
        };
        let joined = match inner {
            Expr::Exists(_) => true,
            // NOT IN without a column gives a join without keys, which does not look for NULL.
            Expr::InSubquery(InSubquery { expr, negated, .. }) => *negated == not || expr.any_column_refs(),
            _ => false,
        };
        self == Self::Inside && joined
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
    let mut found = vec![];
    if has_subqueries(plan)? {
        let find = |expr: Expr, subquery: LogicalPlan, _: &DFSchema| -> Result<Expr> {
            let value = match expr {
                Expr::ScalarSubquery(_) => ScalarValue::try_from(subquery.schema().field(0).data_type())?,
                _ => ScalarValue::Boolean(None),
            };
            found.push(subquery);
            Ok(lit(value))
        };
        Replaced { places: Places::of(plan), value_of: find }.put_into_all(plan.clone())?;
    }
    Ok(found)
}

/// The statement with the values of its subqueries in their places; what many values take comes from `pool`.
pub fn with_values(
    plan: LogicalPlan,
    values: Vec<ArrayRef>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<LogicalPlan> {
    let mut values = values.into_iter();
    let put = |expr: Expr, _: LogicalPlan, schema: &DFSchema| -> Result<Expr> {
        let found = values.next().ok_or_else(|| Error::internal("a subquery has not been run"))?;
        value(expr, &found, schema, pool)
    };
    Replaced { places: Places::of(&plan), value_of: put }.put_into_all(plan)
}

/// The stored table whose rows an UPDATE or DELETE with subqueries changes, also below EXPLAIN ANALYZE.
pub fn changed_by_subqueries(plan: &LogicalPlan) -> Result<Option<Arc<StoredTable>>> {
    match plan {
        LogicalPlan::Analyze(analyze) => changed_by_subqueries(&analyze.input),
        LogicalPlan::Dml(dml) if Places::of(plan) == Places::Everywhere && has_subqueries(plan)? => {
            let provider = source_as_provider(&dml.target)?;
            let stored = provider.downcast_ref::<StoredTableProvider>();
            Ok(stored.and_then(StoredTableProvider::latest_table).cloned())
        }
        _ => Ok(None),
    }
}

/// The subqueries that are run before, each as something else; those that stay may have some in themselves.
struct Replaced<F> {
    places: Places,
    value_of: F,
}

impl<F: FnMut(Expr, LogicalPlan, &DFSchema) -> Result<Expr>> Replaced<F> {
    fn put_into_all(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_down_with_subqueries(|node| self.put_into(node)).data()
    }

    fn put_into(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if !node_has_subquery(&node)? {
            return Ok(Transformed::no(node));
        }
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        if let LogicalPlan::Filter(filter) = node {
            return self.put_into_filter(filter, &schema);
        }
        let places = if matches!(node, LogicalPlan::Values(_)) { Places::Rows } else { self.places };
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(self.put(expr, places, &schema)?.update_data(|expr| name.restore(expr)))
        })
    }

    fn put_into_filter(&mut self, filter: Filter, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
        let (mut changed, mut conditions) = (false, vec![]);
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            if self.places.is_join(&condition) {
                conditions.push(condition);
                continue;
            }
            let put = self.put(condition, self.places, schema)?;
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
    fn put(&mut self, expr: Expr, places: Places, schema: &DFSchema) -> Result<Transformed<Expr>> {
        expr.transform_down(|e| match places.subquery(&e)? {
            None => Ok(Transformed::no(e)),
            Some(subquery) => (self.value_of)(e, subquery, schema).map(Transformed::yes),
        })
    }
}

/// What a subquery with these values says.
fn value(expr: Expr, found: &ArrayRef, schema: &DFSchema, pool: &Arc<dyn MemoryPool>) -> Result<Expr> {
    let value = |row| Ok(lit(ScalarValue::try_from_array(found, row)?));
    match expr {
        Expr::Exists(Exists { negated, .. }) => Ok(lit(found.is_empty() == negated)),
        Expr::InSubquery(InSubquery { expr, negated, .. }) if found.len() <= LIST_MAX => {
            Ok(expr.in_list((0..found.len()).map(value).collect::<Result<_>>()?, negated))
        }
        Expr::InSubquery(InSubquery { expr, negated, .. }) => member_of(*expr, found, negated, schema, pool),
        _ if found.len() > 1 => {
            Err(Error::data("more than one row returned by a subquery used as an expression").into())
        }
        _ if found.is_empty() => Ok(lit(ScalarValue::try_from(found.data_type())?)),
        _ => value(0),
    }
}
