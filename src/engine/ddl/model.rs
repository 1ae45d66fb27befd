//! Changes of models.

use crate::engine::query::QueryContext;
use crate::engine::shared::Engine;
use crate::engine::sql::{ModelChange, fold};
use crate::error::{ErrorKind, Result};

/// DROP MODEL.
pub fn remove(engine: &Engine, name: &str, if_exists: bool, query: &QueryContext) -> Result<()> {
    engine.catalog.ensure_writable()?;
    let removed = engine.registry.as_ref().drop(name);
    engine.histories.let_go_all();
    match removed {
        Err(e) if if_exists && e.kind() == ErrorKind::NotFound => {
            query.notice(format!("model {name} does not exist, skipping"));
            Ok(())
        }
        other => other,
    }
}

/// ALTER MODEL.
pub fn alter(engine: &Engine, name: &str, change: ModelChange) -> Result<()> {
    engine.catalog.ensure_writable()?;
    let changed = match change {
        ModelChange::Rename(to) => engine.registry.rename(name, &fold(&to)),
        ModelChange::Rollback => engine.registry.rollback(name).map(|_| ()),
        ModelChange::Promote(version) => engine.registry.promote(name, version),
        ModelChange::DropVersion(version) => engine.registry.drop_version(name, version),
    };
    engine.histories.let_go_all();
    changed
}
