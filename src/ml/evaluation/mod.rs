//! How good forecasts are: held-out windows, scores, combinations, calibrated intervals.

mod conformal;
mod ensemble;
mod groups;
pub mod levels;
mod residuals;
mod validate;

pub use conformal::Calibration;
pub use ensemble::Contest;
pub use groups::{GROUPS, group_of, is_intermittent};
pub use levels::{LEVELS, MIDDLE, WIDTH};
pub use residuals::{PointForecast, Residuals};
pub use validate::{Holdout, Scorer};
