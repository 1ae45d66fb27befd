//! What families that forecast each series from its own history have in common.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{LEVELS, PointForecast, Residuals, WIDTH, is_intermittent};
use crate::ml::forecaster::{FitEstimate, Forecast, Status};
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::{Learner, Learnt, Lesson, Model, Saved};
use crate::ml::models::seasonal_naive;
use crate::ml::series::Panel;

/// Series between two looks at the control.
const SERIES_PER_CHECK: usize = 32;
/// Series whose errors are pooled.
const POOLED_SERIES_MAX: usize = 2_000;
/// Bytes of a series in the table of parameters besides its key and what is chosen for it.
const BYTES_PER_SERIES: usize = 96;
/// Fewest observations for a rule with parameters.
pub(super) const OBSERVED_MIN: usize = 8;
/// Forecasts beyond so many times the largest value ever seen are not believed.
const REACH: f64 = 10.0;

/// Latest steps on which parameters are estimated, unless so many seasons are more.
const ESTIMATION_LENGTH: usize = 300;
/// Seasons on which parameters are estimated, at least.
const ESTIMATION_SEASONS: usize = 5;

/// A rule that forecasts one series from its own history.
pub(super) trait Rule: fmt::Debug + Send + Sync + 'static {
    /// Parameters of a series.
    const PARAMETERS: usize;
    /// Seconds to choose the parameters of a series of [`CONTEXT_LENGTH`] steps on one core.
    const SECONDS: f64;

    /// Chooses the parameters of a series; `None` where nothing can be chosen.
    fn choose(history: &[f64], season_length: usize) -> Option<Vec<f64>>;

    /// Forecasts with these parameters; `None` where the rule does not apply.
    fn run(
        parameters: &[f64],
        history: &[f64],
        season_length: usize,
        horizon: usize,
    ) -> Option<PointForecast>;
}

/// Steps of history that local models look at, unless four seasons are more.
pub(super) const CONTEXT_LENGTH: usize = 1000;

/// A family that is a rule.
pub(super) struct LocalLearner<R>(PhantomData<R>);

impl<R> LocalLearner<R> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// A rule with the parameters of all series by their keys; a series without any gets seasonal naive.
#[derive(Debug)]
struct Local<R> {
    config: LocalConfig,
    parameters: HashMap<String, Option<Vec<f64>>>,
    rule: PhantomData<R>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LocalConfig {
    season_length: usize,
    residuals: Residuals,
}

impl<R: Rule> Learner for LocalLearner<R> {
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt> {
        let fitted = Local::<R>::fit(lesson)?.ok_or_else(|| {
            Error::data("not all series were learnt when its share of max_seconds was over")
                .with_hint("give it more seconds, or USING seasonal_naive")
        })?;
        let model: Arc<dyn Model> = Arc::new(fitted);
        Ok(Learnt::from(model))
    }

    fn estimate(&self, lesson: &Lesson<'_>) -> Result<FitEstimate> {
        let panel = lesson.panel;
        let threads = rayon::current_num_threads().max(1) as f64;
        let context = context_length(panel.season_length) as f64;
        let lengths: f64 = panel.history.iter().map(|n| (*n as f64 / context).min(1.0)).sum();
        let pooled = panel.history.iter().take(POOLED_SERIES_MAX).map(|n| (*n).min(context as usize));
        let keys: usize = panel.keys.iter().map(String::len).sum();
        Ok(FitEstimate {
            parameters: panel.len() * R::PARAMETERS,
            windows: 0,
            memory_bytes: keys
                + panel.len() * (BYTES_PER_SERIES + 8 * R::PARAMETERS)
                + 16 * pooled.sum::<usize>(),
            seconds: lengths * R::SECONDS / threads,
        })
    }

    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
        let config: LocalConfig = stored.config()?;
        let unsound = || container::corrupt("its tensors do not fit together".into());
        if config.season_length == 0 || !config.residuals.is_sound() {
            return Err(unsound());
        }
        let (keys, values) = (stored.texts("keys", "key_ends")?, stored.f64("parameters")?);
        if values.len() != R::PARAMETERS * keys.len() {
            return Err(unsound());
        }
        let mut parameters = HashMap::with_capacity(keys.len());
        for (i, key) in keys.into_iter().enumerate() {
            let own = &values[i * R::PARAMETERS..(i + 1) * R::PARAMETERS];
            let chosen = own.iter().all(|v| v.is_finite()).then(|| own.to_vec());
            parameters.insert(key, chosen);
        }
        Ok(Arc::new(Local::<R> { config, parameters, rule: PhantomData }))
    }
}

