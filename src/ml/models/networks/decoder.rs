//! From the summary of a window to the outputs of its steps, each with the features of its own.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::{Activation, Linear, Parameters, ResidualBlock, concat};
use crate::ml::models::networks::body::Shape;
use crate::ml::models::networks::inputs::InputSizes;

/// A dense decoder (Das et al. 2023).
#[derive(Debug)]
pub(super) struct Decoder {
    step: Linear,
    decoder: ResidualBlock,
    temporal: ResidualBlock,
    horizon: usize,
    decoded: usize,
}

impl Decoder {
    /// Registers the layers, whose output is `outputs` numbers a step.
    pub(super) fn new(p: &mut Parameters, shape: &Shape, sizes: &InputSizes, outputs: usize) -> Result<Self> {
        let decoded = sizes.horizon * shape.decoded;
        let temporal = (shape.step_hidden + shape.decoded, shape.step_hidden, outputs);
        Ok(Self {
            step: Linear::new(p, "step.hidden", sizes.future_row, shape.step_hidden)?,
            decoder: ResidualBlock::new(p, "decoder", (shape.hidden, shape.hidden, decoded), false)?,
            temporal: ResidualBlock::new(p, "temporal", temporal, false)?,
            horizon: sizes.horizon,
            decoded: shape.decoded,
        })
    }

    /// Features of the steps, `[len, horizon, step_hidden]`, from `[len, horizon, future_row]`.
    pub(super) fn steps(&self, future: &Tensor) -> Result<Tensor> {
        self.step.forward(future, Activation::Relu)
    }

    /// `[len, horizon, outputs]` from a summary `[len, hidden]` and the features of the steps.
    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        steps: &Tensor,
        drop: Option<(f64, u64)>,
    ) -> Result<Tensor> {
        let decoded = self.decoder.forward(hidden, drop)?;
        let decoded = decoded.reshape((hidden.dim(0)?, self.horizon, self.decoded))?;
        self.temporal.forward(&concat(steps, &decoded)?, None)
    }
}

/// How often one window uses a parameter of the inputs or of the decoder.
pub(super) fn uses(name: &str, sizes: &InputSizes) -> usize {
    let per_step = ["step.", "temporal.", "skip.step"].iter().any(|prefix| name.starts_with(prefix));
    if per_step {
        sizes.horizon
    } else if name.starts_with("context.") {
        sizes.context
    } else {
        1
    }
}
