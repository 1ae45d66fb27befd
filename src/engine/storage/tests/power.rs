//! Power loss and failing disks, at every operation: what was acknowledged is there, and nothing is there by half.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::datatypes::DataType;
use chrono::TimeDelta;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;

use super::super::{Access, Catalog, DurableFs, IfExists, TableDefinition};
use super::simulated::{Failure, SimFs, leave_open};
use super::{column, definition, functions, lines, name, run, session};
use crate::error::{ErrorKind, Result, Subject};
use crate::ml::rng::Rng;

/// Ways in which what was not synced is damaged, of every operation.
const DAMAGES: u64 = 8;

/// The rows of every table: i and v.
type Rows = BTreeMap<String, Vec<(i64, i64)>>;

/// One statement.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A table without rows.
    Create(&'static str),
    /// A table with rows of these numbers.
    CreateAs(&'static str, i64, i64),
    /// Rows of these numbers.
    Insert(&'static str, i64, i64),
    /// Rows of these numbers in the places of all there are.
    Overwrite(&'static str, i64, i64),
    /// One more for every second row.
    Update(&'static str),
    /// Without every third row.
    Delete(&'static str),
    Drop(&'static str),
    Optimize(&'static str),
    Vacuum(&'static str),
    /// With a column `w`, which is 7 in every row.
    Widen(&'static str),
    /// Without it.
    Narrow(&'static str),
    Rename(&'static str, &'static str),
}

/// Almost as many versions as are summarised.
const TWENTY: [Step; 20] = {
    let mut steps = [Insert("a", 1, 1); 20];
    steps[0] = Create("a");
    steps
};

use Step::{
    Create, CreateAs, Delete, Drop, Insert, Narrow, Optimize, Overwrite, Rename, Update, Vacuum, Widen,
};

/// What is done beforehand, and what is done while it fails.
const SCENARIOS: [(&[Step], &[Step]); 14] = [
    (&[], &[Create("a"), Insert("a", 1, 3)]),
    (&[Create("a")], &[Insert("a", 1, 3), Insert("a", 4, 5), Insert("a", 6, 9)]),
    (&[CreateAs("a", 1, 9)], &[Update("a"), Update("a")]),
    (&[CreateAs("a", 1, 9)], &[Delete("a"), Insert("a", 10, 12)]),
    (&[], &[CreateAs("a", 1, 9), CreateAs("b", 1, 4)]),
    (&[CreateAs("a", 1, 9)], &[Drop("a")]),
    (&[CreateAs("a", 1, 9)], &[Drop("a"), CreateAs("a", 20, 22)]),
    (&[CreateAs("a", 1, 9), Insert("a", 10, 11), Insert("a", 12, 13)], &[Optimize("a"), Insert("a", 14, 14)]),
    (&[CreateAs("a", 1, 9), Update("a"), Insert("a", 10, 11)], &[Vacuum("a"), Insert("a", 12, 13)]),
    (&[CreateAs("a", 1, 9)], &[Overwrite("a", 30, 33), Delete("a")]),
    (&[CreateAs("a", 1, 9), CreateAs("b", 1, 9)], &[Insert("a", 10, 11), Drop("b"), Update("a")]),
    // The log is summarised with the twentieth version.
    (&TWENTY, &[Insert("a", 1, 1); 3]),
    (&[CreateAs("a", 1, 9)], &[Widen("a"), Narrow("a"), Insert("a", 10, 11)]),
    (&[CreateAs("a", 1, 9), Widen("a")], &[Rename("a", "b"), Narrow("b")]),
];

/// The rows of a table that has the column `w` are under its name with this.
const WIDE: &str = "+w";

impl Step {
    fn apply(self, rows: &Rows) -> Rows {
        let series = |from: i64, to: i64| (from..=to).map(|i| (i, 10 * i));
        let mut rows = rows.clone();
        match self {
            Create(table) => drop(rows.insert(table.into(), Vec::new())),
            CreateAs(table, from, to) => drop(rows.insert(table.into(), series(from, to).collect())),
            Insert(table, from, to) => rows.entry(table.into()).or_default().extend(series(from, to)),
            Overwrite(table, from, to) => drop(rows.insert(table.into(), series(from, to).collect())),
            Update(table) => {
                let even = rows.entry(table.into()).or_default().iter_mut().filter(|(i, _)| i % 2 == 0);
                even.for_each(|(_, v)| *v += 1);
            }
            Delete(table) => rows.entry(table.into()).or_default().retain(|(i, _)| i % 3 != 0),
            Drop(table) => drop(rows.remove(table)),
            Optimize(_) | Vacuum(_) => {}
            Widen(table) => move_rows(&mut rows, table, &format!("{table}{WIDE}")),
            Narrow(table) => move_rows(&mut rows, &format!("{table}{WIDE}"), table),
            Rename(from, to) => ["", WIDE]
                .iter()
                .for_each(|w| move_rows(&mut rows, &format!("{from}{w}"), &format!("{to}{w}"))),
        }
        rows.values_mut().for_each(|rows| rows.sort_unstable());
        rows
    }

    async fn run(self, catalog: &Catalog) -> Result<()> {
        let series = |from: i64, to: i64| {
            format!("SELECT value AS i, 10 * value AS v FROM generate_series({from}, {to})")
        };
        let sql = match self {
            Insert(table, from, to) => format!("INSERT INTO {table} {}", series(from, to)),
            Overwrite(table, from, to) => format!("INSERT OVERWRITE {table} {}", series(from, to)),
            Update(table) => format!("UPDATE {table} SET v = v + 1 WHERE i % 2 = 0"),
            Delete(table) => format!("DELETE FROM {table} WHERE i % 3 = 0"),
            Create(table) => return create(catalog, table, None).await,
            CreateAs(table, from, to) => return create(catalog, table, Some(series(from, to))).await,
            Drop(table) => {
                return catalog.drop_entries(vec![(name(table), "table")], false).await.map(drop);
            }
            Optimize(table) => {
                let context = session(catalog).await.task_ctx();
                return catalog.optimize(&name(table), None, &context).await.map(drop);
            }
            Vacuum(table) => return catalog.vacuum(&name(table), TimeDelta::zero()).await.map(drop),
            Widen(table) => {
                let context = session(catalog).await.task_ctx();
                let (w, fill) = (column("w", DataType::Int64), Some(ScalarValue::Int64(Some(7))));
                return catalog.add_column(&name(table), w, fill, false, &context).await.map(drop);
            }
            Narrow(table) => return catalog.drop_column(&name(table), "w", false).await.map(drop),
            Rename(from, to) => return catalog.rename_table(&name(from), &name(to)).await,
        };
        run(catalog, &sql).await.map(drop)
    }
}

fn move_rows(rows: &mut Rows, from: &str, to: &str) {
    if let Some(moved) = rows.remove(from) {
        rows.insert(to.into(), moved);
    }
}

async fn create(catalog: &Catalog, table: &str, query: Option<String>) -> Result<()> {
    let (definition, rows) = match query {
        None => (definition(vec![column("i", DataType::Int64), column("v", DataType::Int64)]), None),
        Some(query) => {
            let frame = session(catalog).await.sql(&query).await?;
            let definition = TableDefinition::from_query(frame.schema().as_arrow())?;
            (definition, Some(frame.execute_stream().await?))
        }
    };
    catalog.create_table(&name(table), definition, rows, IfExists::Fail).await.map(drop)
}

/// The database of this disk. What ran before may still be on its way out.
async fn open(directory: &Path, fs: &SimFs) -> Result<Catalog> {
    static FUNCTIONS: LazyLock<Arc<SessionState>> = LazyLock::new(functions);
    let mut tries = 0;
    loop {
        let fs = DurableFs::new(Arc::new(fs.clone()));
        match Catalog::open_on(directory, Access::ReadWrite, Arc::clone(&FUNCTIONS), fs) {
            Err(e)
                if e.kind() == ErrorKind::Unavailable && e.subject() == Subject::Database && tries < 500 =>
            {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened,
        }
    }
}

async fn rows_of(catalog: &Catalog) -> Result<Rows> {
    let mut found = Rows::new();
    for table in catalog.entries("public")?.into_keys() {
        let is_wide = catalog.table(&name(&table))?.live_columns().any(|column| column.name == "w");
        let (wide, filled) = if is_wide { (WIDE, "WHERE w = 7") } else { ("", "") };
        let rows = run(catalog, &format!("SELECT i, v FROM {table} {filled} ORDER BY i, v")).await?;
        let pair = |line: String| {
            let (i, v) = line.split_once('|').unwrap();
            (i.parse().unwrap(), v.parse().unwrap())
        };
        found.insert(format!("{table}{wide}"), lines(&rows).into_iter().map(pair).collect());
    }
    Ok(found)
}

/// Runs the steps until one fails; what may be there afterwards.
async fn until_it_fails(catalog: &Catalog, steps: &[Step], mut rows: Rows) -> BTreeSet<Rows> {
    for step in steps {
        let after = step.apply(&rows);
        if step.run(catalog).await.is_err() {
            return BTreeSet::from([rows, after]);
        }
        rows = after;
    }
    BTreeSet::from([rows])
}

/// The disk after these steps, and their rows.
async fn prepared(directory: &Path, steps: &[Step]) -> (SimFs, Rows) {
    let fs = SimFs::with_directory(directory);
    let catalog = open(directory, &fs).await.unwrap();
    let rows = until_it_fails(&catalog, steps, Rows::new()).await;
    assert_eq!(rows.len(), 1);
    drop(catalog);
    (fs, rows.into_iter().next().unwrap())
}

/// A scenario, made ready to fail.
struct Prepared {
    directory: tempfile::TempDir,
    disk: SimFs,
    rows: Rows,
    steps: &'static [Step],
    /// How many the steps take, the opening included.
    operations: usize,
}

/// The scenario with what is done beforehand, and run once to count its operations.
async fn scenario(number: usize) -> Prepared {
    let (before, steps) = SCENARIOS[number];
    let directory = tempfile::tempdir().unwrap();
    let (disk, rows) = prepared(directory.path(), before).await;
    let fs = disk.copy();
    let catalog = open(directory.path(), &fs).await.unwrap();
    for step in steps {
        step.run(&catalog).await.unwrap();
    }
    drop(catalog);
    Prepared { operations: fs.operations(), directory, disk, rows, steps }
}

/// A database that was opened again goes on.
async fn ensure_it_goes_on(catalog: &Catalog) {
    Create("later").run(catalog).await.unwrap();
    Insert("later", 1, 2).run(catalog).await.unwrap();
    assert_eq!(rows_of(catalog).await.unwrap()["later"], [(1, 10), (2, 20)]);
}

/// Power losses at every operation of a scenario; what was lost, where something was. With `lies`, syncs do nothing.
async fn power_losses(number: usize, lies: bool) -> std::result::Result<usize, String> {
    let Prepared { directory, disk, rows, steps, operations } = scenario(number).await;
    let directory = directory.path();
    for at in 0..=operations {
        let fs = disk.copy();
        fs.fail_at(at, Failure::PowerLoss);
        if lies {
            fs.lie();
        }
        let possible = match open(directory, &fs).await {
            Ok(catalog) => until_it_fails(&catalog, steps, rows.clone()).await,
            Err(_) => BTreeSet::from([rows.clone()]),
        };
        for damage in 0..DAMAGES {
            let seed = ((number as u64) << 32) + ((at as u64) << 8) + damage;
            let after = fs.after_power_loss(&mut Rng::new(seed));
            let told = format!("scenario {number}, power lost at operation {at}, damage {damage}");
            let catalog = open(directory, &after).await.map_err(|e| format!("{told}: {e}"))?;
            let found = rows_of(&catalog).await.map_err(|e| format!("{told}: {e}"))?;
            if !possible.contains(&found) {
                return Err(format!("{told}: {found:?}, and not one of {possible:?}"));
            }
            if damage == 0 {
                ensure_it_goes_on(&catalog).await;
            }
        }
    }
    Ok((operations + 1) * DAMAGES as usize)
}

async fn failures(number: usize, failure: Failure) -> usize {
    let Prepared { directory, disk, rows, steps, operations } = scenario(number).await;
    let directory = directory.path();
    for at in 0..=operations {
        let told = format!("scenario {number}, {failure:?} at operation {at}");
        let fs = disk.copy();
        fs.fail_at(at, failure);
        let mut possible = BTreeSet::from([rows.clone()]);
        let mut first = true;
        if let Ok(catalog) = open(directory, &fs).await {
            for step in steps {
                let after: BTreeSet<Rows> = possible.iter().map(|rows| step.apply(rows)).collect();
                match step.run(&catalog).await {
                    Ok(()) => possible = after,
                    // Nobody knows.
                    Err(_) if catalog.fs().has_failed() => possible.extend(after),
                    // Later ones may lack a table that was not created.
                    Err(error) if failure == Failure::Full && std::mem::take(&mut first) => {
                        assert_eq!(
                            (error.kind(), error.subject()),
                            (ErrorKind::Unavailable, Subject::Disk),
                            "{told}: {error}"
                        );
                    }
                    Err(_) => {}
                }
            }
            fs.mend();
            let found = rows_of(&catalog).await.unwrap();
            assert!(
                possible.contains(&found),
                "{told}, seen at once: {found:?}, and not one of {possible:?}"
            );
            if !catalog.fs().has_failed() {
                ensure_it_goes_on(&catalog).await;
                Drop("later").run(&catalog).await.unwrap();
            }
        }
        fs.mend();
        let catalog = open(directory, &fs).await.unwrap_or_else(|e| panic!("{told}: {e}"));
        let found = rows_of(&catalog).await.unwrap();
        assert!(possible.contains(&found), "{told}: {found:?}, and not one of {possible:?}");
        ensure_it_goes_on(&catalog).await;
    }
    operations + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_at_any_operation_loses_nothing_acknowledged_and_leaves_nothing_by_half() {
    let mut crashes = 0;
    for number in 0..SCENARIOS.len() {
        crashes += power_losses(number, false).await.unwrap();
    }
    assert!(crashes > 2_000, "{crashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_after_a_kill_outlives_a_power_loss() {
    for number in 0..SCENARIOS.len() {
        let Prepared { directory, disk, rows, steps, operations } = scenario(number).await;
        let directory = directory.path();
        for at in 0..=operations {
            let told = format!("scenario {number}, killed at operation {at}");
            let fs = disk.copy();
            fs.fail_at(at, Failure::PowerLoss);
            let possible = match open(directory, &fs).await {
                Ok(catalog) => until_it_fails(&catalog, steps, rows.clone()).await,
                Err(_) => BTreeSet::from([rows.clone()]),
            };
            leave_open(directory);
            fs.mend();
            let catalog = open(directory, &fs).await.unwrap_or_else(|e| panic!("{told}: {e}"));
            let seen = rows_of(&catalog).await.unwrap();
            assert!(possible.contains(&seen), "{told}: {seen:?}, and not one of {possible:?}");
            let seeds = (0..DAMAGES / 2).map(|damage| ((number as u64) << 32) + ((at as u64) << 8) + damage);
            let after: Vec<SimFs> = seeds.map(|seed| fs.after_power_loss(&mut Rng::new(seed))).collect();
            drop(catalog);
            for after in after {
                let catalog = open(directory, &after).await.unwrap_or_else(|e| panic!("{told}: {e}"));
                assert_eq!(rows_of(&catalog).await.unwrap(), seen, "{told}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_that_do_nothing_are_found_out() {
    for number in [0, 1, 2, 5, 7] {
        power_losses(number, true).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_fails_once_fails_its_statement_alone() {
    for number in 0..SCENARIOS.len() {
        assert!(failures(number, Failure::Broken).await > 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_statements_fail_and_all_is_read_and_goes_on_with_room() {
    for number in 0..SCENARIOS.len() {
        assert!(failures(number, Failure::Full).await > 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_vacuum_and_drop_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let full = |fs: &SimFs| fs.fail_at(fs.operations(), Failure::Full);
    let (fs, _) = prepared(directory, &[CreateAs("a", 1, 5_000), Update("a"), Update("a")]).await;
    let catalog = open(directory, &fs).await.unwrap();
    full(&fs);
    let error = Insert("a", 6, 6).run(&catalog).await.unwrap_err();
    assert_eq!((error.kind(), error.subject()), (ErrorKind::Unavailable, Subject::Disk), "{error}");
    tokio::time::sleep(Duration::from_millis(5)).await;
    Vacuum("a").run(&catalog).await.unwrap();
    Insert("a", 5_001, 5_001).run(&catalog).await.unwrap();
    assert_eq!(rows_of(&catalog).await.unwrap()["a"].len(), 5_001);
    full(&fs);
    for table in ["b", "c"] {
        Insert("a", 1, 4).run(&catalog).await.unwrap_err();
        let there = if table == "b" { "a" } else { "b" };
        Drop(there).run(&catalog).await.unwrap();
        CreateAs(table, 1, 3).run(&catalog).await.unwrap();
    }
    drop(catalog);
    fs.mend();
    let rows = rows_of(&open(directory, &fs).await.unwrap()).await.unwrap();
    assert_eq!(rows, Rows::from([("c".into(), vec![(1, 10), (2, 20), (3, 30)])]));
}
