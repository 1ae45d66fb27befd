//! The trainings that run now, for `ml.progress`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::ml::{Control, Progress};

/// One training that runs now.
#[derive(Debug, Clone)]
pub struct RunningTraining {
    /// Its number in this process.
    pub job: u64,
    /// The model.
    pub model: String,
    /// Where it stands.
    pub progress: Progress,
    /// Seconds since it began.
    pub elapsed: f64,
}

impl RunningTraining {
    /// Seconds until the planned end, once some of the work is done.
    pub fn eta(&self) -> Option<f64> {
        let done = self.progress.fraction;
        (done > 0.01).then(|| self.elapsed / done * (1.0 - done))
    }
}

#[derive(Debug)]
struct Entry {
    model: String,
    control: Arc<Control>,
    started: Instant,
}

/// The list; entries leave it when their guard is dropped.
#[derive(Debug, Default)]
pub struct RunningTrainings {
    entries: Mutex<(u64, BTreeMap<u64, Entry>)>,
}

impl RunningTrainings {
    /// Enters a training until the guard is dropped.
    pub fn enter<'a>(&'a self, model: &str, control: &Arc<Control>) -> RunningGuard<'a> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.0 += 1;
        let job = entries.0;
        let entry = Entry { model: model.to_owned(), control: Arc::clone(control), started: Instant::now() };
        entries.1.insert(job, entry);
        RunningGuard { list: self, job }
    }

    /// All trainings, oldest first.
    pub fn list(&self) -> Vec<RunningTraining> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let running = entries.1.iter().map(|(job, e)| RunningTraining {
            job: *job,
            model: e.model.clone(),
            progress: e.control.progress(),
            elapsed: e.started.elapsed().as_secs_f64(),
        });
        running.collect()
    }
}

/// Takes its training off the list when dropped.
#[derive(Debug)]
pub struct RunningGuard<'a> {
    list: &'a RunningTrainings,
    job: u64,
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.list.entries.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.job);
    }
}
