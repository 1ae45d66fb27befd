//! TiDE, one global dense encoder-decoder over all series (Das et al. 2023, "Long-term Forecasting with TiDE").
//!
//! Windows of `context` steps before and `horizon` steps after an origin go in, with covariates and
//! statistics of the history before the origin; quantiles `[batch, horizon, levels]` come out, in units of
//! the window's own scale and relative to the mean of matched history.

mod forecast;
mod network;
mod quantiles;
mod windows;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, Featurizer, canonical_order};
use crate::ml::forecaster::{FitEstimate, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions};
use crate::ml::layers::Parameters;
use crate::ml::models::tide::forecast::Forecaster;
use crate::ml::models::tide::network::{Shape, TideNetwork};
use crate::ml::models::tide::quantiles::MEDIAN;
use crate::ml::models::tide::windows::Windows;
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{AdamWConfig, Dataset, Network, Trainer, TrainerConfig};

/// Most windows an epoch visits; of a larger panel every epoch visits others.
const EPOCH_LENGTH_MAX: usize = 50_000;

/// Everything about a fitted model besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TideConfig {
    shape: Shape,
    /// Levels of the quantile head, ascending, 0.5 among them.
    levels: Vec<f64>,
    /// Calibrated shift of every level, in units of the spread of the quantiles.
    shifts: Vec<f64>,
    featurizer: Featurizer,
}

/// A fitted TiDE.
#[derive(Debug)]
struct Tide {
    config: TideConfig,
    network: TideNetwork,
}

/// The levels asked for and the median.
fn levels_with_median(levels: &[f64]) -> Vec<f64> {
    let mut levels = levels.to_vec();
    if !levels.iter().any(|u| (u - MEDIAN).abs() < 1e-9) {
        levels.push(MEDIAN);
    }
    levels.sort_by(f64::total_cmp);
    levels
}

/// Sizes by the number of training windows, where the user names none.
fn shape(options: &FitOptions, windows: usize) -> Shape {
    let hidden = options.hidden_size.unwrap_or(match windows {
        0..2_000 => 32,
        2_000..50_000 => 64,
        _ => 128,
    });
    Shape {
        hidden,
        layers: options.layers.unwrap_or(2),
        step_hidden: hidden.clamp(16, 64),
        projection: 4,
        decoded: 8,
        dropout: options.dropout.unwrap_or(0.1),
    }
}

/// Settings of the training by the number of windows, where the user names none.
fn trainer_config(options: &FitOptions, windows: usize) -> TrainerConfig {
    let batch_size = options.batch_size.unwrap_or(match windows {
        0..2_000 => 32,
        2_000..20_000 => 64,
        20_000..100_000 => 128,
        _ => 256,
    });
    let steps = windows.min(EPOCH_LENGTH_MAX).div_ceil(batch_size);
    let epochs = options.epochs.unwrap_or((2_000 / steps.max(1)).clamp(8, 50));
    TrainerConfig {
        epochs,
        epoch_length: EPOCH_LENGTH_MAX,
        batch_size,
        shard_size: (batch_size / 4).clamp(1, 64),
        learning_rate: options.learning_rate.unwrap_or(2e-3),
        patience: options.early_stop.unwrap_or((epochs / 5).max(3)),
        optimizer: AdamWConfig {
            weight_decay: options.weight_decay.unwrap_or(1e-2),
            ..AdamWConfig::default()
        },
        average_decay: 0.99,
        seconds_max: options.max_seconds,
        seed: options.seed,
    }
}

/// Rows of every series before the validation steps.
fn training_lengths(panel: &Panel, options: &FitOptions) -> Vec<usize> {
    panel.history.iter().map(|n| n.saturating_sub(options.validation_length)).collect()
}

