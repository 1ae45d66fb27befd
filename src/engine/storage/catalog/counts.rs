//! How many rows tables had when the database was last closed, so that the catalogue can tell without opening them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::storage::durable_fs::{DurableFs, Publish};

/// The file in the database directory.
const FILE: &str = "row_counts.json";

/// Rows by the id of their table. They are estimates: what is lost or damaged is counted again when its table is opened.
#[derive(Debug)]
pub struct Counts {
    path: PathBuf,
    rows: BTreeMap<String, u64>,
}

impl Counts {
    /// Those that were kept in the database `directory`.
    pub fn load(directory: &Path, fs: &DurableFs) -> Self {
        let path = directory.join(FILE);
        let read = fs.read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, rows: read.unwrap_or_default() }
    }

    /// Rows of the table of this id.
    pub fn rows(&self, id: &str) -> Option<u64> {
        self.rows.get(id).copied()
    }

    /// Keeps the counts of the tables that there are: `now` where that is known, else what it was.
    pub fn save<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
        now: impl Fn(&str) -> Option<u64>,
        fs: &DurableFs,
    ) {
        let counted = ids.filter_map(|id| Some((id.to_owned(), now(id).or_else(|| self.rows(id))?)));
        let rows: BTreeMap<String, u64> = counted.collect();
        if rows != self.rows
            && let Ok(bytes) = serde_json::to_vec(&rows)
        {
            // Without them, nothing is lost.
            let _ = fs.write(&self.path, &bytes, Publish::Replace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_and_damage_is_no_error() {
        let (directory, fs) = (tempfile::tempdir().unwrap(), DurableFs::default());
        let load = || Counts::load(directory.path(), &fs);
        load().save(["a", "b"].into_iter(), |id| (id == "a").then_some(3), &fs);
        assert_eq!((load().rows("a"), load().rows("b")), (Some(3), None));
        load().save(["a", "b"].into_iter(), |id| (id == "b").then_some(5), &fs);
        assert_eq!((load().rows("a"), load().rows("b")), (Some(3), Some(5)));
        load().save(["b"].into_iter(), |_| None, &fs);
        assert_eq!((load().rows("a"), load().rows("b")), (None, Some(5)));
        std::fs::write(directory.path().join(FILE), "{\"a\": -1").unwrap();
        assert_eq!(load().rows("b"), None);
    }
}
