//! Sums of series over their keys, as a structure and as further series of a panel.

mod aggregate;
mod align;
mod rollup;
mod summing;
mod sums;
#[cfg(test)]
mod tests;

pub use align::align;
pub use rollup::Rollup;
pub use summing::{SummedRow, Summing};
pub use sums::{Hierarchy, Sum};
