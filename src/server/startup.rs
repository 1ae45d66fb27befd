//! The beginning of a connection: encryption, protocol version, who it is, or a cancel request.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};
use tokio::net::TcpStream;

use super::auth;
use super::connection::Connection;
use super::errors::{Severity, error_response};
use super::listen::{Guest, Shared};
use super::message::Body;
use super::wire::{Stream, Wire};
use crate::engine::{Session, SessionActivity};
use crate::error::{Error, ErrorKind, Result, Subject};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

/// Time that a client has from its first byte to its login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Newest minor version of protocol 3 that is spoken: 3.2 has longer secrets for cancel requests.
const MINOR: u16 = 2;

/// What the start-up packet of a client asks for.
struct Startup {
    minor: u16,
    parameters: BTreeMap<String, String>,
}

/// Serves one socket from its first byte to its last.
pub async fn serve(socket: Stream, shared: Arc<Shared>, guest: &Guest) -> io::Result<()> {
    let login = login(socket, &shared, guest);
    let Ok(logged_in) = tokio::time::timeout(LOGIN_TIMEOUT, login).await else { return Ok(()) };
    let Some((connection, activity)) = logged_in? else { return Ok(()) };
    let served = connection.serve().await;
    shared.cancels.leave(activity.pid);
    shared.database.leave(&activity);
    served
}

/// Leads a client through its login; `None` for a client that has been served or refused.
async fn login(
    socket: Stream,
    shared: &Arc<Shared>,
    guest: &Guest,
) -> io::Result<Option<(Connection, Arc<SessionActivity>)>> {
    let Some((mut wire, startup)) = begin(socket, shared).await? else { return Ok(None) };
    match enter(&mut wire, startup, shared, guest).await {
        Ok((session, activity)) => {
            wire.logged_in();
            let connection = Connection::new(wire, session, Arc::clone(&activity), Arc::clone(shared));
            Ok(Some((connection, activity)))
        }
        Err(Refused::Gone(error)) => Err(error),
        Err(Refused::Error(error)) => {
            refuse(&mut wire, &error).await?;
            Ok(None)
        }
    }
}

async fn refuse(wire: &mut Wire, error: &Error) -> io::Result<()> {
    wire.put(error_response(error, "", Severity::Fatal));
    wire.flush().await
}

/// Why a client was not let in.
pub enum Refused {
    /// It has gone.
    Gone(io::Error),
    /// It is told why.
    Error(Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Answers requests for encryption and cancel requests, up to the start-up packet.
async fn begin(socket: Stream, shared: &Arc<Shared>) -> io::Result<Option<(Wire, Startup)>> {
    let mut wire = match direct_tls(socket, shared).await? {
        Some(stream) => Wire::new(stream),
        None => return Ok(None),
    };
    // At most one request for each kind of encryption, then the packet.
    for _ in 0..3 {
        let packet = match wire.startup_packet().await? {
            None => return Ok(None),
            Some(Ok(packet)) => packet,
            Some(Err(error)) => return refuse(&mut wire, &error).await.map(|()| None),
        };
        let mut body = Body::new(packet);
        let Ok(code) = body.i32() else { return Ok(None) };
        match code {
            SSL_REQUEST => match (wire.stream(), &shared.tls) {
                (Stream::Tcp(_), Some(_)) => match upgrade(wire, shared).await? {
                    Some(upgraded) => wire = upgraded,
                    None => return Ok(None),
                },
                _ => {
                    let Some(refused) = without_encryption(wire).await? else { return Ok(None) };
                    wire = refused;
                }
            },
            GSS_REQUEST => {
                let Some(refused) = without_encryption(wire).await? else { return Ok(None) };
                wire = refused;
            }
            CANCEL_REQUEST => {
                if let Ok(pid) = body.i32() {
                    shared.cancel(pid, &body.rest()).await;
                }
                return Ok(None);
            }
            version => {
                return match startup(version, body) {
                    Ok(startup) => Ok(Some((wire, startup))),
                    Err(error) => refuse(&mut wire, &error).await.map(|()| None),
                };
            }
        }
    }
    Ok(None)
}

/// A client that begins with TLS at once, without asking, must speak it.
async fn direct_tls(socket: Stream, shared: &Arc<Shared>) -> io::Result<Option<Stream>> {
    let Stream::Tcp(tcp) = socket else { return Ok(Some(socket)) };
    let mut first = [0; 1];
    if tcp.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    match (&shared.tls, first[0]) {
        (Some(tls), 0x16) => Ok(Some(Stream::Tls(Box::new(tls.accept(tcp, true).await?)))),
        (None, 0x16) => Ok(None),
        _ => Ok(Some(Stream::Tcp(tcp))),
    }
}

/// Says that there is no such encryption; the client goes on without it, or leaves.
async fn without_encryption(wire: Wire) -> io::Result<Option<Wire>> {
    let Some(mut wire) = ensure_nothing_more(wire).await? else { return Ok(None) };
    wire.send_byte(b'N').await?;
    Ok(Some(wire))
}

/// Refuses a client that went on before it was answered: what came before a handshake is not protected by it.
///
/// Source: CVE-2021-23214.
async fn ensure_nothing_more(mut wire: Wire) -> io::Result<Option<Wire>> {
    if !wire.has_more() {
        return Ok(Some(wire));
    }
    let message = "received unencrypted data after a request for encryption";
    refuse(&mut wire, &Error::input(Subject::Connection, message)).await.map(|()| None)
}

async fn upgrade(wire: Wire, shared: &Arc<Shared>) -> io::Result<Option<Wire>> {
    let Some(tls) = &shared.tls else { return Ok(None) };
    let Some(mut wire) = ensure_nothing_more(wire).await? else { return Ok(None) };
    wire.send_byte(b'S').await?;
    let Ok(Stream::Tcp(tcp)) = wire.into_stream() else { return Ok(None) };
    let tcp: TcpStream = tcp;
    Ok(Some(Wire::new(Stream::Tls(Box::new(tls.accept(tcp, false).await?)))))
}

fn startup(version: i32, mut body: Body) -> Result<Startup> {
    let (major, minor) = (version >> 16, (version & 0xffff) as u16);
    if major != 3 {
        let message =
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{MINOR}");
        return Err(Error::unsupported(message));
    }
    let mut parameters = BTreeMap::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            return Ok(Startup { minor, parameters });
        }
        parameters.insert(name, body.text()?);
    }
}

