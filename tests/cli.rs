//! The command `foretell` from outside: arguments, formats, exit codes, standard error.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn foretell(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretell"));
    for name in ["FORETELL_DATABASE", "FORETELL_FORMAT", "FORETELL_MEMORY_LIMIT", "FORETELL_THREADS"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], sql: &str) -> Output {
    let mut child = foretell(arguments).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn results_come_in_every_format() {
    let sql = "SELECT 1 AS n, 'a, b' AS t; SELECT 2.5 AS v WHERE false";
    let table = run(&["run", "-"], sql);
    let expected = " n | t\n---+------\n 1 | a, b\n(1 row)\n v\n---\n(0 rows)\n";
    assert_eq!((text(&table.stdout), text(&table.stderr)), (expected, ""));
    assert!(table.status.success());
    assert_eq!(text(&run(&["run", "--format", "csv", "-"], sql).stdout), "n,t\n1,\"a, b\"\nv\n");
    let json = run(&["run", "--format", "json", "-"], sql);
    assert_eq!(text(&json.stdout), "[\n{\"n\":1,\"t\":\"a, b\"}\n]\n[]\n");
}

/// The checkpoints and what their packages forecast are made by tests/checkpoints/make.py.
#[test]
fn imported_checkpoints_forecast_as_their_packages_do() {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checkpoints");
    for (checkpoint, rows, roles, expected) in [
        ("chronos2", "SELECT item, day, y FROM history", "", "chronos2.csv"),
        ("chronos2", "SELECT * FROM history", ", known => price, past => visits", "chronos2_covariates.csv"),
        ("bolt", "SELECT item, day, y FROM history", "", "bolt.csv"),
    ] {
        let (folder, gap) = (path(&made), |q: &str| format!("max(abs(o.{q} - e.{q}) / (1 + abs(e.{q})))"));
        let sql = format!(
            "CREATE EXTERNAL TABLE loaded STORED AS CSV LOCATION '{folder}/series.csv';
             CREATE EXTERNAL TABLE expected STORED AS CSV LOCATION '{folder}/{expected}';
             CREATE TABLE history AS SELECT item, day::date AS day, y::double AS y, price::double AS price,
               visits::double AS visits FROM loaded;
             IMPORT MODEL published FROM '{folder}/{checkpoint}';
             SELECT count(*) AS n, greatest({}, {}, {}) < 1e-4 AS near FROM forecast(published, data => ({rows}), target => y,
               by => item, time => day, every => day, gaps => null, horizon => 40, quantiles => (0.1, 0.5, 0.9){roles}) o
             JOIN expected e USING (item, step);",
            gap("q10"),
            gap("q50"),
            gap("q90"),
        );
        let output = run(&["run", "--format", "csv", "-"], &sql);
        assert!(text(&output.stdout).ends_with("n,near\n160,true\n"), "{expected}: {output:?}");
    }
}

#[test]
fn the_first_error_stops_the_script_and_points_at_its_place() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bad.sql");
    std::fs::write(
        &file,
        "SELECT 1 AS one;\n\nSELECT n,\n\tnope\nFROM (VALUES (1)) t(n);\nSELECT 3 AS three;\n",
    )
    .unwrap();
    let output = run(&["run", path(&file)], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("one") && !text(&output.stdout).contains("three"));
    let error = text(&output.stderr);
    assert!(error.starts_with(&format!("{}:4:2: ERROR: ", file.display())), "{error}");
    assert!(error.contains(" 4 |     nope\n   |     ^^^^\n"), "{error}");
}

