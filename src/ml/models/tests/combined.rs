//! What combinations promise.

use crate::error::ErrorKind;
use crate::ml::control::Control;
use crate::ml::features::test_panel as panel;
use crate::ml::forecaster::{Family, FitOptions, PredictOptions};
use crate::ml::models::tests::{QUANTILES, options};
use crate::ml::models::{fit, load};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;

const FAMILIES: [Family; 4] = [Family::SeasonalNaive, Family::Theta, Family::Ets, Family::Gbt];

/// A panel with noise, on which no family alone is right.
fn noisy(series: usize, length: usize) -> Panel {
    let mut panel = panel(series, length);
    let mut rng = Rng::new(8);
    panel.target.iter_mut().for_each(|y| *y = (*y * (1.0 + 0.3 * rng.normal())).max(0.0));
    panel
}

#[test]
fn a_combination_is_no_worse_than_its_best_member_and_all_are_told() {
    let panel = noisy(20, 140);
    let (_, report) = fit(&FAMILIES, &panel, &options(7), &Control::default()).unwrap();
    assert_eq!(report.candidates.len(), FAMILIES.len());
    let loss = |scores: &crate::ml::forecaster::Scores| scores.quantile_loss.unwrap();
    let best = report.candidates.iter().map(|c| loss(&c.scores)).fold(f64::INFINITY, f64::min);
    assert!(loss(&report.scores) <= 1.01 * best, "{} against {best}", loss(&report.scores));
    assert!((report.candidates.iter().map(|c| c.weight).sum::<f64>() - 1.0).abs() < 1e-9);
    let errors: Vec<f64> = report.candidates.iter().map(|c| c.scores.mase.unwrap()).collect();
    assert!(errors.windows(2).all(|pair| pair[0] <= pair[1]), "{errors:?}");
    let naive = report.candidates.iter().find(|c| c.family == Family::SeasonalNaive).unwrap();
    assert_eq!(naive.scores, report.naive);
}

#[test]
fn a_stored_combination_forecasts_the_same_bits() {
    let panel = noisy(6, 90);
    let fitted = || fit(&FAMILIES, &panel, &options(7), &Control::default()).unwrap().0;
    let model = fitted();
    let bytes = model.to_bytes().unwrap();
    assert!(bytes == fitted().to_bytes().unwrap(), "two fits differ");
    let asked = PredictOptions { horizon: 9, quantile_levels: QUANTILES.to_vec(), ..Default::default() };
    let loaded = load(&bytes).unwrap();
    let forecast = model.predict(&panel, &asked, &Control::default()).unwrap();
    assert_eq!(forecast, loaded.predict(&panel, &asked, &Control::default()).unwrap());
    let context = model.context_length().unwrap();
    let short = panel.take_last(context);
    assert_eq!(forecast.point, model.predict(&short, &asked, &Control::default()).unwrap().point);
    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        match load(&damaged) {
            // A column that is called otherwise is one that the panel lacks.
            Ok(model) => {
                if let Ok(forecast) = model.predict(&panel, &asked, &Control::default()) {
                    assert!(forecast.point.iter().all(|y| y.is_finite()));
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        }
    }
}

#[test]
fn windows_are_held_out_by_the_length_of_the_histories() {
    let held_out = |length: usize, validation_length: Option<usize>| {
        let options = FitOptions { validation_length, ..options(7) };
        crate::ml::models::held_out(&panel(3, length), &options)
    };
    assert_eq!(held_out(200, None), (3, 7));
    assert_eq!(held_out(28, None), (2, 7));
    assert_eq!(held_out(12, None), (1, 7));
    assert_eq!(held_out(7, None), (0, 0));
    assert_eq!(
        (held_out(60, Some(21)), held_out(60, Some(5)), held_out(60, Some(0))),
        ((3, 7), (1, 5), (0, 0))
    );
}

#[test]
fn what_does_not_fit_into_the_seconds_is_left_out_and_told() {
    let panel = noisy(40, 300);
    let options = FitOptions { max_seconds: Some(0.02), ..options(7) };
    let (model, report) = fit(&[Family::Auto], &panel, &options, &Control::default()).unwrap();
    let asked = PredictOptions { horizon: 7, quantile_levels: QUANTILES.to_vec(), ..Default::default() };
    assert!(model.predict(&panel, &asked, &Control::default()).is_ok());
    let tide = report.candidates.iter().find(|c| c.family == Family::Tide).unwrap();
    let why = tide.failure.as_deref().unwrap();
    assert!(why.starts_with("it needs about ") && why.ends_with(" of max_seconds are left for it"), "{why}");
}

#[test]
fn nothing_after_a_window_reaches_what_is_said_of_it() {
    let clean = noisy(5, 90).hold_out(7);
    let mut garbage = clean.clone();
    for s in 0..garbage.len() {
        let future = garbage.offsets[s] + garbage.history[s]..garbage.offsets[s + 1];
        garbage.target[future].fill(1e6);
    }
    let bytes = |panel: &Panel| {
        fit(&FAMILIES, panel, &options(7), &Control::default()).unwrap().0.to_bytes().unwrap()
    };
    assert!(bytes(&clean) == bytes(&garbage));
}
