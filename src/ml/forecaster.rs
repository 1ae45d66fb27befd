//! The wing's door: fit a family of models on a panel, predict, save and load.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::evaluation::{PathOptions, ScoreSums};
use crate::ml::features::{Outliers, RowColumn, Taught};
use crate::ml::foundation::Base;
use crate::ml::hierarchy::Hierarchy;
use crate::ml::objective::{ObjectiveKind, OptimizerKind};
use crate::ml::series::Panel;

/// A family of models, by the word users write after USING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Those that suit the data, combined.
    Auto,
    /// The last season repeated.
    SeasonalNaive,
    /// Exponential smoothing, weighted per series by AICc.
    Ets,
    /// Exponential smoothing with a drift, per series (Assimakopoulos and Nikolopoulos 2000).
    Theta,
    /// Seasonal ARIMA, weighted per series by AICc (Hyndman and Khandakar 2008).
    Arima,
    /// Complex exponential smoothing, per series (Svetunkov, Kourentzes and Ord 2022).
    Ces,
    /// Smoothed sizes of demands over smoothed intervals between them, per series (Croston 1972).
    Croston,
    /// Croston's method, corrected (Syntetos and Boylan 2005).
    Sba,
    /// Smoothed probability of demand times its smoothed size, per series (Teunter, Syntetos and Babai 2011).
    Tsb,
    /// A linear model over all series, its coefficients kept small (Hoerl and Kennard 1970).
    Ridge,
    /// Support vector regression over all series (Drucker et al. 1997).
    Svr,
    /// One regression tree over all series (Breiman et al. 1984).
    Tree,
    /// Gradient-boosted trees over all series.
    Gbt,
    /// One global dense encoder-decoder network over all series (Das et al. 2023, TiDE).
    Tide,
    /// Linear maps of trend and remainder, shared by all series (Zeng et al. 2023).
    Dlinear,
    /// A long short-term memory over all series (Wen et al. 2017).
    Lstm,
    /// Gated recurrent units over all series.
    Gru,
    /// A transformer over patches of all series and their covariates (Nie et al. 2023; Ansari et al. 2025).
    Transformer,
    /// The pretrained network that ships with the engine, as it is.
    Foundation,
}

/// One candidate of a fit, and how it did on the held-out windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The family.
    pub family: Family,
    /// Scores of the family alone.
    pub scores: Scores,
    /// Its weight in the combination, averaged over the series.
    pub weight: f64,
    /// Seconds that it took to learn and to forecast the windows.
    pub seconds: f64,
    /// Why it has no scores.
    pub failure: Option<String>,
}

/// Everything a fit needs to know besides the panel; already checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// Steps to forecast.
    pub horizon: usize,
    /// Levels of the quantiles to learn, ascending, each in (0, 1).
    pub quantile_levels: Vec<f64>,
    /// Steps at the end of every series held out for early stopping, combination, calibration and the report, in
    /// windows of the horizon; `None` holds out as many windows as the histories allow, three at most.
    pub validation_length: Option<usize>,
    /// Steps of history the model sees; `None` lets the family choose.
    pub context_length: Option<usize>,
    /// Upper bound of passes over the training windows; `None` lets the family choose.
    pub epochs: Option<usize>,
    /// Windows per optimiser step; `None` lets the family choose.
    pub batch_size: Option<usize>,
    /// Peak learning rate; `None` lets the family choose.
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay; `None` lets the family choose.
    pub weight_decay: Option<f64>,
    /// Dropout probability; `None` lets the family choose.
    pub dropout: Option<f64>,
    /// Width of hidden layers; `None` lets the family choose.
    pub hidden_size: Option<usize>,
    /// Layers or blocks of a network; `None` lets the family choose.
    pub layers: Option<usize>,
    /// Heads of attention; `None` lets the family choose.
    #[serde(default)]
    pub heads: Option<usize>,
    /// Steps of a patch; `None` lets the family choose.
    #[serde(default)]
    pub patch_length: Option<usize>,
    /// Most boosted trees; `None` lets the family choose.
    #[serde(default)]
    pub trees: Option<usize>,
    /// Leaves of a boosted tree; `None` lets the family choose.
    #[serde(default)]
    pub leaves: Option<usize>,
    /// What is minimised; `None` lets the family choose, which is what `quantile` names where a family knows it. Whatever
    /// it is, the point forecast is the median, unless [`PredictOptions::mean`] asks for the mean.
    #[serde(default)]
    pub objective: Option<ObjectiveKind>,
    /// What moves the parameters of a network; `None` lets the family choose.
    #[serde(default)]
    pub optimizer: Option<OptimizerKind>,
    /// Epochs without improvement before the fit stops; `None` lets the family choose.
    pub early_stop: Option<usize>,
    /// Wall-clock budget of the fit in seconds.
    pub max_seconds: Option<f64>,
    /// What outliers become in what models learn from and look back at.
    #[serde(default)]
    pub outliers: Outliers,
    /// Seed of all randomness.
    pub seed: u64,
    /// Foundation models adapt to the panel before they forecast it.
    #[serde(default)]
    pub fine_tune: bool,
    /// Of a network that adapts, only what reads the forecasts from its last tokens learns.
    #[serde(default)]
    pub freeze_encoder: bool,
    /// Rank of what the matrices of a network learn when it adapts (Hu et al. 2022); `None` where they learn themselves.
    #[serde(default)]
    pub lora_rank: Option<usize>,
    /// Share of made-up examples among those that a network adapts by; `None` lets the family choose.
    #[serde(default)]
    pub replay: Option<f64>,
    /// Where networks learn; [`Placement::Auto`] is a card for pretrained ones alone, since batches of others are small.
    #[serde(skip)]
    pub device: Placement,
    /// The network that foundation models begin with; `None` is the one that ships with the engine.
    #[serde(skip)]
    pub base: Option<Base>,
    /// It learns from the forecasts of another model, too.
    #[serde(default)]
    pub distill: bool,
    /// Those forecasts.
    #[serde(skip)]
    pub taught: Option<Arc<Taught>>,
}

