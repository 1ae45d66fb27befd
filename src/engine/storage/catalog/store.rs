//! One opened database directory: its catalog in memory, and how it changes durably.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use datafusion::catalog::TableProvider;
use datafusion::execution::{SessionState, TaskContext};
use parking_lot::{Mutex, RwLock};
use tokio::sync::OwnedMutexGuard;

use crate::engine::controlled::current_control;
use crate::engine::storage::catalog::counts::Counts;
use crate::engine::storage::catalog::create::cluster_columns;
use crate::engine::storage::catalog::entries::{
    ColumnDefinition, Contents, DEFAULT_SCHEMA, Entry, ExternalTable, SchemaEntry, Table, TableName, View,
    check_identifier,
};
use crate::engine::storage::catalog::generations::{Generations, Room};
use crate::engine::storage::catalog::sequences::{Counters, with_next_value};
use crate::engine::storage::catalog::{Created, IfExists};
use crate::engine::storage::delta::{
    self, HeldVersions, Layout, OptimizeSummary, StoredTable, StoredTableProvider, TableVersion,
    VacuumSummary, VersionInfo,
};
use crate::engine::storage::durable_fs::DurableFs;
use crate::engine::storage::lock::DatabaseLock;
use crate::error::{Error, ErrorKind, Result, Subject};

/// How a database directory is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// By the one process that may write it.
    ReadWrite,
    /// Beside a writer, or without one.
    ReadOnly,
}

/// The catalog of one database directory and the door to its tables; cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) tables: PathBuf,
    pub(super) fs: DurableFs,
    pub(super) functions: Arc<SessionState>,
    directory: PathBuf,
    generations: Generations,
    pub(super) counters: Counters,
    counts: Counts,
    lock: Option<Arc<DatabaseLock>>,
    current: RwLock<(u64, Arc<Contents>)>,
    changing: Arc<tokio::sync::Mutex<()>>,
    open_tables: Mutex<OpenTables>,
}

/// Tables that somebody asked for, by their ids.
type OpenTables = HashMap<String, Arc<StoredTable>>;

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            let (contents, open) = (Arc::clone(&self.current.read().1), self.open_tables.lock());
            let now = |id: &str| open.get(id).and_then(|table| table.known_rows());
            self.counts.save(contents.table_ids(), now, &self.fs);
            if Arc::strong_count(lock) > 1 {
                lock.close();
            }
        }
    }
}

impl Catalog {
    /// Opens the database in `directory`, creating it when it is to be written; `functions` plan the text of
    /// DEFAULT and CHECK.
    pub fn open(directory: &Path, access: Access, functions: Arc<SessionState>) -> Result<Self> {
        Self::open_on(directory, access, functions, DurableFs::default())
    }