#[test]
fn what_needs_more_memory_than_the_limit_is_refused() {
    for statement in [
        "CREATE TEMPORARY TABLE t AS SELECT n, n * 7 AS a, n * 3 AS b FROM generate_series(1, 1000000) g(n)",
        "SELECT sum(length(repeat('x', 100000 + (n % 2)::int))) AS n FROM generate_series(1, 8000) g(n)",
        "SELECT sum(length(lpad(n::text, 50000))) AS n FROM generate_series(1, 8000) g(n)",
        "SELECT sum(cardinality(array_repeat(n, 20000))) AS n FROM generate_series(1, 8000) g(n)",
        "SELECT n, repeat('x', 100000) AS t FROM generate_series(1, 8000) g(n)",
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 8000) g(n); SELECT count(*) FROM t WHERE lpad(n::text, 50000) > '0'",
        "SELECT max(length(c || c || c || c || c || c || c || c)) AS n FROM (SELECT b || b || b || b || b || b || b || b AS c
           FROM (SELECT t || t || t || t || t || t || t || t AS b
             FROM (SELECT md5(n::text) AS t FROM generate_series(1, 8000) g(n)) AS x) AS y) AS z",
    ] {
        let output = run(&["run", "--memory-limit", "16MB", "-"], statement);
        assert_eq!(output.status.code(), Some(1), "{statement}");
        let error = text(&output.stderr);
        assert!(error.contains("ERROR: out of memory: "), "{statement}: {error}");
    }
}

#[test]
fn prepared_statements_are_kept_while_there_is_memory() {
    let words = vec!["'a word of the list'"; 10_000].join(",");
    let prepare = |n| {
        format!(
            "PREPARE p{n} AS SELECT count(*) FROM generate_series(1, 3) g(n) WHERE n::text IN ({words});\n"
        )
    };
    let statements: String = (0..8).map(prepare).collect();
    let output = run(&["run", "--memory-limit", "16MB", "-"], &statements);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("ERROR: out of memory: ") && error.contains("prepared statements"), "{error}");
}

#[test]
fn cursors_wait_while_there_is_memory() {
    let declare = |n| {
        let rows = "SELECT n, md5(n::text) AS text FROM generate_series(1, 1000000) g(n)";
        format!("DECLARE c{n} CURSOR FOR {rows};\nFETCH 1 FROM c{n};\n")
    };
    let one = format!("BEGIN;\n{}COMMIT;\n", declare(0));
    assert_eq!(run(&["run", "--memory-limit", "16MB", "-"], &one).status.code(), Some(0));
    let many: String = (0..12).map(declare).collect();
    let output = run(&["run", "--memory-limit", "16MB", "-"], &format!("BEGIN;\n{many}"));
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("ERROR: out of memory: ") && error.contains("cursor"), "{error}");
}

#[test]
fn a_join_without_keys_whose_side_does_not_fit_is_refused() {
    let insert = |from: usize| {
        let numbers = format!("generate_series({from}, {}) g(n)", from + 19_999);
        format!("INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM {numbers};\n")
    };
    let inserts: String = (0..4).map(|part| insert(1 + part * 20_000)).collect();
    let join = "SELECT count(*), max(a.w || b.w) FROM t a LEFT JOIN t b ON a.n > b.n + 79990;";
    let statements = format!("CREATE TABLE t (n BIGINT, w TEXT);\n{inserts}{join}");
    let output = run(&["run", "--memory-limit", "24MB", "--threads", "1", "-"], &statements);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let error = text(&output.stderr);
    let told =
        "out of memory: the rows on one side of a join without equal keys do not fit into what is left";
    assert!(error.contains(told), "{error}");
}

#[test]
fn a_missing_file_and_wrong_arguments_are_refused() {
    let missing = run(&["run", "no_such_file.sql"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("no_such_file.sql"), "{}", text(&missing.stderr));
    let format = run(&["run", "--format", "xml", "-"], "");
    assert_eq!(format.status.code(), Some(2));
    assert!(text(&format.stderr).contains("choose table, csv or json"), "{}", text(&format.stderr));
    let mut command = foretell(&["run", "-"]);
    let output = command.env("FORETELL_THREADS", "many").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("FORETELL_THREADS=many"), "{}", text(&output.stderr));
}

