//! TiDE, one global dense encoder-decoder over all series (Das et al. 2023, "Long-term Forecasting with TiDE").
//!
//! Windows of `context` steps before and `horizon` steps after an origin go in, with covariates and
//! statistics of the history before the origin; quantiles `[batch, horizon, levels]` come out, in units of
//! the window's own scale and relative to the mean of matched history.

mod calibration;
mod forecast;
mod network;
mod quantiles;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::control::Control;
use crate::ml::evaluation::Holdout;
use crate::ml::features::{EncodedPanel, Featurizer, canonical_order};
use crate::ml::forecaster::{FitEstimate, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions};
use crate::ml::layers::Parameters;
use crate::ml::models::container::{self, Data};
use crate::ml::models::seasonal_naive;
use crate::ml::models::tide::forecast::Forecaster;
use crate::ml::models::tide::network::{Shape, TideNetwork};
use crate::ml::models::tide::quantiles::MEDIAN;
use crate::ml::models::tide::windows::Windows;
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{AdamWConfig, Dataset, Network, Trainer, TrainerConfig};

/// Most windows an epoch visits; of a larger panel every epoch visits others.
const EPOCH_LENGTH_MAX: usize = 50_000;

/// Most windows that choices before the training look at.
const SAMPLE_MAX: usize = 2_000;
/// Windows per series from which a series gets an embedding: with fewer it would only be learned by heart.
const WINDOWS_PER_SERIES_MIN: usize = 200;

/// Share of the progress when the network is fitted and only its adaptation to the latest steps is left.
const FIT_SHARE: f64 = 0.8;

/// The tensor of the series' keys, which may be too many for a header.
const KEYS: &str = "series.keys";

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
fn shape(options: &FitOptions, windows: usize, series: usize) -> Shape {
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
        knows_series: series > 1 && windows >= series * WINDOWS_PER_SERIES_MIN,
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
        progress: (0.0, FIT_SHARE),
        seconds_max: options.max_seconds,
        seed: options.seed,
    }
}

/// Rows of every series before the validation steps.
fn training_lengths(panel: &Panel, options: &FitOptions) -> Vec<usize> {
    panel.history.iter().map(|n| n.saturating_sub(options.validation_length)).collect()
}

/// Fits a network on the training part of the panel; the validation steps stop it, calibrate it and are
/// learned last.
pub fn fit(
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    let fit =
        Fit { panel, options, control, train: training_lengths(panel, options), started: Instant::now() };
    control.report(|p| p.phase = "prepare");
    let mut featurizer =
        Featurizer::fit(panel, &fit.train, options.horizon, options.context_length, control)?;
    let encoded = EncodedPanel::new(&featurizer, panel, 0, 0);
    control.check()?;
    let order = canonical_order(panel);
    let sample = Windows::train(&featurizer, &encoded, &order, &fit.train).sample(SAMPLE_MAX);
    featurizer.choose_suggestion(&encoded, &sample);
    let (network, best_epoch, mut report) = fit.learn(&featurizer, &encoded)?;
    let shape = network.shape().clone();
    let levels = levels_with_median(&options.quantile_levels);
    let mut config = TideConfig { shape, shifts: Vec::new(), levels, featurizer };
    fit.calibrate(&mut config, &network, &mut report)?;
    fit.adapt(&config.featurizer, &encoded, &network, best_epoch)?;
    Ok((Arc::new(Tide { config, network }), report))
}

/// One fit under way.
struct Fit<'a> {
    panel: &'a Panel,
    options: &'a FitOptions,
    control: &'a Control,
    /// Rows of every series before the validation steps.
    train: Vec<usize>,
    started: Instant,
}

