//! Foundation models: networks that forecast series they were not trained on.

mod chronos2;
mod config;
mod groups;

pub use chronos2::Chronos2;
pub use config::FoundationConfig;
pub use groups::{Group, GroupRow, Groups, Scale};
