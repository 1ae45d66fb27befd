//! A global network over all series: how it is sized, trained, adapted, stored.
//!
//! Windows of `context` steps before and `horizon` steps after an origin go in, with covariates and
//! statistics of the history before the origin; outputs `[batch, horizon, outputs]` come out, which are quantiles in units of
//! the window's own scale and relative to the mean of matched history, or what another objective makes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, Featurizer, canonical_order};
use crate::ml::forecaster::{FitEstimate, FitOptions, Forecast};
use crate::ml::layers::{Parameters, read};
use crate::ml::models::container::{Data, Stored};
use crate::ml::models::model::{Learner, Learnt, Lesson, Model, Saved};
use crate::ml::models::networks::body::{Architecture, Shape};
use crate::ml::models::networks::forecast::Forecaster;
use crate::ml::models::networks::head::Head;
use crate::ml::models::networks::network::WindowNetwork;
use crate::ml::models::networks::windows::Windows;
use crate::ml::objective::{ObjectiveKind, OptimizerKind};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{
    BYTES_PER_PARAMETER, Dataset, Network, OptimizerConfig, Rule, Trainer, TrainerConfig,
};

/// Most windows an epoch visits; of a larger panel every epoch visits others.
const EPOCH_LENGTH_MAX: usize = 50_000;

/// Fewest windows of an epoch, unless there are fewer.
const EPOCH_LENGTH_MIN: usize = 5_000;
/// Floating-point operations of a training where the user names no number of epochs.
const OPERATIONS_MAX: f64 = 4e12;
/// Passes over a network that a training step is worth: one forward, two backward, and two operations a weight.
const PASSES: f64 = 6.0;

/// Most windows that choices before the training look at.
const SAMPLE_MAX: usize = 2_000;
/// Windows per series from which a series gets an embedding: with fewer it would only be learned by heart.
const WINDOWS_PER_SERIES_MIN: usize = 200;

/// Share of the progress when the network is fitted and only its adaptation to the latest steps is left.
const FIT_SHARE: f64 = 0.8;

/// Learning rate of stochastic gradient descent beside that of AdamW, whose steps do not shrink with the gradients.
const SGD_RATE: f64 = 10.0;

/// The tensor of the series' keys, which may be too many for a header.
const KEYS: &str = "series.keys";

/// Everything about a fitted model besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NetworkConfig {
    shape: Shape,
    featurizer: Featurizer,
    #[serde(default, skip_serializing_if = "Head::is_usual")]
    head: Head,
}

/// A fitted network.
#[derive(Debug)]
struct FittedNetwork {
    config: NetworkConfig,
    network: WindowNetwork,
    /// The epoch whose weights were best for the steps that told when to stop.
    best_epoch: usize,
}

/// A family: networks with this body.
pub(in crate::ml::models) struct NetworkLearner(pub(in crate::ml::models) Architecture);

/// Sizes by the number of training windows, where the user names none.
pub(super) fn shape(
    architecture: Architecture,
    options: &FitOptions,
    windows: usize,
    featurizer: &Featurizer,
) -> Shape {
    let hidden = options.hidden_size.unwrap_or(match windows {
        0..2_000 => 32,
        2_000..50_000 => 64,
        _ if architecture == Architecture::Tide => 128,
        _ => 64,
    });
    let heads = options.heads.unwrap_or(4);
    let hidden = match architecture {
        // Heads share the width, in pairs that turn together.
        Architecture::Transformer => hidden.next_multiple_of(2 * heads),
        _ => hidden,
    };
    let layers = match architecture {
        Architecture::Lstm | Architecture::Gru => 1,
        _ => 2,
    };
    let series = featurizer.keys.len();
    Shape {
        architecture,
        hidden,
        layers: options.layers.unwrap_or(layers),
        heads,
        patch: options.patch_length.unwrap_or(patch_length(featurizer)),
        step_hidden: hidden.clamp(16, 64),
        projection: 4,
        decoded: 8,
        knows_series: series > 1 && windows >= series * WINDOWS_PER_SERIES_MIN,
        dropout: options.dropout.unwrap_or(0.1),
    }
}

/// A season where it is short, else a few patches to a horizon.
fn patch_length(featurizer: &Featurizer) -> usize {
    match featurizer.season_length {
        season @ 4..=12 => season,
        24 => 12,
        _ => (featurizer.layout.context / 8).clamp(1, 16),
    }
}

/// Peak learning rate, where the user names none.
fn learning_rate(architecture: Architecture, optimizer: OptimizerKind) -> f64 {
    let adamw = match architecture {
        Architecture::Dlinear => 5e-3,
        Architecture::Transformer => 1e-3,
        _ => 2e-3,
    };
    match optimizer {
        OptimizerKind::AdamW => adamw,
        OptimizerKind::Sgd => SGD_RATE * adamw,
    }
}

