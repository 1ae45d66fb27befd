//! Statements that are stopped, and databases that are closed, in the middle of a commit: what is told is what is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::storage::DurableFs;
use crate::engine::storage::tests::hooked::{Hooked, Operation};
use crate::engine::tests::workload::lines;
use crate::engine::{Database, Session, Settings};
use crate::error::ErrorKind;

/// No wait takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Holds a file up before it gets its name.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Names with this in their path are held up while it is closed.
    part: &'static str,
    /// Somebody is.
    waits: bool,
    /// A file has got such a name.
    named: bool,
}

impl Gate {
    fn fs(&self) -> DurableFs {
        let (before, after) = (self.clone(), self.clone());
        let before_link = move |operation: Operation, path: &Path| {
            if operation == Operation::Link {
                before.pass(path);
            }
            Ok(())
        };
        let after_link = move |operation: Operation, path: &Path| {
            if operation == Operation::Link {
                after.passed(path);
            }
            Ok(())
        };
        DurableFs::new(Arc::new(Hooked::around(before_link, after_link)))
    }

    fn pass(&self, path: &Path) {
        let (state, changed) = &*self.0;
        let mut state = state.lock();
        if !state.closed || !path.to_string_lossy().contains(state.part) {
            return;
        }
        state.waits = true;
        changed.notify_all();
        changed.wait_while_for(&mut state, |state| state.closed, PATIENCE);
    }

    fn passed(&self, path: &Path) {
        let mut state = self.0.0.lock();
        state.named |= path.to_string_lossy().contains(state.part);
        self.0.1.notify_all();
    }

    fn close(&self, part: &'static str) {
        *self.0.0.lock() = State { closed: true, part, ..State::default() };
    }

    fn open(&self) {
        self.0.0.lock().closed = false;
        self.0.1.notify_all();
    }

    /// Returns once somebody is held up.
    fn wait(&self) {
        self.wait_for(|state| state.waits);
    }

    /// Returns once a file that was held up has its name.
    fn wait_for_name(&self) {
        self.wait_for(|state| state.named);
    }

    fn wait_for(&self, event: fn(&State) -> bool) {
        let mut state = self.0.0.lock();
        let waited = self.0.1.wait_while_for(&mut state, |state| !event(state), PATIENCE);
        assert!(!waited.timed_out(), "nobody came to the gate");
    }
}

fn settings() -> Settings {
    Settings { memory_limit: Some(256 << 20), threads: Some(2), ..Settings::default() }
}

/// A table `t` of one row.
fn begun(directory: &Path, gate: &Gate) -> (Database, Session) {
    let database = Database::open_on(directory, settings(), gate.fs()).unwrap();
    let session = database.session();
    session.run("CREATE TABLE t AS SELECT 1 AS x").unwrap();
    (database, session)
}

fn rows(session: &Session, sql: &str) -> Vec<String> {
    lines(&session.run(sql).unwrap())
}

fn data_files(directory: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let files = inside(directory.join("tables")).flat_map(inside);
    let of_rows = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let mut files: Vec<PathBuf> = files.filter(of_rows).collect();
    files.sort();
    files
}

#[test]
fn a_change_whose_commit_has_begun_is_told_as_made() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    for (sql, held) in [
        ("UPDATE t SET x = x + 1", "_delta_log"),
        ("INSERT INTO t VALUES (5)", "_delta_log"),
        ("INSERT INTO t SELECT 9 FROM generate_series(1, 3000)", "_delta_log"),
        ("DELETE FROM t WHERE x = 9", "_delta_log"),
        ("EXPLAIN ANALYZE UPDATE t SET x = x + 1", "_delta_log"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (7)", "_delta_log"),
        ("ALTER TABLE t RENAME COLUMN x TO y", "/catalog/"),
        ("CREATE TABLE u AS SELECT 3 AS z", "/catalog/"),
    ] {
        gate.close(held);
        let query = database.block_on(session.sql(sql)).unwrap();
        let cancel = query.cancel_handle();
        gate.wait();
        cancel.cancel();
        gate.open();
        database.block_on(query.collect()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(rows(&session, "SELECT y FROM t ORDER BY y"), ["3", "6", "7"]);
    assert_eq!(rows(&session, "SELECT z FROM u"), ["3"]);
}

#[test]
fn rows_of_returning_are_told_once_they_are_changed() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (_database, session) = begun(directory.path(), &gate);
    gate.close("_delta_log");
    thread::scope(|scope| {
        let told = scope.spawn(|| rows(&session, "UPDATE t SET x = x + 1 RETURNING x"));
        gate.wait();
        let stopped = session.stop_started();
        gate.open();
        assert_eq!(told.join().unwrap(), ["2"]);
        assert!(!stopped);
    });
    assert_eq!(rows(&session, "SELECT x FROM t"), ["2"]);
}

#[test]
fn a_change_leaves_rows_alone_that_its_subqueries_did_not_see() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    let beside_insert = |row: i64, change: &str| {
        gate.close("_delta_log");
        let insert = database.block_on(session.sql(&format!("INSERT INTO t VALUES ({row})"))).unwrap();
        gate.wait();
        thread::scope(|scope| {
            let changing = scope.spawn(|| session.run(change).map(drop));
            // Whatever it does without the right to change the table, it has done by then.
            thread::sleep(Duration::from_millis(300));
            gate.open();
            changing.join().unwrap().unwrap();
        });
        database.block_on(insert.collect()).unwrap();
    };
    beside_insert(2, "DELETE FROM t WHERE x NOT IN (SELECT max(x) FROM t)");
    assert_eq!(rows(&session, "SELECT x FROM t"), ["2"]);
    beside_insert(3, "UPDATE t SET x = 9 WHERE x NOT IN (SELECT max(x) FROM t) RETURNING x");
    assert_eq!(rows(&session, "SELECT x FROM t ORDER BY x"), ["3", "9"]);
    beside_insert(4, "EXPLAIN ANALYZE DELETE FROM t WHERE x < (SELECT count(*) + 1 FROM t)");
    assert_eq!(rows(&session, "SELECT x FROM t ORDER BY x"), ["4", "9"]);
}

