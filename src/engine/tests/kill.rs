//! Processes that are killed while they write: what they acknowledged is there afterwards, whole, and nothing is by half.
//!
//! `FORETELL_KILL_CYCLES=10000 cargo test --lib killed -- --nocapture` kills as many and tells its seed;
//! `FORETELL_KILL_SEED` sets it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::engine::storage::DurableFs;
use crate::engine::storage::tests::hooked::{Hooked, Operation};
use crate::engine::tests::workload::{COPIED, State, Statement, digest};
use crate::engine::{Database, Settings};
use crate::ml::rng::Rng;

/// Sessions that write at once.
const SESSIONS: usize = 2;
/// A database is used for so many cycles.
const CYCLES_PER_DATABASE: usize = 100;
const CYCLES: usize = 200;
/// A process that is killed at a time does not live for longer.
const LIFE_MAX: Duration = Duration::from_millis(400);
const DIRECTORY: &str = "FORETELL_TEST_DIRECTORY";
/// The operation at which a process kills itself.
const AT: &str = "FORETELL_TEST_KILL_AT";
/// What precedes the lines that the parent reads.
const MARK: &str = "@@ ";

fn settings() -> Settings {
    Settings { memory_limit: Some(1 << 30), threads: Some(2), ..Settings::default() }
}

/// Which part of a database a path belongs to.
fn room(directory: &Path, path: &Path) -> &'static str {
    let path = path.strip_prefix(directory).unwrap_or(path).to_string_lossy().into_owned();
    let rooms = ["catalog", "sequences", "pretraining"];
    match rooms.into_iter().find(|room| path.starts_with(room)) {
        Some(room) => room,
        None if path.contains("_delta_log") => "log",
        None if path.starts_with("tables") => "data",
        None if path.starts_with("models") && path.matches('/').count() > 1 => "artifact",
        None if path.starts_with("models") => "models",
        None => "directory",
    }
}

/// The file system, on which the process ends before or after its operation of this number.
fn deadly(directory: PathBuf, at: usize) -> Hooked {
    let count = Arc::new(AtomicUsize::new(0));
    let hook = move |phase: &'static str| {
        let (count, directory) = (Arc::clone(&count), directory.clone());
        move |operation: Operation, path: &Path| {
            if count.fetch_add(1, Ordering::AcqRel) == at {
                say(&format!("point {phase} {operation:?} in {}", room(&directory, path)));
                // SAFETY: a signal to this process has no preconditions.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
            Ok(())
        }
    };
    Hooked::around(hook("before"), hook("after"))
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // The parent may have stopped listening.
    let _ = writeln!(output, "{MARK}{line}").and_then(|()| output.flush());
}

/// Runs in a process of its own: statements from its input, `session statement`, and their answers to its output.
#[test]
#[ignore = "runs only as the child of the test below"]
fn process_to_be_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let at = std::env::var(AT).ok().and_then(|at| at.parse().ok()).unwrap_or(usize::MAX);
    let fs = DurableFs::new(Arc::new(deadly(directory.clone(), at)));
    let database = Database::open_on(&directory, settings(), fs).unwrap();
    let sessions: Vec<_> = (0..SESSIONS).map(|_| database.session()).collect();
    say("open");
    std::thread::scope(|scope| {
        let runs = sessions.iter().enumerate().map(|(k, session)| {
            let (sender, receiver) = std::sync::mpsc::channel::<String>();
            scope.spawn(move || {
                for sql in receiver {
                    match session.run(&sql) {
                        Ok(rows) => say(&format!("{k} ok {}", digest(&rows))),
                        Err(error) => say(&format!("{k} error {error}")),
                    }
                }
            });
            sender
        });
        let runs: Vec<_> = runs.collect();
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let (k, sql) = line.split_once(' ').unwrap();
            runs[k.parse::<usize>().unwrap()].send(sql.to_owned()).unwrap();
        }
    });
}

