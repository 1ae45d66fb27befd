//! The extended protocol: statements, portals and their rows.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::Connection;
use super::decode;
use super::message::{Bind, Target};
use super::run::{Formats, Running, Stop, complete, description, read_format};
use crate::engine::{Piece, Prepared};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres;

/// Most portals of one connection.
const PORTALS_MAX: usize = 256;

/// A statement as its client sent it.
#[derive(Debug, Default)]
pub struct Sent {
    /// Numbers of the parameters' types.
    oids: Vec<u32>,
    sql: String,
    /// Where the statement begins in it.
    offset: usize,
}

/// A statement with values, before, while and after it runs.
pub struct Portal {
    prepared: Arc<Prepared>,
    /// As it was sent; none for a statement of PREPARE.
    sent: Option<Arc<Sent>>,
    values: Vec<Option<String>>,
    formats: Formats,
    state: State,
}

enum State {
    New,
    Running(Box<Running>),
    Ended,
}

impl Connection {
    /// Parse: a statement under a name.
    pub(super) async fn parse(&mut self, name: String, sql: String, types: Vec<u32>) -> Result<(), Stop> {
        let failed = |error: Error| Stop::Failed(error, sql.clone());
        let mut pieces = self.session.split(&sql).map_err(failed)?;
        if pieces.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(failed(Error::input(Subject::Syntax, message)));
        }
        let piece = pieces.pop().unwrap_or(Piece { text: String::new(), offset: 0 });
        let given: Vec<Option<String>> = types
            .iter()
            .map(|oid| if *oid == 0 { None } else { postgres::sql_of_oid(*oid).or(Some("TEXT".to_owned())) })
            .collect();
        let token = self.begin(&sql);
        let session = self.session.clone();
        let prepared = tokio::select! {
            biased;
            () = token.cancelled() => Err(super::run::cancelled()),
            error = self.wire.gone() => return Err(Stop::Gone(error)),
            prepared = session.prepare(&piece, &given) => prepared,
        };
        self.activity.end_statement();
        let prepared = prepared.map_err(|error| failed(error.shifted(piece.offset)))?;
        let named = prepared.parameters();
        let oid = |(n, name): (usize, &String)| match types.get(n) {
            Some(oid) if *oid != 0 => *oid,
            _ => postgres::oid_of_sql(name),
        };
        let oids = named.iter().enumerate().map(oid).collect();
        if name.is_empty() {
            self.session.forget_prepared("");
        }
        self.session.keep_prepared(&name, Arc::new(prepared))?;
        self.sent.insert(name, Arc::new(Sent { oids, sql, offset: piece.offset }));
        self.wire.put(Answer::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    /// The numbers of the types of a statement's parameters.
    fn oids(&self, name: &str, prepared: &Prepared) -> Vec<u32> {
        let named = prepared.parameters();
        match self.sent.get(name) {
            Some(sent) if sent.oids.len() == named.len() => sent.oids.clone(),
            _ => named.iter().map(|name| postgres::oid_of_sql(name)).collect(),
        }
    }

    /// Bind: a portal of a statement and values.
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let prepared = self.session.prepared(&bind.statement)?;
        let values = self.values(&bind, &prepared)?;
        let columns = prepared.columns().map_or(0, |columns| columns.fields().len());
        let formats = Formats::new(&bind.result_formats, columns)?;
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Error::new(ErrorKind::Exists, Subject::Cursor, message).into());
        }
        if self.portals.len() >= PORTALS_MAX {
            let message = format!("connection has {PORTALS_MAX} portals, which is the limit");
            return Err(Error::new(ErrorKind::Unavailable, Subject::Prepared, message).into());
        }
        let sent = self.sent.get(&bind.statement).cloned();
        let portal = Portal { prepared, sent, values, formats, state: State::New };
        self.portals.insert(bind.portal, portal);
        self.wire.put(Answer::BindComplete(BindComplete::new()));
        Ok(())
    }

    fn values(&self, bind: &Bind, prepared: &Prepared) -> Result<Vec<Option<String>>> {
        let oids = self.oids(&bind.statement, prepared);
        if bind.values.len() != oids.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.values.len(),
                bind.statement,
                oids.len()
            );
            return Err(Error::input(Subject::Parameter, message));
        }
        if bind.formats.len() > 1 && bind.formats.len() != oids.len() {
            let message = format!(
                "bind message has {} parameter formats but {} parameters",
                bind.formats.len(),
                oids.len()
            );
            return Err(Error::input(Subject::Parameter, message));
        }
        let code = |n: usize| match bind.formats.as_slice() {
            [] => 0,
            [code] => *code,
            codes => codes[n],
        };
        let value = |(n, (value, oid)): (usize, (&Option<Bytes>, &u32))| {
            let Some(value) = value else { return Ok(None) };
            decode::text(value.clone(), *oid, read_format(code(n))?)
                .map(Some)
                .map_err(|e| e.with_context(format!("parameter ${}", n + 1)))
        };
        bind.values.iter().zip(&oids).enumerate().map(value).collect()
    }

    /// Describe: the columns of a portal; the parameters and columns of a statement.
    pub(super) fn describe(&mut self, target: Target) -> Result<(), Stop> {
        let (columns, formats) = match target {
            Target::Statement(name) => {
                let prepared = self.session.prepared(&name)?;
                let oids = self.oids(&name, &prepared);
                self.wire.put(Answer::ParameterDescription(ParameterDescription::new(oids)));
                (prepared.columns(), Formats::default())
            }
            Target::Portal(name) => {
                match self.portals.get(&name) {
                    Some(portal) => (portal.prepared.columns(), portal.formats.clone()),
                    // A cursor of SQL is a portal, too.
                    None => (
                        Some(self.session.cursor_columns(&name).ok_or_else(|| missing(&name))?),
                        Formats::default(),
                    ),
                }
            }
        };
        self.wire.put(match columns {
            Some(columns) => description(&columns, &formats),
            None => Answer::NoData(NoData::new()),
        });
        Ok(())
    }

    /// Execute: the rows of a portal, `limit` of them or all for 0.
    pub(super) async fn execute(&mut self, name: String, limit: usize) -> Result<(), Stop> {
        let Some(mut portal) = self.portals.remove(&name) else { return Err(missing(&name).into()) };
        let (text, sent) = (portal.prepared.text().to_owned(), portal.sent.clone());
        let ran = self.run_portal(&mut portal, limit).await;
        if ran.is_ok() {
            self.portals.insert(name, portal);
        }
        self.activity.end_statement();
        ran.map_err(|stop| match stop {
            Stop::Failed(error, _) => match sent {
                Some(sent) => Stop::Failed(error.shifted(sent.offset), sent.sql.clone()),
                None => Stop::Failed(error, text),
            },
            gone => gone,
        })
    }

    async fn run_portal(&mut self, portal: &mut Portal, limit: usize) -> Result<(), Stop> {
        if portal.prepared.is_empty() {
            self.wire.put(Answer::EmptyQueryResponse(EmptyQueryResponse::new()));
            return Ok(());
        }
        let mut running = match std::mem::replace(&mut portal.state, State::Ended) {
            State::New => {
                let (session, prepared) = (self.session.clone(), Arc::clone(&portal.prepared));
                let values: Vec<Option<String>> = std::mem::take(&mut portal.values);
                let starting = async move { session.execute_prepared(&prepared, values).await };
                Box::new(self.start(portal.prepared.text(), starting).await?)
            }
            State::Running(mut running) => {
                running.token = self.begin(portal.prepared.text());
                running
            }
            State::Ended => return self.run_again(portal),
        };
        if let Some(copy) = running.query.take_copy() {
            self.copy(&mut running, copy).await?;
            self.note_change(&running);
            return Ok(());
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        if self.send_rows(&mut running, &portal.formats, limit).await? {
            self.wire.put(complete(running.query.tag()));
            self.note_change(&running);
        } else {
            self.session.suspend(&mut running.query)?;
            portal.state = State::Running(running);
            self.wire.put(Answer::PortalSuspended(PortalSuspended::new()));
        }
        Ok(())
    }

    /// A portal that has come to its end has no more rows; a command cannot run twice.
    fn run_again(&mut self, portal: &Portal) -> Result<(), Stop> {
        if portal.prepared.columns().is_none() {
            let message = "portal cannot be run twice";
            return Err(Error::new(ErrorKind::Unavailable, Subject::Statement, message).into());
        }
        self.wire.put(complete("SELECT 0".to_owned()));
        Ok(())
    }

    /// Close: forgets a statement or a portal, if there is one.
    pub(super) fn close(&mut self, target: Target) {
        match target {
            Target::Statement(name) => {
                self.session.forget_prepared(&name);
                self.sent.remove(&name);
            }
            Target::Portal(name) => {
                self.portals.remove(&name);
            }
        }
        self.wire.put(Answer::CloseComplete(CloseComplete::new()));
    }
}

fn missing(name: &str) -> Error {
    Error::not_found(Subject::Cursor, format!("portal \"{name}\" does not exist"))
}