/// Fits a network on the training part of the panel; the validation steps stop it and calibrate it.
pub fn fit(panel: &Panel, options: &FitOptions, control: &Control) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    control.report(|p| p.phase = "prepare");
    let train = training_lengths(panel, options);
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length);
    control.check()?;
    let encoded = EncodedPanel::new(&featurizer, panel, 0, 0);
    control.check()?;
    let order = canonical_order(panel);
    let windows = Windows::train(&featurizer, &encoded, &order, &train);
    let valid = Windows::valid(&featurizer, &encoded, &order, &train);
    if windows.len() == 0 {
        return Err(too_short(panel, options));
    }
    let levels = levels_with_median(&options.quantile_levels);
    let shape = shape(options, windows.len());
    let parameters = Parameters::seeded(Rng::new(options.seed).fork("parameters"));
    let network = TideNetwork::new(parameters, &featurizer, shape.clone(), levels.clone())?;
    let config = trainer_config(options, windows.len());
    let epoch_length = config.epoch_length.min(windows.len());
    let mut trainer = Trainer::new(&network, &windows, &valid, config)?;
    trainer.run(control)?;
    let log = trainer.log().to_vec();
    if let Some(kind) = std::env::var("REFIT").ok() {
        let all = panel.history.clone();
        let windows = Windows::train(&featurizer, &encoded, &order, &all);
        let none = Windows::train(&featurizer, &encoded, &[], &all);
        let mut config = trainer_config(options, windows.len());
        config.epochs = trainer.best_epoch();
        if kind == "scratch" {
            let parameters = Parameters::seeded(Rng::new(options.seed).fork("parameters"));
            let fresh = TideNetwork::new(parameters, &featurizer, shape.clone(), levels.clone())?;
            network.parameters().set_values(&fresh.parameters().values()?)?;
        } else {
            config.epochs = config.epochs.div_ceil(3);
            config.learning_rate *= 0.3;
        }
        let mut again = Trainer::new(&network, &windows, &none, config)?;
        again.run(control)?;
        println!("refit {kind}");
    }
    let report = FitReport {
        epochs: log.len(),
        parameters: network.parameters().count(),
        windows: epoch_length,
        log,
        ..FitReport::default()
    };
    let config = TideConfig { shape, shifts: vec![0.0; levels.len()], levels, featurizer };
    Ok((Arc::new(Tide { config, network }), report))
}

fn too_short(panel: &Panel, options: &FitOptions) -> Error {
    let longest = panel.history.iter().max().copied().unwrap_or(0);
    Error::data(format!(
        "the longest series has {longest} rows; tide needs at least 2 before the {} validation steps",
        options.validation_length
    ))
    .with_hint("shorten VALIDATE, or USING seasonal_naive")
}

/// What a fit will need on this machine.
pub fn estimate(panel: &Panel, options: &FitOptions) -> Result<FitEstimate> {
    let train = training_lengths(panel, options);
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length);
    let horizon = options.horizon;
    let windows: usize = train.iter().map(|n| if *n > horizon { n - horizon } else { n.saturating_sub(1) }).sum();
    let config = trainer_config(options, windows);
    let parameters = Parameters::seeded(Rng::new(options.seed));
    let levels = levels_with_median(&options.quantile_levels);
    let network = TideNetwork::new(parameters, &featurizer, shape(options, windows), levels)?;
    let per_epoch = windows.min(config.epoch_length);
    let threads = rayon::current_num_threads().max(1);
    let row = featurizer.known_numbers() + featurizer.past_numbers() + 3;
    let shard = network.parameters().count() + 64 * network.operations();
    Ok(FitEstimate {
        parameters: network.parameters().count(),
        windows: per_epoch,
        memory_bytes: 4 * (panel.target.len() * row + 6 * network.parameters().count() + threads * shard),
        seconds: (per_epoch * config.epochs) as f64 * network.operations() as f64 * 6.0
            / (OPERATIONS_PER_SECOND * threads as f64),
    })
}

/// Multiply-adds times two that one core gets through while training, all overheads included.
const OPERATIONS_PER_SECOND: f64 = 2e10;

impl Tide {
    fn forecaster(&self) -> Forecaster<'_> {
        Forecaster {
            featurizer: &self.config.featurizer,
            network: &self.network,
            levels: &self.config.levels,
            shifts: &self.config.shifts,
        }
    }
}

impl FittedForecaster for Tide {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        self.forecaster().predict(panel, options, control)
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.config.featurizer.layout.lookback)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}
