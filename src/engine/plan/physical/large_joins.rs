//! A hash join keeps one side in memory and cannot spill it: where both are larger than the pool, as far as tables
//! tell, they are sorted and merged.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::joins::{HashJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

use super::replaced::replaced;
use crate::engine::methods::rule_named;

/// What a text or another value of no fixed width takes in memory, about.
const VALUE_BYTES: usize = 24;

/// What a row takes in a table of hashes.
pub const HASH_BYTES: usize = 16;

/// Merges the sides of hash joins of which the one that would be kept takes more than so many bytes. It must stand
/// behind the rule that chooses this side, and before the one that places sorts.
#[derive(Debug)]
pub struct LargeJoins {
    pub bytes_max: usize,
}

impl PhysicalOptimizerRule for LargeJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let join = node.downcast_ref::<HashJoinExec>();
            let large = join.filter(|join| can_merge(join) && self.is_large(join.left().as_ref()));
            large.map(merging).transpose()
        })
    }

    rule_named!("LargeJoins");
}

impl LargeJoins {
    fn is_large(&self, side: &dyn ExecutionPlan) -> bool {
        bytes(side).is_some_and(|bytes| bytes > self.bytes_max)
    }
}

/// What the rows of a plan take in a table of hashes, as far as it is known.
fn bytes(plan: &dyn ExecutionPlan) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok()?;
    let rows = *statistics.num_rows.get_value()?;
    let schema = plan.schema();
    let widths = schema.fields().iter().map(|field| width(field.data_type()));
    Some(rows.saturating_mul(widths.sum::<usize>() + HASH_BYTES))
}

/// What a value takes in memory, about.
pub fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(VALUE_BYTES)
}

/// True for a join that a merge does as well.
fn can_merge(join: &HashJoinExec) -> bool {
    let kind = match join.join_type() {
        JoinType::Inner => true,
        JoinType::LeftMark | JoinType::RightMark => false,
        _ => join.filter().is_none() && !join.null_aware,
    };
    let (left, right) = (join.left().schema(), join.right().schema());
    let keys = join.on().iter().all(|(l, r)| {
        let key = sorted_key(l.as_ref(), &left);
        key.is_some() && key == sorted_key(r.as_ref(), &right)
    });
    kind && keys && !join.on().is_empty() && !join.contains_projection() && join.fetch().is_none()
}

/// The type of a key whose values are equal if neither is before the other.
fn sorted_key(key: &dyn PhysicalExpr, schema: &Schema) -> Option<DataType> {
    let key = key.data_type(schema).ok()?;
    let sorted = key.is_integer()
        || key.is_string()
        || matches!(
            key,
            DataType::Boolean | DataType::Date32 | DataType::Decimal128(..) | DataType::Timestamp(_, None)
        );
    sorted.then_some(key)
}

fn merging(join: &HashJoinExec) -> Result<Arc<dyn ExecutionPlan>> {
    let merging = SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        join.on().to_vec(),
        join.filter().cloned(),
        *join.join_type(),
        vec![SortOptions::default(); join.on().len()],
        join.null_equality(),
    )?;
    Ok(Arc::new(merging))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::plan::physical::physical_rules;
    use crate::engine::statement_pool::StatementPool;

    /// Every third number is missing, some keys come twice, and some numbers are in one of the tables only.
    fn rows(first: i64) -> MemTable {
        let keys = (first..first + 500).map(|n| (n % 3 > 0).then_some(n * 7 % 401));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter(keys));
        let words = (first..first + 500).map(|n| format!("word {}", n % 90));
        let words: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
        let batch = RecordBatch::try_from_iter([("k", keys), ("word", words)]).unwrap();
        MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()
    }

    /// A session whose rules see this pool.
    fn session(pool: &Arc<dyn MemoryPool>) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(2);
        // Then no side is so small that it is kept whatever else is known.
        config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
        config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_physical_optimizer_rules(physical_rules(pool))
            .build();
        let session = SessionContext::new_with_state(state);
        session.register_table("a", Arc::new(rows(0))).unwrap();
        session.register_table("b", Arc::new(rows(250))).unwrap();
        session
    }

    async fn answer(session: &SessionContext, sql: &str) -> String {
        let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    }

    #[tokio::test]
    async fn merged_joins_answer_as_hashed_ones() {
        let little: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(1_000));
        let much: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let (merged, hashed) = (session(&little), session(&much));
        for from in [
            "a JOIN b ON a.k = b.k",
            "a JOIN b ON a.k = b.k AND a.word = b.word",
            "a JOIN b ON a.k = b.k AND a.word < b.word",
            "a LEFT JOIN b ON a.k = b.k",
            "a RIGHT JOIN b ON a.k = b.k",
            "a FULL JOIN b ON a.k = b.k",
            "a LEFT SEMI JOIN b ON a.k = b.k",
            "a LEFT ANTI JOIN b ON a.k = b.k",
        ] {
            let sql = format!("SELECT count(*), sum(a.k), min(a.word), max(a.word), count(a.k) FROM {from}");
            assert_eq!(answer(&merged, &sql).await, answer(&hashed, &sql).await, "{from}");
            let plan = answer(&merged, &format!("EXPLAIN {sql}")).await;
            assert!(plan.contains("SortMergeJoin") && !plan.contains("HashJoin"), "{plan}");
            let plan = answer(&hashed, &format!("EXPLAIN {sql}")).await;
            assert!(plan.contains("HashJoin"), "{plan}");
        }
        let kept = "SELECT count(*) FROM a WHERE k NOT IN (SELECT k FROM b)";
        assert_eq!(answer(&merged, kept).await, answer(&hashed, kept).await);
    }
}
