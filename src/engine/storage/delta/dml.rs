//! DELETE, UPDATE and TRUNCATE: files with a matching row are written anew, all in one commit.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, not, prep_null_mask_filter};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::execute_stream;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::engine::storage::delta::constraints::Constraints;
use crate::engine::storage::delta::directory::NewFiles;
use crate::engine::storage::delta::exec::Change;
use crate::engine::storage::delta::held::TableLock;
use crate::engine::storage::delta::scan::{Scan, ScanColumns};
use crate::engine::storage::delta::snapshot::{DataFile, Snapshot};
use crate::engine::storage::delta::table::{Commit, StoredTable};
use crate::engine::storage::delta::writer::{WriteTarget, write_rows};
use crate::engine::storage::row_memory::RowMemory;
use crate::error::Result;

/// What happens to the rows that match.
#[derive(Debug)]
pub enum RowChange {
    /// They go.
    Delete,
    /// These columns (by position) get these values.
    Update(Vec<(usize, Arc<dyn PhysicalExpr>)>),
}

impl RowChange {
    /// The rows of a batch as they are after it is made of those that match.
    pub fn apply(&self, batch: &RecordBatch, matching: &BooleanArray) -> DfResult<RecordBatch> {
        match self {
            Self::Delete => Ok(filter_record_batch(batch, &not(matching)?)?),
            Self::Update(assignments) => update(batch, matching, assignments),
        }
    }
}

/// The rows that a change is about, for who asks for them by putting this into its session: the change waits with its
/// commit until they were looked at.
#[derive(Debug)]
pub struct ReturnedRows {
    rows: Mutex<(Vec<RecordBatch>, RowMemory)>,
    complete: Notify,
    seen: Notify,
}

impl ReturnedRows {
    /// None yet; they take memory of this pool for as long as this lives.
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let rows = Mutex::new((vec![], RowMemory::new("rows of RETURNING", pool)));
        Self { rows, complete: Notify::new(), seen: Notify::new() }
    }

    fn of(context: &TaskContext) -> Option<Arc<Self>> {
        context.session_config().get_extension::<Self>()
    }

    fn push(&self, rows: RecordBatch) -> DfResult<()> {
        let (kept, memory) = &mut *self.rows.lock();
        memory.hold(&rows)?;
        kept.push(rows);
        Ok(())
    }

    /// Shows all rows, and waits until they were seen.
    async fn show(&self) {
        self.complete.notify_one();
        self.seen.notified().await;
    }

    /// Returns once there are all rows.
    pub async fn complete(&self) {
        self.complete.notified().await;
    }

    /// Lets the change go on to its commit; where it is dropped instead, nothing has changed.
    pub fn seen(&self) {
        self.seen.notify_one();
    }

    /// The rows with the columns that SQL knows.
    pub fn take(&self, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let known = |rows: RecordBatch| {
            let columns = rows.columns()[..schema.fields().len()].to_vec();
            RecordBatch::try_new(Arc::clone(schema), columns).map_err(|e| DataFusionError::from(e).into())
        };
        std::mem::take(&mut self.rows.lock().0).into_iter().map(known).collect()
    }
}

/// A DELETE, UPDATE or TRUNCATE over the newest version there is when it runs.
#[derive(Debug)]
pub struct RowsChange {
    /// The table.
    pub table: Arc<StoredTable>,
    /// Its columns as the expressions know them.
    pub columns: ScanColumns,
    /// Stored names of the columns the rows are kept sorted by.
    pub cluster_by: Vec<String>,
    /// True for the rows to change; `None` changes every row.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// What the bounds of a file must meet to hold such a row.
    pub pruning: Option<PruningPredicate>,
    /// What to do with them.
    pub change: RowChange,
    /// What changed rows must meet.
    pub constraints: Constraints,
    /// State of the table's columns and constraints when the statement was planned.
    pub layout_changes: u64,
}

impl fmt::Display for RowsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} table={}", self.operation(), self.table.label())?;
        match &self.predicate {
            Some(predicate) => write!(f, ", predicate={predicate}"),
            None => Ok(()),
        }
    }
}

