//! Errors of Delta in the product's words.

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
            Error::disk(format!("files of table {table}: {source}"), &source)
        }
        DeltaTableError::Io { source } => Error::disk(format!("files of table {table}: {source}"), &source),
        DeltaTableError::KernelError(_)
        | DeltaTableError::NotATable(_)
        | DeltaTableError::InvalidJsonLog { .. }
        | DeltaTableError::InvalidStatsJson { .. } => {
            // What follows is where in Delta's code it was found.
            let why = error.to_string().lines().next().unwrap_or_default().to_owned();
            Error::corrupt(Subject::File, format!("log of table {table} cannot be read: {why}"))
        }
        other => Error::new(ErrorKind::Unavailable, Subject::Table, format!("table {table}: {other}")),
    }
}

/// `table` has no version `version`, or no longer.
pub fn no_such_version(table: &str, version: u64) -> Error {
    Error::not_found(Subject::Table, format!("table {table} has no version {version}"))
        .with_hint(format!("SELECT * FROM table_history({table}) lists the versions"))
}
