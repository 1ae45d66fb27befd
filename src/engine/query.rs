//! A running statement: rows, cancel, progress, notices and the command tag.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::error::{Error, Result};
use crate::ml::{Control, Progress};

/// What the parts of a running statement share.
#[derive(Debug, Default)]
pub struct QueryContext {
    /// Cancel, deadline and progress.
    pub control: Arc<Control>,
    notices: Mutex<Vec<String>>,
    wake: Notify,
}

impl QueryContext {
    /// Makes the reader look at cancel and deadline now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the user something that is no error.
    pub fn notice(&self, text: impl Into<String>) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }

    fn notices(&self) -> Vec<String> {
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
}

/// What the task of a statement sends: rows, then `None` at its end, or an error.
pub(super) type Message = Result<Option<RecordBatch>>;

/// Stops a statement from any thread.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    context: Arc<QueryContext>,
    abort: AbortHandle,
}

impl CancelHandle {
    /// Asks the statement to stop; its reader gets an error of kind `Cancelled`.
    pub fn cancel(&self) {
        self.context.control.cancel();
        self.abort.abort();
        self.context.wake();
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

/// A running statement; dropping it stops it.
#[derive(Debug)]
pub struct Query {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Message>,
    context: Arc<QueryContext>,
    abort: AbortHandle,
    tag: Tag,
    count: u64,
    done: bool,
}

impl Query {
    pub(super) fn new(
        schema: SchemaRef,
        receiver: mpsc::Receiver<Message>,
        context: Arc<QueryContext>,
        abort: AbortHandle,
        tag: Tag,
    ) -> Self {
        let schema = if tag == Tag::Rows { schema } else { Arc::new(Schema::empty()) };
        Self { schema, receiver, context, abort, tag, count: 0, done: false }
    }

    /// Columns of the rows; empty for statements that return none.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.done {
            let received = tokio::select! {
                biased;
                () = self.context.wake.notified() => None,
                received = self.receiver.recv() => received,
            };
            if let Err(stopped) = self.context.control.check() {
                self.stop();
                return Err(stopped);
            }
            match received {
                Some(Ok(Some(batch))) if self.tag == Tag::Rows => {
                    self.count += batch.num_rows() as u64;
                    return Ok(Some(batch));
                }
                Some(Ok(Some(batch))) => self.count += counted(&batch),
                Some(Ok(None)) => self.done = true,
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
            Tag::Words(words) => words.to_owned(),
        }
    }

    /// Rows that a statement without a result changed; `None` for queries.
    pub fn changed(&self) -> Option<u64> {
        matches!(self.tag, Tag::Count(_)).then_some(self.count)
    }

    /// What the statement told besides its rows.
    pub fn notices(&self) -> Vec<String> {
        self.context.notices()
    }

    fn stop(&mut self) {
        self.done = true;
        self.context.control.cancel();
        self.abort.abort();
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
