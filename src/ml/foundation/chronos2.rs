//! The network of Chronos-2 (Ansari et al. 2025, "Chronos-2: From Univariate to Universal Forecasting"): an encoder over
//! patches whose blocks attend along time within a row and along the rows of a group at a time.

use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::groups::Groups;
use crate::ml::layers::{
    Activation, Along, Heads, Initializer, Linear, Parameters, Projection, attention, concat, embedding,
    repeats, rms_norm,
};
use crate::ml::training::{LossSum, Network, Objective, Steps, masked_loss};

const LAST_NORM: &str = "encoder.final_layer_norm.weight";
const OUTPUT: &str = "output_patch_embedding";
const REPEATS: &str = "season_repeats";

/// Attention with the norm before it, beside a skip.
#[derive(Debug)]
struct Attention {
    gain: Tensor,
    packed: Projection,
    output: Projection,
    heads: Heads,
    along: Along,
}

impl Attention {
    fn new(p: &mut Parameters, name: &str, config: &FoundationConfig, along: Along) -> Result<Self> {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let own = format!("{name}.self_attention");
        // Products are not divided by the root of a head's size: small queries stand in for it.
        let deviation = (width as f64).powf(-0.5) * (config.d_kv as f64).powf(-0.25);
        Ok(Self {
            gain: p.register(&format!("{name}.layer_norm.weight"), &[width], Initializer::Ones)?,
            packed: Projection::new(p, &format!("{own}.qkv"), [width, 3 * inner], deviation)?,
            output: Projection::new(p, &format!("{own}.o"), [inner, width], depth_deviation(inner, config))?,
            heads: Heads { count: config.num_heads, scale: Some(1.0) },
            along,
        })
    }

    fn forward(&self, x: &Tensor, present: &[bool]) -> Result<Tensor> {
        let packed = self.packed.forward_normed(x, &self.gain, Activation::None)?;
        let seen = attention(&packed, self.heads, self.along, Some(present))?;
        Ok((x + self.output.forward(&seen, Activation::None)?)?)
    }
}

/// The start of layers that add to a skip: smaller the more of them add up.
fn depth_deviation(inputs: usize, config: &FoundationConfig) -> f64 {
    (inputs as f64 * 3.0 * config.num_layers.max(1) as f64).powf(-0.5)
}

#[derive(Debug)]
struct Block {
    time: Attention,
    group: Attention,
    gain: Tensor,
    hidden: Projection,
    output: Projection,
}

impl Block {
    fn new(p: &mut Parameters, name: &str, config: &FoundationConfig) -> Result<Self> {
        let (width, inner) = (config.d_model, config.d_ff);
        let layer = |k: usize| format!("{name}.layer.{k}");
        let mlp = format!("{}.mlp", layer(2));
        Ok(Self {
            time: Attention::new(p, &layer(0), config, Along::Steps)?,
            group: Attention::new(p, &layer(1), config, Along::Rows)?,
            gain: p.register(&format!("{}.layer_norm.weight", layer(2)), &[width], Initializer::Ones)?,
            hidden: Projection::new(p, &format!("{mlp}.wi"), [width, inner], (2.0 / width as f64).sqrt())?,
            output: Projection::new(p, &format!("{mlp}.wo"), [inner, width], depth_deviation(inner, config))?,
        })
    }

    fn forward(&self, x: &Tensor, present: &[bool]) -> Result<Tensor> {
        let x = self.group.forward(&self.time.forward(x, present)?, present)?;
        let hidden = self.hidden.forward_normed(&x, &self.gain, Activation::Relu)?;
        Ok((&x + self.output.forward(&hidden, Activation::None)?)?)
    }
}

/// Hidden layer with ReLU beside a linear skip.
#[derive(Debug)]
pub(super) struct PatchEmbedding {
    hidden: Linear,
    output: Linear,
    residual: Linear,
}

