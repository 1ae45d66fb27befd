//! What a fitted model teaches another one: its forecasts of what both have seen.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::features::Taught;
use crate::ml::forecaster::{FitOptions, FittedForecaster, PredictOptions, Status};
use crate::ml::models::fitting::Plan;
use crate::ml::series::Panel;

/// Windows of every series that are told, and rows at least, besides those that are held out: the latest ones.
const WINDOWS: usize = 12;
const ROWS_MIN: usize = 48;
/// Levels that are told of every step: the middles of ten equal parts.
const LEVELS: usize = 10;
/// Share of the progress of a training that the forecasts take, and of its seconds at most.
pub const TAUGHT_SHARE: f64 = 0.2;

/// The forecasts of a model of the latest windows of a panel, each from the history before it; as long as the horizon.
pub fn taught(
    teacher: &dyn FittedForecaster,
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<Taught> {
    let (started, horizon, windows) = (Instant::now(), options.horizon, windows(panel, options));
    let wanted = PredictOptions {
        horizon,
        quantile_levels: (0..LEVELS).map(|n| (n as f64 + 0.5) / LEVELS as f64).collect(),
        ..PredictOptions::default()
    };
    let mut taught = Taught::new(panel, windows * horizon, LEVELS);
    for window in 1..=windows {
        let late = |limit: f64| started.elapsed().as_secs_f64() > TAUGHT_SHARE * limit;
        if options.max_seconds.is_some_and(late) {
            break;
        }
        control.report(|p| {
            (p.phase, p.fraction) = ("ask the teacher", window as f64 / (windows + 1) as f64);
        });
        let back = window * horizon;
        let forecast = teacher.predict(&panel.hold_out(back), &wanted, control)?;
        let of_series = forecast.quantiles.chunks_exact(horizon * LEVELS).zip(&forecast.status);
        for (series, (quantiles, status)) in of_series.enumerate() {
            if panel.history[series] > back && knows(*status) {
                taught.tell(series, panel.history[series] - back, quantiles);
            }
        }
    }
    if taught.is_empty() {
        let message =
            format!("no series has enough rows before {horizon} steps for the teacher to tell them");
        return Err(Error::data(message).with_hint("shorten HORIZON, or leave distill away"));
    }
    Ok(taught)
}

/// Windows that are told.
fn windows(panel: &Panel, options: &FitOptions) -> usize {
    let horizon = options.horizon.max(1);
    let longest = panel.history.iter().copied().max().unwrap_or(0);
    let held_out = Plan::new(panel, options).steps().div_ceil(horizon);
    (WINDOWS.max(ROWS_MIN.div_ceil(horizon)) + held_out).min(longest.saturating_sub(1) / horizon)
}

/// Bytes that the forecasts take.
pub fn taught_bytes(panel: &Panel, options: &FitOptions) -> usize {
    Taught::bytes(panel.len(), windows(panel, options) * options.horizon, LEVELS)
}

/// False where the forecast is not the model's own.
fn knows(status: Option<Status>) -> bool {
    !matches!(
        status,
        Some(Status::NoHistory | Status::ShortHistory | Status::FallbackNaive | Status::ColdStart)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel;
    use crate::ml::forecaster::Family;
    use crate::ml::models::{fit, score};
    use crate::ml::rng::Rng;
    use std::sync::Arc;

    /// Of noise around what the season says a student learns less than a teacher that has seen more of it.
    #[test]
    fn what_is_told_is_learnt() {
        let mut panel = test_panel(8, 120);
        let mut rng = Rng::new(4);
        panel.target.iter_mut().for_each(|y| *y = (*y + 20.0 * rng.normal()).max(0.0));
        let control = Control::default();
        let options = FitOptions {
            horizon: 7,
            quantile_levels: vec![0.1, 0.5, 0.9],
            epochs: Some(6),
            seed: 3,
            ..FitOptions::default()
        };
        let (teacher, _) = fit(&[Family::Ets, Family::Gbt], &panel, &options, &control).unwrap();
        let told = Arc::new(taught(&*teacher, &panel, &options, &control).unwrap());
        assert_eq!(*told, taught(&*teacher, &panel, &options, &control).unwrap());
        for family in [Family::Dlinear, Family::Gbt] {
            let with = FitOptions { distill: true, taught: Some(Arc::clone(&told)), ..options.clone() };
            let (alone, _) = fit(&[family], &panel, &options, &control).unwrap();
            let (student, _) = fit(&[family], &panel, &with, &control).unwrap();
            let wanted =
                PredictOptions { horizon: 7, quantile_levels: vec![0.5], ..PredictOptions::default() };
            let said =
                |model: &Arc<dyn FittedForecaster>| model.predict(&panel, &wanted, &control).unwrap().point;
            let (teacher, alone, student) = (said(&teacher), said(&alone), said(&student));
            let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>();
            assert!(
                apart(&student, &teacher) < apart(&alone, &teacher),
                "{family:?}: {} and {}",
                apart(&student, &teacher),
                apart(&alone, &teacher)
            );
        }
        assert!(score(&*teacher, &panel, None, &options, &control).unwrap().mase.is_some());
    }

    #[test]
    fn series_of_less_than_a_horizon_teach_nothing() {
        let panel = test_panel(2, 5);
        let options = FitOptions { horizon: 7, quantile_levels: vec![0.5], ..FitOptions::default() };
        let (teacher, _) = fit(&[Family::SeasonalNaive], &panel, &options, &Control::default()).unwrap();
        let error = taught(&*teacher, &panel, &options, &Control::default()).unwrap_err();
        assert_eq!(error.message(), "no series has enough rows before 7 steps for the teacher to tell them");
    }
}
