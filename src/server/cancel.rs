//! Cancel requests: every connection has a number and a secret; a request with both stops its running statement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// The statement of one connection that can be stopped.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Option<CancellationToken>>);

impl Slot {
    /// A statement begins; the token tells that it is to stop.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        token
    }

    /// The statement has ended: a request that comes now stops nothing.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Stops the running statement.
    pub fn cancel(&self) {
        if let Some(token) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            token.cancel();
        }
    }
}

/// The connections of a server, by number.
#[derive(Debug)]
pub struct Cancels {
    next: AtomicI32,
    slots: Mutex<HashMap<i32, (Bytes, Arc<Slot>)>>,
}

impl Default for Cancels {
    fn default() -> Self {
        Self { next: AtomicI32::new(1_000), slots: Mutex::default() }
    }
}

impl Cancels {
    /// Enters a connection: its number, and its secret of `length` random bytes.
    pub fn enter(&self, length: usize, slot: &Arc<Slot>) -> Result<(i32, Bytes)> {
        let mut secret = vec![0; length];
        getrandom::fill(&mut secret).map_err(|e| Error::internal(format!("no random numbers: {e}")))?;
        let (pid, secret) = (self.next.fetch_add(1, Ordering::Relaxed), Bytes::from(secret));
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.insert(pid, (secret.clone(), Arc::clone(slot)));
        Ok((pid, secret))
    }

    /// The connection has ended.
    pub fn leave(&self, pid: i32) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    /// Stops what a connection runs, when the secret is right.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((expected, slot)) = slots.get(&pid)
            && same(expected, secret)
        {
            slot.cancel();
        }
    }

    /// Stops everything.
    pub fn cancel_all(&self) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().for_each(|(_, slot)| slot.cancel());
    }
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}
