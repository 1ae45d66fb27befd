//! Passwords: only verifiers of SCRAM-SHA-256 are kept, in the form that PostgreSQL keeps them.
//!
//! Source: RFC 5802, RFC 7677; PostgreSQL 15, `pg_authid.rolpassword`.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result, Subject};

/// Rounds of hashing of new passwords; PostgreSQL's own are 4,096, and verifiers of any number stay valid.
pub const ITERATIONS: u32 = 10_000;

const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const PREFIX: &str = "SCRAM-SHA-256$";

/// What proves that a client knows a password, without being the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Salt of the password.
    pub salt: Vec<u8>,
    /// Rounds of hashing.
    pub iterations: u32,
    /// Hash of the client's key.
    pub stored_key: Vec<u8>,
    /// Key of the server's signature.
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

fn random(length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

impl Verifier {
    /// Of a password, with a fresh salt; a text that is a verifier already is taken as it is.
    pub fn of_password(password: &str) -> Result<Self> {
        if let Some(verifier) = Self::parse(password) {
            return Ok(verifier);
        }
        if password.is_empty() {
            return Err(Error::input(Subject::Role, "a password must have at least one character"));
        }
        let salt = random(SALT_BYTES)?;
        Ok(Self::derive(password, salt, ITERATIONS))
    }

    /// A verifier that no password fits, the same for the same name: the answer to clients that nobody knows.
    pub fn of_nobody(name: &str, secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let part = |label: &str| {
            let tag = hmac::sign(&key, format!("{label}\0{name}").as_bytes());
            tag.as_ref().to_vec()
        };
        let salt = part("salt")[..SALT_BYTES].to_vec();
        Self { salt, iterations: ITERATIONS, stored_key: part("stored"), server_key: part("server") }
    }

    fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let prepared = stringprep::saslprep(password).map_or(password.to_owned(), |p| p.into_owned());
        let mut salted = [0; KEY_BYTES];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec();
        let server_key = hmac::sign(&key, b"Server Key").as_ref().to_vec();
        Self { salt, iterations, stored_key, server_key }
    }

    /// From PostgreSQL's text: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix(PREFIX)?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let decode = |text: &str| STANDARD.decode(text).ok();
        let (stored_key, server_key) = (decode(stored)?, decode(server)?);
        let fits = stored_key.len() == KEY_BYTES && server_key.len() == KEY_BYTES;
        let iterations = iterations.parse().ok().filter(|n| *n > 0)?;
        fits.then_some(Self { salt: decode(salt)?, iterations, stored_key, server_key })
    }

    /// PostgreSQL's text.
    pub fn text(&self) -> String {
        let encode = |bytes: &[u8]| STANDARD.encode(bytes);
        let (salt, stored) = (encode(&self.salt), encode(&self.stored_key));
        format!("{PREFIX}{}:{salt}${stored}:{}", self.iterations, encode(&self.server_key))
    }
}

/// A password that nobody has chosen.
pub fn generated() -> Result<String> {
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random(18)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verifier that PostgreSQL 15 made of the password `secret`.
    #[test]
    fn verifiers_are_those_of_postgresql() {
        let kept = "SCRAM-SHA-256$4096:mR+MSaqJd88bJI8bKB+4+g==$sIxRfmN393v7KoUqirGAfhd1b2bCZrVqoQ1uDQQPVjM=:kLZ7hJ80JMwGvKFW7nuck8cQSBRhzsr+xzUYuyRkTw4=";
        let verifier = Verifier::parse(kept).unwrap();
        assert_eq!(verifier.text(), kept);
        assert_eq!(Verifier::derive("secret", verifier.salt.clone(), verifier.iterations), verifier);
        assert_ne!(Verifier::derive("Secret", verifier.salt.clone(), verifier.iterations), verifier);
    }

    #[test]
    fn new_verifiers_take_more_rounds_and_old_ones_stay_as_they_are() {
        let text = |password: &str| Verifier::of_password(password).unwrap().text();
        let made = text("secret");
        assert!(made.starts_with("SCRAM-SHA-256$10000:"), "{made}");
        let old = Verifier::derive("secret", vec![7; SALT_BYTES], 4_096).text();
        assert_eq!((text(&old), text(&made)), (old.clone(), made.clone()));
        assert_eq!(Verifier::of_nobody("a", b"key").iterations, ITERATIONS);
    }

    #[test]
    fn unknown_names_have_a_steady_salt() {
        let nobody = |name| Verifier::of_nobody(name, b"key");
        assert_eq!(nobody("a"), nobody("a"));
        assert_ne!(nobody("a").salt, nobody("b").salt);
    }
}
