//! Physical plans that DataFusion gets wrong, and how it does not.

mod filters;
mod rules;
mod skips;
mod top_keys;

pub use rules::physical_rules;