impl FitOptions {
    /// Sets an option by its word in SQL; words of no option of a fit do nothing.
    pub fn set(&mut self, option: &str, value: f64) {
        let count = Some(value as usize);
        match option {
            "context" => self.context_length = count,
            "epochs" => self.epochs = count,
            "batch_size" => self.batch_size = count,
            "dim" => self.hidden_size = count,
            "layers" => self.layers = count,
            "heads" => self.heads = count,
            "patch" => self.patch_length = count,
            "optimizer" => self.optimizer = OptimizerKind::ALL.get(value as usize).copied(),
            "early_stop" => self.early_stop = count,
            "trees" => self.trees = count,
            "leaves" => self.leaves = count,
            "seed" => self.seed = value as u64,
            "learning_rate" => self.learning_rate = Some(value),
            "weight_decay" => self.weight_decay = Some(value),
            "dropout" => self.dropout = Some(value),
            "max_seconds" => self.max_seconds = Some(value),
            "lora_rank" => self.lora_rank = count,
            "freeze" => self.freeze_encoder = value > 0.0,
            "device" => self.device = Placement::at(value as usize),
            "replay" => self.replay = Some(value),
            "distill" => self.distill = value != 0.0,
            _ => {}
        }
    }
}

/// One line of the training log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochLog {
    /// Counted from 1.
    pub epoch: usize,
    /// Optimiser steps so far.
    pub step: usize,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Loss on the validation windows.
    pub valid_loss: f64,
    /// Learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// Training windows a second.
    pub rows_per_second: f64,
    /// Seconds since the fit began.
    pub seconds: f64,
}

/// Scores on the validation windows, beside seasonal naive on the same windows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Series that were scored.
    pub n_series: usize,
    /// Points that were scored.
    pub n: usize,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Pooled root mean squared error.
    pub rmse: Option<f64>,
    /// Sum of absolute errors over sum of absolute actuals.
    pub wape: Option<f64>,
    /// M4 variant, 0 to 200.
    pub smape: Option<f64>,
    /// Scaled by the in-sample seasonal mean absolute difference.
    pub mase: Option<f64>,
    /// M5 variant.
    pub rmsse: Option<f64>,
    /// Sum of (forecast - actual) over sum of absolute actuals.
    pub bias: Option<f64>,
    /// Mean quantile loss over the model's levels.
    pub quantile_loss: Option<f64>,
    /// Share of actuals inside the widest interval of the model's levels.
    pub coverage: Option<f64>,
    /// Mean width of that interval.
    pub interval_width: Option<f64>,
}

impl Scores {
    /// What forecasts are ranked by, the least first: MASE, or WAPE where no scale tells anything.
    pub fn rank(&self) -> f64 {
        self.mase.or(self.wape).unwrap_or(f64::INFINITY)
    }
}

