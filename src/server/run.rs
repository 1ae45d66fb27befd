//! Running statements: rows out as they come, with cancel, progress and notices beside them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::BufMut;
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::CommandComplete;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::errors::notice_response;
use crate::Progress;
use crate::engine::{ClientCopy, Notice, Piece, Query, TransactionStatus};
use crate::error::{Error, Result};
use crate::postgres::{self, ColumnWriter, Format, Style, column, message};

/// How often a running statement is looked at for notices.
const TICK: Duration = Duration::from_millis(100);

/// Least time between two notices about one training.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Why a statement did not come to its end.
#[derive(Debug)]
pub enum Stop {
    /// It failed; the text is what the place of the error counts in.
    Failed(Error, String),
    /// The client has gone.
    Gone(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error, String::new())
    }
}

/// A statement that runs, and rows of it that were not asked for yet.
#[derive(Debug)]
pub struct Running {
    pub(super) query: Query,
    pub(super) token: CancellationToken,
    rest: Option<RecordBatch>,
    told: usize,
    progress: Told,
}

/// The last notice about a training.
#[derive(Debug)]
struct Told {
    epoch: usize,
    at: Option<Instant>,
}

impl Running {
    fn new(query: Query, token: CancellationToken) -> Self {
        Self { query, token, rest: None, told: 0, progress: Told { epoch: 0, at: None } }
    }
}

/// The formats of the columns of a result.
#[derive(Debug, Clone, Default)]
pub struct Formats(Vec<Format>);

impl Formats {
    /// From the numbers of Bind: none, one for all, or one each.
    pub fn new(codes: &[i16], columns: usize) -> Result<Self> {
        use crate::error::Subject;
        if codes.len() > 1 && codes.len() != columns {
            let message =
                format!("bind message has {} result formats but query has {columns} columns", codes.len());
            return Err(Error::input(Subject::Parameter, message));
        }
        let format = |n: usize| match codes {
            [] => Ok(Format::Text),
            [code] => read_format(*code),
            codes => read_format(codes[n]),
        };
        (0..columns).map(format).collect::<Result<_>>().map(Self)
    }

    fn of(&self, column: usize) -> Format {
        self.0.get(column).copied().unwrap_or(Format::Text)
    }
}

/// The format of this number of the protocol.
pub fn read_format(code: i16) -> Result<Format> {
    use crate::error::Subject;
    Format::from_code(code)
        .ok_or_else(|| Error::input(Subject::Parameter, format!("unsupported format code: {code}")))
}

/// The columns as RowDescription tells them.
pub fn description(columns: &SchemaRef, formats: &Formats) -> Answer {
    let fields = columns.fields().iter().enumerate().map(|(n, field)| {
        let wire = postgres::of_field(field);
        let (name, (relation, column)) = (field.name().clone(), postgres::origin_of(field));
        FieldDescription::new(
            name,
            relation as i32,
            column,
            wire.oid,
            wire.size,
            wire.modifier,
            formats.of(n).code(),
        )
    });
    Answer::RowDescription(RowDescription::new(fields.collect()))
}

/// The end of a statement.
pub fn complete(tag: String) -> Answer {
    Answer::CommandComplete(CommandComplete::new(tag))
}

impl Connection {
    /// Runs one statement of the simple protocol.
    pub(super) async fn run_simple(&mut self, piece: Piece) -> Result<(), Stop> {
        let (session, text) = (self.session.clone(), piece.text.clone());
        let mut running = self.start(&text, async move { session.execute(&piece).await }).await?;
        let ran = self.answer_simple(&mut running).await;
        self.activity.end_statement();
        self.note_change(&running);
        ran
    }

    /// Remembers a change that the statements sent with it do not undo when they fail.
    pub(super) fn note_change(&mut self, running: &Running) {
        if self.session.transaction_status() == TransactionStatus::Idle {
            self.committed.extend(running.query.committed());
        }
    }

