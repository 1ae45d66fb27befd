use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono::{TimeDelta, Utc};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::{HeldVersions, TableVersion};
use super::{Database, column, lines, name};
use crate::error::ErrorKind;

#[tokio::test]
async fn past_versions_are_read_by_number_and_by_time() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let between = Utc::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    database.run("UPDATE sales SET y = 2").await.unwrap();
    database.run("DELETE FROM sales WHERE y = 2").await.unwrap();
    let past = |version| database.rows_of_version("sales", version, "SELECT y FROM past");
    assert_eq!(past(TableVersion::Number(0)).await, Vec::<String>::new());
    assert_eq!(past(TableVersion::Number(1)).await, ["1.0"]);
    assert_eq!(past(TableVersion::Number(2)).await, ["2.0"]);
    assert_eq!(past(TableVersion::At(between)).await, ["1.0"]);
    assert_eq!(past(TableVersion::At(Utc::now())).await, Vec::<String>::new());

    let catalog = &database.catalog;
    let missing = catalog.provider(&name("sales"), TableVersion::Number(4)).await.unwrap_err();
    assert_eq!((missing.kind(), missing.message()), (ErrorKind::NotFound, "table sales has no version 4"));
    let early = Utc::now() - TimeDelta::days(1);
    let before = catalog.provider(&name("sales"), TableVersion::At(early)).await.unwrap_err();
    assert!(before.message().starts_with("table sales has no version of"), "{before}");

    let history = catalog.history(&name("sales")).await.unwrap();
    let told: Vec<_> = history.iter().map(|v| (v.version, v.operation.as_str(), v.rows)).collect();
    let expected = [(3, "DELETE", 1), (2, "UPDATE", 1), (1, "INSERT", 1), (0, "CREATE TABLE", 0)];
    assert_eq!(told, expected.map(|(version, operation, rows)| (version, operation, Some(rows))));
}

#[tokio::test]
async fn past_version_is_read_only_and_knows_columns_by_their_name_of_today() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let catalog = &database.catalog;
    let context = database.session().await.task_ctx();
    catalog.rename_column(&name("sales"), "y", "units").await.unwrap();
    catalog.drop_column(&name("sales"), "note", false).await.unwrap();
    let price = column("price", DataType::Float64);
    catalog.add_column(&name("sales"), price, None, false, &context).await.unwrap();
    assert_eq!(database.rows("SELECT * FROM sales").await, ["a|1.0|NULL"]);
    let past = database.rows_of_version("sales", TableVersion::Number(1), "SELECT k, units, note FROM past");
    assert_eq!(past.await, ["a|1.0|x"]);
    let session = datafusion::prelude::SessionContext::new();
    let provider = catalog.provider(&name("sales"), TableVersion::Number(1)).await.unwrap();
    session.register_table("past", provider).unwrap();
    let refused = async { session.sql("DELETE FROM past").await?.collect().await };
    let error = crate::error::Error::from(refused.await.unwrap_err());
    assert_eq!(error.message(), "a past version of table sales cannot be changed");
}

#[tokio::test]
async fn a_statement_reads_the_version_that_it_saw_first() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let provider = database.catalog.provider(&name("sales"), TableVersion::Latest).await.unwrap();
    let config = SessionConfig::new().with_extension(Arc::new(HeldVersions::default()));
    let session = SessionContext::new_with_config(config);
    session.register_table("sales", provider).unwrap();
    let keys = async || lines(&session.sql("SELECT k FROM sales").await.unwrap().collect().await.unwrap());
    assert_eq!(keys().await, ["a"]);
    database.run("UPDATE sales SET k = 'b'").await.unwrap();
    assert_eq!(keys().await, ["a"]);
    assert_eq!(database.rows("SELECT k FROM sales").await, ["b"]);
    assert_eq!(database.catalog.vacuum(&name("sales"), TimeDelta::zero()).await.unwrap().files_deleted, 0);
    database.catalog.drop_entries(vec![(name("sales"), "table")], false).await.unwrap();
    assert_eq!(keys().await, ["a"]);
}

#[tokio::test]
async fn vacuum_keeps_the_newest_version_and_recent_ones() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    database.run("UPDATE sales SET y = 2").await.unwrap();
    assert_eq!(database.parquet_files("sales").len(), 2);
    let sales = name("sales");
    let vacuum = |retention| database.catalog.vacuum(&sales, retention);
    assert_eq!(vacuum(TimeDelta::days(7)).await.unwrap().files_deleted, 0);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(vacuum(TimeDelta::zero()).await.unwrap().files_deleted, 1);
    assert_eq!(database.rows("SELECT y FROM sales").await, ["2.0"]);
    let negative = vacuum(TimeDelta::seconds(-1)).await.unwrap_err();
    assert_eq!(negative.message(), "the retention of VACUUM must not be negative");
}
