//! The families of models: fit, estimate and load by family.

mod arima;
mod arma;
mod auto;
mod averaging;
mod ces;
mod container;
mod croston;
mod decomposition;
mod ets;
mod family;
mod fitted;
mod fitting;
mod gbt;
mod least_squares;
mod local;
mod model;
mod passes;
mod seasonal_naive;
mod simplex;
mod theta;
pub mod tide;
mod trees;

#[cfg(test)]
mod tests;

pub use auto::candidates;
pub use family::{estimate, family_name, fit, held_out, load, parse_family};
pub use fitting::WINDOWS_MAX;