    async fn answer_simple(&mut self, running: &mut Running) -> Result<(), Stop> {
        if let Some(copy) = running.query.take_copy() {
            return self.copy(running, copy).await;
        }
        let columns = running.query.schema();
        let formats = Formats::default();
        if running.query.returns_rows() {
            self.wire.put(description(&columns, &formats));
        }
        self.send_rows(running, &formats, usize::MAX).await?;
        self.wire.put(complete(running.query.tag()));
        Ok(())
    }

    /// Starts a statement; a cancel request or the client's end stops its planning, or the change that it makes meanwhile,
    /// up to its commit.
    pub(super) async fn start(
        &mut self,
        text: &str,
        starting: impl Future<Output = Result<Query>>,
    ) -> Result<Running, Stop> {
        let token = self.begin(text);
        let mut starting = std::pin::pin!(starting);
        let mut listens = true;
        let started = loop {
            tokio::select! {
                // The session has to know of a statement before it can stop it.
                biased;
                started = &mut starting => break started,
                () = token.cancelled(), if listens => {
                    if self.session.stop_started() {
                        break Err(cancelled());
                    }
                    listens = false;
                }
                error = self.wire.gone() => return Err(Stop::Gone(error)),
            }
        };
        if started.is_err() {
            self.activity.end_statement();
        }
        Ok(Running::new(started?, token))
    }

    /// The next rows of a statement.
    pub(super) async fn next_batch(&mut self, running: &mut Running) -> Result<Option<RecordBatch>, Stop> {
        if let Some(batch) = running.rest.take() {
            return Ok(Some(batch));
        }
        let handle = running.query.cancel_handle();
        let mut stopped = false;
        loop {
            tokio::select! {
                biased;
                () = running.token.cancelled(), if !stopped => {
                    stopped = true;
                    handle.cancel();
                }
                batch = running.query.next() => {
                    self.tell(running);
                    return Ok(batch?);
                }
                error = self.wire.gone() => return Err(Stop::Gone(error)),
                () = tokio::time::sleep(TICK) => {
                    if self.tell(running) {
                        self.flush(running).await?;
                    }
                }
            }
        }
    }

    /// Sends what has gathered; a cancel request or the statement's time ends the wait for a client that does not read,
    /// unless what it has to read is the answer of a change that has been made.
    pub(super) async fn flush(&mut self, running: &Running) -> Result<(), Stop> {
        let handle = running.query.cancel_handle();
        let mut listens = true;
        loop {
            let error = tokio::select! {
                biased;
                () = self.activity.end.cancelled() => {
                    handle.cancel();
                    return Err(cancelled().into());
                }
                () = running.token.cancelled(), if listens => cancelled(),
                error = overdue(&running.query), if listens => error,
                sent = self.wire.flush() => return Ok(sent?),
            };
            if handle.try_cancel() {
                return Err(error.into());
            }
            listens = false;
        }
    }

