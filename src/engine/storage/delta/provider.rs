//! A stored table as DataFusion sees it; everything it returns is lazy.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::datasource::TableType;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use crate::engine::storage::catalog::TableName;
use crate::engine::storage::delta::constraints::Constraints;
use crate::engine::storage::delta::dml::{RowChange, RowsChange};
use crate::engine::storage::delta::exec::ChangeExec;
use crate::engine::storage::delta::held::{HeldVersion, HeldVersions};
use crate::engine::storage::delta::insert::InsertSink;
use crate::engine::storage::delta::layout::Layout;
use crate::engine::storage::delta::scan::{Scan, ScanColumns, physical_expr, pruning_predicate};
use crate::engine::storage::delta::table::StoredTable;
use crate::error::{Error, ErrorKind, Result as OurResult, Subject};

/// A stored table, at its newest version or at a past one.
#[derive(Debug)]
pub struct StoredTableProvider {
    table: Arc<StoredTable>,
    layout: Arc<Layout>,
    past: Option<HeldVersion>,
    writable: bool,
    layout_changes: u64,
}

impl StoredTableProvider {
    /// The table at the version that a statement holds when a plan is made; `layout_changes` is what the table
    /// counted before `layout` was read.
    pub fn latest(table: Arc<StoredTable>, layout: Arc<Layout>, layout_changes: u64, writable: bool) -> Self {
        Self { table, layout, past: None, writable, layout_changes }
    }

    /// The table as it was at `version`.
    pub fn past(table: Arc<StoredTable>, layout: Arc<Layout>, version: HeldVersion) -> Self {
        Self { table, layout, past: Some(version), writable: false, layout_changes: 0 }
    }

    /// The table's name.
    pub fn name(&self) -> &TableName {
        &self.layout.name
    }

    /// The table, unless a past version of it is read.
    pub fn latest_table(&self) -> Option<&Arc<StoredTable>> {
        self.past.is_none().then_some(&self.table)
    }

    /// The version that a statement reads which holds these.
    async fn version(&self, held: &HeldVersions) -> OurResult<HeldVersion> {
        match &self.past {
            Some(past) => Ok(past.clone()),
            None => held.version(&self.table).await,
        }
    }

    /// The number of the version that a scan reads.
    pub async fn version_number(&self, held: &HeldVersions) -> OurResult<u64> {
        Ok(self.version(held).await?.snapshot.version)
    }

    fn columns(&self) -> ScanColumns {
        ScanColumns {
            visible: Arc::clone(&self.layout.schema),
            stored_names: self.layout.stored_names.clone(),
        }
    }

    fn ensure_writable(&self) -> Result<()> {
        let name = &self.layout.name;
        if self.past.is_some() {
            let message = format!("a past version of table {name} cannot be changed");
            return Err(Error::input(Subject::Table, message).into());
        }
        if !self.writable {
            let message = format!("table {name} cannot be changed: the database is open read-only");
            return Err(Error::new(ErrorKind::Denied, Subject::Table, message).into());
        }
        Ok(())
    }

    fn physical(&self, session: &dyn Session, expr: Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let schema = self.layout.qualified_schema()?;
        physical_expr(session, &unqualified(expr)?, &schema)
    }

    fn change_rows(
        &self,
        session: &dyn Session,
        filters: Vec<Expr>,
        change: RowChange,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.ensure_writable()?;
        let filters = filters.into_iter().map(unqualified).collect::<Result<Vec<_>>>()?;
        let pruning = pruning_predicate(session, &self.layout.schema, &filters);
        let predicate = conjunction(filters).map(|filter| self.physical(session, filter)).transpose()?;
        Ok(Arc::new(ChangeExec::new(Arc::new(RowsChange {
            table: Arc::clone(&self.table),
            columns: self.columns(),
            cluster_by: self.layout.cluster_by.clone(),
            predicate,
            pruning,
            change,
            constraints: Constraints::new(&self.layout, session)?,
            layout_changes: self.layout_changes,
        }))))
    }
}

#[async_trait]
impl TableProvider for StoredTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        let index = self.layout.schema.index_of(column).ok()?;
        self.layout.defaults[index].as_ref()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let version = self.version(&HeldVersions::of(session.config())).await?;
        let columns = self.columns();
        let scan = Scan {
            table: &self.table,
            version: &version,
            columns: &columns,
            cluster_by: &self.layout.cluster_by,
            target_partitions: session.config().target_partitions(),
        };
        let filters = filters.iter().cloned().map(unqualified).collect::<Result<Vec<_>>>()?;
        let pruning = pruning_predicate(session, &self.layout.schema, &filters);
        let files = scan.matching_files(pruning.as_ref());
        let limit = if filters.is_empty() { limit } else { None };
        scan.plan(session.runtime_env(), files, projection, limit)
    }

    async fn insert_into(
        &self,
        session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.ensure_writable()?;
        if operation == InsertOp::Replace {
            let error = Error::unsupported("REPLACE INTO is not supported")
                .with_hint("DELETE the rows first, then INSERT");
            return Err(error.into());
        }
        let sink = InsertSink::new(
            Arc::clone(&self.table),
            self.columns(),
            self.layout.cluster_by.clone(),
            Constraints::new(&self.layout, session)?,
            self.layout_changes,
            operation == InsertOp::Overwrite,
        );
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }

    async fn delete_from(&self, session: &dyn Session, filters: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        self.change_rows(session, filters, RowChange::Delete)
    }

    async fn update(
        &self,
        session: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let assignments = assignments.into_iter().map(|(column, value)| {
            Ok((self.layout.schema.index_of(&column)?, self.physical(session, value)?))
        });
        let assignments = assignments.collect::<Result<Vec<_>>>()?;
        self.change_rows(session, filters, RowChange::Update(assignments))
    }

    async fn truncate(&self, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.change_rows(session, Vec::new(), RowChange::Delete)
    }
}

/// `expr` with columns named without a table: the only table in sight is this one.
pub fn unqualified(expr: Expr) -> Result<Expr> {
    let stripped = expr.transform(|node| {
        Ok(match node {
            Expr::Column(column) if column.relation.is_some() => {
                Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(stripped.data)
}