/// A session as the parent sees it.
#[derive(Debug, Default)]
struct Writer {
    /// What it has acknowledged.
    state: State,
    /// What it has been asked since.
    asked: Option<Statement>,
    fresh: i64,
}

/// What many cycles found.
#[derive(Debug, Default)]
struct Report {
    acknowledged: BTreeMap<String, usize>,
    points: BTreeSet<String>,
    opened: Vec<Duration>,
}

struct Trial {
    directory: tempfile::TempDir,
    writers: [Writer; SESSIONS],
    rng: Rng,
    report: Report,
}

impl Trial {
    fn database(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    fn copied(&self) -> String {
        self.directory.path().join("copied.csv").display().to_string()
    }

    /// A new database, with what the statements are about.
    fn begin(rng: Rng, report: Report) -> Self {
        let trial =
            Self { directory: tempfile::tempdir().unwrap(), writers: Default::default(), rng, report };
        let rows: String = COPIED.map(|i| format!("{i},{}\n", 7 * i)).collect();
        std::fs::write(trial.copied(), format!("i,v\n{rows}")).unwrap();
        let database = Database::open_with(trial.database(), settings()).unwrap();
        let session = database.session();
        let series = "CREATE TABLE series AS SELECT k, DATE '2024-01-01' + d::int AS day, \
             (10 + k * (d % 7) + d / 5)::double AS y \
             FROM generate_series(1, 3) AS k, generate_series(0, 39) AS d";
        for sql in
            [series, "CREATE TABLE shared (k int, n bigint)", "CREATE SEQUENCE s0", "CREATE SEQUENCE s1"]
        {
            session.run(sql).unwrap();
        }
        trial
    }

    /// A process, and how long it may live.
    fn spawn(&mut self) -> (Child, Duration) {
        // Killed at a time, or at an operation: small numbers are those of opening.
        let at = self.rng.chance(0.6).then(|| self.rng.range(0.0, f64::ln(250.0)).exp() as usize);
        let life = match at {
            Some(_) => LIFE_MAX,
            None => LIFE_MAX.mul_f64(self.rng.uniform().max(0.02)),
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::tests::kill::process_to_be_killed", "--ignored", "--nocapture"])
            .env(DIRECTORY, self.database())
            .env(AT, at.map_or(String::new(), |at| at.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        (child.unwrap(), life)
    }

    /// Asks session `k` for one more statement. The process may be gone.
    fn ask(&mut self, k: usize, input: &mut impl Write) {
        let file = self.copied();
        let writer = &mut self.writers[k];
        let statement = Statement::random(&writer.state, &mut writer.fresh, &mut self.rng);
        let _ = writeln!(input, "{k} {}", statement.sql(k, &file)).and_then(|()| input.flush());
        writer.asked = Some(statement);
    }

    /// Takes the answer `ok …` or `error …` of session `k`.
    fn hear(&mut self, k: usize, answer: &str) {
        let writer = &mut self.writers[k];
        let statement = writer.asked.take().unwrap();
        let Some(told) = answer.strip_prefix("ok") else { panic!("{statement:?}: {answer}") };
        writer.state = statement.apply(&writer.state, Some(told.trim()));
        let name = format!("{statement:?}").split(' ').next().unwrap().to_owned();
        *self.report.acknowledged.entry(name).or_default() += 1;
    }

    /// Lets a process write until it is killed.
    fn kill_one(&mut self) {
        let (mut child, life) = self.spawn();
        let pid = child.id() as libc::pid_t;
        let mut input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut killer = None;
        for line in output.lines().map_while(Result::ok) {
            let Some((_, line)) = line.split_once(MARK) else { continue };
            match line.split_once(' ') {
                Some(("point", point)) => drop(self.report.points.insert(point.to_owned())),
                Some((k, answer)) => {
                    let k = k.parse().unwrap();
                    self.hear(k, answer);
                    self.ask(k, &mut input);
                }
                None => {
                    // SAFETY: the child is waited for below, after this: its number is still its own.
                    let kill = move || unsafe { libc::kill(pid, libc::SIGKILL) };
                    killer = Some(std::thread::spawn(move || {
                        std::thread::sleep(life);
                        kill()
                    }));
                    (0..SESSIONS).for_each(|k| self.ask(k, &mut input));
                }
            }
        }
        if let Some(killer) = killer {
            killer.join().unwrap();
        }
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL), "{status}");
    }

    /// Opens the database and compares all of it with what was acknowledged.
    fn verify(&mut self) {
        let started = Instant::now();
        let database = Database::open_with(self.database(), settings()).unwrap();
        self.report.opened.push(started.elapsed());
        let session = database.session();
        for (k, writer) in self.writers.iter_mut().enumerate() {
            let found = State::found(&session, k).unwrap();
            let asked = writer.asked.take();
            let after = asked.as_ref().map(|statement| statement.apply(&writer.state, None));
            let possible = [Some(&writer.state), after.as_ref()];
            assert!(
                possible.into_iter().flatten().any(|state| found.is(state)),
                "session {k} was asked {asked:?}:\n{found:?}\nis neither\n{:?}\nnor\n{after:?}",
                writer.state
            );
            writer.state = found;
        }
        let told = self.writers.iter().map(|writer| &writer.state);
        let tables = told.map(|state| state.rows.iter().chain(&state.copy).count()).sum::<usize>() + 2;
        drop((session, database));
        ensure_no_debris(&self.database(), tables);
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let inner = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    inner.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Nothing is left of what was not finished: no staging files, directories of other tables, files of no version, or
/// artifacts that no model names.
fn ensure_no_debris(database: &Path, tables: usize) {
    assert_eq!(std::fs::read_dir(database.join("tables")).unwrap().count(), tables);
    let files = files(database);
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|extension| extension == kind);
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let json: String = files.iter().filter(|path| is(path, "json")).map(text).collect();
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(!name.starts_with(".staging"), "{}", path.display());
        if is(path, "parquet") && !path.to_string_lossy().contains("_delta_log") {
            assert!(json.contains(name.as_ref()), "{} is in no version", path.display());
        }
        if name == "manifest.json" {
            let model = path.ancestors().nth(2).and_then(Path::file_name).unwrap();
            assert!(json.contains(model.to_string_lossy().as_ref()), "{} is of no model", path.display());
        }
    }
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn killed_processes_lose_nothing_acknowledged_and_leave_nothing_by_half() {
    let cycles = number("FORETELL_KILL_CYCLES").unwrap_or(CYCLES);
    let seed = number("FORETELL_KILL_SEED").unwrap_or(1);
    println!("{cycles} cycles with FORETELL_KILL_SEED={seed}");
    let (mut rng, mut report) = (Rng::new(seed as u64), Report::default());
    for begun in (0..cycles).step_by(CYCLES_PER_DATABASE) {
        let mut trial = Trial::begin(rng.fork(&begun.to_string()), report);
        for _ in begun..cycles.min(begun + CYCLES_PER_DATABASE) {
            trial.kill_one();
            trial.verify();
        }
        report = trial.report;
        rng.next_u64();
    }
    report.opened.sort_unstable();
    let opened = |share: usize| report.opened[(report.opened.len() - 1) * share / 100];
    println!("opened again in {:?}, 99 of 100 in {:?}, all in {:?}", opened(50), opened(99), opened(100));
    println!("acknowledged: {:?}", report.acknowledged);
    println!("killed at {} points: {:?}", report.points.len(), report.points);
    // Every kind of statement took part, and the blows fell everywhere.
    if cycles >= CYCLES {
        assert!(report.acknowledged.len() >= 16, "{:?}", report.acknowledged);
        assert!(report.points.len() >= cycles.min(200) / 10, "{:?}", report.points);
    }
}
