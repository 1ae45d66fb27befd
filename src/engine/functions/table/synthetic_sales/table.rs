//! The generator as a table: partitioned by series, streamed, sorted by store, item and date.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, project_schema};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};

use crate::engine::functions::table::synthetic_sales::batches::{Batches, Generators, schema};
use crate::engine::functions::table::synthetic_sales::calendar::Calendar;
use crate::engine::functions::table::synthetic_sales::spec::SyntheticSales;

/// Columns that the rows are sorted by: store_id, item_id, sale_date.
const SORTED_BY: [usize; 3] = [0, 1, 4];

/// The rows of one call.
#[derive(Debug)]
pub struct SyntheticSalesTable {
    spec: SyntheticSales,
    rows: usize,
}

impl SyntheticSalesTable {
    /// The rows that these arguments ask for.
    pub fn new(spec: SyntheticSales) -> Self {
        let rows = Generators::new(spec.seed).rows(&spec, 0..spec.series);
        Self { spec, rows }
    }
}

#[async_trait]
impl TableProvider for SyntheticSalesTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(exact_rows(&schema(), self.rows))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = schema().fields().len();
        let projection = projection.cloned().unwrap_or_else(|| (0..columns).collect());
        let partitions = state.config().target_partitions().clamp(1, self.spec.series);
        Ok(Arc::new(SyntheticSalesExec::new(self.spec, projection, partitions, limit)?))
    }
}

fn exact_rows(schema: &SchemaRef, rows: usize) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    statistics.num_rows = Precision::Exact(rows);
    statistics
}

/// Generates the rows; each partition has consecutive series.
#[derive(Debug)]
struct SyntheticSalesExec {
    spec: SyntheticSales,
    calendar: Arc<Calendar>,
    projection: Vec<usize>,
    parts: Vec<Range<usize>>,
    rows: Vec<usize>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl SyntheticSalesExec {
    fn new(
        spec: SyntheticSales,
        projection: Vec<usize>,
        partitions: usize,
        limit: Option<usize>,
    ) -> Result<Self> {
        let generators = Generators::new(spec.seed);
        let bound = |i: usize| spec.series * i / partitions;
        let parts: Vec<_> = (0..partitions).map(|i| bound(i)..bound(i + 1)).collect();
        let rows = parts.iter().map(|part| generators.rows(&spec, part.clone())).collect();
        let projected = project_schema(&schema(), Some(&projection))?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(
                Arc::clone(&projected),
                ordering(&projected, &projection),
            ),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let calendar = Arc::new(Calendar::new(spec.start, spec.days));
        Ok(Self { spec, calendar, projection, parts, rows, limit, properties: Arc::new(properties) })
    }
}

/// The order of the rows as far as its columns are read.
fn ordering(schema: &SchemaRef, projection: &[usize]) -> Option<LexOrdering> {
    let options = SortOptions { descending: false, nulls_first: false };
    let exprs = SORTED_BY.iter().map_while(|column| {
        let i = projection.iter().position(|p| p == column)?;
        Some(PhysicalSortExpr::new(Arc::new(Column::new(schema.field(i).name(), i)), options))
    });
    LexOrdering::new(exprs)
}

impl DisplayAs for SyntheticSalesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyntheticSales { series, days, seed, .. } = self.spec;
        write!(f, "SyntheticSalesExec: series={series}, days={days}, seed={seed}")
    }
}

impl ExecutionPlan for SyntheticSalesExec {
    fn name(&self) -> &str {
        "SyntheticSalesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(
        &self,
        _input_statistics: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let rows =
            |part: usize| self.rows.get(part).copied().unwrap_or(0).min(self.limit.unwrap_or(usize::MAX));
        let rows = match args.partition() {
            Some(part) => rows(part),
            None => (0..self.rows.len()).map(rows).sum(),
        };
        Ok(Arc::new(exact_rows(&self.schema(), rows)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_size = context.session_config().batch_size();
        let (calendar, part) = (Arc::clone(&self.calendar), self.parts[partition].clone());
        let mut batches = Batches::new(self.spec, calendar, part, self.projection.clone(), batch_size)?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        let rows = std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let batch = batches.next_batch().transpose()?.map(|batch| {
                let wanted = batch.slice(0, left.min(batch.num_rows()));
                left -= wanted.num_rows();
                wanted
            });
            Some(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::iter(rows))))
    }
}
