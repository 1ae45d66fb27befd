//! The files of a table, and those of them that no version has yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deltalake::kernel::Add;

use crate::engine::storage::durable_fs::DurableFs;

/// The files of a table; whoever reads or writes them holds it, and a doomed one goes with the last holder.
#[derive(Debug)]
pub struct TableDirectory {
    path: PathBuf,
    fs: DurableFs,
    doomed: AtomicBool,
}

impl TableDirectory {
    /// The files of the table in the directory `path`.
    pub fn new(path: PathBuf, fs: DurableFs) -> Self {
        Self { path, fs, doomed: AtomicBool::new(false) }
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
}

impl Drop for TableDirectory {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire) {
            // What cannot be removed now is collected by the next writable open.
            let _ = self.fs.remove_dir_all(&self.path);
        }
    }
}

/// Data files that are on the disk but in no version yet; dropping it removes them, unless they are kept.
#[derive(Debug)]
pub struct NewFiles {
    directory: Arc<TableDirectory>,
    adds: Vec<Add>,
    rows: u64,
    kept: AtomicBool,
}

impl NewFiles {
    /// No files yet, in this directory.
    pub fn new(directory: Arc<TableDirectory>) -> Self {
        Self { directory, adds: Vec::new(), rows: 0, kept: AtomicBool::new(false) }
    }

    /// One more, with so many rows.
    pub fn push(&mut self, add: Add, rows: u64) {
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

    /// A version has them: from here on they stay on the disk.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Keeps them after a commit that succeeded, and after one of which nobody knows, as a sync failed.
    pub fn settle(&self, committed: bool) {
        if committed || self.directory.fs().has_failed() {
            self.keep();
        }
    }

    /// Takes over the files of `other`.
    pub fn extend(&mut self, mut other: NewFiles) {
        self.rows += other.rows;
        self.adds.append(&mut other.adds);
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        if *self.kept.get_mut() {
            return;
        }
        for add in &self.adds {
            let path = self.directory.path().join(&add.path);
            // What cannot be removed now belongs to no version and goes with the next vacuum.
            let _ = self.directory.fs().fs().unlink(&path);
        }
    }
}
