//! Tables of one session, in memory, gone with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::Constraints;
use datafusion::datasource::memory::PartitionData;
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{ColumnarValue, Expr, TypeSignature};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, collect};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::engine::controlled::control_of;
use crate::engine::storage::{Change, ChangeExec, NextValue, RowMemory};
use crate::error::{Error, ErrorKind, Result, Subject};

/// The schema that temporary tables may be written with.
pub const TEMPORARY_SCHEMA: &str = "pg_temp";

/// What a temporary table is made with besides its columns.
#[derive(Debug, Clone, Default)]
pub struct TemporaryDefinition {
    /// Values of columns that are not given.
    pub defaults: HashMap<String, Expr>,
    /// Names of keys, which are not kept.
    pub keys: Vec<String>,
    /// IF NOT EXISTS.
    pub skip: bool,
}

/// A call that gives 1, 2, 3, …: the numbers of a SERIAL column, gone with its table.
pub fn count_from_one() -> Expr {
    let next = AtomicI64::new(1);
    let take = move |_: &[ColumnarValue], rows: usize| {
        let rows = rows as i64;
        let first = next.fetch_add(rows, Ordering::Relaxed);
        Ok((first..first + rows).collect())
    };
    NextValue::udf(TypeSignature::Nullary, take).call(vec![])
}

/// The temporary tables of a session, by name.
#[derive(Debug, Default)]
pub struct TemporaryTables(MemorySchemaProvider);

impl TemporaryTables {
    /// Those of the session that this state is of.
    pub fn of(state: &SessionState) -> Option<Arc<Self>> {
        state.config().get_extension::<Self>()
    }

    /// As a schema.
    pub fn schema(&self) -> &MemorySchemaProvider {
        &self.0
    }

    /// The table of this name.
    pub async fn table(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.0.table(name).await.ok().flatten()
    }

    /// True when there is no table.
    pub fn is_empty(&self) -> bool {
        self.0.table_names().is_empty()
    }

    /// True when there is a table of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }

    /// Memory of this pool for the rows of a table.
    pub fn memory(pool: &Arc<dyn MemoryPool>) -> RowMemory {
        RowMemory::new("rows of a temporary table", pool)
    }

    /// Creates a table, whose rows `memory` holds; false when there is one already.
    pub fn create(
        &self,
        name: &str,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        memory: RowMemory,
        rest: TemporaryDefinition,
    ) -> Result<bool> {
        if self.has(name) {
            if rest.skip {
                return Ok(false);
            }
            let message = format!("table {name} already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Table, message));
        }
        let rows = MemTable::try_new(schema, vec![rows])?.with_column_defaults(rest.defaults);
        let table = TemporaryTable { rows: Arc::new(rows), memory: Arc::new(Mutex::new(memory)) };
        self.0.register_table(name.to_owned(), Arc::new(table))?;
        Ok(true)
    }

    /// Drops a table.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        self.0.deregister_table(name)?;
        Ok(())
    }

    /// Drops all.
    pub fn clear(&self) {
        for name in self.0.table_names() {
            let _ = self.0.deregister_table(&name);
        }
    }
}

/// The rows of a temporary table, and the memory that holds them.
#[derive(Debug, Clone)]
struct TemporaryTable {
    /// One partition.
    rows: Arc<MemTable>,
    memory: Arc<Mutex<RowMemory>>,
}

#[async_trait]
impl TableProvider for TemporaryTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.rows.constraints()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.rows.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.rows.scan(state, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        // Its checks are needed, its plan would keep rows that no pool knows of.
        self.rows.insert_into(state, Arc::clone(&input), operation).await?;
        let sink = TemporarySink {
            schema: self.rows.schema(),
            rows: Arc::clone(&self.rows.batches[0]),
            memory: Arc::clone(&self.memory),
        };
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }

    async fn delete_from(&self, state: &dyn Session, filters: Vec<Expr>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.change(state, filters, None)
    }

    async fn update(
        &self,
        state: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.change(state, filters, Some(assignments))
    }
}

