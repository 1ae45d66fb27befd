//! Exponential smoothing in state space form, chosen per series by AICc (Hyndman et al. 2008).
//!
//! The candidates are the eight models of Petropoulos, Grushka-Cockayne, Siemsen and Spiliotis (2023),
//! "Wielding Occam's razor", from the crate `anofox-forecast`. Smoothing parameters are estimated on the
//! steps before validation; a forecast runs the chosen recursion over the history it is given.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anofox_forecast::core::TimeSeries;
use anofox_forecast::models::exponential::{AutoETS, AutoETSConfig, ETS, ETSSpec, ModelPool};
use anofox_forecast::models::{EtsExplanation, Explanation, Forecaster, Inspectable};
use chrono::DateTime;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{Holdout, LocalForecast};
use crate::ml::forecaster::{
    FitEstimate, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions, Status,
};
use crate::ml::models::container::{self, Data, Stored, Tensor};
use crate::ml::models::local::{self, LocalConfig, LocalModel};
use crate::ml::models::seasonal_naive;
use crate::ml::series::Panel;

/// Latest steps on which parameters are estimated, unless four seasons are more.
const ESTIMATION_LENGTH: usize = 300;
/// Fewest observations for a model of its own.
const OBSERVED_MIN: usize = 8;
/// Longest season that is modelled: longer ones have more states than data supports.
const SEASON_MAX: usize = 52;
/// Series between two looks at the control.
const SERIES_PER_CHECK: usize = 32;
/// Seconds to choose and estimate one series of [`ESTIMATION_LENGTH`] steps on one core.
const SECONDS_PER_SERIES: f64 = 0.06;
/// The candidates, and how they stand in a file.
const SPECIFICATIONS: [&str; 8] = ["ANN", "MNN", "AADN", "MADN", "ANA", "MNM", "AADA", "MADM"];
/// Smoothing parameters of a series in a file: alpha, beta, gamma, phi.
const PARAMETERS: usize = 4;

/// The model chosen for one series.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    /// Its place in [`SPECIFICATIONS`].
    specification: u8,
    alpha: f64,
    beta: Option<f64>,
    gamma: Option<f64>,
    phi: Option<f64>,
}

/// The models chosen for all series, by key; a series without one gets seasonal naive.
#[derive(Debug)]
struct Ets {
    choices: HashMap<String, Option<Choice>>,
}

#[derive(Debug)]
struct FittedEts {
    config: LocalConfig,
    model: Ets,
}

impl LocalModel for Ets {
    fn forecast(
        &self,
        panel: &Panel,
        i: usize,
        history: &[f64],
        horizon: usize,
    ) -> (LocalForecast, Option<Status>) {
        let naive = || seasonal_naive::forecast(history, panel.season_length, horizon);
        if let Some(special) = seasonal_naive::status(history, 1) {
            return (naive(), Some(special));
        }
        let known = self.choices.get(panel.keys[i].as_str());
        let choice = match known {
            Some(choice) => *choice,
            None => choose(history, panel.season_length),
        };
        let smoothed = choice.and_then(|choice| smooth(choice, history, panel.season_length, horizon));
        match (smoothed, known) {
            (Some(forecast), Some(_)) => (forecast, None),
            (Some(forecast), None) => (forecast, Some(Status::ColdStart)),
            (None, _) if observed(history) < OBSERVED_MIN => (naive(), Some(Status::ShortHistory)),
            (None, _) => (naive(), Some(Status::FallbackNaive)),
        }
    }
}

fn observed(history: &[f64]) -> usize {
    history.iter().filter(|y| !y.is_nan()).count()
}

/// The season that is modelled; 1 where it is too long or there are fewer than three of it.
fn modelled_season(season_length: usize, history: usize) -> usize {
    if season_length <= SEASON_MAX && history >= 3 * season_length { season_length } else { 1 }
}

/// The history from its first observation on, a missing value replaced by the latest one of its season or
/// else the latest of all.
fn completed(history: &[f64], season: usize) -> Vec<f64> {
    let first = history.iter().position(|y| !y.is_nan()).unwrap_or(history.len());
    let mut out = history[first..].to_vec();
    for row in 0..out.len() {
        if out[row].is_nan() {
            out[row] = if row >= season { out[row - season] } else { out[row - 1] };
        }
    }
    out
}

