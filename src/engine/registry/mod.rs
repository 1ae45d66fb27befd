//! Models on disk: names, versions and their artifacts, published atomically.

mod artifact;
mod entry;
mod manifest;
mod store;

pub use artifact::{Contents, Model};
#[cfg(any(test, fuzzing))]
pub use entry::Entry;
pub use manifest::{ColumnRole, Manifest, Metric, ModelKind, ModelRole};
pub use store::{ModelRegistry, ModelSummary, PublishMode, check_free};
