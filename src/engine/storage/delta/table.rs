//! A stored table: its Delta log, the newest version in memory, and the only way to commit to it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, MetadataExt, StructType};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use url::Url;

use crate::engine::controlled::current_control;
use crate::engine::storage::delta::append::Waiting;
use crate::engine::storage::delta::directory::{NewFiles, TableDirectory};
use crate::engine::storage::delta::errors::{from_delta, no_such_version};
use crate::engine::storage::delta::held::HeldVersion;
use crate::engine::storage::delta::snapshot::Snapshot;
use crate::engine::storage::durable_fs::DurableFs;
use crate::engine::storage::durable_store::DurableStore;
use crate::error::{Error, ErrorKind, Result, Subject};

/// How often a commit is tried again after another program wrote to the table.
const COMMIT_RETRIES: usize = 10;
/// After how many commits the log is summarised, so that opening stays fast.
const CHECKPOINT_INTERVAL: u32 = 20;

/// Which version of a table a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableVersion {
    /// The newest.
    #[default]
    Latest,
    /// The one of this number.
    Number(u64),
    /// The newest that existed at this instant.
    At(DateTime<Utc>),
}

/// One version in the history of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionInfo {
    /// Number.
    pub version: u64,
    /// When it was committed.
    pub timestamp: DateTime<Utc>,
    /// What was done: `CREATE TABLE`, `INSERT`, `DELETE`, ...
    pub operation: String,
    /// How many rows were written, changed or deleted, when the log says so.
    pub rows: Option<u64>,
}

/// What one commit does.
#[derive(Debug)]
pub struct Commit {
    /// Word for the history: `INSERT`, `DELETE`, `UPDATE`, ...
    pub operation: &'static str,
    /// Files added and removed, metadata changed.
    pub actions: Vec<Action>,
    /// The operation in Delta's terms.
    pub delta: DeltaOperation,
    /// Rows written, changed or deleted.
    pub rows: u64,
    /// The files that it adds; they are kept where the commit stands, or may stand.
    pub files: Option<Arc<NewFiles>>,
}

/// A stored table; opened without reading anything, loaded on first use.
#[derive(Debug)]
pub struct StoredTable {
    id: String,
    directory: Mutex<Option<Arc<TableDirectory>>>,
    log_store: LogStoreRef,
    object_store: Arc<DurableStore>,
    object_store_url: ObjectStoreUrl,
    label: RwLock<String>,
    newest: tokio::sync::Mutex<Option<Arc<Snapshot>>>,
    writer: Arc<tokio::sync::Mutex<()>>,
    waiting: Waiting,
    compaction: Arc<tokio::sync::Mutex<()>>,
    /// Versions that somebody may read.
    read: Mutex<Vec<Weak<Snapshot>>>,
    layout_changes: AtomicU64,
}

impl StoredTable {
    /// The table in the directory `tables/id`, called `label` in messages.
    pub fn open(tables: &Path, id: &str, label: String, fs: DurableFs) -> Result<Self> {
        let path = tables.join(id);
        let log_store = log_store(&path, &label, &fs)?;
        let object_store_url = object_store_url(tables)?;
        Ok(Self {
            object_store: Arc::new(DurableStore::new(tables.to_path_buf(), fs.clone())),
            object_store_url,
            id: id.to_string(),
            directory: Mutex::new(Some(Arc::new(TableDirectory::new(path, fs)))),
            log_store,
            label: RwLock::new(label),
            newest: tokio::sync::Mutex::new(None),
            writer: Arc::default(),
            waiting: Waiting::default(),
            compaction: Arc::default(),
            read: Mutex::default(),
            layout_changes: AtomicU64::new(0),
        })
    }

    /// Writes version 0 with these columns and files.
    pub async fn create(&self, schema: &Schema, files: Vec<Add>, rows: u64) -> Result<()> {
        let schema: StructType = schema
            .try_into_kernel()
            .map_err(|e| Error::input(Subject::Type, format!("table {}: {e}", self.label())))?;
        CreateBuilder::new()
            .with_log_store(Arc::clone(&self.log_store))
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_columns(schema.fields().cloned())
            .with_configuration([("delta.checkpointInterval", Some(CHECKPOINT_INTERVAL.to_string()))])
            .with_commit_properties(properties("CREATE TABLE", rows))
            .with_actions(files.into_iter().map(Action::Add))
            .await
            .map_err(|e| self.error(e))?;
        Ok(())
    }

