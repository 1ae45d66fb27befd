//! A running statement: rows, cancel, progress, notices and the command tag.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::engine::array_bytes::batch_bytes;
use crate::engine::constants::Constant;
use crate::engine::controlled::{controlled, current_control};
use crate::engine::session::Transaction;
use crate::engine::settings::carried;
use crate::engine::storage::RowMemory;
use crate::error::{Error, Result};
use crate::ml::{Control, Progress};

/// Batches that are made while nobody reads.
const BATCHES_WAITING: usize = 4;

/// Where a batch has so many rows, others are likely to come.
const MANY_ROWS: usize = 4_096;

/// What a scan of many rows holds besides its batches, at most.
const SCAN_BYTES: usize = 16 << 20;

/// One of so many parts of the pool is for the scan of a statement that waits.
const SCAN_SHARE: usize = 8;

/// The running statement, where functions find it.
#[derive(Debug, Clone)]
pub struct CurrentQuery(pub Arc<QueryContext>);

carried!(CurrentQuery, "query");

/// What the parts of a running statement share.
#[derive(Debug, Default)]
pub struct QueryContext {
    /// Cancel, deadline and progress.
    pub control: Arc<Control>,
    notices: Mutex<Vec<Notice>>,
    wake: Notify,
}

/// Something told to the user that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// True for what the user should not overlook.
    pub warning: bool,
    /// The message.
    pub text: String,
    /// More of it, such as the numbers of a training as JSON.
    pub detail: Option<String>,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl QueryContext {
    /// That of the statement that this task is at.
    pub(super) fn of_current() -> Self {
        Self { control: current_control(), ..Self::default() }
    }

    /// Makes the reader look at cancel and deadline now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the user something that is no error.
    pub fn notice(&self, text: impl Into<String>) {
        self.tell(false, text.into());
    }

    /// Tells the user something that must not be overlooked.
    pub fn warn(&self, text: impl Into<String>) {
        self.tell(true, text.into());
    }

    fn tell(&self, warning: bool, text: String) {
        let notice = Notice { warning, text, detail: None };
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
    }

    fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How the tag of a statement is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `SELECT n`: the rows that were read.
    Rows,
    /// `INSERT 0 n`, `UPDATE n`, `COPY n`: the single count that the plan returns.
    Count(&'static str),
    /// `CREATE TABLE`: the words alone.
    Words(&'static str),
    /// `FETCH n`, `SHOW`: words of their own, a count that is known, and whether there are rows.
    Told(&'static str, u64, bool),
}

impl Tag {
    /// True for a statement that returns rows.
    pub fn has_rows(&self) -> bool {
        matches!(self, Self::Rows | Self::Told(.., true))
    }

    /// The command, as errors name it.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Rows => "TRAIN",
            Self::Count(words) | Self::Words(words) | Self::Told(words, ..) => words,
        }
    }
}

/// How rows look on their way from or to the client in COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    /// Text, CSV or binary.
    pub kind: CopyKind,
    /// Between columns.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Names of the columns in the first line.
    pub header: bool,
    /// Around values of CSV.
    pub quote: u8,
    /// Before quotes in values of CSV.
    pub escape: u8,
}

/// The three formats of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyKind {
    /// PostgreSQL's text format.
    Text,
    /// CSV.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// A COPY whose other end is the client.
#[derive(Debug)]
pub enum ClientCopy {
    /// The rows of the query go out in this format.
    Out(CopyFormat),
    /// Rows come in.
    In(CopyIn),
}

impl ClientCopy {
    pub(super) fn tag(&self) -> Tag {
        match self {
            Self::Out(_) => Tag::Rows,
            Self::In(_) => Tag::Count("COPY"),
        }
    }
}

/// The way in for the rows of COPY FROM STDIN: nothing is kept of them unless [`CopyIn::finish`] is called.
#[derive(Debug)]
pub struct CopyIn {
    /// The table, as messages name it.
    pub table: String,
    /// Columns that the rows must have.
    pub schema: SchemaRef,
    /// How the rows look.
    pub format: CopyFormat,
    pub(super) sender: mpsc::Sender<Message>,
}

impl CopyIn {
    /// Hands rows on; false when the statement has ended, its error is with the query.
    pub async fn write(&self, batch: RecordBatch) -> bool {
        self.sender.send(Ok(Some(batch))).await.is_ok()
    }

    /// All rows were written.
    pub async fn finish(self) {
        let _ = self.sender.send(Ok(None)).await;
    }

    /// The rows are broken: nothing is kept.
    pub async fn fail(self, error: Error) {
        let _ = self.sender.send(Err(error)).await;
    }
}

/// What the task of a statement sends: rows, then `None` at its end, or an error.
pub(super) type Message = Result<Option<RecordBatch>>;

