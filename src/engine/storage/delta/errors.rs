//! Errors of Delta, DataFusion and Parquet in the product's words.

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;

use crate::error::{Error, ErrorKind, Subject};

/// A Delta error about the table called `table`.
pub fn from_delta(table: &str, error: DeltaTableError) -> Error {
    match error {
        DeltaTableError::InvalidVersion(version) => no_such_version(table, version),
        DeltaTableError::Transaction { source } => {
            let message = format!("table {table} was changed by another writer: {source}");
            Error::new(ErrorKind::Unavailable, Subject::Table, message).with_hint("run the statement again")
        }
        DeltaTableError::ObjectStore { source } => {
            let message = format!("files of table {table}: {source}");
            Error::new(ErrorKind::Unavailable, Subject::File, message)
        }
        DeltaTableError::Io { source } => {
            let message = format!("files of table {table}: {source}");
            Error::new(ErrorKind::Unavailable, Subject::File, message)
        }
        DeltaTableError::KernelError(_)
        | DeltaTableError::NotATable(_)
        | DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::InvalidStatsJson { .. } => {
            Error::corrupt(Subject::File, format!("log of table {table} cannot be read: {error}"))
        }
        other => Error::new(ErrorKind::Unavailable, Subject::Table, format!("table {table}: {other}")),
    }
}

/// `table` has no version `version`, or no longer.
pub fn no_such_version(table: &str, version: u64) -> Error {
    Error::not_found(Subject::Table, format!("table {table} has no version {version}"))
        .with_hint(format!("SELECT * FROM history('{table}') lists the versions"))
}

/// The product's error inside a DataFusion error, or one that repeats its message.
pub fn from_datafusion(error: DataFusionError) -> Error {
    let root = error.find_root();
    if let DataFusionError::External(inner) = root
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return ours.clone();
    }
    match root {
        DataFusionError::ResourcesExhausted(message) => {
            Error::new(ErrorKind::Unavailable, Subject::Memory, message.clone())
        }
        DataFusionError::SQL(..) => Error::input(Subject::Syntax, root.strip_backtrace()),
        DataFusionError::Plan(message) => Error::input(Subject::Statement, message.clone()),
        DataFusionError::SchemaError(..) => Error::input(Subject::Column, root.strip_backtrace()),
        DataFusionError::ArrowError(arrow, _) => Error::data(arrow.to_string()),
        _ => Error::data(root.strip_backtrace()),
    }
}

/// The product's error as a passenger of a DataFusion error.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