    /// Name of its directory.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its files, for as long as the result is held; fails once the table has been dropped.
    pub fn directory(&self) -> Result<Arc<TableDirectory>> {
        self.directory.lock().clone().ok_or_else(|| self.dropped())
    }

    /// The address under which plans find [`StoredTable::object_store`].
    pub fn object_store_url(&self) -> &ObjectStoreUrl {
        &self.object_store_url
    }

    /// The files of all tables of the database; a file's path starts with the id of its table.
    pub fn object_store(&self) -> Arc<DurableStore> {
        Arc::clone(&self.object_store)
    }

    /// Its name in messages.
    pub fn label(&self) -> String {
        self.label.read().clone()
    }

    /// Changes its name in messages.
    pub fn set_label(&self, label: String) {
        *self.label.write() = label;
    }

    /// Counts changes of columns and constraints; a statement planned before the last one must not write.
    pub fn layout_changes(&self) -> u64 {
        self.layout_changes.load(Ordering::Acquire)
    }

    /// Notes that columns or constraints change now.
    pub fn note_layout_change(&self) {
        self.layout_changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Says that the catalog does not have the table yet: unless it is kept, its files go with it.
    pub fn mark_unpublished(&self) {
        self.doom(true);
    }

    /// Takes [`StoredTable::mark_unpublished`] back.
    pub fn keep(&self) {
        self.doom(false);
    }

    /// Says that the catalog no longer has the table: nothing new reads or writes it from now on, and its
    /// files go with the last statement that does.
    pub fn mark_dropped(&self) {
        self.doom(true);
        // The last holder removes the files, which nobody has to wait for.
        let held = self.directory.lock().take();
        drop(held);
    }

    fn doom(&self, doomed: bool) {
        if let Some(directory) = self.directory.lock().as_ref() {
            directory.doom(doomed);
        }
    }

    /// The right to change the table; others wait, each as long as its lock_timeout says.
    pub async fn write_lock(&self) -> Result<OwnedMutexGuard<()>> {
        self.in_time(&self.writer).await
    }

    /// Rows that wait for the next commit.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The right to merge files in the background, unless somebody has it.
    pub fn begin_compaction(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.compaction).try_lock_owned().ok()
    }

    /// As [`StoredTable::begin_compaction`], after whoever has it.
    pub async fn wait_for_compaction(&self) -> Result<OwnedMutexGuard<()>> {
        self.in_time(&self.compaction).await
    }

    /// A lock of the table, unless the wait for it is longer than the statement's lock_timeout.
    async fn in_time(&self, lock: &Arc<tokio::sync::Mutex<()>>) -> Result<OwnedMutexGuard<()>> {
        let taken = Arc::clone(lock).lock_owned();
        let Some(longest) = current_control().lock_timeout() else { return Ok(taken.await) };
        tokio::time::timeout(longest, taken).await.map_err(|_| self.locked())
    }

    fn locked(&self) -> Error {
        let message = "canceling statement due to lock timeout";
        Error::new(ErrorKind::Cancelled, Subject::Table, message)
            .with_detail(format!("Another statement is changing table {}.", self.label()))
            .with_hint("run it again, or SET lock_timeout = 0 to wait as long as it takes")
    }

    /// Names of the files of all versions that somebody may read now, the newest included.
    pub fn files_in_use(&self) -> HashSet<String> {
        let mut read = self.read.lock();
        read.retain(|snapshot| snapshot.strong_count() > 0);
        let in_use = read.iter().filter_map(Weak::upgrade);
        in_use
            .flat_map(|snapshot| snapshot.files.iter().map(|f| f.path.clone()).collect::<Vec<_>>())
            .collect()
    }

    /// The version that `state` is; files that `before` knows already are taken from there.
    fn version_of(&self, state: DeltaTableState, before: Option<&Snapshot>) -> Result<Arc<Snapshot>> {
        let snapshot = Arc::new(Snapshot::from_state(&self.label(), state, before)?);
        let mut read = self.read.lock();
        read.retain(|snapshot| snapshot.strong_count() > 0);
        read.push(Arc::downgrade(&snapshot));
        Ok(snapshot)
    }

