//! Models and sequences on a disk that loses power or fails while statements change them: what was acknowledged is there
//! and forecasts the same bits, nothing is there by half, and no number is told twice.
//!
//! `FORETELL_POWER_STRIDE=1 cargo test --lib engine::tests::power -- --nocapture` lets every operation fail, and not some.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::storage::DurableFs;
use crate::engine::storage::tests::simulated::{Failure, SimFs, leave_open};
use crate::engine::tests::workload::{digest, lines};
use crate::engine::{Database, Session, Settings};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::ml::rng::Rng;

/// Ways in which what was not synced is damaged, of every operation.
const DAMAGES: u64 = 2;

const SERIES: &str = "CREATE TABLE series AS SELECT k, DATE '2024-01-01' + d::int AS day, \
     (10 + k * (d % 7) + d / 5)::double AS y FROM generate_series(1, 2) AS k, generate_series(0, 29) AS d";
const GROWN: &str = "INSERT INTO series SELECT k, DATE '2024-01-01' + d::int, (9 + k * (d % 7))::double \
     FROM generate_series(1, 2) AS k, generate_series(30, 36) AS d";
const NAIVE: &str =
    "TRAIN FORECAST MODEL m ON series TARGET y PARTITION BY k ORDER BY day HORIZON 3 USING seasonal_naive";
const THETA: &str =
    "TRAIN OR REPLACE FORECAST MODEL m ON series TARGET y PARTITION BY k ORDER BY day HORIZON 3 USING theta";
const LATER: &str = "TRAIN FORECAST MODEL later ON series TARGET y PARTITION BY k ORDER BY day HORIZON 3 USING seasonal_naive";
const NUMBERS: &str = "SELECT nextval('s') FROM generate_series(1, 40)";

/// What is done beforehand, and what is done while it fails.
const SCENARIOS: [(&[&str], &[&str]); 7] = [
    (&[], &[NAIVE, THETA]),
    (&[NAIVE], &[THETA, "DROP MODEL m"]),
    (&[NAIVE, THETA], &["ALTER MODEL m RENAME TO n", NAIVE]),
    (&[NAIVE, THETA], &["ALTER MODEL m ROLLBACK", "ALTER MODEL m DROP VERSION 2"]),
    (&[NAIVE, GROWN], &["REFRESH MODEL m WITH (promote = always)", "DROP MODEL m"]),
    (&[], &["CREATE SEQUENCE s", NUMBERS, NUMBERS]),
    (
        &["CREATE SEQUENCE s", NUMBERS],
        &["SELECT setval('s', 1000)", "SELECT nextval('s')", "DROP SEQUENCE s"],
    ),
];

/// What a database holds besides tables.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// The forecasts of every model.
    models: BTreeMap<String, String>,
    /// There is the sequence `s`.
    sequence: bool,
}

/// How far the statements came.
#[derive(Debug, Default)]
struct Outcome {
    /// Statements that were acknowledged.
    done: usize,
    /// Why the one after them was not.
    error: Option<Error>,
    /// The largest number of the sequence that anybody was told.
    told: i64,
}

/// The database of this disk, and its files. What ran before may still be on its way out.
fn open(directory: &Path, fs: &SimFs) -> Result<(Database, DurableFs)> {
    let mut tries = 0;
    loop {
        let settings = Settings { memory_limit: Some(1 << 30), threads: Some(2), ..Settings::default() };
        let fs = DurableFs::new(Arc::new(fs.clone()));
        match Database::open_on(directory, settings, fs.clone()) {
            Err(e) if e.message().contains("is open for writing by") && tries < 500 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.map(|database| (database, fs)),
        }
    }
}

/// Runs statements until one fails.
fn run(session: &Session, steps: &[&str], told: i64) -> Outcome {
    let mut outcome = Outcome { told, ..Outcome::default() };
    for step in steps {
        match session.run(step) {
            Ok(rows) if step.starts_with("SELECT") => {
                let numbers = lines(&rows).into_iter().map(|number| number.parse::<i64>().unwrap());
                outcome.told = numbers.fold(outcome.told, i64::max);
            }
            Ok(_) => {}
            Err(error) => return Outcome { error: Some(error), ..outcome },
        }
        outcome.done += 1;
    }
    outcome
}

