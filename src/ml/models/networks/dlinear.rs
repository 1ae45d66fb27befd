//! DLinear: linear maps of the trend and of the rest (Zeng, Chen, Zhang and Xu 2023, "Are Transformers Effective for
//! Time Series Forecasting?").
//!
//! The map of the values themselves and that of the steps' features are the skips that every network has; here are
//! that of the trend, and the width of the quantiles by the statistics of the window.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::features::WindowBatch;
use crate::ml::layers::{Activation, Initializer, Linear, Parameters};
use crate::ml::models::networks::body::{Body, Drops};
use crate::ml::models::networks::inputs::{InputSizes, WindowTensors, beside};

/// Steps of the moving mean that is the trend, unless two seasons are more.
const TREND_LENGTH: usize = 25;

#[derive(Debug)]
pub(super) struct Dlinear {
    sizes: InputSizes,
    trend: Linear,
    width: Linear,
}

impl Dlinear {
    /// Registers the maps.
    pub(super) fn new(p: &mut Parameters, sizes: &InputSizes, outputs: usize) -> Result<Self> {
        let zeros = Initializer::Zeros;
        let inputs = sizes.widths.window_row + sizes.statics;
        Ok(Self {
            trend: Linear::with_initializer(p, "trend", sizes.context, sizes.horizon, zeros)?,
            width: Linear::with_initializer(p, "width", inputs, outputs, zeros)?,
            sizes: sizes.clone(),
        })
    }

    /// Moving means about every value, with the outermost values going on at the ends.
    fn trend(&self, values: &[f32]) -> Vec<f32> {
        let context = self.sizes.context;
        let half = (TREND_LENGTH.max(2 * self.sizes.season) / 2).min(context / 2) as isize;
        let mut out = Vec::with_capacity(values.len());
        for row in values.chunks_exact(context) {
            let at = |i: isize| row[i.clamp(0, context as isize - 1) as usize];
            let mut sum: f32 = (-half..=half).map(at).sum();
            for i in 0..context as isize {
                out.push(sum / (2 * half + 1) as f32);
                sum += at(i + half + 1) - at(i - half);
            }
        }
        out
    }
}

impl Body for Dlinear {
    fn forward(&self, batch: &WindowBatch, x: &WindowTensors, _: Drops) -> Result<Tensor> {
        let shape = (x.len, self.sizes.context);
        let trend = Tensor::from_vec(self.trend(&batch.values), shape, x.values.device())?;
        let trend = self.trend.forward(&trend, Activation::None)?.unsqueeze(2)?;
        let window = beside(x.window.clone(), &x.statics)?;
        let width = self.width.forward(&window, Activation::None)?.unsqueeze(1)?;
        Ok(trend.broadcast_add(&width)?)
    }

    fn uses(&self, name: &str) -> usize {
        if name.starts_with("skip.step") { self.sizes.horizon } else { 1 }
    }

    fn widest(&self) -> usize {
        self.sizes.horizon * self.sizes.future_row
    }
}
