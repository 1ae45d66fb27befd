//! What a long computation listens to and reports through: cancel, deadline, progress.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};

/// Where a long computation stands; read from other threads while it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What is being done: `read`, `prepare`, `fit`, `calibrate`, `evaluate`, `save`.
    pub phase: &'static str,
    /// Epochs finished and epochs planned (an upper bound: early stopping may end sooner).
    pub epoch: usize,
    /// See [`Progress::epoch`].
    pub epochs: usize,
    /// Share of the whole work that is done, 0 to 1.
    pub fraction: f64,
    /// Training loss of the last finished epoch.
    pub train_loss: Option<f64>,
    /// Validation loss of the last finished epoch.
    pub valid_loss: Option<f64>,
    /// Training windows processed a second.
    pub rows_per_second: Option<f64>,
}

/// Shared handle between who runs a computation and who watches or stops it.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    deadline: Mutex<Option<Instant>>,
    progress: Mutex<Progress>,
}

impl Control {
    /// Asks the computation to stop at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// When it is to stop by itself.
    pub fn deadline(&self) -> Option<Instant> {
        *lock(&self.deadline)
    }

    /// Stops the computation at this instant.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        *lock(&self.deadline) = deadline;
    }

    /// True once the computation must stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || lock(&self.deadline).is_some_and(|d| Instant::now() >= d)
    }

    /// Fails once the computation must stop; call it at least every 50 ms of work.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::cancelled("canceling statement due to user request"));
        }
        if lock(&self.deadline).is_some_and(|d| Instant::now() >= d) {
            return Err(Error::cancelled("canceling statement due to statement timeout"));
        }
        Ok(())
    }

    /// Changes the progress in place.
    pub fn report(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
    }

    /// Where the computation stands now.
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
