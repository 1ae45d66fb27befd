//! The sessions of a server as others see them: who they are, what they run, and how they are stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

/// The number of the first session.
const FIRST_PID: i32 = 1_000;

/// The sessions of a server, by number.
#[derive(Debug)]
pub struct Activity {
    next: AtomicI32,
    sessions: Mutex<BTreeMap<i32, Arc<SessionActivity>>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { next: AtomicI32::new(FIRST_PID), sessions: Mutex::default() }
    }
}

impl Activity {
    /// Enters the session of a client that is let in.
    pub fn enter(&self, role: &str, address: Option<SocketAddr>) -> Arc<SessionActivity> {
        let pid = self.next.fetch_add(1, Ordering::Relaxed);
        let now =
            Now { query: String::new(), changed_at: Utc::now(), application: String::new(), running: None };
        let session = Arc::new(SessionActivity {
            pid,
            role: role.to_owned(),
            address,
            started_at: Utc::now(),
            end: CancellationToken::new(),
            now: Mutex::new(now),
        });
        self.lock().insert(pid, Arc::clone(&session));
        session
    }

    /// The session has ended.
    pub fn leave(&self, pid: i32) {
        self.lock().remove(&pid);
    }

    /// The session of this number.
    pub fn get(&self, pid: i32) -> Option<Arc<SessionActivity>> {
        self.lock().get(&pid).map(Arc::clone)
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Arc<SessionActivity>> {
        self.lock().values().map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<SessionActivity>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session.
#[derive(Debug)]
pub struct SessionActivity {
    /// Its number.
    pub pid: i32,
    /// The role that logged in.
    pub role: String,
    /// Where its client is; none on a Unix socket.
    pub address: Option<SocketAddr>,
    /// When the client logged in.
    pub started_at: DateTime<Utc>,
    /// Tells that the session is to end.
    pub end: CancellationToken,
    now: Mutex<Now>,
}

/// What a session does.
#[derive(Debug, Clone)]
pub struct Now {
    /// The statement that runs, or ran last.
    pub query: String,
    /// When it began, or ended.
    pub changed_at: DateTime<Utc>,
    /// What the client calls itself.
    pub application: String,
    /// Stops the statement that runs.
    pub running: Option<CancellationToken>,
}

impl SessionActivity {
    /// A statement begins; the token tells that it is to stop.
    pub fn begin(&self, query: &str, application: String) -> CancellationToken {
        let token = CancellationToken::new();
        let running = Some(token.clone());
        *self.lock() = Now { query: query.to_owned(), changed_at: Utc::now(), application, running };
        token
    }

    /// The statement has ended: a request that comes now stops nothing.
    pub fn end_statement(&self) {
        let mut now = self.lock();
        now.running = None;
        now.changed_at = Utc::now();
    }

    /// Stops the statement that runs.
    pub fn cancel(&self) {
        if let Some(token) = &self.lock().running {
            token.cancel();
        }
    }

    /// Ends the session.
    pub fn terminate(&self) {
        self.end.cancel();
        self.cancel();
    }

    /// What it does.
    pub fn now(&self) -> Now {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_has_ended_is_not_stopped() {
        let activity = Activity::default();
        let session = activity.enter("ann", None);
        let first = session.begin("SELECT 1", "psql".to_owned());
        session.end_statement();
        session.cancel();
        assert!(!first.is_cancelled());
        let second = session.begin("SELECT 2", String::new());
        activity.get(session.pid).unwrap().cancel();
        assert!(second.is_cancelled() && session.now().query == "SELECT 2");
        activity.leave(session.pid);
        assert!(activity.get(session.pid).is_none());
    }
}
