//! Forecasts of a fitted network: passes over some series, block after block of the trained horizon.

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::{MIDDLE, WIDTH};
use crate::ml::features::{EncodedPanel, Featurizer, Gatherer, WindowBatch};
use crate::ml::forecaster::{Forecast, Status};
use crate::ml::models::local::bounds;
use crate::ml::models::networks::head::Head;
use crate::ml::models::networks::network::WindowNetwork;
use crate::ml::models::passes;
use crate::ml::series::Panel;
use crate::ml::training::Network;

/// What forecasting needs of a fitted model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forecaster<'a> {
    /// Scalers, vocabularies and layout.
    pub(super) featurizer: &'a Featurizer,
    /// The trained network.
    pub(super) network: &'a WindowNetwork,
    /// How its outputs are read.
    pub(super) head: &'a Head,
}

impl Forecaster<'_> {
    /// Forecasts every series from the end of its history.
    pub(super) fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        self.featurizer.check_columns(panel)?;
        passes::predict(panel, self.network.pass_length(), horizon, |part| {
            self.predict_pass(&part.take_last(self.featurizer.layout.lookback), horizon, control)
        })
    }

    fn floor(&self, y: f64) -> f64 {
        if self.featurizer.nonnegative { y.max(0.0) } else { y }
    }

    /// Forecasts the series of one pass; what a block says becomes the history of the next one.
    fn predict_pass(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        let block = self.featurizer.layout.horizon;
        let steps = horizon.div_ceil(block) * block;
        let mut encoded = EncodedPanel::new(self.featurizer, panel, steps, horizon);
        let mut out =
            passes::blank(panel, self.featurizer, &encoded, self.featurizer.layout.context, horizon);
        let limits: Vec<f64> = (0..panel.len()).map(|s| limit(panel.history_of(s))).collect();
        let mut batch = WindowBatch::default();
        let mut rows = vec![0.0; block * WIDTH];
        for done in (0..horizon).step_by(block) {
            control.check()?;
            self.gather(&encoded, &mut batch);
            let outputs = self.network.forward(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
            let each = outputs.len() / panel.len().max(1);
            for s in 0..panel.len() {
                let outputs = &outputs[s * each..(s + 1) * each];
                if !self.read(&batch, s, outputs, limits[s], &mut rows) {
                    out.status[s] = Some(Status::FallbackNaive);
                }
                let wanted = block.min(horizon - done);
                let at = s * horizon + done;
                out.quantiles[at * WIDTH..(at + wanted) * WIDTH].copy_from_slice(&rows[..wanted * WIDTH]);
                let medians: Vec<f32> = rows.chunks_exact(WIDTH).map(|row| row[MIDDLE] as f32).collect();
                encoded.extend_history(s, &medians);
            }
        }
        for (point, row) in out.point.iter_mut().zip(out.quantiles.chunks_exact(WIDTH)) {
            *point = row[MIDDLE];
        }
        Ok(out)
    }

    fn gather(&self, encoded: &EncodedPanel, batch: &mut WindowBatch) {
        let mut gatherer = Gatherer::new(self.featurizer, encoded);
        gatherer.start(batch);
        for (series, origin) in encoded.history.iter().copied().enumerate() {
            gatherer.push(series, origin, origin, batch);
        }
    }

    /// Outputs of a window to ascending quantiles in the user's units; false where they were not finite, and what
    /// matched history suggests stands in.
    fn read(&self, batch: &WindowBatch, series: usize, outputs: &[f32], limit: f64, out: &mut [f64]) -> bool {
        let (center, scale) = (batch.center[series], batch.scale[series]);
        let block = self.featurizer.layout.horizon;
        let each = outputs.len() / block.max(1);
        let mut finite = outputs.iter().all(|z| z.is_finite());
        for (step, out) in out.chunks_exact_mut(WIDTH).enumerate() {
            if !batch.active[series * block + step] {
                out.fill(0.0);
                continue;
            }
            if finite {
                self.head.quantiles(&outputs[step * each..(step + 1) * each], step, (center, scale), out);
                finite = out.iter().all(|y| y.is_finite());
            }
            if !finite {
                out.fill(center + scale * f64::from(batch.base[series * block + step]));
            }
            out.sort_by(f64::total_cmp);
            for y in out.iter_mut() {
                *y = self.floor(y.clamp(-limit, limit));
            }
        }
        finite
    }
}

/// The largest size a forecast may have.
fn limit(history: &[f64]) -> f64 {
    let reach = bounds(history).1;
    if reach > 0.0 { reach } else { f64::MAX }
}
