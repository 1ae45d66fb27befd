//! The storage room as the engine uses it: a database directory, its tables and SQL over them.

mod alter;
mod catalog;
mod changes;
mod durability;
pub(crate) mod hooked;
mod layout;
mod power;
pub(crate) mod simulated;
mod versions;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{
    Access, Catalog, Check, ColumnDefinition, Created, Entry, IfExists, TableDefinition, TableName,
    TableVersion,
};
use crate::error::Result;

pub(super) struct Database {
    pub(super) directory: tempfile::TempDir,
    pub(super) catalog: Catalog,
}

pub(super) fn functions() -> Arc<datafusion::execution::SessionState> {
    Arc::new(SessionStateBuilder::new_with_default_features().build())
}

pub(super) fn name(table: &str) -> TableName {
    TableName::public(table)
}

pub(super) fn column(name: &str, data_type: DataType) -> ColumnDefinition {
    ColumnDefinition {
        name: name.into(),
        data_type,
        sql_type: None,
        nullable: true,
        default_sql: None,
        comment: None,
    }
}

pub(super) fn required(name: &str, data_type: DataType) -> ColumnDefinition {
    ColumnDefinition { nullable: false, ..column(name, data_type) }
}

pub(super) fn definition(columns: Vec<ColumnDefinition>) -> TableDefinition {
    TableDefinition { columns, ..TableDefinition::default() }
}

/// `sales(k text not null, y double, note text default 'none', check (y >= 0))`
pub(super) fn sales() -> TableDefinition {
    let note = ColumnDefinition { default_sql: Some("'none'".into()), ..column("note", DataType::Utf8) };
    TableDefinition {
        columns: vec![required("k", DataType::Utf8), column("y", DataType::Float64), note],
        checks: vec![Check { name: "y_is_positive".into(), sql: "y >= 0".into() }],
        ..TableDefinition::default()
    }
}

impl Database {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(directory.path(), Access::ReadWrite, functions()).unwrap();
        Self { directory, catalog }
    }

    pub(super) async fn with_sales() -> Self {
        let database = Self::new();
        database.create("sales", sales()).await.unwrap();
        database
    }

    pub(super) async fn create(&self, table: &str, definition: TableDefinition) -> Result<Created> {
        self.catalog.create_table(&name(table), definition, None, IfExists::Fail).await
    }

    pub(super) async fn create_as(&self, table: &str, query: &str, cluster_by: &[&str]) -> Result<Created> {
        let session = self.session().await;
        let frame = session.sql(query).await?;
        let mut definition = TableDefinition::from_query(frame.schema().as_arrow())?;
        definition.cluster_by = cluster_by.iter().map(|c| c.to_string()).collect();
        let rows = frame.execute_stream().await?;
        self.catalog.create_table(&name(table), definition, Some(rows), IfExists::Fail).await
    }

    pub(super) fn reopen(self) -> Self {
        let Self { directory, catalog } = self;
        drop(catalog);
        let catalog = Catalog::open(directory.path(), Access::ReadWrite, functions()).unwrap();
        Self { directory, catalog }
    }

    pub(super) async fn session(&self) -> SessionContext {
        session(&self.catalog).await
    }

    pub(super) async fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        run(&self.catalog, sql).await
    }

    pub(super) async fn rows(&self, sql: &str) -> Vec<String> {
        lines(&self.run(sql).await.unwrap())
    }

    pub(super) async fn error(&self, sql: &str) -> crate::error::Error {
        self.run(sql).await.unwrap_err()
    }

    pub(super) async fn plan(&self, sql: &str) -> Arc<dyn ExecutionPlan> {
        self.session().await.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    pub(super) async fn version(&self, table: &str) -> u64 {
        self.catalog.history(&name(table)).await.unwrap()[0].version
    }

    pub(super) async fn rows_of_version(&self, table: &str, version: TableVersion, sql: &str) -> Vec<String> {
        let session = SessionContext::new();
        let provider = self.catalog.provider(&name(table), version).await.unwrap();
        session.register_table("past", provider).unwrap();
        lines(&session.sql(sql).await.unwrap().collect().await.unwrap())
    }

    pub(super) fn table_directory(&self, table: &str) -> std::path::PathBuf {
        self.directory.path().join("tables").join(&self.catalog.table(&name(table)).unwrap().id)
    }

    pub(super) fn parquet_files(&self, table: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.table_directory(table)).unwrap();
        let names = files.map(|f| f.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.ends_with(".parquet")).collect()
    }
}

pub(super) async fn session(catalog: &Catalog) -> SessionContext {
    try_session(catalog).await.unwrap()
}

async fn try_session(catalog: &Catalog) -> Result<SessionContext> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    for (table, entry) in catalog.entries("public").unwrap() {
        if let Entry::Table(_) = entry {
            let provider = catalog.provider(&name(&table), TableVersion::Latest).await?;
            let reference = datafusion::common::TableReference::bare(table);
            session.register_table(reference, provider).unwrap();
        }
    }
    Ok(session)
}

pub(super) async fn run(catalog: &Catalog, sql: &str) -> Result<Vec<RecordBatch>> {
    let frame = try_session(catalog).await?.sql(sql).await?;
    Ok(frame.collect().await?)
}

pub(super) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}
