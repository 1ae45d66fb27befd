//! The trainings of this process: those that run, for `ml.progress`, and how the last ones ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::engine::storage::Acl;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::ml::{Control, Progress};

/// Trainings that are remembered after their end.
const ENDED_MAX: usize = 100;

/// One training.
#[derive(Debug, Clone)]
pub struct Training {
    /// Its number in this process.
    pub job: u64,
    /// The session that began it.
    pub pid: i64,
    /// The model.
    pub model: String,
    /// Who may know of it.
    pub acl: Acl,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Seconds since it began, or that it took.
    pub seconds: f64,
    /// Where it stands, or stood at its end.
    pub progress: Progress,
    /// How it ended: the version that it published, or why it has none; `None` while it runs.
    pub outcome: Option<Result<Option<u64>>>,
}

impl Training {
    /// Seconds until the planned end, once some of the work is done.
    pub fn eta(&self) -> Option<f64> {
        let done = self.progress.fraction;
        (done > 0.01).then(|| self.seconds / done * (1.0 - done))
    }

    /// `running`, `done`, `cancelled` or `failed`.
    pub fn status(&self) -> &'static str {
        match &self.outcome {
            None => "running",
            Some(Ok(_)) => "done",
            Some(Err(error)) if error.kind() == ErrorKind::Cancelled => "cancelled",
            Some(Err(_)) => "failed",
        }
    }
}

#[derive(Debug)]
struct Entry {
    control: Arc<Control>,
    started: Instant,
    training: Training,
}

impl Entry {
    fn now(&self) -> Training {
        if self.training.outcome.is_some() {
            return self.training.clone();
        }
        let (progress, seconds) = (self.control.progress(), self.started.elapsed().as_secs_f64());
        Training { progress, seconds, ..self.training.clone() }
    }
}

/// The list.
#[derive(Debug, Default)]
pub struct Trainings {
    entries: Mutex<(u64, BTreeMap<u64, Entry>)>,
}

impl Trainings {
    /// Enters a training that begins.
    pub fn enter(
        self: &Arc<Self>,
        model: &str,
        pid: i64,
        control: &Arc<Control>,
        acl: Acl,
    ) -> RunningTraining {
        let mut entries = self.lock();
        entries.0 += 1;
        let job = entries.0;
        let training = Training {
            job,
            pid,
            model: model.to_owned(),
            acl,
            started_at: Utc::now(),
            seconds: 0.0,
            progress: Progress::default(),
            outcome: None,
        };
        let entry = Entry { control: Arc::clone(control), started: Instant::now(), training };
        entries.1.insert(job, entry);
        RunningTraining { list: Arc::clone(self), job, ended: false }
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Training> {
        self.lock().1.values().map(Entry::now).collect()
    }

    /// Asks a training to stop; `may` says whether whoever asks is allowed to.
    pub fn cancel(&self, job: u64, may: impl Fn(&Acl) -> bool) -> Result<()> {
        let entries = self.lock();
        let entry = entries.1.get(&job).filter(|entry| may(&entry.training.acl));
        match entry {
            Some(entry) if entry.training.outcome.is_none() => match entry.control.cancel() {
                true => Ok(()),
                false => Err(too_late(job)),
            },
            Some(_) => Err(Error::input(Subject::Model, format!("training {job} has ended"))),
            None => Err(Error::not_found(Subject::Model, format!("no training {job}"))
                .with_hint("SELECT * FROM ml.training_jobs lists them")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Entry>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, job: u64, outcome: Result<Option<u64>>) {
        let mut entries = self.lock();
        if let Some(entry) = entries.1.get_mut(&job) {
            entry.training = Training { outcome: Some(outcome), ..entry.now() };
        }
        let ended: Vec<u64> =
            entries.1.iter().filter(|(_, e)| e.training.outcome.is_some()).map(|(job, _)| *job).collect();
        for job in ended.iter().take(ended.len().saturating_sub(ENDED_MAX)) {
            entries.1.remove(job);
        }
    }
}

fn too_late(job: u64) -> Error {
    let message = format!("training {job} cannot be cancelled: it is storing its model");
    Error::new(ErrorKind::Unavailable, Subject::Model, message)
        .with_hint("SELECT * FROM ml.training_jobs tells its version once it has ended")
}

/// A training that runs; when it is dropped without an end, it was cancelled.
#[derive(Debug)]
pub struct RunningTraining {
    list: Arc<Trainings>,
    job: u64,
    ended: bool,
}

impl RunningTraining {
    /// Its number.
    pub fn job(&self) -> u64 {
        self.job
    }

    /// Tells how it ended.
    pub fn end(mut self, outcome: Result<Option<u64>>) {
        self.ended = true;
        self.list.end(self.job, outcome);
    }
}

impl Drop for RunningTraining {
    fn drop(&mut self) {
        if !self.ended {
            self.list.end(self.job, Err(Error::cancelled("the training was cancelled")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_trainings_are_told_for_a_while() {
        let list = Arc::new(Trainings::default());
        let control = Arc::new(Control::default());
        let enter = || list.enter("m", 1, &control, Acl::default());
        let first = enter();
        enter().end(Ok(Some(7)));
        drop(enter());
        enter().end(Err(Error::data("too short")));
        let all = list.list();
        let told: Vec<_> = all.iter().map(|t| (t.job, t.status())).collect();
        assert_eq!(told, [(1, "running"), (2, "done"), (3, "cancelled"), (4, "failed")]);
        assert_eq!(list.cancel(2, |_| true).unwrap_err().message(), "training 2 has ended");
        assert_eq!(list.cancel(1, |_| false).unwrap_err().message(), "no training 1");
        list.cancel(1, |_| true).unwrap();
        assert!(control.is_cancelled());
        let storing = Arc::new(Control::default());
        let last = list.enter("m", 1, &storing, Acl::default());
        storing.commit_begins().unwrap();
        let error = list.cancel(5, |_| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), "training 5 cannot be cancelled: it is storing its model");
        first.end(Ok(None));
        last.end(Ok(None));
        (0..ENDED_MAX).for_each(|_| enter().end(Ok(None)));
        assert_eq!(list.list().len(), ENDED_MAX);
    }
}
