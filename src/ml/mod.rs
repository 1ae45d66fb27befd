//! The forecasting wing: series and tensors, never SQL; the only place that names Candle.

pub mod compression;
pub mod control;
pub mod device;
pub mod distributions;
pub mod evaluation;
pub mod features;
pub mod forecaster;
pub mod foundation;
pub mod hierarchy;
pub mod holidays;
pub mod layers;
mod matrix;
pub mod metrics;
pub mod models;
pub mod objective;
pub mod published;
pub mod reconciliation;
pub mod rng;
pub mod sequence;
pub mod series;
pub mod special;
pub mod supervised;
pub mod synthetic;
pub mod tensor_file;
pub mod text;
pub mod training;
pub mod trees;

pub use control::{Control, Progress};
