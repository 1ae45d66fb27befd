//! Where a long pretraining stands, kept on disk until it is published, so that the same statement goes on there.

use std::sync::Arc;

use crate::engine::query::QueryContext;
use crate::engine::shared::Engine;
use crate::error::Result;
use crate::ml::training::Checkpoint;

/// The checkpoints of one pretraining.
pub struct Checkpoints {
    engine: Arc<Engine>,
    key: String,
}

impl Checkpoints {
    /// Those of a statement over these versions of its tables, and of what it begins with: of another network no checkpoint fits.
    pub fn new(engine: &Arc<Engine>, text: &str, lineage: &[(String, u64)], began: &str) -> Self {
        let key = format!("{text} {lineage:?} {began} {}", env!("CARGO_PKG_VERSION"));
        Self { engine: Arc::clone(engine), key }
    }

    /// The last one, of which the user is told.
    pub fn last(&self, query: &QueryContext) -> Result<Option<Checkpoint>> {
        let kept = self.engine.registry.checkpoint(&self.key)?;
        let last = kept.and_then(|bytes| Checkpoint::from_bytes(&bytes).ok());
        if let Some(checkpoint) = &last {
            query
                .notice(format!("goes on from step {} of the pretraining that was stopped", checkpoint.step));
        }
        Ok(last)
    }

    /// Keeps one in the place of the last one.
    pub fn keep(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.engine.registry.keep_checkpoint(&self.key, &checkpoint.to_bytes()?)
    }

    /// Removes it.
    pub fn forget(&self) -> Result<()> {
        self.engine.registry.forget_checkpoint(&self.key)
    }
}
