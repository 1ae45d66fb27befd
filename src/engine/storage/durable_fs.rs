//! The one way bytes become durable: write aside, fsync the file, publish atomically, fsync the directory.

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::engine::storage::lock::DatabaseLock;
use crate::error::{Error, Result};

/// Every staging file starts with this; readers never look at one and the next writable open removes it.
const STAGING_PREFIX: &str = ".staging-";

/// What the file system knows about one file or directory.
#[derive(Debug, Clone)]
pub struct FileInfo {
    /// Name inside its directory.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// Time of the last write.
    pub modified: SystemTime,
    /// True for a directory.
    pub is_dir: bool,
}

/// A file opened for writing.
pub trait FsFile: Write + Send {
    /// Waits until every byte written so far is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operations of a file system that durability rests on; a simulated one can take its place.
pub trait Fs: Debug + Send + Sync + 'static {
    /// Creates `path` for writing and fails when it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Reads these bytes of `path`; the range must lie inside the file.
    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Vec<u8>>;
    /// Reads all of `path`, as it is at one instant; `FileTooLarge` beyond so many bytes.
    fn read_all(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        match self.info(path)?.len {
            len if len > bytes_max => Err(io::ErrorKind::FileTooLarge.into()),
            len => self.read(path, 0..len),
        }
    }
    /// Describes `path`.
    fn info(&self, path: &Path) -> io::Result<FileInfo>;
    /// Describes everything directly inside the directory `path`, in no particular order.
    fn list(&self, path: &Path) -> io::Result<Vec<FileInfo>>;
    /// Moves `from` over `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the file `from` the second name `to` and fails when `to` exists.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the file `path`.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Creates the directory `path` inside an existing one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes the empty directory `path`.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Waits until the entries of the directory `path` are on the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl FsFile for std::fs::File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Fs for OsFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        // Rows, models and passwords are the owner's, whatever the umask.
        let mut options = std::fs::OpenOptions::new();
        Ok(Box::new(options.write(true).create_new(true).mode(0o600).open(path)?))
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let wanted = range.end - range.start;
        // The range may come out of a damaged file.
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::with_capacity(wanted as usize);
        if file.take(wanted).read_to_end(&mut bytes)? as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn read_all(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        // By one handle: another file may take the name meanwhile.
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::with_capacity(file.metadata()?.len().min(bytes_max) as usize);
        if file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)? as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        describe(name, &std::fs::metadata(path)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FileInfo>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => {
                    found.push(describe(entry.file_name().to_string_lossy().into_owned(), &metadata)?)
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // removed while we listed
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }
}

fn describe(name: String, metadata: &std::fs::Metadata) -> io::Result<FileInfo> {
    Ok(FileInfo { name, len: metadata.len(), modified: metadata.modified()?, is_dir: metadata.is_dir() })
}

/// How a finished staging file gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publish {
    /// The name must be free: exactly one of several writers wins.
    Create,
    /// Whatever has the name is replaced.
    Replace,
}

/// Durable files on some [`Fs`]; cheap to clone.
///
/// After a sync that failed nobody knows what of the written is on the disk, and a second one may say that all is well
/// without having written anything (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"): from then on
/// nothing is written until the database is opened again.
#[derive(Debug, Clone)]
pub struct DurableFs {
    fs: Arc<dyn Fs>,
    state: Arc<State>,
}

/// What all clones know together.
#[derive(Debug, Default)]
struct State {
    /// A sync has failed.
    failed: AtomicBool,
    /// Directories whose entries above them have been synced.
    durable: Mutex<HashSet<PathBuf>>,
    /// The lock of the database that the files are of.
    lock: Mutex<Weak<DatabaseLock>>,
}

