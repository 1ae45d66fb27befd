//! Nodes that look at each row by itself, and lists of rows.

use std::iter::once;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::{
    Expr, Filter, LogicalPlan, Projection, SubqueryAlias, Union, Unnest, Values, cast, lit,
};

use super::{Carried, Domain, columns_of, projected};

impl Domain {
    pub(super) fn filter(&mut self, filter: &Filter) -> Result<Carried> {
        let input = self.input(&filter.input, [&filter.predicate])?;
        let predicate = self.bound(&filter.predicate, &input.values)?;
        let plan = Filter::try_new(predicate, Arc::clone(&input.plan))?;
        Ok(input.with(LogicalPlan::Filter(plan)))
    }

    pub(super) fn projection(&mut self, projection: &Projection) -> Result<Carried> {
        let input = self.input(&projection.input, &projection.expr)?;
        let named = projection.expr.iter().map(|expr| self.named(expr, &input.values));
        let columns = named.collect::<Result<Vec<_>>>()?.into_iter().chain(input.columns());
        let plan = projected(columns, Arc::clone(&input.plan))?;
        Ok(Carried { plan: Arc::new(plan), ..input })
    }

    pub(super) fn alias(&mut self, alias: &SubqueryAlias) -> Result<Carried> {
        let input = self.carry(&alias.input)?;
        let plan = SubqueryAlias::try_new(input.plan, alias.alias.clone())?;
        let renamed = |column: Column| Column::new(Some(alias.alias.clone()), column.name);
        Ok(Carried {
            plan: Arc::new(LogicalPlan::SubqueryAlias(plan)),
            id: renamed(input.id),
            values: input.values.into_iter().map(renamed).collect(),
            order: input.order.into_iter().map(renamed).collect(),
            numbered: input.numbered,
        })
    }

    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Carried> {
        let input = self.carry(&unnest.input)?;
        let columns = unnest.exec_columns.clone();
        let plan = Unnest::try_new(Arc::clone(&input.plan), columns, unnest.options.clone())?;
        let rows = input.with(LogicalPlan::Unnest(plan));
        // The elements of a row come one after the other.
        if rows.order.is_empty() { Ok(rows) } else { self.as_they_come(rows) }
    }

    pub(super) fn union(&mut self, union: &Union) -> Result<Carried> {
        let id = self.name("id");
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let rows = self.carry(input)?;
            let columns = columns_of(input.schema()).into_iter().chain(once(rows.id().alias(&id)));
            inputs.push(Arc::new(projected(columns, rows.plan)?));
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        Ok(Carried::of(plan, Column::from_name(id)))
    }

    pub(super) fn values(&mut self, values: &Values) -> Result<Carried> {
        let (id, number) = (self.name("id"), self.name("number"));
        let mut rows = Vec::with_capacity(values.values.len());
        for (row, count) in values.values.iter().zip(1_u64..) {
            let outer = self.table()?;
            let mut columns = Vec::with_capacity(row.len() + 2);
            for (value, field) in row.iter().zip(values.schema.fields()) {
                let value = typed(self.bound(value, &outer.values)?, field.data_type());
                columns.push(value.alias(field.name()));
            }
            columns.extend([outer.id().alias(&id), lit(count).alias(&number)]);
            rows.push(Arc::new(projected(columns, outer.plan)?));
        }
        let plan = match rows.as_slice() {
            [row] => row.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(rows)?),
        };
        let order = vec![Column::from_name(number)];
        Ok(Carried { order, numbered: true, ..Carried::of(plan, Column::from_name(id)) })
    }
}

/// A value of the type that its column has.
fn typed(value: Expr, data_type: &DataType) -> Expr {
    if data_type.is_null() { value } else { cast(value, data_type.clone()) }
}