/// Settings of the training by the number of windows and the operations that one of them takes, where the user names
/// none.
pub(super) fn trainer_config(
    architecture: Architecture,
    options: &FitOptions,
    effort: f64,
    windows: usize,
    operations: usize,
) -> TrainerConfig {
    let batch_size = options.batch_size.unwrap_or(match windows {
        0..2_000 => 32,
        2_000..20_000 => 64,
        20_000..100_000 => 128,
        _ => 256,
    });
    let steps = windows.min(EPOCH_LENGTH_MAX).div_ceil(batch_size);
    let epochs = options.epochs.unwrap_or((2_000 / steps.max(1)).clamp(8, 50));
    let affordable = (effort * OPERATIONS_MAX / (PASSES * operations.max(1) as f64 * epochs as f64)) as usize;
    let epoch_length = match options.epochs {
        Some(_) => EPOCH_LENGTH_MAX,
        None => affordable.clamp(EPOCH_LENGTH_MIN, EPOCH_LENGTH_MAX),
    };
    let optimizer = options.optimizer.unwrap_or_default();
    let rule = match optimizer {
        OptimizerKind::AdamW => Rule::ADAM,
        OptimizerKind::Sgd => Rule::SGD,
    };
    TrainerConfig {
        epochs,
        epoch_length,
        batch_size,
        shard_size: (batch_size / 4).clamp(1, 128),
        learning_rate: options.learning_rate.unwrap_or(learning_rate(architecture, optimizer)),
        patience: options.early_stop.unwrap_or((epochs / 5).max(3)),
        optimizer: OptimizerConfig {
            rule,
            weight_decay: options.weight_decay.unwrap_or(1e-2),
            ..OptimizerConfig::default()
        },
        average_decay: 0.99,
        progress: (0.0, FIT_SHARE),
        seconds_max: None,
        seed: options.seed,
    }
}

impl Learner for NetworkLearner {
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt> {
        lesson.control.report(|p| p.phase = "prepare");
        let (panel, options, control) = (lesson.panel, lesson.options, lesson.control);
        let mut featurizer =
            Featurizer::fit(panel, &lesson.train, options.horizon, options.context_length, control)?;
        let mut head = Head::new(options.objective.unwrap_or_default());
        if options.objective.is_some_and(ObjectiveKind::is_of_amounts) {
            featurizer.measure_from_zero(panel, &lesson.train);
        }
        let encoded =
            EncodedPanel::new(&featurizer, panel, 0, 0).taught_by(options.taught.as_ref(), &lesson.train);
        control.check()?;
        let order = canonical_order(panel);
        let sample = Windows::train(&featurizer, &encoded, &order, &lesson.train).sample(SAMPLE_MAX);
        featurizer.choose_suggestion(&encoded, &sample);
        let windows = Windows::train(&featurizer, &encoded, &order, &lesson.train);
        let valid = Windows::valid(&featurizer, &encoded, &order, &lesson.train);
        if windows.len() == 0 {
            return Err(lesson.too_short(self.0.name()));
        }
        let device = options.device.open_if_named()?;
        let parameters = Parameters::seeded(Rng::new(options.seed).fork("parameters")).on(device);
        let shape = shape(self.0, options, windows.len(), &featurizer);
        let network = WindowNetwork::new(parameters, &featurizer, &shape, head.objective())?;
        let config = trainer_config(self.0, options, lesson.effort, windows.len(), network.operations());
        let config = TrainerConfig { seconds_max: lesson.seconds_left(), ..config };
        let epoch_length = config.epoch_length.min(windows.len());
        control.report(|p| p.phase = "fit");
        let mut trainer = Trainer::new(&network, &windows, &valid, config)?;
        trainer.run(control)?;
        let (log, best_epoch) = (trainer.log().to_vec(), trainer.best_epoch());
        drop(trainer);
        let network = match network.parameters().is_on_card() {
            // It forecasts on the processor.
            true => network.copied_to(Device::Cpu, &featurizer, &shape)?,
            false => network,
        };
        head.fit(&network, &featurizer, [&windows, &valid], control)?;
        let config = NetworkConfig { shape, featurizer, head };
        let model = Arc::new(FittedNetwork { config, network, best_epoch });
        Ok(Learnt { model, log, windows: epoch_length, before: None })
    }

    fn can_stop(&self) -> bool {
        true
    }

    fn estimate(&self, lesson: &Lesson<'_>) -> Result<FitEstimate> {
        estimate(self.0, lesson)
    }

    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
        load(self.0, stored)
    }
}

