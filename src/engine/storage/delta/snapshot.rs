//! One version of a stored table: its columns and its data files with what the log knows about them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Add, Remove};
use deltalake::table::state::DeltaTableState;

use crate::engine::storage::delta::stats::{self, ColumnBounds};
use crate::error::{Error, ErrorKind, Result, Subject};

/// The tag of data files whose rows our writer has seen to be sorted; its value is a JSON list of the
/// stored names of the sort columns.
pub const SORTED_TAG: &str = "foretell.sortedBy";

/// A data file of a version.
#[derive(Debug)]
pub struct DataFile {
    /// Path below the directory of the table.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Milliseconds since 1970 at which it was written.
    pub modified: i64,
    /// Number of rows.
    pub rows: Option<u64>,
    /// Stored names of the columns its rows are sorted by, ascending with NULLs last.
    pub sorted_by: Vec<String>,
    stats: Option<String>,
    bounds: OnceLock<HashMap<String, ColumnBounds>>,
}

impl DataFile {
    fn from_add(add: Add) -> Result<Self> {
        let rows = add.get_stats().ok().flatten().and_then(|s| u64::try_from(s.num_records).ok());
        let tag = add.tags.as_ref().and_then(|tags| tags.get(SORTED_TAG)).and_then(Option::as_deref);
        Ok(Self {
            size: u64::try_from(add.size).unwrap_or_default(),
            modified: add.modification_time,
            rows,
            sorted_by: tag.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default(),
            stats: add.stats,
            bounds: OnceLock::new(),
            path: add.path,
        })
    }

    /// The bounds of the column `stored_name`; `schema` holds all stored columns.
    pub fn bounds(&self, schema: &Schema, stored_name: &str) -> Option<&ColumnBounds> {
        let stats = self.stats.as_deref()?;
        self.bounds.get_or_init(|| stats::from_json(stats, schema)).get(stored_name)
    }

    /// The log action that takes the file out of the table.
    pub fn remove_action(&self, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change,
            deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(HashMap::new()),
            size: i64::try_from(self.size).ok(),
            ..Remove::default()
        }
    }
}

/// One version of a stored table.
#[derive(Debug)]
pub struct Snapshot {
    /// Number of the version.
    pub version: u64,
    /// Columns as the files hold them.
    pub schema: SchemaRef,
    /// Data files, by name and so in the order they were written.
    pub files: Vec<Arc<DataFile>>,
    /// The state Delta needs to commit on top of this version.
    pub state: DeltaTableState,
}

impl Snapshot {
    /// Reads the version out of `state`; files that `before` knows already are taken from there.
    pub fn from_state(table: &str, state: DeltaTableState, before: Option<&Snapshot>) -> Result<Self> {
        let unreadable =
            |what: String| Error::corrupt(Subject::Table, format!("log of table {table}: {what}"));
        let schema: Schema =
            state.schema().as_ref().try_into_arrow().map_err(|e| unreadable(format!("schema: {e}")))?;
        let known: HashMap<&str, &Arc<DataFile>> =
            before.map(|b| b.files.iter().map(|f| (f.path.as_str(), f)).collect()).unwrap_or_default();
        let mut files = Vec::with_capacity(state.log_data().num_files());
        for view in state.log_data().iter() {
            if view.deletion_vector_descriptor().is_some() {
                return Err(foreign(table, "deletion vectors"));
            }
            if let Some(file) = known.get(view.path().as_ref()) {
                files.push(Arc::clone(file));
                continue;
            }
            // The views expose tags only through the action they were read from.
            #[expect(deprecated)]
            let add = view.add_action();
            if !add.partition_values.is_empty() {
                return Err(foreign(table, "partition columns"));
            }
            files.push(Arc::new(DataFile::from_add(add)?));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { version: state.version(), schema: Arc::new(schema), files, state })
    }

    /// Number of rows, when the log knows it for every file.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|f| f.rows).sum()
    }
}

fn foreign(table: &str, feature: &str) -> Error {
    let message = format!("table {table} was rewritten by another program with {feature}");
    Error::new(ErrorKind::Unsupported, Subject::Table, message)
        .with_hint("rewrite it there without them, or read it as an external table")
}
