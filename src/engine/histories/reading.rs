//! Reading a history into memory.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
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
        _ => usize::MAX,
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
    pub async fn read(self, limit: usize) -> Result<Outcome> {
        let columns = self.types.fields().len() as u64;
        let least = self.sources.rows().map_or(0, |rows| rows.saturating_mul(columns * VALUE_BYTES));
        if least > limit as u64 {
            return Ok(Outcome::Refused);
        }
        let memory = MemoryConsumer::new("histories").register(&self.runtime.memory_pool);
        let Some(rows) = self.collect(&self.rows, &memory, limit).await? else { return Ok(Outcome::Refused) };
        let rows = Arc::new(KeptRows::new(self.rows.schema(), rows, self.keys)?);
        memory.try_grow(rows.index_size())?;
        let periods = match &self.periods {
            Some(plan) => {
                let Some(batches) = self.collect(plan, &memory, limit).await? else {
                    return Ok(Outcome::Refused);
                };
                Some(Arc::new(MemTable::try_new(plan.schema(), vec![batches])?))
            }
            None => None,
        };
        let Self { plan, types, sources, .. } = self;
        if !sources.are_newest() {
            return Ok(Outcome::Later);
        }
        Ok(Outcome::Kept(Arc::new(History { plan, types, rows, periods, sources, memory })))
    }

    async fn collect(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        memory: &MemoryReservation,
        limit: usize,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let context = TaskContext::default().with_runtime(Arc::clone(&self.runtime));
        let mut rows = execute_stream(Arc::clone(plan), Arc::new(context))?;
        let mut batches = vec![];
        while let Some(batch) = rows.next().await.transpose()? {
            memory.try_grow(batch.get_array_memory_size())?;
            if memory.size() > limit {
                return Ok(None);
            }
            batches.push(batch);
        }
        Ok(Some(batches))
    }
}
