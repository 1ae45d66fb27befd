//! PostgreSQL's catalogue: its relations with their true types, filled from one snapshot of ours.

mod functions;
mod information;
mod privileges;
mod procedures;
mod provider;
mod relations;
mod rows;
mod snapshot;
mod tables;
mod udf;

use std::fmt;
use std::sync::{Arc, Weak};

use datafusion::common::config::ConfigOptions;

use crate::engine::access::{Actor, Rights};
use crate::engine::activity::SessionActivity;
use crate::engine::schemas::{SYSTEM_SCHEMA, ViewPlanner};
use crate::engine::settings::{SharedVariables, carried, schema_names};
use crate::engine::shared::Engine;
use crate::engine::states::StatementState;
use crate::engine::storage::Contents;
use crate::engine::temporary::TemporaryTables;
use crate::error::{Error, Result};

use procedures::{procedure_name, procedure_oid};
pub use provider::{CatalogSchema, SnapshotCache};
pub use udf::all as functions;

/// What the catalogue tells of the session that asks; functions find it in the session's settings.
#[derive(Clone)]
pub struct Surroundings {
    /// The database.
    pub engine: Arc<Engine>,
    /// The settings.
    pub variables: SharedVariables,
    /// The session.
    pub planner: Weak<dyn ViewPlanner>,
    /// The session's temporary tables.
    pub temporary: Arc<TemporaryTables>,
    /// Whose rights count.
    pub actor: Arc<Actor>,
    /// True inside of views and of what models read.
    pub definer: bool,
    /// The session as others see it, in a server.
    pub client: Option<Arc<SessionActivity>>,
}

impl Surroundings {
    /// The schemas that names without one are looked up in: those that exist for whoever acts.
    pub fn search_path(&self, contents: &Contents) -> Vec<String> {
        let Ok(rights) = self.actor.rights(&self.engine.catalog) else { return vec![] };
        let role = self.actor.role().unwrap_or_default();
        let mut path: Vec<String> = vec![];
        for name in schema_names(&self.variables.read().value("search_path")) {
            let name = if name == "$user" { role.clone() } else { name };
            let stored = contents.schemas.get(&name);
            let exists = stored.map_or_else(|| is_system_schema(&name), |s| rights.sees_schema(&name, s));
            if exists && !path.contains(&name) {
                path.push(name);
            }
        }
        path
    }
}

/// True for the schemas that every database has besides `public`.
fn is_system_schema(name: &str) -> bool {
    name == SYSTEM_SCHEMA || CatalogSchema::NAMES.contains(&name)
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

carried!(Surroundings, "surroundings");

impl Surroundings {
    /// Those of the session whose settings these are.
    pub fn of(options: &ConfigOptions) -> Result<&Self> {
        options.extensions.get::<Self>().ok_or_else(|| Error::internal("the session is gone"))
    }

    /// The number of the session.
    pub fn pid(&self) -> i64 {
        self.client.as_ref().map_or_else(|| i64::from(std::process::id()), |client| i64::from(client.pid))
    }

    /// What clients call the database.
    pub fn database(&self) -> String {
        let name = self.variables.read().value("foretell.database");
        if name.is_empty() { crate::engine::schemas::CATALOG.to_owned() } else { name }
    }

    /// True when whoever acts has the rights of a role.
    pub fn includes(&self, role: &str) -> bool {
        let engine = self.planner.upgrade().map(|session| session.contents());
        let Some(Ok(contents)) = engine else { return false };
        Rights::of(self.actor.role().as_deref(), &contents).includes(role)
    }

    /// The session's state, while there is one.
    pub fn state(&self) -> Option<StatementState> {
        Some(self.planner.upgrade()?.state())
    }
}