impl PatchEmbedding {
    pub(super) fn new(p: &mut Parameters, name: &str, [inputs, hidden, outputs]: [usize; 3]) -> Result<Self> {
        Ok(Self {
            hidden: Linear::new(p, &format!("{name}.hidden_layer"), inputs, hidden)?,
            output: Linear::new(p, &format!("{name}.output_layer"), hidden, outputs)?,
            residual: Linear::new(p, &format!("{name}.residual_layer"), inputs, outputs)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.hidden.forward(x, Activation::Relu)?;
        Ok((self.output.forward(&hidden, Activation::None)? + self.residual.forward(x, Activation::None)?)?)
    }
}

/// The network.
#[derive(Debug)]
pub struct Chronos2 {
    parameters: Parameters,
    config: FoundationConfig,
    separators: Tensor,
    input: PatchEmbedding,
    blocks: Vec<Block>,
    gain: Tensor,
    output: PatchEmbedding,
    /// How much of what was seasons ago a token's forecasts repeat.
    repeats: Option<Linear>,
    objective: Objective,
    /// Gradients end before the last norm.
    freezes_encoder: bool,
}

impl Chronos2 {
    /// The network with these sizes; its tensors are registered with `parameters`.
    pub fn new(mut parameters: Parameters, config: &FoundationConfig) -> Result<Self> {
        let p = &mut parameters;
        let (width, patch) = (config.d_model, config.input_patch_size);
        let outputs = config.quantiles.len() * patch;
        let block = |i: usize, p: &mut Parameters| Block::new(p, &format!("encoder.block.{i}"), config);
        Ok(Self {
            separators: p.register(
                "shared.weight",
                &[config.vocab_size, width],
                Initializer::Normal(0.05),
            )?,
            input: PatchEmbedding::new(
                p,
                "input_patch_embedding",
                [config.channels() * patch, config.d_ff, width],
            )?,
            blocks: (0..config.num_layers).map(|i| block(i, p)).collect::<Result<_>>()?,
            gain: p.register(LAST_NORM, &[width], Initializer::Ones)?,
            output: PatchEmbedding::new(p, OUTPUT, [width, config.d_ff, outputs])?,
            repeats: match config.lags {
                0 => None,
                lags => Some(Linear::new(p, REPEATS, width, lags)?),
            },
            objective: Objective::Quantile(config.quantiles.clone()),
            config: config.clone(),
            parameters,
            freezes_encoder: false,
        })
    }

    /// The network of which, where asked for, only the last norm and what reads forecasts behind it learn.
    pub fn freezing_encoder(mut self, freezes: bool) -> Self {
        self.freezes_encoder = freezes;
        if freezes {
            let learns =
                |name: &str| name == LAST_NORM || name.starts_with(OUTPUT) || name.starts_with(REPEATS);
            self.parameters.freeze(|name| !learns(name));
        }
        self
    }

    /// The sizes.
    pub fn config(&self) -> &FoundationConfig {
        &self.config
    }

    /// Scaled quantiles of every row at every step that is asked for, those after the origin or, of a masked batch, all:
    /// `[len, rows, steps, levels]`.
    pub fn forward(&self, batch: &Groups) -> Result<Tensor> {
        let Groups { len, rows, tokens: (before, after), .. } = *batch;
        let (width, patch) = (self.config.d_model, self.config.input_patch_size);
        let device: &Device = self.parameters.device();
        let all = before + 1 + after;
        let channels = self.config.channels();
        let inputs =
            Tensor::from_slice(&batch.inputs, (len * rows, before + after, channels * patch), device)?;
        let embedded = self.input.forward(&inputs)?;
        let of_rows: Vec<u32> = batch.separators.iter().flat_map(|s| std::iter::repeat_n(*s, rows)).collect();
        let separator = embedding(&self.separators, &of_rows)?;
        let past = embedded.narrow(1, 0, before)?.flatten_from(1)?;
        let future = embedded.narrow(1, before, after)?.flatten_from(1)?;
        let mut x = concat(&concat(&past, &separator)?, &future)?.reshape((len, rows, all, width))?;
        for block in &self.blocks {
            x = block.forward(&x, &batch.present)?;
        }
        let x = if self.freezes_encoder { x.detach() } else { x };
        let future = x.narrow(2, before + 1, after)?;
        let asked = match batch.masked {
            false => future.contiguous()?,
            true => Tensor::cat(&[&x.narrow(2, 0, before)?, &future], 2)?,
        };
        let tokens = asked.dim(2)?;
        let asked = rms_norm(&asked, &self.gain)?;
        let levels = self.config.quantiles.len();
        let outputs = self.output.forward(&asked)?.reshape((len * rows * tokens, levels, patch))?;
        let outputs = match &self.repeats {
            None => outputs.transpose(1, 2)?.contiguous()?,
            Some(shares) => {
                let lags = self.config.lags;
                let lagged =
                    inputs.narrow(1, before + after - tokens, tokens)?.narrow(2, 3 * patch, lags * patch)?;
                let lagged = lagged.reshape((len * rows * tokens, lags, patch))?;
                let shares =
                    shares.forward(&asked, Activation::None)?.reshape((len * rows * tokens, lags))?;
                repeats(&outputs, &lagged, &shares)?
            }
        };
        Ok(outputs.reshape((len, rows, tokens * patch, levels))?)
    }
}

impl Network for Chronos2 {
    type Batch = Groups;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Batches are whole: an example of a data set is a batch of groups of one shape.
    fn pass_length(&self) -> usize {
        1
    }

    fn loss(&self, batch: &Groups, _seed: Option<u64>) -> Result<LossSum> {
        let forecast = self.forward(batch)?;
        let steps = Steps { actual: &batch.targets, weight: &batch.weights, ..Steps::default() };
        let sum = masked_loss(&forecast, steps, &self.objective)?;
        Ok(LossSum { sum, weight: batch.weights.iter().map(|w| f64::from(*w)).sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::foundation::groups::{Group, GroupRow};
    use crate::ml::layers::Gradients;
    use crate::ml::rng::Rng;

    fn small() -> FoundationConfig {
        FoundationConfig {
            d_model: 8,
            d_kv: 4,
            d_ff: 12,
            num_layers: 2,
            num_heads: 2,
            input_patch_size: 4,
            quantiles: vec![0.1, 0.5, 0.9],
            ..FoundationConfig::default()
        }
    }

    fn batch(config: &FoundationConfig) -> Groups {
        let mut rng = Rng::new(5);
        let mut row = |history: usize, known: bool| GroupRow {
            history: (0..history).map(|_| rng.normal() as f32).collect(),
            future: (0..8).map(|_| rng.normal() as f32).collect(),
            known,
            leads: false,
        };
        let groups = [
            Group { rows: vec![row(12, false), row(12, true)], frequency: 1, season: 4 },
            Group { rows: vec![row(6, false)], frequency: 0, season: 0 },
        ];
        let mut batch = Groups::default();
        batch.start(2, (3, 2));
        groups.iter().for_each(|group| batch.push(group, config));
        batch
    }

    #[test]
    fn every_parameter_gets_a_gradient() {
        let config = small();
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &config).unwrap();
        let loss = network.loss(&batch(&config), None).unwrap();
        assert!((loss.weight - 2.0).abs() < 1e-6);
        let mut gradients = Gradients::default();
        gradients.add(&loss.sum, network.parameters()).unwrap();
        for (name, var, _) in network.parameters().iter() {
            let gradient = gradients.take(var).unwrap().unwrap_or_default();
            assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
        }
    }

    #[test]
    fn hidden_tokens_are_asked_for_and_seen_by_nobody() {
        let config = small();
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &config).unwrap();
        let of = |hidden_value: f32| {
            let mut history: Vec<f32> = (0..12).map(|t| (t * t % 7) as f32).collect();
            // The scale is that of the whole history: the two values swap places.
            (history[5], history[6]) = (hidden_value, 9.0 - hidden_value);
            let group = Group {
                rows: vec![GroupRow { history, future: vec![3.0; 8], ..GroupRow::default() }],
                frequency: 1,
                season: 3,
            };
            let mut batch = Groups::default();
            batch.start(1, (3, 2));
            batch.masked = true;
            batch.push_hiding(&group, &[false, true, false], &config);
            batch
        };
        let (one, other) = (of(2.0), of(7.0));
        assert_eq!(one.weights.iter().filter(|w| **w > 0.0).count(), 4 + 8);
        assert!(one.weights[..4].iter().all(|w| *w == 0.0) && one.weights[4..8].iter().all(|w| *w > 0.0));
        assert_ne!(one.targets, other.targets);
        let values =
            |batch: &Groups| network.forward(batch).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&one), values(&other));
        assert_eq!(values(&one).len(), 20 * 3);
    }

    #[test]
    fn a_missing_row_and_steps_before_a_history_change_nothing() {
        let config = small();
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &config).unwrap();
        let group = Group {
            rows: vec![GroupRow { history: vec![1.0, 4.0, 2.0, 8.0], ..GroupRow::default() }],
            frequency: 2,
            season: 2,
        };
        let forecast = |rows: usize, before: usize| {
            let mut batch = Groups::default();
            batch.start(rows, (before, 2));
            batch.push(&group, &config);
            let all = network.forward(&batch).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            all[..24].to_vec()
        };
        let (alone, padded) = (forecast(1, 1), forecast(3, 1));
        assert!(alone.iter().zip(&padded).all(|(a, b)| (a - b).abs() < 1e-5));
        // Only the positions are relative: a longer context turns the same angles further.
        let long = forecast(1, 5);
        assert!(alone.iter().zip(&long).all(|(a, b)| (a - b).abs() < 1e-4), "{alone:?} {long:?}");
    }
}
