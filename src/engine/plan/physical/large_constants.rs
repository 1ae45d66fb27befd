//! Large constants, as `repeat('x', 100000)` is one: a projection writes them into every row of a batch, and a scan that
//! it is moved into does so, too. Here the pool is asked first.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::scalar::ScalarValue;

use super::replaced::replaced;
use crate::engine::array_bytes::array_bytes;
use crate::engine::methods::rule_named;

/// Constants of fewer bytes make small batches.
const LARGE: usize = 1 << 10;

/// What the constants of a batch take without being asked for.
const UNASKED_BYTES: usize = 8 << 20;

/// What they take at most, whatever the pool has left.
const BYTES_MAX: usize = 1 << 30;

/// Puts large constants of projections behind a look at the memory that is left; it has to be the first rule, since
/// others move them into scans.
#[derive(Debug)]
pub struct LargeConstants(pub Arc<dyn MemoryPool>);

impl PhysicalOptimizerRule for LargeConstants {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let Some(projection) = node.downcast_ref::<ProjectionExec>() else { return Ok(None) };
            let counted: Vec<_> = projection.expr().iter().map(|made| self.counted(made)).collect();
            if counted.iter().all(Option::is_none) {
                return Ok(None);
            }
            let exprs = projection.expr().iter().zip(counted);
            let exprs = exprs.map(|(made, counted)| counted.unwrap_or_else(|| made.clone()));
            let input = Arc::clone(projection.input());
            let schema = projection.schema();
            let projection = ProjectionExec::try_new_with_schema_metadata(exprs, input, &schema)?;
            Ok(Some(Arc::new(projection) as _))
        })
    }

    rule_named!("LargeConstants");
}

impl LargeConstants {
    /// The constant, counted, if it is a large one.
    fn counted(&self, made: &ProjectionExpr) -> Option<ProjectionExpr> {
        let bytes = match made.expr.downcast_ref::<Literal>()?.value() {
            ScalarValue::List(list) => array_bytes(list.as_ref()),
            value => value.size(),
        };
        let constant = || Constant { literal: Arc::clone(&made.expr), bytes, pool: Arc::clone(&self.0) };
        (bytes > LARGE).then(|| ProjectionExpr::new(Arc::new(constant()), made.alias.clone()))
    }
}

/// The bytes of a constant that is counted.
pub fn constant_bytes(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Constant>().map(|constant| constant.bytes)
}

/// A constant that fails before its rows take more memory than there is.
#[derive(Debug)]
struct Constant {
    literal: Arc<dyn PhysicalExpr>,
    bytes: usize,
    pool: Arc<dyn MemoryPool>,
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.literal.fmt(f)
    }
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.literal.eq(&other.literal)
    }
}

impl Eq for Constant {}

impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.literal.hash(state);
    }
}

impl PhysicalExpr for Constant {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.literal.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let bytes = self.bytes.saturating_mul(rows);
        if bytes > BYTES_MAX {
            let (made, most) = (bytes >> 20, BYTES_MAX >> 20);
            return Err(DataFusionError::ResourcesExhausted(format!(
                "a constant in {rows} rows would take {made} MiB at once, the most is {most} MiB"
            )));
        }
        let memory = MemoryConsumer::new("constant").register(&self.pool);
        if bytes > UNASKED_BYTES {
            memory.try_grow(bytes)?;
        }
        Ok(ColumnarValue::Array(self.literal.evaluate(batch)?.into_array(rows)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![]
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.literal.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::physical_expr::expressions::{Column, lit};
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    /// What a constant of so many bytes makes in so many rows, where the pool has so many bytes left.
    fn texts(bytes: usize, rows: i64, left: usize) -> Result<usize> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("n", column)])?;
        let exprs: [(Arc<dyn PhysicalExpr>, _); 3] = [
            (Arc::new(Column::new("n", 0)), "n".to_owned()),
            (lit("x".repeat(bytes)), "text".to_owned()),
            (lit("x"), "short".to_owned()),
        ];
        let input = Arc::new(EmptyExec::new(batch.schema()));
        let projection = Arc::new(ProjectionExec::try_new(exprs, input)?);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(left));
        let rule = LargeConstants(Arc::clone(&pool));
        let plan = rule.optimize(projection, &ConfigOptions::default())?;
        let projection = plan.downcast_ref::<ProjectionExec>().unwrap();
        let known: Vec<bool> =
            projection.expr().iter().map(|made| constant_bytes(&made.expr).is_some()).collect();
        assert_eq!(known, [false, bytes > LARGE, false]);
        let made = projection.expr()[1].expr.evaluate(&batch)?.into_array(batch.num_rows())?;
        assert_eq!(pool.reserved(), 0);
        Ok(made.as_string::<i32>().iter().flatten().map(str::len).sum())
    }

    #[test]
    fn what_fits_is_made_and_what_does_not_is_not_begun() {
        assert_eq!(texts(900, 8_192, 0).unwrap(), 7_372_800);
        assert_eq!(texts(10_000, 100, 0).unwrap(), 1_000_000);
        assert_eq!(texts(10_000, 8_192, 90 << 20).unwrap(), 81_920_000);
        let refused = |rows, left| texts(1_000_000, rows, left).unwrap_err().strip_backtrace();
        assert!(refused(20, 10 << 20).contains("constant"), "{}", refused(20, 10 << 20));
        let (all, told) = (refused(8_192, usize::MAX), "MiB at once, the most is 1024 MiB");
        assert!(all.contains("a constant in 8192 rows would take 78") && all.contains(told), "{all}");
    }
}
