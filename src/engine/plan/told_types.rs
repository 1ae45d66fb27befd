//! A repair of aggregates of distinct values beside sums of numbers with a point.
//!
//! DataFusion 55 groups by the distinct values first and sums the sums, which have more digits than the sum that the
//! rest of the plan was made for: `HAVING sum(price) > 100` beside `count(DISTINCT sku)` failed.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, cast};
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
        let told = Arc::clone(plan.schema());
        let rewritten = self.0.rewrite(plan, config)?;
        let found = Arc::clone(rewritten.data.schema());
        let is_same = found.fields().iter().zip(told.fields()).all(|(a, b)| a.data_type() == b.data_type());
        if !rewritten.transformed || is_same {
            return Ok(rewritten);
        }
        let columns = found.iter().zip(told.iter()).map(|(column, (table, field))| {
            let value = cast(Expr::Column(Column::from(column)), field.data_type().clone());
            value.alias_qualified(table.cloned(), field.name())
        });
        let plan = Projection::try_new(columns.collect(), Arc::new(rewritten.data))?;
        Ok(Transformed::yes(LogicalPlan::Projection(plan)))
    }
}