    /// The newest version; only log entries newer than the one in memory are read.
    pub async fn latest(&self) -> Result<Arc<Snapshot>> {
        // While the log is read it does not go.
        let _held = self.directory()?;
        let mut newest = self.newest.lock().await;
        let Some(known) = newest.as_ref() else {
            let state = DeltaTableState::try_new(&self.log_store, None).await.map_err(|e| self.error(e))?;
            let snapshot = self.version_of(state, None)?;
            *newest = Some(Arc::clone(&snapshot));
            return Ok(snapshot);
        };
        if self.is_newest(known.version) {
            return Ok(Arc::clone(known));
        }
        let mut state = known.state.clone();
        state.update(&self.log_store, None).await.map_err(|e| self.error(e))?;
        if state.version() == known.version {
            return Ok(Arc::clone(known));
        }
        let snapshot = self.version_of(state, Some(known))?;
        *newest = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// As [`StoredTable::latest`], with its files.
    pub async fn held(&self) -> Result<HeldVersion> {
        let directory = self.directory()?;
        Ok(HeldVersion { snapshot: self.latest().await?, directory })
    }

    /// As [`StoredTable::snapshot`], with its files.
    pub async fn held_at(&self, version: TableVersion) -> Result<HeldVersion> {
        let directory = self.directory()?;
        Ok(HeldVersion { snapshot: self.snapshot(version).await?, directory })
    }

    /// True when the log ends with this version: its entry is there and the next one is not. Entries that are too
    /// old are removed from the oldest on, so that an entry before a removed one cannot be there.
    pub fn is_newest(&self, version: u64) -> bool {
        let Some(directory) = self.directory.lock().clone() else { return false };
        let entry = |n: u64| directory.path().join(format!("_delta_log/{n:020}.json"));
        // Two looks at a directory take microseconds, less than handing them to another thread.
        let found = |n| directory.fs().fs().info(&entry(n));
        let is_missing = |e: std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
        found(version).is_ok() && found(version + 1).err().is_some_and(is_missing)
    }

    /// Rows of the newest version that was read, when its log knows them; reads nothing.
    pub fn known_rows(&self) -> Option<u64> {
        self.newest.try_lock().ok()?.as_ref()?.rows()
    }

    /// The version that `version` names.
    pub async fn snapshot(&self, version: TableVersion) -> Result<Arc<Snapshot>> {
        let _held = self.directory()?;
        let latest = self.latest().await?;
        let number = match version {
            TableVersion::Latest => return Ok(latest),
            TableVersion::Number(number) => number,
            TableVersion::At(instant) => self.version_at(instant).await?,
        };
        if number == latest.version {
            return Ok(latest);
        }
        if number > latest.version || self.read_log_entry(number).await?.is_none() {
            return Err(no_such_version(&self.label(), number));
        }
        let state =
            DeltaTableState::try_new(&self.log_store, Some(number)).await.map_err(|e| self.error(e))?;
        self.version_of(state, Some(&latest))
    }

    async fn version_at(&self, instant: DateTime<Utc>) -> Result<u64> {
        let history = self.history().await?;
        history.iter().find(|v| v.timestamp <= instant).map(|v| v.version).ok_or_else(|| {
            let since = history.last().map(|v| format!("; its oldest version is of {}", v.timestamp));
            let message = format!("table {} has no version of {instant}", self.label());
            Error::not_found(Subject::Table, format!("{message}{}", since.unwrap_or_default()))
        })
    }

    /// All versions that can still be read, newest first.
    pub async fn history(&self) -> Result<Vec<VersionInfo>> {
        let _held = self.directory()?;
        let newest = self.latest().await?.version;
        let mut history = Vec::new();
        for version in (0..=newest).rev() {
            let Some(bytes) = self.read_log_entry(version).await? else { break };
            history.push(self.version_info(version, &bytes)?);
        }
        // Clocks may go back between commits; versions do not.
        for i in (0..history.len().saturating_sub(1)).rev() {
            let before = history[i + 1].timestamp;
            history[i].timestamp = history[i].timestamp.max(before);
        }
        Ok(history)
    }

    async fn read_log_entry(&self, version: u64) -> Result<Option<bytes::Bytes>> {
        match self.log_store.read_commit_entry(version).await {
            Ok(entry) => Ok(entry),
            Err(DeltaTableError::InvalidVersion(_)) => Ok(None),
            Err(e) => Err(self.error(e)),
        }
    }

    fn version_info(&self, version: u64, entry: &[u8]) -> Result<VersionInfo> {
        let unreadable = || {
            let message = format!("log of table {}: version {version} cannot be read", self.label());
            Error::corrupt(Subject::File, message)
        };
        let mut info = Value::Null;
        for action in log_actions::<Value>(entry) {
            let mut action = action.map_err(|_| unreadable())?;
            if let Some(found) = action.get_mut("commitInfo") {
                info = found.take();
            }
        }
        let milliseconds = info["timestamp"].as_i64().unwrap_or_default();
        Ok(VersionInfo {
            version,
            timestamp: DateTime::from_timestamp_millis(milliseconds).ok_or_else(unreadable)?,
            operation: info["foretell.operation"]
                .as_str()
                .or_else(|| info["operation"].as_str())
                .unwrap_or("UNKNOWN")
                .to_string(),
            rows: info["foretell.rows"].as_u64(),
        })
    }

    /// Commits on top of `base`, the newest version; call it with the write lock held. Its statement is not stopped
    /// any more, and it runs to its end even when the caller is dropped, so a commit is never half acknowledged.
    pub async fn commit(self: &Arc<Self>, base: Arc<Snapshot>, commit: Commit) -> Result<()> {
        let directory = self.directory()?;
        current_control().commit_begins()?;
        let (table, lock) = (Arc::clone(self), directory.fs().lock());
        let task = tokio::spawn(async move {
            let _held = (directory, lock);
            table.commit_uninterrupted(base, commit).await
        });
        task.await.map_err(|e| Error::internal(format!("commit to table {} stopped: {e}", self.label())))?
    }

    async fn commit_uninterrupted(&self, base: Arc<Snapshot>, commit: Commit) -> Result<()> {
        let prepared = CommitBuilder::from(properties(commit.operation, commit.rows))
            .with_actions(commit.actions)
            .build(Some(&base.state as &dyn TableReference), Arc::clone(&self.log_store), commit.delta);
        let prepared = prepared.into_prepared_commit_future().await.map_err(|e| self.error(e))?;
        // Where the process ends now, the entry may be written still.
        commit.files.iter().for_each(|files| files.keep());
        let committed = prepared.await;
        commit.files.iter().for_each(|files| files.settle(committed.is_ok()));
        let committed = committed.map_err(|e| self.error(e))?;
        // The commit is durable. A checkpoint that fails now only makes the next opening slower.
        let mut newest = self.newest.lock().await;
        let done = committed.await.ok();
        // What cannot be read is told to who reads it.
        *newest = done.and_then(|done| self.version_of(done.snapshot(), Some(&base)).ok());
        Ok(())
    }

    /// The action that gives the table the columns `schema`, all of types it has already.
    pub fn schema_action(&self, base: &Snapshot, schema: &Schema) -> Result<Action> {
        let kernel: StructType = schema
            .try_into_kernel()
            .map_err(|e| Error::input(Subject::Type, format!("table {}: {e}", self.label())))?;
        let metadata = base.state.metadata().clone();
        let changed = metadata
            .with_schema(&kernel)
            .map_err(|e| Error::internal(format!("columns of table {}: {e}", self.label())))?;
        Ok(Action::Metadata(changed))
    }

    /// Adds `column`, NULL in every row, to the log; call it with the write lock held.
    pub async fn add_stored_column(&self, column: &Field) -> Result<Arc<Snapshot>> {
        let _held = self.directory()?;
        let schema: StructType =
            (&Schema::new(vec![column.clone().with_nullable(true)]))
                .try_into_kernel()
                .map_err(|e| Error::input(Subject::Type, format!("table {}: {e}", self.label())))?;
        let builder =
            self.delta_table().await?.add_columns().with_fields(schema.into_fields().collect::<Vec<_>>());
        builder.with_commit_properties(properties("ADD COLUMN", 0)).await.map_err(|e| self.error(e))?;
        self.latest().await
    }

    /// The table as Delta's own operations want it.
    pub async fn delta_table(&self) -> Result<DeltaTable> {
        let mut table = DeltaTable::new(Arc::clone(&self.log_store));
        table.load().await.map_err(|e| self.error(e))?;
        Ok(table)
    }

    /// A Delta error about this table.
    pub fn error(&self, error: DeltaTableError) -> Error {
        from_delta(&self.label(), error)
    }

    /// The error of a statement whose table is gone.
    pub fn dropped(&self) -> Error {
        Error::not_found(Subject::Table, format!("table {} was dropped", self.label()))
    }

    /// The error of a statement whose plan is older than the table's columns or constraints.
    pub fn altered(&self) -> Error {
        let message = format!("table {} was altered while the statement ran", self.label());
        Error::new(ErrorKind::Unavailable, Subject::Table, message).with_hint("run the statement again")
    }
}

/// The actions of one entry of a log, each of a line.
pub fn log_actions<'a, T: Deserialize<'a>>(entry: &'a [u8]) -> impl Iterator<Item = serde_json::Result<T>> {
    let lines = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(serde_json::from_slice)
}

fn properties(operation: &str, rows: u64) -> CommitProperties {
    let metadata: HashMap<String, Value> = HashMap::from([
        ("foretell.operation".to_string(), json!(operation)),
        ("foretell.rows".to_string(), json!(rows)),
    ]);
    CommitProperties::default().with_max_retries(COMMIT_RETRIES).with_metadata(metadata)
}

fn object_store_url(tables: &Path) -> Result<ObjectStoreUrl, DataFusionError> {
    // One address a database, so that two databases opened by one process do not mix.
    let digest = Sha256::digest(tables.as_os_str().as_encoded_bytes());
    let host: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    ObjectStoreUrl::parse(format!("foretell://{host}/"))
}

fn log_store(directory: &Path, label: &str, fs: &DurableFs) -> Result<LogStoreRef> {
    let url = Url::from_directory_path(directory).map_err(|()| {
        let message = format!("{} is not an absolute path", directory.display());
        Error::input(Subject::Database, message)
    })?;
    let store = Arc::new(DurableStore::new(PathBuf::from("/"), fs.clone()));
    DeltaTableBuilder::from_url(url.clone())
        .and_then(|builder| builder.with_storage_backend(store, url).build_storage())
        .map_err(|e| from_delta(label, e))
}

#[cfg(test)]
mod tests {
    use deltalake::open_table;

