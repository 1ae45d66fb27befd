//! Messages of clients, read from frames whose length is known; every read is checked.
//!
//! Source: PostgreSQL 15 documentation, 55.7 Message Formats. pgwire's own readers trust the counts and strings of a
//! message and panic on a body that ends early, so they are not used for what clients send.

use bytes::{Buf, Bytes};

use crate::error::{Error, Result, Subject};

/// A message of the front end.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Simple query.
    Query(String),
    /// Prepare a statement.
    Parse { name: String, sql: String, types: Vec<u32> },
    /// Make a portal of a statement.
    Bind(Bind),
    /// Describe a statement or a portal.
    Describe(Target),
    /// Run a portal.
    Execute { portal: String, rows: usize },
    /// Forget a statement or a portal.
    Close(Target),
    /// End of a series of messages.
    Sync,
    /// Send what is ready.
    Flush,
    /// Data of COPY.
    CopyData(Bytes),
    /// End of the data.
    CopyDone,
    /// The client gives COPY up.
    CopyFail(String),
    /// Password or a message of SASL.
    Password(Bytes),
    /// Good-bye.
    Terminate,
}

/// The parts of Bind.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    /// Portal to make.
    pub portal: String,
    /// Statement it runs.
    pub statement: String,
    /// Formats of the values: none, one for all, or one each.
    pub formats: Vec<i16>,
    /// Values, `None` for NULL.
    pub values: Vec<Option<Bytes>>,
    /// Formats of the columns: none, one for all, or one each.
    pub result_formats: Vec<i16>,
}

/// A statement or a portal, by name.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

fn invalid(what: &str) -> Error {
    Error::input(Subject::Connection, format!("invalid message format: {what}"))
}

/// A reader of the body of one message.
pub struct Body(Bytes);

impl Body {
    /// Of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// A text that ends with a zero byte.
    pub fn text(&mut self) -> Result<String> {
        let end = memchr::memchr(0, &self.0).ok_or_else(|| invalid("a text without an end"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        let not_utf8 = |_| Error::input(Subject::Value, "invalid byte sequence for encoding \"UTF8\"");
        String::from_utf8(text.to_vec()).map_err(not_utf8)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        self.0.try_get_u8().map_err(|_| invalid("too short"))
    }

    /// A number of two bytes.
    pub fn i16(&mut self) -> Result<i16> {
        self.0.try_get_i16().map_err(|_| invalid("too short"))
    }

    /// A number of four bytes.
    pub fn i32(&mut self) -> Result<i32> {
        self.0.try_get_i32().map_err(|_| invalid("too short"))
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(invalid("insufficient data left in message"));
        }
        Ok(self.0.split_to(length))
    }

    /// Everything that is left.
    pub fn rest(self) -> Bytes {
        self.0
    }

    fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(invalid("more data than expected")) }
    }

    /// A count of two bytes, unsigned.
    fn count(&mut self) -> Result<usize> {
        Ok(usize::from(self.i16()? as u16))
    }

    fn formats(&mut self) -> Result<Vec<i16>> {
        (0..self.count()?).map(|_| self.i16()).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| invalid("a negative length"))?;
                self.bytes(length).map(Some)
            }
        }
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            _ => Err(invalid("neither a statement nor a portal")),
        }
    }
}

/// Reads the message of this kind.
pub fn read(kind: u8, body: Bytes) -> Result<Message> {
    let mut body = Body::new(body);
    let message = match kind {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, sql) = (body.text()?, body.text()?);
            let types =
                (0..body.count()?).map(|_| body.i32().map(|oid| oid as u32)).collect::<Result<_>>()?;
            Message::Parse { name, sql, types }
        }
        b'B' => {
            let (portal, statement, formats) = (body.text()?, body.text()?, body.formats()?);
            let values = (0..body.count()?).map(|_| body.value()).collect::<Result<_>>()?;
            let result_formats = body.formats()?;
            Message::Bind(Bind { portal, statement, formats, values, result_formats })
        }
        b'D' => Message::Describe(body.target()?),
        b'E' => {
            let portal = body.text()?;
            Message::Execute { portal, rows: usize::try_from(body.i32()?).unwrap_or(0) }
        }
        b'C' => Message::Close(body.target()?),
        b'S' => Message::Sync,
        b'H' => Message::Flush,
        b'd' => return Ok(Message::CopyData(body.rest())),
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(body.text()?),
        b'p' => return Ok(Message::Password(body.rest())),
        b'X' => Message::Terminate,
        b'F' => return Err(Error::unsupported("function calls of the protocol are not supported")),
        other => {
            let message = format!("invalid frontend message type {other}");
            return Err(Error::input(Subject::Connection, message));
        }
    };
    body.end()?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &[u8]) -> Bytes {
        Bytes::copy_from_slice(text)
    }

    #[test]
    fn messages_are_read() {
        assert_eq!(read(b'Q', bytes(b"SELECT 1\0")).unwrap(), Message::Query("SELECT 1".into()));
        let parse = read(b'P', bytes(b"s\0SELECT $1\0\0\x01\0\0\0\x17")).unwrap();
        assert_eq!(parse, Message::Parse { name: "s".into(), sql: "SELECT $1".into(), types: vec![23] });
        let bind = bytes(b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0");
        let Message::Bind(bind) = read(b'B', bind).unwrap() else { panic!("no Bind") };
        assert_eq!(bind.values, vec![Some(bytes(b"ab")), None]);
    }

    #[test]
    fn lying_messages_are_errors() {
        for (kind, body) in [
            (b'Q', &b"no end"[..]),
            (b'P', b"s\0x\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x80\0\0\0"),
            (b'D', b"Zx\0"),
            (b'S', b"x"),
            (b'!', b""),
        ] {
            assert!(read(kind, bytes(body)).is_err(), "{kind} {body:?}");
        }
        for length in 0..40 {
            for kind in 0..=255u8 {
                let _ = read(kind, bytes(&vec![length as u8; length]));
            }
        }
    }
}
