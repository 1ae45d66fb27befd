//! The catalog as DataFusion sees it: schemas of stored things, and the `ml` schema of system views.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, SchemaProvider, TableProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::ObjectName;

use crate::engine::access::{Actor, DefinerNode, Guard, Rights};
use crate::engine::external;
use crate::engine::pg_catalog::{CatalogSchema, Surroundings};
use crate::engine::shared::Engine;
use crate::engine::sql::{SearchPath, fold};
use crate::engine::states::StatementState;
use crate::engine::storage::{Contents, DEFAULT_SCHEMA, Entry, TableName, TableVersion};
use crate::engine::system;
use crate::engine::temporary::{TEMPORARY_SCHEMA, TemporaryTables};

/// The name of the only catalog.
pub const CATALOG: &str = "foretell";

/// The schema of system views.
pub const SYSTEM_SCHEMA: &str = "ml";

/// The schema of models as views.
pub const FORECASTS: &str = "forecasts";

/// The schemas of one database, for one session.
pub struct Schemas {
    engine: Arc<Engine>,
    /// The session: what plans the text of views, and the settings.
    around: Surroundings,
}

/// Plans the text of a view.
#[async_trait]
pub trait ViewPlanner: Send + Sync {
    /// The plan of a view's query; names in it are looked up with the rights of `actor`.
    async fn plan_view(&self, name: &TableName, sql: &str, actor: &Arc<Actor>) -> Result<LogicalPlan>;
    /// The session's state.
    fn state(&self) -> StatementState;
    /// The catalog as it stands.
    fn contents(&self) -> crate::error::Result<Arc<Contents>>;
    /// The session's prepared statements that have a name.
    fn prepared_statements(&self) -> Vec<PreparedStatement>;
    /// Names and texts of the session's cursors, and whether they outlive their transaction.
    fn cursors(&self) -> Vec<(String, String, bool)>;
}

/// A prepared statement, as its session tells of it.
#[derive(Debug, Clone)]
pub struct PreparedStatement {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// SQL's names of its parameters' types.
    pub parameters: Vec<String>,
    /// Executions with a plan for all values.
    pub generic_plans: u64,
    /// Executions with a plan for the values at hand.
    pub custom_plans: u64,
}

impl Schemas {
    fn rights(&self) -> Option<Rights> {
        self.around.actor.rights(&self.engine.catalog).ok()
    }
}

/// What makes the state of a session out of the template that all have in common.
#[derive(Debug, Clone)]
pub struct SessionParts {
    /// Settings of DataFusion, and what planning finds in them.
    pub config: SessionConfig,
    around: Surroundings,
    catalogs: Arc<dyn CatalogProviderList>,
}

impl SessionParts {
    /// The parts of a session.
    pub fn new(config: SessionConfig, around: Surroundings) -> Self {
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        let schemas = Schemas { engine: Arc::clone(&around.engine), around: around.clone() };
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(schemas));
        Self { config, around, catalogs }
    }

    /// Those of the session for another actor: names are looked up with its rights.
    pub fn acting_as(&self, actor: &Arc<Actor>) -> Self {
        let around = Surroundings { actor: Arc::clone(actor), definer: true, ..self.around.clone() };
        let mut config = self.config.clone();
        config.set_extension(Arc::clone(actor));
        config.options_mut().extensions.insert(around.clone());
        Self::new(config, around)
    }

    /// Whose rights count.
    pub fn actor(&self) -> &Arc<Actor> {
        &self.around.actor
    }

    /// Does something with the session's search path, unless that is `public` alone.
    pub fn with_path(
        &self,
        work: impl FnOnce(&SearchPath<'_>) -> crate::error::Result<()>,
    ) -> crate::error::Result<()> {
        let contents = self.around.engine.catalog.contents()?;
        let path = self.around.search_path(&contents);
        if path == [DEFAULT_SCHEMA] {
            return Ok(());
        }
        let current = path.first();
        let find = |name: &str| {
            if self.around.temporary.has(name) {
                return None;
            }
            let found = path.iter().find(|schema| self.has(&contents, schema, name));
            // What is only where the path does not lead is not to be found.
            let hidden = || current.filter(|_| contents.find(&TableName::public(name)).is_some());
            found.or_else(hidden).cloned()
        };
        work(&SearchPath { find: &find, current: current.map(String::as_str) })
    }

    /// Writes its schema before the name of something that exists, as the session's search path finds it.
    pub fn complete_name(&self, name: &mut ObjectName) -> crate::error::Result<()> {
        self.with_path(|path| {
            path.existing(name);
            Ok(())
        })
    }

    /// The names of the columns of a stored table or view.
    pub fn columns_of(&self, name: &ObjectName) -> Option<Vec<String>> {
        let words: Vec<String> =
            name.0.iter().map(|part| part.as_ident().map(fold)).collect::<Option<_>>()?;
        let name = match words.as_slice() {
            [table] if !self.around.temporary.has(table) => TableName::public(table),
            [schema, table] => TableName::new(schema, table),
            _ => return None,
        };
        let contents = self.around.engine.catalog.contents().ok()?;
        match contents.find(&name)? {
            Entry::Table(table) => Some(table.live_columns().map(|column| column.name.clone()).collect()),
            Entry::View(view) => Some(view.columns.iter().map(|field| field.name().clone()).collect()),
            Entry::External(_) | Entry::Sequence(_) => None,
        }
    }

    /// True when the schema has a relation or an index of this name.
    fn has(&self, contents: &Contents, schema: &str, name: &str) -> bool {
        let stored = TableName::new(schema, name);
        let catalog = self.catalogs.catalog(CATALOG);
        contents.find(&stored).is_some()
            || contents.index(&stored).is_some()
            || catalog.and_then(|catalog| catalog.schema(schema)).is_some_and(|s| s.table_exist(name))
    }

    /// A state for planning and running one statement.
    pub fn state(&self) -> StatementState {
        let mut state = StatementState::of(&self.around.engine);
        *state.config_mut() = self.config.clone();
        state.register_catalog_list(Arc::clone(&self.catalogs));
        state.mark_start_execution();
        state
    }
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schemas")
    }
}

