//! The network of Chronos-Bolt (Ansari et al. 2024), a T5 encoder over patches and a decoder of one token (Raffel et al.
//! 2020): it forecasts each row from its own history, and does not learn here.

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::foundation::chronos2::PatchEmbedding;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::groups::Groups;
use crate::ml::layers::{Activation, Initializer, Parameters, Projection, embedding, rms_norm};

/// Sizes that Chronos-2 does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoltSizes {
    /// Blocks of the decoder.
    pub num_decoder_layers: usize,
    /// Distances between tokens that are told apart.
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all are the same.
    pub relative_attention_max_distance: usize,
}

/// Attention of T5, with the norm before it, beside a skip.
#[derive(Debug)]
struct Attention {
    gain: Tensor,
    parts: [Projection; 3],
    output: Projection,
    heads: usize,
}

impl Attention {
    fn new(p: &mut Parameters, layer: &str, name: &str, config: &FoundationConfig) -> Result<Self> {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let mut part = |part: &str, sizes: [usize; 2]| {
            Projection::new(p, &format!("{layer}.{name}.{part}"), sizes, (sizes[0] as f64).powf(-0.5))
        };
        let parts = [part("q", [width, inner])?, part("k", [width, inner])?, part("v", [width, inner])?];
        let output = part("o", [inner, width])?;
        let gain = norm(p, &format!("{layer}.layer_norm"), config)?;
        Ok(Self { gain, parts, output, heads: config.num_heads })
    }

    /// x `[batch, tokens, width]` and what it sees in `other`, or in itself; `bias` is added to the products of queries
    /// and keys, `[.., heads, tokens, others]`.
    fn forward(&self, x: &Tensor, other: Option<&Tensor>, bias: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(x, &self.gain)?;
        let read = other.unwrap_or(&normed);
        let split = |x: &Tensor, part: &Projection| -> Result<Tensor> {
            let y = part.forward(x, Activation::None)?;
            let (batch, tokens, inner) = y.dims3()?;
            Ok(y.reshape((batch, tokens, self.heads, inner / self.heads))?.transpose(1, 2)?.contiguous()?)
        };
        let [q, k, v] = &self.parts;
        let (q, k, v) = (split(&normed, q)?, split(read, k)?, split(read, v)?);
        let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?.broadcast_add(bias)?;
        let seen = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let (batch, _, tokens, _) = seen.dims4()?;
        let seen = seen.transpose(1, 2)?.contiguous()?.reshape((batch, tokens, ()))?;
        Ok((x + self.output.forward(&seen, Activation::None)?)?)
    }
}

/// A hidden layer with its norm, beside a skip.
#[derive(Debug)]
struct Feed {
    gain: Tensor,
    hidden: Projection,
    output: Projection,
}

impl Feed {
    fn new(p: &mut Parameters, layer: &str, config: &FoundationConfig) -> Result<Self> {
        let (width, inner) = (config.d_model, config.d_ff);
        let mut part = |part: &str, sizes: [usize; 2]| {
            Projection::new(p, &format!("{layer}.DenseReluDense.{part}"), sizes, (sizes[0] as f64).powf(-0.5))
        };
        let (hidden, output) = (part("wi", [width, inner])?, part("wo", [inner, width])?);
        Ok(Self { gain: norm(p, &format!("{layer}.layer_norm"), config)?, hidden, output })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.hidden.forward_normed(x, &self.gain, Activation::Relu)?;
        Ok((x + self.output.forward(&hidden, Activation::None)?)?)
    }
}

fn norm(p: &mut Parameters, name: &str, config: &FoundationConfig) -> Result<Tensor> {
    p.register(&format!("{name}.weight"), &[config.d_model], Initializer::Ones)
}

/// The network.
#[derive(Debug)]
pub struct ChronosBolt {
    parameters: Parameters,
    config: FoundationConfig,
    sizes: BoltSizes,
    words: Tensor,
    distances: Tensor,
    input: PatchEmbedding,
    encoder: Vec<(Attention, Feed)>,
    encoder_gain: Tensor,
    decoder: Vec<(Attention, Attention, Feed)>,
    decoder_gain: Tensor,
    output: PatchEmbedding,
}

