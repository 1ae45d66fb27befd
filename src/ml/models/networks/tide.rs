//! TiDE, a dense encoder and decoder (Das et al. 2023, "Long-term Forecasting with TiDE").

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::features::WindowBatch;
use crate::ml::layers::{Activation, Linear, Parameters, ResidualBlock, concat};
use crate::ml::models::networks::body::{Body, Drops, Shape};
use crate::ml::models::networks::decoder::{self, Decoder};
use crate::ml::models::networks::inputs::{InputSizes, WindowTensors, beside};

#[derive(Debug)]
pub(super) struct Tide {
    sizes: InputSizes,
    widest: usize,
    context: Option<(Linear, Linear)>,
    squeeze: Linear,
    encoder: Vec<ResidualBlock>,
    decoder: Decoder,
}

impl Tide {
    /// Registers the layers.
    pub(super) fn new(p: &mut Parameters, shape: &Shape, sizes: &InputSizes, outputs: usize) -> Result<Self> {
        let (context, horizon) = (sizes.context, sizes.horizon);
        let inner = shape.projection * 4;
        let projection = if sizes.context_row > 0 {
            let hidden = Linear::new(p, "context.hidden", sizes.context_row, inner)?;
            Some((hidden, Linear::new(p, "context.output", inner, shape.projection)?))
        } else {
            None
        };
        let projected = if projection.is_some() { context * shape.projection } else { 0 };
        let inputs =
            2 * context + projected + horizon * shape.projection + sizes.widths.window_row + sizes.statics;
        let encoder = (0..shape.layers.max(1))
            .map(|i| {
                let from = if i == 0 { inputs } else { shape.hidden };
                ResidualBlock::new(p, &format!("encoder.{i}"), (from, shape.hidden, shape.hidden), true)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            widest: (horizon * sizes.future_row.max(shape.step_hidden + shape.decoded))
                .max(context * sizes.context_row.max(inner))
                .max(shape.hidden.max(inputs)),
            context: projection,
            squeeze: Linear::new(p, "step.output", shape.step_hidden, shape.projection)?,
            encoder,
            decoder: Decoder::new(p, shape, sizes, outputs)?,
            sizes: sizes.clone(),
        })
    }

    fn context(&self, x: &WindowTensors) -> Result<Option<Tensor>> {
        let (Some((hidden, output)), Some(rows)) = (&self.context, &x.context) else { return Ok(None) };
        let rows = output.forward(&hidden.forward(rows, Activation::Relu)?, Activation::None)?;
        Ok(Some(rows.flatten_from(1)?))
    }
}

impl Body for Tide {
    fn forward(&self, _: &WindowBatch, x: &WindowTensors, drops: Drops) -> Result<Tensor> {
        let steps = self.decoder.steps(&x.future)?;
        let squeezed = self.squeeze.forward(&steps, Activation::None)?.flatten_from(1)?;
        let mut hidden = concat(&concat(&x.values, &x.observed)?, &x.window)?;
        for part in self.context(x)?.into_iter().chain([squeezed]) {
            hidden = concat(&hidden, &part)?;
        }
        hidden = beside(hidden, &x.statics)?;
        for (part, block) in (1..).zip(&self.encoder) {
            hidden = block.forward(&hidden, drops.part(part))?;
        }
        self.decoder.forward(&hidden, &steps, drops.part(101))
    }

    fn uses(&self, name: &str) -> usize {
        decoder::uses(name, &self.sizes)
    }

    fn widest(&self) -> usize {
        self.widest
    }
}
