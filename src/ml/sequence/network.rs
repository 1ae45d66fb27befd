//! A transformer over sequences of events (Kang and McAuley 2018); what it says is told by the table that events are read by.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::layers::{
    Activation, Along, Initializer, Parameters, TransformerBlock, dropout, embedding, linear, rms_norm,
};
use crate::ml::training::{Labels, LossSum, Network, linear_cross_entropy, pass_length};

/// Deviation of tables of events when they begin.
const DEVIATION: f64 = 0.05;

/// What the parameters are shaped by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sizes {
    /// Codes of every column.
    pub(super) codes: Vec<usize>,
    pub(super) width: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    /// Events that are looked at.
    pub(super) longest: usize,
}

/// Sequences of a pass, padded at their ends.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// By column `[sequences, steps]`.
    pub(super) codes: Vec<Vec<u32>>,
    pub(super) present: Vec<bool>,
    pub(super) sequences: usize,
    pub(super) steps: usize,
    /// Where something is to be told, among all steps of all sequences.
    pub(super) places: Vec<u32>,
    /// What came true there.
    pub(super) wanted: Vec<u32>,
}

/// The network.
#[derive(Debug)]
pub(super) struct SequenceNetwork {
    parameters: Parameters,
    tables: Vec<Tensor>,
    blocks: Vec<TransformerBlock>,
    gain: Tensor,
    bias: Tensor,
    drop: f64,
    /// Numbers of all steps of a sequence.
    step_numbers: usize,
}

impl SequenceNetwork {
    /// A network that looks along all steps, or at earlier ones only.
    pub(super) fn new(mut p: Parameters, sizes: &Sizes, along: Along, drop: f64) -> Result<Self> {
        let width = sizes.width;
        let table = |(column, codes): (usize, &usize)| {
            let name = if column == 0 { "events".to_owned() } else { format!("column.{column}") };
            p.register(&name, &[*codes, width], Initializer::Normal(DEVIATION))
        };
        let tables = sizes.codes.iter().enumerate().map(table).collect::<Result<_>>()?;
        let block = |n| TransformerBlock::in_time(&mut p, &format!("block.{n}"), (width, sizes.heads), along);
        let blocks = (0..sizes.layers).map(block).collect::<Result<_>>()?;
        let gain = p.register("norm", &[width], Initializer::Ones)?;
        let bias = p.register("bias", &[sizes.codes.first().copied().unwrap_or(0)], Initializer::Zeros)?;
        let step_numbers = sizes.longest * width;
        Ok(Self { tables, blocks, gain, bias, drop, step_numbers, parameters: p })
    }

    /// The network on the processor, where it is asked.
    pub(super) fn on_processor(self, sizes: &Sizes, along: Along) -> Result<Self> {
        match self.parameters.is_on_card() {
            true => Self::new(self.parameters.copied_to(Device::Cpu)?, sizes, along, self.drop),
            false => Ok(self),
        }
    }

    /// A score for every code of what is told, at every place: `[places, codes]`.
    pub(super) fn scores(&self, pass: &Pass) -> Result<Tensor> {
        Ok(linear(&self.places(pass, None)?, &self.tables[0], &self.bias, Activation::None)?)
    }

    /// What is known at every place: `[places, width]`.
    fn places(&self, pass: &Pass, seed: Option<u64>) -> Result<Tensor> {
        let (all, width) = (pass.sequences * pass.steps, self.gain.elem_count());
        let drop = seed.filter(|_| self.drop > 0.0).map(|seed| (self.drop, seed));
        let mut x: Option<Tensor> = None;
        for (table, codes) in self.tables.iter().zip(&pass.codes) {
            let rows = embedding(table, codes)?;
            x = Some(match x {
                Some(x) => (x + rows)?,
                None => rows,
            });
        }
        let x = x.ok_or_else(|| crate::error::Error::internal("events without columns"))?;
        let x = match drop {
            Some((probability, seed)) => dropout(&x, probability, seed)?,
            None => x,
        };
        let mut x = x.reshape((pass.sequences, 1, pass.steps, width))?;
        for (n, block) in self.blocks.iter().enumerate() {
            let drop = drop.map(|(probability, seed)| (probability, seed.wrapping_add(100 + 10 * n as u64)));
            x = block.forward(&x, &pass.present, drop)?;
        }
        Ok(embedding(&rms_norm(&x, &self.gain)?.reshape((all, width))?, &pass.places)?)
    }
}

impl Network for SequenceNetwork {
    type Batch = Pass;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        self.parameters.pass_length(pass_length(self.step_numbers))
    }

    fn loss(&self, pass: &Pass, seed: Option<u64>) -> Result<LossSum> {
        let weight = vec![1.0; pass.wanted.len()];
        let labels = Labels { class: &pass.wanted, weight: &weight, class_weight: &[] };
        let x = self.places(pass, seed)?;
        let sum = linear_cross_entropy(&x, &self.tables[0], &self.bias, labels, seed.is_some())?;
        Ok(LossSum { sum, weight: pass.wanted.len() as f64 })
    }
}
