//! What every family that forecasts series by themselves promises, through the common door.

use std::sync::Arc;

use crate::error::ErrorKind;
use crate::ml::control::Control;
use crate::ml::forecaster::{Family, FitReport, FittedForecaster, Forecast, PredictOptions, Status};
use crate::ml::models::family::learner;
use crate::ml::models::model::Lesson;
use crate::ml::models::tests::{QUANTILES, options};
use crate::ml::models::{fit, load};
use crate::ml::rng::Rng;
use crate::ml::series::{Frequency, Panel};

const FAMILIES: [Family; 9] = [
    Family::SeasonalNaive,
    Family::Ets,
    Family::Theta,
    Family::Arima,
    Family::Ces,
    Family::Croston,
    Family::Sba,
    Family::Tsb,
    Family::Foundation,
];
const HORIZON: usize = 7;
const LEVELS: [f64; 3] = QUANTILES;

pub(super) fn panel(series: Vec<Vec<f64>>) -> Panel {
    let mut offsets = vec![0];
    series.iter().for_each(|s| offsets.push(offsets[offsets.len() - 1] + s.len()));
    Panel {
        frequency: Frequency::Days(1),
        origin: 0,
        season_length: 7,
        keys: (0..series.len()).map(|i| format!("item={i}")).collect(),
        offsets,
        history: series.iter().map(Vec::len).collect(),
        start: vec![0; series.len()],
        target: series.concat(),
        known: Vec::new(),
        past: Vec::new(),
        statics: Vec::new(),
        lines: Vec::new(),
    }
}

/// Weekly sales with noise and some missing days.
fn sales(series: usize, days: usize) -> Panel {
    let one = |i: usize| {
        let mut rng = Rng::new(11).stream(i as u64);
        let mut day = |t: usize| match rng.chance(0.03) {
            true => f64::NAN,
            false => rng.poisson(20.0 + 10.0 * ((t % 7) as f64) + i as f64) as f64,
        };
        (0..days).map(&mut day).collect()
    };
    panel((0..series).map(one).collect())
}

fn trained(family: Family, panel: &Panel) -> (Arc<dyn FittedForecaster>, FitReport) {
    fit(&[family], panel, &options(HORIZON), &Control::default()).unwrap()
}

fn forecast(model: &dyn FittedForecaster, panel: &Panel, horizon: usize) -> Forecast {
    let asked = PredictOptions { horizon, quantile_levels: LEVELS.to_vec(), ..Default::default() };
    model.predict(panel, &asked, &Control::default()).unwrap()
}

#[test]
fn ets_beats_seasonal_naive_on_noisy_weeks() {
    let (_, report) = trained(Family::Ets, &sales(20, 140));
    let (ets, naive) = (report.scores.mase.unwrap(), report.naive.mase.unwrap());
    assert!(ets < 0.9 * naive, "{ets} against {naive}");
    assert!((0.8..=1.0).contains(&report.scores.coverage.unwrap()), "{:?}", report.scores);
    assert!(report.parameters > 20);
}

#[test]
fn stored_models_forecast_the_same_bits() {
    for family in FAMILIES {
        let panel = sales(6, 60);
        let (model, _) = trained(family, &panel);
        let bytes = model.to_bytes().unwrap();
        let loaded = load(&bytes).unwrap();
        assert_eq!(forecast(&*model, &panel, 9), forecast(&*loaded, &panel, 9));
        assert_eq!(bytes, loaded.to_bytes().unwrap());
        assert_eq!(bytes, trained(family, &panel).0.to_bytes().unwrap());
    }
}