    /// As [`Catalog::open`], on this file system.
    pub fn open_on(
        directory: &Path,
        access: Access,
        functions: Arc<SessionState>,
        fs: DurableFs,
    ) -> Result<Self> {
        let directory = std::path::absolute(directory).map_err(|e| Error::io(directory, &e))?;
        let [catalog, tables, sequences] =
            ["catalog", "tables", "sequences"].map(|room| directory.join(room));
        let mut lock = match access {
            Access::ReadWrite => Some(prepare(&directory, [&catalog, &tables, &sequences], &fs)?),
            Access::ReadOnly => {
                ensure_exists(&directory, &catalog, &fs)?;
                None
            }
        };
        let generations = Generations::new(catalog, fs.clone());
        let (number, contents) = generations.load()?;
        let counters = Counters::new(sequences, fs.clone());
        if let Some(lock) = &mut lock {
            // Without a catalog, nobody knows whose the rows and numbers are that there may be.
            if number > 0 {
                remove_orphans(&tables, &contents, &fs)?;
                counters.sweep(&contents)?;
            }
            generations.keep_reserve(number);
            remove_uncommitted(lock, &tables, &contents, &fs);
        }
        let lock = lock.map(Arc::new);
        lock.iter().for_each(|lock| fs.write_under(lock));
        let (functions, place) = with_next_value(&functions)?;
        let inner = Inner {
            counts: Counts::load(&directory, &fs),
            tables,
            fs,
            functions: Arc::new(functions),
            directory,
            generations,
            counters,
            lock,
            current: RwLock::new((number, Arc::new(contents))),
            changing: Arc::default(),
            open_tables: Mutex::default(),
        };
        let inner = Arc::new(inner);
        place.get_or_init(|| Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// The database directory.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// The files of the database, for whoever else keeps something durable in its directory.
    pub fn fs(&self) -> &DurableFs {
        &self.inner.fs
    }

    /// True when this process may write the database.
    pub fn is_writable(&self) -> bool {
        self.inner.lock.is_some()
    }

    /// Fails when the database is open read-only.
    pub fn ensure_writable(&self) -> Result<()> {
        if self.is_writable() {
            return Ok(());
        }
        let message = format!("database {} is open read-only", self.inner.directory.display());
        Err(Error::new(ErrorKind::Denied, Subject::Database, message).with_hint("open it for writing"))
    }

    /// Number of the state that [`Catalog::contents`] gives.
    pub fn generation(&self) -> Result<u64> {
        self.contents()?;
        Ok(self.inner.current.read().0)
    }

    /// Everything in the catalog; a read-only database looks for what its writer changed.
    pub fn contents(&self) -> Result<Arc<Contents>> {
        let (number, contents) = self.inner.current.read().clone();
        if self.is_writable() || self.inner.generations.newest()? == number {
            return Ok(contents);
        }
        let (number, contents) = self.inner.generations.load()?;
        let contents = Arc::new(contents);
        *self.inner.current.write() = (number, Arc::clone(&contents));
        Ok(contents)
    }

    /// Names of the schemas.
    pub fn schemas(&self) -> Result<Vec<String>> {
        Ok(self.contents()?.schemas.keys().cloned().collect())
    }

    /// Names in the schema `schema` and what they stand for.
    pub fn entries(&self, schema: &str) -> Result<BTreeMap<String, Entry>> {
        Ok(self.contents()?.schema(schema)?.entries.clone())
    }

    /// What `name` stands for, if anything.
    pub fn find(&self, name: &TableName) -> Result<Option<Entry>> {
        Ok(self.contents()?.find(name).cloned())
    }

    /// The catalog entry of the stored table `name`.
    pub fn table(&self, name: &TableName) -> Result<Arc<Table>> {
        self.contents()?.table(name).cloned()
    }

    /// Bytes on the disk of the table `name`, past versions included.
    pub fn table_bytes(&self, name: &TableName) -> Result<u64> {
        let path = self.inner.tables.join(&self.table(name)?.id);
        self.inner.fs.bytes_below(&path).map_err(|e| Error::io(&path, &e))
    }

    /// Bytes on the disk of the whole database.
    pub fn bytes(&self) -> Result<u64> {
        let path = self.directory();
        self.inner.fs.bytes_below(path).map_err(|e| Error::io(path, &e))
    }

    /// The stored table `name` at `version`, for reading and, at its newest, for writing. The statement that is planned
    /// holds its newest version from here on.
    pub async fn provider(&self, name: &TableName, version: TableVersion) -> Result<Arc<dyn TableProvider>> {
        let (table, layout_changes, found, entry) = loop {
            let table = self.stored_table(name)?;
            // Counted before the entry is read: an ALTER in between makes the plan old, never wrong.
            let layout_changes = table.layout_changes();
            let found = match version {
                TableVersion::Latest => HeldVersions::of_planned().version(&table).await?,
                past => table.held_at(past).await?,
            };
            let entry = self.table(name)?;
            // Another table may have got the name meanwhile.
            if entry.id == table.id() {
                break (table, layout_changes, found, entry);
            }
        };
        if version != TableVersion::Latest {
            let layout = Layout::of_version(name, &entry, &found.snapshot.schema);
            return Ok(Arc::new(StoredTableProvider::past(table, Arc::new(layout), found)));
        }
        let snapshot = found.snapshot;
        let layout = Layout::current(name, &entry, &snapshot.schema, &self.inner.functions);
        // The statement may hold a version from before a column came.
        let layout =
            layout.map_err(|e| if table.is_newest(snapshot.version) { e } else { table.altered() })?;
        let writable = self.is_writable();
        Ok(Arc::new(StoredTableProvider::latest(table, Arc::new(layout), layout_changes, writable)))
    }

    /// The columns of the stored table `name` as CREATE TABLE would declare them.
    pub async fn columns(&self, name: &TableName) -> Result<Vec<ColumnDefinition>> {
        let table = self.stored_table(name)?;
        let snapshot = table.latest().await?;
        let entry = self.table(name)?;
        if entry.id != table.id() {
            return Err(table.altered());
        }
        let layout = Layout::current(name, &entry, &snapshot.schema, &self.inner.functions)?;
        let columns = entry.live_columns().zip(layout.required).filter_map(|(column, required)| {
            let stored = snapshot.schema.field_with_name(&column.stored_name).ok()?;
            Some(ColumnDefinition {
                name: column.name.clone(),
                data_type: stored.data_type().clone(),
                sql_type: column.sql_type.clone(),
                nullable: !required,
                default_sql: column.default_sql.clone(),
                comment: column.comment.clone(),
            })
        });
        Ok(columns.collect())
    }

    /// Number of rows of the newest version of the table `name` that can be told without reading anything: what it was
    /// when the database was last closed, for a table that has not been opened since.
    pub fn known_row_count(&self, name: &TableName) -> Option<u64> {
        let id = &self.table(name).ok()?.id;
        let open = self.inner.open_tables.lock().get(id).and_then(|table| table.known_rows());
        open.or_else(|| self.inner.counts.rows(id))
    }

    /// All versions of the table `name` that can still be read, newest first.
    pub async fn history(&self, name: &TableName) -> Result<Vec<VersionInfo>> {
        self.stored_table(name)?.history().await
    }

    /// Merges small files of the table `name`; with `cluster_by`, or if it has been given before, sorts all
    /// rows by these columns.
    pub async fn optimize(
        &self,
        name: &TableName,
        cluster_by: Option<&[String]>,
        context: &Arc<TaskContext>,
    ) -> Result<OptimizeSummary> {
        self.ensure_writable()?;
        let (entry, table) = self.opened(name)?;
        let stored_names = match cluster_by {
            Some(columns) => cluster_columns(name, &entry, &table.latest().await?.schema, columns)?,
            None => entry.cluster_by.clone(),
        };
        let summary = delta::optimize(&table, &stored_names, context).await?;
        if stored_names != entry.cluster_by {
            let lock = table.write_lock().await?;
            self.alter_table(table, lock, |entry| {
                entry.cluster_by = stored_names;
                Ok(())
            })
            .await?;
        }
        Ok(summary)
    }

    /// Deletes the files of the table `name` that no version younger than `retention` needs.
    pub async fn vacuum(&self, name: &TableName, retention: TimeDelta) -> Result<VacuumSummary> {
        self.ensure_writable()?;
        delta::vacuum(&self.stored_table(name)?, retention).await
    }

    /// Creates the schema `name`; false when it was there already.
    pub async fn create_schema(&self, name: &str, if_not_exists: bool) -> Result<bool> {
        let name = name.to_string();
        self.update(move |contents| {
            check_identifier(&name, Subject::Schema)?;
            if contents.schemas.contains_key(&name) {
                if if_not_exists {
                    return Ok(false);
                }
                let message = format!("schema {name} already exists");
                return Err(Error::new(ErrorKind::Exists, Subject::Schema, message));
            }
            contents.schemas.insert(name, SchemaEntry::default());
            Ok(true)
        })
        .await
    }

    /// Drops the schema `name` with, if `cascade`, everything in it; false when there was none.
    pub async fn drop_schema(&self, name: &str, if_exists: bool, cascade: bool) -> Result<bool> {
        let name = name.to_string();
        let dropped = self.change(Room::Frees, move |contents| {
            if if_exists && !contents.schemas.contains_key(&name) {
                return Ok(None);
            }
            if !contents.schema(&name)?.entries.is_empty() && !cascade {
                let message = format!("schema {name} is not empty");
                let error = Error::input(Subject::Schema, message);
                return Err(error.with_hint(format!("DROP SCHEMA {name} CASCADE drops what is in it")));
            }
            if name == DEFAULT_SCHEMA {
                return Err(Error::input(Subject::Schema, format!("schema {name} cannot be dropped")));
            }
            Ok(contents.schemas.remove(&name))
        });
        let Some(schema) = dropped.await? else { return Ok(false) };
        let entries = schema.entries.into_iter();
        self.discard_all(entries.map(|(table, entry)| (TableName::public(table), entry)))?;
        Ok(true)
    }

    /// Drops all of these, each of its kind, or none; tells which were not there. Statements that read a table go on,
    /// and the files of an external one stay. A sequence that a column takes its default from is not dropped.
    pub async fn drop_entries(
        &self,
        entries: Vec<(TableName, &'static str)>,
        if_exists: bool,
    ) -> Result<Vec<TableName>> {
        let dropped = self.change(Room::Frees, move |contents| {
            let (mut taken, mut missing) = (vec![], vec![]);
            for (name, kind) in &entries {
                if if_exists && contents.find(name).is_none() {
                    missing.push(name.clone());
                    continue;
                }
                let entry = match *kind {
                    "sequence" => contents.take_sequence(name)?,
                    kind => contents.take(name, kind)?,
                };
                if let Entry::Table(table) = &entry {
                    contents.drop_owned(&table.id, None);
                }
                taken.push((name.clone(), entry));
            }
            Ok((taken, missing))
        });
        let (taken, missing) = dropped.await?;
        self.discard_all(taken)?;
        Ok(missing)
    }

    /// Creates the view `name`, or changes it with `replace`.
    pub async fn create_view(&self, name: &TableName, view: View, replace: bool) -> Result<()> {
        let name = name.clone();
        self.update(move |contents| contents.put(&name, Entry::View(Arc::new(view)), replace).map(|_| ()))
            .await
    }

    /// Creates the external table `name`.
    pub async fn create_external(
        &self,
        name: &TableName,
        table: ExternalTable,
        if_exists: IfExists,
    ) -> Result<Created> {
        let name = name.clone();
        let created = self.update(move |contents| {
            if if_exists == IfExists::Skip && contents.find(&name).is_some() {
                return Ok(false);
            }
            let replace = if_exists == IfExists::Replace;
            contents.put(&name, Entry::External(Arc::new(table)), replace)?;
            Ok(true)
        });
        Ok(Created { created: created.await?, rows: 0 })
    }

    /// The opened table behind the entry `name`; opening reads nothing.
    pub(super) fn stored_table(&self, name: &TableName) -> Result<Arc<StoredTable>> {
        self.opened(name).map(|(_, table)| table)
    }

    /// As [`Catalog::stored_table`], with the entry.
    fn opened(&self, name: &TableName) -> Result<(Arc<Table>, Arc<StoredTable>)> {
        // The entry is read while nothing is opened or forgotten: a table that is dropped meanwhile is not opened anew.
        let mut open = self.inner.open_tables.lock();
        let entry = self.table(name)?;
        let table = self.open_table(&mut open, name, &entry.id)?;
        Ok((entry, table))
    }

    /// As [`Catalog::stored_table`], with the entry and the right to change the table, after whoever has it. It keeps its
    /// columns then, and may get another name.
    pub(super) async fn locked_table(
        &self,
        name: &TableName,
    ) -> Result<(Arc<StoredTable>, Arc<Table>, OwnedMutexGuard<()>)> {
        loop {
            let table = self.stored_table(name)?;
            let lock = table.write_lock().await?;
            let entry = self.table(name)?;
            // Another table may have got the name meanwhile.
            if entry.id == table.id() {
                return Ok((table, entry, lock));
            }
        }
    }

    /// Tells the opened table of this id its name.
    pub(super) fn set_label(&self, id: &str, name: &TableName) {
        let open = self.inner.open_tables.lock().get(id).cloned();
        open.into_iter().for_each(|table| table.set_label(name.to_string()));
    }

    fn open_table(&self, open: &mut OpenTables, name: &TableName, id: &str) -> Result<Arc<StoredTable>> {
        if let Some(table) = open.get(id) {
            return Ok(Arc::clone(table));
        }
        let fs = self.inner.fs.clone();
        let table = Arc::new(StoredTable::open(&self.inner.tables, id, name.to_string(), fs)?);
        open.insert(id.to_string(), Arc::clone(&table));
        Ok(table)
    }

    /// Lets statements find `table` by its id.
    pub(super) fn adopt(&self, table: &Arc<StoredTable>) {
        self.inner.open_tables.lock().insert(table.id().to_string(), Arc::clone(table));
    }

    /// Deletes the files of an entry that is no longer in the catalog, once nobody reads them.
    pub(super) fn discard(&self, name: &TableName, entry: &Entry) -> Result<()> {
        if let Entry::Table(entry) = entry {
            let table = self.open_table(&mut self.inner.open_tables.lock(), name, &entry.id)?;
            table.mark_dropped();
            self.forget(&entry.id);
        }
        Ok(())
    }

    /// As [`Catalog::discard`], of all of these; some of their room is kept for the catalog.
    fn discard_all(&self, dropped: impl IntoIterator<Item = (TableName, Entry)>) -> Result<()> {
        let discarded = dropped.into_iter().map(|(name, entry)| self.discard(&name, &entry));
        let discarded: Vec<Result<()>> = discarded.collect();
        let number = self.inner.current.read().0;
        self.inner.generations.keep_reserve(number);
        discarded.into_iter().collect()
    }

    /// Statements do not find the table of this id any more.
    pub(super) fn forget(&self, id: &str) {
        self.inner.open_tables.lock().remove(id);
    }

    /// As [`Catalog::change`], of one that takes room.
    pub(super) async fn update<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Contents) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.change(Room::Takes, change).await
    }

    /// Makes one change of the catalog durable, of a statement that is not stopped any more.
    async fn change<T: Send + 'static>(
        &self,
        room: Room,
        change: impl FnOnce(&mut Contents) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.change_then(room, || {}, change).await
    }