    /// Sends up to `limit` rows; true when the statement has come to its end.
    pub(super) async fn send_rows(
        &mut self,
        running: &mut Running,
        formats: &Formats,
        limit: usize,
    ) -> Result<bool, Stop> {
        let (columns, style) = (running.query.schema(), self.style());
        let mut left = limit;
        while left > 0 {
            let Some(batch) = self.next_batch(running).await? else { return Ok(true) };
            let rows = batch.num_rows().min(left);
            if rows < batch.num_rows() {
                running.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            left -= rows;
            let batch = self.with_names(batch, &columns, formats).await?;
            let writers = writers(&batch, &columns, formats, style)?;
            for row in 0..rows {
                message(b'D', self.wire.output(), |out| {
                    out.put_u16(writers.len() as u16);
                    writers.iter().for_each(|writer| writer.write_field(row, out));
                });
                if self.wire.is_full() {
                    self.flush(running).await?;
                }
            }
        }
        Ok(false)
    }

    /// The rows with the names of things where text shows names, not numbers.
    pub(super) async fn with_names(
        &self,
        batch: RecordBatch,
        columns: &SchemaRef,
        formats: &Formats,
    ) -> Result<RecordBatch> {
        let shown = |n: &usize| formats.of(*n) == Format::Text;
        let things: Vec<(usize, &str)> = columns
            .fields()
            .iter()
            .enumerate()
            .filter_map(|(n, field)| postgres::named_thing(field).map(|kind| (n, kind)))
            .filter(|(n, _)| shown(n))
            .collect();
        if things.is_empty() {
            return Ok(batch);
        }
        let (mut fields, mut arrays) = (batch.schema().fields().to_vec(), batch.columns().to_vec());
        for (n, kind) in things {
            arrays[n] = self.session.names_of(kind, Arc::clone(&arrays[n])).await?;
            fields[n] = Arc::new(fields[n].as_ref().clone().with_data_type(arrays[n].data_type().clone()));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
            .map_err(|e| Error::internal(e.to_string()))
    }

    /// Puts notices that the client has not been told; true when there were some.
    pub(super) fn tell(&mut self, running: &mut Running) -> bool {
        let all = running.query.notices();
        let progress = running.query.progress().get();
        if all.len() == running.told && progress.is_none() {
            return false;
        }
        let (notices, warnings) = self.wanted();
        let mut told = false;
        for notice in all.iter().skip(running.told) {
            if if notice.warning { warnings } else { notices } {
                self.wire.put(notice_response(notice));
                told = true;
            }
        }
        running.told = all.len();
        if let Some(notice) = progress.filter(|_| notices).and_then(|p| running.progress.notice(&p)) {
            self.wire.put(notice_response(&notice));
            told = true;
        }
        told
    }

    /// Whether notices, and warnings, are wanted.
    pub(super) fn wanted(&self) -> (bool, bool) {
        let level = self.session.variables().read().value("client_min_messages");
        match level.as_str() {
            "error" => (false, false),
            "warning" => (false, true),
            _ => (true, true),
        }
    }
}

impl Told {
    /// A notice about a training that has come to another epoch since the last one.
    fn notice(&mut self, progress: &Progress) -> Option<Notice> {
        let due = self.at.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY);
        if progress.epoch == self.epoch || !due || progress.epochs == 0 {
            return None;
        }
        self.epoch = progress.epoch;
        self.at = Some(Instant::now());
        let loss = progress.train_loss.map(|loss| format!(", loss {loss:.4}")).unwrap_or_default();
        let valid =
            progress.valid_loss.map(|loss| format!(", validation loss {loss:.4}")).unwrap_or_default();
        let text = format!("{} epoch {} of {}{loss}{valid}", progress.phase, progress.epoch, progress.epochs);
        let detail = serde_json::json!({
            "phase": progress.phase,
            "epoch": progress.epoch,
            "epochs": progress.epochs,
            "fraction": progress.fraction,
            "train_loss": progress.train_loss,
            "valid_loss": progress.valid_loss,
        });
        Some(Notice { warning: false, text, detail: Some(detail.to_string()) })
    }
}

/// Ends with an error once the time of a statement is over; never without a limit.
pub async fn overdue(query: &Query) -> Error {
    match query.deadline() {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
    Error::cancelled("canceling statement due to statement timeout")
}

/// The error of a statement that its client has stopped.
pub fn cancelled() -> Error {
    Error::cancelled("canceling statement due to user request")
}

/// The writers of all columns of a batch.
pub fn writers<'a>(
    batch: &'a RecordBatch,
    columns: &SchemaRef,
    formats: &Formats,
    style: Style,
) -> Result<Vec<ColumnWriter<'a>>> {
    let fields = columns.fields().iter().zip(batch.columns()).enumerate();
    let writer = |(n, (field, array)): (usize, (&std::sync::Arc<arrow::datatypes::Field>, _))| {
        column(array, field, formats.of(n), style)
            .map_err(|e| Error::unsupported(format!("column {} cannot be sent: {e}", field.name())))
    };
    fields.map(writer).collect()
}

impl Connection {
    /// A COPY whose other end is the client.
    pub(super) async fn copy(&mut self, running: &mut Running, copy: ClientCopy) -> Result<(), Stop> {
        match copy {
            ClientCopy::Out(format) => self.copy_out(running, &format).await,
            ClientCopy::In(copy) => self.copy_in(running, copy).await,
        }
    }
}