fn time_series(values: Vec<f64>) -> Option<TimeSeries> {
    let times = (0..values.len() as i64).map(|hour| DateTime::from_timestamp(hour * 3600, 0));
    TimeSeries::univariate(times.collect::<Option<Vec<_>>>()?, values).ok()
}

/// Chooses a model and estimates its parameters; `None` where none can be.
fn choose(history: &[f64], season_length: usize) -> Option<Choice> {
    if observed(history) < OBSERVED_MIN {
        return None;
    }
    let length = ESTIMATION_LENGTH.max(4 * season_length.min(SEASON_MAX));
    let latest = &history[history.len().saturating_sub(length)..];
    let season = modelled_season(season_length, latest.len());
    let values = completed(latest, season);
    let config = AutoETSConfig::with_period(season).with_model_pool(ModelPool::Reduced);
    // The library may panic on input it did not foresee: such a series falls back.
    let chosen = catch_unwind(AssertUnwindSafe(|| {
        let mut auto = AutoETS::with_config(config);
        auto.fit(&time_series(values)?).ok()?;
        match Inspectable::explanation(&auto).ok()? {
            Explanation::Ets(chosen) => Some(chosen),
            _ => None,
        }
    }));
    let EtsExplanation { spec, alpha, beta, gamma, phi, .. } = chosen.ok().flatten()?;
    let word: String = spec.trim_start_matches("ETS").chars().filter(char::is_ascii_alphabetic).collect();
    let specification = SPECIFICATIONS.iter().position(|known| word.eq_ignore_ascii_case(known))?;
    let specification = specification as u8;
    Some(Choice { specification, alpha, beta, gamma, phi }).filter(|choice| choice.alpha.is_finite())
}

/// Runs the chosen recursion over the history; `None` where it fails or leaves the bounds.
fn smooth(choice: Choice, history: &[f64], season_length: usize, horizon: usize) -> Option<LocalForecast> {
    let Choice { specification, alpha, beta, gamma, phi } = choice;
    let spec = ETSSpec::from_notation(SPECIFICATIONS.get(usize::from(specification))?).ok()?;
    let season = if spec.has_seasonal() { modelled_season(season_length, history.len()) } else { 1 };
    let values = completed(history, modelled_season(season_length, history.len()));
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut model = ETS::with_params(spec, season, alpha, beta, gamma, phi);
        model.fit(&time_series(values)?).ok()?;
        let point = model.predict(horizon).ok()?.primary().to_vec();
        let residuals: Vec<f64> = model.residuals()?.iter().copied().filter(|r| r.is_finite()).collect();
        Some((point, residuals))
    }));
    let (point, residuals) = run.ok().flatten()?;
    let (_, reach) = local::bounds(history);
    let sane = point.len() == horizon && point.iter().all(|y| y.is_finite() && y.abs() <= reach);
    sane.then(|| LocalForecast { point, residuals, level: local::level(history) })
}

/// Chooses a model for every series on the steps before validation, then calibrates on these.
pub(super) fn fit(
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    control.report(|p| p.phase = "fit");
    let holdout = Holdout::new(panel, options.validation_length);
    let model = Ets { choices: choose_all(holdout.panel(), control)? };
    let (calibrator, scores) = local::calibrate(&model, &holdout, options, control)?;
    let naive = seasonal_naive::scores(&holdout, options, control)?;
    let parameters = model.choices.values().flatten().map(|c| 1 + c.count()).sum();
    let config = LocalConfig { season_length: panel.season_length, horizon: options.horizon, calibrator };
    Ok((Arc::new(FittedEts { config, model }), local::report(parameters, scores, naive)))
}

fn choose_all(panel: &Panel, control: &Control) -> Result<HashMap<String, Option<Choice>>> {
    let mut choices = HashMap::with_capacity(panel.len());
    while choices.len() < panel.len() {
        control.check()?;
        let chunk = choices.len()..(choices.len() + SERIES_PER_CHECK).min(panel.len());
        let chosen: Vec<_> = chunk
            .into_par_iter()
            .map(|i| (panel.keys[i].clone(), choose(panel.history_of(i), panel.season_length)))
            .collect();
        choices.extend(chosen);
        control.report(|p| p.fraction = 0.9 * choices.len() as f64 / panel.len() as f64);
    }
    Ok(choices)
}