impl Change for RowsChange {
    fn apply(self: Arc<Self>, context: Arc<TaskContext>) -> BoxFuture<'static, Result<u64>> {
        Box::pin(async move { self.run(&context).await })
    }
}

impl RowsChange {
    fn operation(&self) -> &'static str {
        match (&self.change, &self.predicate) {
            (RowChange::Delete, None) => "TRUNCATE",
            (RowChange::Delete, Some(_)) => "DELETE",
            (RowChange::Update(_), _) => "UPDATE",
        }
    }

    async fn run(&self, context: &Arc<TaskContext>) -> Result<u64> {
        let held = TableLock::is_held(context, &self.table);
        let _lock = if held { None } else { Some(self.table.write_lock().await?) };
        if self.table.layout_changes() != self.layout_changes {
            return Err(self.table.altered());
        }
        self.run_locked(context).await
    }

    /// Makes the change for a caller that holds the write lock.
    pub async fn run_locked(&self, context: &Arc<TaskContext>) -> Result<u64> {
        let base = self.table.held().await?;
        let columns = all_columns(&self.columns, &base.snapshot);
        let scan = Scan {
            table: &self.table,
            version: &base,
            columns: &columns,
            cluster_by: &[],
            target_partitions: 1,
        };
        let mut changed = Changed { removed: Vec::new(), written: None, rows: 0 };
        for file in scan.matching_files(self.pruning.as_ref()) {
            self.change_file(&scan, &file, context, &mut changed).await?;
        }
        if let Some(returned) = ReturnedRows::of(context) {
            returned.show().await;
        }
        self.commit(base.snapshot, changed).await
    }

    async fn change_file(
        &self,
        scan: &Scan<'_>,
        file: &Arc<DataFile>,
        context: &Arc<TaskContext>,
        changed: &mut Changed,
    ) -> Result<()> {
        let deletes = matches!(self.change, RowChange::Delete);
        let (matching, rows) = match (&self.predicate, file.rows) {
            (None, Some(rows)) => (rows, rows),
            _ => self.count_matching(scan, file, context).await?,
        };
        if matching == 0 {
            return Ok(());
        }
        if deletes && matching == rows {
            changed.rows += matching;
            if let Some(returned) = ReturnedRows::of(context) {
                let mut batches = read(scan, file, None, context)?;
                while let Some(batch) = batches.next().await {
                    returned.push(batch?)?;
                }
            }
        } else {
            let (files, count) = self.rewrite(scan, file, context).await?;
            changed.rows += count;
            match &mut changed.written {
                Some(written) => written.extend(files),
                none => *none = Some(files),
            }
        }
        changed.removed.push(Arc::clone(file));
        Ok(())
    }

    /// Matching and all rows of `file`, reading only the columns of the predicate.
    async fn count_matching(
        &self,
        scan: &Scan<'_>,
        file: &Arc<DataFile>,
        context: &Arc<TaskContext>,
    ) -> Result<(u64, u64)> {
        let mut wanted: Vec<usize> =
            self.predicate.iter().flat_map(collect_columns).map(|column| column.index()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let projected = Schema::new(
            wanted.iter().map(|i| scan.columns.visible.field(*i).clone()).collect::<Vec<Field>>(),
        );
        let predicate = self.predicate.clone().map(|p| reassign_expr_columns(p, &projected)).transpose();
        let predicate = predicate?;
        let (mut matching, mut rows) = (0, 0);
        let mut batches = read(scan, file, Some(&wanted), context)?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            matching += matching_rows(predicate.as_ref(), &batch)?.true_count() as u64;
        }
        Ok((matching, rows))
    }

    /// Writes the rows of `file` anew with the change made; also says how many rows it changed.
    async fn rewrite(
        &self,
        scan: &Scan<'_>,
        file: &Arc<DataFile>,
        context: &Arc<TaskContext>,
    ) -> Result<(NewFiles, u64)> {
        let target = WriteTarget::new(self.table.directory()?, scan.columns.in_files(), &self.cluster_by);
        let returned = ReturnedRows::of(context);
        let mut count = 0;
        let written = write_rows(target, read(scan, file, None, context)?, |batch| {
            let matching = matching_rows(self.predicate.as_ref(), &batch)?;
            count += matching.true_count() as u64;
            self.change_rows(&batch, &matching, returned.as_deref())
        });
        let files = written.await?;
        Ok((files, count))
    }

    fn change_rows(
        &self,
        batch: &RecordBatch,
        matching: &BooleanArray,
        returned: Option<&ReturnedRows>,
    ) -> DfResult<RecordBatch> {
        let after = self.change.apply(batch, matching)?;
        match self.change {
            RowChange::Delete => {
                if let Some(returned) = returned {
                    returned.push(filter_record_batch(batch, matching)?)?;
                }
            }
            RowChange::Update(_) => {
                let changed = filter_record_batch(&after, matching)?;
                self.constraints.verify(&changed)?;
                if let Some(returned) = returned {
                    returned.push(changed)?;
                }
            }
        }
        Ok(after)
    }

    async fn commit(&self, base: Arc<Snapshot>, changed: Changed) -> Result<u64> {
        if changed.removed.is_empty() {
            return Ok(0);
        }
        let files = changed.written.map(Arc::new);
        let adds = files.iter().flat_map(|files| files.adds().iter().cloned().map(Action::Add));
        let removes = changed.removed.iter().map(|file| Action::Remove(file.remove_action(true)));
        let commit = Commit {
            operation: self.operation(),
            actions: removes.chain(adds).collect(),
            delta: match self.change {
                RowChange::Delete => DeltaOperation::Delete { predicate: None },
                RowChange::Update(_) => DeltaOperation::Update { predicate: None },
            },
            rows: changed.rows,
            files,
        };
        self.table.commit(base, commit).await?;
        Ok(changed.rows)
    }
}

