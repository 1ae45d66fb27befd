//! Aggregates that keep all their values, as `median` and `array_agg` do, hold those of all groups until the last row:
//! where these are too many for the pool, as far as tables tell, rows are sorted by group, and one group is held.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, InputOrderMode, StatisticsArgs, StatisticsContext,
};

use super::large_joins::{HASH_BYTES, width};
use super::replaced::replaced;
use crate::engine::methods::rule_named;

/// Aggregates whose states are lists of little, however many rows there are.
const OF_LITTLE: [&str; 3] = ["accuracy", "f1", "nth_value"];

/// Sorts the rows of aggregates that would keep values of more than so many bytes. It must stand behind the rules that
/// repartition rows and that make one of two stages, and before the one that tells aggregates how their rows come.
#[derive(Debug)]
pub struct LargeAggregates {
    pub bytes_max: usize,
}

impl PhysicalOptimizerRule for LargeAggregates {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let groups = node.downcast_ref::<AggregateExec>().map(|last| self.sorted(last)).transpose()?;
            Ok(groups.flatten().map(|groups| Arc::new(groups) as _))
        })
    }

    rule_named!("LargeAggregates");
}

impl LargeAggregates {
    /// What takes the place of an aggregate that would keep too much.
    fn sorted(&self, last: &AggregateExec) -> Result<Option<AggregateExec>> {
        if last.input_order_mode() != &InputOrderMode::Linear || last.limit_options().is_some() {
            return Ok(None);
        }
        let Some(whole) = Whole::of(last)? else { return Ok(None) };
        if can_sort(whole.first) && self.is_large(whole.first) { whole.by_group() } else { Ok(None) }
    }

    fn is_large(&self, first: &AggregateExec) -> bool {
        let schema = first.input().schema();
        let keeping = first.aggr_expr().iter().filter(|function| keeps_values(function));
        let width: usize = keeping.map(|function| kept_width(function, &schema)).sum();
        width > 0
            && rows(first.input().as_ref()).is_some_and(|rows| rows.saturating_mul(width) > self.bytes_max)
    }
}

/// True for an aggregate that keeps every value, or every distinct one: its state is a list, or one text of all.
fn keeps_values(function: &AggregateFunctionExpr) -> bool {
    let name = function.fun().name();
    let is_list = |data_type: &DataType| matches!(data_type, DataType::List(_));
    let lists = function.state_fields().is_ok_and(|states| states.iter().any(|s| is_list(s.data_type())));
    let little = name.starts_with("approx_") || OF_LITTLE.contains(&name);
    name == "string_agg" || (lists && !little)
}

/// What an aggregate keeps of a row, about.
fn kept_width(function: &AggregateFunctionExpr, schema: &Schema) -> usize {
    let arguments = function.expressions().into_iter();
    let order = function.order_bys().iter().map(|order| Arc::clone(&order.expr));
    let kept = arguments.chain(order).filter(|value| !value.is::<Literal>());
    let bytes: usize = kept.filter_map(|value| value.data_type(schema).ok()).map(|kept| width(&kept)).sum();
    if function.is_distinct() { bytes + HASH_BYTES } else { bytes }
}

/// The rows of a plan as far as it is known; where nothing is, as of a join, those of its largest input.
fn rows(plan: &dyn ExecutionPlan) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
    let known = statistics.and_then(|statistics| statistics.num_rows.get_value().copied());
    known.or_else(|| plan.children().into_iter().filter_map(|input| rows(input.as_ref())).max())
}

/// True if the rows of each group stand together once they are sorted.
fn can_sort(first: &AggregateExec) -> bool {
    let (groups, schema) = (first.group_expr(), first.input().schema());
    groups.is_single()
        && !groups.is_empty()
        && groups.expr().iter().all(|(key, _)| {
            // Zeros with and without a sign are one group, and do not stand together if there is another key.
            let sorts = |key: DataType| {
                (key.is_numeric() && !key.is_floating())
                    || key.is_string()
                    || key.is_temporal()
                    || key == DataType::Boolean
            };
            !is_volatile(key) && key.data_type(&schema).is_ok_and(sorts)
        })
}

/// Both stages of an aggregate in one.
struct Whole<'a> {
    /// What the stage that reads rows makes of them.
    first: &'a AggregateExec,
    mode: AggregateMode,
    /// The rows, distributed as the groups are to be.
    rows: Arc<dyn ExecutionPlan>,
}

impl<'a> Whole<'a> {
    fn of(last: &'a AggregateExec) -> Result<Option<Self>> {
        let mode = match last.mode() {
            AggregateMode::Single | AggregateMode::SinglePartitioned => {
                return Ok(Some(Self { first: last, mode: *last.mode(), rows: Arc::clone(last.input()) }));
            }
            AggregateMode::Final => AggregateMode::Single,
            AggregateMode::FinalPartitioned => AggregateMode::SinglePartitioned,
            _ => return Ok(None),
        };
        let between = last.input();
        let first = between.children().into_iter().find_map(|input| input.downcast_ref::<AggregateExec>());
        let Some(first) = first.filter(|first| first.mode() == &AggregateMode::Partial) else {
            return Ok(None);
        };
        Ok(distributed(first, between)?.map(|rows| Self { first, mode, rows }))
    }

