//! Data files to a plan: pruned by their bounds, with exact counts, and with an order where files prove one.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{
    LexOrdering, PhysicalExpr, PhysicalSortExpr, RangePartitioning, SplitPoint, create_physical_expr,
};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use crate::engine::storage::delta::held::HeldVersion;
use crate::engine::storage::delta::snapshot::{DataFile, Snapshot};
use crate::engine::storage::delta::stats;
use crate::engine::storage::delta::table::StoredTable;
use crate::engine::storage::delta::writer::SORT_OPTIONS;
use crate::engine::storage::types;

/// With more files than this, opening each as a partition of its own costs more than a sort saves.
const ORDERED_FILES_MAX: usize = 64;

/// Rows that are read at once, unless they are wide.
const ROWS_AT_ONCE: u64 = 8_192;

/// Wide rows are read by as many as have about so many bytes.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// Rows of texts have about so many times as many bytes as in the files.
const INFLATED: u64 = 4;

/// Columns to read from the files of one version.
#[derive(Debug, Clone)]
pub struct ScanColumns {
    /// Columns as the plan returns them.
    pub visible: SchemaRef,
    /// Name in the files of each column of `visible`.
    pub stored_names: Vec<String>,
}

impl ScanColumns {
    /// Every column of `snapshot` under the name it has in the files.
    pub fn stored(snapshot: &Snapshot) -> Self {
        let fields = snapshot.schema.fields().iter();
        let visible: Vec<Field> =
            fields.map(|f| Field::new(f.name(), types::scanned(f.data_type()), true)).collect();
        let stored_names = visible.iter().map(|f| f.name().clone()).collect();
        Self { visible: Arc::new(Schema::new(visible)), stored_names }
    }

    /// The same columns under the names they have in the files.
    pub fn in_files(&self) -> SchemaRef {
        let fields = self.visible.fields().iter().zip(&self.stored_names);
        Arc::new(Schema::new(
            fields.map(|(f, stored)| f.as_ref().clone().with_name(stored)).collect::<Vec<_>>(),
        ))
    }
}

/// How many rows of these files are read at once where they are wide.
fn rows_at_once(files: &[Arc<DataFile>]) -> Option<usize> {
    let rows: Option<u64> = files.iter().map(|file| file.rows).sum();
    let bytes = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
    wide_rows(bytes, rows?)
}

fn wide_rows(bytes: u64, rows: u64) -> Option<usize> {
    let each = bytes.saturating_mul(INFLATED).checked_div(rows)?;
    let rows = BYTES_AT_ONCE.checked_div(each)?;
    (rows < ROWS_AT_ONCE).then_some(rows.max(1) as usize)
}

/// The files of one version about to be read.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// The table.
    pub table: &'a Arc<StoredTable>,
    /// The version.
    pub version: &'a HeldVersion,
    /// What to read.
    pub columns: &'a ScanColumns,
    /// Stored names of the columns the files may be sorted by.
    pub cluster_by: &'a [String],
    /// How many partitions the plan should have when nothing else decides it.
    pub target_partitions: usize,
}

