//! What every family that learns over all series promises, through the common door.

use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::ml::control::Control;
use crate::ml::features::test_panel as panel;
use crate::ml::forecaster::{
    Family, FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions, Status,
};
use crate::ml::models::{estimate, load};
use crate::ml::rng::Rng;
use crate::ml::series::{Covariate, Panel, Values};

const FAMILIES: [Family; 9] = [
    Family::Tide,
    Family::Dlinear,
    Family::Lstm,
    Family::Gru,
    Family::Transformer,
    Family::Gbt,
    Family::Tree,
    Family::Ridge,
    Family::Svr,
];

fn options(horizon: usize) -> FitOptions {
    FitOptions {
        epochs: Some(2),
        batch_size: Some(32),
        learning_rate: Some(5e-3),
        hidden_size: Some(16),
        layers: Some(1),
        seed: 7,
        ..super::options(horizon)
    }
}

fn fit(
    family: Family,
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    crate::ml::models::fit(&[family], panel, options, control)
}

fn wanted(horizon: usize) -> PredictOptions {
    PredictOptions { horizon, quantile_levels: vec![0.1, 0.5, 0.9], ..Default::default() }
}

fn fitted(family: Family, panel: &Panel, options: &FitOptions) -> Arc<dyn FittedForecaster> {
    fit(family, panel, options, &Control::default()).unwrap().0
}

fn forecast(model: &Arc<dyn FittedForecaster>, panel: &Panel, horizon: usize) -> Forecast {
    model.predict(panel, &wanted(horizon), &Control::default()).unwrap()
}

fn bits(forecast: &Forecast) -> Vec<u64> {
    forecast.point.iter().chain(&forecast.quantiles).map(|y| y.to_bits()).collect()
}

fn assert_sane(forecast: &Forecast) {
    assert!(forecast.point.iter().chain(&forecast.quantiles).all(|y| y.is_finite()));
    for (row, point) in forecast.quantiles.chunks_exact(3).zip(&forecast.point) {
        assert!(row[0] <= row[1] && row[1] <= row[2] && row[1] == *point);
    }
}

#[test]
fn same_seed_gives_the_same_bits_on_any_number_of_threads() {
    for family in FAMILIES {
        let panel = panel(6, 60);
        let run = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = FitOptions { seed, ..options(7) };
            pool.install(|| fitted(family, &panel, &options).to_bytes().unwrap())
        };
        let one = run(1, 7);
        assert!(one == run(1, 7) && one == run(3, 7));
        assert!(one != run(1, 8));
    }
}

#[test]
fn weights_and_forecasts_do_not_see_what_comes_after_the_cutoff() {
    for family in FAMILIES {
        let full = panel(5, 70);
        let clean = full.hold_out(7);
        let mut garbage = clean.clone();
        for s in 0..garbage.len() {
            for row in garbage.offsets[s] + garbage.history[s]..garbage.offsets[s + 1] {
                garbage.target[row] = 1e6;
                if let Values::Number(visits) = &mut garbage.past[0].values {
                    visits[row] = -3e5;
                }
            }
        }
        let (a, b) = (fitted(family, &clean, &options(7)), fitted(family, &garbage, &options(7)));
        assert!(a.to_bytes().unwrap() == b.to_bytes().unwrap());
        assert_eq!(bits(&forecast(&a, &clean, 7)), bits(&forecast(&b, &garbage, 7)));
    }
}

