//! The files of a table, and those of them that no version has yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deltalake::kernel::Add;
use parking_lot::Mutex;

use crate::engine::storage::durable_fs::DurableFs;
use crate::engine::storage::lock::DatabaseLock;

/// The files of a table; whoever reads or writes them holds it, and a doomed one goes with the last holder.
#[derive(Debug)]
pub struct TableDirectory {
    path: PathBuf,
    fs: DurableFs,
    doomed: AtomicBool,
    uncommitted: Mutex<HashSet<String>>,
}

impl TableDirectory {
    /// The files of the table in the directory `path`.
    pub fn new(path: PathBuf, fs: DurableFs) -> Self {
        Self { path, fs, doomed: AtomicBool::new(false), uncommitted: Mutex::default() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether they go with the last holder.
    pub fn doom(&self, doomed: bool) {
        self.doomed.store(doomed, Ordering::Release);
    }

    /// How they are written.
    pub fn fs(&self) -> &DurableFs {
        &self.fs
    }

    /// Names of the data files that statements are writing, or have written and not committed.
    pub fn uncommitted(&self) -> HashSet<String> {
        self.uncommitted.lock().clone()
    }
}

impl Drop for TableDirectory {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire) {
            // What cannot be removed now is collected by the next writable open.
            let _ = self.fs.remove_dir_all(&self.path);
        }
    }
}

/// The place of a data file that no version has yet; dropping it removes the file, unless it is kept.
#[derive(Debug)]
pub struct NewFile {
    directory: Arc<TableDirectory>,
    name: String,
    kept: AtomicBool,
    /// Until it is known whether it stays, the database cannot be opened by another process.
    _lock: Option<Arc<DatabaseLock>>,
}

impl NewFile {
    /// The place of this name; vacuum leaves it alone from now on.
    pub fn new(directory: Arc<TableDirectory>, name: String) -> Self {
        directory.uncommitted.lock().insert(name.clone());
        let lock = directory.fs().lock();
        Self { directory, name, kept: AtomicBool::new(false), _lock: lock }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            // What cannot be removed now belongs to no version and goes with the next vacuum.
            let _ = self.directory.fs().fs().unlink(&self.path());
        }
        self.directory.uncommitted.lock().remove(&self.name);
    }
}

/// Data files that are on the disk but in no version yet; dropping them removes them, unless they are kept.
#[derive(Debug)]
pub struct NewFiles {
    directory: Arc<TableDirectory>,
    files: Vec<NewFile>,
    adds: Vec<Add>,
    rows: u64,
    /// A version may get them, and nobody has said yet whether it did.
    unsettled: AtomicBool,
}

impl NewFiles {
    /// No files yet, in this directory.
    pub fn new(directory: Arc<TableDirectory>) -> Self {
        let (files, adds, unsettled) = <_>::default();
        Self { directory, files, adds, rows: 0, unsettled }
    }

    /// One more, with so many rows.
    pub fn push(&mut self, file: NewFile, add: Add, rows: u64) {
        self.files.push(file);
        self.adds.push(add);
        self.rows += rows;
    }

    /// Number of rows in them.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The log actions that add them.
    pub fn adds(&self) -> &[Add] {
        &self.adds
    }

    /// A version may get them: from here on they stay on the disk.
    pub fn keep(&self) {
        self.unsettled.store(true, Ordering::Release);
        self.set_kept(true);
    }

    /// Keeps them after a commit that succeeded, and after one of which nobody knows, as a sync failed.
    pub fn settle(&self, committed: bool) {
        let unknown = !committed && self.directory.fs().has_failed();
        self.unsettled.store(unknown, Ordering::Release);
        self.set_kept(committed || unknown);
    }

    fn set_kept(&self, kept: bool) {
        self.files.iter().for_each(|file| file.kept.store(kept, Ordering::Release));
    }

    /// Takes over the files of `other`, which are not committed yet.
    pub fn extend(&mut self, mut other: NewFiles) {
        self.rows += other.rows;
        self.files.append(&mut other.files);
        self.adds.append(&mut other.adds);
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        // Who opens the database next finds out.
        if *self.unsettled.get_mut()
            && let Some(lock) = self.directory.fs().lock()
        {
            lock.leave_unfinished();
        }
    }
}