impl<R: Rule> Local<R> {
    /// None where time is over before all series are learnt.
    fn fit(lesson: &Lesson<'_>) -> Result<Option<Self>> {
        // A rule without parameters has nothing to learn and is always in time.
        let deadline = lesson.deadline.filter(|_| R::PARAMETERS > 0);
        let season_length = lesson.panel.season_length.max(1);
        let mut model = Self {
            config: LocalConfig { season_length, residuals: Residuals::default() },
            parameters: HashMap::with_capacity(lesson.panel.len()),
            rule: PhantomData,
        };
        let choose = |i: usize| {
            let history = latest(lesson.history_of(i), season_length);
            (lesson.panel.keys[i].clone(), choose::<R>(history, season_length))
        };
        let Some(chosen) = in_chunks(lesson.panel.len(), lesson.control, deadline, choose)? else {
            return Ok(None);
        };
        model.parameters.extend(chosen);
        let step = lesson.panel.len().div_ceil(POOLED_SERIES_MAX).max(1);
        let pooled = in_chunks(lesson.panel.len().div_ceil(step), lesson.control, None, |n| {
            let i = n * step;
            model.forecast(&lesson.panel.keys[i], latest(lesson.history_of(i), season_length), 1).0
        })?;
        model.config.residuals = Residuals::fit(&pooled.unwrap_or_default());
        Ok(Some(model))
    }

    fn forecast(&self, key: &str, history: &[f64], horizon: usize) -> (PointForecast, Option<Status>) {
        let season = self.config.season_length;
        let naive = || seasonal_naive::forecast(history, season, horizon);
        if R::PARAMETERS == 0 {
            return (naive(), seasonal_naive::status(history, season));
        }
        if let Some(special) = seasonal_naive::status(history, 1) {
            return (naive(), Some(special));
        }
        let known = self.parameters.get(key);
        let parameters = match known {
            Some(parameters) => parameters.clone(),
            None => choose::<R>(history, season),
        };
        let forecast = parameters.and_then(|p| R::run(&p, history, season, horizon));
        let reach = bounds(history).1;
        let sane = |f: &PointForecast| {
            f.point.len() == horizon
                && f.point.iter().all(|y| y.abs() <= reach)
                && f.residuals.iter().chain(&f.growth).all(|v| v.is_finite())
        };
        match (forecast.filter(sane), known) {
            (Some(forecast), Some(_)) => (forecast, None),
            (Some(forecast), None) => (forecast, Some(Status::ColdStart)),
            (None, _) if observed(history) < OBSERVED_MIN => (naive(), Some(Status::ShortHistory)),
            (None, _) => (naive(), Some(Status::FallbackNaive)),
        }
    }
}

impl<R: Rule> Model for Local<R> {
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        if horizon == 0 {
            return Err(Error::internal("a forecast of 0 steps was asked for"));
        }
        let forecasts = in_chunks(panel.len(), control, None, |i| {
            let history = latest(panel.history_of(i), self.config.season_length);
            let (forecast, status) = self.forecast(&panel.keys[i], history, horizon);
            let quantiles = self.config.residuals.quantiles(&forecast);
            (forecast.point, quantiles, status)
        })?;
        let mut out = Forecast {
            horizon,
            quantile_levels: LEVELS.to_vec(),
            point: Vec::with_capacity(panel.len() * horizon),
            quantiles: Vec::with_capacity(panel.len() * horizon * WIDTH),
            status: Vec::with_capacity(panel.len()),
            ..Forecast::default()
        };
        for (point, quantiles, status) in forecasts.unwrap_or_default() {
            out.point.extend(point);
            out.quantiles.extend(quantiles);
            out.status.push(status);
        }
        Ok(out)
    }

    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        Ok(match Self::fit(lesson)? {
            Some(learnt) => Arc::new(learnt),
            None => self,
        })
    }

    fn context_length(&self) -> usize {
        context_length(self.config.season_length)
    }

    fn parameters(&self) -> usize {
        R::PARAMETERS * self.parameters.values().flatten().count()
    }

    fn save(&self) -> Result<Saved> {
        let mut keys: Vec<&String> = self.parameters.keys().collect();
        keys.sort_unstable();
        let ((text, ends), mut values) = (container::texts(&keys)?, Vec::new());
        for key in &keys {
            match &self.parameters[key.as_str()] {
                Some(own) => values.extend_from_slice(own),
                None => values.extend(std::iter::repeat_n(f64::NAN, R::PARAMETERS)),
            }
        }
        Ok(Saved::new(&self.config)?
            .with("keys", vec![text.len()], Data::U8(text))
            .with("key_ends", vec![keys.len()], Data::U32(ends))
            .with("parameters", vec![keys.len(), R::PARAMETERS], Data::F64(values)))
    }
}