/// Checks who the client is and opens its session.
async fn enter(
    wire: &mut Wire,
    startup: Startup,
    shared: &Arc<Shared>,
    guest: &Guest,
) -> Result<(Session, Arc<SessionActivity>), Refused> {
    let Startup { minor, parameters } = startup;
    negotiate(wire, minor, &parameters);
    let user = parameters.get("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::input(Subject::Connection, "no PostgreSQL user name specified in startup packet")
    })?;
    ensure_encrypted(wire.stream())?;
    auth::check(wire, user, shared).await?;
    guest.admit()?;
    let database = parameters.get("database").unwrap_or(user);
    if *database != shared.database_name {
        let message = format!("database \"{database}\" does not exist");
        return Err(Error::not_found(Subject::Database, message)
            .with_hint(format!("the only database here is \"{}\"", shared.database_name))
            .into());
    }
    let activity = shared.database.enter(user, wire.stream().address());
    let opened = open_session(shared, &activity, &parameters);
    let opened = opened
        .and_then(|session| Ok((session, shared.cancels.enter(if minor >= 2 { 32 } else { 4 }, &activity)?)));
    let (session, secret) = opened.inspect_err(|_| shared.database.leave(&activity))?;
    wire.put(Answer::Authentication(Authentication::Ok));
    wire.put(Answer::BackendKeyData(BackendKeyData::new(activity.pid, SecretKey::Bytes(secret))));
    Ok((session, activity))
}

/// Refuses a client of another machine whose data would travel unencrypted.
fn ensure_encrypted(stream: &Stream) -> Result<()> {
    let Stream::Tcp(_) = stream else { return Ok(()) };
    match stream.address() {
        Some(address) if !address.ip().to_canonical().is_loopback() => {
            let message = format!("connections from {} need encryption", address.ip().to_canonical());
            Err(Error::new(ErrorKind::Denied, Subject::Login, message)
                .with_hint("connect with sslmode=require"))
        }
        _ => Ok(()),
    }
}

/// Tells a client that asks for more than there is what there is.
fn negotiate(wire: &mut Wire, minor: u16, parameters: &BTreeMap<String, String>) {
    let unknown: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > MINOR || !unknown.is_empty() {
        let newest = (3 << 16) | i32::from(minor.min(MINOR));
        wire.put(Answer::NegotiateProtocolVersion(NegotiateProtocolVersion::new(newest, unknown)));
    }
}

/// A session with the settings of the start-up packet.
fn open_session(
    shared: &Shared,
    activity: &Arc<SessionActivity>,
    parameters: &BTreeMap<String, String>,
) -> Result<Session> {
    let session = shared.database.session_of(activity, &shared.database_name, &shared.files)?;
    let mut variables = session.variables().write();
    variables.set_default("max_connections", shared.max_connections.to_string());
    variables.set_default("port", shared.port.to_string());
    variables.set_default("ssl", if shared.tls.is_some() { "on" } else { "off" });
    drop(variables);
    for (name, value) in parameters {
        match name.as_str() {
            "user" | "database" => {}
            "replication" => {
                return Err(Error::unsupported("replication connections are not supported"));
            }
            "options" => set_options(&session, value)?,
            name if name.starts_with("_pq_.") => {}
            name => session.set_default(name, value)?,
        }
    }
    Ok(session)
}

/// `-c name=value --other-name=value`, with backslashes before blanks.
fn set_options(session: &Session, options: &str) -> Result<()> {
    let mut words: Vec<String> = vec![String::new()];
    let mut escaped = false;
    for c in options.chars() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, c) if c.is_whitespace() => words.push(String::new()),
            (_, c) => {
                words.last_mut().expect("there is a word").push(c);
                escaped = false;
            }
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => setting.replace('-', "_"),
            None if word == "-c" => words.next().unwrap_or_default(),
            None => word.strip_prefix("-c").map(str::to_owned).ok_or_else(|| {
                Error::input(
                    Subject::Connection,
                    format!("invalid command-line argument for server process: {word}"),
                )
            })?,
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            Error::new(ErrorKind::Input, Subject::Option, format!("-c {setting} requires a value"))
        })?;
        session.set_default(name, value)?;
    }
    Ok(())
}

/// The bytes of a message of SASL or a password.
pub async fn password_message(wire: &mut Wire) -> Result<Bytes, Refused> {
    use super::message::Message;
    wire.flush().await?;
    match wire.message().await? {
        Some(Ok(Message::Password(bytes))) => Ok(bytes),
        Some(Ok(_)) => Err(Error::input(Subject::Connection, "expected password response").into()),
        Some(Err(error)) => Err(error.into()),
        None => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
    }
}
