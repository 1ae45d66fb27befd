//! Where work runs: the queries' runtime, the planning stack, and threads for models.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::ml::Control;

/// Stack of every thread that plans: nested expressions recurse. It takes memory only as far as it is used.
const STACK_BYTES: usize = 64 << 20;

/// Stack that is left, at least, where DataFusion recurses with care: what it calls there, such as the names of columns,
/// recurses without.
const STACK_BYTES_LEFT: usize = 32 << 20;

/// Threads beyond one per core: an operator that never yields must not keep the next statement waiting.
const SPARE_THREADS: usize = 4;

/// Series that are forecast where their rows are read.
const FEW_SERIES: usize = 4;

/// The threads of one database.
#[derive(Debug)]
pub struct Runtimes {
    queries: Option<Runtime>,
    /// Looks at the clock, which threads that compute may not do for seconds.
    clock: Option<Runtime>,
    trainers: Arc<Semaphore>,
    forecasters: Arc<Semaphore>,
}

impl Runtimes {
    /// A runtime of `threads` threads for queries, one trainer, and as many forecasters as threads.
    pub fn new(threads: usize) -> Result<Self> {
        recursive::set_minimum_stack_size(STACK_BYTES_LEFT);
        recursive::set_stack_allocation_size(STACK_BYTES);
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, Subject::Database, format!("cannot start threads: {e}"))
        };
        let queries = Builder::new_multi_thread()
            .worker_threads(threads + SPARE_THREADS)
            .thread_name("foretell-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(failed)?;
        let clock =
            Builder::new_multi_thread().worker_threads(1).thread_name("foretell-clock").enable_time().build();
        Ok(Self {
            queries: Some(queries),
            clock: Some(clock.map_err(failed)?),
            trainers: Arc::new(Semaphore::new(1)),
            forecasters: Arc::new(Semaphore::new(threads.max(1))),
        })
    }

    /// The runtime that queries run on.
    pub fn handle(&self) -> &Handle {
        self.queries.as_ref().expect("the runtime lives until drop").handle()
    }

    /// The runtime that sleeps until deadlines.
    pub fn clock(&self) -> &Handle {
        self.clock.as_ref().expect("the runtime lives until drop").handle()
    }

    /// True while a fit runs, for whose end another one waits.
    pub fn is_training(&self) -> bool {
        self.trainers.available_permits() == 0
    }

    /// Runs a fit on a thread of its own, one at a time; dropping the future cancels it.
    pub async fn train<T: Send + 'static>(
        &self,
        control: &Arc<Control>,
        work: impl FnOnce(&Arc<Control>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        run(&self.trainers, control, work).await
    }

    /// Runs a prediction of so many series, of more than a few on a thread of its own; dropping the future cancels it.
    pub async fn predict<T: Send + 'static>(
        &self,
        series: usize,
        control: &Arc<Control>,
        work: impl FnOnce(&Arc<Control>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // To wake another thread, and to be woken by it, takes as long as a forecast.
        if series <= FEW_SERIES
            && let Ok(_slot) = self.forecasters.try_acquire()
        {
            control.check()?;
            return catch_unwind(AssertUnwindSafe(|| work(control))).unwrap_or_else(|_| Err(panicked()));
        }
        run(&self.forecasters, control, work).await
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        for runtime in [self.queries.take(), self.clock.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// How often work that waits for its turn looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Cancels the work unless it came to its end.
struct CancelOnDrop(Option<Arc<Control>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(control) = self.0.take() {
            control.cancel();
        }
    }
}

async fn run<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    control: &Arc<Control>,
    work: impl FnOnce(&Arc<Control>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let closed = || Error::internal("the compute threads are gone");
    let waiting = Arc::clone(slots).acquire_owned();
    tokio::pin!(waiting);
    let slot = loop {
        tokio::select! {
            slot = &mut waiting => break slot.map_err(|_| closed())?,
            // Work that waits can be cancelled, too.
            () = tokio::time::sleep(LOOK_EVERY) => control.check()?,
        }
    };
    control.check()?;
    let mut guard = CancelOnDrop(Some(Arc::clone(control)));
    let shared = Arc::clone(control);
    // The threads of the pool are used again: a new one takes longer than a small model.
    let outcome = tokio::task::spawn_blocking(move || {
        let outcome = work(&shared);
        drop(slot);
        outcome
    });
    let outcome = outcome.await.unwrap_or_else(|_| Err(panicked()));
    guard.0 = None;
    outcome
}

fn panicked() -> Error {
    Error::internal("a model's thread panicked")
}
