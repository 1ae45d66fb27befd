use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::DataType;
use futures::StreamExt;

use super::super::{Access, Catalog, DurableFs};
use super::hooked::{Hooked, Operation};
use super::{Database, column, definition, functions, name, sales};
use crate::error::{ErrorKind, Subject};

#[tokio::test]
async fn constraints_are_verified_on_insert_with_three_valued_logic() {
    let database = Database::with_sales().await;
    let broken = database.error("INSERT INTO sales VALUES ('a', 1, 'x'), ('b', -5, 'x')").await;
    assert_eq!((broken.kind(), broken.subject()), (ErrorKind::Data, Subject::Constraint));
    assert_eq!(broken.message(), "row violates check constraint \"y_is_positive\" of table sales: (y >= 0)");
    let null = database.error("INSERT INTO sales VALUES (NULL, 1, 'x')").await;
    assert_eq!((null.kind(), null.subject()), (ErrorKind::Data, Subject::Constraint));
    assert_eq!(null.message(), "null value in column \"k\" of table sales violates not-null constraint");
    assert_eq!(database.version("sales").await, 0);
    assert!(database.parquet_files("sales").is_empty());
    database.run("INSERT INTO sales (k, y) VALUES ('a', NULL)").await.unwrap();
    assert_eq!(database.rows("SELECT * FROM sales").await, ["a|NULL|none"]);
}

#[tokio::test]
async fn insert_reports_its_count_and_sees_the_table_before_itself() {
    let database = Database::with_sales().await;
    assert_eq!(database.rows("INSERT INTO sales VALUES ('a', 1, 'x'), ('b', 2, 'x')").await, ["2"]);
    assert_eq!(database.rows("INSERT INTO sales SELECT * FROM sales").await, ["2"]);
    assert_eq!(database.rows("INSERT INTO sales SELECT * FROM sales WHERE y > 9").await, ["0"]);
    assert_eq!(database.version("sales").await, 2);
    assert_eq!(database.rows("SELECT count(*), sum(y) FROM sales").await, ["4|6.0"]);
    assert_eq!(database.rows("INSERT OVERWRITE sales SELECT * FROM sales WHERE y > 1").await, ["2"]);
    assert_eq!(database.rows("SELECT k, y FROM sales").await, ["b|2.0", "b|2.0"]);
}

#[tokio::test]
async fn delete_and_update_change_rows_for_which_the_condition_is_true_only() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x'), ('b', NULL, 'x')").await.unwrap();
    database.run("INSERT INTO sales VALUES ('c', 3, 'x'), ('d', 9, 'x')").await.unwrap();
    let before = database.version("sales").await;
    assert_eq!(database.rows("DELETE FROM sales WHERE y > 100").await, ["0"]);
    assert_eq!(database.rows("UPDATE sales SET note = 'z' WHERE y > 100").await, ["0"]);
    assert_eq!(database.version("sales").await, before);
    assert_eq!(database.rows("DELETE FROM sales WHERE NOT (y > 1)").await, ["1"]);
    assert_eq!(database.rows("UPDATE sales SET y = y + 1, note = k WHERE y < 9").await, ["1"]);
    assert_eq!(database.rows("SELECT * FROM sales ORDER BY k").await, ["b|NULL|x", "c|4.0|c", "d|9.0|x"]);
    assert_eq!(database.version("sales").await, before + 2);
    assert_eq!(database.rows("DELETE FROM sales").await, ["3"]);
    assert_eq!(database.rows("SELECT count(*) FROM sales").await, ["0"]);
}

#[tokio::test]
async fn update_computes_from_old_values_of_matching_rows_and_keeps_constraints() {
    let database = Database::new();
    database.create_as("t", "SELECT * FROM (VALUES (1, 2), (0, 5)) AS v(a, b)", &[]).await.unwrap();
    assert_eq!(database.rows("UPDATE t SET a = b, b = 100 / a WHERE a <> 0").await, ["1"]);
    assert_eq!(database.rows("SELECT * FROM t ORDER BY a").await, ["0|5", "2|100"]);
    database.error("UPDATE t SET b = 100 / a").await;
    assert_eq!(database.rows("UPDATE t SET a = 7").await, ["2"]);
    assert_eq!(database.rows("SELECT a FROM t").await, ["7", "7"]);

    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let broken = database.error("UPDATE sales SET y = -1").await;
    assert_eq!(broken.message(), "row violates check constraint \"y_is_positive\" of table sales: (y >= 0)");
    let null = database.error("UPDATE sales SET k = NULL").await;
    assert_eq!(null.message(), "null value in column \"k\" of table sales violates not-null constraint");
    assert_eq!(database.rows("SELECT * FROM sales").await, ["a|1.0|x"]);
    assert_eq!(database.parquet_files("sales").len(), 1);
}