impl Scan<'_> {
    /// The plan that reads `files`.
    pub fn plan(
        &self,
        runtime: &RuntimeEnv,
        mut files: Vec<Arc<DataFile>>,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if files.is_empty() {
            let schema = match projection {
                Some(indices) => Arc::new(self.columns.visible.project(indices)?),
                None => Arc::clone(&self.columns.visible),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let url = self.table.object_store_url();
        runtime.register_object_store(url.as_ref(), self.table.object_store());
        // Files never change under their name, so their footers are parsed once.
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(self.table.object_store(), footers);
        let source =
            ParquetSource::new(self.columns.in_files()).with_parquet_file_reader_factory(Arc::new(readers));
        let order = self.order(&files);
        if order.is_some() {
            self.sort_by_first_key(&mut files);
        }
        let builder = FileScanConfigBuilder::new(url.clone(), Arc::new(source))
            .with_statistics(self.statistics(&files))
            .with_file_groups(self.groups(&files, order.is_some())?)
            .with_output_partitioning(order.as_ref().and_then(|order| self.ranges(order, &files)))
            .with_output_ordering(order.into_iter().collect())
            .with_limit(limit)
            .with_batch_size(rows_at_once(&files))
            .with_projection_indices(projection.cloned())?;
        self.rename(DataSourceExec::from_data_source(builder.build()), projection)
    }

    fn groups(&self, files: &[Arc<DataFile>], one_file_each: bool) -> Result<Vec<FileGroup>> {
        // These ride along: the files of a dropped table wait for their readers, and so do those of an old version.
        let held = Arc::new(self.version.clone());
        let entries = files.iter().map(|file| {
            let path = format!("{}/{}", self.table.id(), file.path);
            let mut entry = PartitionedFile::new(path, file.size);
            entry.object_meta.last_modified =
                chrono::DateTime::from_timestamp_millis(file.modified).unwrap_or_default();
            let statistics = Arc::new(self.statistics(std::slice::from_ref(file)));
            entry.with_statistics(statistics).with_extension(Arc::clone(&held))
        });
        Ok(if one_file_each {
            entries.map(|entry| FileGroup::new(vec![entry])).collect()
        } else {
            FileGroup::new(entries.collect()).split_files(self.target_partitions.max(1))
        })
    }

    fn rename(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize>;
        let indices = match projection {
            Some(indices) => indices,
            None => {
                all = (0..self.columns.stored_names.len()).collect();
                &all
            }
        };
        let visible = |i: &usize| self.columns.visible.field(*i).name().clone();
        if indices.iter().all(|i| visible(i) == self.columns.stored_names[*i]) {
            return Ok(plan);
        }
        let renamed = indices.iter().enumerate().map(|(position, i)| {
            let column = PhysicalColumn::new(&self.columns.stored_names[*i], position);
            (Arc::new(column) as Arc<dyn PhysicalExpr>, visible(i))
        });
        Ok(Arc::new(ProjectionExec::try_new(renamed.collect::<Vec<_>>(), plan)?))
    }

    /// The order that every one of `files` was seen to have.
    fn order(&self, files: &[Arc<DataFile>]) -> Option<LexOrdering> {
        let sorted = |file: &Arc<DataFile>| file.sorted_by.starts_with(self.cluster_by);
        if self.cluster_by.is_empty() || files.len() > ORDERED_FILES_MAX || !files.iter().all(sorted) {
            return None;
        }
        let columns = self.cluster_by.iter().map(|name| {
            let index = self.columns.stored_names.iter().position(|s| s == name)?;
            let column = Arc::new(PhysicalColumn::new(name, index));
            Some(PhysicalSortExpr::new(column, SORT_OPTIONS))
        });
        LexOrdering::new(columns.collect::<Option<Vec<_>>>()?)
    }

    /// True when `files` are sorted and do not overlap in the first key.
    pub fn is_clustered(&self, files: &[Arc<DataFile>]) -> bool {
        let mut files = files.to_vec();
        self.sort_by_first_key(&mut files);
        match self.order(&files) {
            Some(order) => files.len() < 2 || self.ranges(&order, &files).is_some(),
            None => files.is_empty(),
        }
    }

    fn first_key(&self, file: &DataFile) -> Option<(ScalarValue, ScalarValue)> {
        let bounds = file.bounds(&self.version.snapshot.schema, self.cluster_by.first()?)?;
        (bounds.null_count == Some(0)).then(|| bounds.min.clone().zip(bounds.max.clone())).flatten()
    }

    fn sort_by_first_key(&self, files: &mut [Arc<DataFile>]) {
        files.sort_by(|a, b| {
            let (a_min, b_min) = (self.first_key(a).map(|k| k.0), self.first_key(b).map(|k| k.0));
            let order = a_min.partial_cmp(&b_min).unwrap_or(std::cmp::Ordering::Equal);
            order.then_with(|| a.path.cmp(&b.path))
        });
    }

    /// The ranges of the first key, when `files` (one a partition, by key) do not overlap in it.
    fn ranges(&self, order: &LexOrdering, files: &[Arc<DataFile>]) -> Option<Partitioning> {
        let keys = files.iter().map(|file| self.first_key(file)).collect::<Option<Vec<_>>>()?;
        let disjoint =
            keys.windows(2).all(|pair| pair[0].1.partial_cmp(&pair[1].0) == Some(std::cmp::Ordering::Less));
        if !disjoint || keys.len() < 2 {
            return None;
        }
        let key = LexOrdering::new(vec![order.first().clone()])?;
        let points = keys[1..].iter().map(|(min, _)| SplitPoint::new(vec![min.clone()])).collect();
        RangePartitioning::try_new(key, points).ok().map(Partitioning::Range)
    }

    fn statistics(&self, files: &[Arc<DataFile>]) -> Statistics {
        let rows: Option<u64> = files.iter().map(|f| f.rows).sum();
        let bytes: u64 = files.iter().map(|f| f.size).sum();
        let columns = self.columns.stored_names.iter().map(|name| self.column_statistics(files, name));
        Statistics {
            num_rows: rows.map_or(Precision::Absent, |n| Precision::Exact(n as usize)),
            total_byte_size: Precision::Inexact(bytes as usize),
            column_statistics: columns.collect(),
        }
    }

    /// Bounds are outer bounds (cut strings, rounded timestamps), so they are never called exact.
    fn column_statistics(&self, files: &[Arc<DataFile>], stored_name: &str) -> ColumnStatistics {
        let bounds: Option<Vec<_>> =
            files.iter().map(|f| f.bounds(&self.version.snapshot.schema, stored_name)).collect();
        let Some(bounds) = bounds else { return ColumnStatistics::new_unknown() };
        let nulls: Option<u64> = bounds.iter().map(|b| b.null_count).sum();
        let mins: Option<Vec<_>> = bounds.iter().map(|b| b.min.as_ref()).collect();
        let maxs: Option<Vec<_>> = bounds.iter().map(|b| b.max.as_ref()).collect();
        let least = mins.and_then(|all| all.into_iter().reduce(|a, b| if b < a { b } else { a }));
        let most = maxs.and_then(|all| all.into_iter().reduce(|a, b| if b > a { b } else { a }));
        let outer = |bound: Option<&ScalarValue>| {
            bound.map_or(Precision::Absent, |value| Precision::Inexact(value.clone()))
        };
        ColumnStatistics {
            null_count: nulls.map_or(Precision::Absent, |n| Precision::Exact(n as usize)),
            min_value: outer(least),
            max_value: outer(most),
            ..ColumnStatistics::new_unknown()
        }
    }

    /// The files of the version that can hold a row for which `predicate` is true.
    pub fn matching_files(&self, predicate: Option<&PruningPredicate>) -> Vec<Arc<DataFile>> {
        let keep = predicate.and_then(|p| p.prune(&FileBounds { scan: self }).ok());
        let files = self.version.snapshot.files.iter();
        match keep {
            Some(keep) => files.zip(keep).filter(|(_, keep)| *keep).map(|(f, _)| Arc::clone(f)).collect(),
            None => files.cloned().collect(),
        }
    }
}

/// An expression of an analyzed plan, to be run; analyzed again, it would have casts twice, and compare other types.
pub fn physical_expr(
    session: &dyn Session,
    expr: &Expr,
    columns: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, columns, session.execution_props(), &PhysicalPlanningContext::default())
}

