//! Runs every `tests/sql/**/*.slt`, `tests/real/*.slt` and `examples/**/*.sql`: one test a file, each on a database of
//! its own. Files of `tests/real` read the public data sets in `$FORETELL_DATA_DIR` (default `../shared/data`) as
//! `${DATA}`, and are ignored where there are none.
//!
//! Every `.slt` file of `tests/sql` runs three times: in this process, and against a server by the simple and by the
//! extended protocol; the answers must be the same. Those of `tests/real` run in this process only.
//!
//! Values of `.slt` files: as psql shows them, but floats and decimals with six significant digits, `NULL`, `(empty)`,
//! line breaks as `\n`.
//! Column letters: `I` integers, `R` floats and decimals, `T` everything else, `?` anything.
//! The statement `\reopen` closes the database with all its connections and opens the same directory again.
//! The query `\notices` gives the notices of the statement before it.
//! Errors are matched against the message, then `; detail: …` and `; hint: …` where there are any.
//! `FORETELL_UPDATE=1 cargo test --test sql` writes the results that came out into the files; read the diff.
//! Labels are `embedded`, `simple` and `extended`: `onlyif simple` and `skipif embedded` choose records.
//!
//! An example must run to its end; one under `examples/errors/` must end with the error that its comment
//! `-- ERROR: message` names.

mod wire;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::thread::JoinHandle;

use async_trait::async_trait;
use foretell::engine::{Database, Query, Session};
use foretell::server::{ServeOptions, Server, Stopper, rows_as_text, type_oid};
use foretell::{Error, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator};
use tempfile::TempDir;

fn main() -> ExitCode {
    // SAFETY: no other thread has started that could read the environment.
    unsafe { std::env::set_var(foretell::CANDLE_THREADS, "1") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = data_directory(root);
    if !data.is_dir() {
        eprintln!(
            "\n*** NO REAL DATA in {}: tests/real is IGNORED. Set FORETELL_DATA_DIR. ***",
            data.display()
        );
    }
    let tests = files(&root.join("tests/sql"), "slt").into_iter();
    let doors = |path: PathBuf| {
        Door::ALL.map(|door| trial(root, path.clone(), door.name(), move |p| run_slt(p, door)))
    };
    let mut trials: Vec<Trial> = tests.flat_map(doors).collect();
    let examples = files(&root.join("examples"), "sql").into_iter();
    trials.extend(examples.map(|path| trial(root, path, "", run_example)));
    let real = files(&root.join("tests/real"), "slt").into_iter();
    let embedded = |path: &Path| run_slt(path, Door::Embedded);
    trials.extend(real.map(|path| trial(root, path, "", embedded).with_ignored_flag(!data.is_dir())));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Where the public data sets are.
fn data_directory(root: &Path) -> PathBuf {
    std::env::var_os("FORETELL_DATA_DIR").map_or_else(|| root.join("../shared/data"), PathBuf::from)
}

/// Files below `folder` with this extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut all: Vec<PathBuf> =
        found.into_iter().filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    all.extend(folders.iter().flat_map(|folder| files(folder, extension)));
    all.sort();
    all
}

fn trial(
    root: &Path,
    path: PathBuf,
    label: &str,
    run: impl Fn(&Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
    Trial::test(format!("{name} {label}").trim_end(), move || run(&path))
}

/// How statements come to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Embedded,
    Simple,
    Extended,
}

impl Door {
    const ALL: [Self; 3] = [Self::Embedded, Self::Simple, Self::Extended];

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Simple => "simple",
            Self::Extended => "extended",
        }
    }
}

fn run_slt(path: &Path, door: Door) -> Result<(), Failed> {
    let shared = Shared::new(door)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut runner = Runner::new(|| {
            let connection = Connection::new(shared.connections.fetch_add(1, Ordering::Relaxed), &shared);
            async move { Ok(connection) }
        });
        runner.add_label(door.name());
        let data = data_directory(Path::new(env!("CARGO_MANIFEST_DIR")));
        runner.set_var("DATA".to_owned(), data.display().to_string());
        runner.with_column_validator(same_columns);
        if std::env::var_os("FORETELL_UPDATE").is_some_and(|text| !text.is_empty()) {
            let update =
                runner.update_test_file(path, " ", default_validator, default_normalizer, same_columns);
            return update.await.map_err(|error| Failed::from(error.to_string()));
        }
        runner.run_file_async(path).await.map_err(|error| Failed::from(error.to_string()))
    })
}

#[expect(clippy::ptr_arg, reason = "the runner asks for this signature")]
fn same_columns(actual: &Vec<DefaultColumnType>, expected: &Vec<DefaultColumnType>) -> bool {
    let matches = |(a, e): (&DefaultColumnType, &DefaultColumnType)| *e == DefaultColumnType::Any || a == e;
    actual.len() == expected.len() && actual.iter().zip(expected).all(matches)
}

/// One database, and its connections by number.
struct Shared {
    door: Door,
    directory: TempDir,
    connections: AtomicUsize,
    open: Mutex<Open>,
}

/// What is closed before the database is opened again.
#[derive(Default)]
struct Open {
    database: Option<Database>,
    sessions: HashMap<usize, Session>,
    clients: HashMap<usize, wire::Client>,
    server: Option<Running>,
}

