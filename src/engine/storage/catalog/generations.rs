//! The catalog on disk: one checksummed file a generation, the highest number is the catalog.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::engine::storage::catalog::entries::Contents;
use crate::engine::storage::durable_fs::{DurableFs, Publish};
use crate::error::{Error, ErrorKind, Result, Subject};

const HEADER: &str = "foretell-catalog 1 ";
const READ_ATTEMPTS: usize = 20;
/// A file that takes room until a full disk needs it for a generation without something big.
const RESERVE: &str = "reserve";
const RESERVE_BYTES_MIN: u64 = 64 << 10;

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

    /// Makes `contents` the generation `number`, durably; the generation before stays for slow readers. One that `frees`
    /// room has some on a full disk.
    pub fn publish(&self, number: u64, contents: &Contents, frees: bool) -> Result<()> {
        let path = self.path(number);
        let bytes = encode(contents)?;
        let write = || self.fs.write(&path, &bytes, Publish::Create);
        let written = match write() {
            Err(e) if frees && is_full(&e) && self.fs.fs().unlink(&self.reserve()).is_ok() => write(),
            written => written,
        };
        written.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::new(
                ErrorKind::Unavailable,
                Subject::Database,
                format!("catalog {} was changed by another process", self.directory.display()),
            )
            .with_hint("close the database and open it again"),
            _ => Error::io(&path, &e),
        })?;
        self.remove_older_than(number.saturating_sub(1));
        self.keep_reserve(bytes.len() as u64);
        Ok(())
    }

    /// Sees to it that there is room for a generation of twice this size, where the disk has it.
    pub fn keep_reserve(&self, bytes: u64) {
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

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

fn digest(json: &[u8]) -> String {
    Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode(contents: &Contents) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(contents)
        .map_err(|e| Error::internal(format!("catalog cannot be written as JSON: {e}")))?;
    let mut bytes = format!("{HEADER}{}\n", digest(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let corrupt = |what: &str| {
        let message = format!("catalog file {} {what}", path.display());
        Error::corrupt(Subject::File, message).with_hint("restore it from a backup of the database directory")
    };
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| corrupt("has no header"))?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| corrupt("has no header"))?;
    let expected = header.strip_prefix(HEADER).ok_or_else(|| corrupt("has an unknown header"))?;
    let json = &bytes[end + 1..];
    if digest(json) != expected {
        return Err(corrupt("does not match its checksum"));
    }
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
            generations.publish(number, &contents, false).unwrap();
        }
        assert_eq!(generations.load().unwrap(), (5, contents.clone()));
        let names = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(names.filter(|name| name != RESERVE).count(), 2);
        assert_eq!(generations.publish(5, &contents, false).unwrap_err().kind(), ErrorKind::Unavailable);

        let path = generations.path(5);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = generations.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("does not match its checksum"), "{error}");
    }
}
