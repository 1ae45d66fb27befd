//! Forecasts of many series, some at a time, in parallel.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::evaluation::LEVELS;
use crate::ml::forecaster::Forecast;
use crate::ml::series::Panel;

/// Forecasts at [`LEVELS`], `length` series to a pass; the result does not depend on it.
pub(super) fn predict(
    panel: &Panel,
    length: usize,
    horizon: usize,
    pass: impl Fn(&Panel) -> Result<Forecast> + Sync,
) -> Result<Forecast> {
    let starts: Vec<usize> = (0..panel.len()).step_by(length.max(1)).collect();
    let parts: Vec<Forecast> = starts
        .into_par_iter()
        .map(|start| pass(&panel.select(start..(start + length).min(panel.len()))))
        .collect::<Result<_>>()?;
    let mut out = Forecast {
        horizon,
        quantile_levels: LEVELS.to_vec(),
        point: Vec::new(),
        quantiles: Vec::new(),
        status: Vec::new(),
        ..Forecast::default()
    };
    for part in parts {
        out.point.extend(part.point);
        out.quantiles.extend(part.quantiles);
        out.status.extend(part.status);
    }
    Ok(out)
}