/// Stops a statement from any thread.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    context: Arc<QueryContext>,
    abort: Option<AbortHandle>,
}

impl CancelHandle {
    /// Asks the statement to stop; its reader gets an error of kind `Cancelled`, unless it has begun a commit.
    pub fn cancel(&self) {
        self.try_cancel();
    }

    /// As [`CancelHandle::cancel`]; false where it has begun a commit, and its reader gets what comes of that.
    pub fn try_cancel(&self) -> bool {
        let stops = self.context.control.cancel();
        if let Some(task) = self.abort.as_ref().filter(|_| stops) {
            task.abort();
        }
        self.context.wake();
        stops
    }
}

/// Watches a statement from any thread.
#[derive(Debug, Clone)]
pub struct ProgressHandle(Arc<QueryContext>);

impl ProgressHandle {
    /// Where a TRAIN stands; `None` for statements without phases.
    pub fn get(&self) -> Option<Progress> {
        Some(self.0.control.progress()).filter(|p| !p.phase.is_empty())
    }
}

/// A statement that is planned, and what makes its rows; a task of the query runtime has to run it.
pub struct Started {
    /// The statement.
    pub query: Query,
    /// Sends its rows; none where they are there already.
    pub rows: Option<BoxFuture<'static, ()>>,
    /// What it says, when it says constants only.
    pub constant: Option<Constant>,
}

impl From<Query> for Started {
    fn from(query: Query) -> Self {
        Self { query, rows: None, constant: None }
    }
}

impl Started {
    /// Runs it as a task of its own.
    pub fn spawn(self) -> Query {
        match self.rows {
            Some(rows) => {
                let control = Arc::clone(&self.query.context.control);
                self.query.made_by(tokio::spawn(controlled(control, rows)).abort_handle())
            }
            None => self.query,
        }
    }
}

/// A running statement; dropping it stops it.
#[derive(Debug)]
pub struct Query {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Message>,
    context: Arc<QueryContext>,
    /// Stops the task that makes the rows; none where they are there already.
    abort: Option<AbortHandle>,
    tag: Tag,
    count: u64,
    done: bool,
    transaction: Option<Transaction>,
    /// The command, when it changes tables or models.
    change: Option<&'static str>,
    copy: Option<ClientCopy>,
    /// What its rows take that are there already.
    memory: Option<RowMemory>,
    /// Rows and bytes of its first batch.
    first: Option<(usize, usize)>,
    /// What it takes while its reader is away.
    waiting: Option<MemoryReservation>,
}

impl Query {
    pub(super) fn new(
        schema: SchemaRef,
        receiver: mpsc::Receiver<Message>,
        context: Arc<QueryContext>,
        tag: Tag,
    ) -> Self {
        let schema = if tag.has_rows() { schema } else { Arc::new(Schema::empty()) };
        let (abort, transaction, change, copy, memory, first, waiting) = <_>::default();
        Self {
            schema,
            receiver,
            context,
            abort,
            tag,
            count: 0,
            done: false,
            transaction,
            change,
            copy,
            memory,
            first,
            waiting,
        }
    }

    /// A statement whose rows are there already.
    pub(super) fn ready(
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        context: Arc<QueryContext>,
        tag: Tag,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(batches.len() + 1);
        for batch in batches {
            let _ = sender.try_send(Ok(Some(batch)));
        }
        let _ = sender.try_send(Ok(None));
        Self::new(schema, receiver, context, tag)
    }

