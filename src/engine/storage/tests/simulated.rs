//! A file system in memory that keeps apart what programs see and what a power loss leaves, and whose operations fail
//! when they are told to.
//!
//! Source: the crash tests of SQLite (<https://www.sqlite.org/testing.html>, sections 3 and 4), with the entries of
//! directories durable on their own, as POSIX has them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::super::{DatabaseLock, FileInfo, Fs, FsFile};
use crate::ml::rng::Rng;

/// What becomes of an operation that is told to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The power goes: this operation and all after it.
    PowerLoss,
    /// The disk does not work, once.
    Broken,
    /// The disk is full: from now on there is as much room as is freed.
    Full,
}

/// The file system; clones share the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    nodes: Vec<Node>,
    /// Operations so far that change something.
    operations: usize,
    /// The first operation that fails, and how.
    failure: Option<(usize, Failure)>,
    /// Syncs say that they did, and do nothing.
    lies: bool,
    /// Bytes that were taken when the disk was full.
    room: Option<usize>,
}

/// Bytes that a file or directory takes besides what it holds.
const NODE_BYTES: usize = 256;

#[derive(Debug, Clone)]
enum Node {
    File {
        bytes: Vec<u8>,
        /// So many of them are on the disk for certain.
        synced: usize,
        modified: SystemTime,
    },
    Directory {
        live: Entries,
        synced: Entries,
        /// What was changed since the last sync; of these any may be on the disk.
        changes: Vec<Change>,
    },
}

type Entries = BTreeMap<String, usize>;

#[derive(Debug, Clone)]
enum Change {
    Put(String, usize),
    Remove(String),
    Move(String, String),
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        match self {
            Self::Put(name, node) => drop(entries.insert(name.clone(), *node)),
            Self::Remove(name) => drop(entries.remove(name)),
            Self::Move(from, to) => {
                if let Some(node) = entries.remove(from) {
                    entries.insert(to.clone(), node);
                }
            }
        }
    }
}