/// What the bounds of files must meet for all of `filters` to be true in a row; `None` when they say nothing.
pub fn pruning_predicate(
    session: &dyn Session,
    visible: &SchemaRef,
    filters: &[Expr],
) -> Option<PruningPredicate> {
    let filter = conjunction(filters.iter().cloned())?;
    let schema = DFSchema::try_from(Arc::clone(visible)).ok()?;
    let physical = physical_expr(session, &filter, &schema).ok()?;
    PruningPredicateBuilder::new().with_file_schema(Arc::clone(visible)).try_build(physical).ok()
}

/// The bounds of all files of a version in the form that pruning wants.
struct FileBounds<'a> {
    scan: &'a Scan<'a>,
}

impl FileBounds<'_> {
    fn stored_name(&self, column: &Column) -> Option<&str> {
        let index = self.scan.columns.visible.index_of(column.name()).ok()?;
        Some(&self.scan.columns.stored_names[index])
    }

    fn array(
        &self,
        column: &Column,
        bound: fn(&stats::ColumnBounds) -> Option<&ScalarValue>,
    ) -> Option<ArrayRef> {
        let name = self.stored_name(column)?;
        let schema = &self.scan.version.snapshot.schema;
        let bounds = self.scan.version.snapshot.files.iter().map(|f| f.bounds(schema, name).and_then(bound));
        stats::bounds_array(bounds, schema.field_with_name(name).ok()?.data_type())
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |bounds| bounds.min.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.array(column, |bounds| bounds.max.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.scan.version.snapshot.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let name = self.stored_name(column)?;
        let schema = &self.scan.version.snapshot.schema;
        let counts = self.scan.version.snapshot.files.iter().map(|f| f.bounds(schema, name)?.null_count);
        Some(stats::counts_array(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(stats::counts_array(self.scan.version.snapshot.files.iter().map(|f| f.rows)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_rows_are_read_by_few() {
        assert_eq!(wide_rows(10_000_000, 1_000_000), None);
        assert_eq!(wide_rows(65_000_000, 4_000), Some(129));
        assert_eq!(wide_rows(u64::MAX, 1), Some(1));
        assert_eq!((wide_rows(10_000, 0), wide_rows(0, 10)), (None, None));
    }
}