    /// The statement, whose rows take this memory until they are read.
    pub(super) fn holding(mut self, memory: RowMemory) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Takes the memory of what it keeps while its reader is away; fails where there is not as much.
    pub(super) fn suspend(&mut self, pool: &Arc<dyn MemoryPool>) -> Result<()> {
        let Some((rows, bytes)) = self.first.filter(|_| !self.done && self.waiting.is_none()) else {
            return Ok(());
        };
        let share = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => limit / SCAN_SHARE,
            _ => SCAN_BYTES,
        };
        let scan = if rows < MANY_ROWS { 0 } else { share.min(SCAN_BYTES) };
        let memory = MemoryConsumer::new("cursor").register(pool);
        memory.try_grow(bytes.saturating_mul(BATCHES_WAITING).saturating_add(scan))?;
        self.waiting = Some(memory);
        Ok(())
    }

    /// The statement with these columns, which tell other types of PostgreSQL for the same values.
    pub(super) fn shown_as(mut self, schema: SchemaRef) -> Self {
        self.schema = schema;
        self
    }

    /// The statement, whose rows this task makes.
    pub(super) fn made_by(mut self, task: AbortHandle) -> Self {
        self.abort = Some(task);
        self
    }

    /// The statement as a part of its session's transaction; `change` is its command, when it changes tables or models.
    pub(super) fn in_transaction(mut self, transaction: Transaction, change: Option<&'static str>) -> Self {
        self.transaction = Some(transaction);
        self.change = change;
        self
    }

    /// The statement, which has made a change by this command.
    pub(super) fn after_change(mut self, command: &'static str) -> Self {
        self.change = Some(command);
        self
    }

    /// The command of a statement that has come to its end and changed something.
    pub fn committed(&self) -> Option<&'static str> {
        self.change.filter(|_| self.done)
    }

    /// When the statement is to be stopped.
    pub fn deadline(&self) -> Option<Instant> {
        self.context.control.deadline()
    }

    pub(super) fn with_copy(mut self, copy: Option<ClientCopy>) -> Self {
        self.copy = copy;
        self
    }

    /// The COPY between this statement and its client, when it is one; the first call gets it.
    pub fn take_copy(&mut self) -> Option<ClientCopy> {
        self.copy.take()
    }

    /// True for a statement that returns rows.
    pub fn returns_rows(&self) -> bool {
        self.tag.has_rows()
    }

    /// Columns of the rows; empty for statements that return none.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows; `None` at the end. An error ends the statement and fails its transaction.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.try_next().await;
        match (&next, &self.transaction) {
            (Err(_), Some(transaction)) => transaction.fail(),
            (Ok(None), Some(transaction)) => {
                self.change.into_iter().for_each(|command| transaction.changed(command));
                self.transaction = None;
            }
            _ => {}
        }
        next
    }

    async fn try_next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(ClientCopy::In(copy)) = &self.copy {
            let message = "COPY FROM STDIN works over a server connection only";
            let hint = format!("name a file: COPY {} FROM 'file.csv'", copy.table);
            self.stop();
            return Err(Error::unsupported(message).with_hint(hint));
        }
        while !self.done {
            let received = tokio::select! {
                biased;
                () = self.context.wake.notified() => None,
                received = self.receiver.recv() => Some(received),
            };
            // The commit may have begun a moment ago.
            if let Err(stopped) = self.context.control.check()
                && self.cancel_handle().try_cancel()
            {
                self.stop();
                return Err(stopped);
            }
            let Some(received) = received else { continue };
            match received {
                Some(Ok(Some(batch))) if self.tag.has_rows() => {
                    self.count += batch.num_rows() as u64;
                    self.first.get_or_insert_with(|| (batch.num_rows(), batch_bytes(&batch)));
                    return Ok(Some(batch));
                }
                Some(Ok(Some(batch))) => self.count += counted(&batch),
                Some(Ok(None)) => {
                    self.done = true;
                    (self.memory, self.waiting) = (None, None);
                }
                Some(Err(error)) => {
                    self.stop();
                    return Err(error);
                }
                None => {
                    self.stop();
                    return Err(Error::internal("the statement ended without a result"));
                }
            }
        }
        Ok(None)
    }

    /// All rows at once.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// A handle that stops the statement.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { context: Arc::clone(&self.context), abort: self.abort.clone() }
    }

    /// A handle that watches it.
    pub fn progress(&self) -> ProgressHandle {
        ProgressHandle(Arc::clone(&self.context))
    }

    /// The command tag as PostgreSQL prints it; complete once the rows have ended.
    pub fn tag(&self) -> String {
        match self.tag {
            Tag::Rows => format!("SELECT {}", self.count),
            Tag::Count("INSERT") => format!("INSERT 0 {}", self.count),
            Tag::Count(words) => format!("{words} {}", self.count),
            Tag::Words(words) | Tag::Told(words @ ("SHOW" | "EXPLAIN"), ..) => words.to_owned(),
            Tag::Told(words, count, _) => format!("{words} {count}"),
        }
    }

    /// Rows that a statement without a result changed; `None` for queries.
    pub fn changed(&self) -> Option<u64> {
        matches!(self.tag, Tag::Count(_)).then_some(self.count)
    }

    /// What the statement told besides its rows.
    pub fn notices(&self) -> Vec<Notice> {
        self.context.notices()
    }

    /// Ends it before its end; what was to change with its end has not.
    fn stop(&mut self) {
        self.done = true;
        self.waiting = None;
        if self.transaction.is_some() {
            self.change = None;
        }
        self.cancel_handle().cancel();
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        if !self.done {
            self.stop();
        }
    }
}

fn counted(batch: &RecordBatch) -> u64 {
    let column = batch.columns().first().and_then(|c| c.as_primitive_opt::<UInt64Type>());
    column.map_or(0, |c| c.iter().flatten().sum())
}

/// Sends an error to the reader of a query; the reader may be gone.
pub(super) async fn fail(sender: &mpsc::Sender<Message>, error: Error) {
    let _ = sender.send(Err(error)).await;
}