fn choose<R: Rule>(history: &[f64], season_length: usize) -> Option<Vec<f64>> {
    if R::PARAMETERS == 0 {
        return Some(Vec::new());
    }
    if observed(history) < OBSERVED_MIN {
        return None;
    }
    R::choose(history, season_length).filter(|p| p.len() == R::PARAMETERS && p.iter().all(|v| v.is_finite()))
}

/// What `f` makes of every index below `n`, in order; in parallel, with looks at the control. None where the deadline
/// comes first.
fn in_chunks<T: Send>(
    n: usize,
    control: &Control,
    deadline: Option<Instant>,
    f: impl Fn(usize) -> T + Sync,
) -> Result<Option<Vec<T>>> {
    let mut out = Vec::with_capacity(n);
    while out.len() < n {
        control.check()?;
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(None);
        }
        let chunk = out.len()..(out.len() + SERIES_PER_CHECK).min(n);
        let part: Vec<T> = chunk.into_par_iter().map(&f).collect();
        out.extend(part);
    }
    Ok(Some(out))
}

fn context_length(season_length: usize) -> usize {
    season_length.saturating_mul(4).max(CONTEXT_LENGTH)
}

/// The part of a history that a rule looks at: its latest steps, from the first sale on.
fn latest(history: &[f64], season_length: usize) -> &[f64] {
    let history = &history[history.len().saturating_sub(context_length(season_length))..];
    &history[before_launch(history, season_length)..]
}

/// Steps before an item was launched: more than a season of nothing before demand in most periods.
fn before_launch(history: &[f64], season_length: usize) -> usize {
    let launch = history.iter().position(|y| !y.is_nan() && *y != 0.0).unwrap_or(0);
    let since = &history[launch..];
    if launch > season_length && observed(since) >= OBSERVED_MIN && !is_intermittent(since) {
        launch
    } else {
        0
    }
}

/// Number of observed values.
pub(super) fn observed(history: &[f64]) -> usize {
    history.iter().filter(|y| !y.is_nan()).count()
}

/// The values that a forecast of this history may take: not negative where the history is not.
pub(super) fn bounds(history: &[f64]) -> (f64, f64) {
    let observed = history.iter().filter(|y| !y.is_nan());
    let (largest, least) = observed.fold((0.0f64, 0.0f64), |(big, low), y| (big.max(y.abs()), low.min(*y)));
    let reach = (REACH * largest).min(f64::MAX / 4.0);
    (if least < 0.0 { -reach } else { 0.0 }, reach)
}

/// Mean of the absolute observed values; 0 without any.
pub(super) fn level(history: &[f64]) -> f64 {
    let observed = history.iter().filter(|y| !y.is_nan());
    let (sum, n) = observed.fold((0.0, 0.0), |(sum, n), y| (sum + y.abs(), n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

/// The history from its first observation on, a missing value replaced by the latest one of its season or
/// else the latest of all.
pub(super) fn completed(history: &[f64], season: usize) -> Vec<f64> {
    let first = history.iter().position(|y| !y.is_nan()).unwrap_or(history.len());
    let mut out = history[first..].to_vec();
    for row in 0..out.len() {
        if out[row].is_nan() {
            out[row] = if row >= season { out[row - season] } else { out[row - 1] };
        }
    }
    out
}

/// The completed values that parameters are estimated on: the latest ones.
pub(super) fn estimation_values(history: &[f64], season: usize) -> Vec<f64> {
    let length = ESTIMATION_LENGTH.max(ESTIMATION_SEASONS.saturating_mul(season));
    completed(&history[history.len().saturating_sub(length)..], season)
}

/// Growth of the errors of a rule that adds a step's error to the next: the root of the number of seasons.
pub(super) fn root_growth(horizon: usize, season_length: usize) -> Vec<f64> {
    (0..horizon).map(|t| (1.0 + (t / season_length.max(1)) as f64).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_before_the_launch_are_none_of_its_history() {
        let launched = |zeros: usize, sales: &[f64]| [vec![0.0; zeros], sales.repeat(3)].concat();
        for (history, before) in [
            (launched(30, &[4.0, 5.0, 6.0, 7.0, 0.0]), 30),
            (launched(7, &[4.0, 5.0, 6.0]), 0),
            (launched(30, &[4.0, 0.0, 0.0, 5.0]), 0),
            (launched(30, &[4.0, 5.0]), 0),
            (vec![0.0; 40], 0),
            ([vec![f64::NAN; 20], launched(2, &[4.0, 5.0, 6.0])].concat(), 22),
        ] {
            assert_eq!(before_launch(&history, 7), before, "{history:?}");
            assert_eq!(latest(&history, 7).len(), history.len() - before);
        }
    }
}
