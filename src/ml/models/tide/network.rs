//! The network of TiDE: shapes, layers and the forward pass.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::features::{Featurizer, Widths, WindowBatch};
use crate::ml::layers::{
    Activation, Initializer, Linear, Parameters, ResidualBlock, concat, embedding, keeps,
};
use crate::ml::training::{LossSum, Network, Objective, masked_loss};

/// Share of training windows whose series is treated as unknown.
const UNKNOWN_SERIES: f64 = 0.1;

/// Elements of the largest activation of a pass; from 64 Ki on Candle's pointwise operations spin.
const ELEMENTS_MAX: usize = 65_535;

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    /// Width of encoder and decoder.
    pub(super) hidden: usize,
    /// Residual blocks in the encoder.
    pub(super) layers: usize,
    /// Width of the layers that work step by step.
    pub(super) step_hidden: usize,
    /// Features per step between encoder side and decoder.
    pub(super) projection: usize,
    /// Features per step that the decoder hands on.
    pub(super) decoded: usize,
    /// True when every series has an embedding of its own.
    pub(super) knows_series: bool,
    /// Dropout probability.
    pub(super) dropout: f64,
}

/// TiDE with a quantile head, relative to what matched history suggests.
#[derive(Debug)]
pub(super) struct TideNetwork {
    parameters: Parameters,
    shape: Shape,
    objective: Objective,
    context: usize,
    horizon: usize,
    pass_length: usize,
    widths: Widths,
    known_tables: Vec<Tensor>,
    static_tables: Vec<Tensor>,
    series_table: Option<Tensor>,
    context_projection: Option<(Linear, Linear)>,
    step_projection: Linear,
    step_squeeze: Linear,
    encoder: Vec<ResidualBlock>,
    decoder: ResidualBlock,
    temporal: ResidualBlock,
    step_skip: Linear,
    context_skip: Linear,
}

/// Size of the embedding of a vocabulary.
fn embedding_size(words: usize) -> usize {
    ((words as f64).sqrt().ceil() as usize).clamp(2, 16)
}

impl TideNetwork {
    /// Builds the layers; parameters start as the registry says.
    pub(super) fn new(
        mut p: Parameters,
        featurizer: &Featurizer,
        shape: Shape,
        levels: Vec<f64>,
    ) -> Result<Self> {
        let widths = featurizer.widths();
        let (context, horizon) = (featurizer.layout.context, featurizer.layout.horizon);
        let outputs = levels.len();
        let known_tables = tables(&mut p, "known", &widths.known_words)?;
        let static_tables = tables(&mut p, "static", &widths.static_words)?;
        let series_size = embedding_size(widths.series);
        let series_table = if shape.knows_series {
            Some(p.register("series.table", &[widths.series, series_size], Initializer::Normal(0.05))?)
        } else {
            None
        };
        let known_size: usize = widths.known_words.iter().map(|w| embedding_size(*w)).sum();
        let context_row = widths.context_row + known_size;
        let context_projection = if context_row > 0 {
            let inner = shape.projection * 4;
            let hidden = Linear::new(&mut p, "context.hidden", context_row, inner)?;
            Some((hidden, Linear::new(&mut p, "context.output", inner, shape.projection)?))
        } else {
            None
        };
        let future_row = widths.future_row + known_size;
        let step_projection = Linear::new(&mut p, "step.hidden", future_row, shape.step_hidden)?;
        let step_squeeze = Linear::new(&mut p, "step.output", shape.step_hidden, shape.projection)?;
        let projected = if context_projection.is_some() { context * shape.projection } else { 0 };
        let static_size: usize = widths.static_words.iter().map(|w| embedding_size(*w)).sum();
        let inputs = 2 * context
            + projected
            + horizon * shape.projection
            + widths.window_row
            + static_size
            + series_table.as_ref().map_or(0, |_| series_size);
        let encoder = (0..shape.layers.max(1))
            .map(|i| {
                let from = if i == 0 { inputs } else { shape.hidden };
                ResidualBlock::new(&mut p, &format!("encoder.{i}"), (from, shape.hidden, shape.hidden), true)
            })
            .collect::<Result<_>>()?;
        let decoded = horizon * shape.decoded;
        let widest = (horizon * future_row.max(shape.step_hidden + shape.decoded))
            .max(context * context_row.max(shape.projection * 4))
            .max(shape.hidden.max(inputs));
        let decoder = ResidualBlock::new(&mut p, "decoder", (shape.hidden, shape.hidden, decoded), false)?;
        let temporal = (shape.step_hidden + shape.decoded, shape.step_hidden, outputs);
        Ok(Self {
            temporal: ResidualBlock::new(&mut p, "temporal", temporal, false)?,
            step_skip: Linear::with_initializer(
                &mut p,
                "skip.step",
                future_row,
                outputs,
                Initializer::Zeros,
            )?,
            context_skip: Linear::with_initializer(
                &mut p,
                "skip.context",
                context,
                horizon,
                Initializer::Zeros,
            )?,
            parameters: p,
            objective: Objective::Quantile(levels),
            pass_length: (ELEMENTS_MAX / widest).clamp(1, 64),
            shape,
            context,
            horizon,
            widths,
            known_tables,
            static_tables,
            series_table,
            context_projection,
            step_projection,
            step_squeeze,
            encoder,
            decoder,
        })
    }