#[test]
fn a_table_that_gets_another_name_in_an_alter_is_the_one_that_is_altered() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    session.run("CREATE TABLE u AS SELECT 2 AS x").unwrap();
    gate.close("_delta_log");
    thread::scope(|scope| {
        let altering = scope.spawn(|| database.session().run("ALTER TABLE t ADD COLUMN y int DEFAULT 7"));
        gate.wait();
        session.run("ALTER TABLE t RENAME TO old").unwrap();
        session.run("ALTER TABLE u RENAME TO t").unwrap();
        gate.open();
        altering.join().unwrap().unwrap();
    });
    assert_eq!(rows(&session, "SELECT * FROM old"), ["1|7"]);
    assert_eq!(rows(&session, "SELECT * FROM t"), ["2"]);
}

#[test]
fn a_change_that_is_stopped_while_others_change_its_table_leaves_the_table_to_them() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    let hasty = database.session();
    hasty.run("SET statement_timeout = '100ms'").unwrap();
    gate.close("_delta_log");
    let insert = database.block_on(session.sql("INSERT INTO t VALUES (2)")).unwrap();
    gate.wait();
    for returning in ["", " RETURNING x"] {
        let sql = format!("DELETE FROM t WHERE x IN (SELECT max(x) FROM t){returning}");
        assert_eq!(hasty.run(&sql).unwrap_err().kind(), ErrorKind::Cancelled, "{sql}");
    }
    gate.open();
    database.block_on(insert.collect()).unwrap();
    assert_eq!(rows(&session, "DELETE FROM t WHERE x IN (SELECT min(x) FROM t) RETURNING x"), ["1"]);
    assert_eq!(rows(&session, "SELECT x FROM t"), ["2"]);
}

#[test]
fn a_change_waits_for_those_of_others_as_long_as_its_lock_timeout_says() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    let hasty = database.session();
    hasty.run("SET lock_timeout = '100ms'").unwrap();
    gate.close("_delta_log");
    let insert = database.block_on(session.sql("INSERT INTO t VALUES (2)")).unwrap();
    gate.wait();
    for sql in [
        "INSERT INTO t VALUES (3)",
        "INSERT INTO t SELECT 9 FROM generate_series(1, 3000)",
        "INSERT INTO t VALUES (4) RETURNING x",
        "UPDATE t SET x = 5",
        "DELETE FROM t WHERE x = 1 RETURNING x",
        "DELETE FROM t WHERE x IN (SELECT max(x) FROM t)",
        "EXPLAIN ANALYZE DELETE FROM t",
        "TRUNCATE TABLE t",
        "ALTER TABLE t RENAME COLUMN x TO y",
    ] {
        let error = hasty.run(sql).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{sql}");
        assert_eq!(error.message(), "canceling statement due to lock timeout", "{sql}");
        assert_eq!(error.detail(), Some("Another statement is changing table t."), "{sql}");
    }
    assert_eq!(rows(&hasty, "SELECT x FROM t"), ["1"]);
    // The shorter of the two ends it.
    hasty.run("SET statement_timeout = '50ms'").unwrap();
    let error = hasty.run("UPDATE t SET x = 5").unwrap_err();
    assert_eq!(error.message(), "canceling statement due to statement timeout");
    gate.open();
    database.block_on(insert.collect()).unwrap();
    assert_eq!(rows(&session, "SELECT x FROM t ORDER BY x"), ["1", "2"]);
}