impl State {
    fn check(&self) -> io::Result<()> {
        match self.failed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(io::Error::other(
                "the disk failed to keep what was written before; close the database and open it again",
            )),
        }
    }

    /// What a sync gave. A directory that could not even be opened lost nothing: a later sync has its entries, too.
    fn synced(&self, result: io::Result<()>) -> io::Result<()> {
        use io::ErrorKind as Io;
        if let Err(error) = &result
            && !matches!(error.kind(), Io::NotFound | Io::PermissionDenied | Io::NotADirectory)
            && !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
        {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl Default for DurableFs {
    fn default() -> Self {
        Self::new(Arc::new(OsFs))
    }
}

impl DurableFs {
    /// Durable files on this file system.
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs, state: Arc::default() }
    }

    /// From now on whoever writes holds this lock, so that it outlives its database for as long as that takes.
    pub fn write_under(&self, lock: &Arc<DatabaseLock>) {
        *self.state.lock.lock() = Arc::downgrade(lock);
    }

    /// The lock of the database, for who changes its files; `None` where it has none.
    pub fn lock(&self) -> Option<Arc<DatabaseLock>> {
        self.state.lock.lock().upgrade()
    }

    /// A sync failed: what was written last may be there or not.
    pub fn has_failed(&self) -> bool {
        self.state.check().is_err()
    }

    /// As [`DurableFs::sync_dir`], of a directory whose new entry others may have seen: whatever fails now, nobody knows
    /// whether it stays. A directory that was removed has nothing to keep.
    fn sync_entry(&self, path: &Path) -> io::Result<()> {
        let synced = self.fs.sync_dir(path);
        if synced.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            self.state.failed.store(true, Ordering::Release);
        }
        synced
    }

    /// Waits until the entries of a directory are on the disk.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state.synced(self.fs.sync_dir(path))
    }

    /// The file system underneath, for reads.
    pub fn fs(&self) -> &dyn Fs {
        self.fs.as_ref()
    }

    /// Opens a staging file beside `target`; nothing is visible until it is published.
    pub fn stage(&self, target: &Path) -> io::Result<StagedFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.state.check()?;
        let directory = parent(target)?.to_path_buf();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name =
            format!("{STAGING_PREFIX}{}-{number}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let staging = directory.join(name);
        let file = self.fs.create(&staging)?;
        let (fs, target, lock) = (self.clone(), target.to_path_buf(), self.lock());
        Ok(StagedFile { fs, file, staging, target, written: 0, _lock: lock })
    }

    /// Writes the whole file `target` durably.
    pub fn write(&self, target: &Path, bytes: &[u8], publish: Publish) -> io::Result<()> {
        let mut staged = self.stage(target)?;
        staged.write_all(bytes)?;
        staged.publish(publish)
    }

    /// Reads the whole file `path`.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let len = self.fs.info(path)?.len;
        self.fs.read(path, 0..len)
    }

    /// Creates `path` and its missing parents, each one durable in its own parent.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.check()?;
        // One that is there may be another's who has not synced it yet, or did not live to.
        let known = |path: &Path| self.state.durable.lock().contains(path);
        // "/" has none.
        let above = parent(path).ok();
        match self.fs.info(path) {
            Ok(found) if found.is_dir && known(path) => return Ok(()),
            Ok(found) if found.is_dir => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "a file has this name")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                above.map_or(Ok(()), |above| self.create_dir_all(above))?;
                match self.fs.create_dir(path) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
            Err(e) => return Err(e),
        }
        match above.map_or(Ok(()), |above| self.sync_dir(above)) {
            // Where the directory above may not be read, it is not ours to keep.
            Err(e) if e.kind() != io::ErrorKind::PermissionDenied => return Err(e),
            _ => {}
        }
        self.state.durable.lock().insert(path.to_path_buf());
        Ok(())
    }

    /// Moves `from` over `to` durably.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.check()?;
        self.fs.rename(from, to)?;
        self.sync_entry(parent(to)?)
    }

    /// Removes the file `path` durably; a missing file is not an error.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.check()?;
        if self.unlink(path)? { self.sync_dir(parent(path)?) } else { Ok(()) }
    }

    /// As [`DurableFs::remove`], of these files of a directory.
    pub fn remove_from(&self, directory: &Path, names: &[String]) -> io::Result<()> {
        self.state.check()?;
        for name in names {
            self.unlink(&directory.join(name))?;
        }
        self.sync_dir(directory)
    }

    /// False where there is no such file.
    fn unlink(&self, path: &Path) -> io::Result<bool> {
        match self.fs.unlink(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            unlinked => unlinked.map(|()| true),
        }
    }

    /// Removes the directory `path` with everything in it; a missing one is not an error.
    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state.check()?;
        let entries = match self.fs.list(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        for entry in entries {
            let inner = path.join(&entry.name);
            if entry.is_dir { self.remove_dir_all(&inner)? } else { self.fs.unlink(&inner)? }
        }
        self.fs.remove_dir(path)?;
        self.state.durable.lock().remove(path);
        self.sync_dir(parent(path)?)
    }

    /// Bytes of all files in the directory `path` and below; 0 without one.
    pub fn bytes_below(&self, path: &Path) -> io::Result<u64> {
        let entries = match self.fs.list(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            found => found?,
        };
        let bytes = |entry: FileInfo| match entry.is_dir {
            true => self.bytes_below(&path.join(entry.name)),
            false => Ok(entry.len),
        };
        entries.into_iter().map(bytes).sum()
    }

    /// Removes what interrupted writers left behind in `directory` and below.
    pub fn sweep(&self, directory: &Path) -> io::Result<()> {
        self.sweep_flat(directory)?.iter().try_for_each(|inner| self.sweep(inner))
    }

    /// Removes what interrupted writers left behind in `directory`; returns the directories there.
    pub fn sweep_flat(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let (directories, files): (Vec<_>, Vec<_>) =
            self.fs.list(directory)?.into_iter().partition(|entry| entry.is_dir);
        let path = |entry: FileInfo| directory.join(entry.name);
        for file in files.into_iter().filter(|file| is_staging(&file.name)) {
            self.fs.unlink(&path(file))?;
        }
        Ok(directories.into_iter().map(path).collect())
    }

    /// As [`DurableFs::write`], with the product's error.
    pub fn save(&self, target: &Path, bytes: &[u8], publish: Publish) -> Result<()> {
        self.write(target, bytes, publish).map_err(|e| Error::io(target, &e))
    }
}