/// A server in a thread of its own.
struct Running {
    port: u16,
    stopper: Stopper,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Open {
    fn new(directory: &Path, door: Door) -> Result<Self> {
        let database = Database::open(directory.join("database"))?;
        if door == Door::Embedded {
            return Ok(Self { database: Some(database), ..Self::default() });
        }
        let options = ServeOptions {
            port: 0,
            trust: true,
            allow_directories: vec![PathBuf::from("."), std::env::temp_dir()],
            ..ServeOptions::default()
        };
        let server = Server::start(database, &options)?;
        let port = server.address().map_err(|e| Error::internal(e.to_string()))?.port();
        let stopper = server.stopper();
        let thread = Some(std::thread::spawn(move || server.run()));
        Ok(Self { server: Some(Running { port, stopper, thread }), ..Self::default() })
    }
}

impl Shared {
    fn new(door: Door) -> Result<Arc<Self>, Failed> {
        let directory = TempDir::with_prefix("foretell-slt-")?;
        let open = Mutex::new(Open::new(directory.path(), door)?);
        Ok(Arc::new(Self { door, directory, connections: AtomicUsize::new(0), open }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, number: usize) -> Result<Session> {
        let Open { database, sessions, .. } = &mut *self.lock();
        let database = database.as_ref().ok_or_else(|| Error::internal("the database did not open again"))?;
        Ok(sessions.entry(number).or_insert_with(|| database.session()).clone())
    }

    /// The client of a connection, while it runs a statement.
    fn client(&self, number: usize) -> std::result::Result<wire::Client, Failure> {
        let mut open = self.lock();
        let port = open.server.as_ref().map_or(0, |server| server.port);
        match open.clients.remove(&number) {
            Some(client) => Ok(client),
            None => wire::Client::connect(port, "database"),
        }
    }

    fn reopen(&self) -> Result<()> {
        let mut open = self.lock();
        *open = Open::default();
        *open = Open::new(self.directory.path(), self.door)?;
        Ok(())
    }
}

struct Connection<'a> {
    number: usize,
    shared: &'a Shared,
    /// Of the last statement.
    notices: Vec<String>,
}

impl<'a> Connection<'a> {
    fn new(number: usize, shared: &'a Shared) -> Self {
        Self { number, shared, notices: vec![] }
    }
}

/// An error with everything that the user would read.
#[derive(Debug, Default)]
pub struct Failure {
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, "; detail: {detail}"))?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

impl std::error::Error for Failure {}

#[async_trait]
impl AsyncDB for Connection<'_> {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if sql.trim() == "\\reopen" {
            self.shared.reopen()?;
            return Ok(DBOutput::StatementComplete(0));
        }
        if sql.trim() == "\\notices" {
            let rows = self.notices.iter().map(|notice| vec![notice.clone()]).collect();
            return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows });
        }
        if self.shared.door == Door::Embedded {
            let mut query = self.shared.session(self.number)?.sql(sql).await?;
            let output = output(&mut query).await;
            self.notices = query.notices().iter().map(ToString::to_string).collect();
            return Ok(output?);
        }
        let mut client = self.shared.client(self.number)?;
        let answer = client.run(sql, self.shared.door == Door::Extended);
        self.notices = client.take_notices();
        self.shared.lock().clients.insert(self.number, client);
        answer.map(|answer| answer.output())
    }

    async fn shutdown(&mut self) {
        let mut open = self.shared.lock();
        open.sessions.remove(&self.number);
        open.clients.remove(&self.number);
    }

    fn engine_name(&self) -> &str {
        "foretell"
    }
}

async fn output(query: &mut Query) -> Result<DBOutput<DefaultColumnType>> {
    let schema = query.schema();
    let types: Vec<u32> = schema.fields().iter().map(|field| type_oid(field)).collect();
    let mut rows = Vec::new();
    while let Some(batch) = query.next().await? {
        rows.extend(rows_as_text(&schema, &batch)?);
    }
    let answer = wire::Answer {
        columns: query.returns_rows().then_some(types),
        rows,
        changed: query.changed().unwrap_or(0),
    };
    Ok(answer.output())
}

impl wire::Answer {
    fn output(self) -> DBOutput<DefaultColumnType> {
        let Some(columns) = self.columns else { return DBOutput::StatementComplete(self.changed) };
        let types: Vec<DefaultColumnType> = columns.iter().map(|oid| column_type(*oid)).collect();
        let shown =
            |row: Vec<Option<String>>| row.into_iter().zip(&types).map(|(v, t)| shown(v, t)).collect();
        let rows = self.rows.into_iter().map(shown).collect();
        DBOutput::Rows { types, rows }
    }
}

/// By the number of the type: int2, int4, int8, oid; float4, float8, numeric.
fn column_type(oid: u32) -> DefaultColumnType {
    match oid {
        20 | 21 | 23 | 26 => DefaultColumnType::Integer,
        700 | 701 | 1700 => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn shown(value: Option<String>, column: &DefaultColumnType) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) if *column == DefaultColumnType::FloatingPoint => text.parse().map_or(text, six_digits),
        Some(text) => text.replace('\n', "\\n"),
    }
}

/// The value rounded to six significant digits, as short as it can be written.
fn six_digits(value: f64) -> String {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    if rounded == 0.0 { "0".to_owned() } else { format!("{rounded}") }
}

fn run_example(path: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let database = Database::temporary()?;
    let ran = run_all(&database, &text);
    let expected = text.lines().find_map(|line| line.strip_prefix("-- ERROR: "));
    match (ran, expected) {
        (Ok(()), None) => Ok(()),
        (Ok(()), Some(expected)) => Err(format!("no error, expected: {expected}").into()),
        (Err(error), Some(expected)) if error.message().contains(expected) => Ok(()),
        (Err(error), _) => Err(Failure::from(error).to_string().into()),
    }
}

fn run_all(database: &Database, text: &str) -> Result<()> {
    let session = database.session();
    for statement in session.split(text)? {
        session.run(&statement.text)?;
    }
    Ok(())
}
