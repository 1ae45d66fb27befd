//! Functions in `pg_proc`: those that types are read and written by, and the functions of this engine.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use datafusion::execution::FunctionRegistry;

use super::Surroundings;
use super::rows::Rows;
use crate::engine::plan::TABLE_FUNCTIONS;

/// PostgreSQL's rows of the functions that `pg_type` names.
const TEXT: &str = include_str!("data/pg_proc.tsv");

/// The first number of functions of this engine.
const FIRST: u32 = 0x1000_0000;

static NUMBERS: LazyLock<BTreeMap<&str, u32>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let mut cells = line.split('\t');
        let oid = cells.next()?.parse().ok()?;
        Some((cells.next()?, oid))
    };
    TEXT.lines().filter_map(read).collect()
});

/// The number of a function that types are read or written by; 0 for `-`.
pub fn procedure_oid(name: &str) -> u32 {
    NUMBERS.get(name).copied().unwrap_or(0)
}

/// The name of the function of this number.
pub fn procedure_name(oid: u32) -> Option<&'static str> {
    NUMBERS.iter().find(|(_, number)| **number == oid).map(|(name, _)| *name)
}

/// Kind in pg_proc, and the schema: functions about forecasts are in `public`, so that `\df` lists them.
struct Function {
    name: String,
    kind: &'static str,
    schema: u32,
    set: bool,
    description: String,
}

/// The functions of a session, by name.
fn functions(around: &Surroundings) -> Vec<Function> {
    let Some(state) = around.state() else { return vec![] };
    let function = |name: &String, kind| Function {
        name: name.clone(),
        kind,
        schema: 11,
        set: false,
        description: String::new(),
    };
    let mut all: Vec<Function> = state.udfs().iter().map(|name| function(name, "f")).collect();
    all.extend(state.udafs().iter().map(|name| function(name, "a")));
    all.extend(state.udwfs().iter().map(|name| function(name, "w")));
    all.extend(TABLE_FUNCTIONS.iter().map(|f| Function {
        name: f.name.to_owned(),
        kind: "f",
        schema: 2_200,
        set: true,
        description: f.description.to_owned(),
    }));
    all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    all.dedup_by(|a, b| a.name == b.name && a.kind == b.kind);
    all
}

/// The same number for the same name in every process.
fn number(function: &Function) -> u32 {
    let key = function.kind.bytes().chain(function.name.bytes());
    let hash = key.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FIRST + (hash & 0x0fff_ffff)
}

/// Puts the rows of `pg_proc`.
pub fn fill(rows: &mut Rows, around: &Surroundings) {
    TEXT.lines().for_each(|line| rows.push_text(line));
    for function in functions(around) {
        if procedure_oid(&function.name) != 0 {
            continue;
        }
        rows.push([
            ("oid", number(&function).into()),
            ("proname", function.name.as_str().into()),
            ("pronamespace", function.schema.into()),
            ("proowner", super::snapshot::OWNER_OID.into()),
            ("prolang", 12_i64.into()),
            ("procost", 1.0.into()),
            ("prorows", if function.set { 1000.0 } else { 0.0 }.into()),
            ("prokind", function.kind.into()),
            ("proretset", function.set.into()),
            ("provolatile", "v".into()),
            ("proparallel", "u".into()),
            ("prorettype", if function.set { 2_249_i64 } else { 2_276 }.into()),
            ("prosrc", function.name.as_str().into()),
        ]);
    }
}

/// Numbers and descriptions of table functions, for pg_description.
pub fn descriptions(around: &Surroundings) -> Vec<(u32, String)> {
    let described = functions(around).into_iter().filter(|f| !f.description.is_empty());
    described.map(|f| (number(&f), f.description)).collect()
}