impl Fit<'_> {
    /// The best network by the validation steps, its epoch and the report.
    fn learn(
        &self,
        featurizer: &Featurizer,
        encoded: &EncodedPanel,
    ) -> Result<(TideNetwork, usize, FitReport)> {
        let order = canonical_order(self.panel);
        let windows = Windows::train(featurizer, encoded, &order, &self.train);
        let valid = Windows::valid(featurizer, encoded, &order, &self.train);
        if windows.len() == 0 {
            return Err(self.too_short());
        }
        let parameters = Parameters::seeded(Rng::new(self.options.seed).fork("parameters"));
        let levels = levels_with_median(&self.options.quantile_levels);
        let network = TideNetwork::new(
            parameters,
            featurizer,
            shape(self.options, windows.len(), featurizer.keys.len()),
            levels,
        )?;
        let config = trainer_config(self.options, windows.len());
        let epoch_length = config.epoch_length.min(windows.len());
        let mut trainer = Trainer::new(&network, &windows, &valid, config)?;
        trainer.run(self.control)?;
        let report = FitReport {
            epochs: trainer.log().len(),
            parameters: network.parameters().count(),
            windows: epoch_length,
            log: trainer.log().to_vec(),
            ..FitReport::default()
        };
        let best_epoch = trainer.best_epoch();
        Ok((network, best_epoch, report))
    }

    /// Moves the quantiles by the forecasts of the validation steps, and scores them out of sample.
    fn calibrate(
        &self,
        config: &mut TideConfig,
        network: &TideNetwork,
        report: &mut FitReport,
    ) -> Result<()> {
        self.control.report(|p| p.phase = "calibrate");
        config.shifts = vec![0.0; config.levels.len()];
        let holdout = Holdout::new(self.panel, self.options.validation_length);
        if holdout.length() == 0 {
            return Ok(());
        }
        let ask = |shifts: &[f64], levels: &[f64]| {
            let wanted = PredictOptions { horizon: holdout.length(), quantile_levels: levels.to_vec() };
            let forecaster = Forecaster { shifts, ..config.forecaster(network) };
            forecaster.predict(holdout.panel(), &wanted, self.control)
        };
        let raw = ask(&config.shifts, &config.levels)?;
        // Each half of the series is scored with the shifts that the other half asks for.
        let [first, second] = calibration::halves(holdout.actual(), holdout.length())
            .map(|actual| ask(&calibration::shifts(&raw, &actual), &self.options.quantile_levels));
        report.scores = holdout.scores(&calibration::interleaved(second?, &first?));
        config.shifts = calibration::shifts(&raw, holdout.actual());
        report.naive = seasonal_naive::scores(&holdout, self.options, self.control)?;
        Ok(())
    }

    /// Goes on from the best weights with the validation steps among the targets: a third of the epochs
    /// that were best, at a third of the rate.
    fn adapt(
        &self,
        featurizer: &Featurizer,
        encoded: &EncodedPanel,
        network: &TideNetwork,
        best_epoch: usize,
    ) -> Result<()> {
        let seconds_left = self.options.max_seconds.map(|limit| limit - self.started.elapsed().as_secs_f64());
        if self.options.validation_length == 0 || seconds_left.is_some_and(|left| left <= 0.0) {
            return Ok(());
        }
        let all = &self.panel.history;
        let windows = Windows::train(featurizer, encoded, &canonical_order(self.panel), all);
        let none = Windows::train(featurizer, encoded, &[], all);
        let config = trainer_config(self.options, windows.len());
        let config = TrainerConfig {
            epochs: best_epoch.div_ceil(3),
            learning_rate: config.learning_rate / 3.0,
            progress: (FIT_SHARE, 1.0),
            seconds_max: seconds_left,
            ..config
        };
        Trainer::new(network, &windows, &none, config)?.run(self.control)
    }

    fn too_short(&self) -> Error {
        let longest = self.panel.history.iter().max().copied().unwrap_or(0);
        Error::data(format!(
            "the longest series has {longest} rows; tide needs at least 2 before the {} validation steps",
            self.options.validation_length
        ))
        .with_hint("shorten VALIDATE, or USING seasonal_naive")
    }
}

/// The model whose configuration and tensors [`FittedForecaster::to_bytes`] wrote.
pub fn load(config: &str, file: &SafeTensors<'_>) -> Result<Arc<dyn FittedForecaster>> {
    let corrupt =
        |why: String| Error::corrupt(Subject::Model, format!("the tide model cannot be read: {why}"));
    let mut config: TideConfig = serde_json::from_str(config).map_err(|e| corrupt(e.to_string()))?;
    config.check().map_err(corrupt)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        match view.dtype() {
            Dtype::U8 if name == KEYS => {
                config.featurizer.keys =
                    serde_json::from_slice(view.data()).map_err(|e| corrupt(e.to_string()))?;
            }
            Dtype::F32 => {
                let values: Vec<f32> =
                    view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                tensors.insert(name, Tensor::from_vec(values, view.shape(), &Device::Cpu)?);
            }
            dtype => return Err(corrupt(format!("the tensor {name} is {dtype:?}"))),
        }
    }
    let parameters = Parameters::stored(tensors);
    let network =
        TideNetwork::new(parameters, &config.featurizer, config.shape.clone(), config.levels.clone())?;
    Ok(Arc::new(Tide { config, network }))
}

impl TideConfig {
    fn forecaster<'a>(&'a self, network: &'a TideNetwork) -> Forecaster<'a> {
        Forecaster { featurizer: &self.featurizer, network, levels: &self.levels, shifts: &self.shifts }
    }

    /// Tells why a configuration from a file cannot be one of ours.
    fn check(&self) -> std::result::Result<(), String> {
        let ascending = self.levels.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = self.levels.iter().all(|u| *u > 0.0 && *u < 1.0);
        if !ascending || !inside || !self.levels.contains(&MEDIAN) || self.shifts.len() != self.levels.len() {
            return Err(format!("levels {:?} with {} shifts", self.levels, self.shifts.len()));
        }
        self.featurizer.check()
    }
}

/// What a fit will need on this machine.
pub fn estimate(panel: &Panel, options: &FitOptions, control: &Control) -> Result<FitEstimate> {
    let train = training_lengths(panel, options);
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length, control)?;
    let horizon = options.horizon;
    let windows: usize =
        train.iter().map(|n| if *n > horizon { n - horizon } else { n.saturating_sub(1) }).sum();
    let config = trainer_config(options, windows);
    let parameters = Parameters::seeded(Rng::new(options.seed));
    let levels = levels_with_median(&options.quantile_levels);
    let network =
        TideNetwork::new(parameters, &featurizer, shape(options, windows, featurizer.keys.len()), levels)?;
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

/// Floating-point operations a second that one core gets through while training, all overheads included.
const OPERATIONS_PER_SECOND: f64 = 3e10;

impl FittedForecaster for Tide {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        self.config.forecaster(&self.network).predict(panel, options, control)
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.config.featurizer.layout.lookback)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let internal = |e: serde_json::Error| Error::internal(format!("the model cannot be written: {e}"));
        let config = serde_json::to_string(&self.config).map_err(internal)?;
        let keys = serde_json::to_vec(&self.config.featurizer.keys).map_err(internal)?;
        let tensor = |name: &str, shape, data| container::Tensor { name: name.to_string(), shape, data };
        let mut tensors = vec![tensor(KEYS, vec![keys.len()], Data::U8(keys))];
        let parameters = self.network.parameters();
        for ((name, var, _), values) in parameters.iter().zip(parameters.values()?) {
            tensors.push(tensor(name, var.dims().to_vec(), Data::F32(values)));
        }
        container::write("tide", config, tensors)
    }
}