    use super::*;
    use crate::engine::storage::catalog::TableName;
    use crate::engine::storage::tests::{Database, sales};

    #[tokio::test]
    async fn other_readers_of_the_format_see_the_same_rows() {
        let database = Database::with_sales().await;
        for i in 0..25 {
            database.run(&format!("INSERT INTO sales VALUES ('k{i}', {i}, 'x')")).await.unwrap();
        }
        database.run("UPDATE sales SET y = y + 1 WHERE y > 20").await.unwrap();
        database.run("DELETE FROM sales WHERE y < 5").await.unwrap();
        let url = Url::from_directory_path(database.table_directory("sales")).unwrap();
        let session = datafusion::prelude::SessionContext::new();
        let stock = open_table(url).await.unwrap();
        session.register_table("stock", stock.table_provider().await.unwrap()).unwrap();
        let query = |table: &str| format!("SELECT count(*), sum(y), min(k), max(k), min(note) FROM {table}");
        let theirs = session.sql(&query("stock")).await.unwrap().collect().await.unwrap();
        let ours = database.rows(&query("sales")).await;
        assert_eq!(ours, ["20|294.0|k10|k9|x"]);
        assert_eq!(crate::engine::storage::tests::lines(&theirs), ours);
    }

    #[tokio::test]
    async fn sorted_tag_survives_a_checkpoint() {
        let database = Database::new();
        let mut definition = sales();
        definition.cluster_by = vec!["k".into()];
        database.create("sales", definition).await.unwrap();
        for i in 10..35 {
            database.run(&format!("INSERT INTO sales VALUES ('k{i}', {i}, 'x')")).await.unwrap();
        }
        let database = database.reopen();
        let id = database.catalog.table(&TableName::public("sales")).unwrap().id.clone();
        let tables = database.directory.path().join("tables");
        let table = StoredTable::open(&tables, &id, "sales".into(), DurableFs::default()).unwrap();
        let snapshot = table.latest().await.unwrap();
        assert_eq!(snapshot.files.len(), 25);
        assert!(snapshot.files.iter().all(|f| f.sorted_by == ["k"]));
        assert!(snapshot.files.iter().all(|f| f.bounds(&snapshot.schema, "k").unwrap().min.is_some()));
        assert_eq!(snapshot.rows(), Some(25));
    }
}
