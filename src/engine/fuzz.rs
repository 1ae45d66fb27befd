//! Doors for fuzzing: texts and files of any bytes. Each must return.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::engine::registry;
use crate::engine::storage;
use crate::engine::{Database, Session, Settings};
use crate::ml::{compression, features, models, sequence, supervised, text};

/// A database with something to plan over, and a directory beside it for files.
struct Room {
    session: Session,
    database: Database,
    directory: tempfile::TempDir,
}

static ROOM: LazyLock<Room> = LazyLock::new(|| {
    let settings = Settings { memory_limit: Some(256 << 20), threads: Some(1), ..Settings::default() };
    let database = Database::temporary_with(settings).expect("a temporary database can be made");
    let session = database.session();
    let tables = [
        "CREATE TABLE sales (item text, day date, units double, price double, promo boolean)",
        "INSERT INTO sales SELECT 'i' || i, DATE '2024-01-01' + d::int, i * (d % 7), 2, d % 5 = 0 \
         FROM generate_series(1, 3) AS i, generate_series(0, 59) AS d",
        "TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY item ORDER BY day HORIZON 7 USING seasonal_naive",
    ];
    for sql in tables {
        session.run(sql).expect("the statements are right");
    }
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    Room { session, database, directory }
});

impl Room {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, bytes).expect("a temporary file can be written");
        path
    }
}

/// SQL through guard, parser and planner.
pub fn sql(text: &str) {
    let session = &ROOM.session;
    let _ = session.is_complete(text);
    for piece in session.split(text).unwrap_or_default().iter().take(4) {
        let _ = ROOM.database.block_on(session.prepare(piece, &[]));
    }
}

/// What may stand behind the columns of a training.
pub fn train_options(text: &str) {
    let training = "EXPLAIN TRAIN FORECAST MODEL n ON sales TARGET units PARTITION BY item ORDER BY day";
    let _ = ROOM.session.run(&format!("{training} {text}"));
}

/// The files of models, of the kind that the first byte says.
pub fn model_file(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => drop(models::load(bytes)),
        1 => drop(supervised::Fitted::from_bytes(bytes)),
        2 => drop(sequence::SequenceModel::from_bytes(bytes)),
        3 => drop(text::TextEncoder::read(bytes)),
        4 => drop(features::Texts::from_bytes(bytes)),
        5 => drop(compression::restored(bytes)),
        6 => drop(registry::Manifest::from_bytes(bytes, "manifest.json")),
        _ => drop(registry::Entry::from_bytes(bytes, "m.json")),
    }
}

/// The second entry of the log of a table.
pub fn delta_log(bytes: &[u8]) {
    let _ = ROOM.database.block_on(storage::fuzz_log(ROOM.directory.path(), bytes));
}

/// A Parquet file that is read as a table.
pub fn parquet(bytes: &[u8]) {
    let path = ROOM.file("t.parquet", bytes);
    let create =
        format!("CREATE OR REPLACE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'", path.display());
    if ROOM.session.run(&create).is_ok() {
        let _ = ROOM.session.run("SELECT * FROM t LIMIT 100");
    }
}
