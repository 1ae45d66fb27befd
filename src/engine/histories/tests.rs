use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;

use crate::engine::{Database, Session};

const KEPT: &str = "DataSourceExec: partitions=";

fn text(rows: &[RecordBatch]) -> String {
    pretty_format_batches(rows).unwrap().to_string()
}

fn ask(session: &Session, sql: &str) -> String {
    text(&session.run(sql).unwrap())
}

fn is_kept(session: &Session, forecast: &str) -> bool {
    ask(session, &format!("EXPLAIN SELECT * FROM {forecast}")).contains(KEPT)
}

/// Asks until the history is in memory.
fn keep(session: &Session, forecast: &str) {
    let begun = Instant::now();
    while !is_kept(session, forecast) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the history of {forecast} is not kept");
        ask(session, &format!("SELECT count(*) FROM {forecast}"));
    }
}

fn shop() -> (Database, Session) {
    let database = Database::temporary().unwrap();
    let session = database.session();
    session
        .run("CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 40, days => 300, seed => 3)")
        .unwrap();
    (database, session)
}

fn train(session: &Session, statement: &str) {
    session.run(&format!("TRAIN OR REPLACE FORECAST MODEL {statement}")).unwrap();
}

#[test]
fn forecasts_are_the_same_from_memory() {
    let (_database, session) = shop();
    // Rows of a batch end in the middle of a series; one series has a key that is NULL.
    session.run("INSERT INTO sales (store_id, item_id, sale_date, units, price, promo, in_stock) \
                 SELECT NULL, 'x', DATE '2023-01-01' + n::int, n % 9, 1.5, false, true FROM generate_series(0, 299) t(n)").unwrap();
    train(
        &session,
        "daily ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING ets",
    );
    train(
        &session,
        "weekly ON (SELECT * FROM sales WHERE store_id IS NOT NULL) TARGET sum(units) AS units \
                     PARTITION BY store_id ORDER BY sale_date EVERY WEEK HORIZON 3 USING ets",
    );
    let item = ask(&session, "SELECT min(item_id) AS item FROM sales WHERE store_id = 3");
    let item = item.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_owned();
    let asked = [
        "SELECT * FROM forecast(daily) ORDER BY store_id, item_id, step".to_owned(),
        format!("SELECT * FROM forecast(daily) WHERE store_id = 3 AND item_id = '{item}' ORDER BY step"),
        "SELECT * FROM forecast(daily, history => 3) WHERE store_id IN (1, 4) ORDER BY 1, 2, 3".to_owned(),
        "SELECT * FROM forecast(daily, horizon => 2) WHERE store_id IS NULL ORDER BY step".to_owned(),
        "SELECT * FROM forecast(daily) WHERE upper(item_id) LIKE 'A%7' AND step = 2 ORDER BY 1, 2".to_owned(),
        "SELECT * FROM forecast(daily) WHERE store_id = 12345".to_owned(),
        "SELECT sum(forecast) FROM forecasts.daily WHERE store_id < 5".to_owned(),
        "SELECT * FROM forecast(weekly) ORDER BY store_id, step".to_owned(),
    ];
    let before: Vec<String> = asked.iter().map(|sql| ask(&session, sql)).collect();
    keep(&session, "forecast(daily)");
    keep(&session, "forecast(weekly)");
    for (sql, before) in asked.iter().zip(before) {
        assert_eq!(ask(&session, sql), before, "{sql}");
    }
}

#[test]
fn a_change_of_the_table_ends_what_was_kept() {
    let (_database, session) = shop();
    session.run("CREATE VIEW open AS SELECT * FROM sales WHERE store_id <> 2").unwrap();
    train(
        &session,
        "m ON open TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING seasonal_naive",
    );
    let sum = "SELECT sum(forecast) AS s FROM forecast(m)";
    keep(&session, "forecast(m)");
    let first = ask(&session, sum);
    session.run("UPDATE sales SET units = units + 10").unwrap();
    assert!(!is_kept(&session, "forecast(m)"));
    let second = ask(&session, sum);
    assert_ne!(first, second);
    keep(&session, "forecast(m)");
    assert_eq!(ask(&session, sum), second);
    // Another view of that name is another history, too.
    session.run("CREATE OR REPLACE VIEW open AS SELECT * FROM sales WHERE store_id <> 3").unwrap();
    assert!(!is_kept(&session, "forecast(m)"));
    keep(&session, "forecast(m)");
    session.run("DROP VIEW open").unwrap();
    let error = session.run(sum).unwrap_err();
    assert!(error.message().contains("not as it was when the model was trained"), "{error}");
}

