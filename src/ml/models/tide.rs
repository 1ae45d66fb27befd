//! TiDE, one global dense encoder-decoder over all series (Das et al. 2023, "Long-term Forecasting with TiDE").

mod forecast;
mod network;
mod windows;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, Featurizer, canonical_order};
use crate::ml::forecaster::{FitEstimate, FitOptions, FitReport, FittedForecaster};
use crate::ml::layers::Parameters;
use crate::ml::models::tide::network::{Shape, TideNetwork, count_parameters};
use crate::ml::models::tide::windows::Windows;
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{AdamWConfig, Dataset, Network, Trainer, TrainerConfig};

/// Everything about a fitted model besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TideConfig {
    shape: Shape,
    /// Levels of the quantile head, ascending, 0.5 among them.
    levels: Vec<f64>,
    featurizer: Featurizer,
}

/// A fitted TiDE.
#[derive(Debug)]
pub struct Tide {
    config: TideConfig,
    network: TideNetwork,
}

/// The levels asked for and the median.
fn levels_with_median(levels: &[f64]) -> Vec<f64> {
    let mut levels = levels.to_vec();
    if !levels.iter().any(|u| (u - 0.5).abs() < 1e-9) {
        levels.push(0.5);
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
    TrainerConfig {
        epochs: options.epochs.unwrap_or(20),
        epoch_length: 50_000,
        batch_size,
        shard_size: (batch_size / 4).clamp(1, 64),
        learning_rate: options.learning_rate.unwrap_or(2e-3),
        patience: options.early_stop.unwrap_or(5),
        optimizer: AdamWConfig {
            weight_decay: options.weight_decay.unwrap_or(1e-2),
            ..AdamWConfig::default()
        },
        average_decay: 0.99,
        seconds_max: options.max_seconds,
        seed: options.seed,
    }
}

/// Fits a network on the training part of the panel and calibrates it on the rest.
pub fn fit(panel: &Panel, options: &FitOptions, control: &Control) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    control.report(|p| p.phase = "prepare");
    let train: Vec<usize> = panel.history.iter().map(|n| n.saturating_sub(options.validation_length)).collect();
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length);
    control.check()?;
    let encoded = EncodedPanel::new(&featurizer, panel, 0, 0);
    let order = canonical_order(panel);
    let windows = Windows::train(&featurizer, &encoded, &order, &train);
    let valid = Windows::valid(&featurizer, &encoded, &order, &train);
    if windows.len() == 0 {
        return Err(Error::data(format!(
            "no series has 2 steps before the {} validation steps, so there is nothing to train tide on",
            options.validation_length
        ))
        .with_hint("shorten VALIDATE, or use seasonal_naive"));
    }
    let levels = levels_with_median(&options.quantile_levels);
    let shape = shape(options, windows.len());
    let parameters = Parameters::seeded(Rng::new(options.seed).fork("parameters"));
    let network = TideNetwork::new(parameters, &featurizer, shape.clone(), levels.clone())?;
    let mut trainer = Trainer::new(&network, &windows, &valid, trainer_config(options, windows.len()))?;
    trainer.run(control)?;
    let report = FitReport {
        epochs: trainer.log().len(),
        parameters: network.parameters().count(),
        windows: windows.len().min(trainer_config(options, windows.len()).epoch_length),
        log: trainer.log().to_vec(),
        ..FitReport::default()
    };
    let model = Tide { config: TideConfig { shape, levels, featurizer }, network };
    Ok((Arc::new(model), report))
}

/// What a fit will need.
pub fn estimate(panel: &Panel, options: &FitOptions) -> Result<FitEstimate> {
    let train: Vec<usize> = panel.history.iter().map(|n| n.saturating_sub(options.validation_length)).collect();
    let featurizer = Featurizer::fit(panel, &train, options.horizon, options.context_length);
    let _ = count_parameters(&featurizer, shape(options, 1), 3)?;
    Ok(FitEstimate::default())
}
