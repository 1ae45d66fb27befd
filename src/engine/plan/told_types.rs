//! A repair of aggregates of distinct values beside sums of numbers with a point.
//!
//! DataFusion 55 groups by the distinct values first and sums the sums, which have more digits than the sum that the
//! rest of the plan was made for: `HAVING sum(price) > 100` beside `count(DISTINCT sku)` failed. It leaves aggregates alone
//! that a rewrite has named anew.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, cast};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::methods::delegate;

/// The rule that groups distinct values, whose columns keep their types.
#[derive(Debug)]
pub struct ToldTypes(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for ToldTypes {
    delegate! {
        to 0:
        name() -> &str;
        apply_order() -> Option<ApplyOrder>;
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        let told = Arc::clone(&aggregate.schema);
        // Without its name an aggregate may be the twin of another one.
        let is_named = aggregate.aggr_expr.iter().any(|expr| matches!(expr, Expr::Alias(_)));
        let bare = is_named.then(|| without_names(aggregate).ok()).flatten().unwrap_or_else(|| plan.clone());
        let rewritten = self.0.rewrite(bare, config)?;
        if !rewritten.transformed {
            return Ok(Transformed::no(plan));
        }
        let found = Arc::clone(rewritten.data.schema());
        let is_same = |((table, field), (told_table, told)): (Qualified<'_>, Qualified<'_>)| {
            table == told_table && field.name() == told.name() && field.data_type() == told.data_type()
        };
        if found.iter().zip(told.iter()).all(is_same) {
            return Ok(rewritten);
        }
        let columns = found.iter().zip(told.iter()).map(|(column, (table, field))| {
            let value = Expr::Column(Column::from(column));
            let value = match column.1.data_type() == field.data_type() {
                true => value,
                false => cast(value, field.data_type().clone()),
            };
            value.alias_qualified(table.cloned(), field.name())
        });
        let plan = Projection::try_new(columns.collect(), Arc::new(rewritten.data))?;
        Ok(Transformed::yes(LogicalPlan::Projection(plan)))
    }
}

type Qualified<'a> = (Option<&'a TableReference>, &'a FieldRef);

/// The aggregate without the names that rewrites have left it, which that rule does not see through.
fn without_names(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let bare = aggregate.aggr_expr.iter().cloned().map(Expr::unalias).collect();
    let bare = Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), bare)?;
    Ok(LogicalPlan::Aggregate(bare))
}