#[test]
fn a_database_keeps_what_a_temporary_one_forgets() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("shop");
    let kept = ["run", "--database", path(&database), "-"];
    let made = run(&kept, "CREATE TABLE t (n INT); INSERT INTO t VALUES (7), (8)");
    assert_eq!((text(&made.stdout), text(&made.stderr)), ("CREATE TABLE\nINSERT 0 2\n", ""));
    let read = run(&kept, "SELECT sum(n) AS n FROM t");
    assert_eq!(text(&read.stdout), "  n\n----\n 15\n(1 row)\n");
    let refused =
        run(&["run", "--read-only", "--database", path(&database), "-"], "INSERT INTO t VALUES (9)");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(run(&["run", "-"], "SELECT * FROM t").status.code(), Some(1));
    // Without a terminal the shell is a script.
    let piped = run(&[path(&database)], "SELECT count(*) AS rows FROM t;");
    assert!(text(&piped.stdout).contains(" rows\n------\n    2\n"), "{}", text(&piped.stdout));
}

#[test]
fn a_reader_that_leaves_ends_the_script_quietly() {
    let mut child = foretell(&["run", "--format", "csv", "-"]).spawn().unwrap();
    let sql = b"SELECT n FROM generate_series(1, 100000000) t(n)";
    child.stdin.take().unwrap().write_all(sql).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(first, "n\n");
    assert!(status.success() && started.elapsed() < Duration::from_secs(20));
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(error, "");
}

#[cfg(unix)]
#[test]
fn an_interrupt_cancels_the_running_statement() {
    let mut child = foretell(&["run", "-"]).spawn().unwrap();
    let sql = b"SELECT 1 AS started; SELECT count(*) FROM generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y) \
                WHERE (x * y) % 7 = 9";
    child.stdin.take().unwrap().write_all(sql).unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("(1 row)") {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0);
    }
    std::thread::sleep(Duration::from_millis(300));
    interrupt(child);
}

/// Interrupts a child, which says so and ends.
#[cfg(unix)]
fn interrupt(mut child: Child) {
    let interrupted = Instant::now();
    // SAFETY: the process is our child and has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
    while child.try_wait().unwrap().is_none() && interrupted.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("canceling statement"), "{}", text(&output.stderr));
}

/// Stopped between two of its looks it goes on there, and ends with the bits of a run that was never stopped; rows that
/// have changed since begin anew.
#[cfg(unix)]
#[test]
fn a_pretraining_that_was_stopped_goes_on_where_it_stood() {
    let folder = TempDir::new().unwrap();
    let rows = folder.path().join("rows.csv");
    let csv = |last: u32| {
        let line = |t: u32| format!("{t},{}\n", 50 + 10 * (t % 7) + if t == 199 { last } else { 0 });
        format!("t,y\n{}", (0..200).map(line).collect::<String>())
    };
    std::fs::write(&rows, csv(0)).unwrap();
    let pretrain = format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS rows STORED AS CSV LOCATION '{}';
         PRETRAIN FORECAST MODEL net ON rows TARGET y ORDER BY t WITH (steps = 200, dim = 32, layers = 1, batch_size = 2048);
         SELECT count(*) AS lines, max(step) AS steps FROM ml.training_log WHERE model = 'net';
         SELECT forecast FROM forecast(net, data => (SELECT t, y FROM rows), target => y, time => t, horizon => 5);",
        path(&rows)
    );
    let start = |database: &Path| {
        let database = path(database).to_owned();
        let mut child = foretell(&["run", "--database", &database, "--format", "csv", "-"]).spawn().unwrap();
        child.stdin.take().unwrap().write_all(pretrain.as_bytes()).unwrap();
        child
    };
    let stopped = folder.path().join("stopped");
    let kept = || {
        let names = std::fs::read_dir(stopped.join("pretraining")).into_iter().flatten();
        names.filter(|name| name.as_ref().unwrap().file_name().len() == 32).count()
    };
    for (last, checkpoints) in [(0, 1), (9, 2)] {
        std::fs::write(&rows, csv(last)).unwrap();
        let mut child = start(&stopped);
        while kept() < checkpoints {
            assert!(child.try_wait().unwrap().is_none(), "{:?}", child.wait_with_output());
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt(child);
    }
    std::fs::write(&rows, csv(0)).unwrap();
    let later = start(&stopped).wait_with_output().unwrap();
    assert!(text(&later.stderr).contains("of the pretraining that was stopped"), "{}", text(&later.stderr));
    assert_eq!(kept(), 1);
    let never = start(&folder.path().join("never")).wait_with_output().unwrap();
    assert!(!text(&never.stderr).contains("was stopped"), "{}", text(&never.stderr));
    let told = |output: &Output| {
        let lines = text(&output.stdout).lines().map(ToOwned::to_owned).collect::<Vec<_>>();
        lines[lines.iter().position(|line| line == "lines,steps").unwrap()..].to_vec()
    };
    assert_eq!(told(&later), told(&never));
    assert_eq!((told(&never)[1].as_str(), told(&never).len()), ("20,200", 8));
}