#[tokio::test]
async fn planning_a_change_changes_nothing() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let version = database.version("sales").await;
    for sql in ["DELETE FROM sales", "UPDATE sales SET y = 2", "INSERT INTO sales VALUES ('b', 2, 'x')"] {
        database.plan(sql).await;
        database.run(&format!("EXPLAIN {sql}")).await.unwrap();
    }
    assert_eq!(database.version("sales").await, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_inserts_and_deletes_lose_nothing() {
    let database = Arc::new(Database::with_sales().await);
    database.run("INSERT INTO sales VALUES ('gone', 1, 'x')").await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                for i in 0..5 {
                    let sql = format!("INSERT INTO sales VALUES ('t{task}', {i}, 'x'), ('u', 1, 'x')");
                    database.run(&sql).await.unwrap();
                }
            })
        })
        .collect();
    assert_eq!(database.rows("DELETE FROM sales WHERE k = 'gone'").await, ["1"]);
    for task in tasks {
        task.await.unwrap();
    }
    let counts = database.rows("SELECT count(*), count(*) FILTER (WHERE k = 'u') FROM sales").await;
    assert_eq!(counts, ["80|40"]);
    // Those that waited for another share a commit.
    let version = database.version("sales").await;
    assert!((7..=42).contains(&version), "{version}");
    for i in 0..20 {
        database.run(&format!("INSERT INTO sales VALUES ('after', {i}, 'x')")).await.unwrap();
    }
    let log = std::fs::read_dir(database.table_directory("sales").join("_delta_log")).unwrap();
    let names = log.map(|f| f.unwrap().file_name().into_string().unwrap());
    assert!(names.filter(|n| n.contains("checkpoint")).count() >= 1, "no checkpoint was written");
    let again = super::super::Catalog::open(
        database.directory.path(),
        super::super::Access::ReadOnly,
        super::functions(),
    );
    let counted = super::run(&again.unwrap(), "SELECT count(*) FROM sales").await.unwrap();
    assert_eq!(super::lines(&counted), ["100"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_insert_leaves_no_row_and_no_file() {
    let database = Database::new();
    database.create("t", definition(vec![column("x", DataType::Int64)])).await.unwrap();
    let plan = database.plan("INSERT INTO t SELECT value FROM generate_series(1, 100000000)").await;
    let context = database.session().await.task_ctx();
    let mut stream = datafusion::physical_plan::execute_stream(plan, context).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(200), stream.next()).await;
    assert!(waited.is_err(), "the insert was to take longer");
    drop(stream);
    for _ in 0..500 {
        if std::fs::read_dir(database.table_directory("t")).unwrap().count() == 1 {
            break; // only the log is left
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(std::fs::read_dir(database.table_directory("t")).unwrap().count(), 1);
    assert_eq!(database.rows("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn statement_planned_before_an_alter_does_not_write() {
    let database = Database::with_sales().await;
    let plan = database.plan("INSERT INTO sales VALUES ('a', 1, 'x')").await;
    database.catalog.rename_column(&name("sales"), "note", "remark").await.unwrap();
    let context = database.session().await.task_ctx();
    let error = datafusion::physical_plan::collect(plan, context).await.unwrap_err();
    let error = crate::error::Error::from(error);
    assert_eq!(error.message(), "table sales was altered while the statement ran");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alter_that_nobody_waits_for_makes_older_plans_old() {
    let slow = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&slow);
    let fs = Hooked::before(move |operation, path| {
        let of_catalog = operation == Operation::Link && path.to_string_lossy().contains("/catalog/");
        if of_catalog && armed.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(400));
        }
        Ok(())
    });
    let (directory, fs) = (tempfile::tempdir().unwrap(), DurableFs::new(Arc::new(fs)));
    let catalog = Catalog::open_on(directory.path(), Access::ReadWrite, functions(), fs).unwrap();
    let database = Database { directory, catalog };
    database.create("sales", sales()).await.unwrap();
    let plan = database.plan("INSERT INTO sales VALUES ('a', 1, 'x')").await;
    let context = database.session().await.task_ctx();
    slow.store(true, Ordering::SeqCst);
    let catalog = database.catalog.clone();
    let alter = tokio::spawn(async move { catalog.rename_column(&name("sales"), "note", "remark").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    alter.abort();
    let error = datafusion::physical_plan::collect(plan, context).await.unwrap_err();
    let error = crate::error::Error::from(error);
    assert_eq!(error.message(), "table sales was altered while the statement ran");
    assert_eq!(database.rows("SELECT count(remark) FROM sales").await, ["0"]);
}
