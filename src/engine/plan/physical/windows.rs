//! Window functions keep rows without a word to the pool, and all rows of their input although its partitions come one
//! after the other. Here the pool is asked, and only so many partitions are worked through at a time.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    ChildStats, ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan,
    InputDistributionRequirements, Partitioning, PlanProperties, ReplaceChildrenOptions, StatisticsArgs,
};

use super::frame_answers::FrameAnswers;
use super::replaced::replaced;
use super::window_rows::{Window, held, whole_partitions};
use crate::engine::methods::{delegate, rule_named};

/// Puts our node around every one for window functions; no rule may follow that looks for DataFusion's.
#[derive(Debug)]
pub struct CountedWindows;

impl PhysicalOptimizerRule for CountedWindows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            if let Some(dealt) = node.downcast_ref::<RepartitionExec>()
                && matches!(dealt.partitioning(), Partitioning::RoundRobinBatch(_))
                && gathers(dealt.input())
            {
                return Ok(Some(Arc::clone(dealt.input())));
            }
            let is_window = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
            Ok(is_window.then(|| Arc::new(CountedWindowExec::new(Arc::clone(node))) as _))
        })
    }

    rule_named!("CountedWindows");
}

/// True for answers that hold all values of their frames: what deals their rows out to threads would put those of many
/// batches together before.
fn gathers(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return gathers(projection.input());
    }
    let counted = plan.downcast_ref::<CountedWindowExec>();
    counted.is_some_and(|counted| !FrameAnswers::of(counted.window.as_ref(), 0).is_empty())
}

