//! PostgreSQL's catalogue: its relations with their true types, filled from one snapshot of ours.

mod functions;
mod information;
mod procedures;
mod provider;
mod relations;
mod rows;
mod snapshot;
mod tables;
mod types;
mod udf;

use std::sync::{Arc, Weak};

use datafusion::execution::session_state::SessionState;

use crate::engine::schemas::ViewPlanner;
use crate::engine::settings::SharedVariables;
use crate::engine::temporary::TemporaryTables;

use procedures::{procedure_name, procedure_oid};
pub use provider::{CatalogSchema, SnapshotCache};
pub use udf::all as functions;

/// What the catalogue tells of the session that asks.
#[derive(Clone)]
pub struct Surroundings {
    /// The settings.
    pub variables: SharedVariables,
    /// The session.
    pub planner: Weak<dyn ViewPlanner>,
    /// The session's temporary tables.
    pub temporary: Arc<TemporaryTables>,
}

impl Surroundings {
    /// What clients call the database.
    pub fn database(&self) -> String {
        let name = self.variables.read().value("foretell.database");
        if name.is_empty() { crate::engine::schemas::CATALOG.to_owned() } else { name }
    }

    /// The session's state, while there is one.
    pub fn state(&self) -> Option<SessionState> {
        Some(self.planner.upgrade()?.state())
    }
}
