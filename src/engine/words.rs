//! Words for completion: what can stand in a statement of this session.

use std::collections::BTreeSet;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

use crate::engine::database::Engine;
use crate::engine::options::OPTIONS;
use crate::engine::plan::TABLE_FUNCTIONS;
use crate::engine::sql::CLAUSES;
use crate::engine::storage::{DEFAULT_SCHEMA, Entry};

/// Words of the language, ours and the common ones of SQL.
const KEYWORDS: &[&str] = &[
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
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

impl Words {
    pub(super) fn of(engine: &Engine, state: &SessionState) -> Self {
        let (mut tables, mut columns) = (BTreeSet::new(), BTreeSet::new());
        for (schema, entries) in engine.catalog.contents().iter().flat_map(|c| &c.schemas) {
            for (name, entry) in &entries.entries {
                tables.insert(if schema == DEFAULT_SCHEMA {
                    name.clone()
                } else {
                    format!("{schema}.{name}")
                });
                match entry {
                    Entry::Table(t) => columns.extend(t.live_columns().map(|c| c.name.clone())),
                    Entry::External(t) => {
                        columns.extend(t.schema.iter().flat_map(|s| s.fields()).map(|f| f.name().clone()));
                    }
                    Entry::View(_) => {}
                }
            }
        }
        tables.extend(crate::engine::system::TABLES.iter().map(|t| format!("ml.{t}")));
        let functions: BTreeSet<String> = state
            .udfs()
            .into_iter()
            .chain(state.udafs())
            .chain(state.udwfs())
            .chain(TABLE_FUNCTIONS.iter().map(|f| (*f).to_owned()))
            .collect();
        Self {
            keywords: KEYWORDS,
            tables: tables.into_iter().collect(),
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