    /// The aggregate over sorted rows, which gives each group out where its rows end.
    fn by_group(&self) -> Result<Option<AggregateExec>> {
        let keys = self.first.group_expr().input_exprs().into_iter().map(PhysicalSortExpr::new_default);
        let Some(keys) = LexOrdering::new(keys) else { return Ok(None) };
        let sort = SortExec::new(keys, Arc::clone(&self.rows)).with_preserve_partitioning(true);
        let groups = AggregateExec::try_new(
            self.mode,
            self.first.group_expr().clone(),
            self.first.aggr_expr().to_vec(),
            self.first.filter_expr().to_vec(),
            Arc::new(sort),
            self.first.input_schema(),
        )?;
        let is_sorted = groups.input_order_mode() == &InputOrderMode::Sorted && has_its_order(&groups)?;
        Ok(is_sorted.then_some(groups))
    }
}

/// The rows of a first stage, distributed as its groups were by what stands behind it.
fn distributed(
    first: &AggregateExec,
    between: &Arc<dyn ExecutionPlan>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let rows = Arc::clone(first.input());
    if between.is::<CoalescePartitionsExec>() {
        return Ok(Some(Arc::new(CoalescePartitionsExec::new(rows))));
    }
    let Some(Partitioning::Hash(keys, partitions)) =
        between.downcast_ref::<RepartitionExec>().map(RepartitionExec::partitioning)
    else {
        return Ok(None);
    };
    let groups = first.group_expr().expr();
    let key = |key: &Arc<dyn PhysicalExpr>| {
        let group = groups.get(key.downcast_ref::<Column>()?.index())?;
        Some(Arc::clone(&group.0))
    };
    let Some(keys) = keys.iter().map(key).collect::<Option<Vec<_>>>() else { return Ok(None) };
    Ok(Some(Arc::new(RepartitionExec::try_new(rows, Partitioning::Hash(keys, *partitions))?)))
}

