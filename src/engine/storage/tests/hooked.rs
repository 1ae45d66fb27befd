//! The operating system's file system with a hook at every operation that changes something.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{FileInfo, Fs, FsFile, OsFs};

/// What changes a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Create,
    Write,
    SyncFile,
    Rename,
    Link,
    Unlink,
    CreateDirectory,
    RemoveDirectory,
    SyncDirectory,
}

/// Looks at an operation, and may let it fail.
type Hook = dyn Fn(Operation, &Path) -> io::Result<()> + Send + Sync;

/// The file system; hooks see an operation before it is done and after it was.
#[derive(Clone)]
pub(crate) struct Hooked {
    before: Arc<Hook>,
    after: Arc<Hook>,
}

impl Hooked {
    /// With a hook before every operation.
    pub(crate) fn before(hook: impl Fn(Operation, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::around(hook, |_, _| Ok(()))
    }

    /// With a hook before every operation and one after it.
    pub(crate) fn around(
        before: impl Fn(Operation, &Path) -> io::Result<()> + Send + Sync + 'static,
        after: impl Fn(Operation, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { before: Arc::new(before), after: Arc::new(after) }
    }

    fn change<T>(
        &self,
        operation: Operation,
        path: &Path,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        (self.before)(operation, path)?;
        let done = change()?;
        (self.after)(operation, path)?;
        Ok(done)
    }
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

struct HookedFile {
    fs: Hooked,
    file: Box<dyn FsFile>,
    path: PathBuf,
}

impl Write for HookedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.change(Operation::Write, &self.path, || self.file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl FsFile for HookedFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.change(Operation::SyncFile, &self.path, || self.file.sync())
    }
}

impl Fs for Hooked {
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = self.change(Operation::Create, path, || OsFs.create(path))?;
        Ok(Box::new(HookedFile { fs: self.clone(), file, path: path.to_path_buf() }))
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
        OsFs.read(path, range)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        OsFs.info(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FileInfo>> {
        OsFs.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Rename, to, || OsFs.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Link, to, || OsFs.link(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Unlink, path, || OsFs.unlink(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::CreateDirectory, path, || OsFs.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::RemoveDirectory, path, || OsFs.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::SyncDirectory, path, || OsFs.sync_dir(path))
    }
}