impl TemporaryTable {
    fn change(
        &self,
        state: &dyn Session,
        filters: Vec<Expr>,
        assignments: Option<Vec<(String, Expr)>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let state = state.as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| Error::internal("temporary tables are of a session"))?.clone();
        let change = TemporaryChange { table: self.clone(), state, filters, assignments };
        Ok(Arc::new(ChangeExec::new(Arc::new(change))))
    }
}

/// A DELETE or UPDATE of a temporary table, which DataFusion would make while it is planned.
#[derive(Debug)]
struct TemporaryChange {
    table: TemporaryTable,
    state: SessionState,
    filters: Vec<Expr>,
    /// The new values of an UPDATE.
    assignments: Option<Vec<(String, Expr)>>,
}

impl fmt::Display for TemporaryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.assignments.is_some() { "UPDATE" } else { "DELETE" })?;
        f.write_str(" of a temporary table")
    }
}

impl Change for TemporaryChange {
    fn apply(self: Arc<Self>, context: Arc<TaskContext>) -> BoxFuture<'static, Result<u64>> {
        Box::pin(async move {
            control_of(&context).commit_begins()?;
            let made = match &self.assignments {
                Some(assignments) => self.update(assignments.clone()).await?,
                None => self.delete().await?,
            };
            let counted = collect(made, context).await?;
            let count = counted.first().and_then(|batch| batch.column(0).as_primitive_opt::<UInt64Type>());
            Ok(count.filter(|count| !count.is_empty()).map_or(0, |count| count.value(0)))
        })
    }
}

impl TemporaryChange {
    async fn delete(&self) -> DfResult<Arc<dyn ExecutionPlan>> {
        let TemporaryTable { rows, memory } = &self.table;
        let deleted = rows.delete_from(&self.state, self.filters.clone()).await?;
        let rows = rows.batches[0].read().await;
        memory.lock().keep_only(&rows);
        Ok(deleted)
    }

    async fn update(&self, assignments: Vec<(String, Expr)>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let TemporaryTable { rows, memory } = &self.table;
        let before = rows.batches[0].read().await.clone();
        let updated = rows.update(&self.state, assignments, self.filters.clone()).await?;
        let mut rows = rows.batches[0].write().await;
        let kept = memory.lock().try_keep_only(&rows);
        if kept.is_err() {
            *rows = before;
            memory.lock().keep_only(&rows);
        }
        kept.map(|()| updated)
    }
}

/// Takes the rows of one INSERT into a temporary table: all of them, or none.
#[derive(Debug)]
struct TemporarySink {
    schema: SchemaRef,
    rows: PartitionData,
    memory: Arc<Mutex<RowMemory>>,
}

impl DisplayAs for TemporarySink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TemporaryTable")
    }
}

#[async_trait]
impl DataSink for TemporarySink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, rows: SendableRecordBatchStream, context: &Arc<TaskContext>) -> DfResult<u64> {
        let mut memory = TemporaryTables::memory(context.memory_pool());
        let mut batches = memory.collect(rows).await?;
        let count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let mut rows = self.rows.write().await;
        control_of(context).commit_begins()?;
        self.memory.lock().take_over(memory, &batches);
        rows.append(&mut batches);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::UnboundedMemoryPool;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::prelude::SessionConfig;

    use super::*;
    use crate::ml::Control;

    async fn insert(sink: &TemporarySink, batch: &RecordBatch, control: &Arc<Control>) -> DfResult<u64> {
        let config = SessionConfig::new().with_extension(Arc::clone(control));
        let context = Arc::new(TaskContext::default().with_session_config(config));
        let rows = futures::stream::iter([Ok(batch.clone())]);
        sink.write_all(Box::pin(RecordBatchStreamAdapter::new(batch.schema(), rows)), &context).await
    }

    #[tokio::test]
    async fn an_insert_is_cancelled_before_its_rows_are_there_or_not_at_all() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let memory = Arc::new(Mutex::new(TemporaryTables::memory(&pool)));
        let sink = TemporarySink { schema: batch.schema(), rows: Arc::default(), memory };
        let control = Arc::new(Control::default());
        assert_eq!(insert(&sink, &batch, &control).await.unwrap(), 2);
        assert!(!control.cancel());
        let control = Arc::new(Control::default());
        control.cancel();
        let error = Error::from(insert(&sink, &batch, &control).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(sink.rows.read().await.len(), 1);
    }
}
