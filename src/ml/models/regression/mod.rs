//! Families that learn the targets of rows from their values: one row for every step of many windows.

mod course;
mod descent;
mod design;
mod gbt;
mod kernel;
mod learner;
mod model;
mod regressor;
mod ridge;
mod svr;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use gbt::{BOOSTED, Gbt};
pub(super) use learner::RegressionLearner;
pub(super) use ridge::Ridge;
pub(super) use svr::Svr;
pub(super) use tree::Tree;
