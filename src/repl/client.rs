//! Runs statements for a door: rows go out as they come, with progress, Ctrl-C and errors beside them.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::{Piece, Query, Session};
use crate::error::{Error, ErrorKind, Result};

use super::diagnostic::{Source, render};
use super::output::{Expanded, Format, Output, ResultWriter, Screen};
use super::progress::TrainingBar;
use super::terminal::{self, Style};

/// How often a running TRAIN is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Rows of the last result that are kept to be plotted.
const KEPT_ROWS: usize = 200_000;

/// Why a text was not run to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// A statement failed; the error is on standard error already.
    Failed(ErrorKind),
    /// The reader of the output has gone.
    OutputClosed,
    /// The output cannot be written.
    Output(io::Error),
}

/// One session with what its user has switched on.
pub(super) struct Client {
    session: Session,
    runtime: Runtime,
    pub(super) format: Format,
    pub(super) expanded: Expanded,
    pub(super) timing: bool,
    interactive: bool,
    kept: Vec<RecordBatch>,
}

/// What a statement left behind.
enum Interruption {
    Statement(Error),
    Output(io::Error),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<io::Error> for Interruption {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Client {
    /// A client of this session; an interactive one pages and keeps its last result.
    pub(super) fn new(session: Session, format: Format, interactive: bool) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let expanded = Expanded::default();
        Ok(Self { session, runtime, format, expanded, timing: false, interactive, kept: Vec::new() })
    }

    /// The session it speaks for.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The last result, as far as it was kept.
    pub(super) fn last_result(&self) -> &[RecordBatch] {
        &self.kept
    }

    /// Runs every statement of `text` in order up to the first that fails.
    pub(super) fn run_text(&mut self, text: &str, file: Option<&str>) -> Result<(), Stop> {
        let statements = match self.session.split(text) {
            Ok(statements) => statements,
            Err(error) => return Err(report(&error, Source { file, text, statement: 0 })),
        };
        for statement in &statements {
            let mut out = self.output();
            let started = Instant::now();
            let ran = self.run_statement(statement, &mut out);
            let elapsed = started.elapsed();
            let closed = out.is_closed();
            let flushed = out.finish();
            match ran {
                Err(Interruption::Statement(error)) => {
                    let error = of_command(error, &statement.text);
                    return Err(report(&error, Source { file, text, statement: statement.offset }));
                }
                Err(Interruption::Output(_)) if closed => return Err(Stop::OutputClosed),
                Err(Interruption::Output(error)) => return Err(Stop::Output(error)),
                Ok(()) => flushed.map_err(output_stop)?,
            }
            if self.timing {
                println!("Time: {:.3} ms", elapsed.as_secs_f64() * 1000.0);
            }
        }
        Ok(())
    }

    /// Runs and shows a query of the shell's own: the result that was kept for plots stays.
    pub(super) fn run_aside(&mut self, sql: &str) -> Result<(), Stop> {
        let kept = std::mem::take(&mut self.kept);
        let ran = self.run_text(sql, None);
        self.kept = kept;
        ran
    }

    /// Runs one query and returns its rows without showing them.
    pub(super) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.runtime.block_on(async { self.session.sql(sql).await?.collect().await })
    }

    fn output(&self) -> Output {
        match terminal::height() {
            Some(height) if self.interactive => Output::paged(height),
            _ => Output::direct(),
        }
    }

    fn run_statement(&mut self, statement: &Piece, out: &mut Output) -> Result<(), Interruption> {
        let Self { session, runtime, kept, .. } = self;
        let keep = if self.interactive { KEPT_ROWS } else { 0 };
        let screen = Screen { width: terminal::width(), style: Style::of_stdout() };
        let (format, expanded) = (self.format, self.expanded);
        runtime.block_on(async {
            let mut interrupts = signal(SignalKind::interrupt())?;
            let mut query = tokio::select! {
                query = session.execute(statement) => query?,
                _ = interrupts.recv() => return Err(interrupted().into()),
            };
            let told = print_notices(&query, 0);
            let schema = query.schema();
            if !schema.fields().is_empty() {
                kept.clear();
            }
            let mut writer =
                (!schema.fields().is_empty()).then(|| ResultWriter::new(format, schema, screen, expanded));
            while let Some(batch) = next_batch(&mut query, &mut interrupts).await? {
                if let Some(writer) = &mut writer {
                    writer.write(&batch, out)?;
                }
                keep_batch(kept, batch, keep);
            }
            print_notices(&query, told);
            match writer {
                Some(writer) => writer.finish(out)?,
                None if format == Format::Table => writeln!(out, "{}", query.tag())?,
                None => {}
            }
            Ok(())
        })
    }
}

/// The next batch; meanwhile Ctrl-C cancels and a running TRAIN shows its progress.
async fn next_batch(query: &mut Query, interrupts: &mut Signal) -> Result<Option<RecordBatch>> {
    let (cancel, progress) = (query.cancel_handle(), query.progress());
    let mut bar = TrainingBar::new();
    let mut tick = interval(PROGRESS_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let next = query.next();
    tokio::pin!(next);
    loop {
        tokio::select! {
            biased;
            _ = interrupts.recv() => {
                cancel.cancel();
                bar.clear();
                terminal::end_line();
            }
            batch = &mut next => {
                bar.clear();
                return batch;
            }
            _ = tick.tick() => {
                if let Some(progress) = progress.get() {
                    bar.show(&progress);
                }
            }
        }
    }
}

fn keep_batch(kept: &mut Vec<RecordBatch>, batch: RecordBatch, limit: usize) {
    let rows: usize = kept.iter().map(RecordBatch::num_rows).sum();
    let room = limit.saturating_sub(rows);
    if room > 0 && batch.num_rows() > 0 {
        kept.push(batch.slice(0, batch.num_rows().min(room)));
    }
}

/// Prints the notices from the `told`-th on and returns how many there are.
fn print_notices(query: &Query, told: usize) -> usize {
    let notices = query.notices();
    let style = Style::of_stderr();
    for notice in notices.iter().skip(told) {
        eprintln!("{} {notice}", style.bold(if notice.warning { "WARNING:" } else { "NOTICE:" }));
    }
    notices.len()
}

/// Prints the error and says what it means for the text.
pub(super) fn report(error: &Error, source: Source<'_>) -> Stop {
    eprint!("{}", render(error, source, Style::of_stderr()));
    Stop::Failed(error.kind())
}

/// The error of a statement, with the way out where it is a command of the shell.
fn of_command(error: Error, statement: &str) -> Error {
    match statement.starts_with('\\') {
        true => error.with_hint("commands with a backslash belong to the prompt of the shell, not to files"),
        false => error,
    }
}

fn output_stop(error: io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe { Stop::OutputClosed } else { Stop::Output(error) }
}

fn interrupted() -> Error {
    Error::cancelled("canceling statement due to user request")
}
