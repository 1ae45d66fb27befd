//! Functions in `pg_proc`: those of PostgreSQL that types are read and written by or that are here, and those of this
//! engine alone.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use datafusion::logical_expr::Documentation;

use super::Surroundings;
use super::rows::Rows;
use crate::engine::functions::SECTIONS;
use crate::engine::plan::TABLE_FUNCTIONS;
use crate::postgres::{ArrayItem, array_items, format_type};

/// PostgreSQL's rows of the functions that `pg_type` names, and of those that are here with the types that are here.
const TEXT: &str = include_str!("data/pg_proc.tsv");

/// The first number of functions of this engine.
const FIRST: u32 = 0x1000_0000;

/// Numbers of the schemas.
const PG_CATALOG_OID: u32 = 11;
const PUBLIC_OID: u32 = 2_200;

/// A function of PostgreSQL.
struct Known {
    oid: u32,
    name: &'static str,
    /// Numbers of the types of its arguments.
    arguments: &'static str,
    /// Their names, in braces.
    names: &'static str,
    is_variadic: bool,
    set: bool,
    result: u32,
}

/// By number.
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let cells: Vec<&str> = line.split('\t').collect();
        Some(Known {
            oid: cells.first()?.parse().ok()?,
            name: cells.get(1)?,
            arguments: cells.get(19)?,
            names: cells.get(22)?,
            is_variadic: *cells.get(7)? != "0",
            set: *cells.get(13)? == "t",
            result: cells.get(18)?.parse().ok()?,
        })
    };
    TEXT.lines().filter_map(read).collect()
});

static NUMBERS: LazyLock<BTreeMap<&str, u32>> =
    LazyLock::new(|| KNOWN.iter().rev().map(|known| (known.name, known.oid)).collect());

impl Known {
    fn find(oid: Option<i64>) -> Option<&'static Self> {
        let oid = u32::try_from(oid?).ok()?;
        KNOWN.binary_search_by_key(&oid, |known| known.oid).ok().map(|at| &KNOWN[at])
    }

    /// `VARIADIC name type, type`, as PostgreSQL writes it.
    fn arguments(&self) -> String {
        let types: Vec<&str> = self.arguments.split_whitespace().collect();
        let names = array_items(self.names).unwrap_or_default();
        let argument = |(n, oid): (usize, &&str)| {
            let data_type = format_type(oid.parse().unwrap_or(0), None);
            let variadic = if self.is_variadic && n + 1 == types.len() { "VARIADIC " } else { "" };
            match names.get(n) {
                Some(ArrayItem::Text(name)) if !name.is_empty() => format!("{variadic}{name} {data_type}"),
                _ => format!("{variadic}{data_type}"),
            }
        };
        types.iter().enumerate().map(argument).collect::<Vec<_>>().join(", ")
    }

    fn result(&self) -> String {
        let set = if self.set { "SETOF " } else { "" };
        format!("{set}{}", format_type(self.result, None))
    }
}

/// The number of a function of PostgreSQL, the first of its name; 0 for `-`.
pub fn procedure_oid(name: &str) -> u32 {
    NUMBERS.get(name).copied().unwrap_or(0)
}

/// The name of the function of this number.
pub fn procedure_name(oid: u32) -> Option<&'static str> {
    Known::find(Some(i64::from(oid))).map(|known| known.name)
}

/// Kind in pg_proc, and the schema: functions about forecasts are in `public`, so that `\df` lists them.
struct Function {
    name: String,
    kind: &'static str,
    schema: u32,
    set: bool,
    description: String,
    /// What stands between its parentheses, as far as it is known.
    arguments: String,
}

/// The functions of a session, by name.
fn functions(around: &Surroundings) -> Vec<Function> {
    let Some(state) = around.state() else { return vec![] };
    let plain = |kind| {
        move |(name, documentation): (String, Option<&Documentation>)| named(name, kind, documentation)
    };
    let scalar = state.scalar_functions().iter().map(|(name, f)| (name.clone(), f.documentation()));
    let mut all: Vec<Function> = scalar.map(plain("f")).collect();
    let aggregate = state.aggregate_functions().iter().map(|(name, f)| (name.clone(), f.documentation()));
    all.extend(aggregate.map(plain("a")));
    let window = state.window_functions().iter().map(|(name, f)| (name.clone(), f.documentation()));
    all.extend(window.map(plain("w")));
    all.extend(TABLE_FUNCTIONS.iter().map(|f| Function {
        name: f.name.to_owned(),
        kind: "f",
        schema: PUBLIC_OID,
        set: true,
        description: f.description.to_owned(),
        arguments: between_parentheses(f.usage),
    }));
    all.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    all.dedup_by(|a, b| a.name == b.name && a.kind == b.kind);
    all
}

/// A function of one value a row, of an aggregate or of a window; ours are in `public`.
fn named(name: String, kind: &'static str, documentation: Option<&Documentation>) -> Function {
    let own = documentation.filter(|d| SECTIONS.contains(&d.doc_section.label));
    Function {
        name,
        kind,
        schema: if own.is_some() { PUBLIC_OID } else { PG_CATALOG_OID },
        set: false,
        description: own.map_or_else(String::new, |d| d.description.clone()),
        arguments: documentation.map_or_else(String::new, |d| between_parentheses(&d.syntax_example)),
    }
}

/// What stands between the outer parentheses of `f(a, b)`.
fn between_parentheses(usage: &str) -> String {
    let inner = usage.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    inner.map_or_else(String::new, |(inner, _)| inner.to_owned())
}

fn find(around: &Surroundings, oid: Option<i64>) -> Option<Function> {
    functions(around).into_iter().find(|f| Some(i64::from(number(f))) == oid)
}

/// What the function of this number takes, as its description writes it.
pub fn arguments(around: &Surroundings, oid: Option<i64>) -> String {
    if let Some(known) = Known::find(oid) {
        return known.arguments();
    }
    find(around, oid).map_or_else(String::new, |f| f.arguments)
}

/// What it gives: rows, or a value whose type depends on what it is given.
pub fn result(around: &Surroundings, oid: Option<i64>) -> String {
    if let Some(known) = Known::find(oid) {
        return known.result();
    }
    let told = if find(around, oid).is_some_and(|f| f.set) { "SETOF record" } else { "any" };
    told.to_owned()
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
