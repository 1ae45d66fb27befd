//! Sessions that change and read the same tables and models at once: each sees all of a change or nothing of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::engine::tests::workload::lines;
use crate::engine::{Database, Session, Settings};
use crate::error::ErrorKind;

/// How often a table or a model is replaced while others read it.
const REPLACEMENTS: usize = 24;

fn database(directory: &std::path::Path) -> Database {
    let settings = Settings { memory_limit: Some(256 << 20), threads: Some(2), ..Settings::default() };
    Database::open_with(directory, settings).unwrap()
}

/// Two series of 30 days that are always `y`.
fn constant(table: &str, y: i64) -> String {
    format!(
        "CREATE OR REPLACE TABLE {table} AS SELECT k, DATE '2024-01-01' + d::int AS day, {y}::double AS y \
         FROM generate_series(1, 2) AS k, generate_series(0, 29) AS d"
    )
}

fn train(table: &str) -> String {
    format!(
        "TRAIN OR REPLACE FORECAST MODEL m ON {table} TARGET y PARTITION BY k ORDER BY day HORIZON 3 USING seasonal_naive"
    )
}

/// Ends the readers, also when what they wait for panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Counts what a reader saw while others worked, until they are done.
fn read_until(done: &AtomicBool, mut read: impl FnMut() -> bool) -> usize {
    let mut seen = 0;
    while !done.load(Ordering::SeqCst) {
        seen += usize::from(read());
    }
    seen
}

/// The rows, or nothing where what they are of was not there at that moment.
fn rows_if_there(session: &Session, sql: &str) -> Option<Vec<String>> {
    match session.run(sql) {
        Ok(rows) => Some(lines(&rows)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[test]
fn forecasts_of_a_model_that_is_replaced_are_all_of_one_version() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let session = database.session();
    for (table, y) in [("ones", 1), ("twos", 2)] {
        session.run(&constant(table, y)).unwrap();
    }
    session.run(&train("ones")).unwrap();
    let done = AtomicBool::new(false);
    let versions = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for _ in 0..3 {
            let session = database.session();
            let (done, versions) = (&done, &versions);
            scope.spawn(move || {
                read_until(done, || {
                    let found = lines(&session.run("SELECT forecast FROM forecast(m)").unwrap());
                    assert_eq!(found.len(), 6, "{found:?}");
                    assert!(found.iter().all(|forecast| *forecast == found[0]), "{found:?}");
                    versions[usize::from(found[0] == "2.0")].fetch_add(1, Ordering::SeqCst);
                    true
                });
            });
        }
        let _ends = Ends(&done);
        for n in 1..=REPLACEMENTS {
            session.run(&train(["ones", "twos"][n % 2])).unwrap();
        }
    });
    assert!(versions.iter().all(|seen| seen.load(Ordering::SeqCst) > 0), "{versions:?}");
}

#[test]
fn trains_forecasts_inserts_and_drops_of_one_table_see_all_of_each_other_or_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let opened = database(directory.path());
    opened.session().run(&constant("sales", 5)).unwrap();
    let done = AtomicBool::new(false);
    let (inserts, trainings, forecasts) = thread::scope(|scope| {
        // Three days of both series at once, which are two rows a day in every version of the table.
        let inserting = scope.spawn(|| {
            let session = opened.session();
            let mut day = 30_i64;
            read_until(&done, || {
                let sql = format!(
                    "INSERT INTO sales SELECT k, DATE '2024-01-01' + d::int, 5 \
                     FROM generate_series(1, 2) AS k, generate_series({day}, {day} + 2) AS d"
                );
                let inserted = rows_if_there(&session, &sql).is_some();
                day += 3 * i64::from(inserted);
                inserted
            })
        });
        let counting = scope.spawn(|| {
            let session = opened.session();
            read_until(&done, || {
                let sql = "SELECT count(*) % 6, count(*) - 2 * count(DISTINCT day), max(y) FROM sales";
                let counted = rows_if_there(&session, sql);
                assert!(counted.as_deref().is_none_or(|rows| rows == ["0|0|5.0"]), "{counted:?}");
                counted.is_some()
            })
        });
        let training = scope.spawn(|| {
            let session = opened.session();
            read_until(&done, || rows_if_there(&session, &train("sales")).is_some())
        });
        let forecasting = scope.spawn(|| {
            let session = opened.session();
            read_until(&done, || {
                let forecasts = rows_if_there(&session, "SELECT forecast FROM forecast(m)");
                let five = |rows: &[String]| rows.len() == 6 && rows.iter().all(|row| row == "5.0");
                assert!(forecasts.as_deref().is_none_or(five), "{forecasts:?}");
                forecasts.is_some()
            })
        });
        let ends = Ends(&done);
        let session = opened.session();
        for n in 0..REPLACEMENTS {
            thread::sleep(std::time::Duration::from_millis(20));
            match n % 3 {
                0 => session.run("DROP MODEL IF EXISTS m").unwrap(),
                1 => session.run("DROP TABLE sales").unwrap(),
                _ => session.run(&constant("sales", 5)).unwrap(),
            };
        }
        session.run(&constant("sales", 5)).unwrap();
        drop(ends);
        counting.join().unwrap();
        (inserting.join().unwrap(), training.join().unwrap(), forecasting.join().unwrap())
    });
    assert!(inserts > 0 && trainings > 0 && forecasts > 0, "{inserts} {trainings} {forecasts}");
    drop(opened);
    let again = database(directory.path()).session().run("SELECT count(*) % 6 FROM sales").unwrap();
    assert_eq!(lines(&again), ["0"]);
}

