//! Forecasts of many series, some at a time, in parallel.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::evaluation::{LEVELS, WIDTH};
use crate::ml::features::{EncodedPanel, Featurizer};
use crate::ml::forecaster::{Forecast, Status};
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

/// A forecast of nothing but zeros at [`LEVELS`], with what is to be told of every series; a history of fewer than
/// `shortest` steps is short.
pub(super) fn blank(
    panel: &Panel,
    featurizer: &Featurizer,
    encoded: &EncodedPanel,
    shortest: usize,
    horizon: usize,
) -> Forecast {
    let status = |series: usize| {
        let known = featurizer.keys.is_empty() || encoded.series[series] > 0;
        if !known || panel.history_of(series).iter().all(|y| y.is_nan()) {
            Some(Status::ColdStart)
        } else if panel.history[series] < shortest {
            Some(Status::ShortHistory)
        } else {
            encoded.carried[series].then_some(Status::CovariatesCarried)
        }
    };
    Forecast {
        horizon,
        quantile_levels: LEVELS.to_vec(),
        point: vec![0.0; panel.len() * horizon],
        quantiles: vec![0.0; panel.len() * horizon * WIDTH],
        status: (0..panel.len()).map(status).collect(),
        ..Forecast::default()
    }
}
