//! What keeps the first rows of an order gives them out with the texts of all rows that came with them, and what stands
//! above counts and holds those, too. Here rows go with their own texts.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildStats, ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions, StatisticsArgs,
};
use futures::StreamExt;

use super::replaced::replaced;
use crate::engine::array_bytes::compacted;
use crate::engine::methods::{delegate, rule_named};

/// Puts our node around every sort that wants some rows only; no rule may follow that looks for DataFusion's.
#[derive(Debug)]
pub struct FirstRows;

impl PhysicalOptimizerRule for FirstRows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let first = node.downcast_ref::<SortExec>().and_then(SortExec::fetch);
            Ok(first.map(|_| Arc::new(FirstRowsExec { sort: Arc::clone(node) }) as _))
        })
    }

    rule_named!("FirstRows");
}

/// A sort whose rows hold no texts but their own.
#[derive(Debug)]
struct FirstRowsExec {
    sort: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for FirstRowsExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sort.fmt_as(t, f)
    }
}

impl ExecutionPlan for FirstRowsExec {
    delegate! {
        to sort:
        name() -> &str;
        properties() -> &Arc<PlanProperties>;
        children() -> Vec<&Arc<dyn ExecutionPlan>>;
        input_distribution_requirements() -> InputDistributionRequirements;
        required_input_ordering() -> Vec<Option<OrderingRequirements>>;
        maintains_input_order() -> Vec<bool>;
        dynamic_expressions_produced() -> Vec<Arc<dyn PhysicalExpr>>;
        child_stats_requests(partition: Option<usize>) -> Vec<ChildStats>;
        statistics_from_inputs(inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>>;
        fetch() -> Option<usize>;
        metrics() -> Option<MetricsSet>;
        apply_expressions(
            f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>
        ) -> Result<TreeNodeRecursion>;
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { sort: Arc::clone(&self.sort).replace_children(children, options)? }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { sort: Arc::clone(&self.sort).reset_state()? }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.sort.execute(partition, context)?;
        let schema = rows.schema();
        let rows = rows.map(|batch| compacted(batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::plan::physical::physical_rules;

    fn batch(part: i64) -> RecordBatch {
        let numbers = || part * 1_000..(part + 1) * 1_000;
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers().map(|n| n * 7 % 101)));
        let words = numbers().map(|n| format!("a long word: {n:0100}"));
        let words: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
        RecordBatch::try_from_iter([("v", values), ("word", words)]).unwrap()
    }

    #[tokio::test]
    async fn first_rows_hold_their_own_texts() {
        let pool = Arc::clone(&SessionContext::new().runtime_env().memory_pool);
        let state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(1))
            .with_default_features()
            .with_physical_optimizer_rules(physical_rules(&pool))
            .build();
        let session = SessionContext::new_with_state(state);
        let table = MemTable::try_new(batch(0).schema(), vec![(0..60).map(batch).collect()]).unwrap();
        session.register_table("t", Arc::new(table)).unwrap();
        let rows = session.sql("SELECT v, word FROM t ORDER BY v, word LIMIT 100").await.unwrap();
        let plan = rows.clone().create_physical_plan().await.unwrap();
        let plan = displayable(plan.as_ref()).indent(false).to_string();
        assert!(plan.contains("SortExec: TopK(fetch=100)"), "{plan}");
        let batches = rows.collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
        let held: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        assert!(held < 50_000, "{held}");
    }
}
