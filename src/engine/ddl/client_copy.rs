//! COPY whose other end is the client of the session: STDIN and STDOUT.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, Ident, Query};
use tokio::sync::mpsc;

use crate::engine::access::{Actor, Guard};
use crate::engine::ddl::command::Lowered;
use crate::engine::ddl::copy::assign;
use crate::engine::query::{ClientCopy, CopyFormat, CopyIn, CopyKind, Message};
use crate::engine::schemas::CATALOG;
use crate::engine::shared::Engine;
use crate::engine::sql::{fold, repair};
use crate::engine::storage::{DEFAULT_SCHEMA, Privilege, TableName, TableVersion};
use crate::engine::temporary::TemporaryTables;
use crate::error::{Error, Result, Subject, did_you_mean};

/// Batches of the client's rows that wait to be written.
const BATCHES_AHEAD: usize = 2;

/// COPY TO STDOUT: a query whose rows go out in a format.
pub async fn copy_to_client(
    state: &SessionState,
    mut query: Box<Query>,
    options: Vec<(String, String)>,
) -> Result<Lowered> {
    let format = read_format(options)?;
    repair(query.as_mut())?;
    let statement = DfStatement::Statement(Box::new(ast::Statement::Query(query)));
    let plan = state.statement_to_plan(statement).await?;
    Ok(Lowered::Copy(plan, ClientCopy::Out(format)))
}

/// COPY FROM STDIN: an INSERT of the rows that the client sends.
pub async fn copy_from_client(
    engine: &Arc<Engine>,
    state: &SessionState,
    table: &TableName,
    columns: &[Ident],
    options: Vec<(String, String)>,
) -> Result<Lowered> {
    let format = read_format(options)?;
    let temporary = TemporaryTables::of(state);
    let target = match temporary.as_ref().filter(|_| table.schema == DEFAULT_SCHEMA) {
        Some(tables) if tables.has(&table.table) => tables.table(&table.table).await,
        _ => None,
    };
    let target = match target {
        Some(target) => target,
        None => {
            Guard::new(engine, &Actor::of(state))?.entry(table, Privilege::Insert)?;
            engine.catalog.provider(table, TableVersion::Latest).await?
        }
    };
    let schema = target.schema();
    let wanted: Vec<String> = match columns.len() {
        0 => schema.fields().iter().map(|f| f.name().clone()).collect(),
        _ => columns.iter().map(fold).collect(),
    };
    let fields = wanted.iter().map(|name| match schema.field_with_name(name) {
        Ok(field) => Ok(field.clone().with_nullable(true)),
        Err(_) => {
            let suggestion = did_you_mean(name, schema.fields().iter().map(|f| f.name().as_str()));
            let message = format!("no column {name} in the table{suggestion}");
            Err(Error::not_found(Subject::Column, message))
        }
    });
    let rows: SchemaRef = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let stream = Received { schema: Arc::clone(&rows), receiver: Mutex::new(Some(receiver)) };
    let source = StreamingTable::try_new(Arc::clone(&rows), vec![Arc::new(stream)])?;
    let source = LogicalPlanBuilder::scan("stdin", provider_as_source(Arc::new(source)), None)?.build()?;
    let projected = assign(&schema, &wanted, &source, target.as_ref(), None)?;
    let source = LogicalPlanBuilder::from(source).project(projected)?.build()?;
    let reference = TableReference::full(CATALOG, table.schema.as_str(), table.table.as_str());
    let plan =
        LogicalPlanBuilder::insert_into(source, reference, provider_as_source(target), InsertOp::Append)?
            .build()?;
    let copy = CopyIn { table: table.to_string(), schema: rows, format, sender };
    Ok(Lowered::Copy(plan, ClientCopy::In(copy)))
}

/// Rows from a channel, once. A channel that closes without an end breaks the statement.
struct Received {
    schema: SchemaRef,
    receiver: Mutex<Option<mpsc::Receiver<Message>>>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Received")
    }
}

impl PartitionStream for Received {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = futures::stream::unfold(receiver, |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok(Some(batch))) => Some((Ok(batch), Some(receiver))),
                Some(Ok(None)) => None,
                Some(Err(error)) => Some((Err(DataFusionError::from(error)), None)),
                None => {
                    let error = Error::cancelled("COPY was left before its end");
                    Some((Err(DataFusionError::from(error)), None))
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// The format that PostgreSQL's options of COPY ask for.
fn read_format(options: Vec<(String, String)>) -> Result<CopyFormat> {
    let kind = options.iter().rev().find(|(key, _)| key == "format").map(|(_, value)| value.to_lowercase());
    let kind = match kind.as_deref() {
        None | Some("text") => CopyKind::Text,
        Some("csv") => CopyKind::Csv,
        Some("binary") => CopyKind::Binary,
        Some(other) => {
            let message = format!("COPY format \"{other}\" not recognized");
            return Err(Error::input(Subject::Option, message).with_hint("formats: text, csv, binary"));
        }
    };
    let csv = kind == CopyKind::Csv;
    let mut format = CopyFormat {
        kind,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".to_owned() },
        header: false,
        quote: b'"',
        escape: b'"',
    };
    for (key, value) in &options {
        set(&mut format, key, value)?;
    }
    if !options.iter().any(|(key, _)| key == "escape") {
        format.escape = format.quote;
    }
    Ok(format)
}

fn set(format: &mut CopyFormat, key: &str, value: &str) -> Result<()> {
    let only = |kinds: &[CopyKind], words: &str| match kinds.contains(&format.kind) {
        true => Ok(()),
        false => Err(Error::input(Subject::Option, format!("{key} is an option of COPY in {words} format"))),
    };
    match key {
        "format" => {}
        "delimiter" => {
            only(&[CopyKind::Text, CopyKind::Csv], "text or CSV")?;
            format.delimiter = one_byte(key, value)?;
        }
        "null" => {
            only(&[CopyKind::Text, CopyKind::Csv], "text or CSV")?;
            format.null = value.to_owned();
        }
        "header" => {
            only(&[CopyKind::Text, CopyKind::Csv], "text or CSV")?;
            format.header = super::copy::boolean(key, value)?;
        }
        "quote" => {
            only(&[CopyKind::Csv], "CSV")?;
            format.quote = one_byte(key, value)?;
        }
        "escape" => {
            only(&[CopyKind::Csv], "CSV")?;
            format.escape = one_byte(key, value)?;
        }
        "encoding" if matches!(value.to_lowercase().as_str(), "utf8" | "utf-8" | "unicode") => {}
        "freeze" => {}
        other => {
            let known = ["format", "delimiter", "null", "header", "quote", "escape", "encoding"];
            let message = format!("unknown option {other} of COPY{}", did_you_mean(other, known));
            return Err(
                Error::input(Subject::Option, message).with_hint(format!("options: {}", known.join(", ")))
            );
        }
    }
    Ok(())
}

fn one_byte(key: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] if !matches!(byte, b'\n' | b'\r' | b'\\') && byte.is_ascii() => Ok(*byte),
        _ => Err(Error::input(Subject::Option, format!("COPY {key} must be a single one-byte character"))),
    }
}
