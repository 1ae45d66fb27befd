//! What the families promise, through the common door.

mod coherent;
mod combined;
mod global;
mod local;
mod objective;
mod properties;

use crate::ml::forecaster::FitOptions;

/// Levels that tests ask for.
pub(super) const QUANTILES: [f64; 3] = [0.05, 0.5, 0.95];

/// One window held out, and every choice left to the family.
pub(super) fn options(horizon: usize) -> FitOptions {
    FitOptions {
        horizon,
        quantile_levels: QUANTILES.to_vec(),
        validation_length: Some(horizon),
        seed: 1,
        ..FitOptions::default()
    }
}
