//! Gradient-boosted decision trees on histograms: numbers, categories and missing values.

mod bins;
mod booster;
mod flat;
mod grow;
mod objective;
#[cfg(test)]
mod tests;
mod tree;

pub use bins::{ColumnType, Rows};
pub use booster::{Booster, BoosterOptions, SAMPLE_ROWS, TreeRows};
pub use flat::Flat;
pub use objective::Objective;
