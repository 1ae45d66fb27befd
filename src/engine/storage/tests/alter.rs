use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::super::{ColumnDefinition, StoredTableProvider, TableLock, TableName, TableVersion};
use super::{Database, column, name, required};
use crate::error::{ErrorKind, Subject};

#[tokio::test]
async fn renamed_table_keeps_its_rows_and_directory() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let id = database.catalog.table(&name("sales")).unwrap().id.clone();
    database.catalog.create_schema("shop", false).await.unwrap();
    database.catalog.rename_table(&name("sales"), &name("Verkäufe")).await.unwrap();
    let error = database.error("INSERT INTO \"Verkäufe\" VALUES ('a', -1, 'x')").await;
    assert!(error.message().contains("of table Verkäufe"), "{error}");
    let database = database.reopen();
    assert_eq!(database.rows("SELECT k FROM \"Verkäufe\"").await, ["a"]);
    let moved = TableName::new("shop", "sales");
    database.catalog.rename_table(&name("Verkäufe"), &moved).await.unwrap();
    assert_eq!(database.catalog.table(&moved).unwrap().id, id);
    database.create("sales", super::sales()).await.unwrap();
    let taken = database.catalog.rename_table(&moved, &name("sales")).await.unwrap_err();
    assert_eq!((taken.kind(), taken.message()), (ErrorKind::Exists, "table sales already exists"));
}

#[tokio::test]
async fn renamed_column_keeps_rows_constraint_and_filters() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    database.catalog.rename_column(&name("sales"), "y", "Units Sold").await.unwrap();
    database.run("INSERT INTO sales (k, \"Units Sold\") VALUES ('b', 2)").await.unwrap();
    let rows = database.rows("SELECT k, \"Units Sold\" FROM sales WHERE \"Units Sold\" > 1").await;
    assert_eq!(rows, ["b|2.0"]);
    let error = database.error("UPDATE sales SET \"Units Sold\" = -1 WHERE k = 'a'").await;
    assert_eq!(
        error.message(),
        "row violates check constraint \"y_is_positive\" of table sales: (\"Units Sold\" >= 0)"
    );
    let database = database.reopen();
    assert_eq!(database.rows("SELECT sum(\"Units Sold\") FROM sales").await, ["3.0"]);
    let catalog = &database.catalog;
    let missing = catalog.rename_column(&name("sales"), "notes", "n").await.unwrap_err();
    assert_eq!(missing.message(), "no column notes in sales; did you mean note?");
    let taken = catalog.rename_column(&name("sales"), "note", "k").await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Exists);
}

#[tokio::test]
async fn added_column_has_its_default_in_old_rows_and_new_ones() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let context = database.session().await.task_ctx();
    let catalog = &database.catalog;
    let store = ColumnDefinition { default_sql: Some("7".into()), ..required("store", DataType::Int32) };
    let sales = name("sales");
    let fill = Some(ScalarValue::Int64(Some(7)));
    assert!(catalog.add_column(&sales, store.clone(), fill, false, &context).await.unwrap());
    assert!(!catalog.add_column(&sales, store, None, true, &context).await.unwrap());
    database.run("INSERT INTO sales (k) VALUES ('b')").await.unwrap();
    assert_eq!(database.rows("SELECT k, store FROM sales ORDER BY k").await, ["a|7", "b|7"]);
    let null = database.error("INSERT INTO sales (k, store) VALUES ('c', NULL)").await;
    assert_eq!(null.message(), "null value in column \"store\" of table sales violates not-null constraint");
    let day = required("day", DataType::Date32);
    let error = catalog.add_column(&sales, day, None, false, &context).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::Data, Subject::Constraint));
    assert_eq!(error.message(), "column \"day\" of table sales would contain null values");
    let time = column("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None));
    catalog.add_column(&sales, time, None, false, &context).await.unwrap();
    database.run("INSERT INTO sales (k, at) VALUES ('d', timestamp '2024-01-01 10:00:00')").await.unwrap();
    let database = database.reopen();
    assert_eq!(
        database.rows("SELECT k, at FROM sales ORDER BY k").await,
        ["a|NULL", "b|NULL", "d|2024-01-01T10:00:00"]
    );
}

#[tokio::test]
async fn dropped_column_does_not_come_back_under_its_name() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'secret')").await.unwrap();
    let context = database.session().await.task_ctx();
    let catalog = &database.catalog;
    let sales = name("sales");
    let used = catalog.drop_column(&sales, "y", false).await.unwrap_err();
    assert_eq!(used.message(), "column y of table sales is used by check constraint \"y_is_positive\"");
    assert!(catalog.drop_column(&sales, "note", false).await.unwrap());
    assert!(!catalog.drop_column(&sales, "note", true).await.unwrap());
    catalog.add_column(&sales, column("note", DataType::Utf8), None, false, &context).await.unwrap();
    assert_eq!(database.rows("SELECT * FROM sales").await, ["a|1.0|NULL"]);
    database.run("UPDATE sales SET note = 'new'").await.unwrap();
    assert_eq!(database.rows("SELECT note FROM sales").await, ["new"]);
}

#[tokio::test]
async fn default_can_be_changed_for_rows_to_come() {
    let database = Database::with_sales().await;
    let sales = name("sales");
    database.catalog.set_default(&sales, "note", Some("'later'".into())).await.unwrap();
    database.run("INSERT INTO sales (k) VALUES ('a')").await.unwrap();
    database.catalog.set_default(&sales, "note", None).await.unwrap();
    database.run("INSERT INTO sales (k) VALUES ('b')").await.unwrap();
    assert_eq!(database.rows("SELECT k, note FROM sales ORDER BY k").await, ["a|later", "b|NULL"]);
    let wrong = database.catalog.set_default(&sales, "y", Some("[1]".into())).await.unwrap_err();
    assert!(wrong.message().starts_with("default of column y is"), "{wrong}");
}

#[tokio::test]
async fn names_that_are_exchanged_while_an_alter_waits_leave_both_tables_whole() {
    let database = Database::new();
    database.create_as("t", "SELECT 1 AS a, 2 AS v", &[]).await.unwrap();
    database.create_as("u", "SELECT 3 AS b, 4 AS w, 5 AS a", &[]).await.unwrap();
    let provider = database.catalog.provider(&name("t"), TableVersion::Latest).await.unwrap();
    let stored = provider.downcast_ref::<StoredTableProvider>().unwrap();
    let lock = TableLock::new(stored.latest_table().unwrap()).await;
    let catalog = database.catalog.clone();
    let altering = tokio::spawn(async move { catalog.drop_column(&name("t"), "a", false).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    database.catalog.rename_table(&name("t"), &name("old")).await.unwrap();
    database.catalog.rename_table(&name("u"), &name("t")).await.unwrap();
    drop(lock);
    assert!(altering.await.unwrap().unwrap());
    let database = database.reopen();
    assert_eq!(database.rows("SELECT * FROM old").await, ["1|2"]);
    assert_eq!(database.rows("SELECT * FROM t").await, ["3|4"]);
}
