//! The `LOCK` file: one process writes a database, any number read it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Subject};

/// How long the end of work is waited for that goes on in a database that was closed.
const CLOSING_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the file says then.
const CLOSING: &str = "closing";

/// The right to write one database directory, held until dropped; the operating system takes it back
/// from a process that dies.
///
/// The file holds the id of the process and the time, in microseconds since 1970, since when there may be files that no
/// statement finished; it is empty when the database was closed. Who writes files holds the lock, too: a database that is
/// closed in the middle of a commit is `closing` until the commit has ended.
#[derive(Debug)]
pub struct DatabaseLock {
    file: File,
    left_open: bool,
    unfinished_since: Option<i64>,
    /// Somebody left files that nobody knows of.
    unfinished: AtomicBool,
}

impl DatabaseLock {
    /// Takes the lock of the database in `directory`, or fails at once and names the holder.
    pub fn acquire(directory: &Path) -> Result<Self> {
        let path = directory.join("LOCK");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io(&path, &e))?;
        let (started, mut closing) = (Instant::now(), false);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = content(&file);
                    closing |= holder.split_whitespace().any(|word| word == CLOSING);
                    if !closing || started.elapsed() >= CLOSING_MAX {
                        return Err(held(directory, &holder));
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(&path, &e)),
            }
        }
        let before = content(&file);
        let unfinished_since = before.split_whitespace().nth(1).map(|time| time.parse().unwrap_or(0));
        let left_open = unfinished_since.is_some();
        let lock = Self { file, left_open, unfinished_since, unfinished: AtomicBool::new(false) };
        lock.record(unfinished_since.unwrap_or_else(now), "");
        Ok(lock)
    }

    /// The process before did not close the database: names that it gave and did not live to sync may still go.
    pub fn was_left_open(&self) -> bool {
        self.left_open
    }

    /// Since when, in microseconds since 1970, processes that did not close the database may have left files; `None`
    /// when the last one did.
    pub fn unfinished_since(&self) -> Option<i64> {
        self.unfinished_since
    }

    /// Says that what they left is gone.
    pub fn settle(&mut self) {
        self.unfinished_since = None;
        self.record(now(), "");
    }

    /// Says that the database is closed, and that others still hold the lock: who opens it waits for them.
    pub fn close(&self) {
        let since = content(&self.file).split_whitespace().nth(1).and_then(|time| time.parse().ok());
        self.record(since.unwrap_or(0), CLOSING);
    }

    /// Says that a file may have been left that no statement finished.
    pub fn leave_unfinished(&self) {
        self.unfinished.store(true, Ordering::Release);
    }

    /// Writes who holds it. On a full disk, which has no room for it, the next one only knows less.
    fn record(&self, since: i64, state: &str) {
        let mut file = &self.file;
        let text = format!("{} {since} {state}", std::process::id());
        let text = format!("{}\n", text.trim_end());
        // Others may read it meanwhile.
        let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(text.as_bytes()));
        let _ = written.and_then(|()| file.set_len(text.len() as u64));
    }
}

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        if self.unfinished_since.is_none() && !*self.unfinished.get_mut() {
            let _ = self.file.set_len(0);
        }
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// What the file says; what cannot be read was written by no process of ours.
fn content(mut file: &File) -> String {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    text
}

fn held(directory: &Path, holder: &str) -> Error {
    let holder = match holder.split_whitespace().next() {
        Some(process) => format!("process {process}"),
        None => "another process".to_string(),
    };
    let message = format!("database {} is open for writing by {holder}", directory.display());
    Error::new(ErrorKind::Unavailable, Subject::Database, message)
        .with_hint("open it with --read-only, or close the other process")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
    fn database_that_is_closing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Arc::new(DatabaseLock::acquire(dir.path()).unwrap());
        let work = Arc::clone(&lock);
        lock.close();
        drop(lock);
        let started = Instant::now();
        let working = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(work);
        });
        assert_eq!(DatabaseLock::acquire(dir.path()).unwrap().unfinished_since(), None);
        assert!(started.elapsed() >= Duration::from_millis(200));
        working.join().unwrap();
    }

    #[test]
    fn files_that_were_left_are_known_to_who_comes_next() {
        let dir = tempfile::tempdir().unwrap();
        let before = now();
        let lock = DatabaseLock::acquire(dir.path()).unwrap();
        lock.leave_unfinished();
        lock.close();
        drop(lock);
        let since = DatabaseLock::acquire(dir.path()).unwrap().unfinished_since().unwrap();
        assert!((before..=now()).contains(&since));
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
        let mut lock = DatabaseLock::acquire(dir.path()).unwrap();
        lock.settle();
        assert!(lock.was_left_open());
        drop(lock);
        let lock = DatabaseLock::acquire(dir.path()).unwrap();
        assert_eq!((lock.was_left_open(), lock.unfinished_since()), (false, None));
    }
}
