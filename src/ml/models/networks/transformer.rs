//! A transformer over patches (Nie et al. 2023, "A Time Series is Worth 64 Words") whose rows are variates: the
//! target, each numeric covariate, and the features of the steps. Blocks attend along time within a row, and along
//! the rows at a time (Ansari et al. 2025, "Chronos-2"); quantiles are read from the target's tokens of the horizon.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::features::WindowBatch;
use crate::ml::layers::{
    Activation, Initializer, Linear, Parameters, ResidualBlock, TransformerBlock, concat, rms_norm,
};
use crate::ml::models::networks::body::{Body, Drops, Shape};
use crate::ml::models::networks::inputs::{InputSizes, WindowTensors, beside};

/// Most covariates with a row of their own.
const COVARIATES_MAX: usize = 12;

#[derive(Debug)]
pub(super) struct Transformer {
    sizes: InputSizes,
    width: usize,
    patch: usize,
    /// Covariates with a row of their own.
    covariates: usize,
    embed: ResidualBlock,
    steps: Linear,
    window: Linear,
    blocks: Vec<TransformerBlock>,
    gain: Tensor,
    head: ResidualBlock,
    outputs: usize,
}

impl Transformer {
    /// Registers the layers.
    pub(super) fn new(p: &mut Parameters, shape: &Shape, sizes: &InputSizes, outputs: usize) -> Result<Self> {
        let (width, patch) = (shape.hidden, shape.patch.max(1));
        let covariates = sizes.widths.context_row.min(COVARIATES_MAX);
        let raw = 2 * patch + 1 + covariates;
        let blocks = (0..shape.layers.max(1))
            .map(|i| TransformerBlock::new(p, &format!("token.{i}"), width, shape.heads.max(1)))
            .collect::<Result<_>>()?;
        Ok(Self {
            embed: ResidualBlock::new(p, "token.embed", (raw, width, width), false)?,
            steps: Linear::new(p, "patch.steps", patch * sizes.future_row, width)?,
            window: Linear::new(p, "window", sizes.widths.window_row + sizes.statics, width)?,
            blocks,
            gain: p.register("norm", &[width], Initializer::Ones)?,
            head: ResidualBlock::new(p, "patch.head", (width, width, patch * outputs), false)?,
            sizes: sizes.clone(),
            width,
            patch,
            covariates,
            outputs,
        })
    }

    /// Patches before the origin and after it.
    fn patches(&self) -> (usize, usize) {
        (self.sizes.context.div_ceil(self.patch), self.sizes.horizon.div_ceil(self.patch))
    }

    /// Rows with values of their own.
    fn variates(&self) -> usize {
        1 + self.covariates
    }

    /// Values, flags and the variate of every patch, `[len, variates, patches, raw]`, and which patches hold anything
    /// or belong to the horizon, those of the steps' row included.
    fn patched(&self, batch: &WindowBatch) -> (Vec<f32>, Vec<bool>) {
        let ((before, after), patch, variates) = (self.patches(), self.patch, self.variates());
        let (context, horizon) = (self.sizes.context, self.sizes.horizon);
        let raw = 2 * patch + variates;
        let mut values = vec![0.0; batch.len * variates * (before + after) * raw];
        let mut present = vec![true; batch.len * (variates + 1) * (before + after)];
        // Patches end at the origin: the first one may be cut.
        let lead = before * patch - context;
        for window in 0..batch.len {
            let observed = &batch.observed[window * context..(window + 1) * context];
            let first = observed.iter().position(|o| *o > 0.0).unwrap_or(context);
            let hidden = (lead + first) / patch;
            for variate in 0..variates {
                let row = (window * variates + variate) * (before + after);
                for token in 0..before + after {
                    let cell = &mut values[(row + token) * raw..(row + token + 1) * raw];
                    cell[2 * patch + variate] = 1.0;
                    for i in 0..patch {
                        let found = if token < before {
                            (token * patch + i)
                                .checked_sub(lead)
                                .and_then(|step| self.past(batch, window, variate, step))
                        } else {
                            let step = (token - before) * patch + i;
                            if step < horizon { self.future(batch, window, variate, step) } else { None }
                        };
                        if let Some(value) = found {
                            (cell[i], cell[patch + i]) = (value, 1.0);
                        }
                    }
                }
            }
            for row in 0..=variates {
                let start = (window * (variates + 1) + row) * (before + after);
                present[start..start + hidden.min(before)].fill(false);
            }
        }
        (values, present)
    }

