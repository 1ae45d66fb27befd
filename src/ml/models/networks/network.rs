//! A network over windows: its inputs, its body, and linear skips beside it.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::ml::features::{Featurizer, WindowBatch};
use crate::ml::layers::{Activation, Initializer, Linear, Parameters};
use crate::ml::models::networks::body::{Body, Drops, Shape, body};
use crate::ml::models::networks::inputs::Inputs;
use crate::ml::training::{LossSum, Network, Objective, Steps, masked_loss, pass_length};

/// Activations of a pass that are in memory together, in units of the widest.
const ACTIVATIONS: usize = 32;

/// A network whose outputs are relative to what matched history suggests.
#[derive(Debug)]
pub(super) struct WindowNetwork {
    parameters: Parameters,
    objective: Objective,
    dropout: f64,
    pass_length: usize,
    inputs: Inputs,
    body: Box<dyn Body>,
    step_skip: Linear,
    context_skip: Linear,
}

impl WindowNetwork {
    /// Builds the layers; parameters start as the registry says.
    pub(super) fn new(
        mut p: Parameters,
        featurizer: &Featurizer,
        shape: &Shape,
        objective: Objective,
    ) -> Result<Self> {
        let inputs = Inputs::new(&mut p, featurizer, shape.knows_series)?;
        let body = body(&mut p, shape, &inputs.sizes, objective.outputs())?;
        let (sizes, outputs) = (&inputs.sizes, objective.outputs());
        let skip = |p: &mut Parameters, name: &str, from: usize, to: usize| {
            Linear::with_initializer(p, name, from, to, Initializer::Zeros)
        };
        Ok(Self {
            step_skip: skip(&mut p, "skip.step", sizes.future_row, outputs)?,
            context_skip: skip(&mut p, "skip.context", sizes.context, sizes.horizon)?,
            pass_length: p.pass_length(pass_length(body.widest())),
            parameters: p,
            objective,
            dropout: shape.dropout,
            inputs,
            body,
        })
    }

    /// The same network on another device.
    pub(super) fn copied_to(&self, device: Device, featurizer: &Featurizer, shape: &Shape) -> Result<Self> {
        Self::new(self.parameters.copied_to(device)?, featurizer, shape, self.objective.clone())
    }

    /// Multiply-adds of one window's forward pass, about.
    pub(super) fn operations(&self) -> usize {
        self.parameters
            .iter()
            .filter(|(name, _, decays)| *decays || name.starts_with("skip"))
            .map(|(name, var, _)| self.body.uses(name) * var.elem_count())
            .sum()
    }

    /// Bytes of the activations of a pass over at most so many windows, and of what its gradients need of them, about.
    pub(super) fn pass_bytes(&self, windows: usize) -> usize {
        ACTIVATIONS * self.body.widest() * self.pass_length.min(windows) * size_of::<f32>()
    }

    /// Outputs `[len, horizon, outputs]`, as the objective reads them; dropout where there is a seed.
    pub(super) fn forward(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<Tensor> {
        let x = self.inputs.read(batch, seed)?;
        let corrections = self.body.forward(batch, &x, Drops(seed.map(|seed| (self.dropout, seed))))?;
        let base: Vec<f32> = batch.base.iter().map(|base| self.objective.output_of(*base)).collect();
        let base = Tensor::from_vec(base, (batch.len, self.inputs.sizes.horizon), x.values.device())?;
        let base = (base + self.context_skip.forward(&x.values, Activation::None)?)?.unsqueeze(2)?;
        let skip = self.step_skip.forward(&x.future, Activation::None)?;
        let outputs = (corrections + skip)?;
        match self.objective {
            Objective::Quantile(_) => Ok(outputs.broadcast_add(&base)?),
            // Of a distribution only the location, which is the first output, starts from there.
            _ => Ok((base.pad_with_zeros(2, 0, self.objective.outputs() - 1)? + outputs)?),
        }
    }
}

impl Network for WindowNetwork {
    type Batch = WindowBatch;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        self.pass_length
    }

    fn loss(&self, batch: &WindowBatch, seed: Option<u64>) -> Result<LossSum> {
        let forecast = self.forward(batch, seed)?;
        let each = |scale: &f64| std::iter::repeat_n(*scale as f32, self.inputs.sizes.horizon);
        let scale: Vec<f32> = match self.objective.reads_scale() {
            true => batch.scale.iter().flat_map(each).collect(),
            false => Vec::new(),
        };
        let steps = Steps { actual: &batch.target, weight: &batch.weight, scale: &scale };
        let sum = masked_loss(&forecast, steps, &self.objective)?;
        Ok(LossSum { sum, weight: batch.weight.iter().map(|w| f64::from(*w)).sum() })
    }
}
