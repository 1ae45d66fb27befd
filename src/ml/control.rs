//! What a long computation listens to and reports through: cancel, deadline, progress.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Where a long computation stands; read from other threads while it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// What is being done: `read`, `prepare`, `fit`, `calibrate`, `evaluate`, `save`.
    pub phase: &'static str,
    /// Trial of a search that runs, counted from 1, and trials planned; 0 without a search.
    pub trial: usize,
    /// See [`Progress::trial`].
    pub trials: usize,
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

/// It runs, and stops when it is asked to.
const RUNNING: u8 = 0;
/// It was asked to stop.
const CANCELLED: u8 = 1;
/// Its commit has begun: nothing stops it.
const COMMITTING: u8 = 2;

/// Shared handle between who runs a computation and who watches or stops it.
#[derive(Debug, Default)]
pub struct Control {
    /// `RUNNING`, `CANCELLED` or `COMMITTING`; only the first is ever left.
    stage: AtomicU8,
    deadline: Mutex<Option<Instant>>,
    lock_timeout: Option<Duration>,
    progress: Mutex<Progress>,
    /// The work that this is a part of, and how large a share of it.
    whole: Option<(Arc<Control>, f64)>,
}

impl Control {
    /// The control of a part of some work: stopped with it, its progress a share of that of the whole.
    pub fn part(whole: &Arc<Self>, share: f64) -> Self {
        Self { whole: Some((Arc::clone(whole), share)), ..Self::default() }
    }

    /// Asks the computation to stop at its next check; false where its commit has begun, so that it comes to its end.
    pub fn cancel(&self) -> bool {
        self.leave_running(CANCELLED) == CANCELLED
    }

    /// Says that what is done now cannot be taken back: cancels and the deadline are ignored from here on. Fails where
    /// one of them came first.
    pub fn commit_begins(&self) -> Result<()> {
        self.check()?;
        if self.leave_running(COMMITTING) == CANCELLED {
            return self.check();
        }
        self.whole.as_ref().map_or(Ok(()), |(whole, _)| whole.commit_begins())
    }

    /// Enters a stage, unless another one was entered; tells which one it is at.
    fn leave_running(&self, stage: u8) -> u8 {
        let entered = self.stage.compare_exchange(RUNNING, stage, Ordering::AcqRel, Ordering::Acquire);
        entered.map_or_else(|other| other, |_| stage)
    }

    /// When it is to stop by itself.
    pub fn deadline(&self) -> Option<Instant> {
        *lock(&self.deadline)
    }

    /// Stops the computation at this instant.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        *lock(&self.deadline) = deadline;
    }

    /// The control of a computation that waits this long, at most, for locks that others hold.
    pub fn with_lock_timeout(self, lock_timeout: Option<Duration>) -> Self {
        Self { lock_timeout, ..self }
    }

    /// How long it waits for a lock; `None` for as long as it takes, as once its commit has begun.
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.lock_timeout.filter(|_| self.stage.load(Ordering::Acquire) != COMMITTING)
    }

    /// True once the computation must stop.
    pub fn is_cancelled(&self) -> bool {
        self.check().is_err()
    }

    /// Fails once the computation must stop; call it at least every 50 ms of work.
    pub fn check(&self) -> Result<()> {
        match self.stage.load(Ordering::Acquire) {
            COMMITTING => return Ok(()),
            CANCELLED => return Err(Error::cancelled("canceling statement due to user request")),
            _ => {}
        }
        if lock(&self.deadline).is_some_and(|d| Instant::now() >= d) {
            return Err(Error::cancelled("canceling statement due to statement timeout"));
        }
        self.whole.as_ref().map_or(Ok(()), |(whole, _)| whole.check())
    }

    /// Changes the progress in place.
    pub fn report(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = lock(&self.progress);
        let before = progress.fraction;
        change(&mut progress);
        if let Some((whole, share)) = &self.whole {
            let part = progress.clone();
            drop(progress);
            whole.take(share * (part.fraction - before), part);
        }
    }

    /// Takes over where a part stands, which brought the work this much further.
    fn take(&self, gain: f64, part: Progress) {
        let mut progress = lock(&self.progress);
        let searches = if part.trials > 0 { &part } else { &*progress };
        let (trial, trials) = (searches.trial, searches.trials);
        *progress = Progress { fraction: progress.fraction + gain, trial, trials, ..part.clone() };
        drop(progress);
        if let Some((whole, share)) = &self.whole {
            whole.take(share * gain, part);
        }
    }

    /// Where the computation stands now.
    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stop_with_the_whole_and_add_up_to_its_progress() {
        let whole = Arc::new(Control::default());
        let parts = [Control::part(&whole, 0.25), Control::part(&whole, 0.75)];
        parts[0].report(|p| p.fraction = 0.5);
        parts[1].report(|p| (p.phase, p.fraction) = ("fit", 1.0));
        parts[0].report(|p| p.fraction = 1.0);
        assert_eq!((whole.progress().fraction, parts[0].is_cancelled()), (1.0, false));
        whole.cancel();
        assert!(parts.iter().all(Control::is_cancelled));
    }

    #[test]
    fn what_comes_first_counts_of_a_cancel_and_a_commit() {
        let control = Control::default();
        control.commit_begins().unwrap();
        control.set_deadline(Some(Instant::now()));
        assert!(!control.cancel());
        control.check().unwrap();
        // A commit that is tried again is the same one.
        control.commit_begins().unwrap();

        let control = Control::default();
        assert!(control.cancel() && control.cancel());
        let error = control.commit_begins().unwrap_err();
        assert_eq!(error.message(), "canceling statement due to user request");

        let control = Control::default();
        control.set_deadline(Some(Instant::now()));
        let error = control.commit_begins().unwrap_err();
        assert_eq!(error.message(), "canceling statement due to statement timeout");
        assert!(control.cancel());
    }
}
