//! The forecasting wing: series and tensors, never SQL; the only place that names Candle.

pub mod control;
pub mod evaluation;
pub mod forecaster;
pub mod metrics;
pub mod models;
pub mod rng;
pub mod series;

mod features;
mod layers;
mod training;

pub use control::{Control, Progress};
