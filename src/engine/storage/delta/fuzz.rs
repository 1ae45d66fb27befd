//! A door for fuzzing: the log of a table with any bytes for its second entry.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Schema};

use crate::engine::storage::delta::table::{StoredTable, TableVersion};
use crate::engine::storage::delta::uncommitted::remove_uncommitted;
use crate::engine::storage::durable_fs::DurableFs;
use crate::error::Result;

/// Reads the log in all ways that a statement may; the files are below `directory`.
pub async fn log(directory: &Path, bytes: &[u8]) -> Result<()> {
    let open = || StoredTable::open(directory, "table", "t".to_owned(), DurableFs::default());
    let log = directory.join("table/_delta_log");
    if !log.exists() {
        DurableFs::default().create_dir_all(&log).map_err(|e| crate::error::Error::io(&log, &e))?;
        let schema = Schema::new(vec![Field::new("i", DataType::Int64, true)]);
        open()?.create(&schema, Vec::new(), 0).await?;
    }
    let entry = log.join("00000000000000000001.json");
    std::fs::write(&entry, bytes).map_err(|e| crate::error::Error::io(&entry, &e))?;
    let table = open()?;
    let _ = table.history().await;
    let _ = remove_uncommitted(&directory.join("table"), 0, &DurableFs::default());
    let snapshot = table.snapshot(TableVersion::Latest).await?;
    for file in &snapshot.files {
        let _ = file.bounds(&snapshot.schema, "i");
    }
    Ok(())
}