/// True for the name of a file that no one has published yet.
pub fn is_staging(name: &str) -> bool {
    name.starts_with(STAGING_PREFIX)
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(above) => Ok(above),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no directory")),
    }
}

/// A file being written under a private name; dropping it unpublished removes it.
pub struct StagedFile {
    fs: DurableFs,
    file: Box<dyn FsFile>,
    staging: PathBuf,
    target: PathBuf,
    written: u64,
    _lock: Option<Arc<DatabaseLock>>,
}

impl Debug for StagedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StagedFile").field("target", &self.target).field("written", &self.written).finish()
    }
}

impl StagedFile {
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Syncs the file, gives it its name and syncs the directory; after `Ok` it survives a power loss.
    pub fn publish(&mut self, publish: Publish) -> io::Result<()> {
        self.file.flush()?;
        self.fs.state.check()?;
        self.fs.state.synced(self.file.sync())?;
        match publish {
            Publish::Create => self.fs.fs.link(&self.staging, &self.target)?,
            Publish::Replace => self.fs.fs.rename(&self.staging, &self.target)?,
        }
        self.fs.sync_entry(parent(&self.target)?)
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After a rename the name is gone already; after a link this drops the second name.
        let _ = self.fs.fs.unlink(&self.staging);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::tests::hooked::{Hooked, Operation};

    #[test]
    fn published_file_is_whole_and_an_abandoned_one_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DurableFs::default();
        let target = dir.path().join("a");
        fs.write(&target, b"one", Publish::Create).unwrap();
        let again = fs.write(&target, b"two", Publish::Create).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs.read(&target).unwrap(), b"one");
        fs.write(&target, b"three", Publish::Replace).unwrap();
        assert_eq!(fs.read(&target).unwrap(), b"three");
        let mut staged = fs.stage(&target).unwrap();
        staged.write_all(b"half").unwrap();
        drop(staged);
        assert_eq!(fs.fs().list(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn exactly_one_of_many_creators_wins() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("commit");
        let wins: usize = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8)
                .map(|i| {
                    let target = &target;
                    scope.spawn(move || {
                        let bytes = format!("{i}");
                        usize::from(
                            DurableFs::default().write(target, bytes.as_bytes(), Publish::Create).is_ok(),
                        )
                    })
                })
                .collect();
            tasks.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweep_removes_only_staging_files() {
        let dir = tempfile::tempdir().unwrap();
        let fs = DurableFs::default();
        let inner = dir.path().join("x/y");
        fs.create_dir_all(&inner).unwrap();
        fs.write(&inner.join("kept"), b"k", Publish::Create).unwrap();
        std::fs::write(inner.join(format!("{STAGING_PREFIX}1-2-3")), b"torn").unwrap();
        fs.sweep(dir.path()).unwrap();
        assert_eq!(fs.fs().list(&inner).unwrap().len(), 1);
    }

    /// Syncs of files, or of directories, fail.
    fn failing(operation: Operation) -> DurableFs {
        DurableFs::new(Arc::new(Hooked::before(move |this, _| match this == operation {
            true => Err(io::Error::other("no fsync today")),
            false => Ok(()),
        })))
    }

    #[test]
    fn failed_sync_is_an_error_and_a_file_not_synced_is_not_visible() {
        let dir = tempfile::tempdir().unwrap();
        let fs = failing(Operation::SyncFile);
        fs.write(&dir.path().join("a"), b"x", Publish::Create).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let fs = failing(Operation::SyncDirectory);
        fs.write(&dir.path().join("a"), b"x", Publish::Create).unwrap_err();
    }

    #[test]
    fn after_a_failed_sync_nothing_is_written_and_all_is_read_until_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, late) = (dir.path().join("kept"), dir.path().join("late"));
        DurableFs::default().write(&kept, b"k", Publish::Create).unwrap();
        for operation in [Operation::SyncFile, Operation::SyncDirectory] {
            let fs = failing(operation);
            fs.write(&dir.path().join(format!("{operation:?}")), b"x", Publish::Create).unwrap_err();
            let clone = fs.clone();
            let refused = [
                clone.write(&late, b"x", Publish::Create),
                clone.rename(&kept, &late),
                clone.remove(&kept),
                clone.create_dir_all(&dir.path().join("d")),
                clone.remove_dir_all(dir.path()),
            ];
            for refused in refused {
                assert!(refused.unwrap_err().to_string().starts_with("the disk failed to keep"));
            }
            assert_eq!(clone.read(&kept).unwrap(), b"k");
        }
        DurableFs::default().write(&late, b"x", Publish::Create).unwrap();
    }

    #[test]
    fn a_directory_that_was_removed_meanwhile_fails_only_what_is_written_there() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let removed = gone.clone();
        let fs = DurableFs::new(Arc::new(Hooked::before(move |operation, path| {
            if operation == Operation::SyncDirectory && path == removed && path.exists() {
                std::fs::remove_dir_all(path)?;
            }
            Ok(())
        })));
        std::fs::create_dir(&gone).unwrap();
        let error = fs.write(&gone.join("a"), b"x", Publish::Replace).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!fs.has_failed());
        fs.write(&dir.path().join("late"), b"x", Publish::Create).unwrap();
    }

    #[test]
    fn a_directory_that_was_there_is_synced_once_and_what_is_written_is_the_owners() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let room = dir.path().join("room");
        std::fs::create_dir(&room).unwrap();
        let synced: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
        let seen = Arc::clone(&synced);
        let fs = DurableFs::new(Arc::new(Hooked::before(move |operation, path| {
            if operation == Operation::SyncDirectory {
                seen.lock().push(path.to_path_buf());
            }
            Ok(())
        })));
        fs.create_dir_all(&room).unwrap();
        fs.create_dir_all(&room).unwrap();
        assert_eq!(*synced.lock(), [dir.path()]);
        fs.create_dir_all(&room.join("inner")).unwrap();
        fs.write(&room.join("file"), b"x", Publish::Create).unwrap();
        let mode = |name: &str| std::fs::metadata(room.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("inner"), mode("file")), (0o700, 0o600));
    }
}