/// Waits until the process has written a line, which it does with its database open.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_second_writer_is_refused_at_once_and_readers_work() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("shop");
    let mut writer = foretell(&["run", "--database", path(&database), "-"]).spawn().unwrap();
    let mut sql = writer.stdin.take().unwrap();
    sql.write_all(
        b"CREATE TABLE t AS SELECT 7 AS n; SELECT count(*) FROM generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y) WHERE (x * y) % 7 = 9;",
    )
    .unwrap();
    drop(sql);
    assert_eq!(first_line(&mut writer), "SELECT 1\n");
    let second = run(&["run", "--database", path(&database), "-"], "SELECT 1");
    assert_eq!(second.status.code(), Some(1));
    let holder = format!("is open for writing by process {}\nHINT: open it with --read-only", writer.id());
    assert!(text(&second.stderr).contains(&holder), "{}", text(&second.stderr));
    let reader = run(
        &["run", "--read-only", "--format", "csv", "--database", path(&database), "-"],
        "SELECT * FROM t",
    );
    assert_eq!((text(&reader.stdout), text(&reader.stderr)), ("n\n7\n", ""));
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(run(&["run", "--database", path(&database), "-"], "INSERT INTO t VALUES (8)").status.success());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no database").unwrap();
    for place in [file.clone(), file.join("below"), PathBuf::from("/proc/foretell")] {
        let output = run(&["run", "--database", path(&place), "-"], "SELECT 1");
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(error.starts_with(&format!("ERROR: cannot open database {}: ", place.display())), "{error}");
        assert!(error.contains("HINT: choose a directory that this user may write to"), "{error}");
    }
}

const TWO_MODELS: &str = "\
    CREATE TABLE sales AS SELECT DATE '2026-01-05' + n::int AS day, n % 7 AS units FROM generate_series(0, 41) g(n); \
    TRAIN FORECAST MODEL good ON sales TARGET units HORIZON 2 USING seasonal_naive; \
    TRAIN FORECAST MODEL bad ON sales TARGET units HORIZON 2 USING tide WITH (epochs = 1, dim = 8, layers = 1)";

#[test]
fn a_damaged_model_file_is_named_and_harms_no_other() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("shop");
    let database = path(&database);
    assert!(run(&["run", "--database", database, "-"], TWO_MODELS).status.success());
    let models = Path::new(database).join("models");
    let largest =
        weights(&models).into_iter().max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
    let sound = std::fs::read(&largest).unwrap();
    for at in [0, 9, sound.len() / 2, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&largest, &damaged).unwrap();
        let read = run(&["run", "--database", database, "-"], "SELECT * FROM forecast(bad)");
        assert_eq!(read.status.code(), Some(1));
        let error = text(&read.stderr);
        assert!(error.contains("model bad") && error.contains("checksum"), "{error}");
        assert!(
            run(
                &["run", "--database", database, "-"],
                "SELECT * FROM forecast(good); SELECT * FROM ml.models"
            )
            .status
            .success()
        );
    }
    std::fs::write(&largest, &sound[..sound.len() / 2]).unwrap();
    assert_eq!(
        run(&["run", "--database", database, "-"], "SELECT * FROM forecast(bad)").status.code(),
        Some(1)
    );
    assert!(run(&["run", "--database", database, "-"], "DROP MODEL bad").status.success());
}

