//! Forecasts of a fitted TiDE: passes over some series, block after block of the trained horizon.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, Featurizer, Gatherer, WindowBatch};
use crate::ml::forecaster::{Forecast, PredictOptions, Status};
use crate::ml::models::tide::network::TideNetwork;
use crate::ml::models::tide::quantiles::{MEDIAN, at_level};
use crate::ml::series::Panel;
use crate::ml::training::Network;

/// A forecast further away than this many times the largest value in sight is cut.
const REACH: f64 = 10.0;

/// What forecasting needs of a fitted model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forecaster<'a> {
    /// Scalers, vocabularies and layout.
    pub(super) featurizer: &'a Featurizer,
    /// The trained network.
    pub(super) network: &'a TideNetwork,
    /// Levels of its head.
    pub(super) levels: &'a [f64],
    /// Added to the scaled quantiles in units of their spread; empty before calibration.
    pub(super) shifts: &'a [f64],
}

/// Quantiles of the head for some series: `[series, steps, levels]`.
struct Raw {
    steps: usize,
    quantiles: Vec<f64>,
    status: Vec<Option<Status>>,
}

impl Forecaster<'_> {
    /// Forecasts every series from the end of its history.
    pub(super) fn predict(
        &self,
        panel: &Panel,
        options: &PredictOptions,
        control: &Control,
    ) -> Result<Forecast> {
        if options.horizon == 0 {
            return Err(Error::internal("a forecast of 0 steps was asked for"));
        }
        self.featurizer.check_columns(panel)?;
        let pass = self.network.pass_length();
        let starts: Vec<usize> = (0..panel.len()).step_by(pass).collect();
        let parts: Vec<Raw> = starts
            .into_par_iter()
            .map(|start| {
                let part = panel.select(start..(start + pass).min(panel.len()));
                self.predict_pass(&part.take_last(self.featurizer.layout.lookback), options.horizon, control)
            })
            .collect::<Result<_>>()?;
        let mut forecast = Forecast {
            horizon: options.horizon,
            quantile_levels: options.quantile_levels.clone(),
            point: Vec::with_capacity(panel.len() * options.horizon),
            quantiles: Vec::with_capacity(panel.len() * options.horizon * options.quantile_levels.len()),
            status: Vec::with_capacity(panel.len()),
        };
        for part in parts {
            let width = self.levels.len();
            for steps in part.quantiles.chunks_exact(part.steps * width) {
                for row in steps.chunks_exact(width).take(options.horizon) {
                    forecast.point.push(at_level(self.levels, row, MEDIAN));
                    let wanted =
                        options.quantile_levels.iter().map(|u| self.floor(at_level(self.levels, row, *u)));
                    forecast.quantiles.extend(wanted);
                }
            }
            forecast.status.extend(part.status);
        }
        Ok(forecast)
    }

    fn floor(&self, y: f64) -> f64 {
        if self.featurizer.nonnegative { y.max(0.0) } else { y }
    }

    /// Forecasts the series of one pass; what a block says becomes the history of the next one.
    fn predict_pass(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Raw> {
        let block = self.featurizer.layout.horizon;
        let steps = horizon.div_ceil(block) * block;
        let width = self.levels.len();
        let mut encoded = EncodedPanel::new(self.featurizer, panel, steps, horizon);
        let mut quantiles = vec![0.0; panel.len() * steps * width];
        let mut status: Vec<Option<Status>> =
            (0..panel.len()).map(|s| self.status(panel, &encoded, s, horizon)).collect();
        let limits: Vec<f64> = (0..panel.len()).map(|s| limit(panel.history_of(s))).collect();
        let mut batch = WindowBatch::default();
        for done in (0..steps).step_by(block) {
            control.check()?;
            self.gather(&encoded, &mut batch);
            let scaled = self.network.forward(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
            for s in 0..panel.len() {
                let rows = &scaled[s * block * width..(s + 1) * block * width];
                let out = &mut quantiles[(s * steps + done) * width..(s * steps + done + block) * width];
                if !self.unscale(&batch, s, rows, limits[s], out) {
                    status[s] = Some(Status::FallbackNaive);
                }
                let medians: Vec<f32> =
                    out.chunks_exact(width).map(|row| at_level(self.levels, row, MEDIAN) as f32).collect();
                encoded.extend_history(s, &medians);
            }
        }
        for (s, status) in status.iter_mut().enumerate() {
            if let Some((value, special)) = constant(panel.history_of(s)) {
                quantiles[s * steps * width..(s + 1) * steps * width].fill(value);
                *status = Some(special);
            }
        }
        Ok(Raw { steps, quantiles, status })
    }

    fn gather(&self, encoded: &EncodedPanel, batch: &mut WindowBatch) {
        let mut gatherer = Gatherer::new(self.featurizer, encoded);
        gatherer.start(batch);
        for (series, origin) in encoded.history.iter().copied().enumerate() {
            gatherer.push(series, origin, origin, batch);
        }
    }

    /// Scaled outputs to ascending quantiles in the user's units; false where they were not finite, and
    /// what matched history suggests stands in.
    fn unscale(
        &self,
        batch: &WindowBatch,
        series: usize,
        scaled: &[f32],
        limit: f64,
        out: &mut [f64],
    ) -> bool {
        let (center, scale) = (batch.center[series], batch.scale[series]);
        let width = self.levels.len();
        let block = self.featurizer.layout.horizon;
        let finite = scaled.iter().all(|z| z.is_finite());
        for (step, (out, z)) in out.chunks_exact_mut(width).zip(scaled.chunks_exact(width)).enumerate() {
            if !batch.active[series * block + step] {
                out.fill(0.0);
                continue;
            }
            if finite {
                out.iter_mut().zip(z).for_each(|(y, z)| *y = f64::from(*z));
            } else {
                out.fill(f64::from(batch.base[series * block + step]));
            }
            out.sort_by(f64::total_cmp);
            self.shift(out);
            for y in out.iter_mut() {
                *y = self.floor((center + scale * *y).clamp(-limit, limit));
            }
        }
        finite
    }

    /// Moves every quantile by its calibrated shift times the spread of the row.
    fn shift(&self, row: &mut [f64]) {
        let Some((first, last)) = row.first().copied().zip(row.last().copied()) else { return };
        row.iter_mut().zip(self.shifts).for_each(|(y, shift)| *y += shift * (last - first));
        row.sort_by(f64::total_cmp);
    }

    fn status(&self, panel: &Panel, encoded: &EncodedPanel, series: usize, horizon: usize) -> Option<Status> {
        let layout = &self.featurizer.layout;
        let known = self.featurizer.keys.is_empty() || encoded.series[series] > 0;
        if !known || panel.history_of(series).iter().all(|y| y.is_nan()) {
            Some(Status::ColdStart)
        } else if panel.history[series] < layout.context {
            Some(Status::ShortHistory)
        } else if encoded.carried[series] {
            Some(Status::CovariatesCarried)
        } else if horizon > layout.horizon {
            Some(Status::Extended)
        } else {
            None
        }
    }
}

/// The one value that all observed values equal, and what that is called.
fn constant(history: &[f64]) -> Option<(f64, Status)> {
    let mut observed = history.iter().copied().filter(|y| y.is_finite());
    let first = observed.next()?;
    let mut status = Status::ShortHistory;
    for y in observed {
        if y != first {
            return None;
        }
        status = Status::ConstantSeries;
    }
    Some((first, status))
}

/// The largest size a forecast may have.
fn limit(history: &[f64]) -> f64 {
    let largest = history.iter().filter(|y| y.is_finite()).fold(0.0f64, |m, y| m.max(y.abs()));
    if largest > 0.0 { REACH * largest } else { f64::MAX }
}
