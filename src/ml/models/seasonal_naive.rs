//! Seasonal naive: every step takes the latest observed value of its position in the season.
//!
//! With season 7 the forecast of next Monday is the last Monday that was observed, as in Hyndman and
//! Athanasopoulos, "Forecasting: Principles and Practice", 5.2; a missing value is passed over.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{Holdout, LocalForecast};
use crate::ml::forecaster::{
    FitEstimate, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions, Scores, Status,
};
use crate::ml::models::container::{self, Stored};
use crate::ml::models::local::{self, LocalConfig, LocalModel};
use crate::ml::series::Panel;

/// Rows a second that one core gets through, both passes of a fit included.
const ROWS_PER_SECOND: f64 = 5e6;

/// The rule itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeasonalNaive;

/// The rule and its intervals.
#[derive(Debug)]
struct FittedSeasonalNaive {
    config: LocalConfig,
}

impl LocalModel for SeasonalNaive {
    fn forecast(
        &self,
        panel: &Panel,
        _: usize,
        history: &[f64],
        horizon: usize,
    ) -> (LocalForecast, Option<Status>) {
        let season_length = panel.season_length.max(1);
        (forecast(history, season_length, horizon), status(history, season_length))
    }
}

/// The forecast of one series, and its errors wherever the rule could have been applied before.
///
/// Before a season is complete the rule is the last observed value, and so are the errors.
pub(super) fn forecast(history: &[f64], season_length: usize, horizon: usize) -> LocalForecast {
    let mut latest = vec![f64::NAN; season_length];
    let mut last = None;
    let mut residuals = Vec::with_capacity(history.len().saturating_sub(season_length));
    let mut changes = vec![];
    for (row, y) in history.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
        let position = &mut latest[row % season_length];
        if !position.is_nan() {
            residuals.push(y - *position);
        } else if let Some(last) = last {
            changes.push(y - last);
        }
        *position = *y;
        last = Some(*y);
    }
    if residuals.is_empty() {
        residuals = changes;
    }
    let at = |step: usize| latest[(history.len() + step) % season_length];
    let point =
        (0..horizon).map(|step| if at(step).is_nan() { last.unwrap_or(0.0) } else { at(step) }).collect();
    LocalForecast { point, residuals, level: local::level(history) }
}

/// What is special about a history: shorter than a season, or constant.
pub(super) fn status(history: &[f64], season_length: usize) -> Option<Status> {
    let mut observed = history.iter().filter(|y| !y.is_nan());
    let first = observed.next();
    let (mut count, mut constant) = (usize::from(first.is_some()), true);
    for y in observed {
        count += 1;
        constant &= Some(y) == first;
    }
    match (count, constant) {
        (0, _) => Some(Status::NoHistory),
        (1, _) => Some(Status::ShortHistory),
        (_, true) => Some(Status::ConstantSeries),
        (count, false) => (count < season_length).then_some(Status::ShortHistory),
    }
}

/// Scores of seasonal naive on held-out steps.
pub(super) fn scores(holdout: &Holdout, options: &FitOptions, control: &Control) -> Result<Scores> {
    Ok(local::calibrate(&SeasonalNaive, holdout, options, control)?.1)
}

/// Learns the intervals of the rule on the validation steps.
pub(super) fn fit(
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    control.report(|p| p.phase = "fit");
    let holdout = Holdout::new(panel, options.validation_length);
    let (calibrator, scores) = local::calibrate(&SeasonalNaive, &holdout, options, control)?;
    control.report(|p| p.fraction = 1.0);
    let report = local::report(0, scores.clone(), scores);
    let config = LocalConfig { season_length: panel.season_length, horizon: options.horizon, calibrator };
    Ok((Arc::new(FittedSeasonalNaive { config }), report))
}

/// What a fit will need.
pub(super) fn estimate(panel: &Panel) -> FitEstimate {
    let rows = panel.target.len();
    FitEstimate {
        memory_bytes: panel.bytes() + 8 * rows,
        seconds: rows as f64 / ROWS_PER_SECOND / rayon::current_num_threads().max(1) as f64,
        ..FitEstimate::default()
    }
}

/// The model in a file.
pub(super) fn load(stored: &Stored<'_>) -> Result<Arc<dyn FittedForecaster>> {
    let config: LocalConfig = stored.config()?;
    match config.is_sound() {
        true => Ok(Arc::new(FittedSeasonalNaive { config })),
        false => Err(container::corrupt("its intervals are not finite".into())),
    }
}

impl FittedForecaster for FittedSeasonalNaive {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        local::predict(&SeasonalNaive, &self.config, panel, options, control)
    }

    fn context_length(&self) -> Option<usize> {
        Some(local::context_length(self.config.season_length))
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let config = serde_json::to_string(&self.config)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        container::write("seasonal_naive", config, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: f64 = f64::NAN;

    #[test]
    fn missing_values_are_passed_over() {
        let history = [1.0, 2.0, 3.0, 4.0, NULL, 6.0, 7.0];
        assert_eq!(forecast(&history, 3, 4).point, [2.0, 6.0, 7.0, 2.0]);
        assert_eq!(forecast(&history, 3, 4).residuals, [3.0, 3.0, 3.0]);
        assert_eq!(forecast(&[5.0, NULL, 7.0, 4.0], 7, 1).residuals, [2.0, -3.0]);
    }

    #[test]
    fn degenerate_histories_have_finite_forecasts_and_a_status() {
        for (history, point, expected) in [
            (&[][..], 0.0, Some(Status::NoHistory)),
            (&[NULL, NULL], 0.0, Some(Status::NoHistory)),
            (&[4.0], 4.0, Some(Status::ShortHistory)),
            (&[4.0, 5.0], 5.0, Some(Status::ShortHistory)),
            (&[0.0; 30], 0.0, Some(Status::ConstantSeries)),
            (&[2.5; 3], 2.5, Some(Status::ConstantSeries)),
        ] {
            let last = forecast(history, 7, 9).point[8 - history.len() % 7 % 2];
            assert_eq!((last, status(history, 7)), (point, expected), "{history:?}");
        }
    }
}
