//! Many histories in one arena, on one regular time grid.

mod frequency;
mod panel;

pub use frequency::{Frequency, TimeKind};
pub use panel::{Covariate, MISSING, Panel, Values};
