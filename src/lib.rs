//! Foretell: the SQL engine that forecasts.
//!
//! A [`Database`] is one directory; a [`Session`] is one connection to it; a [`Query`] is one running
//! statement: its rows, its progress, and the handle that cancels it.
//!
//! # The life of a TRAIN
//!
//! The text is split, guarded against depth and parsed with PostgreSQL's dialect and our statements
//! (`engine/sql`). TRAIN becomes a plan node over the rows of its relation (`engine/plan/train.rs`), its
//! roles and options checked before anything runs. The rows arrive sorted by series and time and fill a
//! [`ml::series::Panel`]; a thread of its own fits a [`ml::forecaster::Family`] on it; the weights and their
//! manifest are published by one atomic, durable commit (`engine/registry`). Killed before that, there is no
//! model and no debris.
//!
//! # The life of a forecast
//!
//! `forecast(m, …)` in FROM becomes a node whose columns come from the model's manifest: the user's own keys
//! and time, then ours. Filters on keys go below it, so that one series wanted is one series read; of a model of a
//! hierarchy all are read, since they are reconciled with their sums (`ml/reconciliation`). Series are read in
//! panels, predicted by the code path that built the training features, and stream out with a status
//! (`engine/plan/forecasting.rs`).
//!
//! # The life of a pretrained network
//!
//! PRETRAIN (`engine/plan/pretrain.rs`) reads each of its relations as TRAIN would. A corpus draws windows of their
//! series and made-up ones (`ml/synthetic`), a network of Chronos-2's kind learns to continue them (`ml/foundation`), and
//! every look at it is kept on disk, so that the same statement goes on where it was stopped. `forecast(base, data => …)`
//! reads rows as TRAIN would, too, and lets the network continue them at once (`engine/plan/zero_shot.rs`); what known
//! covariates explain is taken out before and added after (`ml/foundation/explained.rs`). FROM in TRAIN adapts it to the rows first.
//! `foretell_base` is such a network, in the binary itself; `sql/foretell_base.sql` is the statement that made it. Every step of a
//! token shows what was a step, a season and a longer season ago, and a forecast begins with shares of these (`ml/layers/repeats.rs`).
//!
//! A program that embeds the engine sets [`CANDLE_THREADS`] before it starts any thread.
//!
//! # The life of a version
//!
//! REFRESH is the recorded TRAIN over the rows of now (`engine/plan/refresh.rs`): the same reading, but the grid, the roles and
//! the numbers of texts stay, what came since is held out, and the models go on instead of beginning
//! (`ml/models/refresh.rs`). QUANTIZE and PRUNE read the same rows to tell what smaller weights cost; the file that they
//! write is made whole again before anything reads it (`ml/compression.rs`). Series that never sold are rows of the history that
//! end where it ends (`engine/plan/new_series.rs`), and trees over their attributes speak for them (`ml/models/cold_start.rs`).
//! A model that learns from another sees the other's forecasts of past windows in half of its own (`ml/features/taught.rs`).
//!
//! # The life of a text and of a row
//!
//! PRETRAIN TEXT, IMPORT MODEL and TRAIN CLASSIFICATION | REGRESSION are short for a SELECT from a function
//! (`engine/sql/form.rs`), and each is a task of one node (`engine/plan/task.rs`) that publishes a model. An encoder
//! (`ml/text`) gives each distinct text a vector, which does not depend on the texts beside it; `embed` asks it. Models of rows
//! (`ml/supervised`) are several, weighted by what they tell of rows held out; `predict` (`engine/plan/predict.rs`) streams
//! rows through them. With PARTITION BY and ORDER BY rows are the events of sequences (`engine/plan/sequences.rs`), and a network
//! over them tells what comes next (`ml/sequence`). Networks of others become files of ours when they are read (`ml/published.rs`).

pub mod engine;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod ml;
mod postgres;
pub mod repl;
pub mod server;

pub use engine::{CancelHandle, Database, ProgressHandle, Query, Session, Settings};
pub use error::{Error, ErrorKind, Result};
pub use ml::Progress;
pub use ml::device::CANDLE_THREADS;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// The words that only some rooms may name: word, rooms.
    const WALLS: [(&str, &[&str]); 11] = [
        ("candle", &["ml/"]),
        ("datafusion", &["engine/", "engine.rs"]),
        ("sqlparser", &["engine/"]),
        ("deltalake", &["engine/storage/delta/"]),
        ("rustyline", &["repl/"]),
        ("indicatif", &["repl/"]),
        ("clap", &["main.rs", "repl/"]),
        ("pgwire", &["server/"]),
        ("tokio_rustls", &["server/"]),
        ("safetensors", &["ml/"]),
        ("crate::ml", &["ml/", "engine/"]),
    ];

    /// What a room may not name: arrows point down.
    const ABOVE: [(&str, &[&str]); 6] = [
        ("ml/", &["crate::engine", "crate::repl", "crate::server"]),
        ("postgres/", &["crate::engine", "crate::ml", "crate::repl", "crate::server"]),
        (
            "engine/storage/",
            &["engine::plan", "engine::session", "engine::ddl", "engine::registry", "engine::sql"],
        ),
        ("engine/registry/", &["engine::plan", "engine::session", "engine::ddl"]),
        ("engine/sql/", &["engine::plan", "engine::session", "engine::ddl"]),
        ("engine/ddl/", &["engine::plan", "engine::session"]),
    ];

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let found = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
        found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
    }

    #[test]
    fn rooms_keep_their_walls() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut broken = vec![];
        for path in sources(&root) {
            let room = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            let names =
                |word: &str| code.contains(&format!("{word}::")) || code.contains(&format!("use {word}"));
            for (word, rooms) in WALLS {
                if room != "lib.rs" && names(word) && !rooms.iter().any(|r| room.starts_with(r)) {
                    broken.push(format!("{room} names {word}"));
                }
            }
            for (below, words) in ABOVE {
                let found = words.iter().filter(|word| room.starts_with(below) && names(word));
                broken.extend(found.map(|word| format!("{room} looks up at {word}")));
            }
        }
        assert_eq!(broken, Vec::<String>::new());
    }
}
