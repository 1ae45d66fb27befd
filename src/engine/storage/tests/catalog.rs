use arrow::datatypes::{DataType, TimeUnit};

use super::super::{Access, Acl, Catalog, ExternalTable, IfExists, TableName, View};
use super::{Database, column, definition, functions, name, run, sales};
use crate::error::{ErrorKind, Subject};

#[tokio::test]
async fn rows_of_every_type_and_names_of_every_kind_survive_reopening() {
    let database = Database::new();
    let query = "SELECT true AS b, arrow_cast(-128, 'Int8') AS i8, arrow_cast(32767, 'Int16') AS i16, \
        arrow_cast(-2147483648, 'Int32') AS i32, 9223372036854775807 AS i64, arrow_cast(1.5, 'Float32') AS f32, \
        double precision '0.1' AS f64, arrow_cast('12.34', 'Decimal128(10, 2)') AS d, 'größe' AS \"Größe\", \
        arrow_cast('x', 'Binary') AS bin, date '2024-02-29' AS \"Unit Price; net\", \
        arrow_cast(timestamp '2024-01-01 00:00:00.123456', 'Timestamp(Microsecond, None)') AS t, \
        arrow_cast(timestamp '2024-01-01', 'Timestamp(Nanosecond, Some(\"Europe/Berlin\"))') AS tz, \
        [1, 2] AS list, named_struct('a', 1, 'b', 'x') AS s, arrow_cast(18446744073709551615, 'UInt64') AS u64, \
        arrow_cast(4294967295, 'UInt32') AS u32, NULL AS n";
    database.create_as("Wide table", query, &[]).await.unwrap();
    let select = "SELECT * FROM \"Wide table\"";
    let before = database.rows(select).await;
    assert_eq!(before.len(), 1);
    assert!(before[0].contains("18446744073709551615") && before[0].contains("4294967295"), "{before:?}");
    assert!(before[0].contains("2024-01-01T00:00:00.123456|2023-12-31T23:00:00Z"), "{before:?}");
    let database = database.reopen();
    assert_eq!(database.rows(select).await, before);
    let column = database.rows("SELECT \"Größe\", \"Unit Price; net\" FROM \"Wide table\"").await;
    assert_eq!(column, ["größe|2024-02-29"]);
}

#[tokio::test]
async fn types_that_tables_cannot_store_are_refused_at_create() {
    let database = Database::new();
    let time = definition(vec![column("t", DataType::Time64(TimeUnit::Nanosecond))]);
    let error = database.create("a", time).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert_eq!(error.message(), "column t has type TIME, which tables cannot store; use TIMESTAMP, or TEXT");
    assert!(database.catalog.find(&name("a")).unwrap().is_none());
}

#[tokio::test]
async fn bad_definitions_are_refused_by_name() {
    let database = Database::new();
    let twice = definition(vec![column("a", DataType::Int32), column("a", DataType::Int32)]);
    assert_eq!(database.create("t", twice).await.unwrap_err().message(), "column a is given twice");
    let mut no_condition = sales();
    no_condition.checks[0].sql = "y + 1".into();
    let error = database.create("t", no_condition).await.unwrap_err();
    assert_eq!(error.message(), "check constraint \"y_is_positive\" must be a condition: (y + 1)");
    let mut unknown = sales();
    unknown.cluster_by = vec!["kk".into()];
    let error = database.create("t", unknown).await.unwrap_err();
    assert_eq!(error.message(), "no column kk in t; did you mean k?");
    let error = database.create("t", definition(Vec::new())).await.unwrap_err();
    assert_eq!(error.message(), "table t needs at least one column");
    assert_eq!(std::fs::read_dir(database.directory.path().join("tables")).unwrap().count(), 0);
}

#[tokio::test]
async fn create_table_as_that_fails_midway_leaves_nothing() {
    let database = Database::new();
    let query = "SELECT 10 / (50000 - value) AS x FROM generate_series(1, 60000)";
    database.create_as("t", query, &[]).await.unwrap_err();
    assert!(database.catalog.find(&name("t")).unwrap().is_none());
    assert_eq!(std::fs::read_dir(database.directory.path().join("tables")).unwrap().count(), 0);
    database.create_as("t", "SELECT 1 AS x", &[]).await.unwrap();
    assert_eq!(database.rows("SELECT * FROM t").await, ["1"]);
}

