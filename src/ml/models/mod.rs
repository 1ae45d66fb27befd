//! The families of models: fit, estimate and load by family.

mod container;
mod ets;
mod family;
mod local;
mod seasonal_naive;
pub mod tide;

#[cfg(test)]
mod tests;

pub use family::{estimate, family_name, fit, load, parse_family};
