//! The socket of one client: frames in, messages out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::message::{self, Message};
use crate::error::{Error, ErrorKind, Result, Subject};

/// Largest frame before a client has logged in.
pub const FRAME_BEFORE_LOGIN: usize = 64 << 10;

/// Largest frame after that.
pub const FRAME_AFTER_LOGIN: usize = 64 << 20;

/// Bytes of a client that are read ahead while its statement runs.
const READ_AHEAD: usize = 64 << 10;

/// How often a client that has sent more than that, or that does not read, is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Time after which a client that has taken nothing of what is sent is given up.
const STALL_MAX: Duration = Duration::from_secs(60);

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
        while !self.read_ready().await.is_ok_and(|ready| ready.is_read_closed()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// True when the other side has closed the socket.
    fn has_hung_up(&self) -> bool {
        self.read_ready().now_or_never().is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed()))
    }

    /// Ends when there is something to read, or no more will come.
    async fn read_ready(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(tcp) => tcp.ready(Interest::READABLE).await,
            Self::Tls(tls) => tls.get_ref().0.ready(Interest::READABLE).await,
            Self::Unix(unix) => unix.ready(Interest::READABLE).await,
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
    stall_max: Duration,
}

impl Wire {
    /// Over a fresh socket, before login.
    pub fn new(stream: Stream) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Self { stream, input, output, frame_max: FRAME_BEFORE_LOGIN, stall_max: STALL_MAX }
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

    /// Sends everything; may be dropped at any point and called again. Fails when the client has gone, or takes nothing for
    /// too long.
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut progress = Instant::now();
        while self.output.has_remaining() {
            let sent = timeout(LOOK_EVERY, self.stream.write_buf(&mut self.output)).await;
            match sent {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => progress = sent.map(|_| Instant::now())?,
                Err(_) => self.ensure_takes(progress)?,
            }
        }
        loop {
            let flushed = timeout(LOOK_EVERY, self.stream.flush()).await;
            match flushed {
                Ok(flushed) => break flushed?,
                Err(_) => self.ensure_takes(progress)?,
            }
        }
        if self.output.capacity() > 4 * SEND_FROM {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Fails when the client has gone, or has taken nothing for too long, since then.
    fn ensure_takes(&self, since: Instant) -> io::Result<()> {
        if self.stream.has_hung_up() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if since.elapsed() >= self.stall_max {
            return Err(io::ErrorKind::TimedOut.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire with more to send than the other side, which reads nothing, has room for.
    fn stalled(stall_max: Duration) -> (Wire, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire { stall_max, ..Wire::new(Stream::Unix(ours)) };
        wire.output().put_bytes(b'x', 8 << 20);
        (wire, theirs)
    }

    async fn flushed(mut wire: Wire) -> io::ErrorKind {
        let flushed = timeout(Duration::from_secs(20), wire.flush()).await;
        flushed.expect("the wait ends").unwrap_err().kind()
    }

    #[tokio::test]
    async fn client_that_takes_nothing_is_given_up() {
        let (wire, _theirs) = stalled(Duration::from_millis(300));
        let started = Instant::now();
        assert_eq!(flushed(wire).await, io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= Duration::from_millis(300));
    }

    #[tokio::test]
    async fn client_that_hangs_up_without_reading_is_noticed() {
        let (wire, theirs) = stalled(STALL_MAX);
        let waiting = tokio::spawn(flushed(wire));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let theirs = theirs.into_std().unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(waiting.await.unwrap(), io::ErrorKind::ConnectionReset);
        drop(theirs);
    }

    #[tokio::test]
    async fn client_that_reads_slowly_gets_everything() {
        let (mut wire, mut theirs) = stalled(Duration::from_millis(500));
        let reading = tokio::spawn(async move {
            let (mut bytes, mut all) = (vec![0; 1 << 20], 0);
            while all < 8 << 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                all += theirs.read(&mut bytes).await.unwrap();
            }
            all
        });
        wire.flush().await.unwrap();
        assert_eq!(reading.await.unwrap(), 8 << 20);
    }
}
