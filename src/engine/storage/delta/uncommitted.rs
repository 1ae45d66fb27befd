//! Data files of statements whose process died between writing and committing them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::engine::storage::delta::table::log_actions;
use crate::engine::storage::delta::writer::written_at;
use crate::engine::storage::durable_fs::DurableFs;

/// The clock of the file system may be behind by less.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Removes the data files in the directory of a table that were written at `since`, in microseconds since 1970, or later
/// and that no version ever had; versions that were written since then stay. Nobody else may be writing the table.
pub fn remove_uncommitted(directory: &Path, since: i64, fs: &DurableFs) -> io::Result<()> {
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(since).unwrap_or(0));
    let since = since.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut found = fs.fs().list(directory)?;
    // Other programs name theirs in other ways.
    found.retain(|file| !file.is_dir && written_at(&file.name).is_some() && file.modified >= since);
    let mut unknown: HashSet<String> = found.into_iter().map(|file| file.name).collect();
    let log = directory.join("_delta_log");
    let logged = fs.fs().list(&log)?;
    if logged.iter().any(|file| file.modified >= since) {
        // Whoever wrote the last one may not have lived to sync its name.
        fs.sync_dir(&log)?;
    }
    let mut entries: Vec<(u64, String)> =
        logged.into_iter().filter_map(|file| Some((version(&file.name)?, file.name))).collect();
    entries.sort_unstable();
    // Times decide only what is looked at: clocks go back, and copies are younger than what they are copies of.
    for (_, name) in entries.iter().rev() {
        if unknown.is_empty() {
            return Ok(());
        }
        added(&fs.read(&log.join(name))?, |path| {
            unknown.remove(path);
        })?;
    }
    // Where old entries were summarised and removed, a file that is not in the others may be theirs: vacuum can tell.
    if entries.iter().enumerate().all(|(i, (version, _))| i as u64 == *version) {
        unknown.iter().try_for_each(|name| fs.fs().unlink(&directory.join(name)))?;
    }
    Ok(())
}

/// The version that a file of the log is the entry of.
fn version(name: &str) -> Option<u64> {
    name.strip_suffix(".json")?.parse().ok()
}

/// Hands on the names of the files that one entry of a log adds.
fn added(entry: &[u8], mut each: impl FnMut(&str)) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        add: Option<Add<'a>>,
    }
    #[derive(Deserialize)]
    struct Add<'a> {
        #[serde(borrow)]
        path: Cow<'a, str>,
    }
    for line in log_actions::<Line<'_>>(entry) {
        line?.add.iter().for_each(|add| each(&add.path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::storage::tests::Database;

    #[tokio::test]
    async fn only_files_that_no_version_ever_had_are_removed() {
        let database = Database::with_sales().await;
        database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
        database.run("UPDATE sales SET y = 2").await.unwrap();
        let directory = database.table_directory("sales");
        let remove = |since| remove_uncommitted(&directory, since, &DurableFs::default()).unwrap();
        let ours = "part-0000000000000001-00000000000000000000000000000000.parquet";
        let theirs = "part-00000-00000000-0000-0000-0000-000000000000-c000.snappy.parquet";
        let write = |name: &str| std::fs::write(directory.join(name), b"half").unwrap();
        let is_there = |name: &str| directory.join(name).exists();
        write(ours);
        write(theirs);
        let later = chrono::Utc::now().timestamp_micros() + 60_000_000;
        remove(later);
        assert!(is_there(ours));
        remove(0);
        assert!(!is_there(ours) && is_there(theirs));
        assert_eq!(database.parquet_files("sales").len(), 3);
        // A log without its first entries does not tell.
        write(ours);
        let log = directory.join("_delta_log");
        let first = log.join("00000000000000000000.json");
        std::fs::rename(&first, directory.join("first")).unwrap();
        remove(0);
        std::fs::rename(directory.join("first"), &first).unwrap();
        std::fs::write(log.join("00000000000000000003.json"), b"half").unwrap();
        remove_uncommitted(&directory, 0, &DurableFs::default()).unwrap_err();
        assert!(is_there(ours));
    }
}
