//! Who a client is: the owner of a Unix socket, anyone on loopback with `--trust`, or who knows the password.

use std::io;

use bytes::Bytes;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::startup::Authentication;

use super::listen::Shared;
use super::message::Body;
use super::startup::{Refused, password_message};
use super::wire::{Stream, Wire};
use crate::engine::{Login, Verifier};
use crate::error::{Error, ErrorKind, Result, Subject};

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Lets the client in as `user`, or not.
pub async fn check(wire: &mut Wire, user: &str, shared: &Shared) -> Result<(), Refused> {
    let login = shared.database.login(user)?;
    if shared.trust && is_local(wire.stream()) {
        return admit_trusted(user, login.as_ref(), shared);
    }
    if is_owner(wire.stream(), user, shared)? {
        return Ok(());
    }
    let proven = scram(wire, user, login.as_ref(), shared).await?;
    match login {
        Some(login) if proven && login.allowed => Ok(()),
        // Who knows the password may know that it is of no use.
        Some(_) if proven => Err(not_permitted(user).into()),
        _ => Err(wrong(user).into()),
    }
}

/// Without passwords, roles still decide who may log in.
fn admit_trusted(user: &str, login: Option<&Login>, shared: &Shared) -> Result<(), Refused> {
    match login {
        Some(login) if !login.allowed => Err(not_permitted(user).into()),
        None if shared.database.owner()?.is_some() => {
            let message = format!("role \"{user}\" does not exist");
            Err(Error::new(ErrorKind::Denied, Subject::Login, message).into())
        }
        _ => Ok(()),
    }
}

fn is_local(stream: &Stream) -> bool {
    matches!(stream, Stream::Unix(_)) || stream.address().is_some_and(|address| address.ip().is_loopback())
}

/// True for a process of the server's own user on a Unix socket that asks for the owner's role.
fn is_owner(stream: &Stream, user: &str, shared: &Shared) -> Result<bool> {
    let Stream::Unix(socket) = stream else { return Ok(false) };
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    let same_user = socket.peer_cred().is_ok_and(|peer| peer.uid() == own);
    Ok(same_user && shared.database.owner()?.as_deref() == Some(user))
}

fn not_permitted(user: &str) -> Error {
    let message = format!("role \"{user}\" is not permitted to log in");
    Error::new(ErrorKind::Denied, Subject::Login, message)
}

fn wrong(user: &str) -> Error {
    let message = format!("password authentication failed for user \"{user}\"");
    Error::new(ErrorKind::Denied, Subject::Role, message)
}

/// The exchange of SCRAM; unknown users go through all of it as known ones do.
async fn scram(wire: &mut Wire, user: &str, login: Option<&Login>, shared: &Shared) -> Result<bool, Refused> {
    let encrypted = matches!(wire.stream(), Stream::Tls(_));
    let mut server = ScramServerAuth::new();
    if let Some(tls) = shared.tls.as_ref().filter(|_| encrypted) {
        server.configure_certificate(&tls.certificates).map_err(|e| broken(&e))?;
    }
    let plus = server.supports_channel_binding();
    let offered = if plus { vec![SCRAM_PLUS, SCRAM] } else { vec![SCRAM] };
    let mechanisms = offered.iter().map(|name| (*name).to_owned()).collect();
    wire.put(Answer::Authentication(Authentication::SASL(mechanisms)));
    let first = initial(password_message(wire).await?, &offered)?;
    let known = login.and_then(|login| login.verifier.clone());
    let exists = known.is_some();
    let verifier = known.unwrap_or_else(|| Verifier::of_nobody(user, &shared.secret));
    server.set_iterations(verifier.iterations as usize);
    let secret = ScramSecret::Verifier {
        salt: verifier.salt,
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key,
        server_key: verifier.server_key,
    };
    let (challenge, waiting) =
        server.on_client_first_message_with_secret(&first, secret).map_err(|e| broken(&e))?;
    wire.put(Answer::Authentication(Authentication::SASLContinue(Bytes::from(challenge.into_bytes()))));
    let last = password_message(wire).await?;
    match waiting.on_client_final_message(&last) {
        Ok(proof) if exists => {
            wire.put(Answer::Authentication(Authentication::SASLFinal(Bytes::from(proof.into_bytes()))));
            Ok(true)
        }
        Ok(_) | Err(PgWireError::InvalidPassword(_)) => Ok(false),
        Err(error) => Err(broken(&error).into()),
    }
}

/// The client's first message behind the name of the mechanism that it chose.
fn initial(message: Bytes, offered: &[&str]) -> Result<Bytes> {
    let mut body = Body::new(message);
    let mechanism = body.text()?;
    if !offered.contains(&mechanism.as_str()) {
        let message = format!("client selected an invalid SASL authentication mechanism: {mechanism}");
        return Err(Error::input(Subject::Connection, message));
    }
    let length = usize::try_from(body.i32()?)
        .map_err(|_| Error::input(Subject::Connection, "SASL initial response is missing"))?;
    body.bytes(length)
}

fn broken(error: &PgWireError) -> Error {
    Error::input(Subject::Connection, format!("malformed SCRAM message: {error}"))
}

/// An error of a socket while a client logs in.
impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone(error) => error,
            Refused::Error(error) => Self::other(error),
        }
    }
}
