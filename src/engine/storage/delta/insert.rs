//! INSERT: rows stream to data files, then one commit makes them visible together; few rows share both with others.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::datasource::sink::DataSink;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use futures::{Stream, StreamExt, stream};

use crate::engine::controlled::{control_of, controlled, current_control};
use crate::engine::storage::delta::append::{self, Append};
use crate::engine::storage::delta::constraints::Constraints;
use crate::engine::storage::delta::maintain;
use crate::engine::storage::delta::scan::ScanColumns;
use crate::engine::storage::delta::table::StoredTable;
use crate::engine::storage::delta::writer::{WriteTarget, write_rows};
use crate::engine::storage::row_memory::RowMemory;

/// A statement with more rows writes files of its own.
const APPENDED_ROWS_MAX: usize = 1024;

/// Takes the rows of one INSERT.
#[derive(Debug)]
pub struct InsertSink {
    table: Arc<StoredTable>,
    columns: ScanColumns,
    cluster_by: Vec<String>,
    constraints: Constraints,
    layout_changes: u64,
    overwrite: bool,
}

impl InsertSink {
    /// The sink for rows of `columns`; with `overwrite` they replace all rows there are.
    pub fn new(
        table: Arc<StoredTable>,
        columns: ScanColumns,
        cluster_by: Vec<String>,
        constraints: Constraints,
        layout_changes: u64,
        overwrite: bool,
    ) -> Self {
        Self { table, columns, cluster_by, constraints, layout_changes, overwrite }
    }

    /// The rows as they are stored, checked.
    fn prepared(&self, rows: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch>> + Send {
        rows.map(|batch| {
            let batch = cast_to(&batch?, &self.columns.visible)?;
            self.constraints.verify(&batch)?;
            Ok(RecordBatch::try_new(self.columns.in_files(), batch.columns().to_vec())?)
        })
    }

    /// Adds the rows: few of them with those of other statements.
    async fn write(&self, rows: SendableRecordBatchStream, context: &TaskContext) -> Result<u64> {
        let mut rows = pin!(self.prepared(rows));
        let (mut first, mut count) = (Vec::new(), 0);
        let mut memory = RowMemory::new("rows of an INSERT", context.memory_pool());
        while !self.overwrite && count <= APPENDED_ROWS_MAX {
            let Some(batch) = rows.next().await.transpose()? else {
                return self.append(first, memory, context).await;
            };
            memory.hold(&batch)?;
            count += batch.num_rows();
            first.push(batch);
        }
        drop(memory);
        self.stream(stream::iter(first.into_iter().map(Ok)).chain(rows), context).await
    }

    /// Adds few rows with those of other statements.
    async fn append(&self, rows: Vec<RecordBatch>, memory: RowMemory, context: &TaskContext) -> Result<u64> {
        let count = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        if count > 0 {
            let append = Append {
                rows,
                schema: self.columns.in_files(),
                cluster_by: self.cluster_by.clone(),
                layout_changes: self.layout_changes,
                control: current_control(),
                runtime: context.runtime_env(),
                _memory: memory,
            };
            append::append(&self.table, append).await?;
        }
        Ok(count)
    }

    /// Writes rows to files of their own while they come.
    async fn stream(
        &self,
        rows: impl Stream<Item = Result<RecordBatch>> + Send,
        context: &TaskContext,
    ) -> Result<u64> {
        let target = WriteTarget::new(self.table.directory()?, self.columns.in_files(), &self.cluster_by);
        let files = write_rows(target, rows, Ok).await?;
        let count = files.rows();
        if count == 0 && !self.overwrite {
            return Ok(0);
        }
        let _lock = self.table.write_lock().await?;
        if self.table.layout_changes() != self.layout_changes {
            return Err(self.table.altered().into());
        }
        append::commit_files(&self.table, files, self.overwrite).await?;
        maintain::compact_in_background(&self.table, self.cluster_by.clone(), context.runtime_env());
        Ok(count)
    }
}

/// The rows of `batch` in the types of `schema`, by position; a value that does not fit is an error.
pub fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            Ok(cast_with_options(column, field.data_type(), &options)?)
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>>>()?)?)
}

impl DisplayAs for InsertSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InsertSink: table={}, overwrite={}", self.table.label(), self.overwrite)
    }
}

#[async_trait]
impl DataSink for InsertSink {
    fn schema(&self) -> &SchemaRef {
        &self.columns.visible
    }

    async fn write_all(&self, rows: SendableRecordBatchStream, context: &Arc<TaskContext>) -> Result<u64> {
        controlled(control_of(context), self.write(rows, context)).await
    }
}
