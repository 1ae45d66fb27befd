//! Forecasts of a fitted TiDE: batches of series, block after block of the trained horizon.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, Gatherer, WindowBatch};
use crate::ml::forecaster::{FittedForecaster, Forecast, PredictOptions, Status};
use crate::ml::models::tide::Tide;
use crate::ml::series::Panel;

/// Series per forward pass.
const BATCH: usize = 64;

impl FittedForecaster for Tide {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        let starts: Vec<usize> = (0..panel.len()).step_by(BATCH).collect();
        let parts: Vec<Forecast> = starts
            .into_par_iter()
            .map(|start| {
                control.check()?;
                let part = panel.select(start..(start + BATCH).min(panel.len()));
                self.predict_part(&part.take_last(self.config.featurizer.layout.lookback), options)
            })
            .collect::<Result<_>>()?;
        let mut forecast = Forecast {
            horizon: options.horizon,
            quantile_levels: options.quantile_levels.clone(),
            point: Vec::new(),
            quantiles: Vec::new(),
            status: Vec::new(),
        };
        for part in parts {
            forecast.point.extend(part.point);
            forecast.quantiles.extend(part.quantiles);
            forecast.status.extend(part.status);
        }
        Ok(forecast)
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.config.featurizer.layout.lookback)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

impl Tide {
    fn predict_part(&self, panel: &Panel, options: &PredictOptions) -> Result<Forecast> {
        let featurizer = &self.config.featurizer;
        let block = featurizer.layout.horizon;
        let blocks = options.horizon.div_ceil(block);
        let mut encoded = EncodedPanel::new(featurizer, panel, blocks * block, options.horizon);
        let median = self.config.levels.iter().position(|u| (u - 0.5).abs() < 1e-9).unwrap_or(0);
        let levels = self.config.levels.len();
        // [series, horizon, level of the head]
        let mut all = vec![0.0f64; panel.len() * blocks * block * levels];
        for b in 0..blocks {
            let mut batch = WindowBatch::default();
            let mut gatherer = Gatherer::new(featurizer, &encoded);
            gatherer.start(&mut batch);
            for series in 0..panel.len() {
                let origin = encoded.history[series];
                gatherer.push(series, origin, origin, &mut batch);
            }
            let scaled = self.network.forward(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
            for series in 0..panel.len() {
                let mut extension = Vec::with_capacity(block);
                for step in 0..block {
                    let at = (series * block + step) * levels;
                    let row = (series * blocks + b) * block + step;
                    let out = &mut all[row * levels..(row + 1) * levels];
                    for (o, z) in out.iter_mut().zip(&scaled[at..at + levels]) {
                        *o = batch.center[series] + batch.scale[series] * f64::from(*z);
                        if featurizer.nonnegative {
                            *o = o.max(0.0);
                        }
                        if !batch.active[series * block + step] {
                            *o = 0.0;
                        }
                    }
                    out.sort_by(f64::total_cmp);
                    extension.push(out[median] as f32);
                }
                encoded.extend_history(series, &extension);
            }
        }
        let mut point = Vec::new();
        let mut quantiles = Vec::new();
        for series in 0..panel.len() {
            for step in 0..options.horizon {
                let row = (series * blocks * block + step) * levels;
                point.push(all[row + median]);
                for u in &options.quantile_levels {
                    let k = self.config.levels.iter().position(|l| (l - u).abs() < 1e-9).unwrap_or(median);
                    quantiles.push(all[row + k]);
                }
            }
        }
        let status = vec![None::<Status>; panel.len()];
        Ok(Forecast { horizon: options.horizon, quantile_levels: options.quantile_levels.clone(), point, quantiles, status })
    }
}
