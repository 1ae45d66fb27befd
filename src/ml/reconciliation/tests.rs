//! Reconciliation through the public door.

use crate::ml::control::Control;
use crate::ml::forecaster::{Forecast, Status};
use crate::ml::hierarchy::{Hierarchy, Rollup};
use crate::ml::reconciliation::{Reconciler, Reconciliation};
use crate::ml::rng::Rng;

const NULL: f64 = f64::NAN;

fn rollup(keys: &[&str], lists: &[&[usize]]) -> Rollup {
    Rollup::new(
        keys.iter().map(ToString::to_string).collect(),
        lists.iter().map(|list| list.to_vec()).collect(),
    )
}

fn series(keys: &[&str], rows: &[&[&str]]) -> Vec<Vec<String>> {
    rows.iter()
        .map(|row| keys.iter().zip(*row).map(|(key, word)| format!("{key}={word}")).collect())
        .collect()
}

/// The hierarchy of Hyndman and Athanasopoulos, Forecasting: Principles and Practice, figure 11.1: a total of A and B, which
/// are sums of AA, AB, AC and of BA, BB.
fn textbook() -> (Hierarchy, Vec<String>) {
    let keys = ["state", "zone"];
    let rows: &[&[&str]] = &[&["A", "AA"], &["A", "AB"], &["A", "AC"], &["B", "BA"], &["B", "BB"]];
    let rows = series(&keys, rows);
    let hierarchy = Hierarchy::new(&rollup(&keys, &[&[0, 1]]), &rows);
    let keys = rows.iter().map(|row| row.join(", ")).chain(hierarchy.keys().iter().cloned()).collect();
    (hierarchy, keys)
}

fn forecast(points: &[f64]) -> Forecast {
    Forecast {
        horizon: 1,
        quantile_levels: vec![0.1, 0.9],
        point: points.to_vec(),
        quantiles: points.iter().flat_map(|p| [p * 0.5, p * 2.0]).collect(),
        status: vec![None; points.len()],
        ..Forecast::default()
    }
}

fn reconciled(reconciler: &Reconciler, hierarchy: &Hierarchy, keys: &[String], points: &[f64]) -> Vec<f64> {
    let mut forecast = forecast(points);
    let nonnegative = vec![false; points.len()];
    reconciler.reconcile(hierarchy, keys, &nonnegative, &mut forecast, &Control::default()).unwrap();
    forecast.point
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
    assert!(found.iter().zip(expected).all(near), "{found:?} is not {expected:?}");
}

#[test]
fn ols_and_wls_by_hand() {
    let keys = ["store"];
    let rows = series(&keys, &[&["a"], &["b"]]);
    let hierarchy = Hierarchy::new(&rollup(&keys, &[&[0]]), &rows);
    let keys: Vec<String> = ["store=a", "store=b", ""].map(str::to_owned).to_vec();
    let base = [3.0, 4.0, 10.0];
    let ols = Reconciler::fit(Reconciliation::Ols, &hierarchy, &keys, &[], 0);
    // (2 a + total - b) / 3 and (2 b + total - a) / 3.
    close(&reconciled(&ols, &hierarchy, &keys, &base), &[4.0, 5.0, 9.0]);
    // Variances 1, 3 and 2: a sixth and a half of the 3 that are missing.
    let errors = [1.0, -1.0, 3f64.sqrt(), 3f64.sqrt(), 2f64.sqrt(), -(2f64.sqrt())];
    let wls = Reconciler::fit(Reconciliation::Wls, &hierarchy, &keys, &errors, 2);
    close(&reconciled(&wls, &hierarchy, &keys, &base), &[3.5, 5.5, 9.0]);
    // Without errors a sum counts as many times as it has series: a quarter each.
    let structural = Reconciler::fit(Reconciliation::Wls, &hierarchy, &keys, &[], 0);
    close(&reconciled(&structural, &hierarchy, &keys, &base), &[3.75, 4.75, 8.5]);
    let bottom_up = Reconciler::fit(Reconciliation::BottomUp, &hierarchy, &keys, &[], 0);
    close(&reconciled(&bottom_up, &hierarchy, &keys, &base), &[3.0, 4.0, 7.0]);
}

/// Values of `S (S' W^-1 S)^-1 S' W^-1 y` and of `shrink.estim` of the R package hts, written out in numpy.
#[test]
fn the_textbook_hierarchy_as_dense_algebra_reconciles_it() {
    let (hierarchy, keys) = textbook();
    let base = [12.0, 7.5, 20.0, 9.0, 14.0, 45.0, 20.0, 70.0];
    let errors: Vec<f64> = (0..8 * 16u32)
        .map(|at| {
            let (node, t) = (at / 16, at % 16);
            let own = f64::from((node * node * 7 + t * t * 3 + node * t * 5 + 11) % 23) - 11.0;
            own + 3.0 * (f64::from((t * t * 5 + t) % 11) - 5.0)
        })
        .collect();
    let with = |method| {
        let reconciler = Reconciler::fit(method, &hierarchy, &keys, &errors, 16);
        reconciled(&reconciler, &hierarchy, &keys, &base)
    };
    close(&with(Reconciliation::Ols), OLS);
    close(&with(Reconciliation::Wls), WLS);
    close(&with(Reconciliation::Mint), MINT);
}

