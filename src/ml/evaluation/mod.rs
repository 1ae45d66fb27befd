//! How good forecasts are: held-out windows, scores, calibrated intervals.

mod conformal;
mod validate;

pub use conformal::{Calibrator, LocalForecast};
pub use validate::Holdout;
