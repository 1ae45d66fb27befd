//! One client from its login to its end: messages in, statements run, answers out.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio_util::sync::CancellationToken;

use super::errors::{Severity, error_response, notice_response};
use super::listen::Shared;
use super::message::Message;
use super::portal::{Portal, Sent};
use super::run::Stop;
use super::wire::Wire;
use crate::engine::{Notice, Piece, Session, SessionActivity, TransactionStatus, failure_warning};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres::{Style, Zone};

/// Time that a client has to read why its connection ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A client that has logged in.
pub struct Connection {
    pub(super) wire: Wire,
    pub(super) session: Session,
    pub(super) activity: Arc<SessionActivity>,
    pub(super) shared: Arc<Shared>,
    pub(super) portals: HashMap<String, Portal>,
    /// Statements as the client sent them, by name.
    pub(super) sent: HashMap<String, Arc<Sent>>,
    /// After an error of the extended protocol everything up to Sync is passed over.
    skipping: bool,
    /// Settings as the client was last told of them.
    reported: HashMap<String, String>,
    /// How often settings had been changed then.
    reported_at: Option<u64>,
    /// Commands that have changed something since the last Sync, outside a block.
    pub(super) committed: Vec<&'static str>,
}

impl Connection {
    /// Of a client that has just logged in.
    pub fn new(wire: Wire, session: Session, activity: Arc<SessionActivity>, shared: Arc<Shared>) -> Self {
        Self {
            wire,
            session,
            activity,
            shared,
            portals: HashMap::new(),
            sent: HashMap::new(),
            skipping: false,
            reported: HashMap::new(),
            reported_at: None,
            committed: vec![],
        }
    }

    /// Serves the client until it leaves, or the server stops.
    pub async fn serve(mut self) -> io::Result<()> {
        self.report_settings();
        self.ready();
        loop {
            let message = tokio::select! {
                biased;
                () = self.shared.stopping.cancelled() => return self.say_stopped().await,
                () = self.activity.end.cancelled() => return self.say_stopped().await,
                () = idle(self.idle_timeout()) => return self.say_idle().await,
                message = answered(&mut self.wire) => message?,
            };
            match message {
                None | Some(Ok(Message::Terminate)) => return Ok(()),
                Some(Err(error)) => {
                    self.wire.put(error_response(&error, "", Severity::Fatal));
                    return self.wire.flush().await;
                }
                Some(Ok(message)) => self.handle(message).await?,
            }
        }
    }