/// A node for window functions that takes the memory of the rows that it keeps from the pool.
#[derive(Debug)]
struct CountedWindowExec {
    window: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl CountedWindowExec {
    fn new(window: Arc<dyn ExecutionPlan>) -> Self {
        Self { window, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for CountedWindowExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.window.fmt_as(t, f)
    }
}

impl ExecutionPlan for CountedWindowExec {
    delegate! {
        to window:
        name() -> &str;
        properties() -> &Arc<PlanProperties>;
        children() -> Vec<&Arc<dyn ExecutionPlan>>;
        input_distribution_requirements() -> InputDistributionRequirements;
        required_input_ordering() -> Vec<Option<OrderingRequirements>>;
        maintains_input_order() -> Vec<bool>;
        child_stats_requests(partition: Option<usize>) -> Vec<ChildStats>;
        statistics_from_inputs(inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>>;
        apply_expressions(
            f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>
        ) -> Result<TreeNodeRecursion>;
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(Arc::clone(&self.window).replace_children(children, options)?)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(input) = self.window.children().into_iter().next().map(Arc::clone) else {
            return Err(DataFusionError::Internal(format!("{} has no input", self.name())));
        };
        let rows = input.execute(partition, Arc::clone(&context))?;
        let name = format!("{}[{partition}]", self.name());
        let memory = MemoryConsumer::new(name).register(context.memory_pool());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let window = Window { plan: Arc::clone(&self.window), input, partition, context };
        match self.window.downcast_ref::<WindowAggExec>() {
            Some(exec) => whole_partitions(exec, window, rows, memory, metrics),
            None => held(window, rows, memory, metrics),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::plan::physical::physical_rules;
    use crate::engine::statement_pool::StatementPool;

    /// 60,000 rows in 40 partitions by g, some 4,000 by g and v.
    fn rows() -> MemTable {
        let batches: Vec<RecordBatch> = (0..60).map(|part| batch(part * 1_000..(part + 1) * 1_000)).collect();
        MemTable::try_new(batches[0].schema(), vec![batches]).unwrap()
    }

    fn batch(numbers: Range<i64>) -> RecordBatch {
        let groups = Int64Array::from_iter_values(numbers.clone().map(|n| n * 7 % 40));
        let values = Float64Array::from_iter_values(numbers.clone().map(|n| (n % 101) as f64));
        let words = StringViewArray::from_iter_values(numbers.map(|n| format!("a long word: {n:0100}")));
        let columns: [(&str, ArrayRef); 3] =
            [("g", Arc::new(groups)), ("v", Arc::new(values)), ("word", Arc::new(words))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A session with our rules, or DataFusion's, and so much memory.
    fn session(ours: bool, memory: usize) -> SessionContext {
        let pool = Arc::new(StatementPool::new(memory));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let config = SessionConfig::new()
            .with_target_partitions(2)
            .with_batch_size(512)
            .with_sort_spill_reservation_bytes(64 << 10);
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&runtime))
            .with_default_features();
        if ours {
            state = state.with_physical_optimizer_rules(physical_rules(&runtime.memory_pool));
        }
        let session = SessionContext::new_with_state(state.build());
        session.register_table("t", Arc::new(rows())).unwrap();
        session
    }

    async fn answer(session: &SessionContext, sql: &str) -> Result<String> {
        let rows = session.sql(sql).await?.collect().await?;
        Ok(pretty_format_batches(&rows)?.to_string())
    }

    #[tokio::test]
    async fn windows_answer_as_before() {
        // A sort counts the buffers of a slice anew for each: theirs wants more than there is.
        let (ours, theirs) = (session(true, 1 << 30), session(false, 1 << 40));
        for window in [
            "avg(v) OVER (PARTITION BY g)",
            "avg(v) OVER (PARTITION BY g % 3)",
            "max(word) OVER ()",
            "count(*) OVER (PARTITION BY g, v)",
            "min(word) OVER (PARTITION BY g ORDER BY word DESC ROWS BETWEEN 3 FOLLOWING AND UNBOUNDED FOLLOWING)",
            "ntile(7) OVER (PARTITION BY g ORDER BY word)",
            "row_number() OVER (PARTITION BY g ORDER BY word)",
            "lead(word, 5) OVER (ORDER BY word)",
            "sum(v) OVER (PARTITION BY g ORDER BY v)",
        ] {
            let all = format!("SELECT word, {window} AS w FROM t");
            let sql = format!("SELECT * FROM ({all}) AS x WHERE word LIKE '%7' ORDER BY word");
            assert_eq!(answer(&ours, &sql).await.unwrap(), answer(&theirs, &sql).await.unwrap(), "{window}");
        }
        let plan = answer(&ours, "EXPLAIN SELECT avg(v) OVER (PARTITION BY g) FROM t").await.unwrap();
        assert!(plan.contains("WindowAggExec: wdw="), "{plan}");
    }

    #[tokio::test]
    async fn one_large_partition_takes_memory_and_many_small_ones_do_not() {
        let session = session(true, 12 << 20);
        let lengths = |by: &str| {
            format!("SELECT sum(length(w)) AS n FROM (SELECT max(word) OVER ({by}) AS w FROM t) AS x")
        };
        for by in ["PARTITION BY g", "PARTITION BY g, v"] {
            let answer = answer(&session, &lengths(by)).await.unwrap();
            assert!(answer.contains(" 6780000 "), "{answer}");
        }
        // The one below hands on batches that end with their partitions.
        let (lower, upper) = ("ntile(4) OVER (PARTITION BY g ORDER BY v)", "max(word) OVER (PARTITION BY g)");
        let both = format!("SELECT {lower} AS part, {upper} AS w FROM t");
        let sql = format!("SELECT max(part) AS parts, sum(length(w)) AS n FROM ({both}) AS x");
        let told = answer(&session, &sql).await.unwrap();
        assert!(told.contains(" 6780000 "), "{told}");
        let error = answer(&session, &lengths("")).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
        assert!(error.to_string().contains("WindowAggExec[0]"), "{error}");
    }

    #[tokio::test]
    async fn answers_of_whole_frames_are_not_dealt_out_to_threads() {
        let session = session(true, 1 << 30);
        for (value, window, dealt) in [("cardinality(w)", "array_agg(v)", false), ("w", "max(v)", true)] {
            let sql =
                format!("SELECT sum({value}) FROM (SELECT {window} OVER (ORDER BY word) AS w FROM t) AS x");
            let plan = answer(&session, &format!("EXPLAIN {sql}")).await.unwrap();
            let above = plan.split("BoundedWindowAggExec").next().unwrap();
            assert_eq!(above.contains("RoundRobinBatch"), dealt, "{plan}");
        }
    }

    #[tokio::test]
    async fn answers_of_whole_frames_are_made_of_few_rows_at_once_or_refused() {
        let session = session(true, 12 << 20);
        let sizes = |size: &str, window: &str, rows: &str| {
            format!("SELECT sum({size}) AS n FROM (SELECT {window} AS w FROM t WHERE {rows}) AS x")
        };
        for (size, window, rows, told) in [
            ("cardinality(w)", "array_agg(v) OVER (ORDER BY word)", "g = 0", " 1125750 "),
            ("length(w)", "string_agg(word, ',') OVER (ORDER BY word)", "g = 0", " 128334000 "),
            ("cardinality(w)", "array_agg(v) OVER (ORDER BY word ROWS 1 PRECEDING)", "g < 4", " 11999 "),
            ("cardinality(w)", "array_agg(v) OVER (PARTITION BY word)", "g < 4", " 6000 "),
        ] {
            let answer = answer(&session, &sizes(size, window, rows)).await.unwrap();
            assert!(answer.contains(told), "{window}: {answer}");
        }
        for (size, window) in [
            ("cardinality(w)", "array_agg(v) OVER ()"),
            ("cardinality(w)", "array_agg(v) OVER (PARTITION BY g)"),
            ("cardinality(w)", "array_agg(word) OVER (ORDER BY v)"),
            ("length(w)", "string_agg(word, ',') OVER (PARTITION BY g % 2)"),
        ] {
            let error = answer(&session, &sizes(size, window, "g < 100")).await;
            let error = error.map(|_| window).unwrap_err();
            assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}");
            assert!(error.to_string().contains("WindowAggExec["), "{error}");
        }
    }
}