/// What a fit will need.
pub(super) fn estimate(panel: &Panel) -> FitEstimate {
    let threads = rayon::current_num_threads().max(1) as f64;
    FitEstimate {
        parameters: panel.len() * PARAMETERS,
        windows: panel.len(),
        memory_bytes: panel.bytes() + 16 * panel.target.len(),
        seconds: panel.len() as f64 * SECONDS_PER_SERIES / threads,
    }
}

impl Choice {
    /// Parameters besides alpha.
    fn count(&self) -> usize {
        [self.beta, self.gamma, self.phi].iter().flatten().count()
    }
}

impl FittedForecaster for FittedEts {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        local::predict(&self.model, &self.config, panel, options, control)
    }

    fn context_length(&self) -> Option<usize> {
        Some(local::context_length(self.config.season_length))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut keys: Vec<&String> = self.model.choices.keys().collect();
        keys.sort_unstable();
        let (mut text, mut ends, mut codes, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for key in &keys {
            text.extend_from_slice(key.as_bytes());
            let end = u32::try_from(text.len())
                .map_err(|_| Error::internal("the keys of the series are too long for a model file"))?;
            ends.push(end);
            let choice = self.model.choices[key.as_str()];
            codes.push(choice.map_or(u8::MAX, |c| c.specification));
            let absent = f64::NAN;
            values.extend(choice.map_or([absent; PARAMETERS], |c| {
                [c.alpha, c.beta.unwrap_or(absent), c.gamma.unwrap_or(absent), c.phi.unwrap_or(absent)]
            }));
        }
        let tensor = |name: &str, shape, data| Tensor { name: name.into(), shape, data };
        let tensors = vec![
            tensor("keys", vec![text.len()], Data::U8(text)),
            tensor("key_ends", vec![keys.len()], Data::U32(ends)),
            tensor("specifications", vec![keys.len()], Data::U8(codes)),
            tensor("parameters", vec![keys.len(), PARAMETERS], Data::F64(values)),
        ];
        let config = serde_json::to_string(&self.config)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        container::write("ets", config, tensors)
    }
}

/// The model in a file.
pub(super) fn load(stored: &Stored<'_>) -> Result<Arc<dyn FittedForecaster>> {
    let config: LocalConfig = stored.config()?;
    let (text, ends) = (stored.u8("keys")?, stored.u32("key_ends")?);
    let (codes, values) = (stored.u8("specifications")?, stored.f64("parameters")?);
    let unsound = || container::corrupt("its tensors do not fit together".into());
    if !config.is_sound() || codes.len() != ends.len() || values.len() != PARAMETERS * ends.len() {
        return Err(unsound());
    }
    let mut choices = HashMap::with_capacity(ends.len());
    let mut from = 0;
    for ((end, code), values) in ends.iter().zip(&codes).zip(values.chunks_exact(PARAMETERS)) {
        let bytes = text.get(from..*end as usize).ok_or_else(unsound)?;
        let key = std::str::from_utf8(bytes).map_err(|_| unsound())?;
        from = *end as usize;
        choices.insert(key.to_owned(), choice_of(*code, values).map_err(|()| unsound())?);
    }
    Ok(Arc::new(FittedEts { config, model: Ets { choices } }))
}

fn choice_of(code: u8, values: &[f64]) -> Result<Option<Choice>, ()> {
    let [alpha, beta, gamma, phi] = values else { return Err(()) };
    let given = |value: &f64| Some(*value).filter(|v| v.is_finite());
    match code {
        u8::MAX => Ok(None),
        code if usize::from(code) < SPECIFICATIONS.len() && alpha.is_finite() => Ok(Some(Choice {
            specification: code,
            alpha: *alpha,
            beta: given(beta),
            gamma: given(gamma),
            phi: given(phi),
        })),
        _ => Err(()),
    }
}
