//! What a statement holds of tables while it runs: one version of each that it reads, and the right to change one.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::engine::storage::delta::directory::TableDirectory;
use crate::engine::storage::delta::snapshot::Snapshot;
use crate::engine::storage::delta::table::StoredTable;
use crate::error::Result;

tokio::task_local! {
    static PLANNED: Arc<HeldVersions>;
}

/// A version of a table with its files, which stay where they are while this is held.
#[derive(Debug, Clone)]
pub struct HeldVersion {
    /// The version.
    pub snapshot: Arc<Snapshot>,
    /// The files.
    pub directory: Arc<TableDirectory>,
}

/// The versions that a statement reads, in its session: of each table the one that was the newest when the statement
/// looked at it first.
#[derive(Debug, Default)]
pub struct HeldVersions(Mutex<HashMap<String, HeldVersion>>);

impl HeldVersions {
    /// Those of the statement that this session is of.
    pub fn of(config: &SessionConfig) -> Arc<Self> {
        config.get_extension::<Self>().unwrap_or_default()
    }

    /// Those of the statement that this task plans; none yet in other tasks.
    pub fn of_planned() -> Arc<Self> {
        PLANNED.try_with(Arc::clone).unwrap_or_default()
    }

    /// The work, as planning of the statement that reads these.
    pub fn planning<F: Future>(self: Arc<Self>, work: F) -> impl Future<Output = F::Output> {
        PLANNED.scope(self, work)
    }

    /// The version of a table that the statement reads.
    pub async fn version(&self, table: &StoredTable) -> Result<HeldVersion> {
        let known = self.0.lock().get(table.id()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = table.held().await?;
        // Another scan may have come first.
        Ok(self.0.lock().entry(table.id().to_owned()).or_insert(found).clone())
    }

    /// True unless the statement reads another version of a table than this one.
    pub fn agree(&self, table: &StoredTable, version: u64) -> bool {
        self.0.lock().get(table.id()).is_none_or(|held| held.snapshot.version == version)
    }
}

/// The right to change a table, in the session of a statement that has it before its change begins.
#[derive(Debug)]
pub struct TableLock {
    id: String,
    _guard: OwnedMutexGuard<()>,
}

impl TableLock {
    /// The right to change `table`, after whoever has it.
    pub async fn new(table: &StoredTable) -> Result<Self> {
        Ok(Self { id: table.id().to_owned(), _guard: table.write_lock().await? })
    }

    /// True for the right to change `table`.
    pub fn is_of(&self, table: &StoredTable) -> bool {
        self.id == table.id()
    }

    /// True where the statement that `context` is of has it.
    pub fn is_held(context: &TaskContext, table: &StoredTable) -> bool {
        context.session_config().get_extension::<Self>().is_some_and(|lock| lock.is_of(table))
    }
}
