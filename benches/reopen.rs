//! Opening a database with a hundred tables, until the first answer.

use std::time::Instant;

use foretell::Result;
use foretell::engine::Database;

use crate::{Report, median};

const TABLES: usize = 100;
const ROUNDS: usize = 15;

/// Measures open, and open until a query on one of the tables has answered.
pub fn run() -> Result<Report> {
    let directory = tempfile::tempdir().map_err(|e| foretell::Error::io(&std::env::temp_dir(), &e))?;
    let path = directory.path().join("shop");
    create(&path)?;
    let (mut opens, mut answers) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let started = Instant::now();
        let database = Database::open(&path)?;
        opens.push(started.elapsed().as_secs_f64() * 1e3);
        database.session().run(&format!("SELECT count(*) FROM t{}", round * 7 % TABLES))?;
        answers.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (open, answer) = (median(opens), median(answers));
    Ok(Report {
        lines: vec![
            ("tables".to_owned(), TABLES.to_string()),
            ("open".to_owned(), format!("{open:.1} ms")),
            ("open and first query".to_owned(), format!("{answer:.1} ms")),
        ],
        json: serde_json::json!({ "tables": TABLES, "open_ms": open, "first_query_ms": answer }),
    })
}

fn create(path: &std::path::Path) -> Result<()> {
    let database = Database::open(path)?;
    let session = database.session();
    for i in 0..TABLES {
        session
            .run(&format!("CREATE TABLE t{i} AS SELECT {i} AS id, DATE '2024-01-01' AS day, 1.5 AS units"))?;
    }
    Ok(())
}
