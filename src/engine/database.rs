//! One directory, opened: its lock, catalog, models, memory and threads.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;

use crate::engine::access::{self, FileAccess, Verifier};
use crate::engine::activity::{Activity, SessionActivity};
use crate::engine::constants::Constants;
use crate::engine::pg_catalog::SnapshotCache;
use crate::engine::registry::ModelRegistry;
use crate::engine::runtime::Runtimes;
use crate::engine::session::{self, Session};
use crate::engine::shared::Engine;
use crate::engine::spill_files::SpillFiles;
use crate::engine::statement_pool::StatementPool;
use crate::engine::states::States;
use crate::engine::storage::{Access, Catalog, DurableFs, Publish, Role};
use crate::error::{Error, ErrorKind, Result, Subject};

/// How a database is opened.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Open without the writer's lock; statements that change anything fail.
    pub read_only: bool,
    /// Bytes for queries and training together; default 60 % of the machine's memory, less of less than a gigabyte.
    pub memory_limit: Option<usize>,
    /// Threads for queries; default one per core.
    pub threads: Option<usize>,
}

/// An open database; cheap to clone, closed when the last clone and session are gone.
#[derive(Debug, Clone)]
pub struct Database {
    engine: Arc<Engine>,
}

impl Database {
    /// Opens the database in a directory for writing, creating it when absent.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Settings::default())
    }

    /// Opens the database in a directory with these settings.
    pub fn open_with(path: impl AsRef<Path>, settings: Settings) -> Result<Self> {
        Self::open_in(path.as_ref(), settings, DurableFs::default(), None)
    }

    /// As [`Database::open_with`], on this file system.
    #[cfg(test)]
    pub(crate) fn open_on(path: &Path, settings: Settings, fs: DurableFs) -> Result<Self> {
        Self::open_in(path, settings, fs, None)
    }

    /// A database in a temporary directory that is removed with the last session.
    pub fn temporary() -> Result<Self> {
        Self::temporary_with(Settings::default())
    }

    /// As [`Database::temporary`], with these settings.
    pub fn temporary_with(settings: Settings) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("foretell-")
            .tempdir()
            .map_err(|e| Error::io(&std::env::temp_dir(), &e))?;
        let path = directory.path().to_owned();
        Self::open_in(&path, settings, DurableFs::default(), Some(directory))
    }

    fn open_in(
        path: &Path,
        settings: Settings,
        fs: DurableFs,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Self> {
        let threads = settings.threads.unwrap_or_else(cores).max(1);
        let environment = environment(settings.memory_limit.unwrap_or_else(default_memory))?;
        let plain = SessionStateBuilder::new()
            .with_config(SessionConfig::new())
            .with_runtime_env(Arc::clone(&environment))
            .with_default_features()
            .build();
        let access = if settings.read_only { Access::ReadOnly } else { Access::ReadWrite };
        let catalog =
            Catalog::open_on(path, access, Arc::new(plain), fs).map_err(|e| cannot_open(path, e))?;
        let registry = ModelRegistry::open(path, catalog.fs().clone(), !settings.read_only)?;
        let engine = Engine {
            catalog,
            registry: Arc::new(registry),
            runtimes: Runtimes::new(threads)?,
            trainings: Arc::default(),
            activity: Activity::default(),
            states: States::new(session::template(&environment)),
            constants: Constants::default(),
            histories: Arc::default(),
            snapshots: SnapshotCache::default(),
            threads,
            path: path.to_owned(),
            _temporary: temporary,
        };
        Ok(Self { engine: Arc::new(engine) })
    }

    /// A new session: its own settings and prepared statements on the shared tables and models.
    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.engine))
    }

    /// A session of a client of a server, in the database that clients call `name`.
    pub fn session_of(
        &self,
        client: &Arc<SessionActivity>,
        name: &str,
        files: &Arc<FileAccess>,
    ) -> Result<Session> {
        Session::of_client(Arc::clone(&self.engine), client, name, files)
    }

    /// Enters a client that is let in as a role.
    pub fn enter(&self, role: &str, address: Option<SocketAddr>) -> Arc<SessionActivity> {
        self.engine.activity.enter(role, address)
    }

    /// The client has gone.
    pub fn leave(&self, client: &SessionActivity) {
        self.engine.activity.leave(client.pid);
    }

    /// The files that statements of a server may reach: the folder `files` of the database, and these.
    pub fn file_access(&self, directories: &[PathBuf]) -> Result<Arc<FileAccess>> {
        FileAccess::new(self.engine.catalog.clone(), directories).map(Arc::new)
    }

    /// Whether a role may connect, and what proves its password; `None` when there is no such role.
    pub fn login(&self, role: &str) -> Result<Option<Login>> {
        let role = self.engine.catalog.role(role)?;
        Ok(role.map(|role| Login {
            allowed: role.login,
            verifier: role.verifier.as_deref().and_then(Verifier::parse),
        }))
    }

    /// True when there is a role that may log in with a password.
    pub fn has_passwords(&self) -> Result<bool> {
        Ok(self.engine.catalog.contents()?.roles.values().any(|role| role.login && role.verifier.is_some()))
    }

    /// Makes the first role, which may do everything, when there is none; its name, its generated password, and the file that
    /// keeps it: the file is there before the role.
    pub fn create_owner(&self, name: &str) -> Result<Option<(String, String, PathBuf)>> {
        if !self.engine.catalog.contents()?.roles.is_empty() {
            return Ok(None);
        }
        let password = access::generated()?;
        let file = self.path().join("owner-password");
        self.engine.catalog.fs().save(&file, format!("{password}\n").as_bytes(), Publish::Replace)?;
        let verifier = Verifier::of_password(&password)?.text();
        let role = Role { login: true, superuser: true, verifier: Some(verifier), ..Role::default() };
        self.block_on(self.engine.catalog.create_role(name, role))?;
        Ok(Some((name.to_owned(), password, file)))
    }

    /// The role that owns the database: the first that may do everything.
    pub fn owner(&self) -> Result<Option<String>> {
        Ok(self.engine.catalog.contents()?.owner().map(str::to_owned))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.engine.path
    }

    /// Runs a future of this library to its end on the database's threads, for callers without a runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.engine.runtimes.handle().block_on(future)
    }
}

