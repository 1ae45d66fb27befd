//! What families that forecast each series from its own history have in common.

use std::fmt;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{Calibrator, Holdout, LocalForecast};
use crate::ml::forecaster::{FitOptions, FitReport, Forecast, PredictOptions, Scores, Status};
use crate::ml::series::Panel;

/// Series forecast between two looks at the control.
const SERIES_PER_CHECK: usize = 256;
/// Windows at the end of every series from which intervals are learnt.
const CALIBRATION_WINDOWS: usize = 5;
/// Forecasts beyond so many times the largest value ever seen are not believed.
pub(super) const REACH: f64 = 10.0;

/// A rule that forecasts one series from its own history.
pub(super) trait LocalModel: fmt::Debug + Sync {
    /// Point forecast and residuals of series `i` of the panel, whose history is `history`.
    fn forecast(
        &self,
        panel: &Panel,
        i: usize,
        history: &[f64],
        horizon: usize,
    ) -> (LocalForecast, Option<Status>);
}

/// Steps of history that local models look at: the latest thousand, or four seasons.
pub(super) fn context_length(season_length: usize) -> usize {
    season_length.saturating_mul(4).max(1000)
}

/// Forecasts of all series from `cut` steps before the end of their history, in parallel, in order.
pub(super) fn forecast_all(
    model: &dyn LocalModel,
    panel: &Panel,
    cut: usize,
    horizon: usize,
    control: &Control,
) -> Result<Vec<(LocalForecast, Option<Status>)>> {
    let mut out = Vec::with_capacity(panel.len());
    let context = context_length(panel.season_length);
    while out.len() < panel.len() {
        control.check()?;
        let chunk = out.len()..(out.len() + SERIES_PER_CHECK).min(panel.len());
        let forecasts: Vec<_> = chunk
            .into_par_iter()
            .map(|i| {
                let history = panel.history_of(i);
                let history = &history[..history.len().saturating_sub(cut)];
                let latest = &history[history.len().saturating_sub(context)..];
                model.forecast(panel, i, latest, horizon)
            })
            .collect();
        out.extend(forecasts);
    }
    Ok(out)
}

/// What a fit of a local model learns besides the model itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LocalConfig {
    pub(super) season_length: usize,
    /// Steps that were asked for when the model was fitted.
    pub(super) horizon: usize,
    pub(super) calibrator: Calibrator,
}

impl LocalConfig {
    /// True when the numbers are such as a fit can have written.
    pub(super) fn is_sound(&self) -> bool {
        self.season_length > 0 && self.calibrator.is_sound()
    }
}

/// Forecasts with calibrated quantiles, finite, and not negative where the history is not.
pub(super) fn predict(
    model: &dyn LocalModel,
    config: &LocalConfig,
    panel: &Panel,
    options: &PredictOptions,
    control: &Control,
) -> Result<Forecast> {
    if options.horizon == 0 {
        return Err(Error::internal("a forecast of 0 steps was asked for"));
    }
    let mut forecasts = forecast_all(model, panel, 0, options.horizon, control)?;
    if options.horizon > config.horizon {
        forecasts.iter_mut().for_each(|(_, status)| *status = status.or(Some(Status::Extended)));
    }
    Ok(assemble(panel, &forecasts, &config.calibrator, options))
}

fn assemble(
    panel: &Panel,
    forecasts: &[(LocalForecast, Option<Status>)],
    calibrator: &Calibrator,
    options: &PredictOptions,
) -> Forecast {
    let quantile_levels = options.quantile_levels.clone();
    let mut point = Vec::with_capacity(panel.len() * options.horizon);
    let mut quantiles = Vec::with_capacity(panel.len() * options.horizon * quantile_levels.len());
    for (i, (forecast, _)) in forecasts.iter().enumerate() {
        let (low, high) = bounds(panel.history_of(i));
        point.extend(forecast.point.iter().map(|y| y.clamp(low, high)));
        quantiles.extend(calibrator.quantiles(forecast, &quantile_levels).iter().map(|q| q.clamp(low, high)));
    }
    let status = forecasts.iter().map(|(_, status)| *status).collect();
    Forecast { horizon: options.horizon, quantile_levels, point, quantiles, status }
}

/// The values that a forecast of this history may take.
pub(super) fn bounds(history: &[f64]) -> (f64, f64) {
    let observed = history.iter().filter(|y| !y.is_nan());
    let (largest, least) = observed.fold((0.0f64, 0.0f64), |(big, low), y| (big.max(y.abs()), low.min(*y)));
    let reach = (REACH * largest).min(f64::MAX / 4.0);
    (if least < 0.0 { -reach } else { 0.0 }, reach)
}

/// What a fit of a local model finds on the last steps of every series: the calibrator, from several
/// windows of the validation length, and the out-of-sample scores of the last window.
pub(super) fn calibrate(
    model: &dyn LocalModel,
    holdout: &Holdout,
    options: &FitOptions,
    control: &Control,
) -> Result<(Calibrator, Scores)> {
    control.report(|p| p.phase = "calibrate");
    let (panel, length) = (holdout.panel(), holdout.length());
    if length == 0 {
        let forecasts = plain(&forecast_all(model, panel, 0, 1, control)?);
        let unknown = vec![f64::NAN; panel.len()];
        return Ok((Calibrator::fit(&forecasts, &unknown, 1, panel.season_length), Scores::default()));
    }
    let last = forecast_all(model, panel, 0, length, control)?;
    let mut forecasts = plain(&last);
    let mut actual = holdout.actual().to_vec();
    for window in 1..CALIBRATION_WINDOWS {
        let back = window * length;
        forecasts.extend(plain(&forecast_all(model, panel, back, length, control)?));
        (0..panel.len()).for_each(|i| actual.extend(held_out(panel.history_of(i), back, length)));
    }
    let fit = |from: usize| {
        Calibrator::fit(&forecasts[from..], &actual[from * length..], length, panel.season_length)
    };
    // The scored window is the first; its intervals come from those before it in time.
    let (calibrator, earlier) = (fit(0), fit(panel.len()));
    let asked = PredictOptions { horizon: length, quantile_levels: options.quantile_levels.clone() };
    let scores = holdout.scores(&assemble(panel, &last, &earlier, &asked));
    Ok((calibrator, scores))
}

fn plain(forecasts: &[(LocalForecast, Option<Status>)]) -> Vec<LocalForecast> {
    forecasts.iter().map(|(forecast, _)| forecast.clone()).collect()
}

/// `length` steps that begin `back` steps before the end; missing where nothing is left before them.
fn held_out(history: &[f64], back: usize, length: usize) -> impl Iterator<Item = f64> + '_ {
    let begin = history.len().checked_sub(back).filter(|begin| *begin > 0);
    (0..length).map(move |step| begin.map_or(f64::NAN, |begin| history[begin + step]))
}

/// The report of a family without epochs.
pub(super) fn report(parameters: usize, scores: Scores, naive: Scores) -> FitReport {
    FitReport { parameters, scores, naive, ..FitReport::default() }
}

/// Mean of the absolute observed values; 0 without any.
pub(super) fn level(history: &[f64]) -> f64 {
    let observed = history.iter().filter(|y| !y.is_nan());
    let (sum, n) = observed.fold((0.0, 0.0), |(sum, n), y| (sum + y.abs(), n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}
