//! Base forecasts of series and their sums, made to add up.

mod covariance;
mod reconciler;
mod solve;
#[cfg(test)]
mod tests;

pub use reconciler::{NodeErrors, Reconciler, Reconciliation};
