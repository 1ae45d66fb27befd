use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow::datatypes::DataType;

use super::super::{Access, Catalog, Entry};
use super::{Database, column, definition, functions, lines, name, run};

const ROUNDS: u64 = 8;
const ROWS: usize = 20_000;
const DIRECTORY: &str = "FORETELL_TEST_DIRECTORY";

/// Runs in a process of its own: writes for ever and says what has been acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs only as the child of the test below"]
async fn writer_to_be_killed() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let directory = Path::new(&directory);
    let database = Database {
        directory: tempfile::tempdir().unwrap(),
        catalog: Catalog::open(directory, Access::ReadWrite, functions()).unwrap(),
    };
    let next = database.rows("SELECT coalesce(max(i) + 1, 0) FROM t").await;
    let next: usize = next[0].parse().unwrap();
    for i in next.. {
        let series = format!("SELECT {i} AS i, value FROM generate_series(1, {ROWS})");
        database.run(&format!("INSERT INTO t {series}")).await.unwrap();
        writeln!(std::io::stdout(), "acknowledged {i}").unwrap();
        database.create_as(&format!("copy_{i}"), &series, &[]).await.unwrap();
        let copy = name(&format!("copy_{}", i.wrapping_sub(1)));
        database.catalog.drop_entries(vec![(copy, "table")], true).await.unwrap();
    }
}

fn kill_a_writer(directory: &Path, after: Duration) -> Option<usize> {
    let this_test = std::env::current_exe().unwrap();
    let mut child = Command::new(this_test)
        .args(["--exact", "engine::storage::tests::kill::writer_to_be_killed", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let told = std::thread::spawn(move || {
        let told = output.lines().map_while(Result::ok);
        told.filter_map(|line| line.split("acknowledged ").nth(1)?.trim().parse().ok()).last()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    told.join().unwrap()
}

#[tokio::test]
async fn killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Catalog::open(directory.path(), Access::ReadWrite, functions()).unwrap();
    let columns = vec![column("i", DataType::Int64), column("value", DataType::Int64)];
    let created = open();
    created.create_table(&name("t"), definition(columns), None, super::IfExists::Fail).await.unwrap();
    drop(created);
    let mut acknowledged = None;
    for round in 0..ROUNDS {
        let told = kill_a_writer(directory.path(), Duration::from_millis(400 + 137 * round));
        acknowledged = told.or(acknowledged);
        let catalog = open();
        let counts = run(&catalog, "SELECT i, count(*) FROM t GROUP BY i ORDER BY i").await.unwrap();
        let counts = lines(&counts);
        assert!(counts.len() > acknowledged.map_or(0, |i| i) || acknowledged.is_none());
        for (i, line) in counts.iter().enumerate() {
            assert_eq!(*line, format!("{i}|{ROWS}"), "round {round}");
        }
        let tables = catalog.entries("public").unwrap();
        for (table, entry) in &tables {
            assert!(matches!(entry, Entry::Table(_)));
            if table != "t" {
                let rows = run(&catalog, &format!("SELECT count(*) FROM {table}")).await.unwrap();
                assert_eq!(lines(&rows), [ROWS.to_string()]);
            }
        }
        let directories = std::fs::read_dir(directory.path().join("tables")).unwrap().count();
        assert_eq!(directories, tables.len(), "round {round}");
    }
    assert!(acknowledged.is_some(), "no round lasted until a commit");
}
