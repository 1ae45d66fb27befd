use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use futures::StreamExt;

use super::super::{Access, Catalog, DurableFs};
use super::hooked::{Hooked, Operation};
use super::{Database, functions, name, sales};

#[tokio::test]
async fn leftovers_of_a_killed_process_are_removed_at_open() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let tables = database.directory.path().join("tables");
    let staging = ".staging-1-2-3";
    let leftovers = [
        database.directory.path().join("catalog").join(staging),
        database.table_directory("sales").join(staging),
        database.table_directory("sales").join("_delta_log").join(staging),
    ];
    for file in &leftovers {
        std::fs::write(file, b"torn").unwrap();
    }
    std::fs::create_dir_all(tables.join("half/_delta_log")).unwrap();
    std::fs::write(tables.join("half/part-1.parquet"), b"torn").unwrap();
    let database = database.reopen();
    assert!(leftovers.iter().all(|file| !file.exists()));
    assert!(!tables.join("half").exists());
    assert_eq!(database.rows("SELECT k FROM sales").await, ["a"]);
}

#[tokio::test]
async fn a_catalog_that_is_missing_takes_no_rows_with_it() {
    let Database { directory, catalog } = Database::with_sales().await;
    super::run(&catalog, "INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    drop(catalog);
    let [room, aside] = ["catalog", "aside"].map(|name| directory.path().join(name));
    std::fs::rename(&room, &aside).unwrap();
    let open = || Catalog::open(directory.path(), Access::ReadWrite, functions()).unwrap();
    assert!(open().entries("public").unwrap().is_empty());
    std::fs::remove_dir_all(&room).unwrap();
    std::fs::rename(&aside, &room).unwrap();
    let rows = super::run(&open(), "SELECT k FROM sales").await.unwrap();
    assert_eq!(super::lines(&rows), ["a"]);
}

#[tokio::test]
async fn data_file_that_no_version_names_is_ignored_and_vacuumed() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let directory = database.table_directory("sales");
    std::fs::copy(directory.join(&database.parquet_files("sales")[0]), directory.join("part-0.parquet"))
        .unwrap();
    assert_eq!(database.rows("SELECT count(*) FROM sales").await, ["1"]);
    let young = database.catalog.vacuum(&name("sales"), TimeDelta::days(7)).await.unwrap();
    assert_eq!(young.files_deleted, 0);
    let all = database.catalog.vacuum(&name("sales"), TimeDelta::zero()).await.unwrap();
    assert_eq!(all.files_deleted, 1);
    assert_eq!(database.rows("SELECT count(*) FROM sales").await, ["1"]);
}

#[tokio::test]
async fn dropped_table_stays_readable_for_who_reads_it() {
    let database = Database::new();
    database.create_as("t", "SELECT value AS x FROM generate_series(1, 100000)", &[]).await.unwrap();
    let session = database.session().await;
    let frame = session.sql("SELECT x FROM t").await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let context = session.task_ctx();
    let directory = database.table_directory("t");
    let missing = database.catalog.drop_entries(vec![(name("t"), "table")], false).await.unwrap();
    assert!(missing.is_empty());
    assert!(database.catalog.find(&name("t")).unwrap().is_none());
    let mut stream = datafusion::physical_plan::execute_stream(plan, context).unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 100_000);
    drop(stream);
    for _ in 0..100 {
        if !directory.exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // tasks of the plan are still ending
    }
    panic!("{} is still there", directory.display());
}

#[tokio::test]
async fn truncated_log_is_reported_and_other_tables_stay_usable() {
    let database = Database::with_sales().await;
    database.create_as("t", "SELECT 1 AS x", &[]).await.unwrap();
    let log = database.table_directory("sales").join("_delta_log/00000000000000000000.json");
    std::fs::write(&log, b"{\"metaData\": {").unwrap();
    let database = database.reopen();
    let provider = database.catalog.provider(&name("sales"), super::TableVersion::Latest).await;
    let error = provider.unwrap_err();
    assert!(error.message().contains("table sales"), "{error}");
    assert_eq!(database.version("t").await, 0);
}

#[tokio::test]
async fn files_of_a_commit_of_which_nobody_knows_are_looked_for_at_the_next_open() {
    let broken = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&broken);
    let fs = Hooked::before(move |operation, path| {
        let of_log = operation == Operation::SyncDirectory && path.ends_with("_delta_log");
        if of_log && armed.load(Ordering::SeqCst) { Err(io::Error::other("broken")) } else { Ok(()) }
    });
    let (directory, fs) = (tempfile::tempdir().unwrap(), DurableFs::new(Arc::new(fs)));
    let catalog = Catalog::open_on(directory.path(), Access::ReadWrite, functions(), fs).unwrap();
    let database = Database { directory, catalog };
    database.create("sales", sales()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    database.error("INSERT INTO sales VALUES ('a', 1, 'x')").await;
    let lock = database.directory.path().join("LOCK");
    let Database { directory, catalog } = database;
    drop(catalog);
    assert_ne!(std::fs::read_to_string(&lock).unwrap(), "");
    let catalog = Catalog::open(directory.path(), Access::ReadWrite, functions()).unwrap();
    let database = Database { directory, catalog };
    assert_eq!(database.rows("SELECT k FROM sales").await, ["a"]);
    drop(database.catalog);
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), "");
}