#[test]
fn a_statement_sees_one_version_of_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let session = database.session();
    session.run("CREATE TABLE t AS SELECT 0 AS x").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&done);
        let inserting = scope.spawn(|| {
            let session = database.session();
            let mut x = 0;
            read_until(&done, || {
                x += 1;
                session.run(&format!("INSERT INTO t VALUES ({x})")).is_ok()
            })
        });
        for _ in 0..50 {
            for sql in [
                "SELECT a.n - b.n FROM (SELECT count(*) AS n FROM t) AS a, (SELECT count(*) AS n FROM t) AS b",
                "SELECT count(*) FROM t WHERE (x IN (SELECT x FROM t)) IS NOT TRUE",
                "SELECT count(*) - (SELECT count(*) FROM t) FROM t",
                "SELECT count(*) FROM (SELECT x FROM t EXCEPT SELECT x FROM t) AS d",
            ] {
                assert_eq!(lines(&session.run(sql).unwrap()), ["0"], "{sql}");
            }
        }
        drop(ends);
        assert!(inserting.join().unwrap() > 0);
    });
}

#[test]
fn rows_that_are_fetched_later_are_of_the_version_that_was_seen_first() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let (session, other) = (database.session(), database.session());
    session.run("CREATE TABLE t AS SELECT 1 AS x").unwrap();
    // The subquery is run for every batch of rows, and few batches are made ahead.
    session
        .run(
            "DECLARE c CURSOR WITH HOLD FOR SELECT (SELECT count(*) FROM t WHERE t.x > s.k) AS n \
             FROM (SELECT -(g / 8192) AS k FROM generate_series(1, 300000) AS g) AS s",
        )
        .unwrap();
    assert_eq!(lines(&session.run("FETCH 1 FROM c").unwrap()), ["1"]);
    other.run("INSERT INTO t VALUES (2)").unwrap();
    other.run("DROP TABLE t").unwrap();
    let rest = lines(&session.run("FETCH ALL FROM c").unwrap());
    assert_eq!(rest.len(), 299_999);
    assert!(rest.iter().all(|n| n == "1"));
}

#[test]
fn forecasts_of_a_name_that_is_given_again_are_of_one_model() {
    let directory = tempfile::tempdir().unwrap();
    let database = database(directory.path());
    let session = database.session();
    let models = [("ones", 1, 3), ("twos", 2, 5)];
    for (table, y, _) in models {
        session.run(&constant(table, y)).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ends = Ends(&done);
        let reading: Vec<_> = (0..2)
            .map(|_| {
                let (session, done) = (database.session(), &done);
                let sql = "SELECT min(forecast), max(forecast), count(*) FROM forecast(m)";
                scope.spawn(move || {
                    read_until(done, || {
                        let found = rows_if_there(&session, sql);
                        let whole = |rows: &[String]| rows == ["1.0|1.0|6"] || rows == ["2.0|2.0|10"];
                        assert!(found.as_deref().is_none_or(whole), "{found:?}");
                        found.is_some()
                    })
                })
            })
            .collect();
        for n in 0..REPLACEMENTS {
            let (table, _, horizon) = models[n % 2];
            session.run("DROP MODEL IF EXISTS m").unwrap();
            session
                .run(&format!(
                    "TRAIN FORECAST MODEL m ON {table} TARGET y PARTITION BY k ORDER BY day HORIZON {horizon} \
                     USING seasonal_naive"
                ))
                .unwrap();
            thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(ends);
        assert!(reading.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
}
