//! What texts are pretrained for, and the network that is: an encoder with the heads of BERT's pretraining.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::{Activation, Initializer, Linear, Parameters, embedding, linear};
use crate::ml::text::bert::{Bert, Norm, dense};
use crate::ml::text::config::BertConfig;
use crate::ml::text::tokens::Tokens;
use crate::ml::training::{Labels, LossSum, Network, cross_entropy, linear_cross_entropy};

/// Texts of a pass.
const PASS: usize = 16;

/// What is asked of an encoder that learns from texts alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextObjective {
    /// Hidden tokens (Devlin et al. 2019).
    #[default]
    MaskedLm,
    /// Those, and which of two parts of a text came first (Lan et al. 2020, ALBERT).
    SentenceOrder,
}

/// Texts with hidden tokens.
#[derive(Debug, Default)]
pub(super) struct Masked {
    /// The texts as the network sees them.
    pub(super) tokens: Tokens,
    /// Places of the hidden tokens among those of all texts.
    pub(super) places: Vec<u32>,
    /// What is hidden there.
    pub(super) words: Vec<u32>,
    /// 1 where the second part of a text stands first.
    pub(super) swapped: Vec<u32>,
}

/// The network.
#[derive(Debug)]
pub(super) struct MaskedLanguageModel {
    parameters: Parameters,
    bert: Bert,
    transform: Linear,
    norm: Norm,
    bias: Tensor,
    order: Option<(Linear, Linear)>,
    activation: Activation,
    dropout: f64,
}

impl MaskedLanguageModel {
    pub(super) fn new(
        mut parameters: Parameters,
        config: &BertConfig,
        objective: TextObjective,
        dropout: f64,
    ) -> Result<Self> {
        let (p, width) = (&mut parameters, config.hidden_size);
        Ok(Self {
            bert: Bert::new(p, config)?,
            transform: dense(p, "cls.predictions.transform.dense", width, width)?,
            norm: Norm::new(p, "cls.predictions.transform.LayerNorm", config)?,
            bias: p.register("cls.predictions.bias", &[config.vocab_size], Initializer::Zeros)?,
            order: match objective {
                TextObjective::MaskedLm => None,
                TextObjective::SentenceOrder => Some((
                    dense(p, "pooler.dense", width, width)?,
                    dense(p, "cls.seq_relationship", width, 2)?,
                )),
            },
            activation: config.activation(),
            dropout,
            parameters,
        })
    }

    /// What the words at the hidden places are told by, `[places, width]`, of the texts' tokens.
    fn hidden(&self, x: &Tensor, places: &[u32]) -> Result<Tensor> {
        let width = self.bert.width();
        let hidden = embedding(&x.reshape(((), width))?, places)?;
        self.norm.forward(&self.transform.forward(&hidden, self.activation)?)
    }

    /// How many hidden words the network names right, and how many there are.
    pub(super) fn hits(&self, batch: &Masked) -> Result<(usize, usize)> {
        let x = self.bert.forward(&batch.tokens, None)?;
        let hidden = self.hidden(&x, &batch.places)?;
        let logits = linear(&hidden, self.bert.words(), &self.bias, Activation::None)?;
        let best = logits.argmax(1)?.to_vec1::<u32>()?;
        let right = best.iter().zip(&batch.words).filter(|(a, b)| a == b).count();
        Ok((right, batch.words.len()))
    }
}

impl Network for MaskedLanguageModel {
    type Batch = Masked;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn pass_length(&self) -> usize {
        self.parameters.pass_length(PASS)
    }

    fn loss(&self, batch: &Masked, seed: Option<u64>) -> Result<LossSum> {
        let drop = seed.filter(|_| self.dropout > 0.0).map(|seed| (self.dropout, seed));
        let x = self.bert.forward(&batch.tokens, drop)?;
        let count = batch.places.len();
        let ones = vec![1.0; count.max(batch.swapped.len())];
        let labels = Labels { class: &batch.words, weight: &ones[..count], class_weight: &[] };
        let (hidden, words) = (self.hidden(&x, &batch.places)?, self.bert.words());
        let mut sum = linear_cross_entropy(&hidden, words, &self.bias, labels, seed.is_some())?;
        if let Some((pooler, order)) = &self.order {
            let first = x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
            let logits =
                order.forward(&pooler.forward(&first, Activation::None)?.tanh()?, Activation::None)?;
            let texts = batch.swapped.len();
            let labels = Labels { class: &batch.swapped, weight: &ones[..texts], class_weight: &[] };
            // Both means count alike.
            sum = (sum + (cross_entropy(&logits, labels)? * (count as f64 / texts.max(1) as f64))?)?;
        }
        Ok(LossSum { sum, weight: count as f64 })
    }
}
