//! What holds for any panel: of every family, over panels of random lengths, levels, seasons and gaps.

use std::sync::Arc;

use crate::error::ErrorKind;
use crate::ml::control::Control;
use crate::ml::forecaster::{Family, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions};
use crate::ml::models::fit;
use crate::ml::models::tests::{QUANTILES, local, options};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;

const HORIZON: usize = 5;
/// Panels of each property.
const PANELS: u64 = 4;

const FAMILIES: [Family; 17] = [
    Family::SeasonalNaive,
    Family::Ets,
    Family::Theta,
    Family::Arima,
    Family::Ces,
    Family::Croston,
    Family::Sba,
    Family::Tsb,
    Family::Ridge,
    Family::Svr,
    Family::Tree,
    Family::Gbt,
    Family::Tide,
    Family::Dlinear,
    Family::Lstm,
    Family::Gru,
    Family::Transformer,
];

/// A series of a random kind: with a season, a trend, a random walk, rare sales, or always the same.
fn series(rng: &mut Rng, season: usize) -> Vec<f64> {
    let length = 1 + rng.below(110);
    let level = 10_f64.powf(rng.range(-2.0, 5.0));
    let (kind, gaps) = (rng.below(5), if rng.chance(0.3) { 0.1 } else { 0.0 });
    let mut walk = 0.0;
    let mut value = |t: usize| {
        let wave = (t % season) as f64 / season as f64;
        walk += rng.normal();
        if rng.chance(gaps) {
            return f64::NAN;
        }
        match kind {
            0 => level * (2.0 + wave + 0.1 * rng.normal()),
            1 => level * (1.0 + 0.02 * t as f64 + 0.1 * rng.normal()),
            2 => level * walk,
            3 if rng.chance(0.8) => 0.0,
            3 => level.ceil() * (1 + rng.below(4)) as f64,
            _ => level,
        }
    };
    (0..length).map(&mut value).collect()
}

fn generated(seed: u64) -> Panel {
    let mut rng = Rng::new(seed);
    let season = [4, 7, 12][rng.below(3)];
    let mut series: Vec<Vec<f64>> = (0..1 + rng.below(4)).map(|_| series(&mut rng, season)).collect();
    // So that every family has something to learn from.
    series.push((0..60).map(|t| 20.0 + (t % season) as f64 + rng.normal()).collect());
    Panel { season_length: season, ..local::panel(series) }
}

fn small(seed: u64) -> FitOptions {
    FitOptions {
        epochs: Some(2),
        batch_size: Some(16),
        hidden_size: Some(8),
        layers: Some(1),
        seed,
        ..options(HORIZON)
    }
}

fn trained(family: Family, panel: &Panel, seed: u64) -> (Arc<dyn FittedForecaster>, FitReport) {
    fit(&[family], panel, &small(seed), &Control::default())
        .unwrap_or_else(|e| panic!("{family:?} {seed}: {e}"))
}

fn forecast(model: &dyn FittedForecaster, panel: &Panel) -> Forecast {
    let asked =
        PredictOptions { horizon: HORIZON, quantile_levels: QUANTILES.to_vec(), ..PredictOptions::default() };
    model.predict(panel, &asked, &Control::default()).unwrap()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().filter(|y| y.is_finite()).fold(0.0, |most: f64, y| most.max(y.abs()))
}

/// The largest difference of two forecasts, the second in units of `unit`, as a share of the largest value of its series.
fn gap(a: &Forecast, b: &Forecast, unit: f64, panel: &Panel) -> f64 {
    let width = QUANTILES.len();
    let of = |i: usize, x: f64, y: f64| {
        let size = largest(panel.history_of(i / HORIZON));
        let size = if size > 0.0 { size } else { x.abs().max(f64::MIN_POSITIVE) };
        (x - y / unit).abs() / size
    };
    let points = a.point.iter().zip(&b.point).enumerate().map(|(i, (x, y))| of(i, *x, *y));
    let quantiles = a.quantiles.iter().zip(&b.quantiles).enumerate().map(|(i, (x, y))| of(i / width, *x, *y));
    assert_eq!((a.point.len(), a.quantiles.len()), (b.point.len(), b.quantiles.len()));
    points.chain(quantiles).fold(0.0, f64::max)
}