    /// Multiply-adds of one window's forward pass, about.
    pub(super) fn operations(&self) -> usize {
        let per_step = |name: &str| ["step.", "temporal.", "skip.step"].iter().any(|p| name.starts_with(p));
        self.parameters
            .iter()
            .filter(|(name, _, decays)| *decays || name.starts_with("skip"))
            .map(|(name, var, _)| {
                let uses = if per_step(name) {
                    self.horizon
                } else if name.starts_with("context.") {
                    self.context
                } else {
                    1
                };
                uses * var.elem_count()
            })
            .sum()
    }

    /// Scaled quantiles `[len, horizon, levels]`; dropout where there is a seed.
    pub(super) fn forward(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<Tensor> {
        let n = batch.len;
        let device = Device::Cpu;
        let values = Tensor::from_slice(&batch.values, (n, self.context), &device)?;
        let observed = Tensor::from_slice(&batch.observed, (n, self.context), &device)?;
        let known = self.known_embeddings(batch)?;
        let future = Tensor::from_slice(&batch.future, (n, self.horizon, self.widths.future_row), &device)?;
        let future = with_embeddings(future, &known, self.context, self.horizon)?;
        let step = self.step_projection.forward(&future, Activation::Relu)?;
        let squeezed = self.step_squeeze.forward(&step, Activation::None)?.flatten_from(1)?;
        let window = Tensor::from_slice(&batch.window, (n, self.widths.window_row), &device)?;
        let mut hidden = concat(&concat(&values, &observed)?, &window)?;
        for part in self.context_features(batch, &known)?.into_iter().chain([squeezed]) {
            hidden = concat(&hidden, &part)?;
        }
        for part in self.static_embeddings(batch, seed)? {
            hidden = concat(&hidden, &part)?;
        }
        let drops = |part: u64| {
            seed.map(|seed| (self.shape.dropout, seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        };
        for (part, block) in (1..).zip(&self.encoder) {
            hidden = block.forward(&hidden, drops(part))?;
        }
        let decoded = self.decoder.forward(&hidden, drops(101))?;
        let decoded = decoded.reshape((n, self.horizon, self.shape.decoded))?;
        let temporal = self.temporal.forward(&concat(&step, &decoded)?, None)?;
        let base = Tensor::from_slice(&batch.base, (n, self.horizon), &device)?;
        let base = (base + self.context_skip.forward(&values, Activation::None)?)?.unsqueeze(2)?;
        let skip = self.step_skip.forward(&future, Activation::None)?;
        Ok((temporal + skip)?.broadcast_add(&base)?)
    }

    /// One `[len, context + horizon, size]` per known category.
    fn known_embeddings(&self, batch: &WindowBatch) -> Result<Vec<Tensor>> {
        let steps = self.context + self.horizon;
        let columns = self.known_tables.iter().zip(&batch.known_categories);
        columns.map(|(table, codes)| Ok(embedding(table, codes)?.reshape((batch.len, steps, ()))?)).collect()
    }

    fn context_features(&self, batch: &WindowBatch, known: &[Tensor]) -> Result<Option<Tensor>> {
        let Some((hidden, output)) = &self.context_projection else { return Ok(None) };
        let shape = (batch.len, self.context, self.widths.context_row);
        let rows = Tensor::from_slice(&batch.context, shape, &Device::Cpu)?;
        let rows = with_embeddings(rows, known, 0, self.context)?;
        let rows = output.forward(&hidden.forward(&rows, Activation::Relu)?, Activation::None)?;
        Ok(Some(rows.flatten_from(1)?))
    }

    /// Embeddings of static categories and of the series, some series hidden in training.
    fn static_embeddings(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<Vec<Tensor>> {
        let mut out = Vec::with_capacity(self.static_tables.len() + 1);
        for (table, codes) in self.static_tables.iter().zip(&batch.static_categories) {
            out.push(embedding(table, codes)?);
        }
        if let Some(table) = &self.series_table {
            let hide = |i: usize| seed.is_some_and(|seed| !keeps(i, UNKNOWN_SERIES, seed));
            let codes: Vec<u32> =
                batch.series.iter().enumerate().map(|(i, code)| if hide(i) { 0 } else { *code }).collect();
            out.push(embedding(table, &codes)?);
        }
        Ok(out)
    }
}

impl Network for TideNetwork {
    type Batch = WindowBatch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        self.pass_length
    }

    fn loss(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<LossSum> {
        let forecast = self.forward(batch, seed)?;
        let sum = masked_loss(&forecast, &batch.target, &batch.weight, &self.objective)?;
        Ok(LossSum { sum, weight: batch.weight.iter().map(|w| f64::from(*w)).sum() })
    }
}

fn tables(parameters: &mut Parameters, name: &str, words: &[usize]) -> Result<Vec<Tensor>> {
    let register = |(i, words): (usize, &usize)| {
        let size = embedding_size(*words);
        parameters.register(&format!("{name}.{i}.table"), &[*words, size], Initializer::Normal(0.05))
    };
    words.iter().enumerate().map(register).collect()
}

/// Appends the embeddings of steps `from..from + steps` to the rows.
fn with_embeddings(rows: Tensor, known: &[Tensor], from: usize, steps: usize) -> Result<Tensor> {
    let mut rows = rows;
    for embedded in known {
        rows = concat(&rows, &embedded.narrow(1, from, steps)?)?;
    }
    Ok(rows)
}
