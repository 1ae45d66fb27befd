//! Cursors: queries whose rows are fetched a few at a time, forward only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::MemoryPool;
use tokio::sync::Mutex;

use crate::engine::query::Query;
use crate::engine::sql::Distance;
use crate::engine::storage::RowMemory;
use crate::error::{Error, ErrorKind, Result, Subject};

/// One cursor: its query, and rows that were read but not fetched.
#[derive(Debug)]
pub struct Cursor {
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The text of the query.
    pub text: String,
    /// True for WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// Declared in the transaction that is open.
    fresh: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    query: Query,
    rest: Option<RecordBatch>,
    /// Why rows were lost that had been read: no more are to be had.
    failed: Option<Error>,
}

impl Cursor {
    /// A cursor before the first row.
    pub fn new(query: Query, text: String, hold: bool, fresh: bool) -> Self {
        let (schema, fresh) = (query.schema(), AtomicBool::new(fresh));
        Self { schema, text, hold, fresh, state: Mutex::new(State { query, rest: None, failed: None }) }
    }

    /// The next rows, fewer than asked for at the end, held by `memory`; what comes behind them takes its own of `pool`.
    pub async fn fetch(
        &self,
        distance: Distance,
        memory: &mut RowMemory,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Vec<RecordBatch>> {
        let mut found = vec![];
        let keep = |batch: RecordBatch| -> Result<()> {
            memory.hold(&batch)?;
            found.push(batch);
            Ok(())
        };
        self.advance(distance, keep, pool).await?;
        Ok(found)
    }

    /// Leaves the next rows out, and says how many there were.
    pub async fn skip(&self, distance: Distance, pool: &Arc<dyn MemoryPool>) -> Result<usize> {
        let mut skipped = 0;
        let count = |batch: RecordBatch| -> Result<()> {
            skipped += batch.num_rows();
            Ok(())
        };
        self.advance(distance, count, pool).await?;
        Ok(skipped)
    }

    async fn advance(
        &self,
        distance: Distance,
        mut each: impl FnMut(RecordBatch) -> Result<()>,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<()> {
        let mut state = self.state.lock().await;
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let mut wanted = match distance {
            Distance::Rows(rows) => usize::try_from(rows).unwrap_or(usize::MAX),
            Distance::All => usize::MAX,
        };
        while wanted > 0 {
            let batch = match state.rest.take() {
                Some(batch) => batch,
                None => match state.query.next().await? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            let taken = batch.num_rows().min(wanted);
            if taken < batch.num_rows() {
                state.rest = Some(batch.slice(taken, batch.num_rows() - taken));
            }
            wanted -= taken;
            if let Err(error) = each(batch.slice(0, taken)) {
                state.failed = Some(error.clone());
                return Err(error);
            }
        }
        let suspended = state.query.suspend(pool);
        if let Err(error) = &suspended {
            state.query.cancel_handle().cancel();
            state.failed = Some(error.clone());
        }
        suspended
    }
}

/// The cursors of a session, by name.
#[derive(Debug, Default)]
pub struct Cursors(BTreeMap<String, Arc<Cursor>>);

impl Cursors {
    /// Opens a cursor.
    pub fn insert(&mut self, name: String, cursor: Cursor) -> Result<()> {
        if self.0.contains_key(&name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Cursor, message));
        }
        self.0.insert(name, Arc::new(cursor));
        Ok(())
    }

    /// The cursor of this name.
    pub fn get(&self, name: &str) -> Result<Arc<Cursor>> {
        self.0.get(name).cloned().ok_or_else(|| missing(name))
    }

    /// Closes one.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.0.remove(name).map(drop).ok_or_else(|| missing(name))
    }

    /// Closes those that end with the transaction.
    pub fn end_transaction(&mut self, committed: bool) {
        self.0.retain(|_, cursor| cursor.hold && (committed || !cursor.fresh.load(Ordering::Relaxed)));
        self.0.values().for_each(|cursor| cursor.fresh.store(false, Ordering::Relaxed));
    }

    /// Closes all, or those that end with the transaction.
    pub fn close(&mut self, held_too: bool) {
        self.0.retain(|_, cursor| cursor.hold && !held_too);
    }

    /// All, by name.
    pub fn list(&self) -> Vec<(String, Arc<Cursor>)> {
        self.0.iter().map(|(name, cursor)| (name.clone(), Arc::clone(cursor))).collect()
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(Subject::Cursor, format!("cursor \"{name}\" does not exist"))
}
