//! Three lags and two rolling means on a sorted table: our one pass beside window functions, interleaved.

use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use foretell::engine::{Database, Session};
use foretell::{Error, Result};

use crate::{Report, median};

const SERIES: usize = 3_000;
const DAYS: usize = 1_941;
const ROUNDS: usize = 3;

const ONE_PASS: &str = "SELECT sum(lag_1), sum(lag_7), sum(lag_28), sum(rolling_mean_7), sum(rolling_mean_28) \
    FROM lag_features(sales, target => units, by => (store_id, item_id), time => sale_date, \
        lags => (1, 7, 28), rolling => (7, 28))";

const WINDOWS: &str = "SELECT sum(l1), sum(l7), sum(l28), sum(r7), sum(r28) FROM (\
    SELECT CAST(lag(units, 1) OVER w AS DOUBLE) AS l1, CAST(lag(units, 7) OVER w AS DOUBLE) AS l7, \
        CAST(lag(units, 28) OVER w AS DOUBLE) AS l28, \
        avg(units) OVER (PARTITION BY store_id, item_id ORDER BY sale_date ROWS BETWEEN 7 PRECEDING AND 1 PRECEDING) AS r7, \
        avg(units) OVER (PARTITION BY store_id, item_id ORDER BY sale_date ROWS BETWEEN 28 PRECEDING AND 1 PRECEDING) AS r28 \
    FROM sales WINDOW w AS (PARTITION BY store_id, item_id ORDER BY sale_date)) AS f";

/// Measures both on the same table in turns and compares their sums.
pub fn run() -> Result<Report> {
    let database = Database::temporary()?;
    let session = database.session();
    session.run(&format!(
        "CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => {SERIES}, days => {DAYS}, seed => 1)"
    ))?;
    session.run("OPTIMIZE sales CLUSTER BY (store_id, item_id, sale_date)")?;
    let rows = count(&session)?;
    let (mut ours, mut windows, mut ratios) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let (first, second) = if round % 2 == 0 { (ONE_PASS, WINDOWS) } else { (WINDOWS, ONE_PASS) };
        let (first, second) = (timed(&session, first)?, timed(&session, second)?);
        let (one_pass, window) = if round % 2 == 0 { (first, second) } else { (second, first) };
        check_equal(&one_pass.1, &window.1)?;
        ratios.push(window.0 / one_pass.0);
        ours.push(one_pass.0);
        windows.push(window.0);
    }
    let (ours, windows, ratio) = (median(ours), median(windows), median(ratios));
    let rate = |seconds: f64| rows / seconds / 1e6;
    Ok(Report {
        lines: vec![
            ("rows".to_owned(), format!("{rows:.0}")),
            ("lag_features".to_owned(), format!("{:.2} M rows/s", rate(ours))),
            ("window functions".to_owned(), format!("{:.2} M rows/s", rate(windows))),
            ("median ratio".to_owned(), format!("{ratio:.1} x")),
        ],
        json: serde_json::json!({
            "rows": rows,
            "lag_features_seconds": ours,
            "window_functions_seconds": windows,
            "ratio_median": ratio,
        }),
    })
}

fn count(session: &Session) -> Result<f64> {
    let batches = session.run("SELECT count(*) FROM sales")?;
    Ok(batches.iter().map(|b| b.column(0).as_primitive::<Int64Type>().value(0) as f64).sum())
}

fn timed(session: &Session, sql: &str) -> Result<(f64, Vec<f64>)> {
    let started = Instant::now();
    let batches = session.run(sql)?;
    Ok((started.elapsed().as_secs_f64(), sums(&batches)))
}

fn sums(batches: &[RecordBatch]) -> Vec<f64> {
    let columns = batches.iter().flat_map(RecordBatch::columns);
    columns.map(|c| c.as_primitive::<Float64Type>().value(0)).collect()
}

fn check_equal(ours: &[f64], windows: &[f64]) -> Result<()> {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs();
    if ours.len() == 5 && ours.len() == windows.len() && ours.iter().zip(windows).all(close) {
        return Ok(());
    }
    Err(Error::internal(format!("sums of features differ: {ours:?} and {windows:?}")))
}
