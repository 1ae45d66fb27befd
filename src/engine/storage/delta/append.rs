//! Small INSERTs that come together: one file and one commit for all that wait while another commits.
//!
//! Source: group commit, DeWitt et al. 1984, "Implementation Techniques for Main Memory Database Systems", section 5.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::engine::storage::delta::directory::NewFiles;
use crate::engine::storage::delta::maintain;
use crate::engine::storage::delta::table::{Commit, StoredTable};
use crate::engine::storage::delta::writer::{WriteTarget, write_rows};
use crate::engine::storage::row_memory::RowMemory;
use crate::error::{Error, ErrorKind, Result};
use crate::ml::Control;

/// How often an append starts over on a newer version after another program changed the table.
const ATTEMPTS: usize = 10;

/// The rows of one statement, as they are to be stored.
#[derive(Debug)]
pub struct Append {
    /// The rows.
    pub rows: Vec<RecordBatch>,
    /// Their columns, by the names in the files.
    pub schema: SchemaRef,
    /// Stored names of the columns that the rows are kept sorted by.
    pub cluster_by: Vec<String>,
    /// State of the table's columns and constraints when the statement was planned.
    pub layout_changes: u64,
    /// Stops the statement before its commit.
    pub control: Arc<Control>,
    /// Memory for what follows the commit.
    pub runtime: Arc<RuntimeEnv>,
    /// That of the rows.
    pub _memory: RowMemory,
}

/// Appends whose turn has not come, and where each is told its end.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Group>);

type Group = Vec<(Append, oneshot::Sender<Result<()>>)>;

impl Waiting {
    /// One more. Who does not listen any more was cancelled.
    fn push(&self, rows: Append, done: oneshot::Sender<Result<()>>) {
        let mut group = self.0.lock();
        group.retain(|(_, done)| !done.is_closed());
        group.push((rows, done));
    }

    /// Takes the rows of one statement back; false where a commit has taken them already.
    fn withdraw(&self, control: &Arc<Control>) -> bool {
        let mut group = self.0.lock();
        let before = group.len();
        group.retain(|(rows, _)| !Arc::ptr_eq(&rows.control, control));
        group.len() < before
    }

    /// All that wait, of statements that from now on are not stopped.
    fn take(&self) -> Group {
        let waiting = std::mem::take(&mut *self.0.lock()).into_iter();
        let goes_on = |(rows, done): (Append, oneshot::Sender<Result<()>>)| {
            if done.is_closed() {
                return None;
            }
            match rows.control.commit_begins() {
                Ok(()) => Some((rows, done)),
                Err(stopped) => {
                    // Who waits for it was told already, or is told now.
                    let _ = done.send(Err(stopped));
                    None
                }
            }
        };
        waiting.filter_map(goes_on).collect()
    }
}

/// Adds the rows to the table, durably; where the future is dropped before their commit has begun, nothing is added.
pub async fn append(table: &Arc<StoredTable>, rows: Append) -> Result<()> {
    let (done, mut told) = oneshot::channel();
    let control = Arc::clone(&rows.control);
    table.waiting().push(rows, done);
    tokio::select! {
        biased;
        // Somebody has committed them with others.
        result = &mut told => return heard(table, result),
        lock = table.write_lock() => match lock {
            Ok(lock) => {
                let group = table.waiting().take();
                if !group.is_empty() {
                    // It has the rows of others: it goes on when this statement is cancelled.
                    tokio::spawn(commit_group(Arc::clone(table), group, lock));
                }
            }
            Err(late) if table.waiting().withdraw(&control) => return Err(late),
            // Somebody is committing them with others.
            Err(_) => {}
        }
    }
    heard(table, told.await)
}

fn heard(
    table: &StoredTable,
    told: std::result::Result<Result<()>, oneshot::error::RecvError>,
) -> Result<()> {
    told.map_err(|_| Error::internal(format!("the rows for table {} were not added", table.label())))?
}

async fn commit_group(table: Arc<StoredTable>, group: Group, lock: OwnedMutexGuard<()>) {
    let current = table.layout_changes();
    let (group, old): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|(rows, _)| rows.layout_changes == current);
    old.into_iter().for_each(|(_, done)| drop(done.send(Err(table.altered()))));
    let Some((first, _)) = group.first() else { return };
    let (cluster_by, runtime) = (first.cluster_by.clone(), Arc::clone(&first.runtime));
    let schema = Arc::clone(&first.schema);
    let (appends, told): (Vec<_>, Vec<_>) = group.into_iter().unzip();
    let result = match write(&table, schema, &cluster_by, appends).await {
        Ok(files) => commit_files(&table, files, false).await,
        Err(error) => Err(error),
    };
    drop(lock);
    let committed = result.is_ok();
    told.into_iter().for_each(|done| drop(done.send(result.clone())));
    if committed {
        maintain::compact_in_background(&table, cluster_by, runtime);
    }
}

/// The rows of all of them, in one file.
async fn write(
    table: &StoredTable,
    schema: SchemaRef,
    cluster_by: &[String],
    appends: Vec<Append>,
) -> Result<NewFiles> {
    let target = WriteTarget::new(table.directory()?, schema, cluster_by);
    let rows = stream::iter(appends.into_iter().flat_map(|append| append.rows).map(Ok));
    write_rows(target, rows, Ok).await.map_err(Error::from)
}

/// Makes the files part of the table, with `overwrite` in the place of all others; call it with the write lock held.
pub async fn commit_files(table: &Arc<StoredTable>, files: NewFiles, overwrite: bool) -> Result<()> {
    let files = Arc::new(files);
    for attempt in 1.. {
        let base = table.latest().await?;
        let replaced = base.files.iter().filter(|_| overwrite);
        let removes = replaced.map(|file| Action::Remove(file.remove_action(true)));
        let commit = Commit {
            operation: if overwrite { "INSERT OVERWRITE" } else { "INSERT" },
            actions: removes.chain(files.adds().iter().cloned().map(Action::Add)).collect(),
            delta: DeltaOperation::Write {
                mode: if overwrite { SaveMode::Overwrite } else { SaveMode::Append },
                partition_by: None,
                predicate: None,
            },
            rows: files.rows(),
            files: Some(Arc::clone(&files)),
        };
        match table.commit(base, commit).await {
            Err(error) if conflicts(&error) && attempt < ATTEMPTS => {}
            done => return done,
        }
    }
    Ok(())
}

fn conflicts(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.message().contains("was changed by another writer")
}