    /// The value of a variate at a step before the origin, where it is there.
    fn past(&self, batch: &WindowBatch, window: usize, variate: usize, step: usize) -> Option<f32> {
        let at = window * self.sizes.context + step;
        match variate.checked_sub(1) {
            None => (batch.observed[at] > 0.0).then(|| batch.values[at]),
            Some(column) => Some(batch.context[at * self.sizes.widths.context_row + column]),
        }
    }

    /// The value of a known covariate at a step of the horizon.
    fn future(&self, batch: &WindowBatch, window: usize, variate: usize, step: usize) -> Option<f32> {
        let widths = &self.sizes.widths;
        let column = variate.checked_sub(1).filter(|column| *column < widths.known)?;
        let row = (window * self.sizes.horizon + step) * widths.future_row;
        Some(batch.future[row + widths.known_at + column])
    }

    /// Tokens of the steps' features, `[len, patches * width]`: what is known of the window before the origin, and of
    /// each patch after it.
    fn step_tokens(&self, x: &WindowTensors) -> Result<Tensor> {
        let ((before, after), horizon) = (self.patches(), self.sizes.horizon);
        let window = self.window.forward(&beside(x.window.clone(), &x.statics)?, Activation::None)?;
        let window = window.unsqueeze(1)?.broadcast_as((x.len, before, self.width))?.contiguous()?;
        let row = horizon * self.sizes.future_row;
        let flat = x.future.reshape((x.len, row))?;
        let padding = after * self.patch * self.sizes.future_row - row;
        let flat = if padding > 0 {
            concat(&flat, &Tensor::zeros((x.len, padding), flat.dtype(), flat.device())?)?
        } else {
            flat
        };
        let patches = flat.reshape((x.len, after, self.patch * self.sizes.future_row))?;
        let steps = self.steps.forward(&patches, Activation::None)?;
        Ok(concat(&window.flatten_from(1)?, &steps.flatten_from(1)?)?)
    }
}

impl Body for Transformer {
    fn forward(&self, batch: &WindowBatch, x: &WindowTensors, drops: Drops) -> Result<Tensor> {
        let ((before, after), variates) = (self.patches(), self.variates());
        let tokens = before + after;
        let (values, present) = self.patched(batch);
        let raw = 2 * self.patch + variates;
        let values = Tensor::from_vec(values, (x.len, variates * tokens, raw), x.values.device())?;
        let embedded = self.embed.forward(&values, None)?.flatten_from(1)?;
        let mut hidden =
            concat(&embedded, &self.step_tokens(x)?)?.reshape((x.len, variates + 1, tokens, self.width))?;
        for (part, block) in (1..).zip(&self.blocks) {
            hidden = block.forward(&hidden, &present, drops.part(part))?;
        }
        let target = hidden.narrow(1, 0, 1)?.squeeze(1)?.narrow(1, before, after)?.contiguous()?;
        let steps = self.head.forward(&rms_norm(&target, &self.gain)?, None)?;
        let steps = steps.reshape((x.len, after * self.patch, self.outputs))?;
        Ok(steps.narrow(1, 0, self.sizes.horizon)?.contiguous()?)
    }

    fn uses(&self, name: &str) -> usize {
        let (before, after) = self.patches();
        if name.starts_with("token.") {
            (self.variates() + 1) * (before + after)
        } else if name.starts_with("patch.") {
            after
        } else if name.starts_with("skip.step") {
            self.sizes.horizon
        } else {
            1
        }
    }

    fn widest(&self) -> usize {
        let (before, after) = self.patches();
        ((self.variates() + 1) * (before + after) * 4 * self.width)
            .max(self.sizes.horizon * self.sizes.future_row)
    }
}
