//! Reading a history into memory.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::StreamExt;

use super::{History, KeptRows, Outcome, Sources};

/// One in so many bytes of the memory limit is for histories.
const MEMORY_SHARE: usize = 8;

/// Fewest bytes of a value in memory: a history that is larger even so is not begun.
const VALUE_BYTES: u64 = 4;

/// The bytes that all histories together may take.
pub fn memory_share(runtime: &RuntimeEnv) -> usize {
    match runtime.memory_pool.memory_limit() {
        MemoryLimit::Finite(limit) => limit / MEMORY_SHARE,
        _ => usize::MAX / MEMORY_SHARE,
    }
}

/// A history that is about to be read; it holds nothing of the database but tables and memory.
#[derive(Debug)]
pub struct Reading {
    /// The plan with its definers.
    pub plan: LogicalPlan,
    /// The columns in the user's types.
    pub types: SchemaRef,
    /// Where the rows come from.
    pub sources: Sources,
    /// Leading columns of `rows` that are keys.
    pub keys: usize,
    /// The rows, sorted by key and time.
    pub rows: Arc<dyn ExecutionPlan>,
    /// The periods, where there are some.
    pub periods: Option<Arc<dyn ExecutionPlan>>,
    /// Where it is read.
    pub runtime: Arc<RuntimeEnv>,
}

impl Reading {
    /// Reads all of it; `Refused` when it is larger than `limit`, `Later` when a table has changed meanwhile.
    ///
    /// What is kept and what sorts it take `limit` bytes together, set aside before: statements that run
    /// meanwhile lose no more memory than this.
    pub async fn read(self, limit: usize) -> Result<Outcome> {
        let columns = self.types.fields().len() as u64;
        let least = self.sources.rows().map_or(0, |rows| rows.saturating_mul(columns * VALUE_BYTES));
        if least > limit as u64 {
            return Ok(Outcome::Refused);
        }
        let memory = MemoryConsumer::new("histories").register(&self.runtime.memory_pool);
        memory.try_grow(limit)?;
        let context = Arc::new(within(limit, &self.runtime)?);
        let kept = MemoryConsumer::new("histories").register(context.memory_pool());
        let (rows, periods) = match self.rows_and_periods(&context, &kept).await {
            Err(e) if matches!(e.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                return Ok(Outcome::Refused);
            }
            read => read?,
        };
        let Self { plan, types, sources, .. } = self;
        if !sources.are_newest() {
            return Ok(Outcome::Later);
        }
        memory.try_resize(kept.size())?;
        Ok(Outcome::Kept(Arc::new(History { plan, types, rows, periods, sources, memory })))
    }

    async fn rows_and_periods(&self, context: &Arc<TaskContext>, kept: &MemoryReservation) -> Result<Parts> {
        let rows = collect(&self.rows, context, kept).await?;
        let rows = KeptRows::new(self.rows.schema(), rows, self.keys)?;
        kept.try_grow(rows.index_size())?;
        let Some(plan) = &self.periods else { return Ok((Arc::new(rows), None)) };
        let periods = MemTable::try_new(plan.schema(), vec![collect(plan, context, kept).await?])?;
        Ok((Arc::new(rows), Some(Arc::new(periods))))
    }
}

/// The rows and the periods.
type Parts = (Arc<KeptRows>, Option<Arc<MemTable>>);

/// A context whose memory is `limit` bytes.
fn within(limit: usize, runtime: &RuntimeEnv) -> Result<TaskContext> {
    let pool = Arc::new(FairSpillPool::new(limit));
    let runtime = RuntimeEnvBuilder::from_runtime_env(runtime).with_memory_pool(pool).build_arc()?;
    let defaults = SessionConfig::new();
    let for_merging = defaults.options().execution.sort_spill_reservation_bytes.min(limit / 16);
    let config = defaults.with_sort_spill_reservation_bytes(for_merging);
    Ok(TaskContext::default().with_session_config(config).with_runtime(runtime))
}

async fn collect(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    kept: &MemoryReservation,
) -> Result<Vec<RecordBatch>> {
    let mut rows = execute_stream(Arc::clone(plan), Arc::clone(context))?;
    let mut batches = vec![];
    while let Some(batch) = rows.next().await.transpose()? {
        kept.try_grow(batch.get_array_memory_size())?;
        batches.push(batch);
    }
    Ok(batches)
}