fn models(session: &Session) -> Result<BTreeMap<String, String>> {
    let names = lines(&session.run("SELECT name FROM ml.models")?).into_iter();
    let forecasts = |name: String| -> Result<(String, String)> {
        let rows = session.run(&format!("SELECT * FROM forecast({name}) ORDER BY k, day"))?;
        Ok((name, digest(&rows)))
    };
    names.map(forecasts).collect()
}

/// What there is, and the next number of the sequence.
fn found(session: &Session) -> Result<(State, Option<i64>)> {
    let next = match session.run("SELECT nextval('s')") {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        rows => lines(&rows?).concat().parse().ok(),
    };
    Ok((State { models: models(session)?, sequence: next.is_some() }, next))
}

/// A database that was opened again goes on.
fn ensure_it_goes_on(session: &Session) {
    session.run(LATER).unwrap();
    assert!(models(session).unwrap().contains_key("later"));
    session.run("DROP MODEL later").unwrap();
}

/// A scenario, made ready to fail.
struct Prepared {
    number: usize,
    directory: tempfile::TempDir,
    disk: SimFs,
    told: i64,
    steps: &'static [&'static str],
    /// What there is before the first step, and after each.
    states: Vec<State>,
    /// How many the steps take, the opening included.
    operations: usize,
}

impl Prepared {
    /// The scenario with what is done beforehand, run once to see its states and once to count its operations.
    fn new(number: usize) -> Self {
        let (before, steps) = SCENARIOS[number];
        let directory = tempfile::tempdir().unwrap();
        let disk = SimFs::with_directory(directory.path());
        let on = |fs: &SimFs, steps: &[&str]| {
            let (database, _) = open(directory.path(), fs).unwrap();
            let outcome = run(&database.session(), steps, 0);
            assert!(outcome.error.is_none(), "scenario {number}: {outcome:?}");
            outcome.told
        };
        let told = on(&disk, &[vec![SERIES], before.to_vec()].concat());
        let counted = disk.copy();
        on(&counted, steps);
        let operations = counted.operations();
        let (database, _) = open(directory.path(), &disk.copy()).unwrap();
        let session = database.session();
        let state = || found(&session).unwrap().0;
        let mut states = vec![state()];
        states.extend(steps.iter().map(|step| {
            session.run(step).unwrap();
            state()
        }));
        // A step without effect would be kept and lost alike.
        assert!(states.windows(2).any(|pair| pair[0] != pair[1]), "scenario {number}: {states:?}");
        drop((session, database));
        Self { number, directory, disk, told, steps, states, operations }
    }

    /// The operations that are to fail: one of so many.
    fn points(&self, stride: usize) -> impl Iterator<Item = usize> + use<> {
        (self.number % stride..=self.operations).step_by(stride)
    }

    /// What may be there, where nobody knows whether the statement that failed has left something.
    fn possible(&self, outcome: &Outcome, uncertain: bool) -> &[State] {
        &self.states[outcome.done..=outcome.done + usize::from(uncertain && outcome.error.is_some())]
    }

    fn run(&self, fs: &SimFs) -> Outcome {
        match open(self.directory.path(), fs) {
            Ok((database, _)) => run(&database.session(), self.steps, self.told),
            Err(_) => Outcome { told: self.told, ..Outcome::default() },
        }
    }

    /// Opens the disk at the first try and compares all of it with what was acknowledged.
    fn verify(
        &self,
        fs: &SimFs,
        outcome: &Outcome,
        uncertain: bool,
    ) -> std::result::Result<Database, String> {
        let (database, _) = open(self.directory.path(), fs).map_err(|e| e.to_string())?;
        let (state, next) = found(&database.session()).map_err(|e| e.to_string())?;
        let possible = self.possible(outcome, uncertain);
        if !possible.contains(&state) {
            return Err(format!("{state:?}, and not one of {possible:?}"));
        }
        match next {
            Some(next) if next <= outcome.told => Err(format!("{next} after {}", outcome.told)),
            _ => Ok(database),
        }
    }
}

