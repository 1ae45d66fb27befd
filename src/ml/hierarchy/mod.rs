//! Sums of series over their keys, and forecasts that add up.

mod aggregate;
mod align;
mod covariance;
mod reconciler;
mod rollup;
mod solve;
mod sums;
#[cfg(test)]
mod tests;

pub use align::aligned;
pub use reconciler::{NodeErrors, Reconciler, Reconciliation};
pub use rollup::Rollup;
pub use sums::{Hierarchy, Sum};