fn weights(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = paths.flat_map(|path| if path.is_dir() { weights(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect()
}

#[test]
fn explain_train_tells_everything_and_trains_nothing() {
    let sql = "CREATE TABLE sales AS SELECT 'A' || k AS item, DATE '2026-01-05' + n::int AS day, n % 7 AS units, \
               n % 5 = 0 AS promo, 'red' AS colour FROM generate_series(0, 83) g(n) CROSS JOIN generate_series(1, 3) i(k) \
               WHERE n <> 40; \
               EXPLAIN TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY item HORIZON 14; \
               SELECT count(*) AS models FROM ml.models";
    let output = run(&["run", "--format", "csv", "-"], sql);
    let told = text(&output.stdout);
    for line in [
        "model,m",
        "relation,sales",
        "family,\"auto (seasonal_naive, theta, gbt, foundation, ets, ces, arima, tide)\"",
        "key,item",
        "time,day",
        "target,units",
        "known,none",
        "past,promo (inferred)",
        "static,colour (inferred)",
        "frequency,DAY",
        "season,7 steps",
        "from,2026-01-05",
        "to,2026-03-29",
        "series,3",
        "rows,249",
        "gaps,3 (GAPS NULL)",
        "duplicates,0",
        "horizon,14",
        "validation,last 42 steps in 3 windows",
        "models\n0",
    ] {
        assert!(told.contains(&format!("{line}\n")), "{line} is not in {told}{}", text(&output.stderr));
    }
    for measure in ["windows,", "parameters,", "memory,about ", "time,about "] {
        assert!(told.contains(&format!("\n{measure}")), "{measure} is not in {told}");
    }
}

/// A server in a process of its own, killed when dropped.
struct Serving {
    process: Child,
    port: u16,
    user: String,
    password: String,
}

impl Serving {
    /// Starts `foretell serve` with these arguments and reads what it prints for its first owner.
    fn start(arguments: &[&str]) -> Self {
        let mut process = foretell(&[&["serve", "--port", "0"], arguments].concat()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let first = line();
        let port = first.rsplit(':').next().unwrap().parse().unwrap();
        let address = loop {
            let line = line();
            if let Some(address) = line.trim().strip_prefix("psql \"postgresql://") {
                break address.to_owned();
            }
        };
        let (user, rest) = address.split_once(':').unwrap();
        let password = rest.split_once('@').unwrap().0;
        Self { process, port, user: user.to_owned(), password: password.to_owned() }
    }

    /// Connects with tokio-postgres and gives the answer to a query.
    fn ask(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut config = tokio_postgres::Config::new();
            config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(reason)?;
            tokio::spawn(connection);
            let row = client.query_one(sql, &[]).await.map_err(reason)?;
            Ok(row.get::<_, String>(0))
        })
    }
}

fn reason(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_server_lets_in_who_knows_the_password() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("shop");
    let server = Serving::start(&[path(&directory)]);
    let (user, password) = (server.user.clone(), server.password.clone());
    assert_eq!(server.ask(&user, &password, "shop", "SELECT current_user::text"), Ok(user.clone()));
    let wrong = format!("28P01 password authentication failed for user \"{user}\"");
    assert_eq!(server.ask(&user, "wrong", "shop", "SELECT 'x'"), Err(wrong));
    let unknown = "28P01 password authentication failed for user \"eve\"".to_owned();
    assert_eq!(server.ask("eve", &password, "shop", "SELECT 'x'"), Err(unknown));
    let database = "3D000 database \"other\" does not exist".to_owned();
    assert_eq!(server.ask(&user, &password, "other", "SELECT 'x'"), Err(database));

    let kept = directory.join("owner-password");
    assert_eq!(std::fs::read_to_string(&kept).unwrap().trim(), password);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_server_does_not_start_where_strangers_could_read() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("shop");
    let output = run(&["serve", path(&directory), "--host", "0.0.0.0", "--port", "0"], "");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("will not listen on 0.0.0.0: passwords and data would travel unencrypted"),
        "{error}"
    );

    let key = folder.path().join("key.pem");
    std::fs::write(&key, "no key").unwrap();
    let tls = ["--tls-certificate", path(&key), "--tls-key", path(&key)];
    let output = run(&[&["serve", path(&directory), "--port", "0"], &tls[..]].concat(), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("for TLS: there is no certificate in it"),
        "{}",
        text(&output.stderr)
    );
}