impl SimFs {
    /// An empty disk with this directory, durable.
    pub(crate) fn with_directory(path: &Path) -> Self {
        let fs = Self::default();
        fs.disk.lock().nodes.push(Disk::directory(Entries::new()));
        let mut above = PathBuf::from("/");
        for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
            let parent = above.clone();
            above.push(part);
            fs.create_dir(&above).unwrap();
            fs.sync_dir(&parent).unwrap();
        }
        fs.disk.lock().operations = 0;
        fs
    }

    /// The same disk once more, from now on on its own.
    pub(crate) fn copy(&self) -> Self {
        let disk = Disk { failure: None, room: None, operations: 0, ..self.disk.lock().clone() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Operations so far that change something.
    pub(crate) fn operations(&self) -> usize {
        self.disk.lock().operations
    }

    /// Lets the operation of this number fail.
    pub(crate) fn fail_at(&self, operation: usize, failure: Failure) {
        let mut disk = self.disk.lock();
        (disk.failure, disk.room) = (Some((operation, failure)), None);
    }

    /// From now on syncs do nothing, and say that all is well.
    pub(crate) fn lie(&self) {
        self.disk.lock().lies = true;
    }

    /// All works again.
    pub(crate) fn mend(&self) {
        let mut disk = self.disk.lock();
        (disk.failure, disk.room) = (None, None);
    }

    /// The files below a directory, and their lengths.
    pub(crate) fn files(&self, directory: &Path) -> BTreeMap<PathBuf, usize> {
        let Ok(inner) = self.list(directory) else { return BTreeMap::new() };
        let below = |found: FileInfo| {
            let path = directory.join(&found.name);
            if found.is_dir { self.files(&path) } else { BTreeMap::from([(path, found.len as usize)]) }
        };
        inner.into_iter().flat_map(below).collect()
    }

    /// Changes one byte of a file, as a disk does that forgets; the same once more mends it.
    pub(crate) fn damage(&self, path: &Path, at: usize, bits: u8) {
        let mut disk = self.disk.lock();
        let node = disk.find(path).unwrap();
        let Node::File { bytes, .. } = &mut disk.nodes[node] else { panic!("{} is no file", path.display()) };
        bytes[at] ^= bits;
    }

    /// What the disk may hold after the power was gone: of what was not synced any part, chosen by `rng`.
    pub(crate) fn after_power_loss(&self, rng: &mut Rng) -> Self {
        let before = self.disk.lock().clone();
        // All of it, nothing of it, or a part.
        let share = [0.0, 1.0, 0.5, 0.8][rng.below(4)];
        let nodes = before.nodes.into_iter().map(|node| node.after_power_loss(share, rng)).collect();
        Self { disk: Arc::new(Mutex::new(Disk { nodes, ..Disk::default() })) }
    }
}

/// Leaves a database as a process does that is killed, once all that ran in it has ended.
pub(crate) fn leave_open(directory: &Path) {
    let lock = loop {
        match DatabaseLock::acquire(directory) {
            Ok(lock) => break lock,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    std::fs::write(directory.join("LOCK"), "1 0\n").unwrap();
    lock.leave_unfinished();
}

impl Node {
    fn after_power_loss(self, share: f64, rng: &mut Rng) -> Self {
        match self {
            Self::Directory { mut synced, changes, .. } => {
                changes.iter().filter(|_| rng.chance(share)).for_each(|change| change.apply(&mut synced));
                Disk::directory(synced)
            }
            Self::File { mut bytes, synced, modified } => {
                let lost = bytes.len() - synced;
                let kept = synced + if rng.chance(share) { lost } else { rng.below(lost + 1) };
                // The length may be there before what is written.
                if rng.chance(0.5) {
                    bytes[kept..].fill(0)
                } else {
                    bytes.truncate(kept)
                }
                let synced = bytes.len();
                Self::File { bytes, synced, modified }
            }
        }
    }
}

impl Disk {
    fn directory(entries: Entries) -> Node {
        Node::Directory { live: entries.clone(), synced: entries, changes: Vec::new() }
    }

    /// Counts an operation, which fails where it is told to.
    fn change(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.failure {
            Some((at, Failure::PowerLoss)) if self.operations > at => {
                Err(io::Error::other("the power is gone"))
            }
            Some((at, Failure::Broken)) if self.operations == at + 1 => {
                Err(io::Error::other("the disk is broken"))
            }
            // What needs no room goes on.
            _ => Ok(()),
        }
    }

    /// As [`Disk::change`], of an operation that needs so much room.
    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        self.change()?;
        match self.failure {
            Some((at, Failure::Full)) if self.operations > at => {
                let taken = self.taken(0);
                let room = *self.room.get_or_insert(taken);
                if taken + bytes > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a file, or of a directory and all in it.
    fn taken(&self, node: usize) -> usize {
        NODE_BYTES
            + match &self.nodes[node] {
                Node::File { bytes, .. } => bytes.len(),
                Node::Directory { live, .. } => live.values().map(|inner| self.taken(*inner)).sum(),
            }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        path.components().filter(|part| matches!(part, Component::Normal(_))).try_fold(0, |node, part| {
            let name = part.as_os_str().to_string_lossy();
            match &self.nodes[node] {
                Node::Directory { live, .. } => {
                    live.get(name.as_ref()).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
                }
                Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
            }
        })
    }

    /// The live entries of a directory, and its changes since the last sync.
    fn entries(&mut self, path: &Path) -> io::Result<(&mut Entries, &mut Vec<Change>)> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Directory { live, changes, .. } => Ok((live, changes)),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn apply(&mut self, directory: &Path, change: Change) -> io::Result<()> {
        let (live, changes) = self.entries(directory)?;
        change.apply(live);
        changes.push(change);
        Ok(())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (directory, name) = split(path)?;
        if self.entries(directory)?.0.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.apply(directory, Change::Put(name, number))?;
        Ok(number)
    }
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().ok_or(io::ErrorKind::InvalidInput)?, name.to_string_lossy().into_owned()))
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    node: usize,
}

impl Write for SimFile {
    fn write(&mut self, new: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let grown = disk.grow(new.len());
        let left = disk.room.map(|room| room.saturating_sub(disk.taken(0)));
        let Node::File { bytes, modified, .. } = &mut disk.nodes[self.node] else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        if let Err(error) = grown {
            // Some of it may have been written.
            bytes.extend_from_slice(&new[..left.unwrap_or(new.len() / 2).min(new.len())]);
            return Err(error);
        }
        bytes.extend_from_slice(new);
        *modified = SystemTime::now();
        Ok(new.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl FsFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        if disk.lies {
            return Ok(());
        }
        if let Node::File { bytes, synced, .. } = &mut disk.nodes[self.node] {
            *synced = bytes.len();
        }
        Ok(())
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut disk = self.disk.lock();
        disk.grow(NODE_BYTES)?;
        let file = Node::File { bytes: Vec::new(), synced: 0, modified: SystemTime::now() };
        let node = disk.add(path, file)?;
        Ok(Box::new(SimFile { disk: Arc::clone(&self.disk), node }))
    }

    fn read(&self, path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock();
        match &disk.nodes[disk.find(path)?] {
            Node::File { bytes, .. } => bytes
                .get(range.start as usize..range.end as usize)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Node::Directory { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        let disk = self.disk.lock();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(describe(name, &disk.nodes[disk.find(path)?]))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<FileInfo>> {
        let disk = self.disk.lock();
        match &disk.nodes[disk.find(path)?] {
            Node::Directory { live, .. } => {
                Ok(live.iter().map(|(name, node)| describe(name.clone(), &disk.nodes[*node])).collect())
            }
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        let (node, ((above, old), (target, new))) = (disk.find(from)?, (split(from)?, split(to)?));
        if above == target {
            return disk.apply(above, Change::Move(old, new));
        }
        disk.apply(target, Change::Put(new, node))?;
        disk.apply(above, Change::Remove(old))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.grow(0)?;
        let (node, (directory, name)) = (disk.find(from)?, split(to)?);
        if disk.entries(directory)?.0.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.apply(directory, Change::Put(name, node))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        disk.find(path)?;
        let (directory, name) = split(path)?;
        disk.apply(directory, Change::Remove(name))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.grow(NODE_BYTES)?;
        disk.add(path, Disk::directory(Entries::new()))?;
        // Delta's kernel asks the operating system whether the directory of a table is there.
        std::fs::create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        if !disk.entries(path)?.0.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (directory, name) = split(path)?;
        disk.apply(directory, Change::Remove(name))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change()?;
        if disk.lies {
            return Ok(());
        }
        let node = disk.find(path)?;
        match &mut disk.nodes[node] {
            Node::Directory { live, synced, changes } => {
                *synced = live.clone();
                changes.clear();
                Ok(())
            }
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

fn describe(name: String, node: &Node) -> FileInfo {
    match node {
        Node::File { bytes, modified, .. } => {
            FileInfo { name, len: bytes.len() as u64, modified: *modified, is_dir: false }
        }
        Node::Directory { .. } => FileInfo { name, len: 0, modified: SystemTime::UNIX_EPOCH, is_dir: true },
    }
}

#[test]
fn what_is_synced_stays_and_of_the_rest_anything_may() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let fs = SimFs::with_directory(root);
        let write = |name: &str, sync: bool| {
            let mut file = fs.create(&root.join(name)).unwrap();
            file.write_all(b"0123456789").unwrap();
            if sync {
                file.sync().unwrap();
            }
        };
        write("durable", true);
        fs.sync_dir(root).unwrap();
        write("synced", true);
        write("loose", false);
        let after = fs.after_power_loss(&mut Rng::new(seed));
        assert_eq!(after.read(&root.join("durable"), 0..10).unwrap(), b"0123456789");
        match after.info(&root.join("synced")) {
            Err(_) => lost += 1,
            Ok(_) => assert_eq!(after.read(&root.join("synced"), 0..10).unwrap(), b"0123456789"),
        }
        match after.info(&root.join("loose")) {
            Err(_) => lost += 1,
            Ok(info) if after.read(&root.join("loose"), 0..info.len).unwrap() == b"0123456789" => kept += 1,
            Ok(_) => torn += 1,
        }
    }
    assert!(kept > 10 && lost > 10 && torn > 10, "{kept} {lost} {torn}");
}