#[test]
fn a_dropped_model_leaves_no_files_while_a_plan_of_it_was_kept() {
    let (database, session) = shop();
    train(
        &session,
        "m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING seasonal_naive",
    );
    keep(&session, "forecast(m)");
    session.run("PREPARE f AS SELECT count(*) FROM forecast(m)").unwrap();
    for _ in 0..4 {
        session.run("EXECUTE f").unwrap();
    }
    let plans =
        ask(&session, "SELECT generic_plans > 0 AS kept FROM pg_prepared_statements WHERE name = 'f'");
    assert!(plans.contains("true"), "{plans}");
    database.session().run("DROP MODEL m").unwrap();
    let left: Vec<_> = std::fs::read_dir(database.path().join("models")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let error = session.run("EXECUTE f").unwrap_err();
    assert!(error.message().contains("no model m"), "{error}");
}

#[test]
fn what_depends_on_more_than_stored_rows_is_read_every_time() {
    let (_database, session) = shop();
    train(
        &session,
        "m ON (SELECT * FROM sales WHERE sale_date <= current_date) TARGET units \
                     PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING seasonal_naive",
    );
    let first = ask(&session, "SELECT * FROM forecast(m)");
    for _ in 0..4 {
        assert_eq!(ask(&session, "SELECT * FROM forecast(m)"), first);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(!is_kept(&session, "forecast(m)"));
}

#[test]
fn a_history_beyond_its_share_of_memory_is_not_kept() {
    let settings = crate::engine::Settings { memory_limit: Some(48 << 20), ..Default::default() };
    let database = Database::temporary_with(settings).unwrap();
    let session = database.session();
    session
        .run("CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 200, days => 730, seed => 3)")
        .unwrap();
    train(
        &session,
        "m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING seasonal_naive",
    );
    let one = "SELECT count(*) FROM forecast(m) WHERE store_id = 1";
    let first = ask(&session, one);
    for _ in 0..4 {
        assert_eq!(ask(&session, one), first);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(!is_kept(&session, "forecast(m)"));
}

#[test]
fn rights_of_the_owner_count_in_memory_too() {
    let (_database, session) = shop();
    train(
        &session,
        "m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 7 USING seasonal_naive",
    );
    for sql in ["CREATE ROLE ann LOGIN", "GRANT SELECT ON sales TO ann", "ALTER MODEL m OWNER TO ann"] {
        session.run(sql).unwrap();
    }
    keep(&session, "forecast(m)");
    session.run("REVOKE SELECT ON sales FROM ann").unwrap();
    let error = session.run("SELECT count(*) FROM forecast(m)").unwrap_err();
    assert!(error.message().contains("no table sales"), "{error}");
    session.run("CREATE ROLE ben LOGIN").unwrap();
    session.run("ALTER MODEL m OWNER TO ben").unwrap();
    let error = session.run("SELECT count(*) FROM forecast(m)").unwrap_err();
    assert!(error.message().contains("no table sales"), "{error}");
    session.run("GRANT SELECT ON sales TO ben").unwrap();
    session.run("SELECT count(*) FROM forecast(m)").unwrap();
}

#[test]
fn a_history_that_never_stays_is_read_into_memory_less_and_less() {
    use super::{Histories, HistoryKey, Outcome};
    let key = HistoryKey {
        model: "m".to_owned(),
        version: 1,
        created_at: chrono::DateTime::UNIX_EPOCH,
        owner: None,
        time_zone: "UTC".to_owned(),
    };
    let histories = Histories::default();
    let mut waits = vec![];
    for _ in 0..4 {
        let mut reads = 1;
        while !histories.note(&key) {
            reads += 1;
        }
        waits.push(reads);
        // While it is being read, nobody else begins.
        assert!(!histories.note(&key));
        histories.keep(&key, Outcome::Later, usize::MAX);
    }
    assert!(waits[0] == 2 && waits.is_sorted() && waits[3] > 8, "{waits:?}");
    while !histories.note(&key) {}
    histories.keep(&key, Outcome::Refused, usize::MAX);
    assert!((0..1_000).all(|_| !histories.note(&key)));
}