/// What a fit tells besides the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Epochs run (0 for families without epochs).
    pub epochs: usize,
    /// Trainable parameters.
    pub parameters: usize,
    /// Training windows per epoch.
    pub windows: usize,
    /// The log, one line an epoch.
    pub log: Vec<EpochLog>,
    /// Scores of the model on the validation windows.
    pub scores: Scores,
    /// Scores of seasonal naive on the same windows.
    pub naive: Scores,
    /// All candidates, the best first, seasonal naive always among them.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// Windows that were held out, and their steps.
    #[serde(default)]
    pub held_out: (usize, usize),
    /// Outliers that were treated.
    #[serde(default)]
    pub outliers: usize,
    /// The scores by series.
    #[serde(skip)]
    pub series: SeriesScores,
    /// Trials of the search for options, where there was one.
    #[serde(default)]
    pub trials: Vec<Trial>,
}

/// Scores on the validation windows by series, in the order of the panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesScores {
    /// Of the model.
    pub model: Vec<ScoreSums>,
    /// Of seasonal naive.
    pub naive: Vec<ScoreSums>,
}

/// One trial of a search for options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was tried: options by their words in SQL.
    pub options: Vec<(String, f64)>,
    /// Share of the usual work that it was given.
    pub effort: f64,
    /// Scores on the validation windows; none where it failed.
    pub scores: Option<Scores>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Why it has no scores.
    pub failure: Option<String>,
}

/// What is asked of a fitted model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PredictOptions {
    /// Steps to forecast after the history of each series.
    pub horizon: usize,
    /// Levels of the quantiles wanted, ascending, each in (0, 1).
    pub quantile_levels: Vec<f64>,
    /// Levels of the central intervals wanted, each in (0, 1).
    pub interval_levels: Vec<f64>,
    /// The point forecast is the mean, not the median.
    pub mean: bool,
    /// Sample paths wanted.
    pub paths: Option<PathOptions>,
}

/// Why a series did not get the model's plain forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing was ever observed: the values of the forecast mean nothing.
    NoHistory,
    /// Too little history for the model's context.
    ShortHistory,
    /// The model failed or went out of bounds; seasonal naive stands in.
    FallbackNaive,
    /// The horizon is longer than the one that was trained.
    Extended,
    /// Known covariates ended before the horizon; last values were carried.
    CovariatesCarried,
    /// All observed values are equal.
    ConstantSeries,
    /// Nothing was sold for so long that nothing is expected.
    EndedSeries,
    /// The series was not in the training panel: what is like it speaks for it.
    ColdStart,
}

/// Forecasts of all series of a panel; finite, quantiles ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Forecast {
    /// Steps per series.
    pub horizon: usize,
    /// Levels of `quantiles`.
    pub quantile_levels: Vec<f64>,
    /// `[series, horizon]`, the point forecast.
    pub point: Vec<f64>,
    /// `[series, horizon, level]`.
    pub quantiles: Vec<f64>,
    /// `[series, horizon, interval level]`, lower and upper bound; of the intervals that were asked for.
    pub intervals: Vec<(f64, f64)>,
    /// `[series, path, horizon]`; of the paths that were asked for.
    pub paths: Vec<f64>,
    /// `[series]`.
    pub status: Vec<Option<Status>>,
}

/// What a fit will need, known before it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FitEstimate {
    /// Trainable parameters.
    pub parameters: usize,
    /// Training windows per epoch.
    pub windows: usize,
    /// Peak bytes besides the panel itself.
    pub memory_bytes: usize,
    /// Seconds on this machine.
    pub seconds: f64,
}

/// A model that was fitted; immutable, shared between threads.
pub trait FittedForecaster: fmt::Debug + Send + Sync {
    /// Forecasts every series of the panel from the end of its history.
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast>;

    /// Forecasts every series and every sum of a hierarchy; the panel has a series for each node, as
    /// [`Hierarchy::aggregate`] makes it. Models that were fitted to a hierarchy do so coherently, others forecast every
    /// node for itself.
    fn predict_coherent(
        &self,
        panel: &Panel,
        _hierarchy: &Hierarchy,
        options: &PredictOptions,
        control: &Control,
    ) -> Result<Forecast> {
        self.predict(panel, options, control)
    }

    /// Steps of history that [`FittedForecaster::predict`] looks at; `None` means all of it.
    fn context_length(&self) -> Option<usize>;

    /// True where it forecasts series without a history, by what is told of them.
    fn tells_new_series(&self) -> bool {
        false
    }

    /// The columns of the rows that its learners of rows see; `None` where none of them learns from rows.
    fn row_columns(&self) -> Option<Vec<RowColumn>>;

    /// These rows for the steps after the history of each series: `[series, horizon, column]`, NaN where a value is
    /// not known.
    fn featurize(&self, panel: &Panel, horizon: usize) -> Result<Vec<f32>>;

    /// The model as the bytes of one safetensors file; its configuration rides in the metadata.
    fn to_bytes(&self) -> Result<Vec<u8>>;
}