#[test]
fn damaged_files_are_refused_or_harmless() {
    // The file of a foundation model is too large to damage everywhere: see its own test.
    for family in FAMILIES.into_iter().filter(|family| *family != Family::Foundation) {
        let panel = sales(3, 40);
        let bytes = trained(family, &panel).0.to_bytes().unwrap();
        for end in (0..bytes.len()).step_by(7) {
            assert_eq!(load(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            match load(&damaged) {
                Ok(model) => assert!(forecast(&*model, &panel, 2).point.iter().all(|y| y.is_finite())),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
            }
        }
    }
}

#[test]
fn threads_and_company_do_not_change_a_bit() {
    for family in FAMILIES {
        let panel = sales(12, 50);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (model, report) = trained(family, &panel);
                (forecast(&*model, &panel, HORIZON), report.scores)
            })
        };
        assert_eq!(run(1), run(3));
        let (model, _) = trained(family, &panel);
        let (all, alone) = (forecast(&*model, &panel, 14), forecast(&*model, &panel.select(5..6), HORIZON));
        assert_eq!((all.status[5], alone.status[0]), (Some(Status::Extended), None));
        assert_eq!(all.point[5 * 14..5 * 14 + HORIZON], alone.point);
        let width = LEVELS.len();
        assert_eq!(all.quantiles[5 * 14 * width..(5 * 14 + HORIZON) * width], alone.quantiles);
    }
}

/// What the last steps hold does not reach the choice of models.
#[test]
fn validation_steps_do_not_reach_the_choice_of_models() {
    let clean = sales(5, 60);
    let mut garbage = clean.clone();
    for i in 0..5 {
        let end = garbage.offsets[i + 1];
        garbage.target[end - HORIZON..end].fill(-1e9);
    }
    for family in FAMILIES {
        let chosen = |panel: &Panel| {
            let (options, control) = (options(HORIZON), Control::default());
            let lesson = Lesson::new(panel, HORIZON, &options, &control);
            let saved = learner(family).unwrap().fit(&lesson).unwrap().model.save().unwrap();
            format!("{:?}", (saved.config, saved.tensors))
        };
        assert_eq!(chosen(&clean), chosen(&garbage), "{family:?}");
    }
}

#[test]
fn degenerate_series_have_finite_forecasts_and_a_status() {
    let null = f64::NAN;
    let mut gappy = vec![null; 40];
    gappy[3] = 5.0;
    gappy[20] = 6.0;
    let ordinary = sales(1, 60).target;
    let panel = panel(vec![
        ordinary,
        vec![0.0; 30],
        vec![7.0; 30],
        vec![4.0],
        vec![1.0, 2.0, 3.0],
        vec![null; 10],
        Vec::new(),
        gappy,
        (0..50).map(|t| if t % 17 == 0 { 1e300 } else { -1e-300 }).collect(),
    ]);
    for family in FAMILIES {
        let (model, report) = trained(family, &panel);
        let forecast = forecast(&*model, &panel, 30);
        assert!(forecast.point.iter().chain(&forecast.quantiles).all(|y| y.is_finite()));
        assert!(forecast.quantiles.chunks_exact(3).all(|q| q[0] <= q[1] && q[1] <= q[2]));
        let of = |i: usize| (forecast.point[i * 30], forecast.quantiles[i * 90], forecast.status[i]);
        assert!(of(0).1 >= 0.0);
        assert_eq!(of(1), (0.0, 0.0, Some(Status::ConstantSeries)), "{family:?}");
        assert_eq!(of(2), (7.0, 7.0, Some(Status::ConstantSeries)), "{family:?}");
        for i in 3..=6 {
            let nothing = panel.history_of(i).iter().all(|y| y.is_nan());
            let unseen = if family == Family::Tide { Status::ColdStart } else { Status::NoHistory };
            let expected = if nothing { unseen } else { Status::ShortHistory };
            assert_eq!(of(i).2, Some(expected), "{family:?} {i}");
        }
        assert!(report.scores.n_series > 0);
    }
}

#[test]
fn new_series_and_cancelled_fits() {
    let (model, _) = trained(Family::Ets, &sales(3, 60));
    let mut other = sales(3, 60);
    other.keys[1] = "item=new".into();
    let statuses = forecast(&*model, &other, HORIZON).status;
    assert_eq!(statuses, [None, Some(Status::ColdStart), None]);
    let control = Control::default();
    control.cancel();
    for family in FAMILIES {
        assert_eq!(
            fit(&[family], &other, &options(HORIZON), &control).unwrap_err().kind(),
            ErrorKind::Cancelled
        );
    }
}
