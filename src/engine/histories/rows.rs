//! Rows in memory, sorted by key: a filter on keys finds the series, and copies nothing.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::kernels::cmp::not_distinct;
use datafusion::arrow::compute::{interleave, partition};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::storage::{physical_expr, unqualified};

/// Rows sorted by key columns, which come first, and the column after them.
#[derive(Debug)]
pub struct KeptRows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// The keys, a row for each series.
    keys: RecordBatch,
    /// Where the rows of each series are: a batch and rows of it, often several.
    places: Vec<Vec<(usize, Range<usize>)>>,
}

impl KeptRows {
    /// Of batches sorted by their first `keys` columns and the one after.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>, keys: usize) -> Result<Self> {
        let mut places: Vec<Vec<(usize, Range<usize>)>> = vec![];
        for (n, batch) in batches.iter().enumerate() {
            let ranges = match keys {
                0 => std::iter::once(0..batch.num_rows()).collect(),
                keys => partition(&batch.columns()[..keys])?.ranges(),
            };
            for range in ranges.into_iter().filter(|range| !range.is_empty()) {
                let here = (n, range.start);
                match places.last_mut() {
                    Some(last) if same_keys(&batches, keys, (last[0].0, last[0].1.start), here)? => {
                        last.push((n, range));
                    }
                    _ => places.push(vec![(n, range)]),
                }
            }
        }
        let firsts: Vec<(usize, usize)> = places.iter().map(|p| (p[0].0, p[0].1.start)).collect();
        let columns = (0..keys).map(|k| {
            let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(k).as_ref()).collect();
            interleave(&parts, &firsts)
        });
        let columns = columns.collect::<std::result::Result<Vec<ArrayRef>, _>>()?;
        let key_schema = Arc::new(schema.project(&(0..keys).collect::<Vec<_>>())?);
        let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(places.len()));
        let keys = RecordBatch::try_new_with_options(key_schema, columns, &options)?;
        Ok(Self { schema, batches, keys, places })
    }

    /// Bytes besides those of the rows.
    pub fn index_size(&self) -> usize {
        let places: usize = self.places.iter().map(|places| size_of_val(places.as_slice())).sum();
        self.keys.get_array_memory_size() + size_of_val(self.places.as_slice()) + places
    }

    fn is_about_keys(&self, filter: &Expr) -> bool {
        let known = |column: &Column| self.keys.schema().index_of(column.name()).is_ok();
        filter.column_refs().into_iter().all(known) && !filter.is_volatile()
    }

    /// The rows of the series whose keys pass the filters.
    fn matching(&self, session: &dyn Session, filters: &[Expr]) -> Result<Vec<RecordBatch>> {
        let filters = filters.iter().cloned().map(unqualified).collect::<Result<Vec<_>>>()?;
        let Some(filter) = conjunction(filters) else { return Ok(self.batches.clone()) };
        let schema = DFSchema::try_from(self.keys.schema())?;
        let passes = physical_expr(session, &filter, &schema)?.evaluate(&self.keys)?;
        let passes = passes.into_array(self.keys.num_rows())?;
        Ok(self.slices(passes.as_boolean()))
    }

    fn slices(&self, passes: &BooleanArray) -> Vec<RecordBatch> {
        let mut found: Vec<(usize, Range<usize>)> = vec![];
        let passing = self.places.iter().zip(passes).filter(|(_, passes)| *passes == Some(true));
        for (n, range) in passing.flat_map(|(places, _)| places) {
            match found.last_mut() {
                Some((last, rows)) if last == n && rows.end == range.start => rows.end = range.end,
                _ => found.push((*n, range.clone())),
            }
        }
        found.into_iter().map(|(n, range)| self.batches[n].slice(range.start, range.len())).collect()
    }

    fn order(&self) -> Option<LexOrdering> {
        let columns = self.schema.fields().iter().enumerate().take(self.keys.num_columns() + 1);
        LexOrdering::new(columns.map(|(n, field)| {
            PhysicalSortExpr::new_default(Arc::new(PhysicalColumn::new(field.name(), n))).asc().nulls_last()
        }))
    }
}

/// True when two rows have the same keys.
fn same_keys(
    batches: &[RecordBatch],
    keys: usize,
    (a, at): (usize, usize),
    (b, bt): (usize, usize),
) -> Result<bool> {
    for k in 0..keys {
        let (left, right) = (batches[a].column(k).slice(at, 1), batches[b].column(k).slice(bt, 1));
        if !not_distinct(&left, &right)?.value(0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[async_trait]
impl TableProvider for KeptRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_about_keys(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.matching(session, filters)?;
        let source = MemorySourceConfig::try_new(&[rows], self.schema(), projection.cloned())?;
        let source = source.try_with_sort_information(self.order().into_iter().collect())?;
        Ok(DataSourceExec::from_data_source(source))
    }
}