/// True if the rows come in every order that an aggregate wants.
fn has_its_order(groups: &AggregateExec) -> Result<bool> {
    let Some(wanted) = groups.required_input_ordering().into_iter().flatten().next() else { return Ok(true) };
    groups.input().equivalence_properties().ordering_satisfy_requirement(wanted.into_single())
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::memory_pool::{
        MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, UnboundedMemoryPool,
    };
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::functions::register_all;
    use crate::engine::plan::physical::physical_rules;
    use crate::engine::statement_pool::StatementPool;

    /// The most that an aggregate held in a pool.
    #[derive(Debug)]
    struct Watched {
        pool: StatementPool,
        most: AtomicUsize,
    }

    impl Watched {
        fn new(limit: usize) -> Self {
            Self { pool: StatementPool::new(limit), most: AtomicUsize::new(0) }
        }

        fn watch(&self, reservation: &MemoryReservation, additional: usize) {
            if reservation.consumer().name().contains("AggregateStream[") {
                self.most.fetch_max(reservation.size() + additional, Ordering::Relaxed);
            }
        }
    }

    impl MemoryPool for Watched {
        fn name(&self) -> &str {
            self.pool.name()
        }

        fn register(&self, consumer: &MemoryConsumer) {
            self.pool.register(consumer);
        }

        fn unregister(&self, consumer: &MemoryConsumer) {
            self.pool.unregister(consumer);
        }

        fn grow(&self, reservation: &MemoryReservation, additional: usize) {
            self.watch(reservation, additional);
            self.pool.grow(reservation, additional);
        }

        fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
            self.pool.shrink(reservation, shrink);
        }

        fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
            self.pool.try_grow(reservation, additional)?;
            self.watch(reservation, additional);
            Ok(())
        }

        fn reserved(&self) -> usize {
            self.pool.reserved()
        }

        fn memory_limit(&self) -> MemoryLimit {
            self.pool.memory_limit()
        }
    }

    impl fmt::Display for Watched {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(&self.pool, f)
        }
    }

    /// Rows of 100 groups, of which some have no key or no value, in two partitions and in no order.
    fn table(rows: i64) -> MemTable {
        let batches =
            |first: i64| -> Vec<RecordBatch> { (first..rows / 1_000).step_by(2).map(batch).collect() };
        MemTable::try_new(batch(0).schema(), vec![batches(0), batches(1)]).unwrap()
    }

    fn batch(part: i64) -> RecordBatch {
        let numbers = || part * 1_000..(part + 1) * 1_000;
        let groups = Int64Array::from_iter(numbers().map(|n| (n % 101 > 0).then_some(n * 7_919 % 99)));
        let kinds = StringArray::from_iter_values(numbers().map(|n| format!("kind {}", n * 31 % 7)));
        let values =
            Float64Array::from_iter(numbers().map(|n| (n % 13 > 0).then_some((n * 37 % 1_009) as f64)));
        let words = StringArray::from_iter_values(
            numbers().map(|n| format!("a word of sixty letters: {:035}", n % 500)),
        );
        let columns: [(&str, ArrayRef); 5] = [
            ("n", Arc::new(Int64Array::from_iter_values(numbers()))),
            ("g", Arc::new(groups)),
            ("kind", Arc::new(kinds)),
            ("v", Arc::new(values)),
            ("word", Arc::new(words)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A session whose rules see the one pool, and whose statements take from the other.
    fn session(rules: &Arc<dyn MemoryPool>, pool: Arc<dyn MemoryPool>, rows: i64) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(2)
            .with_batch_size(512)
            .with_sort_spill_reservation_bytes(64 << 10);
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(physical_rules(rules))
            .build();
        register_all(&mut state).unwrap();
        let session = SessionContext::new_with_state(state);
        session.register_table("t", Arc::new(table(rows))).unwrap();
        session
    }

    async fn answer(session: &SessionContext, sql: &str) -> Vec<String> {
        let rows = session.sql(sql).await.unwrap().collect().await.unwrap();
        let rows = pretty_format_batches(&rows).unwrap().to_string();
        let mut rows: Vec<String> = rows.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    async fn plan(session: &SessionContext, sql: &str) -> String {
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    fn unbounded() -> Arc<dyn MemoryPool> {
        Arc::new(UnboundedMemoryPool::default())
    }

    fn little() -> Arc<dyn MemoryPool> {
        Arc::new(StatementPool::new(1_000))
    }

    #[tokio::test]
    async fn sorted_aggregates_answer_as_hashed_ones() {
        let sorted = session(&little(), unbounded(), 6_000);
        let hashed = session(&unbounded(), unbounded(), 6_000);
        for aggregates in [
            "median(v)",
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY v DESC), count(*)",
            "percentile_disc(0.3) WITHIN GROUP (ORDER BY v)",
            "array_agg(n ORDER BY v DESC, n), sum(n)",
            "string_agg(word, ',' ORDER BY n)",
            "cardinality(array_agg(word)), length(string_agg(word, '; '))",
            "count(DISTINCT v), count(DISTINCT word)",
            "median(v) FILTER (WHERE n > 1000), max(word)",
        ] {
            for keys in ["g", "g, kind", "n / 90"] {
                let sql = format!("SELECT {keys}, {aggregates} FROM t GROUP BY {keys}");
                assert_eq!(answer(&sorted, &sql).await, answer(&hashed, &sql).await, "{sql}");
                let hashing = plan(&hashed, &sql).await;
                assert!(!hashing.contains("SortExec"), "{hashing}");
                let plan = plan(&sorted, &sql).await;
                assert!(plan.contains("SortExec") && !plan.contains("mode=Partial"), "{plan}");
                assert!(
                    plan.contains("mode=SinglePartitioned") && plan.contains("ordering_mode=Sorted"),
                    "{plan}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_keeps_little_is_hashed() {
        let (sorted, hashed) =
            (session(&little(), unbounded(), 6_000), session(&unbounded(), unbounded(), 6_000));
        for sql in [
            "SELECT g, sum(v), max(word), count(*) FROM t GROUP BY g",
            "SELECT g, approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM t GROUP BY g",
            "SELECT g, kind, median(v) FROM t GROUP BY ROLLUP (g, kind)",
            "SELECT v, array_agg(n ORDER BY n) FROM t GROUP BY v",
            "SELECT median(v) FROM t",
        ] {
            let plan = plan(&sorted, sql).await;
            assert!(!plan.contains("ordering_mode=Sorted"), "{plan}");
            if !sql.contains("approx") {
                assert_eq!(answer(&sorted, sql).await, answer(&hashed, sql).await, "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn what_streams_have_no_share_for_is_sorted() {
        let pool: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(48 << 20));
        let session = session(&pool, Arc::clone(&pool), 150_000);
        let sets = "SELECT g, count(DISTINCT n) AS n, count(DISTINCT word) AS words FROM t GROUP BY g";
        let plan = plan(&session, sets).await;
        assert!(plan.contains("ordering_mode=Sorted"), "{plan}");
        let rows = answer(&session, &format!("SELECT count(*) AS g, sum(n) AS n FROM ({sets}) AS x")).await;
        assert!(rows.iter().any(|row| row.contains("| 100 | 150000 |")), "{rows:?}");
    }

    #[tokio::test]
    async fn one_group_is_held_of_many_rows() {
        let watched = Arc::new(Watched::new(12 << 20));
        let pool: Arc<dyn MemoryPool> = Arc::clone(&watched) as _;
        let session = session(&pool, Arc::clone(&pool), 200_000);
        let sql = "SELECT sum(length(s)) AS n, count(m) AS m FROM \
                   (SELECT g, string_agg(word, '') AS s, median(v) AS m FROM t GROUP BY g) AS x";
        let rows = answer(&session, sql).await;
        assert!(rows.iter().any(|row| row.contains("| 12000000 | 100 |")), "{rows:?}");
        let most = watched.most.load(Ordering::Relaxed);
        assert!((1..1 << 20).contains(&most), "{most}");
        drop(session);
        assert_eq!(pool.reserved(), 0);
    }
}
