//! Models on disk: names, versions and their artifacts, published atomically.

mod artifact;
mod entry;
mod manifest;
mod store;

pub use artifact::{Contents, Model};
pub use manifest::{ColumnRole, Manifest, Metric, ModelKind, ModelRole};
pub use store::{ModelRegistry, ModelSummary, PublishMode, check_free};