#[test]
fn forecasts_are_finite_ordered_and_of_a_series_whatever_its_name_and_company() {
    for family in FAMILIES {
        for seed in 0..PANELS {
            let panel = generated(seed);
            let (model, report) = trained(family, &panel, seed);
            let all = forecast(&*model, &panel);
            assert_eq!(all.point.len(), panel.len() * HORIZON);
            let finite = all.point.iter().chain(&all.quantiles).all(|y| y.is_finite());
            assert!(finite, "{family:?} {seed}: {all:?}");
            let ordered = all.quantiles.chunks_exact(3).all(|q| q[0] <= q[1] && q[1] <= q[2]);
            assert!(ordered, "{family:?} {seed}: {all:?}");
            // Names in the same order, as keys are sorted.
            let keys = panel.keys.iter().map(|key| key.replace("item=", "größe=")).collect();
            let renamed = Panel { keys, ..panel.clone() };
            let (again, scores) = trained(family, &renamed, seed);
            assert_eq!(forecast(&*again, &renamed), all, "{family:?} {seed}, renamed");
            assert_eq!(scores.scores, report.scores, "{family:?} {seed}, renamed");
            for i in 0..panel.len() {
                let alone = panel.select(i..i + 1);
                let part = Forecast {
                    point: all.point[i * HORIZON..(i + 1) * HORIZON].to_vec(),
                    quantiles: all.quantiles[i * HORIZON * 3..(i + 1) * HORIZON * 3].to_vec(),
                    ..Forecast::default()
                };
                let gap = gap(&part, &forecast(&*model, &alone), 1.0, &alone);
                assert!(gap <= 1e-5, "{family:?} {seed}, series {i} alone: {gap}");
            }
        }
    }
}

#[test]
fn forecasts_are_in_the_unit_of_the_target() {
    for family in FAMILIES {
        // Smoothing is searched for until it hardly gets better, by numbers that are no powers of two of each other.
        let allowed = if family == Family::Ets { 1e-2 } else { 1e-9 };
        for seed in 0..PANELS {
            let panel = generated(seed);
            let mut larger = panel.clone();
            larger.target.iter_mut().for_each(|y| *y *= 1024.0);
            let [small, large] =
                [&panel, &larger].map(|panel| forecast(&*trained(family, panel, seed).0, panel));
            let gap = gap(&small, &large, 1024.0, &panel);
            assert!(gap <= allowed, "{family:?} {seed}: {gap}");
        }
    }
}

#[test]
fn what_has_nothing_to_learn_from_is_told() {
    let short = local::panel(vec![vec![1.0, 2.0], vec![f64::NAN; 4], Vec::new()]);
    for family in FAMILIES {
        match fit(&[family], &short, &small(1), &Control::default()) {
            Ok((model, _)) => {
                let forecast = forecast(&*model, &short);
                assert!(
                    forecast.point.iter().chain(&forecast.quantiles).all(|y| y.is_finite()),
                    "{family:?}"
                );
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Data, "{family:?}: {error}"),
        }
    }
}

/// Series that repeat a shape of their own, of which seasonal naive has the noise twice.
fn learnable(shuffled: bool) -> Panel {
    let mut rng = Rng::new(5);
    let one = |rng: &mut Rng| {
        let mut values: Vec<f64> =
            (0..140).map(|t| 50.0 + 30.0 * (((t % 7) * 3) % 7) as f64 + 25.0 * rng.normal()).collect();
        if shuffled {
            rng.shuffle(&mut values);
        }
        values
    };
    local::panel((0..12).map(|_| one(&mut rng)).collect())
}

/// The families over all series have such a test of their own.
#[test]
fn what_can_be_learnt_is_and_what_cannot_is_not() {
    for family in [Family::Ets, Family::Theta] {
        let errors = |shuffled| {
            let (_, report) = trained(family, &learnable(shuffled), 3);
            (report.scores.mae.unwrap() / 25.0, report.naive.mae.unwrap() / 25.0)
        };
        // The mean deviation of the noise is 0.8 of its width, and that of a shuffled week 2.2 of it.
        let ((learnt, naive), (shuffled, _)) = (errors(false), errors(true));
        assert!(learnt < 1.05 && learnt < 0.95 * naive, "{family:?}: {learnt} against {naive}");
        assert!(shuffled > 1.6, "{family:?}: {shuffled}");
    }
}
