//! Joins, among them those with the outer values themselves.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{EmptyRelation, Expr, Join, JoinConstraint, LogicalPlan};

use super::{Carried, Domain, columns_of, projected, refers};
use crate::error::Error;

impl Domain {
    /// The outer values alone.
    pub(super) fn table(&mut self) -> Result<Carried> {
        let columns = self.scan.schema().columns();
        let names: Vec<String> = columns.iter().map(|_| self.name("outer")).collect();
        let renamed = columns.into_iter().zip(&names).map(|(column, name)| Expr::Column(column).alias(name));
        let plan = projected(renamed, Arc::new(self.scan.clone()))?;
        let mut columns = names.into_iter().map(Column::from_name);
        let id = columns.next().unwrap_or_else(|| Column::from_name("id"));
        Ok(Carried { values: columns.collect(), ..Carried::of(plan, id) })
    }

    /// Rows that are the same for all outer values, once for each of them.
    pub(super) fn beside(&mut self, plan: &LogicalPlan) -> Result<Carried> {
        let outer = self.table()?;
        let plan = match plan {
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema })
                if schema.fields().is_empty() =>
            {
                return Ok(outer);
            }
            plan => Arc::new(plan.clone()),
        };
        let joined = joined(plan, Arc::clone(&outer.plan), vec![], JoinType::Inner)?;
        Ok(outer.with(joined))
    }

    /// The rows with the outer values beside them.
    pub(super) fn with_values(&mut self, rows: Carried) -> Result<Carried> {
        if !rows.values.is_empty() {
            return Ok(rows);
        }
        let outer = self.table()?;
        let same = vec![(rows.id(), outer.id())];
        let joined = joined(rows.plan, outer.plan, same, JoinType::Inner)?;
        // Rows that are numbered stay so.
        Ok(Carried { plan: Arc::new(joined), values: outer.values, ..rows })
    }

    /// All outer values with their rows, or with NULL where they have none, and the condition that they have.
    pub(super) fn with_all(&mut self, rows: Carried) -> Result<(Carried, Expr)> {
        let outer = self.table()?;
        let same = vec![(outer.id(), rows.id())];
        let joined = joined(Arc::clone(&outer.plan), Arc::clone(&rows.plan), same, JoinType::Left)?;
        let has_row = rows.id().is_not_null();
        Ok((Carried { order: rows.order, ..outer.with(joined) }, has_row))
    }

    pub(super) fn join(&mut self, join: &Join) -> Result<Carried> {
        let (left, right) = carrying(join)?;
        let outward = join.filter.as_ref().is_some_and(Expr::contains_outer);
        let left = left.then(|| self.side(&join.left, outward)).transpose()?;
        let outward = outward && left.is_none();
        let right = right.then(|| self.side(&join.right, outward)).transpose()?;
        let mut on = join.on.clone();
        if let (Some(left), Some(right)) = (&left, &right) {
            on.push((left.id(), right.id()));
        }
        let values = left.as_ref().or(right.as_ref()).map(|rows| rows.values.as_slice()).unwrap_or_default();
        let plan = LogicalPlan::Join(Join::try_new(
            plan_of(left.as_ref(), &join.left),
            plan_of(right.as_ref(), &join.right),
            on,
            join.filter.as_ref().map(|filter| self.bound(filter, values)).transpose()?,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            false,
        )?);
        match (join.join_type, left, right) {
            (JoinType::Full, Some(left), Some(right)) => {
                let id = self.name("id");
                let either = coalesce(vec![left.id(), right.id()]).alias(&id);
                let columns = columns_of(&join.schema).into_iter().chain([either]);
                Ok(Carried::of(projected(columns, Arc::new(plan))?, Column::from_name(id)))
            }
            (JoinType::Right, _, Some(rows)) | (_, Some(rows), _) | (_, None, Some(rows)) => {
                Ok(Carried { order: vec![], ..rows.with(plan) })
            }
            (_, None, None) => Err(Error::internal("one side of a join has the outer values").into()),
        }
    }

    fn side(&mut self, plan: &LogicalPlan, outward: bool) -> Result<Carried> {
        let rows = self.carry(plan)?;
        if outward { self.with_values(rows) } else { Ok(rows) }
    }
}

/// Which sides of a join have to tell the rows of the outer values apart.
fn carrying(join: &Join) -> Result<(bool, bool)> {
    let (left, right) = (refers(&join.left)?, refers(&join.right)?);
    let keys = join.on.iter().any(|(left, right)| left.contains_outer() || right.contains_outer());
    match join.join_type {
        _ if keys || join.null_aware => Err(Error::unsupported("outer values in keys of a join").into()),
        JoinType::Inner => Ok((left || !right, right)),
        // A row stays or goes for each of the outer values.
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => Ok((true, right)),
        JoinType::Right => Ok((left, true)),
        JoinType::Full => Ok((true, true)),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::LeftMark | JoinType::RightMark => {
            Err(Error::unsupported(format!("outer values in a {} join", join.join_type)).into())
        }
    }
}

fn plan_of(carried: Option<&Carried>, plan: &Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    Arc::clone(carried.map_or(plan, |rows| &rows.plan))
}

fn joined(
    left: Arc<LogicalPlan>,
    right: Arc<LogicalPlan>,
    on: Vec<(Expr, Expr)>,
    join_type: JoinType,
) -> Result<LogicalPlan> {
    let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    Join::try_new(left, right, on, None, join_type, constraint, nulls, false).map(LogicalPlan::Join)
}
