//! The `LOCK` file: one process writes a database, any number read it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result, Subject};

/// The right to write one database directory, held until dropped; the operating system takes it back
/// from a process that dies.
#[derive(Debug)]
pub struct DatabaseLock {
    _file: File,
}

impl DatabaseLock {
    /// Takes the lock of the database in `directory`, or fails at once and names the holder.
    pub fn acquire(directory: &Path) -> Result<Self> {
        let path = directory.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io(&path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(directory, &mut file)),
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, &e)),
        }
        // Who it is only helps the next one's message; a full disk has no room for it.
        let _ = record_holder(&mut file);
        Ok(Self { _file: file })
    }
}

fn record_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn held(directory: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let holder = match file.read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
        _ => "another process".to_string(),
    };
    let message = format!("database {} is open for writing by {holder}", directory.display());
    Error::new(ErrorKind::Unavailable, Subject::Database, message)
        .with_hint("open it with --read-only, or close the other process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_writer_is_refused_with_the_holders_pid_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DatabaseLock::acquire(dir.path()).unwrap();
        let started = std::time::Instant::now();
        let error = DatabaseLock::acquire(dir.path()).unwrap_err();
        assert!(started.elapsed().as_millis() < 100);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let expected = format!(
            "database {} is open for writing by process {}",
            dir.path().display(),
            std::process::id()
        );
        assert_eq!(error.message(), expected);
        drop(first);
        DatabaseLock::acquire(dir.path()).unwrap();
    }
}
