//! The catalog on disk: one checksummed file a generation, the highest number is the catalog.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::engine::storage::catalog::entries::Contents;
use crate::engine::storage::durable_fs::{DurableFs, Publish};
use crate::engine::storage::sealed::{sealed, unsealed};
use crate::error::{Error, ErrorKind, Result, Subject};

const HEADER: &str = "foretell-catalog 1 ";
const READ_ATTEMPTS: usize = 20;
/// A file that takes room until a full disk needs it for a generation without something big.
const RESERVE: &str = "reserve";
const RESERVE_BYTES_MIN: u64 = 64 << 10;

/// What a change of the catalog does to the room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It takes some.
    Takes,
    /// It leads to more, and has some on a full disk too.
    Frees,
}

/// The directory of generation files.
#[derive(Debug, Clone)]
pub struct Generations {
    directory: PathBuf,
    fs: DurableFs,
}

impl Generations {
    /// The generations in `directory`, which must exist to be read.
    pub fn new(directory: PathBuf, fs: DurableFs) -> Self {
        Self { directory, fs }
    }

    /// Number of the newest generation, 0 when there is none yet.
    pub fn newest(&self) -> Result<u64> {
        match self.fs.fs().list(&self.directory) {
            Ok(found) => Ok(found.iter().filter_map(|f| number(&f.name)).max().unwrap_or(0)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(Error::io(&self.directory, &e)),
        }
    }

    /// Number and contents of the newest generation.
    pub fn load(&self) -> Result<(u64, Contents)> {
        for _ in 0..READ_ATTEMPTS {
            let newest = self.newest()?;
            if newest == 0 {
                return Ok((0, Contents::default()));
            }
            let path = self.path(newest);
            match self.fs.read(&path) {
                Ok(bytes) => return Ok((newest, decode(&path, &bytes)?)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // a writer went on; look again
                Err(e) => return Err(Error::io(&path, &e)),
            }
        }
        let message = format!("catalog {} changes faster than it can be read", self.directory.display());
        Err(Error::new(ErrorKind::Unavailable, Subject::Database, message).with_hint("try again"))
    }

    /// Makes `contents` the generation `number`, durably; the generation before stays for slow readers. After one that
    /// frees room, the reserve is to be kept once the room is there.
    pub fn publish(&self, number: u64, contents: &Contents, room: Room) -> Result<()> {
        let path = self.path(number);
        let bytes = encode(contents)?;
        let write = || self.fs.write(&path, &bytes, Publish::Create).map_err(|e| self.unwritten(&path, &e));
        let may_use_reserve = |e: &Error| room == Room::Frees && e.subject() == Subject::Disk;
        match write() {
            Err(e) if may_use_reserve(&e) && self.fs.fs().unlink(&self.reserve()).is_ok() => write()?,
            written => written?,
        }
        self.remove_older_than(number.saturating_sub(1));
        if room == Room::Takes {
            self.keep_reserve(number);
        }
        Ok(())
    }

    fn unwritten(&self, path: &Path, error: &io::Error) -> Error {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Error::io(path, error);
        }
        let message = format!("catalog {} was changed by another process", self.directory.display());
        Error::new(ErrorKind::Unavailable, Subject::Database, message)
            .with_hint("close the database and open it again")
    }

    /// Sees to it that there is room for one of twice the size of the generation `number`, where the disk has it.
    pub fn keep_reserve(&self, number: u64) {
        let bytes = self.fs.fs().info(&self.path(number)).map_or(0, |found| found.len);
        let (path, wanted) = (self.reserve(), (2 * bytes).max(RESERVE_BYTES_MIN));
        if self.fs.fs().info(&path).is_ok_and(|found| found.len >= wanted) {
            return;
        }
        let _ = self.fs.fs().unlink(&path);
        let zeros = vec![0; usize::try_from(2 * wanted).unwrap_or_default()];
        // Nothing depends on it but the room that it takes.
        let kept = self.fs.fs().create(&path).and_then(|mut file| file.write_all(&zeros));
        if kept.is_err() {
            let _ = self.fs.fs().unlink(&path);
        }
    }

    fn reserve(&self) -> PathBuf {
        self.directory.join(RESERVE)
    }

    fn remove_older_than(&self, number_kept: u64) {
        // Old generations only take space, so a failure here must not fail the statement.
        for file in self.fs.fs().list(&self.directory).unwrap_or_default() {
            if number(&file.name).is_some_and(|n| n < number_kept) {
                let _ = self.fs.fs().unlink(&self.directory.join(&file.name));
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}.json"))
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

fn encode(contents: &Contents) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(contents)
        .map_err(|e| Error::internal(format!("catalog cannot be written as JSON: {e}")))?;
    Ok(sealed(HEADER, &json))
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let corrupt = |what: &str| {
        let message = format!("catalog file {} {what}", path.display());
        Error::corrupt(Subject::File, message).with_hint("restore it from a backup of the database directory")
    };
    let json = unsealed(HEADER, bytes).map_err(corrupt)?;
    serde_json::from_slice(json).map_err(|e| corrupt(&format!("cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::catalog::entries::SchemaEntry;

    #[test]
    fn newest_generation_wins_and_a_changed_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let generations = Generations::new(dir.path().to_path_buf(), DurableFs::default());
        assert_eq!(generations.load().unwrap(), (0, Contents::default()));
        let mut contents = Contents::default();
        for number in 1..=5 {
            contents.schemas.insert(format!("s{number}"), SchemaEntry::default());
            generations.publish(number, &contents, Room::Takes).unwrap();
        }
        assert_eq!(generations.load().unwrap(), (5, contents.clone()));
        let names = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(names.filter(|name| name != RESERVE).count(), 2);
        let taken = generations.publish(5, &contents, Room::Takes).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Unavailable);

        let path = generations.path(5);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = generations.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("does not match its checksum"), "{error}");
    }
}
