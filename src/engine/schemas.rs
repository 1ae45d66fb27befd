//! The catalog as DataFusion sees it: schemas of stored things, and the `ml` schema of system views.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;

use crate::engine::external;
use crate::engine::pg_catalog::{CatalogSchema, Surroundings};
use crate::engine::shared::Engine;
use crate::engine::storage::{DEFAULT_SCHEMA, Entry, TableName, TableVersion};
use crate::engine::system;
use crate::engine::temporary::{TEMPORARY_SCHEMA, TemporaryTables};

/// The name of the only catalog.
pub const CATALOG: &str = "foretell";

/// The schema of system views.
pub const SYSTEM_SCHEMA: &str = "ml";

/// The schemas of one database, for one session.
pub struct Schemas {
    engine: Arc<Engine>,
    /// The session: what plans the text of views, and the settings.
    around: Surroundings,
}

/// Plans the text of a view.
#[async_trait]
pub trait ViewPlanner: Send + Sync {
    /// The plan of a view's query.
    async fn plan_view(&self, name: &TableName, sql: &str) -> Result<datafusion::logical_expr::LogicalPlan>;
    /// The session's state.
    fn state(&self) -> SessionState;
    /// Names and texts of the session's prepared statements, and SQL's names of their parameters' types.
    fn prepared_statements(&self) -> Vec<(String, String, Vec<String>)>;
    /// Names and texts of the session's cursors, and whether they outlive their transaction.
    fn cursors(&self) -> Vec<(String, String, bool)>;
}

impl Schemas {
    /// The schemas of a database.
    pub fn new(engine: Arc<Engine>, around: Surroundings) -> Self {
        Self { engine, around }
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schemas")
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.engine.catalog.schemas().unwrap_or_else(|_| vec![DEFAULT_SCHEMA.to_owned()]);
        names.push(SYSTEM_SCHEMA.to_owned());
        names.extend(CatalogSchema::NAMES.map(str::to_owned));
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == TEMPORARY_SCHEMA {
            return Some(Arc::new(TemporarySchema(Arc::clone(&self.around.temporary))));
        }
        if name == SYSTEM_SCHEMA {
            return Some(Arc::new(system::SystemSchema::new(Arc::clone(&self.engine))));
        }
        if let Some(schema) = CatalogSchema::find(name, &self.engine, &self.around) {
            return Some(Arc::new(schema));
        }
        let known = self.engine.catalog.schemas().ok()?.iter().any(|s| s == name);
        known.then(|| {
            Arc::new(StoredSchema {
                engine: Arc::clone(&self.engine),
                around: self.around.clone(),
                name: name.to_owned(),
            }) as Arc<dyn SchemaProvider>
        })
    }
}

/// The schema of a session's temporary tables.
#[derive(Debug)]
struct TemporarySchema(Arc<TemporaryTables>);

#[async_trait]
impl SchemaProvider for TemporarySchema {
    fn table_names(&self) -> Vec<String> {
        self.0.schema().table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.0.table(name).await)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.has(name)
    }
}

/// One schema of stored tables, views and external tables.
struct StoredSchema {
    engine: Arc<Engine>,
    around: Surroundings,
    name: String,
}

impl fmt::Debug for StoredSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredSchema({})", self.name)
    }
}

#[async_trait]
impl SchemaProvider for StoredSchema {
    fn table_names(&self) -> Vec<String> {
        self.engine.catalog.entries(&self.name).map(|e| e.into_keys().collect()).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        // Temporary tables come before all others, and names of PostgreSQL's catalogue need no schema before them.
        if self.name == DEFAULT_SCHEMA
            && let Some(table) = self.around.temporary.table(name).await
        {
            return Ok(Some(table));
        }
        let system = || CatalogSchema::find("pg_catalog", &self.engine, &self.around);
        let name = TableName::new(&self.name, name);
        let Some(entry) = self.engine.catalog.find(&name)? else {
            return match system().filter(|_| self.name == DEFAULT_SCHEMA) {
                Some(schema) => schema.table(&name.table).await,
                None => Ok(None),
            };
        };
        let gone = || crate::error::Error::internal("the session is gone");
        Ok(Some(match entry {
            Entry::Table(_) => self.engine.catalog.provider(&name, TableVersion::Latest).await?,
            Entry::View(view) => {
                let planner = self.around.planner.upgrade().ok_or_else(gone)?;
                let plan = planner.plan_view(&name, &view.sql).await?;
                Arc::new(ViewTable::new(plan, Some(view.sql.clone())))
            }
            Entry::External(table) => {
                let planner = self.around.planner.upgrade().ok_or_else(gone)?;
                external::open(&table, &planner.state()).await?
            }
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        let stored = self.engine.catalog.find(&TableName::new(&self.name, name));
        let system = || CatalogSchema::find("pg_catalog", &self.engine, &self.around);
        stored.is_ok_and(|entry| entry.is_some())
            || (self.name == DEFAULT_SCHEMA && system().is_some_and(|schema| schema.table_exist(name)))
    }
}
