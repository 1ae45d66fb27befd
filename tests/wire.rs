//! A client of the protocol for tests: one statement at a time, simple or extended, every answer as it came.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use foretell::server::binary_as_text;
use postgres_protocol::message::backend::{ErrorFields, Message, RowDescriptionBody};
use postgres_protocol::message::frontend;

use crate::Failure;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a statement gave.
#[derive(Default)]
pub struct Answer {
    /// Numbers of the types of the columns; `None` for statements without rows.
    pub columns: Option<Vec<u32>>,
    /// Rows as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that were changed.
    pub changed: u64,
}

/// A connection.
pub struct Client {
    socket: TcpStream,
    input: BytesMut,
    notices: Vec<String>,
}

fn broken(what: impl std::fmt::Display) -> Failure {
    foretell::Error::internal(format!("the connection broke: {what}")).into()
}

impl Client {
    /// Connects to a server of this machine as the first role.
    pub fn connect(port: u16, database: &str) -> Result<Self, Failure> {
        let socket = TcpStream::connect(("127.0.0.1", port)).map_err(broken)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        let mut client = Self { socket, input: BytesMut::new(), notices: vec![] };
        let mut out = BytesMut::new();
        frontend::startup_message([("user", "tester"), ("database", database)], &mut out).map_err(broken)?;
        client.socket.write_all(&out).map_err(broken)?;
        client.answer(false)?;
        Ok(client)
    }

    /// Runs one statement.
    pub fn run(&mut self, sql: &str, extended: bool) -> Result<Answer, Failure> {
        let mut out = BytesMut::new();
        let written =
            if extended { extended_messages(sql, &mut out) } else { frontend::query(sql, &mut out) };
        written.map_err(broken)?;
        self.notices.clear();
        self.socket.write_all(&out).map_err(broken)?;
        self.answer(extended)
    }

    /// The notices of the last statement.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Everything up to ReadyForQuery; the first error of it.
    fn answer(&mut self, binary: bool) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let mut failure = None;
        loop {
            match self.message()? {
                Message::RowDescription(body) => answer.columns = Some(types(&body)?),
                Message::DataRow(body) => {
                    let columns = answer.columns.as_deref().unwrap_or_default();
                    let mut row = vec![];
                    let mut ranges = body.ranges();
                    while let Some(range) = ranges.next().map_err(broken)? {
                        let value = range.map(|range| &body.buffer()[range]);
                        let oid = columns.get(row.len()).copied().unwrap_or(25);
                        row.push(value.map(|value| text(value, oid, binary)).transpose()?);
                    }
                    answer.rows.push(row);
                }
                Message::CommandComplete(body) => {
                    let tag = body.tag().map_err(broken)?;
                    answer.changed = tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                }
                Message::ErrorResponse(body) => {
                    failure.get_or_insert(failure_of(body.fields())?);
                }
                Message::NoticeResponse(body) => self.notices.push(failure_of(body.fields())?.message),
                Message::ReadyForQuery(_) => return failure.map_or(Ok(answer), Err),
                _ => {}
            }
        }
    }

    fn message(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = Message::parse(&mut self.input).map_err(broken)? {
                return Ok(message);
            }
            let mut buffer = [0; 16_384];
            match self.socket.read(&mut buffer).map_err(broken)? {
                0 => return Err(broken("end of the stream")),
                read => self.input.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

fn extended_messages(sql: &str, out: &mut BytesMut) -> std::io::Result<()> {
    frontend::parse("", sql, [], out)?;
    let nothing = |_: (), _: &mut BytesMut| Ok(postgres_protocol::IsNull::Yes);
    frontend::bind("", "", [], [], nothing, [1], out)
        .map_err(|_| std::io::Error::other("a statement without parameters can be bound"))?;
    frontend::describe(b'P', "", out)?;
    frontend::execute("", 0, out)?;
    frontend::sync(out);
    Ok(())
}

fn types(body: &RowDescriptionBody) -> Result<Vec<u32>, Failure> {
    body.fields().map(|field| Ok(field.type_oid())).collect().map_err(broken)
}

fn text(value: &[u8], oid: u32, binary: bool) -> Result<String, Failure> {
    match binary {
        true => binary_as_text(value, oid).map_err(Failure::from),
        false => String::from_utf8(value.to_vec()).map_err(broken),
    }
}

fn failure_of(mut fields: ErrorFields<'_>) -> Result<Failure, Failure> {
    let mut failure = Failure::default();
    while let Some(field) = fields.next().map_err(broken)? {
        let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'M' => failure.message = text,
            b'D' => failure.detail = Some(text),
            b'H' => failure.hint = Some(text),
            _ => {}
        }
    }
    Ok(failure)
}
