//! Many histories in one arena, on one regular time grid.

mod frequency;
mod panel;

pub use frequency::Frequency;
pub use panel::{Covariate, Panel, Values};
