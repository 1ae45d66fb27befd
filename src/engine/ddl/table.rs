//! Changes of tables and schemas.

use std::sync::Arc;

use chrono::TimeDelta;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;

use crate::engine::query::QueryContext;
use crate::engine::schemas::{FORECASTS, SYSTEM_SCHEMA};
use crate::engine::shared::Engine;
use crate::engine::storage::{Entry, ExternalTable, IfExists, Key, KeyKind, TableDefinition, TableName};
use crate::engine::temporary::{TemporaryDefinition, TemporaryTables};
use crate::error::{Error, ErrorKind, Result, Subject};

/// How long VACUUM keeps files that no current version needs.
const RETENTION_HOURS: u64 = 7 * 24;

/// Says that a statement with IF [NOT] EXISTS did nothing.
pub fn notice_skipped(done: bool, query: &QueryContext, text: impl FnOnce() -> String) {
    if !done {
        query.notice(text());
    }
}

/// CREATE TABLE [AS]; says how many rows it stored.
pub async fn create(
    engine: &Engine,
    name: &TableName,
    definition: TableDefinition,
    rows: Option<SendableRecordBatchStream>,
    if_exists: IfExists,
    query: &QueryContext,
) -> Result<u64> {
    let keys: Vec<String> = definition.keys.iter().map(|key| key.name.clone()).collect();
    let created = engine.catalog.create_table(name, definition, rows, if_exists).await?;
    if created.created && !keys.is_empty() {
        query
            .warn(format!("keys are kept for tools, rows are not checked against them: {}", keys.join(", ")));
    }
    notice_skipped(created.created, query, || format!("table {name} already exists, skipping"));
    Ok(created.rows)
}

/// CREATE INDEX: tools are told of it, rows are found by the bounds that files keep.
pub async fn create_index(
    engine: &Engine,
    table: &TableName,
    key: Key,
    if_not_exists: bool,
    query: &QueryContext,
) -> Result<()> {
    let (name, kind) = (key.name.clone(), key.kind);
    let created = engine.catalog.create_index(table, key, if_not_exists).await?;
    notice_skipped(created, query, || format!("index {name} already exists, skipping"));
    if created && kind == KeyKind::UniqueIndex {
        query.warn(format!("keys are kept for tools, rows are not checked against them: {name}"));
    } else if created {
        query.notice(format!(
            "index {name} is kept for tools, queries do not use it; \
             OPTIMIZE {table} CLUSTER BY (…) sorts the rows by columns"
        ));
    }
    Ok(())
}

/// CREATE TEMPORARY TABLE, with all of `rows` if given.
pub async fn create_temporary(
    tables: &TemporaryTables,
    name: &str,
    schema: SchemaRef,
    rows: Option<SendableRecordBatchStream>,
    rest: TemporaryDefinition,
    query: &QueryContext,
    context: &TaskContext,
) -> Result<u64> {
    let (mut batches, mut memory) = (vec![], TemporaryTables::memory(context.memory_pool()));
    if let Some(mut rows) = rows {
        while let Some(batch) = rows.next().await.transpose()? {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| cast(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(DataFusionError::from)?;
            memory.hold(&batch)?;
            batches.push(batch);
        }
    }
    let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
    let keys = rest.keys.join(", ");
    query.control.commit_begins()?;
    let created = tables.create(name, schema, batches, memory, rest)?;
    if created && !keys.is_empty() {
        query.warn(format!("temporary tables have no keys, rows are not checked against them: {keys}"));
    }
    notice_skipped(created, query, || format!("table {name} already exists, skipping"));
    Ok(count)
}

/// CREATE EXTERNAL TABLE.
pub async fn create_external(
    engine: &Engine,
    name: &TableName,
    table: ExternalTable,
    if_exists: IfExists,
    query: &QueryContext,
) -> Result<()> {
    let created = engine.catalog.create_external(name, table, if_exists).await?;
    notice_skipped(created.created, query, || format!("table {name} already exists, skipping"));
    Ok(())
}

/// CREATE SCHEMA.
pub async fn create_schema(
    engine: &Engine,
    name: &str,
    if_not_exists: bool,
    query: &QueryContext,
) -> Result<()> {
    if [SYSTEM_SCHEMA, "information_schema", "pg_catalog", FORECASTS].contains(&name) {
        let message = format!("schema {name} belongs to the system");
        return Err(Error::new(ErrorKind::Exists, Subject::Schema, message));
    }
    let created = engine.catalog.create_schema(name, if_not_exists).await?;
    notice_skipped(created, query, || format!("schema {name} already exists, skipping"));
    Ok(())
}

/// DROP TABLE.
pub async fn remove(
    engine: &Engine,
    names: &[TableName],
    if_exists: bool,
    query: &QueryContext,
) -> Result<()> {
    let contents = engine.catalog.contents()?;
    let kind = |name: &TableName| match contents.find(name) {
        Some(Entry::External(_)) => "external table",
        _ => "table",
    };
    let tables = names.iter().map(|name| (name.clone(), kind(name))).collect();
    for name in engine.catalog.drop_entries(tables, if_exists).await? {
        query.notice(format!("table {name} does not exist, skipping"));
    }
    Ok(())
}

/// DROP VIEW, DROP SEQUENCE.
pub async fn remove_kind(
    engine: &Engine,
    kind: &'static str,
    names: Vec<TableName>,
    if_exists: bool,
    query: &QueryContext,
) -> Result<()> {
    let entries = names.into_iter().map(|name| (name, kind)).collect();
    for name in engine.catalog.drop_entries(entries, if_exists).await? {
        query.notice(format!("{kind} {name} does not exist, skipping"));
    }
    Ok(())
}

/// VACUUM.
pub async fn vacuum(
    engine: &Engine,
    table: &TableName,
    hours: Option<u64>,
    query: &QueryContext,
) -> Result<()> {
    let hours = i64::try_from(hours.unwrap_or(RETENTION_HOURS)).unwrap_or(i64::MAX);
    let retention = TimeDelta::try_hours(hours)
        .ok_or_else(|| Error::input(Subject::Option, format!("RETAIN {hours} HOURS is out of range")))?;
    let summary = engine.catalog.vacuum(table, retention).await?;
    query.notice(format!("{table}: {} files deleted", summary.files_deleted));
    Ok(())
}

/// OPTIMIZE.
pub async fn optimize(
    engine: &Engine,
    table: &TableName,
    cluster_by: Option<&[String]>,
    query: &QueryContext,
    context: &Arc<TaskContext>,
) -> Result<()> {
    let summary = engine.catalog.optimize(table, cluster_by, context).await?;
    let (removed, added) = (summary.files_removed, summary.files_added);
    query.notice(format!("{table}: {removed} files became {added}, {} rows", summary.rows));
    Ok(())
}
