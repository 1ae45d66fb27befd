//! A recurrent encoder with a dense decoder of all steps at once (Wen, Torkkola, Narayanaswamy and Madeka 2017,
//! "A Multi-Horizon Quantile Recurrent Forecaster").

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::features::WindowBatch;
use crate::ml::layers::{Initializer, Linear, Parameters, ResidualBlock, concat, dropout, gru, lstm};
use crate::ml::models::networks::body::{Body, Drops, Shape};
use crate::ml::models::networks::decoder::{self, Decoder};
use crate::ml::models::networks::inputs::{InputSizes, WindowTensors, beside};

/// The cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Long short-term memory: four gates.
    Lstm,
    /// Gated recurrent unit: three gates.
    Gru,
}

/// One layer over a sequence.
#[derive(Debug)]
struct Layer {
    projection: Linear,
    weight: Tensor,
    /// The bias of the state's part, which only gated units have.
    bias: Option<Tensor>,
}

impl Layer {
    fn new(p: &mut Parameters, cell: Cell, name: &str, (inputs, hidden): (usize, usize)) -> Result<Self> {
        let gates = if cell == Cell::Lstm { 4 } else { 3 };
        let bias = match cell {
            Cell::Lstm => None,
            Cell::Gru => Some(p.register(&format!("{name}.bias"), &[gates * hidden], Initializer::Zeros)?),
        };
        let weight = p.register(&format!("{name}.weight"), &[gates * hidden, hidden], Initializer::Glorot)?;
        let projection = Linear::new(p, &format!("{name}.input"), inputs, gates * hidden)?;
        Ok(Self { projection, weight, bias })
    }

    /// States `[steps, len, hidden]` from `[steps, len, inputs]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match &self.bias {
            Some(bias) => gru(x, &self.projection, &self.weight, bias)?,
            None => lstm(x, &self.projection, &self.weight)?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Recurrent {
    sizes: InputSizes,
    widest: usize,
    layers: Vec<Layer>,
    summary: ResidualBlock,
    decoder: Decoder,
}

impl Recurrent {
    /// Registers the layers.
    pub(super) fn new(
        p: &mut Parameters,
        cell: Cell,
        shape: &Shape,
        sizes: &InputSizes,
        outputs: usize,
    ) -> Result<Self> {
        let hidden = shape.hidden;
        let row = 2 + sizes.context_row;
        let layers = (0..shape.layers.max(1))
            .map(|i| {
                let from = if i == 0 { row } else { hidden };
                Layer::new(p, cell, &format!("context.{i}"), (from, hidden))
            })
            .collect::<Result<_>>()?;
        let summarised = hidden + sizes.widths.window_row + sizes.statics;
        Ok(Self {
            widest: (sizes.context * row.max(hidden)).max(sizes.horizon * sizes.future_row),
            layers,
            summary: ResidualBlock::new(p, "summary", (summarised, hidden, hidden), true)?,
            decoder: Decoder::new(p, shape, sizes, outputs)?,
            sizes: sizes.clone(),
        })
    }
}

impl Body for Recurrent {
    fn forward(&self, _: &WindowBatch, x: &WindowTensors, drops: Drops) -> Result<Tensor> {
        let mut rows = concat(&x.values.unsqueeze(2)?, &x.observed.unsqueeze(2)?)?;
        if let Some(context) = &x.context {
            rows = concat(&rows, context)?;
        }
        // Steps come first, so that those of all windows lie side by side.
        let mut rows = rows.transpose(0, 1)?.contiguous()?;
        for (part, layer) in (1..).zip(&self.layers) {
            rows = layer.forward(&rows)?;
            if let Some((probability, seed)) = drops.part(part) {
                rows = dropout(&rows, probability, seed)?;
            }
        }
        let last = rows.get(self.sizes.context - 1)?;
        let hidden = beside(concat(&last, &x.window)?, &x.statics)?;
        let hidden = self.summary.forward(&hidden, drops.part(100))?;
        self.decoder.forward(&hidden, &self.decoder.steps(&x.future)?, drops.part(101))
    }

    fn uses(&self, name: &str) -> usize {
        decoder::uses(name, &self.sizes)
    }

    fn widest(&self) -> usize {
        self.widest
    }
}