const OLS: &[f64] = &[
    13.931034482759,
    9.431034482759,
    21.931034482759,
    8.741379310345,
    13.741379310345,
    45.293103448276,
    22.482758620690,
    67.775862068966,
];
const WLS: &[f64] = &[
    14.608765461219,
    9.095153813798,
    21.616951913743,
    8.888306062531,
    13.903993413299,
    45.320871188760,
    22.792299475830,
    68.113170664590,
];
const MINT: &[f64] = &[
    14.798289867394,
    9.576688183519,
    21.763659465721,
    9.301381076403,
    14.955095226454,
    46.138637516634,
    24.256476302857,
    70.395113819491,
];

#[test]
fn mint_without_correlations_is_wls_and_with_equal_variances_ols() {
    let (hierarchy, keys) = textbook();
    let base = [12.0, 7.5, 20.0, 9.0, 14.0, 45.0, 20.0, 70.0];
    // An error of one node at a time: nothing is correlated.
    let apart = |size: fn(usize) -> f64| -> Vec<f64> {
        (0..64).map(|at| if at / 8 == at % 8 { size(at / 8) } else { 0.0 }).collect()
    };
    let with = |method, errors: &[f64]| {
        reconciled(&Reconciler::fit(method, &hierarchy, &keys, errors, 8), &hierarchy, &keys, &base)
    };
    let (equal, unequal) = (apart(|_| 2.0), apart(|node| 1.0 + node as f64));
    close(&with(Reconciliation::Mint, &equal), &with(Reconciliation::Ols, &equal));
    close(&with(Reconciliation::Mint, &unequal), &with(Reconciliation::Wls, &unequal));
}

#[test]
fn random_hierarchies_are_coherent_and_coherent_forecasts_stay() {
    let mut rng = Rng::new(8);
    for round in 0..40 {
        let keys = ["region", "store", "item"];
        let count = 2 + rng.below(60);
        let words: Vec<[String; 3]> = (0..count)
            .map(|i| {
                let store = rng.below(9);
                [(store / 3).to_string(), store.to_string(), format!("{}/{i}", rng.below(4))]
            })
            .collect();
        let rows: Vec<Vec<String>> = words
            .iter()
            .map(|row| {
                keys.iter().zip(row).map(|(k, w)| format!("{k}={}", w.split('/').next().unwrap())).collect()
            })
            .collect();
        let hierarchy = Hierarchy::new(&rollup(&keys, &[&[0, 1], &[2]]), &rows);
        let node_keys: Vec<String> = (0..hierarchy.nodes()).map(|node| node.to_string()).collect();
        let steps = 20;
        let errors: Vec<f64> = (0..hierarchy.nodes() * steps)
            .map(|_| if rng.chance(0.1) { NULL } else { rng.normal() * 10.0 })
            .collect();
        let base: Vec<f64> = (0..hierarchy.nodes()).map(|_| rng.normal() * 100.0).collect();
        for method in
            [Reconciliation::BottomUp, Reconciliation::Ols, Reconciliation::Wls, Reconciliation::Mint]
        {
            let reconciler = Reconciler::fit(method, &hierarchy, &node_keys, &errors, steps);
            let points = reconciled(&reconciler, &hierarchy, &node_keys, &base);
            for sum in 0..hierarchy.sums() {
                let total: f64 = hierarchy.members(sum).map(|series| points[series]).sum();
                let size: f64 = hierarchy.members(sum).map(|series| points[series].abs()).sum();
                assert!(
                    (points[hierarchy.series() + sum] - total).abs() <= 1e-9 * size,
                    "{round} {method:?}"
                );
            }
            close(&reconciled(&reconciler, &hierarchy, &node_keys, &points), &points);
        }
    }
}

#[test]
fn what_is_not_negative_stays_so_and_what_has_no_history_counts_as_nothing() {
    let (hierarchy, keys) = textbook();
    let mut forecast = forecast(&[1.0, 1.0, 30.0, 9.0, 14.0, 4.0, 20.0, 20.0]);
    forecast.status[4] = Some(Status::NoHistory);
    let reconciler = Reconciler::fit(Reconciliation::Ols, &hierarchy, &keys, &[], 0);
    reconciler.reconcile(&hierarchy, &keys, &[true; 8], &mut forecast, &Control::default()).unwrap();
    assert_eq!((forecast.point[0], forecast.point[4]), (0.0, 0.0));
    close(&forecast.point[5..7], &[forecast.point[2], forecast.point[3]]);
    for (row, point) in forecast.quantiles.chunks_exact(2).zip(&forecast.point) {
        assert!(0.0 <= row[0] && row[0] <= *point && *point <= row[1], "{row:?} {point}");
    }
}
