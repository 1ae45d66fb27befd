//! Many histories in one arena, on one regular time grid.

mod builder;
mod column;
mod frequency;
mod future;
mod grid;
mod incomplete;
mod layout;
mod panel;
#[cfg(test)]
mod tests;

pub use builder::{Duplicates, FinishOptions, Gaps, PanelBuilder, PanelReport, PanelSchema, Rows};
pub use column::{Column, ColumnKind, ColumnSpec};
pub use frequency::{Frequency, TimeKind};
pub use future::{FutureReport, FutureRows};
pub use grid::Grid;
pub use incomplete::{Incomplete, PeriodRows, incomplete_periods};
pub use panel::{Covariate, MISSING, Panel, Values, line_at};
