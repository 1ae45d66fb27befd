//! INSERT: rows stream to data files, then one commit makes them visible together.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::datasource::sink::DataSink;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};

use crate::engine::storage::delta::constraints::Constraints;
use crate::engine::storage::delta::directory::NewFiles;
use crate::engine::storage::delta::scan::ScanColumns;
use crate::engine::storage::delta::snapshot::Snapshot;
use crate::engine::storage::delta::table::{Commit, StoredTable};
use crate::engine::storage::delta::writer::{WriteTarget, write_rows};
use crate::error::{Error, ErrorKind, Result as OurResult};

/// How often an append starts over on a newer version after another program changed the table.
const APPEND_ATTEMPTS: usize = 10;

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

    async fn write(&self, rows: SendableRecordBatchStream) -> Result<NewFiles> {
        let directory = self.table.directory()?;
        let target = WriteTarget::new(directory, self.columns.in_files(), &self.cluster_by);
        write_rows(target, rows, |batch| {
            let batch = cast_to(&batch, &self.columns.visible)?;
            self.constraints.verify(&batch)?;
            Ok(batch)
        })
        .await
    }

    async fn commit(&self, files: NewFiles) -> OurResult<u64> {
        let rows = files.rows();
        if rows == 0 && !self.overwrite {
            return Ok(0);
        }
        let _lock = self.table.write_lock().await;
        if self.table.layout_changes() != self.layout_changes {
            return Err(self.table.altered());
        }
        let files = Arc::new(files);
        for attempt in 1.. {
            let base = self.table.latest().await?;
            let commit = self.commit_on(&base, &files);
            match self.table.commit(base, commit).await {
                Err(e) if conflicts(&e) && attempt < APPEND_ATTEMPTS => {}
                done => return done.map(|_| rows),
            }
        }
        Ok(rows)
    }

    fn commit_on(&self, base: &Snapshot, files: &Arc<NewFiles>) -> Commit {
        let replaced = base.files.iter().filter(|_| self.overwrite);
        let removes = replaced.map(|f| Action::Remove(f.remove_action(true)));
        Commit {
            operation: if self.overwrite { "INSERT OVERWRITE" } else { "INSERT" },
            actions: removes.chain(files.adds().iter().cloned().map(Action::Add)).collect(),
            delta: DeltaOperation::Write {
                mode: if self.overwrite { SaveMode::Overwrite } else { SaveMode::Append },
                partition_by: None,
                predicate: None,
            },
            rows: files.rows(),
            files: Some(Arc::clone(files)),
        }
    }
}

fn conflicts(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.message().contains("was changed by another writer")
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

    async fn write_all(&self, rows: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let _writing = self.table.writing().await;
        let files = self.write(rows).await?;
        self.commit(files).await.map_err(Into::into)
    }
}
