//! The name under which a statement publishes a model: what exists there, who may, and the version that it becomes.

use std::sync::Arc;

use crate::engine::access::Guard;
use crate::engine::controlled::current_control;
use crate::engine::query::QueryContext;
use crate::engine::registry::{Contents, Manifest, PublishMode, check_free};
use crate::engine::shared::Engine;
use crate::engine::storage::Privilege;
use crate::error::{Error, ErrorKind, Result, Subject};

/// A name for a model that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewModel {
    /// The model.
    pub name: String,
    /// Add a version to an existing model.
    pub or_replace: bool,
    /// Leave an existing model alone.
    pub if_not_exists: bool,
}

impl NewModel {
    /// Fails for a name that is taken, or kept for the model that ships; the version of a model that IF NOT EXISTS leaves alone. `way_out` is the statement
    /// that would add a version.
    pub fn existing(&self, engine: &Engine, query: &QueryContext, way_out: &str) -> Result<Option<u64>> {
        engine.catalog.ensure_writable()?;
        let name = &self.name;
        check_free(name)?;
        match engine.registry.find(name)? {
            Some(version) if self.if_not_exists => {
                query.notice(format!("model {name} already exists, skipping"));
                Ok(Some(version))
            }
            Some(_) if !self.or_replace => {
                let message = format!("model {name} already exists");
                let error = Error::new(ErrorKind::Exists, Subject::Model, message);
                Err(error
                    .with_hint(format!("{way_out} {name} … adds a version; IF NOT EXISTS keeps the old one")))
            }
            _ => Ok(None),
        }
    }

    /// Fails for a role that may not make this model.
    pub fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        match engine.registry.find(&self.name)? {
            Some(_) if self.or_replace => guard.model(&self.name, Privilege::Refresh),
            _ => guard.create_models(),
        }
    }

    /// Publishes what was made.
    pub async fn publish(
        &self,
        engine: &Arc<Engine>,
        manifest: Manifest,
        contents: Contents,
        owner: Option<String>,
    ) -> Result<u64> {
        let mode = if self.or_replace { PublishMode::Replace } else { PublishMode::New };
        publish(engine, &self.name, (manifest, contents), mode, owner).await
    }
}

/// Publishes a version on a thread that may wait for the disk, of a statement that is not stopped any more.
pub async fn publish(
    engine: &Arc<Engine>,
    name: &str,
    (manifest, contents): (Manifest, Contents),
    mode: PublishMode,
    owner: Option<String>,
) -> Result<u64> {
    let (engine, name) = (Arc::clone(engine), name.to_owned());
    let work = move || engine.registry.publish(&name, manifest, contents, mode, owner);
    current_control().commit_begins()?;
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::internal(format!("publishing stopped: {e}")))?
}