impl CatalogProvider for Schemas {
    fn schema_names(&self) -> Vec<String> {
        let (Ok(contents), Some(rights)) = (self.engine.catalog.contents(), self.rights()) else {
            return vec![DEFAULT_SCHEMA.to_owned()];
        };
        let visible = contents.schemas.iter().filter(|(name, schema)| rights.sees_schema(name, schema));
        let mut names: Vec<String> = visible.map(|(name, _)| name.clone()).collect();
        names.push(SYSTEM_SCHEMA.to_owned());
        names.extend(CatalogSchema::NAMES.map(str::to_owned));
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name == TEMPORARY_SCHEMA {
            return Some(Arc::new(TemporarySchema(Arc::clone(&self.around.temporary))));
        }
        if name == SYSTEM_SCHEMA {
            return Some(Arc::new(system::SystemSchema::new(Arc::clone(&self.engine), self.rights()?)));
        }
        if let Some(schema) = CatalogSchema::find(name, &self.engine, &self.around) {
            return Some(Arc::new(schema));
        }
        let contents = self.engine.catalog.contents().ok()?;
        let schema = contents.schemas.get(name)?;
        self.rights()?.sees_schema(name, schema).then(|| {
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

impl StoredSchema {
    /// What the name stands for, if whoever acts may know of it.
    fn visible(&self, name: &TableName) -> crate::error::Result<Option<Entry>> {
        Ok(Guard::new(&self.engine, &self.around.actor)?.find(name)?.cloned())
    }
}

#[async_trait]
impl SchemaProvider for StoredSchema {
    fn table_names(&self) -> Vec<String> {
        let entries = self.engine.catalog.entries(&self.name).unwrap_or_default();
        let Ok(rights) = self.around.actor.rights(&self.engine.catalog) else { return vec![] };
        entries.into_iter().filter(|(_, entry)| rights.sees(entry.acl())).map(|(name, _)| name).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        // Temporary tables come before all others, and names of PostgreSQL's catalogue need no schema before them.
        // Whoever wrote a view or trained a model knew nothing of this session's temporary tables.
        let bare = self.name == DEFAULT_SCHEMA;
        let temporary = if bare { self.around.temporary.table(name).await } else { None };
        if temporary.is_some() && !self.around.definer {
            return Ok(temporary);
        }
        let system = || CatalogSchema::find("pg_catalog", &self.engine, &self.around);
        let name = TableName::new(&self.name, name);
        let Some(entry) = self.visible(&name)? else {
            return match system().filter(|_| bare && temporary.is_none()) {
                Some(schema) => schema.table(&name.table).await,
                None => Ok(temporary),
            };
        };
        let gone = || crate::error::Error::internal("the session is gone");
        Ok(Some(match entry {
            Entry::Table(_) => self.engine.catalog.provider(&name, TableVersion::Latest).await?,
            Entry::View(view) => {
                let planner = self.around.planner.upgrade().ok_or_else(gone)?;
                let owner = view.acl.owner.clone();
                let definer = Arc::new(Actor::new(owner.clone()));
                let input = planner.plan_view(&name, &view.sql, &definer).await?;
                let plan = DefinerNode { view: Some(name), owner, input }.into_plan();
                Arc::new(ViewTable::new(plan, Some(view.sql.clone())))
            }
            Entry::Sequence(_) => {
                let message = format!("{name} is a sequence: it has no rows");
                let error = crate::error::Error::input(crate::error::Subject::Sequence, message);
                return Err(error
                    .with_hint(format!("SELECT nextval('{name}') takes its next number"))
                    .into());
            }
            Entry::External(table) => {
                let planner = self.around.planner.upgrade().ok_or_else(gone)?;
                external::open(&table, &planner.state()).await?
            }
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        let stored = self.visible(&TableName::new(&self.name, name));
        let system = || CatalogSchema::find("pg_catalog", &self.engine, &self.around);
        stored.is_ok_and(|entry| entry.is_some())
            || (self.name == DEFAULT_SCHEMA && system().is_some_and(|schema| schema.table_exist(name)))
    }
}