/// Power losses of a scenario; what was lost, where something was. With `lies`, syncs do nothing.
fn power_losses(number: usize, stride: usize, lies: bool) -> std::result::Result<usize, String> {
    let prepared = Prepared::new(number);
    let mut crashes = 0;
    for at in prepared.points(stride) {
        let fs = prepared.disk.copy();
        fs.fail_at(at, Failure::PowerLoss);
        if lies {
            fs.lie();
        }
        let outcome = prepared.run(&fs);
        for damage in 0..DAMAGES {
            let seed = ((number as u64) << 32) + ((at as u64) << 8) + damage;
            let after = fs.after_power_loss(&mut Rng::new(seed));
            let database = prepared.verify(&after, &outcome, true).map_err(|lost| {
                format!("scenario {number}, power lost at operation {at}, damage {damage}: {lost}")
            })?;
            if damage == 0 {
                ensure_it_goes_on(&database.session());
            }
            crashes += 1;
        }
    }
    Ok(crashes)
}

/// Operations of a scenario that fail, and what is there at once, and when the database is opened again.
fn failures(number: usize, stride: usize, failure: Failure) -> usize {
    let prepared = Prepared::new(number);
    for at in prepared.points(stride) {
        let what = format!("scenario {number}, {failure:?} at operation {at}");
        let fs = prepared.disk.copy();
        fs.fail_at(at, failure);
        let mut outcome = Outcome { told: prepared.told, ..Outcome::default() };
        let mut uncertain = false;
        if let Ok((database, durable)) = open(prepared.directory.path(), &fs) {
            let session = database.session();
            outcome = run(&session, prepared.steps, prepared.told);
            if let (Some(error), Failure::Full) = (&outcome.error, failure) {
                let told = (error.kind(), error.subject());
                assert_eq!(told, (ErrorKind::Unavailable, Subject::Disk), "{what}: {error}");
            }
            fs.mend();
            uncertain = durable.has_failed();
            let models = models(&session).unwrap();
            let possible = prepared.possible(&outcome, uncertain);
            let known = possible.iter().any(|state| state.models == models);
            assert!(known, "{what}, seen at once: {models:?}, and not one of {possible:?}");
            if !uncertain {
                ensure_it_goes_on(&session);
            }
        }
        fs.mend();
        match prepared.verify(&fs, &outcome, uncertain) {
            Ok(database) => ensure_it_goes_on(&database.session()),
            Err(lost) => panic!("{what}: {lost}"),
        }
    }
    prepared.points(stride).count()
}

/// One of so many operations fails.
fn stride(usual: usize) -> usize {
    let asked = std::env::var("FORETELL_POWER_STRIDE").ok().and_then(|stride| stride.parse().ok());
    asked.unwrap_or(usual).max(1)
}

#[test]
fn a_power_loss_loses_no_acknowledged_model_or_number() {
    let crashes = (0..SCENARIOS.len()).map(|number| power_losses(number, stride(3), false).unwrap());
    let crashes: usize = crashes.sum();
    println!("{crashes} power losses");
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn models_that_are_seen_after_a_kill_outlive_a_power_loss() {
    for number in 0..SCENARIOS.len() {
        let prepared = Prepared::new(number);
        for at in prepared.points(stride(3)) {
            let told = format!("scenario {number}, killed at operation {at}");
            let fs = prepared.disk.copy();
            fs.fail_at(at, Failure::PowerLoss);
            let outcome = prepared.run(&fs);
            leave_open(prepared.directory.path());
            fs.mend();
            let verify = |fs: &SimFs| {
                prepared.verify(fs, &outcome, true).unwrap_or_else(|lost| panic!("{told}: {lost}"))
            };
            let database = verify(&fs);
            let seen = models(&database.session()).unwrap();
            let seeds = (0..DAMAGES).map(|damage| ((number as u64) << 32) + ((at as u64) << 8) + damage);
            let after: Vec<SimFs> = seeds.map(|seed| fs.after_power_loss(&mut Rng::new(seed))).collect();
            drop(database);
            for after in after {
                assert_eq!(models(&verify(&after).session()).unwrap(), seen, "{told}");
            }
        }
    }
}

#[test]
fn syncs_that_do_nothing_are_found_out() {
    for number in [0, 1, 5] {
        power_losses(number, 1, true).unwrap_err();
    }
}

#[test]
fn an_operation_that_fails_once_fails_its_statement_alone() {
    let failed = (0..SCENARIOS.len()).map(|number| failures(number, stride(5), Failure::Broken));
    println!("{} operations failed", failed.sum::<usize>());
}

#[test]
fn on_a_full_disk_models_and_sequences_stay_what_they_are() {
    let failed = (0..SCENARIOS.len()).map(|number| failures(number, stride(5), Failure::Full));
    println!("{} operations found a full disk", failed.sum::<usize>());
}
