//! Runs every `tests/sql/**/*.slt`, `tests/real/*.slt` and `examples/**/*.sql`: one test a file, each on a database of
//! its own. Files of `tests/real` read the public data sets in `$FORETELL_DATA_DIR` (default `../shared/data`) as
//! `${DATA}`, and are ignored where there are none.
//!
//! Values of `.slt` files: floats and decimals with six significant digits, `NULL`, `(empty)`, line breaks as `\n`.
//! Column letters: `I` integers, `R` floats and decimals, `T` everything else, `?` anything.
//! The statement `\reopen` closes the database with all its connections and opens the same directory again.
//! The query `\notices` gives the notices of the statement before it.
//! Errors are matched against the message, then `; detail: …` and `; hint: …` where there are any.
//! `FORETELL_UPDATE=1 cargo test --test sql` writes the results that came out into the files; read the diff.
//! The label `embedded` is set: `onlyif embedded` and `skipif embedded` choose records.
//!
//! An example must run to its end; one under `examples/errors/` must end with the error that its comment
//! `-- ERROR: message` names.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use foretell::engine::{Database, Query, Session};
use foretell::{Error, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator};
use tempfile::TempDir;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = data_directory(root);
    if !data.is_dir() {
        eprintln!(
            "\n*** NO REAL DATA in {}: tests/real is IGNORED. Set FORETELL_DATA_DIR. ***",
            data.display()
        );
    }
    let tests = files(&root.join("tests/sql"), "slt").into_iter();
    let mut trials: Vec<Trial> = tests.map(|path| trial(root, path, run_slt)).collect();
    let examples = files(&root.join("examples"), "sql").into_iter();
    trials.extend(examples.map(|path| trial(root, path, run_example)));
    let real = files(&root.join("tests/real"), "slt").into_iter();
    trials.extend(real.map(|path| trial(root, path, run_slt).with_ignored_flag(!data.is_dir())));
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

fn trial(root: &Path, path: PathBuf, run: impl Fn(&Path) -> Result<(), Failed> + Send + 'static) -> Trial {
    let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
    Trial::test(name, move || run(&path))
}

fn run_slt(path: &Path) -> Result<(), Failed> {
    let shared = Shared::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut runner = Runner::new(|| {
            let connection = Connection::new(shared.connections.fetch_add(1, Ordering::Relaxed), &shared);
            async move { Ok(connection) }
        });
        runner.add_label("embedded");
        let data = data_directory(Path::new(env!("CARGO_MANIFEST_DIR")));
        runner.set_var("DATA".to_owned(), data.display().to_string());
        runner.with_column_validator(same_columns);
        if std::env::var_os("FORETELL_UPDATE").is_some() {
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
    directory: TempDir,
    connections: AtomicUsize,
    open: Mutex<Open>,
}

struct Open {
    database: Option<Database>,
    sessions: HashMap<usize, Session>,
}

impl Shared {
    fn new() -> Result<Arc<Self>, Failed> {
        let directory = TempDir::with_prefix("foretell-slt-")?;
        let database = Database::open(directory.path().join("database"))?;
        let open = Mutex::new(Open { database: Some(database), sessions: HashMap::new() });
        Ok(Arc::new(Self { directory, connections: AtomicUsize::new(0), open }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, number: usize) -> Result<Session> {
        let Open { database, sessions } = &mut *self.lock();
        let database = database.as_ref().ok_or_else(|| Error::internal("the database did not open again"))?;
        Ok(sessions.entry(number).or_insert_with(|| database.session()).clone())
    }

    fn reopen(&self) -> Result<()> {
        let mut open = self.lock();
        open.sessions.clear();
        open.database = None;
        open.database = Some(Database::open(self.directory.path().join("database"))?);
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
#[derive(Debug)]
struct Failure(Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())?;
        self.0.detail().map_or(Ok(()), |detail| write!(f, "; detail: {detail}"))?;
        self.0.hint().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

impl std::error::Error for Failure {}

#[async_trait]
impl AsyncDB for Connection<'_> {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if sql.trim() == "\\reopen" {
            return self.shared.reopen().map(|()| DBOutput::StatementComplete(0)).map_err(Failure);
        }
        if sql.trim() == "\\notices" {
            let rows = self.notices.iter().map(|notice| vec![notice.clone()]).collect();
            return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text], rows });
        }
        let session = self.shared.session(self.number).map_err(Failure)?;
        let mut query = session.sql(sql).await.map_err(Failure)?;
        let output = output(&mut query).await;
        self.notices = query.notices();
        output.map_err(Failure)
    }

    async fn shutdown(&mut self) {
        self.shared.lock().sessions.remove(&self.number);
    }

    fn engine_name(&self) -> &str {
        "foretell"
    }
}

async fn output(query: &mut Query) -> Result<DBOutput<DefaultColumnType>> {
    let schema = query.schema();
    let mut rows = Vec::new();
    while let Some(batch) = query.next().await? {
        rows.extend(values(&batch)?);
    }
    if schema.fields().is_empty() {
        return Ok(DBOutput::StatementComplete(query.changed().unwrap_or(0)));
    }
    let types = schema.fields().iter().map(|field| column_type(field.data_type())).collect();
    Ok(DBOutput::Rows { types, rows })
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Dictionary(_, values) => column_type(values),
        other if other.is_integer() => DefaultColumnType::Integer,
        other if other.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn values(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let unreadable = |error| Error::internal(format!("a value cannot be shown: {error}"));
    let columns: Vec<Vec<String>> =
        batch.columns().iter().map(|column| texts(column)).collect::<Result<_, _>>().map_err(unreadable)?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect())
}

fn texts(column: &dyn Array) -> Result<Vec<String>, arrow::error::ArrowError> {
    if column_type(column.data_type()) == DefaultColumnType::FloatingPoint {
        let doubles = cast(column, &DataType::Float64)?;
        let text = |value: Option<f64>| value.map_or_else(|| "NULL".to_owned(), six_digits);
        return Ok(doubles.as_primitive::<Float64Type>().iter().map(text).collect());
    }
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let text = |row| match formatter.value(row).to_string() {
        text if text.is_empty() => "(empty)".to_owned(),
        text => text.replace('\n', "\\n"),
    };
    Ok((0..column.len()).map(text).collect())
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
        (Err(error), _) => Err(format!("{}", Failure(error)).into()),
    }
}

fn run_all(database: &Database, text: &str) -> Result<()> {
    let session = database.session();
    for statement in session.split(text)? {
        session.run(&statement.text)?;
    }
    Ok(())
}
