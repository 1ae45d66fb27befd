//! Bytes of models that change on the disk: whichever it is, the model is refused, and the error names the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::registry::ModelRegistry;
use crate::engine::storage::DurableFs;
use crate::engine::storage::tests::simulated::{Failure, SimFs};
use crate::engine::{Database, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::ml::rng::Rng;

/// Bytes that are changed, of all models together.
const FLIPS: usize = 10_000;

const TABLES: [&str; 2] = [
    "CREATE TABLE sales AS SELECT 'A' || k AS item, DATE '2026-01-05' + d::int AS day, \
     (20 * k + 8 * (d % 7) + (d * 13 + k * 5) % 11)::bigint AS units, 'product ' || k || ' of ' || d AS title \
     FROM generate_series(0, 41) t(d) CROSS JOIN generate_series(1, 3) i(k)",
    "CREATE TABLE events AS SELECT v AS visitor, 'page ' || (v + s) % 6 AS page, \
     TIMESTAMP '2026-01-01 10:00:00' + s * INTERVAL '1 minute' AS at \
     FROM generate_series(1, 40) visits(v) CROSS JOIN generate_series(0, 7) steps(s)",
];

/// A model of every kind of file, and its statements; the first three forecast the tables that they were trained on.
static MODELS: [(&str, &[&str]); 9] = [
    ("trees", &["TRAIN FORECAST MODEL trees {units} USING gbt WITH (trees = 5)"]),
    ("line", &["TRAIN FORECAST MODEL line {units} USING ridge"]),
    ("one", &["TRAIN FORECAST MODEL one {units} USING ets, theta"]),
    (
        "titled",
        &["TRAIN FORECAST MODEL titled ON (SELECT item, day, units, 'red mug ' || item AS name FROM sales) \
           TARGET units PARTITION BY item ORDER BY day TEXT name HORIZON 7 USING ridge"],
    ),
    (
        "net",
        &[
            "TRAIN FORECAST MODEL net {units} USING tide WITH (epochs = 1, dim = 64)",
            "ALTER MODEL net QUANTIZE TO q8_0",
        ],
    ),
    (
        "rows",
        &["TRAIN REGRESSION MODEL rows ON sales TARGET units FEATURES item, day USING gbt WITH (trees = 5)"],
    ),
    (
        "reader",
        &["PRETRAIN TEXT MODEL reader ON sales TEXT title \
           WITH (steps = 1, dim = 32, layers = 1, batch_size = 4, vocabulary = 100)"],
    ),
    (
        "walks",
        &["PRETRAIN SEQUENCE MODEL walks ON events TARGET page PARTITION BY visitor ORDER BY at \
           OBJECTIVE masked_item WITH (dim = 16, layers = 1, epochs = 1)"],
    ),
    (
        "next",
        &[
            "TRAIN CLASSIFICATION MODEL next FROM walks ON events TARGET page PARTITION BY visitor ORDER BY at \
           WITH (epochs = 1)",
        ],
    ),
];

/// Whose units the models forecast.
const UNITS: &str =
    "ON (SELECT item, day, units FROM sales) TARGET units PARTITION BY item ORDER BY day HORIZON 7";

/// A database in memory, and the files of its models.
struct Room {
    directory: tempfile::TempDir,
    disk: SimFs,
    files: Vec<BTreeMap<PathBuf, usize>>,
}

impl Room {
    /// The first `count` models.
    fn new(count: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = SimFs::with_directory(directory.path());
        let database = open(directory.path(), &disk);
        let session = database.session();
        for table in TABLES {
            session.run(table).unwrap();
        }
        let models = directory.path().join("models");
        let files = MODELS[..count].iter().map(|(name, statements)| {
            let before = disk.files(&models);
            for statement in *statements {
                let statement = statement.replace("{units}", UNITS);
                if let Err(error) = session.run(&statement) {
                    panic!("{name}: {statement}: {error}");
                }
            }
            let mut files = disk.files(&models);
            files.retain(|path, _| !before.contains_key(path));
            files
        });
        let files = files.collect();
        drop((session, database));
        Self { directory, disk, files }
    }

    fn read(&self, name: &str) -> Result<()> {
        let fs = DurableFs::new(Arc::new(self.disk.clone()));
        read(&ModelRegistry::open(self.directory.path(), fs, false)?, name)
    }
}

/// The database of this disk. What ran before may still be on its way out.
fn open(directory: &Path, fs: &SimFs) -> Database {
    let mut tries = 0;
    loop {
        let settings = Settings { memory_limit: Some(1 << 30), threads: Some(2), ..Settings::default() };
        match Database::open_on(directory, settings, DurableFs::new(Arc::new(fs.clone()))) {
            Err(e) if e.message().contains("is open for writing by") && tries < 500 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Reads all that there is of a model.
fn read(registry: &ModelRegistry, name: &str) -> Result<()> {
    let mut version = 1;
    loop {
        let model = match registry.get(name, Some(version)) {
            Err(error) if error.kind() == ErrorKind::NotFound && version > 1 => return Ok(()),
            model => model?,
        };
        model.network()?;
        model.scores()?;
        model.texts()?;
        version += 1;
    }
}

fn assert_names(error: &Error, path: &Path, at: usize) {
    let path = path.display().to_string();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at} of {path}: {error}");
    assert!(error.message().contains(&path), "byte {at} of {path}: {error}");
}

#[test]
fn a_changed_byte_of_any_file_of_a_model_is_noticed_and_its_file_named() {
    let room = Room::new(MODELS.len());
    let (mut rng, mut kinds) = (Rng::new(1), BTreeMap::<String, usize>::new());
    for flip in 0..FLIPS {
        let model = flip % MODELS.len();
        let files = &room.files[model];
        let (path, length) = files.iter().nth(rng.below(files.len())).unwrap();
        let (at, bits) = (rng.below(*length), 1 + rng.below(255) as u8);
        room.disk.damage(path, at, bits);
        match room.read(MODELS[model].0) {
            Err(error) => assert_names(&error, path, at),
            Ok(()) => panic!("byte {at} of {} changed by {bits:#x}, and nobody noticed", path.display()),
        }
        room.disk.damage(path, at, bits);
        *kinds.entry(path.file_name().unwrap().to_string_lossy().into_owned()).or_default() += 1;
    }
    for (name, _) in &MODELS {
        room.read(name).unwrap();
    }
    println!("{FLIPS} bytes changed: {kinds:?}");
    // Weights, manifest, scores and texts, and the entry of every model.
    assert_eq!(kinds.len(), 4 + MODELS.len(), "{kinds:?}");
}

#[test]
fn a_damaged_model_opens_with_its_database_and_fails_alone() {
    let room = Room::new(3);
    let mut rng = Rng::new(2);
    for model in 0..3 {
        let [query, other] =
            [model, (model + 1) % 3].map(|i| format!("SELECT * FROM forecast({})", MODELS[i].0));
        for (path, length) in room.files[model].iter().filter(|(path, _)| !path.ends_with("scores.arrow")) {
            let at = rng.below(*length);
            room.disk.damage(path, at, 0x10);
            let database = open(room.directory.path(), &room.disk);
            let session = database.session();
            assert_names(&session.run(&query).unwrap_err(), path, at);
            if let Err(error) = session.run(&other) {
                panic!("beside {}: {error}", path.display());
            }
            drop((session, database));
            room.disk.damage(path, at, 0x10);
        }
    }
}

/// What a statement told besides its rows.
fn notices(database: &Database, sql: &str) -> Result<String> {
    let session = database.session();
    database.block_on(async {
        let mut query = session.sql(sql).await?;
        while query.next().await?.is_some() {}
        Ok(query.notices().into_iter().map(|notice| notice.text).collect())
    })
}

#[test]
fn a_damaged_checkpoint_is_told_and_its_pretraining_begins_anew() {
    let sql = "PRETRAIN OR REPLACE TEXT MODEL reader ON sales TEXT title \
               WITH (steps = 1, dim = 32, layers = 1, batch_size = 4, vocabulary = 100)";
    let directory = tempfile::tempdir().unwrap();
    let disk = SimFs::with_directory(directory.path());
    open(directory.path(), &disk).session().run(TABLES[0]).unwrap();
    let whole = disk.copy();
    assert_eq!(notices(&open(directory.path(), &whole), sql).unwrap(), "");
    // The last operation whose failure leaves the checkpoint.
    let kept = directory.path().join("pretraining");
    let stopped = (0..whole.operations()).rev().find_map(|at| {
        let fs = disk.copy();
        fs.fail_at(at, Failure::PowerLoss);
        notices(&open(directory.path(), &fs), sql).err()?;
        (fs.files(&kept).len() == 1).then(|| fs.copy())
    });
    let stopped = stopped.unwrap();
    let (path, length) = stopped.files(&kept).pop_first().unwrap();
    let told = notices(&open(directory.path(), &stopped.copy()), sql).unwrap();
    assert!(told.starts_with("goes on from step 1 of the pretraining"), "{told}");
    stopped.damage(&path, length - 1, 1);
    let told = notices(&open(directory.path(), &stopped), sql).unwrap();
    let expected = format!("{} does not match its checksum: the pretraining begins anew", path.display());
    assert_eq!(told, expected);
}
