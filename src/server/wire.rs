//! The socket of one client: frames in, messages out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::message::{self, Message};
use crate::error::{Error, ErrorKind, Result, Subject};

/// Largest frame before a client has logged in.
pub const FRAME_BEFORE_LOGIN: usize = 64 << 10;

/// Largest frame after that.
pub const FRAME_AFTER_LOGIN: usize = 64 << 20;

/// Bytes of a client that are read ahead while its statement runs.
const READ_AHEAD: usize = 64 << 10;

/// How often a client that has sent more than that is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A buffer that has grown larger than this is given back once it is empty.
const KEPT_BUFFER: usize = 16 << 10;

/// Bytes of output after which it is sent.
pub const SEND_FROM: usize = 64 << 10;

/// The three kinds of sockets.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A socket in the file system.
    Unix(UnixStream),
}

impl Stream {
    /// Where the client is, when it came over a network.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().ok(),
            Self::Tls(tls) => tls.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Ends when the other side has closed the socket, however much of it was not read yet.
    async fn hung_up(&self) {
        loop {
            let readable = Interest::READABLE;
            let ready = match self {
                Self::Tcp(tcp) => tcp.ready(readable).await,
                Self::Tls(tls) => tls.get_ref().0.ready(readable).await,
                Self::Unix(unix) => unix.ready(readable).await,
            };
            if ready.is_ok_and(|ready| ready.is_read_closed()) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

macro_rules! each {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, poll_shutdown(cx))
    }
}

/// A socket with its buffers.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    frame_max: usize,
}

impl Wire {
    /// Over a fresh socket, before login.
    pub fn new(stream: Stream) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), frame_max: FRAME_BEFORE_LOGIN }
    }

    /// The client has logged in: its messages may be large.
    pub fn logged_in(&mut self) {
        self.frame_max = FRAME_AFTER_LOGIN;
    }

    /// The socket, for an upgrade to TLS; fails when bytes have come that TLS would not protect.
    pub fn into_stream(self) -> Result<Stream> {
        if !self.input.is_empty() {
            let message = "received unencrypted data after SSL request";
            return Err(Error::input(Subject::Connection, message)
                .with_detail("this could be an attempt at a man-in-the-middle attack"));
        }
        Ok(self.stream)
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// A start-up packet: its body; `None` when the client has gone.
    pub async fn startup_packet(&mut self) -> io::Result<Option<Result<Bytes>>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = (&self.input[..4]).get_i32();
        // The limit of PostgreSQL for start-up packets.
        if !(8..=10_000).contains(&length) {
            let message = "invalid length of startup packet";
            return Ok(Some(Err(Error::input(Subject::Connection, message))));
        }
        if !self.fill(length as usize).await? {
            return Ok(None);
        }
        let mut packet = self.input.split_to(length as usize);
        packet.advance(4);
        Ok(Some(Ok(packet.freeze())))
    }

    /// The next message; `None` when the client has gone.
    pub async fn message(&mut self) -> io::Result<Option<Result<Message>>> {
        if !self.fill(5).await? {
            return Ok(None);
        }
        let (kind, length) = (self.input[0], (&self.input[1..5]).get_i32());
        let Some(length) = usize::try_from(length).ok().filter(|n| (4..=self.frame_max).contains(n)) else {
            let message = format!("message of {length} bytes; the limit is {}", self.frame_max);
            let error = Error::new(ErrorKind::Denied, Subject::Connection, message);
            return Ok(Some(Err(error)));
        };
        if !self.fill(1 + length).await? {
            return Ok(None);
        }
        let mut frame = self.input.split_to(1 + length);
        frame.advance(5);
        self.give_back();
        Ok(Some(message::read(kind, frame.freeze())))
    }

    /// True when another message, or a part of one, has come already.
    pub fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// Reads until so many bytes are there; false at the end of the stream.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.input.len() < wanted {
            // Memory grows with what has come, not with what was announced.
            self.input.reserve((wanted - self.input.len()).clamp(512, SEND_FROM));
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives large buffers back when they are empty.
    fn give_back(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT_BUFFER {
            self.input = BytesMut::new();
        }
    }

    /// Ends when the client has gone; meanwhile what it sends ahead is kept for later.
    pub async fn gone(&mut self) -> io::Error {
        loop {
            if self.input.len() >= READ_AHEAD {
                self.stream.hung_up().await;
                return io::ErrorKind::ConnectionReset.into();
            }
            self.input.reserve(512);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return io::ErrorKind::ConnectionReset.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Adds a message to what will be sent.
    pub fn put(&mut self, message: PgWireBackendMessage) {
        let at = self.output.len();
        if message.encode(&mut self.output).is_err() {
            // Only messages beyond the protocol's limits: a text of an error that is too long, cut by its maker.
            self.output.truncate(at);
        }
    }

    /// The output, for rows that are written in place.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// True when enough has gathered to be sent.
    pub fn is_full(&self) -> bool {
        self.output.len() >= SEND_FROM
    }

    /// Sends everything; may be dropped at any point and called again.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.output.has_remaining() {
            let sent = self.stream.write_buf(&mut self.output).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.stream.flush().await?;
        if self.output.capacity() > 4 * SEND_FROM {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// An idle connection keeps no buffers.
    pub fn rest(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// One byte outside of any message: the answer to a request for encryption.
    pub async fn send_byte(&mut self, byte: u8) -> io::Result<()> {
        self.output.put_u8(byte);
        self.flush().await
    }
}
