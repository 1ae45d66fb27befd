//! Forecasts of 1,000 series that nothing was trained on, by the network that ships with the engine: 512 days of history,
//! 28 days ahead.

use std::time::Instant;

use foretell::Result;
use foretell::engine::Database;

use crate::{Report, cpu_seconds, median};

const ROUNDS: usize = 5;
/// Most seconds.
const TARGET: f64 = 2.0;

/// Measures statement after statement; what the first one reads stays read.
pub fn run() -> Result<Report> {
    let database = Database::temporary()?;
    let session = database.session();
    session.run(
        "CREATE TABLE sales AS SELECT store_id, item_id, sale_date, units \
         FROM synthetic_sales(series => 1000, days => 512, seed => 3)",
    )?;
    let (mut walls, mut cpus) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        session.run(
            "SELECT count(*) FROM forecast(foretell_base, data => sales, target => units, by => (store_id, item_id), \
             time => sale_date, horizon => 28)",
        )?;
        if round > 0 {
            walls.push(started.elapsed().as_secs_f64());
            cpus.push(cpu_seconds() - cpu);
        }
    }
    let (wall, cpu) = (median(walls), median(cpus));
    let line = format!("{wall:.2} s, {cpu:.2} CPU-s (at most {TARGET} s)");
    let json = serde_json::json!({ "wall_seconds": wall, "cpu_seconds": cpu, "target": TARGET });
    Ok(Report { lines: vec![("1,000 series".to_owned(), line)], json })
}