#[test]
fn the_order_of_the_series_changes_nothing() {
    for family in FAMILIES {
        let straight = panel(5, 60);
        let parts: Vec<Panel> = [3, 0, 4, 1, 2].iter().map(|s| straight.select(*s..s + 1)).collect();
        let mut turned = straight.clone();
        turned.keys = parts.iter().flat_map(|p| p.keys.clone()).collect();
        turned.target = parts.iter().flat_map(|p| p.target.clone()).collect();
        let columns = |pick: fn(&Panel) -> &Vec<Covariate>, column: usize| {
            let numbers = parts.iter().flat_map(|p| match &pick(p)[column].values {
                Values::Number(numbers) => numbers.clone(),
                Values::Category { .. } => Vec::new(),
            });
            Values::Number(numbers.collect())
        };
        turned.known[0].values = columns(|p| &p.known, 0);
        turned.past[0].values = columns(|p| &p.past, 0);
        turned.statics[0].values = columns(|p| &p.statics, 0);
        if let Values::Category { codes, labels } = &mut turned.statics[1].values {
            *codes = [3, 0, 4, 1, 2].iter().map(|s| 1 - s % 2).collect();
            labels.reverse();
        }
        let (a, b) = (fitted(family, &straight, &options(7)), fitted(family, &turned, &options(7)));
        assert!(a.to_bytes().unwrap() == b.to_bytes().unwrap());
    }
}

#[test]
fn a_short_horizon_is_the_beginning_of_a_long_one_and_the_context_is_enough() {
    for family in FAMILIES {
        let full = panel(4, 80).hold_out(7);
        let model = fitted(family, &full, &options(7));
        let (long, short) = (forecast(&model, &full, 7), forecast(&model, &full, 3));
        for s in 0..4 {
            assert_eq!(long.point[s * 7..s * 7 + 3], short.point[s * 3..s * 3 + 3]);
        }
        let context = model.context_length().unwrap();
        assert_eq!(bits(&long), bits(&forecast(&model, &full.take_last(context), 7)));
        let extended = forecast(&model, &full, 20);
        assert_sane(&extended);
        assert_eq!(extended.point[..7], long.point[..7]);
        assert!(
            forecast(&model, &panel(4, 73), 20).status.iter().all(|s| *s == Some(Status::CovariatesCarried))
        );
    }
}

