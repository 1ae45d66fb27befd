//! What objectives promise, through the common door.

use std::sync::Arc;

use crate::error::ErrorKind;
use crate::ml::control::Control;
use crate::ml::distributions::Distribution;
use crate::ml::features::test_panel;
use crate::ml::forecaster::{Family, FitOptions, FittedForecaster, Forecast, PredictOptions};
use crate::ml::models::tests::QUANTILES;
use crate::ml::models::{fit, load, objectives};
use crate::ml::objective::{ObjectiveKind, OptimizerKind};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;

/// Means that the series of a panel of draws have in turn.
const MEANS: [f64; 2] = [3.0, 40.0];

fn options(objective: Option<ObjectiveKind>) -> FitOptions {
    FitOptions { epochs: Some(2), hidden_size: Some(16), layers: Some(1), objective, ..super::options(7) }
}

fn fitted(family: Family, panel: &Panel, options: &FitOptions) -> Arc<dyn FittedForecaster> {
    fit(&[family], panel, options, &Control::default()).unwrap().0
}

fn forecast(model: &Arc<dyn FittedForecaster>, panel: &Panel, horizon: usize) -> Forecast {
    let asked = PredictOptions { horizon, quantile_levels: QUANTILES.to_vec(), ..Default::default() };
    model.predict(panel, &asked, &Control::default()).unwrap()
}

/// Series without season or covariates, each a row of independent draws about its mean.
fn draws(series: usize, length: usize, mut draw: impl FnMut(f64, &mut Rng) -> f64) -> Panel {
    let mut panel = test_panel(series, length);
    let mut rng = Rng::new(3);
    for (row, y) in panel.target.iter_mut().enumerate() {
        *y = draw(MEANS[row / length % 2], &mut rng);
    }
    (panel.known, panel.past, panel.statics) = (Vec::new(), Vec::new(), Vec::new());
    panel
}

#[test]
fn every_objective_forecasts_and_is_stored_and_the_usual_one_is_quantile() {
    let panel = draws(4, 70, |mean, rng| rng.negative_binomial(mean, 0.3) as f64);
    for family in [Family::Tide, Family::Dlinear, Family::Transformer, Family::Gbt] {
        let usual = fitted(family, &panel, &options(None)).to_bytes().unwrap();
        for kind in objectives(family) {
            let model = fitted(family, &panel, &options(Some(*kind)));
            let bytes = model.to_bytes().unwrap();
            assert_eq!(bytes == usual, *kind == ObjectiveKind::Quantile, "{family:?} {kind:?}");
            let forecast = forecast(&model, &panel, 10);
            let within = |y: &f64| (0.0..500.0).contains(y);
            assert!(forecast.quantiles.iter().all(within), "{family:?} {kind:?} {forecast:?}");
            for (row, point) in forecast.quantiles.chunks_exact(3).zip(&forecast.point) {
                assert!(row[0] <= row[1] && row[1] <= row[2] && row[1] == *point);
            }
            let again = load(&bytes).unwrap();
            assert_eq!(forecast, self::forecast(&again, &panel, 10));
        }
    }
}

/// Mean distance of quantiles from the true ones, in units of the width of the true interval.
fn distance(forecast: &Forecast, truth: impl Fn(f64) -> Distribution) -> f64 {
    let (mut sum, n) = (0.0, forecast.quantiles.len());
    for (at, row) in forecast.quantiles.chunks_exact(3).enumerate() {
        let mut expected = [0.0; 3];
        truth(MEANS[at / forecast.horizon % 2]).quantiles(&QUANTILES, &mut expected);
        let width = expected[2] - expected[0];
        sum += row.iter().zip(expected).map(|(q, e)| (q - e).abs() / width).sum::<f64>();
    }
    sum / n as f64
}