    /// As [`Catalog::change`], with `after` once statements see it. It runs to its end even when the caller is dropped, so
    /// memory and disk never differ.
    pub(super) async fn change_then<T: Send + 'static>(
        &self,
        room: Room,
        after: impl FnOnce() + Send + 'static,
        change: impl FnOnce(&mut Contents) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ensure_writable()?;
        let inner = Arc::clone(&self.inner);
        let turn = Arc::clone(&inner.changing).lock_owned().await;
        current_control().commit_begins()?;
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let (number, current) = inner.current.read().clone();
            let mut contents = (*current).clone();
            let result = change(&mut contents)?;
            if contents != *current {
                contents.assign_oids();
                inner.generations.publish(number + 1, &contents, room)?;
                *inner.current.write() = (number + 1, Arc::new(contents));
            }
            after();
            Ok(result)
        });
        task.await.map_err(|e| Error::internal(format!("the catalog could not be changed: {e}")))?
    }
}

fn prepare(directory: &Path, rooms: [&PathBuf; 3], fs: &DurableFs) -> Result<DatabaseLock> {
    fs.create_dir_all(directory).map_err(|e| Error::io(directory, &e))?;
    let lock = DatabaseLock::acquire(directory)?;
    for room in rooms {
        fs.create_dir_all(room).map_err(|e| Error::io(room, &e))?;
        fs.sweep(room).map_err(|e| Error::io(room, &e))?;
    }
    fs.sweep_flat(directory).map_err(|e| Error::io(directory, &e))?;
    if lock.was_left_open() {
        // What the catalog is found to say stays so, before anything is done by it.
        let [catalog, ..] = rooms;
        fs.sync_dir(catalog).map_err(|e| Error::io(catalog, &e))?;
    }
    Ok(lock)
}

