//! OPTIMIZE and VACUUM: few sorted files instead of many, and no files that no version needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::TimeDelta;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
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
use crate::engine::storage::delta::writer::{
    ROWS_PER_FILE, SORT_OPTIONS, WriteTarget, write_rows, written_at,
};
use crate::error::{Error, ErrorKind, Result, Subject};

/// A file below this size is worth merging with others.
const SMALL_FILE: u64 = 32 << 20;
/// A sorted table is cut into about this many files, so that as many cores can read it in order.
const SORTED_FILES: u64 = 8;
/// No sorted file needs to be smaller than this.
const SORTED_ROWS_MIN: u64 = 1 << 18;
/// So many files of about one size are merged without being asked.
const CROWD: usize = 32;
/// Smaller files are of about one size, in bytes.
const SMALLEST_TIER: u64 = 8 << 10;
/// Files that differ by less are of about one size.
const TIER_FACTOR: u64 = 8;

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
    let _turn = table.wait_for_compaction().await?;
    let base = table.held().await?;
    let columns = ScanColumns::stored(&base.snapshot);
    let scan = Scan {
        table,
        version: &base,
        columns: &columns,
        cluster_by,
        target_partitions: if cluster_by.is_empty() {
            1
        } else {
            context.session_config().target_partitions()
        },
    };
    replace(&scan, &worth_merging(&scan), context).await
}

/// Merges files of about one size into one wherever there are many, beside the statements that go on.
pub fn compact_in_background(table: &Arc<StoredTable>, cluster_by: Vec<String>, runtime: Arc<RuntimeEnv>) {
    let Some(turn) = table.begin_compaction() else { return };
    let table = Arc::clone(table);
    tokio::spawn(async move {
        let _turn = turn;
        let context = Arc::new(TaskContext::default().with_runtime(runtime));
        // A statement that changed the rows meanwhile goes before; the next commit tries again.
        while compact(&table, &cluster_by, &context)
            .await
            .is_ok_and(|done| done.files_removed > 2 * done.files_added)
        {}
    });
}

async fn compact(
    table: &Arc<StoredTable>,
    cluster_by: &[String],
    context: &Arc<TaskContext>,
) -> Result<OptimizeSummary> {
    let base = table.held().await?;
    let columns = ScanColumns::stored(&base.snapshot);
    let scan = Scan { table, version: &base, columns: &columns, cluster_by, target_partitions: 1 };
    replace(&scan, &crowded(&base.snapshot.files), context).await
}

/// Files of about one size, where there are many of them: the smallest first.
fn crowded(files: &[Arc<DataFile>]) -> Vec<Arc<DataFile>> {
    let mut tiers: BTreeMap<u32, Vec<Arc<DataFile>>> = BTreeMap::new();
    // Many narrow rows take few bytes, and files are cut by rows, too.
    let is_small = |file: &DataFile| {
        file.size < SMALL_FILE && file.rows.is_none_or(|rows| rows < ROWS_PER_FILE / CROWD as u64)
    };
    for file in files.iter().filter(|file| is_small(file)) {
        tiers.entry((file.size / SMALLEST_TIER).max(1).ilog(TIER_FACTOR)).or_default().push(Arc::clone(file));
    }
    tiers.into_values().find(|files| files.len() >= CROWD).unwrap_or_default()
}

/// Puts one file, or sorted ones, in the place of these.
async fn replace(
    scan: &Scan<'_>,
    merged: &[Arc<DataFile>],
    context: &Arc<TaskContext>,
) -> Result<OptimizeSummary> {
    if merged.is_empty() {
        return Ok(OptimizeSummary::default());
    }
    let files = merge(scan, merged, context).await?;
    let rows = files.rows();
    let files_added = commit(scan.table, merged, files).await?;
    Ok(OptimizeSummary { files_removed: merged.len() as u64, files_added, rows })
}

/// All files when they must be sorted and are not, else the small ones if there are several.
fn worth_merging(scan: &Scan<'_>) -> Vec<Arc<DataFile>> {
    let all = &scan.version.snapshot.files;
    if !scan.cluster_by.is_empty() {
        return if scan.is_clustered(all) { Vec::new() } else { all.clone() };
    }
    let small: Vec<_> = all.iter().filter(|f| f.size < SMALL_FILE).cloned().collect();
    if small.len() < 2 { Vec::new() } else { small }
}

async fn merge(scan: &Scan<'_>, files: &[Arc<DataFile>], context: &Arc<TaskContext>) -> Result<NewFiles> {
    let plan = merge_plan(scan, files, context)?;
    let first = files.iter().filter_map(|file| written_at(&file.path)).min();
    let target = WriteTarget::new(scan.table.directory()?, scan.columns.in_files(), scan.cluster_by);
    let mut target = target.in_place_of(first);
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
    let _lock = table.write_lock().await?;
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
    let _lock = table.write_lock().await?;
    let directory = table.directory()?;
    let vacuum = table.delta_table().await?.vacuum();
    let vacuum = vacuum
        .with_mode(VacuumMode::Full)
        .with_retention_period(retention)
        .with_enforce_retention_duration(false)
        .with_dry_run(true);
    let (_, found) = vacuum.await.map_err(|e| table.error(e))?;
    // Nothing is written, the log neither, so that a full disk gets room.
    let mut kept = table.files_in_use();
    kept.extend(directory.uncommitted());
    let old: Vec<String> = found.files_deleted.into_iter().filter(|name| !kept.contains(name)).collect();
    let files_deleted = old.len() as u64;
    let removal = tokio::task::spawn_blocking(move || {
        let path = directory.path();
        directory.fs().remove_from(path, &old).map_err(|e| Error::io(path, &e))
    });
    removal.await.map_err(|e| Error::internal(format!("VACUUM stopped: {e}")))??;
    Ok(VacuumSummary { files_deleted })
}
