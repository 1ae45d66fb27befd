//! Tables of one session, in memory, gone with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, Session, TableProvider};
use datafusion::common::{Constraints, DFSchema};
use datafusion::datasource::memory::PartitionData;
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{ColumnarValue, Expr, TypeSignature};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::engine::controlled::control_of;
use crate::engine::storage::{
    Change, ChangeExec, NextValue, RowChange, RowMemory, matching_rows, physical_expr, unqualified,
};
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
    /// Locked by who changes the rows.
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
        self.change(state, filters, RowChange::Delete)
    }

    async fn update(
        &self,
        state: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = self.rows.schema();
        let assignments = assignments
            .into_iter()
            .map(|(column, value)| Ok((schema.index_of(&column)?, self.physical(state, value)?)));
        let assignments = assignments.collect::<DfResult<Vec<_>>>()?;
        self.change(state, filters, RowChange::Update(assignments))
    }

    async fn truncate(&self, state: &dyn Session) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.change(state, vec![], RowChange::Delete)
    }
}

impl TemporaryTable {
    fn physical(&self, state: &dyn Session, expr: Expr) -> DfResult<Arc<dyn PhysicalExpr>> {
        let schema = DFSchema::try_from(self.rows.schema())?;
        physical_expr(state, &unqualified(expr)?, &schema)
    }

    fn change(
        &self,
        state: &dyn Session,
        filters: Vec<Expr>,
        change: RowChange,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let predicate = conjunction(filters).map(|filter| self.physical(state, filter)).transpose()?;
        let change = TemporaryChange { table: self.clone(), predicate, change };
        Ok(Arc::new(ChangeExec::new(Arc::new(change))))
    }
}

/// A DELETE, UPDATE or TRUNCATE of a temporary table.
#[derive(Debug)]
struct TemporaryChange {
    table: TemporaryTable,
    /// True for the rows to change; `None` changes every row.
    predicate: Option<Arc<dyn PhysicalExpr>>,
    change: RowChange,
}

impl fmt::Display for TemporaryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.change {
            RowChange::Delete => "DELETE",
            RowChange::Update(_) => "UPDATE",
        })?;
        f.write_str(" of a temporary table")
    }
}

impl Change for TemporaryChange {
    fn apply(self: Arc<Self>, context: Arc<TaskContext>) -> BoxFuture<'static, Result<u64>> {
        Box::pin(async move {
            let TemporaryTable { rows, memory } = &self.table;
            // Held to the end: nobody else changes the rows. Subqueries of the change read them.
            let mut memory = memory.lock().await;
            let before = rows.batches[0].read().await.clone();
            let control = control_of(&context);
            let mut changed = Changed::new(context.memory_pool());
            for batch in before {
                control.check()?;
                self.change_batch(batch, &mut changed)?;
            }
            let mut rows = rows.batches[0].write().await;
            control.commit_begins()?;
            memory.keep_only(&changed.batches);
            *rows = changed.batches;
            Ok(changed.count)
        })
    }
}

impl TemporaryChange {
    fn change_batch(&self, batch: RecordBatch, changed: &mut Changed) -> DfResult<()> {
        let matching = matching_rows(self.predicate.as_ref(), &batch)?;
        if matching.true_count() == 0 {
            changed.batches.push(batch);
            return Ok(());
        }
        // New values may be NULL where those of the batch are known not to be.
        let batch = RecordBatch::try_new(self.table.rows.schema(), batch.columns().to_vec())?;
        let batch = self.change.apply(&batch, &matching)?;
        changed.memory.hold(&batch)?;
        changed.count += matching.true_count() as u64;
        changed.batches.extend(Some(batch).filter(|batch| batch.num_rows() > 0));
        Ok(())
    }
}

/// The rows as they are after a change, and how many of them it was about.
struct Changed {
    batches: Vec<RecordBatch>,
    count: u64,
    /// What the changed ones take while those before are there as well.
    memory: RowMemory,
}

impl Changed {
    fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        Self { batches: vec![], count: 0, memory: TemporaryTables::memory(pool) }
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
        let mut held = self.memory.lock().await;
        let mut rows = self.rows.write().await;
        control_of(context).commit_begins()?;
        held.take_over(memory, &batches);
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

    #[tokio::test]
    async fn a_change_is_cancelled_before_its_rows_are_there_or_not_at_all() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let memory = Arc::new(Mutex::new(TemporaryTables::memory(&pool)));
        let rows = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap());
        let table = TemporaryTable { rows: Arc::clone(&rows), memory };
        let change = TemporaryChange { table, predicate: None, change: RowChange::Delete };
        let change = Arc::new(change);
        let apply = |control: &Arc<Control>| {
            let config = SessionConfig::new().with_extension(Arc::clone(control));
            let context = TaskContext::default().with_session_config(config);
            Arc::clone(&change).apply(Arc::new(context))
        };
        let control = Arc::new(Control::default());
        control.cancel();
        assert_eq!(apply(&control).await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(rows.batches[0].read().await.len(), 1);

        // What waits for a reader has begun nothing that could not be stopped.
        let control = Arc::new(Control::default());
        let reading = rows.batches[0].read().await;
        let waiting = tokio::spawn(apply(&control));
        tokio::task::yield_now().await;
        assert!(control.cancel());
        drop(reading);
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(rows.batches[0].read().await.len(), 1);

        let control = Arc::new(Control::default());
        assert_eq!(apply(&control).await.unwrap(), 2);
        assert!(!control.cancel());
        assert!(rows.batches[0].read().await.is_empty());
    }
}
