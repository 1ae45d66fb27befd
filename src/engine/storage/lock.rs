//! The `LOCK` file: one process writes a database, any number read it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result, Subject};

/// The right to write one database directory, held until dropped; the operating system takes it back
/// from a process that dies.
///
/// The file holds the id of the process and the time, in microseconds since 1970, since when there may be files that no
/// statement finished; it is empty when the database was closed.
#[derive(Debug)]
pub struct DatabaseLock {
    file: File,
    unfinished_since: Option<i64>,
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
        let mut before = String::new();
        // What cannot be read was written by no process of ours.
        let _ = file.read_to_string(&mut before);
        let unfinished_since = before.split_whitespace().nth(1).map(|time| time.parse().unwrap_or(0));
        let mut lock = Self { file, unfinished_since };
        lock.record(unfinished_since.unwrap_or_else(now));
        Ok(lock)
    }

    /// Since when, in microseconds since 1970, processes that did not close the database may have left files; `None`
    /// when the last one did.
    pub fn unfinished_since(&self) -> Option<i64> {
        self.unfinished_since
    }

    /// Says that what they left is gone.
    pub fn settle(&mut self) {
        self.unfinished_since = None;
        self.record(now());
    }

    /// Writes who holds it. On a full disk, which has no room for it, the next one only knows less.
    fn record(&mut self, since: i64) {
        let file = &mut self.file;
        let cleared = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = cleared.and_then(|_| writeln!(file, "{} {since}", std::process::id()));
    }
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        if self.unfinished_since.is_none() {
            let _ = self.file.set_len(0);
        }
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

fn held(directory: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let holder = match file.read_to_string(&mut holder).ok().and_then(|_| holder.split_whitespace().next()) {
        Some(process) => format!("process {process}"),
        None => "another process".to_string(),
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

    #[test]
    fn what_a_process_that_died_left_is_known_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DatabaseLock::acquire(dir.path()).unwrap().unfinished_since(), None);
        std::fs::write(dir.path().join("LOCK"), "1 1700000000000000\n").unwrap();
        for _ in 0..2 {
            let lock = DatabaseLock::acquire(dir.path()).unwrap();
            assert_eq!(lock.unfinished_since(), Some(1_700_000_000_000_000));
        }
        DatabaseLock::acquire(dir.path()).unwrap().settle();
        assert_eq!(DatabaseLock::acquire(dir.path()).unwrap().unfinished_since(), None);
    }
}
