//! What all sessions of one database share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::activity::Activity;
use crate::engine::constants::Constants;
use crate::engine::histories::Histories;
use crate::engine::pg_catalog::SnapshotCache;
use crate::engine::registry::ModelRegistry;
use crate::engine::running::Trainings;
use crate::engine::runtime::Runtimes;
use crate::engine::states::States;
use crate::engine::storage::Catalog;

/// The parts of an open database.
#[derive(Debug)]
pub struct Engine {
    /// Threads; they go before the catalog gives the lock of the database back, so that no work begins after that.
    pub runtimes: Runtimes,
    /// Tables and views.
    pub catalog: Catalog,
    /// Models.
    pub registry: Arc<ModelRegistry>,
    /// Trainings that run, and how the last ones ended.
    pub trainings: Arc<Trainings>,
    /// Sessions of a server.
    pub activity: Activity,
    /// What PostgreSQL's catalogue tells, as it last stood.
    pub snapshots: SnapshotCache,
    /// What planning and running need besides a session's settings and catalog.
    pub states: States,
    /// What statements say that say constants only.
    pub constants: Constants,
    /// What models read, as far as it is in memory.
    pub histories: Arc<Histories>,
    /// Threads for queries.
    pub threads: usize,
    /// The directory.
    pub path: PathBuf,
    /// Keeps a temporary directory until the last session is gone.
    pub _temporary: Option<tempfile::TempDir>,
}