/// How a role may log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// False for roles that only hold privileges.
    pub allowed: bool,
    /// What proves its password; `None` when it has none.
    pub verifier: Option<Verifier>,
}

/// Names the database where the file system refuses it.
fn cannot_open(path: &Path, error: Error) -> Error {
    if error.subject() != Subject::File {
        return error;
    }
    let message = format!("cannot open database {}: {}", path.display(), error.message());
    Error::new(error.kind(), Subject::Database, message)
        .with_hint("choose a directory that this user may write to, or open an existing one with --read-only")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn environment(memory_limit: usize) -> Result<Arc<RuntimeEnv>> {
    let consumers = std::num::NonZeroUsize::new(5).expect("5 is not 0");
    let pool = TrackConsumersPool::new(StatementPool::new(memory_limit), consumers);
    let failed = |e: DataFusionError| {
        let message = format!("cannot set up memory: {}", e.strip_backtrace());
        Error::new(ErrorKind::Unavailable, Subject::Memory, message)
    };
    let files = DiskManager::builder().build().map_err(failed)?;
    let spilled = DiskManager::builder().with_temp_file_factory(Arc::new(SpillFiles::new(files)));
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(spilled)
        .build_arc()
        .map_err(failed)
}

/// A share of the memory of the machine or of its control group, whichever is less.
fn default_memory() -> usize {
    let total = machine_memory().unwrap_or(4 << 30);
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    share_of(limit.map_or(total, |l| l.min(total)))
}

/// 60 %; less of little memory, so that the process, which takes a quarter more and so many bytes beside, fits into it.
fn share_of(total: usize) -> usize {
    const BESIDE: usize = 200 << 20;
    let fitting = total.saturating_sub(BESIDE) / 5 * 4;
    (total / 10 * 6).min(fitting.max(total / 10))
}

fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: usize = text.lines().next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_fits_into_little_memory() {
        for (total, expected) in [(4096, 2457), (1024, 614), (512, 249), (256, 44), (128, 12)] {
            assert_eq!(share_of(total << 20) >> 20, expected, "{total} MiB");
        }
    }
}