    async fn handle(&mut self, message: Message) -> io::Result<()> {
        if self.skipping && message != Message::Sync {
            return Ok(());
        }
        let handled = match message {
            Message::Query(sql) => return self.simple(sql).await,
            Message::Parse { name, sql, types } => self.parse(name, sql, types).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe(target),
            Message::Execute { portal, rows } => self.execute(portal, rows).await,
            Message::Close(target) => {
                self.close(target);
                Ok(())
            }
            Message::Sync => {
                self.sync();
                Ok(())
            }
            Message::Flush => return self.wire.flush().await,
            // What is left of a COPY that has failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Password(_) | Message::Terminate => {
                Err(Stop::Failed(Error::input(Subject::Connection, "unexpected message"), String::new()))
            }
        };
        match handled {
            Ok(()) => Ok(()),
            Err(Stop::Gone(error)) => Err(error),
            Err(Stop::Failed(error, _)) if self.is_end(&error) => Ok(()),
            Err(Stop::Failed(error, sql)) => {
                self.fail(&error, &sql);
                self.skipping = true;
                Ok(())
            }
        }
    }

    /// All statements of a text, one after another, up to the first that fails.
    async fn simple(&mut self, sql: String) -> io::Result<()> {
        let ran = match self.session.split(&sql) {
            Ok(pieces) if pieces.is_empty() => {
                self.wire.put(Answer::EmptyQueryResponse(EmptyQueryResponse::new()));
                Ok(())
            }
            Ok(pieces) => self.run_pieces(pieces).await,
            Err(error) => Err(Stop::Failed(error, String::new())),
        };
        match ran {
            Ok(()) => {}
            Err(Stop::Gone(error)) => return Err(error),
            Err(Stop::Failed(error, _)) if self.is_end(&error) => return Ok(()),
            Err(Stop::Failed(error, _)) => self.fail(&error, &sql),
        }
        self.committed.clear();
        self.end_of_portals();
        self.ready();
        Ok(())
    }

    /// True for a statement that was stopped with its session: its client hears of the session's end only.
    fn is_end(&self, error: &Error) -> bool {
        let ending = self.shared.stopping.is_cancelled() || self.activity.end.is_cancelled();
        ending && error.kind() == ErrorKind::Cancelled
    }

    /// Tells of an error, whose place is in this text, and of what it has not undone.
    fn fail(&mut self, error: &Error, sql: &str) {
        self.session.fail_transaction();
        let kept = failure_warning(&std::mem::take(&mut self.committed)).filter(|_| self.wanted().1);
        if let Some(text) = kept {
            self.wire.put(notice_response(&Notice { warning: true, text, detail: None }));
        }
        self.wire.put(error_response(error, sql, Severity::Error));
    }

    async fn run_pieces(&mut self, pieces: Vec<Piece>) -> Result<(), Stop> {
        for piece in pieces {
            let offset = piece.offset;
            self.run_simple(piece).await.map_err(|stop| match stop {
                Stop::Failed(error, text) => Stop::Failed(error.shifted(offset), text),
                gone => gone,
            })?;
        }
        Ok(())
    }

    fn sync(&mut self) {
        self.skipping = false;
        self.committed.clear();
        self.end_of_portals();
        self.ready();
    }

    /// Portals live as long as their transaction.
    fn end_of_portals(&mut self) {
        if self.session.transaction_status() == TransactionStatus::Idle {
            self.portals.clear();
        }
    }

    fn ready(&mut self) {
        self.report_settings();
        let status = match self.session.transaction_status() {
            TransactionStatus::Idle => WireStatus::Idle,
            TransactionStatus::Active => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        self.wire.put(Answer::ReadyForQuery(ReadyForQuery::new(status)));
    }

    /// Tells the client of settings that have changed and that clients follow.
    fn report_settings(&mut self) {
        let changes = self.session.variables().changes();
        if self.reported_at.replace(changes) == Some(changes) {
            return;
        }
        for (name, value) in self.session.variables().read().reported() {
            if self.reported.get(&name) != Some(&value) {
                self.wire.put(Answer::ParameterStatus(ParameterStatus::new(name.clone(), value.clone())));
                self.reported.insert(name, value);
            }
        }
    }

    /// How values look in this session.
    pub(super) fn style(&self) -> Style {
        let variables = self.session.variables().read();
        Style {
            zone: Zone::of(&variables.value("TimeZone")),
            escape_bytes: variables.value("bytea_output") == "escape",
        }
    }

    /// A statement begins: what stops it.
    pub(super) fn begin(&self, text: &str) -> CancellationToken {
        self.activity.begin(text, self.session.variables().read().value("application_name"))
    }

    fn idle_timeout(&self) -> Option<Duration> {
        let name = match self.session.transaction_status() {
            TransactionStatus::Idle => "idle_session_timeout",
            _ => "idle_in_transaction_session_timeout",
        };
        self.session.variables().read().time(name)
    }

    async fn say_stopped(&mut self) -> io::Result<()> {
        let message = "terminating connection due to administrator command";
        self.say_last(Error::new(ErrorKind::Cancelled, Subject::Database, message)).await
    }

    async fn say_idle(&mut self) -> io::Result<()> {
        let error = match self.session.transaction_status() {
            TransactionStatus::Idle => Error::new(
                ErrorKind::Cancelled,
                Subject::Connection,
                "terminating connection due to idle-session timeout",
            ),
            _ => Error::new(
                ErrorKind::Cancelled,
                Subject::Transaction,
                "terminating connection due to idle-in-transaction timeout",
            ),
        };
        self.say_last(error).await
    }

    async fn say_last(&mut self, error: Error) -> io::Result<()> {
        self.wire.put(error_response(&error, "", Severity::Fatal));
        // A client that does not read is not waited for.
        tokio::time::timeout(LAST_WORDS, self.wire.flush()).await.unwrap_or(Ok(()))
    }
}

/// Sends what there is, unless more has come already, and waits for the next message.
async fn answered(wire: &mut Wire) -> io::Result<Option<Result<Message>>> {
    if !wire.has_more() {
        wire.flush().await?;
        wire.rest();
    }
    wire.message().await
}

/// Ends after a time; never without one.
async fn idle(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
