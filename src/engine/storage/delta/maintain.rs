//! OPTIMIZE and VACUUM: few sorted files instead of many, and no files that no version needs.

use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::TimeDelta;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use deltalake::kernel::{Action, Add};
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::DeltaOperation;

use crate::engine::storage::delta::directory::NewFiles;
use crate::engine::storage::delta::scan::{Scan, ScanColumns};
use crate::engine::storage::delta::snapshot::{DataFile, Snapshot};
use crate::engine::storage::delta::table::{Commit, StoredTable};
use crate::engine::storage::delta::writer::{SORT_OPTIONS, WriteTarget, write_rows};
use crate::error::{Error, ErrorKind, Result, Subject};

/// A file below this size is worth merging with others.
const SMALL_FILE: u64 = 32 << 20;
/// A sorted table is cut into about this many files, so that as many cores can read it in order.
const SORTED_FILES: u64 = 8;
/// No sorted file needs to be smaller than this.
const SORTED_ROWS_MIN: u64 = 1 << 18;

/// What OPTIMIZE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OptimizeSummary {
    /// Files that were merged away.
    pub files_removed: u64,
    /// Files written instead.
    pub files_added: u64,
    /// Rows in them.
    pub rows: u64,
}

/// What VACUUM did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VacuumSummary {
    /// Files deleted from the disk.
    pub files_deleted: u64,
}

/// Merges the small files of `table`, or sorts all of them by `cluster_by` (stored names) if given.
pub async fn optimize(
    table: &Arc<StoredTable>,
    cluster_by: &[String],
    context: &Arc<TaskContext>,
) -> Result<OptimizeSummary> {
    let _writing = table.writing().await;
    let base = table.latest().await?;
    let columns = ScanColumns::stored(&base);
    let scan = Scan {
        table,
        snapshot: &base,
        columns: &columns,
        cluster_by,
        target_partitions: if cluster_by.is_empty() {
            1
        } else {
            context.session_config().target_partitions()
        },
    };
    let merged = worth_merging(&scan);
    if merged.is_empty() {
        return Ok(OptimizeSummary::default());
    }
    let files = merge(&scan, &merged, context).await?;
    let rows = files.rows();
    let files_added = commit(table, &merged, files).await?;
    Ok(OptimizeSummary { files_removed: merged.len() as u64, files_added, rows })
}

/// All files when they must be sorted and are not, else the small ones if there are several.
fn worth_merging(scan: &Scan<'_>) -> Vec<Arc<DataFile>> {
    let all = &scan.snapshot.files;
    if !scan.cluster_by.is_empty() {
        return if scan.is_clustered(all) { Vec::new() } else { all.clone() };
    }
    let small: Vec<_> = all.iter().filter(|f| f.size < SMALL_FILE).cloned().collect();
    if small.len() < 2 { Vec::new() } else { small }
}

async fn merge(scan: &Scan<'_>, files: &[Arc<DataFile>], context: &Arc<TaskContext>) -> Result<NewFiles> {
    let plan = merge_plan(scan, files, context)?;
    let mut target = WriteTarget::new(scan.table.directory()?, scan.columns.in_files(), scan.cluster_by);
    if !scan.cluster_by.is_empty() {
        let rows = files.iter().filter_map(|f| f.rows).sum::<u64>();
        target = target.sorted_files((rows / SORTED_FILES).max(SORTED_ROWS_MIN));
    }
    let batches = execute_stream(plan, Arc::clone(context))?;
    write_rows(target, batches, Ok).await.map_err(Error::from)
}

fn merge_plan(
    scan: &Scan<'_>,
    files: &[Arc<DataFile>],
    context: &Arc<TaskContext>,
) -> Result<Arc<dyn ExecutionPlan>> {
    // Read as unordered: what is sorted already only makes the sort cheaper, never wrong.
    let unordered = Scan { cluster_by: &[], ..*scan };
    let read = unordered.plan(&context.runtime_env(), files.to_vec(), None, None)?;
    let Some(order) = sort_order(&scan.columns.in_files(), scan.cluster_by)? else {
        return Ok(Arc::new(CoalescePartitionsExec::new(read)));
    };
    let sorted = SortExec::new(order.clone(), read).with_preserve_partitioning(true);
    Ok(Arc::new(SortPreservingMergeExec::new(order, Arc::new(sorted))))
}

fn sort_order(schema: &Schema, cluster_by: &[String]) -> Result<Option<LexOrdering>> {
    let columns = cluster_by.iter().map(|name| {
        let column = Column::new_with_schema(name, schema)?;
        Ok(PhysicalSortExpr::new(Arc::new(column), SORT_OPTIONS))
    });
    Ok(LexOrdering::new(columns.collect::<Result<Vec<_>>>()?))
}

/// Swaps `merged` for `files` on top of whatever was committed meanwhile.
async fn commit(table: &Arc<StoredTable>, merged: &[Arc<DataFile>], files: NewFiles) -> Result<u64> {
    let _lock = table.write_lock().await;
    let base = table.latest().await?;
    if !merged.iter().all(|file| contains(&base, file)) {
        let message = format!("rows of table {} were changed while it was optimized", table.label());
        return Err(
            Error::new(ErrorKind::Unavailable, Subject::Table, message).with_hint("run OPTIMIZE again")
        );
    }
    let files = Arc::new(files);
    let count = files.adds().len() as u64;
    let removes = merged.iter().map(|file| Action::Remove(file.remove_action(false)));
    let adds = files.adds().iter().map(|add| Action::Add(Add { data_change: false, ..add.clone() }));
    let commit = Commit {
        operation: "OPTIMIZE",
        actions: removes.chain(adds).collect(),
        delta: DeltaOperation::Optimize { predicate: None, target_size: SMALL_FILE as i64 },
        rows: files.rows(),
        files: Some(Arc::clone(&files)),
    };
    table.commit(base, commit).await?;
    Ok(count)
}

fn contains(snapshot: &Snapshot, file: &Arc<DataFile>) -> bool {
    snapshot.files.iter().any(|f| f.path == file.path)
}

/// Deletes the files that no version younger than `retention` needs; the newest version keeps all of its own.
pub async fn vacuum(table: &Arc<StoredTable>, retention: TimeDelta) -> Result<VacuumSummary> {
    if retention < TimeDelta::zero() {
        return Err(Error::input(Subject::Option, "the retention of VACUUM must not be negative"));
    }
    let _alone = table.alone().await;
    let _lock = table.write_lock().await;
    let vacuum = table.delta_table().await?.vacuum();
    let vacuum = vacuum
        .with_mode(VacuumMode::Full)
        .with_retention_period(retention)
        .with_enforce_retention_duration(false);
    let (_, metrics) = vacuum.await.map_err(|e| table.error(e))?;
    Ok(VacuumSummary { files_deleted: metrics.files_deleted.len() as u64 })
}
