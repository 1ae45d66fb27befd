//! How good forecasts are: held-out windows, scores, combinations, calibrated intervals.

mod conformal;
mod dependence;
mod ensemble;
mod groups;
pub mod levels;
mod paths;
mod residuals;
mod validate;

pub use conformal::Calibration;
pub use dependence::Dependence;
pub use ensemble::Contest;
pub use groups::{GROUPS, group_of, is_intermittent};
pub use levels::{LEVELS, MIDDLE, WIDTH};
pub use paths::{PathOptions, draw};
pub use residuals::{PointForecast, Residuals};
pub use validate::{Holdout, Scale, ScoreSums, Scorer, scale};