#[test]
fn a_change_that_is_stopped_before_its_commit_leaves_nothing() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    let before = data_files(directory.path());
    gate.close("part-");
    let query = database.block_on(session.sql("UPDATE t SET x = x + 1")).unwrap();
    gate.wait();
    query.cancel_handle().cancel();
    let error = database.block_on(query.collect()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    // The file is finished while nobody waits for it.
    gate.open();
    gate.wait_for_name();
    let started = Instant::now();
    while data_files(directory.path()) != before {
        assert!(started.elapsed() < PATIENCE, "{:?}", data_files(directory.path()));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(rows(&session, "SELECT x FROM t"), ["1"]);
    assert_eq!(rows(&session, "UPDATE t SET x = x + 5 RETURNING x"), ["6"]);
}

#[test]
fn a_training_that_stores_its_model_is_not_cancelled() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (_database, session) = begun(directory.path(), &gate);
    let rows_of_sales =
        "SELECT DATE '2026-01-01' + n::int AS day, n % 7 AS units FROM generate_series(0, 60) AS d(n)";
    session.run(&format!("CREATE TABLE sales AS {rows_of_sales}")).unwrap();
    gate.close("/models/");
    let train = "TRAIN FORECAST MODEL m ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive \
                 WITH (background = true)";
    assert_eq!(rows(&session, train), ["1|m"]);
    gate.wait();
    let error = session.run("CANCEL TRAINING 1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "training 1 cannot be cancelled: it is storing its model");
    gate.open();
    let started = Instant::now();
    while rows(&session, "SELECT status FROM ml.training_jobs") != ["done"] {
        assert!(started.elapsed() < PATIENCE, "{:?}", rows(&session, "SELECT * FROM ml.training_jobs"));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(rows(&session, "SELECT count(*) FROM forecast(m)"), ["7"]);
}

#[test]
fn a_change_of_a_model_that_is_stopped_while_it_waits_for_its_turn_is_not_made() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let (database, session) = begun(directory.path(), &gate);
    let rows_of_sales =
        "SELECT DATE '2026-01-01' + n::int AS day, n % 7 AS units FROM generate_series(0, 60) AS d(n)";
    session.run(&format!("CREATE TABLE sales AS {rows_of_sales}")).unwrap();
    let train = |model: &str, rest: &str| {
        let roles = "ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive";
        session.run(&format!("TRAIN FORECAST MODEL {model} {roles} {rest}")).unwrap();
    };
    train("m", "");
    gate.close("/models/");
    train("n", "WITH (background = true)");
    gate.wait();
    let hasty = database.session();
    hasty.run("SET statement_timeout = '100ms'").unwrap();
    for sql in ["COMMENT ON MODEL m IS 'x'", "ALTER MODEL m RENAME TO k", "DROP MODEL m"] {
        assert_eq!(hasty.run(sql).unwrap_err().kind(), ErrorKind::Cancelled, "{sql}");
    }
    gate.open();
    let started = Instant::now();
    let models = || rows(&session, "SELECT name FROM ml.models ORDER BY name");
    while !models().contains(&"n".to_owned()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", models());
        thread::sleep(Duration::from_millis(5));
    }
    // By then they have had their turns.
    thread::sleep(Duration::from_millis(100));
    assert_eq!(models(), ["m", "n"]);
    assert_eq!(rows(&session, "SELECT count(*) FROM forecast(m)"), ["7"]);
}

#[test]
fn a_database_that_is_closed_in_a_commit_is_opened_after_it() {
    let (directory, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let path = directory.path().to_path_buf();
    let (database, session) = begun(&path, &gate);
    gate.close("_delta_log");
    let query = database.block_on(session.sql("UPDATE t SET x = x + 1")).unwrap();
    gate.wait();
    drop((query, session, database));
    let opening = thread::spawn(move || {
        loop {
            match Database::open_with(&path, settings()) {
                Err(error) if error.message().contains("is open for writing by") => {
                    thread::sleep(Duration::from_millis(5));
                }
                opened => return opened.unwrap(),
            }
        }
    });
    thread::sleep(Duration::from_millis(200));
    let early = opening.is_finished();
    gate.open();
    let database = opening.join().unwrap();
    assert!(!early);
    assert_eq!(rows(&database.session(), "SELECT x FROM t"), ["2"]);
    assert_eq!(data_files(directory.path()).len(), 2);
}
