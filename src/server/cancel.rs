//! Cancel requests: every connection has a number and a secret; a request with both stops its running statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::engine::SessionActivity;
use crate::error::{Error, Result};

/// The connections of a server, by number, with their secrets.
#[derive(Debug, Default)]
pub struct Cancels(Mutex<HashMap<i32, (Bytes, Arc<SessionActivity>)>>);

impl Cancels {
    /// Enters a connection: its secret of `length` random bytes.
    pub fn enter(&self, length: usize, session: &Arc<SessionActivity>) -> Result<Bytes> {
        let mut secret = vec![0; length];
        getrandom::fill(&mut secret).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
        let secret = Bytes::from(secret);
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(session.pid, (secret.clone(), Arc::clone(session)));
        Ok(secret)
    }

    /// The connection has ended.
    pub fn leave(&self, pid: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    /// Stops what a connection runs, when the secret is right; tells whether it was.
    pub fn cancel(&self, pid: i32, secret: &[u8]) -> bool {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.get(&pid) {
            Some((expected, session)) if same(expected, secret) => {
                session.cancel();
                true
            }
            _ => false,
        }
    }

    /// Stops everything.
    pub fn cancel_all(&self) {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().for_each(|(_, session)| session.cancel());
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
