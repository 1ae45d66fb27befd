//! Words for completion: what can stand in a statement of this session.

use std::collections::BTreeSet;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

use crate::engine::options::OPTIONS;
pub(super) use crate::engine::plan::TABLE_FUNCTIONS;
use crate::engine::shared::Engine;
use crate::engine::sql::CLAUSES;
use crate::engine::storage::{DEFAULT_SCHEMA, Entry};

/// Words of the language, ours and the common ones of SQL.
const KEYWORDS: &[&str] = &[
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "BACKTEST",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CENSORED",
    "CHECK",
    "COLUMN",
    "COMMENT",
    "COPY",
    "CREATE",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EVALUATE",
    "EVERY",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FORECAST",
    "FROM",
    "FULL",
    "GAPS",
    "GROUP",
    "HAVING",
    "HISTORY",
    "HORIZON",
    "IF",
    "IGNORE",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KNOWN",
    "LAST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "MODEL",
    "MODELS",
    "NOT",
    "NULL",
    "OF",
    "OFFSET",
    "ON",
    "OPTIMIZE",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PAST",
    "PREPARE",
    "QUANTILES",
    "RECONCILE",
    "RENAME",
    "REPLACE",
    "RIGHT",
    "ROLLBACK",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "STATIC",
    "STORED",
    "TABLE",
    "TARGET",
    "THEN",
    "TO",
    "TRAIN",
    "TRUNCATE",
    "UNION",
    "UPDATE",
    "USING",
    "VACUUM",
    "VALIDATE",
    "VALUES",
    "VERSION",
    "VERSIONS",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// The words, each list sorted.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// Words of the language.
    pub keywords: &'static [&'static str],
    /// Tables and views, with their schema where it is not `public`.
    pub tables: Vec<String>,
    /// Columns of all stored tables.
    pub columns: Vec<String>,
    /// Models.
    pub models: Vec<String>,
    /// Scalar, aggregate, window and table functions.
    pub functions: Vec<String>,
    /// Options of TRAIN and its clauses' words.
    pub options: Vec<String>,
}

/// Tables and views as they are written in SQL, sorted.
pub(super) fn table_names(engine: &Engine) -> Vec<String> {
    let mut names: Vec<String> =
        crate::engine::system::TABLES.iter().map(|table| format!("ml.{table}")).collect();
    for (schema, entries) in engine.catalog.contents().iter().flat_map(|c| &c.schemas) {
        let prefix = if schema == DEFAULT_SCHEMA { String::new() } else { format!("{schema}.") };
        let tables = entries.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Sequence(_)));
        names.extend(tables.map(|(name, _)| format!("{prefix}{name}")));
    }
    names.sort();
    names
}

/// Scalar, aggregate and window functions.
pub(super) fn function_names(state: &SessionState) -> Vec<String> {
    state.udfs().into_iter().chain(state.udafs()).chain(state.udwfs()).collect()
}

impl Words {
    pub(super) fn of(engine: &Engine, state: &SessionState) -> Self {
        let mut columns = BTreeSet::new();
        let contents = engine.catalog.contents();
        for entry in contents.iter().flat_map(|c| c.schemas.values()).flat_map(|s| s.entries.values()) {
            match entry {
                Entry::Table(t) => columns.extend(t.live_columns().map(|c| c.name.clone())),
                Entry::External(t) => {
                    columns.extend(t.schema.iter().flat_map(|s| s.fields()).map(|f| f.name().clone()));
                }
                Entry::View(_) | Entry::Sequence(_) => {}
            }
        }
        let table_functions = TABLE_FUNCTIONS.iter().map(|f| f.name.to_owned());
        let functions: BTreeSet<String> = function_names(state).into_iter().chain(table_functions).collect();
        Self {
            keywords: KEYWORDS,
            tables: table_names(engine),
            columns: columns.into_iter().collect(),
            models: engine
                .registry
                .list()
                .map(|m| m.into_iter().map(|m| m.name).collect())
                .unwrap_or_default(),
            functions: functions.into_iter().collect(),
            options: OPTIONS
                .iter()
                .map(|o| o.name.to_owned())
                .chain(CLAUSES.iter().map(|c| (*c).to_owned()))
                .collect(),
        }
    }
}