fn ensure_exists(directory: &Path, catalog: &Path, fs: &DurableFs) -> Result<()> {
    match fs.fs().info(catalog) {
        Ok(found) if found.is_dir => Ok(()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(directory, &e)),
        _ => {
            let message = format!("{} is not a database", directory.display());
            Err(Error::not_found(Subject::Database, message).with_hint("open it for writing to create one"))
        }
    }
}

/// Removes the data files of statements whose process died before it committed them. What cannot be looked at is told
/// by who reads it, and looked at again.
fn remove_uncommitted(lock: &mut DatabaseLock, tables: &Path, contents: &Contents, fs: &DurableFs) {
    let Some(since) = lock.unfinished_since() else { return };
    let removed = contents.table_ids().map(|id| delta::remove_uncommitted(&tables.join(id), since, fs));
    if removed.collect::<Vec<_>>().into_iter().all(|removed| removed.is_ok()) {
        lock.settle();
    }
}

/// Removes the directories of tables that were being created or dropped when their process died.
fn remove_orphans(tables: &Path, contents: &Contents, fs: &DurableFs) -> Result<()> {
    let known: std::collections::HashSet<&str> = contents.table_ids().collect();
    for found in fs.fs().list(tables).map_err(|e| Error::io(tables, &e))? {
        if found.is_dir && !known.contains(found.name.as_str()) {
            let path = tables.join(&found.name);
            fs.remove_dir_all(&path).map_err(|e| Error::io(&path, &e))?;
        }
    }
    Ok(())
}