struct Changed {
    removed: Vec<Arc<DataFile>>,
    written: Option<NewFiles>,
    rows: u64,
}

/// The columns SQL knows, then those only the files know: they are copied along unchanged.
fn all_columns(known: &ScanColumns, snapshot: &Snapshot) -> ScanColumns {
    let mut fields: Vec<Field> = known.visible.fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut stored_names = known.stored_names.clone();
    let stored = ScanColumns::stored(snapshot);
    for (field, name) in stored.visible.fields().iter().zip(stored.stored_names) {
        if !known.stored_names.contains(&name) {
            fields.push(field.as_ref().clone());
            stored_names.push(name);
        }
    }
    ScanColumns { visible: Arc::new(Schema::new(fields)), stored_names }
}

fn read(
    scan: &Scan<'_>,
    file: &Arc<DataFile>,
    projection: Option<&Vec<usize>>,
    context: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let plan = scan.plan(&context.runtime_env(), vec![Arc::clone(file)], projection, None);
    plan.and_then(|plan| execute_stream(plan, Arc::clone(context))).map_err(Into::into)
}

/// True where the predicate is true, false where it is false or NULL.
pub fn matching_rows(
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    batch: &RecordBatch,
) -> DfResult<BooleanArray> {
    let Some(predicate) = predicate else {
        return Ok(BooleanArray::from(vec![true; batch.num_rows()]));
    };
    let value = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let value = value.as_boolean();
    Ok(if value.null_count() == 0 { value.clone() } else { prep_null_mask_filter(value) })
}

/// New values are computed from the old row, for matching rows only: what divides by zero elsewhere must not.
fn update(
    batch: &RecordBatch,
    matching: &BooleanArray,
    assignments: &[(usize, Arc<dyn PhysicalExpr>)],
) -> DfResult<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns = batch.columns().to_vec();
    for (index, value) in assignments {
        let old = batch.column(*index);
        let new = value.evaluate_selection(batch, matching)?.into_array(batch.num_rows())?;
        let new = cast_with_options(&new, old.data_type(), &options)?;
        columns[*index] = zip(matching, &new, old)?;
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}