/// The model whose configuration and tensors [`Model::save`] gave.
fn load(architecture: Architecture, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
    let corrupt = |why: String| {
        Error::corrupt(Subject::Model, format!("the {} model cannot be read: {why}", architecture.name()))
    };
    let mut config: NetworkConfig = stored.config()?;
    config.featurizer.check().map_err(corrupt)?;
    config.shape.check(architecture).map_err(|why| corrupt(why.to_owned()))?;
    if !config.head.is_sound() {
        return Err(corrupt("what its outputs mean is not told".into()));
    }
    config.featurizer.keys = serde_json::from_slice(&stored.u8(KEYS)?).map_err(|e| corrupt(e.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, shape, values) in stored.weights() {
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
    }
    let parameters = Parameters::stored(tensors);
    let network = WindowNetwork::new(parameters, &config.featurizer, &config.shape, config.head.objective())?;
    Ok(Arc::new(FittedNetwork { config, network, best_epoch: 0 }))
}

/// What a fit will need on this machine.
fn estimate(architecture: Architecture, lesson: &Lesson<'_>) -> Result<FitEstimate> {
    let (panel, options, control) = (lesson.panel, lesson.options, lesson.control);
    let held_out = options.validation_length.unwrap_or(options.horizon);
    let train = Lesson::new(panel, held_out, options, control).train;
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length, control)?;
    let horizon = options.horizon;
    let windows: usize =
        train.iter().map(|n| if *n > horizon { n - horizon } else { n.saturating_sub(1) }).sum();
    let parameters = Parameters::seeded(Rng::new(options.seed));
    let shape = shape(architecture, options, windows, &featurizer);
    let objective = Head::new(options.objective.unwrap_or_default()).objective();
    let network = WindowNetwork::new(parameters, &featurizer, &shape, objective)?;
    let config = trainer_config(architecture, options, 1.0, windows, network.operations());
    let per_epoch = windows.min(config.epoch_length);
    let threads = rayon::current_num_threads().max(1);
    let shards = config.batch_size.div_ceil(config.shard_size);
    Ok(FitEstimate {
        parameters: network.parameters().count(),
        windows: per_epoch,
        memory_bytes: EncodedPanel::bytes_of(panel)
            + network.parameters().count() * BYTES_PER_PARAMETER
            + shards * network.pass_bytes(config.shard_size),
        seconds: (per_epoch * config.epochs) as f64 * network.operations() as f64 * PASSES
            / (OPERATIONS_PER_SECOND * threads as f64),
    })
}

/// Floating-point operations a second that one core gets through while training, all overheads included.
const OPERATIONS_PER_SECOND: f64 = 3e10;

impl FittedNetwork {
    /// Learns all steps of a lesson for at most so many epochs, a third of the usual ones, at a third of the rate.
    fn learn_on(&self, lesson: &Lesson<'_>, epochs: usize) -> Result<()> {
        let (panel, featurizer) = (lesson.panel, &self.config.featurizer);
        let encoded = EncodedPanel::new(featurizer, panel, 0, 0)
            .taught_by(lesson.options.taught.as_ref(), &lesson.train);
        let windows = Windows::train(featurizer, &encoded, &canonical_order(panel), &lesson.train);
        let none = Windows::train(featurizer, &encoded, &[], &lesson.train);
        let (options, effort, operations) = (lesson.options, lesson.effort, self.network.operations());
        let config =
            trainer_config(self.config.shape.architecture, options, effort, windows.len(), operations);
        let config = TrainerConfig {
            epochs: epochs.min(config.epochs.div_ceil(3)),
            learning_rate: config.learning_rate / 3.0,
            progress: (FIT_SHARE, 1.0),
            seconds_max: lesson.seconds_left(),
            ..config
        };
        let device = options.device.open_if_named()?;
        if device.is_cpu() {
            return Trainer::new(&self.network, &windows, &none, config)?.run(lesson.control);
        }
        let network = self.network.copied_to(device, featurizer, &self.config.shape)?;
        Trainer::new(&network, &windows, &none, config)?.run(lesson.control)?;
        self.network.parameters().copy_from(network.parameters())
    }
}

impl Model for FittedNetwork {
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        let NetworkConfig { featurizer, head, .. } = &self.config;
        let forecaster = Forecaster { featurizer, network: &self.network, head };
        forecaster.predict(panel, horizon, control)
    }

    /// Goes on from the best weights with all steps among the targets: a third of the epochs that were best, at a
    /// third of the rate.
    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        self.learn_on(lesson, self.best_epoch.div_ceil(3))?;
        Ok(self)
    }

    /// The same for a third of all epochs: how many were best is not kept.
    fn go_on(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        self.learn_on(lesson, usize::MAX)?;
        Ok(self)
    }

    fn context_length(&self) -> usize {
        self.config.featurizer.layout.lookback
    }

    fn parameters(&self) -> usize {
        self.network.parameters().count()
    }

    fn save(&self) -> Result<Saved> {
        let keys = serde_json::to_vec(&self.config.featurizer.keys)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        let mut saved = Saved::new(&self.config)?.with(KEYS, vec![keys.len()], Data::U8(keys));
        for (name, var, _) in self.network.parameters().iter() {
            let values = read(var, <[f32]>::to_vec)?;
            saved = saved.with(name, var.dims().to_vec(), Data::F32(values));
        }
        Ok(saved)
    }
}