#[tokio::test]
async fn taken_names_fail_skip_or_are_replaced() {
    let database = Database::with_sales().await;
    database.run("INSERT INTO sales VALUES ('a', 1, 'x')").await.unwrap();
    let again = database.create("sales", sales()).await.unwrap_err();
    assert_eq!((again.kind(), again.message()), (ErrorKind::Exists, "table sales already exists"));
    let catalog = &database.catalog;
    let skipped = catalog.create_table(&name("sales"), sales(), None, IfExists::Skip).await.unwrap();
    assert!(!skipped.created);
    assert_eq!(database.rows("SELECT count(*) FROM sales").await, ["1"]);
    let old = database.table_directory("sales");
    let replaced = catalog.create_table(&name("sales"), sales(), None, IfExists::Replace).await.unwrap();
    assert!(replaced.created);
    assert_eq!(database.rows("SELECT count(*) FROM sales").await, ["0"]);
    assert!(!old.exists());
}

#[tokio::test]
async fn schemas_views_and_external_tables_are_remembered() {
    let database = Database::new();
    let catalog = &database.catalog;
    assert!(catalog.create_schema("shop", false).await.unwrap());
    assert!(!catalog.create_schema("shop", true).await.unwrap());
    let view = |sql: &str| View { sql: sql.into(), columns: vec![], comment: None, acl: Acl::default() };
    let in_shop = TableName::new("shop", "v");
    catalog.create_view(&in_shop, view("SELECT 1"), false).await.unwrap();
    let again = catalog.create_view(&in_shop, view("SELECT 2"), false).await.unwrap_err();
    assert_eq!(again.message(), "view shop.v already exists");
    catalog.create_view(&in_shop, view("SELECT 2"), true).await.unwrap();
    let external = ExternalTable {
        location: "/data/a.csv".into(),
        format: "CSV".into(),
        options: [("format.has_header".to_string(), "true".to_string())].into(),
        schema: Some(arrow::datatypes::Schema::empty()),
        definition: "CREATE EXTERNAL TABLE e ...".into(),
        comment: None,
        acl: Acl::default(),
    };
    catalog.create_external(&name("e"), external.clone(), IfExists::Fail).await.unwrap();
    let wrong = catalog.drop_entries(vec![(name("e"), "table")], false).await.unwrap_err();
    assert_eq!(wrong.message(), "e is an external table, not a table");

    let database = database.reopen();
    let catalog = &database.catalog;
    assert_eq!(catalog.schemas().unwrap(), ["public", "shop"]);
    let contents = catalog.contents().unwrap();
    assert!(matches!(contents.find(&in_shop), Some(super::Entry::View(v)) if v.sql == "SELECT 2"));
    assert!(matches!(contents.find(&name("e")), Some(super::Entry::External(e)) if **e == external));
    let full = catalog.drop_schema("shop", false, false).await.unwrap_err();
    assert_eq!(full.message(), "schema shop is not empty");
    assert!(catalog.drop_schema("shop", false, true).await.unwrap());
    assert!(!catalog.drop_schema("shop", true, true).await.unwrap());
    assert!(catalog.drop_entries(vec![(name("e"), "external table")], false).await.unwrap().is_empty());
    let missing = catalog.drop_entries(vec![(name("gone"), "view")], true).await.unwrap();
    assert_eq!(missing, [name("gone")]);
    let gone = catalog.drop_entries(vec![(name("gone"), "view")], false).await.unwrap_err();
    assert_eq!((gone.kind(), gone.subject()), (ErrorKind::NotFound, Subject::Table));
}

#[tokio::test]
async fn second_writer_is_refused_and_readers_see_what_the_writer_did() {
    let database = Database::new();
    let open = |access| Catalog::open(database.directory.path(), access, functions());
    let error = open(Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().ends_with(&format!("by process {}", std::process::id())), "{error}");
    let reader = open(Access::ReadOnly).unwrap();
    database.create_as("t", "SELECT 1 AS x", &[]).await.unwrap();
    assert_eq!(super::lines(&run(&reader, "SELECT * FROM t").await.unwrap()), ["1"]);
    database.run("INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(super::lines(&run(&reader, "SELECT count(*) FROM t").await.unwrap()), ["2"]);
    let denied = run(&reader, "INSERT INTO t VALUES (3)").await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    let denied = reader.create_schema("s", false).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn directory_without_a_database_is_not_opened_for_reading() {
    let directory = tempfile::tempdir().unwrap();
    let error = Catalog::open(directory.path(), Access::ReadOnly, functions()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), format!("{} is not a database", directory.path().display()));
}

#[tokio::test]
async fn comments_are_kept() {
    let database = Database::with_sales().await;
    let catalog = &database.catalog;
    catalog.set_comment(&name("sales"), None, Some("daily".into())).await.unwrap();
    catalog.set_comment(&name("sales"), Some("y"), Some("units".into())).await.unwrap();
    let table = database.reopen().catalog.table(&name("sales")).unwrap();
    assert_eq!(table.comment.as_deref(), Some("daily"));
    assert_eq!(table.columns[1].comment.as_deref(), Some("units"));
}
