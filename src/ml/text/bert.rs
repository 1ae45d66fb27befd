//! The encoder of BERT (Devlin et al. 2019), of layers that gradients pass, with the names of tensors that BERT has.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::{
    Activation, Along, Heads, Initializer, Linear, Parameters, attention, dropout, embedding, layer_norm,
};
use crate::ml::text::config::BertConfig;
use crate::ml::text::tokens::Tokens;

/// Deviation of weights at the start.
const START: Initializer = Initializer::Normal(0.02);

/// A layer norm with its parameters.
#[derive(Debug)]
pub(super) struct Norm {
    gain: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    pub(super) fn new(p: &mut Parameters, name: &str, config: &BertConfig) -> Result<Self> {
        let shape = [config.hidden_size];
        Ok(Self {
            gain: p.register(&format!("{name}.weight"), &shape, Initializer::Ones)?,
            bias: p.register(&format!("{name}.bias"), &shape, Initializer::Zeros)?,
            epsilon: config.layer_norm_eps as f32,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.gain, &self.bias, self.epsilon)?)
    }
}

pub(super) fn dense(p: &mut Parameters, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
    Linear::with_initializer(p, name, inputs, outputs, START)
}

/// Attention and a hidden layer, each added to what it read and normed.
#[derive(Debug)]
struct Layer {
    packed: Linear,
    seen: Linear,
    seen_norm: Norm,
    hidden: Linear,
    output: Linear,
    output_norm: Norm,
    heads: usize,
    activation: Activation,
}

impl Layer {
    fn new(p: &mut Parameters, name: &str, config: &BertConfig) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            packed: dense(p, &format!("{name}.attention.self.qkv"), width, 3 * width)?,
            seen: dense(p, &format!("{name}.attention.output.dense"), width, width)?,
            seen_norm: Norm::new(p, &format!("{name}.attention.output.LayerNorm"), config)?,
            hidden: dense(p, &format!("{name}.intermediate.dense"), width, inner)?,
            output: dense(p, &format!("{name}.output.dense"), inner, width)?,
            output_norm: Norm::new(p, &format!("{name}.output.LayerNorm"), config)?,
            heads: config.num_attention_heads,
            activation: config.activation(),
        })
    }

    fn forward(&self, x: &Tensor, present: &[bool], drop: Option<(f64, u64)>) -> Result<Tensor> {
        let dropped = |y: Tensor, part: u64| match drop {
            Some((probability, seed)) => dropout(&y, probability, seed.wrapping_add(part)),
            None => Ok(y),
        };
        let (texts, width, size) = x.dims3()?;
        let packed = self.packed.forward(x, Activation::None)?.reshape((texts, width, 1, 3 * size))?;
        // Positions have embeddings of their own: tokens look at each other in no order.
        let heads = Heads { count: self.heads, scale: None };
        let seen = attention(&packed, heads, Along::Rows, Some(present))?.reshape((texts, width, size))?;
        let seen = dropped(self.seen.forward(&seen, Activation::None)?, 1)?;
        let x = self.seen_norm.forward(&(x + seen)?)?;
        let hidden = self.hidden.forward(&x, self.activation)?;
        let output = dropped(self.output.forward(&hidden, Activation::None)?, 2)?;
        self.output_norm.forward(&(x + output)?)
    }
}

/// The encoder.
#[derive(Debug)]
pub struct Bert {
    words: Tensor,
    positions: Tensor,
    kinds: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    width: usize,
    /// The embeddings of words stay as they are.
    freezes_words: bool,
}

impl Bert {
    /// An encoder of these sizes; its tensors are registered with `p`.
    pub fn new(p: &mut Parameters, config: &BertConfig) -> Result<Self> {
        let mut table = |name: &str, rows: usize| {
            p.register(&format!("embeddings.{name}.weight"), &[rows, config.hidden_size], START)
        };
        let (words, positions, kinds) = (
            table("word_embeddings", config.vocab_size)?,
            table("position_embeddings", config.max_position_embeddings)?,
            table("token_type_embeddings", config.type_vocab_size)?,
        );
        Ok(Self {
            words,
            positions,
            kinds,
            norm: Norm::new(p, "embeddings.LayerNorm", config)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::new(p, &format!("encoder.layer.{i}"), config))
                .collect::<Result<_>>()?,
            width: config.hidden_size,
            freezes_words: false,
        })
    }

    /// The encoder whose embeddings of words do not learn: most are of words that no text of a batch has.
    pub fn freezing_words(self, p: &mut Parameters) -> Self {
        p.freeze(|name| name == "embeddings.word_embeddings.weight");
        Self { freezes_words: true, ..self }
    }

    /// The embeddings of words, `[words, width]`.
    pub fn words(&self) -> &Tensor {
        &self.words
    }

    /// Width of a token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The tokens of some texts as vectors, `[texts, tokens, width]`; randomness of dropout where there is a seed.
    pub fn forward(&self, tokens: &Tokens, drop: Option<(f64, u64)>) -> Result<Tensor> {
        let words = if self.freezes_words { self.words.detach() } else { self.words.clone() };
        let places: Vec<u32> = (0..tokens.texts).flat_map(|_| 0..tokens.width as u32).collect();
        let x = (embedding(&words, &tokens.ids)? + embedding(&self.positions, &places)?)?;
        let x = (x + embedding(&self.kinds, &tokens.kinds)?)?;
        let mut x = self.norm.forward(&x.reshape((tokens.texts, tokens.width, self.width))?)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let drop = drop.map(|(probability, seed)| (probability, seed.wrapping_add(16 * i as u64)));
            x = layer.forward(&x, &tokens.present, drop)?;
        }
        Ok(x)
    }
}
