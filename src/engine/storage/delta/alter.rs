//! What CREATE TABLE and ALTER TABLE do to the files of a table.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::physical_expr::expressions::Literal;
use deltalake::protocol::DeltaOperation;

use crate::engine::storage::delta::constraints::Constraints;
use crate::engine::storage::delta::dml::{RowChange, RowsChange};
use crate::engine::storage::delta::insert::cast_to;
use crate::engine::storage::delta::layout::Layout;
use crate::engine::storage::delta::scan::ScanColumns;
use crate::engine::storage::delta::snapshot::Snapshot;
use crate::engine::storage::delta::table::{Commit, StoredTable};
use crate::engine::storage::delta::writer::{WriteTarget, write_rows};
use crate::error::Result;

/// Writes version 0 of `table` with the columns `stored` and, if given, all of `rows`.
pub async fn create(
    table: &Arc<StoredTable>,
    stored: &Schema,
    layout: &Layout,
    rows: Option<SendableRecordBatchStream>,
    functions: &SessionState,
) -> Result<u64> {
    let Some(rows) = rows else {
        table.create(stored, Vec::new(), 0).await?;
        return Ok(0);
    };
    let constraints = Constraints::new(layout, functions)?;
    let columns =
        ScanColumns { visible: Arc::clone(&layout.schema), stored_names: layout.stored_names.clone() };
    let target = WriteTarget::new(table.directory()?, columns.in_files(), &layout.cluster_by);
    let written = write_rows(target, rows, |batch| {
        let batch = cast_to(&batch, &layout.schema)?;
        constraints.verify(&batch)?;
        Ok(batch)
    });
    let files = written.await?;
    let count = files.rows();
    // They go with the directory where this fails.
    files.settle(true);
    table.create(stored, files.adds().to_vec(), count).await?;
    Ok(count)
}

/// Adds the column `field` to the log with `fill` in every row; call it with the write lock held.
pub async fn add_column(
    table: &Arc<StoredTable>,
    field: &Field,
    fill: Option<ScalarValue>,
    cluster_by: &[String],
    context: &Arc<TaskContext>,
) -> Result<()> {
    let mut snapshot = table.add_stored_column(field).await?;
    if let Some(value) = fill {
        fill_column(table, &snapshot, field, value, cluster_by, context).await?;
        snapshot = table.latest().await?;
    }
    if !field.is_nullable() {
        let fields = snapshot.schema.fields().iter().map(|f| {
            let required = f.name() == field.name();
            if required { f.as_ref().clone().with_nullable(false) } else { f.as_ref().clone() }
        });
        let schema = Schema::new(fields.collect::<Vec<_>>());
        set_schema(table, snapshot, &schema, "SET NOT NULL").await?;
    }
    Ok(())
}

async fn fill_column(
    table: &Arc<StoredTable>,
    snapshot: &Snapshot,
    field: &Field,
    value: ScalarValue,
    cluster_by: &[String],
    context: &Arc<TaskContext>,
) -> Result<()> {
    let columns = ScanColumns::stored(snapshot);
    let index = columns.visible.index_of(field.name()).map_err(datafusion::error::DataFusionError::from)?;
    let change = RowsChange {
        table: Arc::clone(table),
        columns,
        cluster_by: cluster_by.to_vec(),
        predicate: None,
        pruning: None,
        change: RowChange::Update(vec![(index, Arc::new(Literal::new(value)))]),
        constraints: Constraints::default(),
        layout_changes: table.layout_changes(),
    };
    change.run_locked(context).await.map(|_| ())
}

/// Takes the column `stored_name` out of the log; call it with the write lock held.
pub async fn drop_column(table: &Arc<StoredTable>, stored_name: &str) -> Result<()> {
    let snapshot = table.latest().await?;
    let kept = snapshot.schema.fields().iter().filter(|f| f.name() != stored_name);
    let schema = Schema::new(kept.map(|f| f.as_ref().clone()).collect::<Vec<_>>());
    if schema.fields().len() < snapshot.schema.fields().len() {
        set_schema(table, snapshot, &schema, "DROP COLUMN").await?;
    }
    Ok(())
}

async fn set_schema(
    table: &Arc<StoredTable>,
    base: Arc<Snapshot>,
    schema: &Schema,
    operation: &'static str,
) -> Result<()> {
    let action = table.schema_action(&base, schema)?;
    let delta = DeltaOperation::AddColumn { fields: Vec::new() };
    table.commit(base, Commit { operation, actions: vec![action], delta, rows: 0, files: None }).await
}