impl ChronosBolt {
    /// The network with these sizes; its tensors are registered with `parameters`.
    pub fn new(mut parameters: Parameters, config: &FoundationConfig, sizes: &BoltSizes) -> Result<Self> {
        let p = &mut parameters;
        let (width, patch) = (config.d_model, config.input_patch_size);
        let bias =
            |part: &str| format!("{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        let table = [sizes.relative_attention_num_buckets, config.num_heads];
        // The decoder has one token, whose distance from itself changes nothing.
        p.register(&bias("decoder"), &table, Initializer::Zeros)?;
        let distances = p.register(&bias("encoder"), &table, Initializer::Zeros)?;
        let encoder = (0..config.num_layers).map(|k| {
            let layer = |i: usize| format!("encoder.block.{k}.layer.{i}");
            Ok((Attention::new(p, &layer(0), "SelfAttention", config)?, Feed::new(p, &layer(1), config)?))
        });
        let encoder = encoder.collect::<Result<_>>()?;
        let decoder = (0..sizes.num_decoder_layers).map(|k| {
            let layer = |i: usize| format!("decoder.block.{k}.layer.{i}");
            let itself = Attention::new(p, &layer(0), "SelfAttention", config)?;
            let others = Attention::new(p, &layer(1), "EncDecAttention", config)?;
            Ok((itself, others, Feed::new(p, &layer(2), config)?))
        });
        let decoder = decoder.collect::<Result<_>>()?;
        let outputs = config.quantiles.len() * patch * config.max_output_patches;
        Ok(Self {
            words: p.register("shared.weight", &[config.vocab_size, width], Initializer::Normal(0.05))?,
            distances,
            input: PatchEmbedding::new(p, "input_patch_embedding", [2 * patch, config.d_ff, width])?,
            encoder,
            encoder_gain: norm(p, "encoder.final_layer_norm", config)?,
            decoder,
            decoder_gain: norm(p, "decoder.final_layer_norm", config)?,
            output: PatchEmbedding::new(p, "output_patch_embedding", [width, config.d_ff, outputs])?,
            config: config.clone(),
            sizes: sizes.clone(),
            parameters,
        })
    }

    /// The sizes that it shares with Chronos-2.
    pub fn config(&self) -> &FoundationConfig {
        &self.config
    }

    /// The tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Scaled quantiles of every row at the steps after the origin, `[len, rows, steps, levels]`.
    pub fn forward(&self, batch: &Groups) -> Result<Tensor> {
        let Groups { len, rows, tokens: (before, after), .. } = *batch;
        let (width, patch, all) = (self.config.d_model, self.config.input_patch_size, len * rows);
        let device = self.parameters.device();
        let inputs = Tensor::from_vec(self.histories(batch), (all, before, 2 * patch), device)?;
        let embedded = self.input.forward(&inputs)?;
        let separators = embedding(&self.words, &vec![1; all])?.reshape((all, 1, width))?;
        let mut x = Tensor::cat(&[embedded, separators], 1)?;
        let hidden: Vec<f32> = batch
            .present
            .chunks_exact(before + 1 + after)
            .flat_map(|present| present[..=before].iter().map(|p| if *p { 0.0 } else { f32::MIN }))
            .collect();
        let hidden = Tensor::from_vec(hidden, (all, 1, 1, before + 1), device)?;
        let bias = hidden.broadcast_add(&self.bias(before + 1)?)?;
        for (attention, feed) in &self.encoder {
            x = feed.forward(&attention.forward(&x, None, &bias)?)?;
        }
        let x = rms_norm(&x, &self.encoder_gain)?;
        let mut y = embedding(&self.words, &vec![0; all])?.reshape((all, 1, width))?;
        let none = hidden.narrow(3, before, 1)?.contiguous()?;
        for (itself, others, feed) in &self.decoder {
            y = feed.forward(&others.forward(&itself.forward(&y, None, &none)?, Some(&x), &hidden)?)?;
        }
        let outputs = self.output.forward(&rms_norm(&y, &self.decoder_gain)?)?;
        let levels = self.config.quantiles.len();
        let outputs = outputs.reshape((all, levels, ()))?.narrow(2, 0, after * patch)?.transpose(1, 2)?;
        // Groups are on the scale of the inverse hyperbolic sine, this network is not.
        let outputs: Vec<f32> =
            outputs.contiguous()?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::asinh).collect();
        Ok(Tensor::from_vec(outputs, (len, rows, after * patch, levels), device)?)
    }

    /// Values and flags of the tokens before the origin.
    fn histories(&self, batch: &Groups) -> Vec<f32> {
        let (patch, (before, after)) = (self.config.input_patch_size, batch.tokens);
        let mut out = Vec::with_capacity(batch.len * batch.rows * before * 2 * patch);
        for row in batch.inputs.chunks_exact((before + after) * 3 * patch) {
            for token in row.chunks_exact(3 * patch).take(before) {
                out.extend(token[patch..2 * patch].iter().map(|z| z.sinh()));
                out.extend_from_slice(&token[2 * patch..]);
            }
        }
        out
    }

    /// What the distance between two tokens adds, `[1, heads, tokens, tokens]`.
    fn bias(&self, tokens: usize) -> Result<Tensor> {
        let places: Vec<u32> = (0..tokens)
            .flat_map(|i| (0..tokens).map(move |j| (i, j)))
            .map(|(i, j)| self.bucket(j as i64 - i as i64))
            .collect();
        let bias = embedding(&self.distances, &places)?.reshape((tokens, tokens, self.config.num_heads))?;
        Ok(bias.permute((2, 0, 1))?.contiguous()?.unsqueeze(0)?)
    }

    /// The place of a distance among those that are told apart: half of them for each direction, small ones exactly, larger
    /// ones by their logarithms.
    fn bucket(&self, distance: i64) -> u32 {
        let half = self.sizes.relative_attention_num_buckets as i64 / 2;
        let start = if distance > 0 { half } else { 0 };
        let (far, exact) = (distance.abs(), (half / 2).max(1));
        let near = if far < exact {
            far
        } else {
            let most = (self.sizes.relative_attention_max_distance as f32 / exact as f32).ln();
            let share = (far as f32 / exact as f32).ln() / most;
            (exact + (share * (half - exact) as f32) as i64).min(half - 1)
        };
        (start + near) as u32
    }
}