#[test]
fn distributions_of_counts_amounts_and_heavy_tails_are_learnt() {
    let options = |kind| FitOptions { epochs: Some(10), learning_rate: Some(5e-3), ..options(Some(kind)) };
    let check = |kind, panel: Panel, truth: fn(f64) -> Distribution| {
        let model = fitted(Family::Tide, &panel, &options(kind));
        let distance = distance(&forecast(&model, &panel, 7), truth);
        // Whole counts apart are 0.2 of the width of an interval that holds five of them.
        assert!(distance < 0.16, "{kind:?}: {distance}");
    };
    let counts = draws(20, 120, |mean, rng| rng.negative_binomial(mean, 0.4) as f64);
    let truth = |mean| Distribution::Count { mean, dispersion: 0.4 };
    check(ObjectiveKind::NegativeBinomial, counts, truth);
    let counts = draws(20, 120, |mean, rng| rng.poisson(mean) as f64);
    check(ObjectiveKind::Poisson, counts, |mean| Distribution::Count { mean, dispersion: 0.0 });
    let amounts = draws(20, 120, |mean, rng| {
        let sizes = rng.poisson(2.0 * mean.sqrt());
        (0..sizes).map(|_| rng.exponential() * mean.sqrt() / 2.0).sum()
    });
    check(ObjectiveKind::Tweedie, amounts, |mean| Distribution::Compound { mean, dispersion: 1.0 });
    let tails = draws(20, 120, |mean, rng| mean - 20.0 + rng.normal() / (rng.gamma(1.5, 2.0) / 3.0).sqrt());
    let truth = |mean| Distribution::StudentT { location: mean - 20.0, scale: 1.0, freedom: 3.0 };
    check(ObjectiveKind::StudentT, tails.clone(), truth);
    check(ObjectiveKind::Huber, tails, truth);
}

/// Of amounts that are 0 or 10, four to one, the mean is 2 and the median 0.
#[test]
fn boosters_learn_the_mean_or_the_median_and_forecast_the_median() {
    let panel = draws(8, 100, |_, rng| if rng.chance(0.2) { 10.0 } else { 0.0 });
    for kind in [ObjectiveKind::Mse, ObjectiveKind::Poisson, ObjectiveKind::Tweedie, ObjectiveKind::Mae] {
        let forecast = forecast(&fitted(Family::Gbt, &panel, &options(Some(kind))), &panel, 7);
        let center = forecast.point.iter().sum::<f64>() / 56.0;
        assert!(center < 1.5, "{kind:?} {:?}", forecast.point);
        let upper = forecast.quantiles.iter().skip(2).step_by(3);
        assert!(upper.clone().sum::<f64>() / 56.0 > 5.0, "{kind:?} {:?}", upper.collect::<Vec<_>>());
    }
}

#[test]
fn negative_amounts_are_refused_and_auto_takes_any_objective() {
    let mut panel = draws(2, 40, |mean, rng| rng.poisson(mean) as f64);
    let families = [Family::SeasonalNaive, Family::Auto];
    let kind = Some(ObjectiveKind::NegativeBinomial);
    let error = fit(&families, &panel, &options(kind), &Control::default()).unwrap_err();
    assert_eq!(error.message(), "seasonal_naive has no OBJECTIVE negative_binomial");
    let (_, report) = fit(&[Family::Auto], &panel, &options(kind), &Control::default()).unwrap();
    assert!(report.candidates.iter().all(|c| c.failure.is_none()), "{:?}", report.candidates);
    panel.target[50] = -1.0;
    let error = fit(&[Family::Auto], &panel, &options(kind), &Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(error.message(), "OBJECTIVE negative_binomial takes no negative target: -1 of series s=001");
}

#[test]
fn descent_with_momentum_learns_what_adam_learns() {
    let panel = test_panel(8, 120);
    let error = |optimizer: OptimizerKind| {
        let options = FitOptions { epochs: Some(8), optimizer: Some(optimizer), ..self::options(None) };
        let (_, report) = fit(&[Family::Tide], &panel, &options, &Control::default()).unwrap();
        (report.scores.mase.unwrap(), report.naive.mase.unwrap())
    };
    let (sgd, naive) = error(OptimizerKind::Sgd);
    assert!(sgd < 0.7 * naive, "{sgd} against {naive}");
    assert_ne!(sgd, error(OptimizerKind::AdamW).0);
}