#[test]
fn written_and_read_again_it_forecasts_the_same_bits() {
    for family in FAMILIES {
        let panel = panel(4, 60);
        let model = fitted(family, &panel, &options(7));
        let bytes = model.to_bytes().unwrap();
        let again = load(&bytes).unwrap();
        assert_eq!(bits(&forecast(&model, &panel, 7)), bits(&forecast(&again, &panel, 7)));
        assert!(again.to_bytes().unwrap() == bytes);
        for at in (0..bytes.len()).step_by(bytes.len() / 400) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            match load(&damaged) {
                Ok(model) => {
                    if let Ok(forecast) = model.predict(&panel, &wanted(2), &Control::default()) {
                        assert!(forecast.point.iter().all(|y| y.is_finite()));
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
            }
        }
        let mut other = panel.clone();
        other.known[0].name = "price".into();
        let error = model.predict(&other, &wanted(7), &Control::default()).unwrap_err();
        assert!(
            error.message().contains("[\"promo\"]") && error.message().contains("[\"price\"]"),
            "{error}"
        );
    }
}

#[test]
fn degenerate_series_get_finite_forecasts_and_a_status() {
    for family in FAMILIES {
        let mut panel = panel(6, 50);
        panel.target[0..50].fill(0.0);
        panel.target[50..100].fill(42.5);
        panel.target[100..149].fill(f64::NAN);
        panel.target[150..200].fill(f64::NAN);
        let model = fitted(family, &panel, &options(7));
        let mut asked = panel.hold_out(0);
        asked.keys[4] = "s=new".into();
        let forecast = forecast(&model, &asked, 7);
        assert_sane(&forecast);
        assert!(forecast.point[..7].iter().all(|y| *y == 0.0));
        assert!(forecast.point[7..14].iter().all(|y| *y == 42.5));
        let constant = Some(Status::ConstantSeries);
        assert_eq!(forecast.status[..3], [constant, constant, Some(Status::ShortHistory)]);
        assert_eq!(forecast.status[4], Some(Status::ColdStart));
    }
}

#[test]
fn one_series_and_series_shorter_than_everything_work() {
    for family in FAMILIES {
        let one = panel(1, 40);
        assert_sane(&forecast(&fitted(family, &one, &options(7)), &one, 7));
        let tiny = panel(3, 9);
        let model = fitted(family, &tiny, &options(7));
        let answer = forecast(&model, &tiny, 7);
        assert_sane(&answer);
        let error = fit(family, &panel(3, 8), &options(7), &Control::default()).unwrap_err();
        let name = crate::ml::models::family_name(family);
        let expected =
            format!("the longest series has 8 rows; {name} needs at least 2 before the 7 validation steps");
        assert_eq!(error.message(), expected);
        let row = tiny.take_last(1);
        assert_eq!(forecast(&model, &row, 7).status, [Some(Status::ShortHistory); 3]);
    }
}

#[test]
fn it_beats_seasonal_naive_on_signal_and_not_on_shuffled_targets() {
    for family in FAMILIES {
        let error = |panel: &Panel| {
            let held = panel.hold_out(7);
            let options = FitOptions { epochs: Some(8), ..options(7) };
            let forecast = forecast(&fitted(family, &held, &options), &held, 7);
            let (mut ours, mut naive, mut level) = (0.0, 0.0, 0.0);
            for s in 0..panel.len() {
                let (history, actual) = panel.history_of(s).split_at(panel.history[s] - 7);
                let mean = history.iter().sum::<f64>() / history.len() as f64;
                for step in 0..7 {
                    ours += (forecast.point[s * 7 + step] - actual[step]).abs();
                    naive += (history[history.len() - 7 + step] - actual[step]).abs();
                    level += (mean - actual[step]).abs();
                }
            }
            (ours, naive, level)
        };
        let real = panel(10, 120);
        let (ours, naive, _) = error(&real);
        assert!(ours < 0.6 * naive, "{ours} against {naive}");
        let mut shuffled = real.clone();
        for s in 0..10 {
            Rng::new(s as u64).shuffle(&mut shuffled.target[s * 120..(s + 1) * 120]);
        }
        let (ours, _, level) = error(&shuffled);
        assert!(ours > 0.85 * level, "noise cannot be forecast: {ours} against {level}");
    }
}

#[test]
fn estimate_knows_the_size_and_cancel_stops() {
    for family in FAMILIES {
        let panel = panel(4, 60);
        let (_, report) = fit(family, &panel, &options(7), &Control::default()).unwrap();
        assert!(report.scores.mase.unwrap() > 0.0 && report.naive.mase.unwrap() > 0.0);
        assert!((0.0..=1.0).contains(&report.scores.coverage.unwrap()));
        let estimate = estimate(&[family], &panel, &options(7), &Control::default()).unwrap();
        assert!(family != Family::Tide || estimate.parameters == report.parameters);
        assert!(report.parameters > 0);
        assert!(estimate.memory_bytes > 0 && estimate.seconds > 0.0);
        let control = Control::default();
        control.cancel();
        assert_eq!(fit(family, &panel, &options(7), &control).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

#[test]
fn a_combination_keeps_what_its_members_say() {
    let panel = panel(4, 60);
    let bytes = |families: &[Family]| {
        estimate(families, &panel, &options(7), &Control::default()).unwrap().memory_bytes
    };
    let alone = [Family::Tide, Family::Gbt].map(|family| bytes(&[family]));
    assert!(bytes(&[Family::Tide, Family::Gbt]) > alone[0].max(alone[1]));
}

#[test]
fn words_never_seen_and_covariates_that_are_missing_have_forecasts() {
    for family in FAMILIES {
        let mut panel = panel(6, 60);
        let model = fitted(family, &panel.hold_out(7), &options(7));
        if let Values::Category { codes, labels } = &mut panel.statics[1].values {
            labels.push("never seen".into());
            (codes[0], codes[1]) = (2, crate::ml::series::MISSING);
        }
        for column in [&mut panel.known[0], &mut panel.past[0], &mut panel.statics[0]] {
            if let Values::Number(numbers) = &mut column.values {
                numbers.iter_mut().step_by(3).for_each(|x| *x = f32::NAN);
            }
        }
        let forecast = forecast(&model, &panel.hold_out(7), 7);
        assert_sane(&forecast);
        assert!(forecast.point.iter().any(|y| *y != 0.0));
    }
}
