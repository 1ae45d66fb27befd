use datafusion::physical_plan::displayable;

use super::{Database, name};

const SERIES: &str = "SELECT CAST(s.value AS text) AS sid, d.value AS day, s.value + d.value AS y \
    FROM generate_series(10, 49) s CROSS JOIN generate_series(1, 50) d";

async fn plan_text(database: &Database, sql: &str) -> String {
    displayable(database.plan(sql).await.as_ref()).indent(false).to_string()
}

#[tokio::test]
async fn order_is_declared_only_when_every_file_has_it() {
    let database = Database::new();
    let sorted = format!("{SERIES} ORDER BY sid, day");
    database.create_as("t", &sorted, &["sid", "day"]).await.unwrap();
    let ordered = "SELECT sid, day FROM t ORDER BY sid, day";
    assert!(!plan_text(&database, ordered).await.contains("SortExec"));
    database.run("INSERT INTO t VALUES ('9', 2, 0), ('9', 1, 0)").await.unwrap();
    assert!(plan_text(&database, ordered).await.contains("SortExec"));
    let groups = "SELECT count(*), min(n), max(n) FROM (SELECT sid, count(*) AS n FROM t GROUP BY sid)";
    assert_eq!(database.rows(groups).await, ["41|2|50"]);
    let rows = database.rows(ordered).await;
    assert!(rows.windows(2).all(|w| w[0].split('|').next() <= w[1].split('|').next()));
}

#[tokio::test]
async fn optimize_sorts_into_disjoint_files_and_answers_stay_the_same() {
    let database = Database::new();
    database.create_as("t", &format!("{SERIES} ORDER BY y"), &[]).await.unwrap();
    database.run("INSERT INTO t SELECT '99', value, 0 FROM generate_series(1, 50)").await.unwrap();
    let totals = "SELECT count(*), sum(y), count(DISTINCT sid) FROM t";
    let before = database.rows(totals).await;
    let context = database.session().await.task_ctx();
    let columns = ["sid".to_string(), "day".to_string()];
    let t = name("t");
    let optimize = || database.catalog.optimize(&t, Some(&columns), &context);
    let summary = optimize().await.unwrap();
    assert_eq!((summary.files_removed, summary.files_added, summary.rows), (2, 1, 2050));
    assert_eq!(database.rows(totals).await, before);
    assert!(!plan_text(&database, "SELECT * FROM t ORDER BY sid, day").await.contains("SortExec"));
    assert_eq!(optimize().await.unwrap().files_removed, 0);

    database.run("INSERT INTO t VALUES ('a', 1, 0)").await.unwrap();
    database.run("INSERT INTO t VALUES ('b', 1, 0)").await.unwrap();
    let plan = plan_text(&database, "SELECT sid, count(*) FROM t GROUP BY sid").await;
    assert!(plan.contains("Range") && !plan.contains("RepartitionExec"), "{plan}");
    assert_eq!(database.rows("SELECT count(*) FROM (SELECT sid FROM t GROUP BY sid)").await, ["43"]);
    let lag = "SELECT sum(l) FROM (SELECT lag(y, 1) OVER (PARTITION BY sid ORDER BY day) AS l FROM t)";
    let unordered = "SELECT sum(l) FROM (SELECT lag(y, 1) OVER (PARTITION BY sid ORDER BY day) AS l \
        FROM (SELECT sid || '' AS sid, day + 0 AS day, y FROM t))";
    assert_eq!(database.rows(lag).await, database.rows(unordered).await);
}

#[tokio::test]
async fn small_files_are_merged() {
    let database = Database::with_sales().await;
    for i in 0..5 {
        database.run(&format!("INSERT INTO sales VALUES ('k{i}', {i}, 'x')")).await.unwrap();
    }
    let context = database.session().await.task_ctx();
    let summary = database.catalog.optimize(&name("sales"), None, &context).await.unwrap();
    assert_eq!((summary.files_removed, summary.files_added, summary.rows), (5, 1, 5));
    assert_eq!(database.rows("SELECT k FROM sales").await, ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(database.rows("SELECT k FROM sales WHERE y = 3").await, ["k3"]);
}

#[tokio::test]
async fn files_that_cannot_match_are_not_read() {
    let database = Database::with_sales().await;
    for i in 0..4 {
        database.run(&format!("INSERT INTO sales VALUES ('k{i}', {i}, NULL)")).await.unwrap();
    }
    let files = |plan: String| plan.matches(".parquet").count();
    assert_eq!(files(plan_text(&database, "SELECT * FROM sales").await), 4);
    assert_eq!(files(plan_text(&database, "SELECT * FROM sales WHERE k = 'k2'").await), 1);
    assert_eq!(files(plan_text(&database, "SELECT * FROM sales WHERE y > 1 AND y < 3").await), 1);
    assert_eq!(files(plan_text(&database, "SELECT * FROM sales WHERE note IS NOT NULL").await), 0);
    assert_eq!(database.rows("SELECT k FROM sales WHERE y >= 2 ORDER BY k").await, ["k2", "k3"]);
    assert!(plan_text(&database, "SELECT count(*) FROM sales").await.contains("PlaceholderRowExec"));
}

#[tokio::test]
async fn nan_is_found_however_files_are_skipped() {
    let database = Database::new();
    database.create_as("t", "SELECT double precision '1' AS x", &[]).await.unwrap();
    database.run("INSERT INTO t VALUES (double precision 'NaN'), (2)").await.unwrap();
    assert_eq!(database.rows("SELECT count(*) FROM t WHERE x > 5").await, ["1"]);
}

#[tokio::test]
async fn joins_of_sorted_tables_with_different_ranges_are_right() {
    let database = Database::new();
    let sorted = format!("{SERIES} ORDER BY sid, day");
    database.create_as("t", &sorted, &["sid", "day"]).await.unwrap();
    database.run("INSERT INTO t VALUES ('a', 1, 0), ('b', 1, 0)").await.unwrap();
    database.run("INSERT INTO t VALUES ('c', 1, 0)").await.unwrap();
    let early = format!("SELECT * FROM ({SERIES}) WHERE sid < '20' ORDER BY sid, day");
    database.create_as("u", &early, &["sid", "day"]).await.unwrap();
    database.run("INSERT INTO u SELECT * FROM t WHERE sid >= '30' ORDER BY sid, day").await.unwrap();
    let plain = |table: &str| format!("(SELECT sid || '' AS sid, day + 0 AS day, y FROM {table})");
    for join in ["JOIN", "LEFT JOIN", "FULL JOIN"] {
        let query = |t: &str, u: &str| {
            format!(
                "SELECT count(*), sum(t.y + u.day) FROM {t} t {join} {u} u ON t.sid = u.sid AND t.day = u.day"
            )
        };
        let expected = database.rows(&query(&plain("t"), &plain("u"))).await;
        assert_eq!(database.rows(&query("t", "u")).await, expected, "{join}");
    }
    let both = "SELECT count(*), count(DISTINCT sid) FROM (SELECT sid FROM t UNION ALL SELECT sid FROM u)";
    assert_eq!(database.rows(both).await, ["3506|43"]);
}
