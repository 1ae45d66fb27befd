//! Histories of models, kept in memory while the tables that they come from stay as they are.

mod reading;
mod rows;
mod sources;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;

use crate::engine::storage::{Contents, HeldVersions};

pub use reading::{Reading, memory_share};
pub use rows::KeptRows;
pub use sources::Sources;

/// Models of which something is known.
const MODELS_MAX: usize = 64;

/// Whose history it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryKey {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// When that was trained: a name may be given again.
    pub created_at: DateTime<Utc>,
    /// Whose rights count for what it reads.
    pub owner: Option<String>,
    /// The time zone of the session, which dates may depend on.
    pub time_zone: String,
}

/// The history of a model in memory.
#[derive(Debug)]
pub struct History {
    /// The plan that it was read by, with the definers whose rights count.
    pub plan: LogicalPlan,
    /// The columns in the user's types.
    pub types: SchemaRef,
    /// The rows, sorted by key and time.
    pub rows: Arc<KeptRows>,
    /// The periods of all rows, where rows are aggregated to periods.
    pub periods: Option<Arc<MemTable>>,
    sources: Sources,
    memory: MemoryReservation,
}

impl History {
    /// True where it is what a statement reads that holds these versions, or holds them from here on.
    pub async fn is_held(&self, held: &HeldVersions) -> bool {
        self.sources.are_held(held).await
    }

    /// True unless a statement has read something else.
    pub fn agrees(&self, held: &HeldVersions) -> bool {
        self.sources.agree(held)
    }
}

/// How reading a history into memory ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is in memory.
    Kept(Arc<History>),
    /// It was read, but a table has changed meanwhile; or it could not be read.
    Later,
    /// It is too large, or made of more than stored rows.
    Refused,
}

/// Reads of a history for which all of it is read into memory.
const READS_FIRST: u32 = 2;

/// The most reads that are waited for.
const READS_MAX: u32 = 256;

/// The histories of a database.
#[derive(Debug, Default)]
pub struct Histories {
    entries: Mutex<Entries>,
    holders: Mutex<Vec<Weak<dyn Holder>>>,
}

/// What holds histories between statements: it must not keep them in memory when they are kept no longer.
pub trait Holder: std::fmt::Debug + Send + Sync {
    /// Lets go of the histories that are not kept.
    fn let_go(&self, is_kept: &dyn Fn(&Arc<History>) -> bool);
}

/// Least recently used first.
#[derive(Debug, Default)]
struct Entries(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: HistoryKey,
    state: State,
    /// Reads since the tables last changed, from files or from memory.
    reads: u32,
    /// Reads after which reading all of it is expected to pay: twice as many after each time that it did not.
    pays_after: u32,
}

#[derive(Debug)]
enum State {
    Files,
    Loading,
    Refused,
    Kept(Arc<History>),
}

impl Entries {
    /// The entry, as the one last used.
    fn touch(&mut self, key: &HistoryKey) -> Option<&mut Entry> {
        let at = self.0.iter().position(|entry| entry.key == *key)?;
        let entry = self.0.remove(at);
        self.0.push(entry);
        self.0.last_mut()
    }

    fn kept(&self) -> impl Iterator<Item = &Arc<History>> {
        self.0.iter().filter_map(|entry| match &entry.state {
            State::Kept(history) => Some(history),
            _ => None,
        })
    }

    fn size(&self) -> usize {
        self.kept().map(|history| history.memory.size()).sum()
    }
}

impl Histories {
    /// The history, when it is in memory and still what the tables say.
    pub fn get(&self, key: &HistoryKey, contents: &Contents) -> Option<Arc<History>> {
        let history = match &self.entries.lock().touch(key)?.state {
            State::Kept(history) => Arc::clone(history),
            _ => return None,
        };
        // It looks at files, while others use the entries.
        let holds = history.sources.hold(contents);
        let mut entries = self.entries.lock();
        let entry = entries.touch(key)?;
        if holds {
            entry.reads = entry.reads.saturating_add(1);
            return Some(history);
        }
        if matches!(&entry.state, State::Kept(kept) if Arc::ptr_eq(kept, &history)) {
            let paid = entry.reads >= entry.pays_after * 2;
            entry.pays_after = if paid { READS_FIRST } else { (entry.pays_after * 2).min(READS_MAX) };
            (entry.state, entry.reads) = (State::Files, 0);
        }
        drop(entries);
        self.let_go();
        None
    }

    /// Remembers who holds histories between statements.
    pub fn held_by(&self, holder: Weak<dyn Holder>) {
        let mut holders = self.holders.lock();
        holders.retain(|known| known.strong_count() > 0 && !Weak::ptr_eq(known, &holder));
        holders.push(holder);
    }

    /// Tells holders that a history may be kept no longer.
    fn let_go(&self) {
        let kept: Vec<Arc<History>> = self.entries.lock().kept().cloned().collect();
        self.tell(&|history| kept.iter().any(|known| Arc::ptr_eq(known, history)));
    }

    /// Tells holders that models have changed: who holds a history holds its model too, and that its files.
    pub fn let_go_all(&self) {
        self.tell(&|_| false);
    }

    fn tell(&self, is_kept: &dyn Fn(&Arc<History>) -> bool) {
        let holders: Vec<Arc<dyn Holder>> = self.holders.lock().iter().filter_map(Weak::upgrade).collect();
        holders.iter().for_each(|holder| holder.let_go(is_kept));
    }

    /// Notes that a history is read from files; true when all of it should be read into memory, too.
    pub fn note(&self, key: &HistoryKey) -> bool {
        let mut entries = self.entries.lock();
        let busy = entries.0.iter().any(|entry| matches!(entry.state, State::Loading));
        if let Some(entry) = entries.touch(key) {
            entry.reads = entry.reads.saturating_add(1);
            let pays = matches!(entry.state, State::Files) && entry.reads >= entry.pays_after && !busy;
            if pays {
                (entry.state, entry.reads) = (State::Loading, 0);
            }
            return pays;
        }
        if entries.0.len() == MODELS_MAX {
            entries.0.remove(0);
        }
        entries.0.push(Entry { key: key.clone(), state: State::Files, reads: 1, pays_after: READS_FIRST });
        false
    }

    /// Ends the reading of a history. All that is kept takes at most `limit` bytes.
    pub fn keep(&self, key: &HistoryKey, outcome: Outcome, limit: usize) {
        let mut entries = self.entries.lock();
        entries.0.retain(|entry| match &entry.state {
            State::Kept(history) => history.sources.are_newest(),
            _ => true,
        });
        if let Some(entry) = entries.touch(key) {
            entry.state = match outcome {
                Outcome::Kept(history) => State::Kept(history),
                Outcome::Refused => State::Refused,
                Outcome::Later => {
                    entry.pays_after = (entry.pays_after * 2).min(READS_MAX);
                    State::Files
                }
            };
        }
        while entries.size() > limit && entries.0.len() > 1 {
            entries.0.remove(0);
        }
        drop(entries);
        self.let_go();
    }
}
