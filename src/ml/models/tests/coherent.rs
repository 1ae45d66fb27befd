//! Models of a hierarchy: coherent forecasts of series and sums, also after they were stored.

use crate::ml::control::Control;
use crate::ml::forecaster::{Family, Forecast, PredictOptions};
use crate::ml::hierarchy::{Hierarchy, Rollup};
use crate::ml::models::tests::{QUANTILES, options};
use crate::ml::models::{fit_coherent, load};
use crate::ml::reconciliation::Reconciliation;
use crate::ml::rng::Rng;
use crate::ml::series::{Frequency, Panel};

/// Two regions of three stores with a weekly season, and noise that the stores of a region share.
fn stores(days: usize) -> (Panel, Hierarchy) {
    let names: Vec<[String; 2]> =
        (0..6).map(|s| [format!("region={}", s / 3), format!("store={s}")]).collect();
    let mut rng = Rng::new(5);
    let mut target = Vec::new();
    let shared: Vec<f64> = (0..2 * days).map(|_| rng.normal()).collect();
    for s in 0..6 {
        for day in 0..days {
            let season = if day % 7 > 4 { 8.0 } else { 0.0 };
            let noise = 2.0 * shared[(s / 3) * days + day] + rng.normal();
            target.push((10.0 + 5.0 * s as f64 + season + noise).max(0.0));
        }
    }
    let panel = Panel {
        frequency: Frequency::Days(1),
        origin: 0,
        season_length: 7,
        keys: names.iter().map(|n| n.join(", ")).collect(),
        offsets: (0..=6).map(|s| s * days).collect(),
        history: vec![days; 6],
        start: vec![0; 6],
        target,
        lines: Vec::new(),
        known: Vec::new(),
        past: Vec::new(),
        statics: Vec::new(),
    };
    let rollup = Rollup::new(vec!["region".into(), "store".into()], vec![vec![0, 1]]);
    let rows: Vec<Vec<String>> = names.into_iter().map(Vec::from).collect();
    let hierarchy = Hierarchy::new(&rollup, &rows);
    (hierarchy.aggregate(&panel), hierarchy)
}

fn assert_coherent(hierarchy: &Hierarchy, forecast: &Forecast) {
    for sum in 0..hierarchy.sums() {
        for step in 0..forecast.horizon {
            let at = |node: usize| forecast.point[node * forecast.horizon + step];
            let total: f64 = hierarchy.members(sum).map(at).sum();
            assert!((at(hierarchy.series() + sum) - total).abs() < 1e-9 * total);
        }
    }
    let rows = forecast.quantiles.chunks_exact(forecast.quantile_levels.len()).zip(&forecast.point);
    for (row, point) in rows {
        assert!(0.0 <= row[0] && row[0] <= *point && *point <= row[2], "{row:?} {point}");
    }
}

#[test]
fn forecasts_add_up_after_storing_too_and_scores_are_theirs() {
    let (panel, hierarchy) = stores(140);
    let control = Control::default();
    let wanted = PredictOptions { horizon: 7, quantile_levels: QUANTILES.to_vec(), ..Default::default() };
    let options = crate::ml::forecaster::FitOptions { validation_length: Some(21), ..options(7) };
    for method in [Reconciliation::Mint, Reconciliation::BottomUp, Reconciliation::Wls] {
        let families = [Family::Theta, Family::SeasonalNaive];
        let (model, report) =
            fit_coherent(&families, &panel, &hierarchy, method, &options, &control).unwrap();
        assert!(report.scores.mase.unwrap() < report.naive.mase.unwrap());
        let forecast = model.predict_coherent(&panel, &hierarchy, &wanted, &control).unwrap();
        assert_coherent(&hierarchy, &forecast);
        let bytes = model.to_bytes().unwrap();
        let again = load(&bytes).unwrap();
        assert_eq!(again.to_bytes().unwrap(), bytes);
        assert_eq!(again.predict_coherent(&panel, &hierarchy, &wanted, &control).unwrap(), forecast);
        let cut = load(&bytes[..bytes.len() - 9]).unwrap_err();
        assert_eq!(cut.kind(), crate::error::ErrorKind::Corrupt);
    }
    let plain = crate::ml::models::fit(&[Family::Theta], &panel, &options, &control).unwrap().0;
    let alone = plain.predict(&panel, &wanted, &control).unwrap();
    assert_eq!(plain.predict_coherent(&panel, &hierarchy, &wanted, &control).unwrap(), alone);
}
