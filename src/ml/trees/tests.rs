//! What boosters promise: splits as an exhaustive search finds them, categories, missing values, any number of threads.

use crate::error::ErrorKind;
use crate::ml::control::Control;
use crate::ml::rng::Rng;
use crate::ml::trees::{Booster, BoosterOptions, ColumnType, Objective, Rows, TreeRows};

const NUMBER: ColumnType = ColumnType::Number;
const CATEGORY: ColumnType = ColumnType::Category;

fn rows(values: &[f32], targets: &[f32], types: &[ColumnType]) -> TreeRows {
    let all = Rows { values, width: types.len() };
    let mut rows = TreeRows::new(all, types, 128);
    rows.append(all, targets, &[]);
    rows
}

fn fit(rows: &TreeRows, options: &BoosterOptions) -> Booster {
    Booster::fit(rows, None, options, &Control::default()).unwrap()
}

/// One tree, all rows and columns, no shrinkage.
fn plain(leaves: usize) -> BoosterOptions {
    BoosterOptions {
        trees: 1,
        learning_rate: 1.0,
        leaves,
        rows_min: 1,
        l2: 0.0,
        row_fraction: 1.0,
        column_fraction: 1.0,
        ..BoosterOptions::default()
    }
}

fn squared_error(targets: &[f32], predicted: &[f32]) -> f64 {
    targets.iter().zip(predicted).map(|(y, f)| f64::from((y - f) * (y - f))).sum()
}

#[test]
fn the_first_split_is_the_best_of_all() {
    let mut rng = Rng::new(3);
    let n = 200;
    let values: Vec<f32> = (0..2 * n).map(|_| (rng.below(20)) as f32).collect();
    let targets: Vec<f32> = (0..n).map(|row| values[2 * row + 1].min(9.0) + rng.normal() as f32).collect();
    let booster = fit(&rows(&values, &targets, &[NUMBER; 2]), &plain(2));
    let found = squared_error(&targets, &booster.predict(Rows { values: &values, width: 2 }));
    let mut best = f64::INFINITY;
    for column in 0..2 {
        for cut in 0..20 {
            let side = |row: &usize| values[2 * row + column] <= cut as f32;
            let mean = |left: bool| {
                let own: Vec<f32> = (0..n).filter(|row| side(row) == left).map(|row| targets[row]).collect();
                own.iter().sum::<f32>() / own.len().max(1) as f32
            };
            let (left, right) = (mean(true), mean(false));
            let predicted: Vec<f32> = (0..n).map(|row| if side(&row) { left } else { right }).collect();
            best = best.min(squared_error(&targets, &predicted));
        }
    }
    assert!((found / best - 1.0).abs() < 1e-4, "{found} for {best}");
}

#[test]
fn missing_values_go_where_they_belong() {
    let values: Vec<f32> = (0..300).map(|i| if i % 3 == 0 { f32::NAN } else { (i % 3) as f32 }).collect();
    let targets: Vec<f32> = (0..300).map(|i| [7.0, 1.0, 7.0][i % 3]).collect();
    let booster = fit(&rows(&values, &targets, &[NUMBER]), &plain(2));
    let predicted = booster.predict(Rows { values: &[f32::NAN, 1.0, 2.0], width: 1 });
    assert!(predicted.iter().zip([7.0, 1.0, 7.0]).all(|(f, y)| (f - y).abs() < 1e-3), "{predicted:?}");
    // Where training lacked none, a missing value goes with the many.
    let values: Vec<f32> = (0..100).map(|i| if i < 80 { 1.0 } else { 2.0 }).collect();
    let targets: Vec<f32> = values.iter().map(|x| 10.0 * x).collect();
    let booster = fit(&rows(&values, &targets, &[NUMBER]), &plain(2));
    assert!((booster.predict(Rows { values: &[f32::NAN], width: 1 })[0] - 10.0).abs() < 1e-3);
}

#[test]
fn categories_without_order_are_told_apart_in_one_split() {
    let n = 4000;
    let codes: Vec<f32> = (0..n).map(|i| (i % 40) as f32).collect();
    let high = |code: f32| (code as u32 * 7).is_multiple_of(5);
    let targets: Vec<f32> = codes.iter().map(|code| if high(*code) { 5.0 } else { -1.0 }).collect();
    let booster = fit(&rows(&codes, &targets, &[CATEGORY]), &plain(2));
    assert!(squared_error(&targets, &booster.predict(Rows { values: &codes, width: 1 })) < 1e-2);
    let as_numbers = fit(&rows(&codes, &targets, &[NUMBER]), &plain(2));
    assert!(squared_error(&targets, &as_numbers.predict(Rows { values: &codes, width: 1 })) > 1000.0);
}

/// A surface with noise: rows, targets.
fn surface(seed: u64, n: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(seed);
    let values: Vec<f32> = (0..5 * n).map(|_| rng.normal() as f32).collect();
    let target = |x: &[f32]| x[0].sin() * 3.0 + x[1] * x[2] + if x[3] > 0.0 { 2.0 } else { 0.0 };
    let targets = values.chunks_exact(5).map(|x| target(x) + 0.1 * rng.normal() as f32).collect();
    (values, targets)
}

#[test]
fn trees_approach_a_surface_and_validation_stops_them() {
    let (values, targets) = surface(1, 4000);
    let (unseen, truth) = surface(2, 1000);
    let train = rows(&values, &targets, &[NUMBER; 5]);
    let mut valid = train.empty_like();
    valid.append(Rows { values: &unseen, width: 5 }, &truth, &[]);
    let options = BoosterOptions { trees: 400, leaves: 31, ..BoosterOptions::default() };
    let booster = Booster::fit(&train, Some(&valid), &options, &Control::default()).unwrap();
    let mean = truth.iter().sum::<f32>() / 1000.0;
    let spread = squared_error(&truth, &[mean; 1000]);
    let error = squared_error(&truth, &booster.predict(Rows { values: &unseen, width: 5 }));
    assert!(error < 0.05 * spread, "{error} of {spread}");
    assert_eq!(booster.predict(Rows { values: &unseen, width: 5 }), booster.predict_rows(&valid));
    let importance = booster.importance();
    assert!(importance[4] < 0.02 && (importance.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{importance:?}");
    let overfitted = BoosterOptions { trees: 400, learning_rate: 1.0, patience: 5, ..options };
    let stopped = Booster::fit(&train, Some(&valid), &overfitted, &Control::default()).unwrap();
    assert!(stopped.len() < 50, "{} trees", stopped.len());
}

#[test]
fn any_number_of_threads_grows_the_same_trees() {
    let (values, targets) = surface(1, 30_000);
    let options = BoosterOptions { trees: 12, seed: 5, ..BoosterOptions::default() };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fit(&rows(&values, &targets, &[NUMBER; 5]), &options))
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
    let other = fit(&rows(&values, &targets, &[NUMBER; 5]), &BoosterOptions { seed: 6, ..options });
    assert!(one != other);
}

#[test]
fn every_objective_finds_what_it_asks_for() {
    let n = 20_000;
    let mut rng = Rng::new(9);
    let values: Vec<f32> = (0..n).map(|i| (i % 2) as f32).collect();
    let counts: Vec<f32> = values.iter().map(|x| rng.poisson(1.0 + 3.0 * f64::from(*x)) as f32).collect();
    let predict = |targets: &[f32], objective: Objective| {
        let options = BoosterOptions { objective, trees: 100, ..plain(2) };
        let options = BoosterOptions { learning_rate: 0.2, ..options };
        fit(&rows(&values, targets, &[NUMBER]), &options).predict(Rows { values: &[0.0, 1.0], width: 1 })
    };
    for objective in [Objective::SquaredError, Objective::Poisson, Objective::Tweedie(1.5)] {
        let means = predict(&counts, objective);
        assert!((means[0] - 1.0).abs() < 0.05 && (means[1] - 4.0).abs() < 0.1, "{objective:?} {means:?}");
    }
    let noise: Vec<f32> = values.iter().map(|x| rng.normal() as f32 * (1.0 + x)).collect();
    let upper = predict(&noise, Objective::Quantile(0.9));
    assert!((upper[0] - 1.28).abs() < 0.08 && (upper[1] - 2.56).abs() < 0.15, "{upper:?}");
    let flags: Vec<f32> =
        values.iter().map(|x| f32::from(u8::from(rng.chance(0.2 + 0.5 * f64::from(*x))))).collect();
    let chances = predict(&flags, Objective::Logistic);
    assert!((chances[0] - 0.2).abs() < 0.02 && (chances[1] - 0.7).abs() < 0.02, "{chances:?}");
}

#[test]
fn weights_count_as_so_many_rows() {
    let (values, targets) = (vec![0.0f32; 4], vec![0.0f32, 0.0, 0.0, 8.0]);
    let all = Rows { values: &values, width: 1 };
    let mut weighted = TreeRows::new(all, &[NUMBER], 128);
    weighted.append(all, &targets, &[1.0, 1.0, 1.0, 5.0]);
    assert_eq!(fit(&weighted, &plain(2)).predict(Rows { values: &[0.0], width: 1 }), [5.0]);
}

#[test]
fn wrong_targets_and_cancelled_fits_are_errors() {
    let bad = rows(&[1.0, 2.0], &[1.0, -1.0], &[NUMBER]);
    let options = BoosterOptions { objective: Objective::Poisson, ..plain(2) };
    let error = Booster::fit(&bad, None, &options, &Control::default()).unwrap_err();
    assert_eq!(error.message(), "a target of -1 is negative, which the objective cannot take");
    let control = Control::default();
    control.cancel();
    let error = Booster::fit(&rows(&[1.0], &[1.0], &[NUMBER]), None, &plain(2), &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn lists_of_numbers_bring_the_same_booster_back_and_wrong_ones_none() {
    let n = 500;
    let mut rng = Rng::new(2);
    let values: Vec<f32> =
        (0..2 * n).map(|i| if i % 2 == 0 { rng.normal() as f32 } else { rng.below(9) as f32 }).collect();
    let targets: Vec<f32> = values.chunks_exact(2).map(|x| x[0] + (x[1] as u32 % 4) as f32).collect();
    let options = BoosterOptions { trees: 5, ..BoosterOptions::default() };
    let booster = fit(&rows(&values, &targets, &[NUMBER, CATEGORY]), &options);
    let flat = booster.to_flat();
    assert!(!flat.sets.is_empty());
    assert_eq!(Booster::from_flat(flat.clone()).unwrap(), booster);
    let mut endless = flat.clone();
    endless.nodes[1] = 0;
    let mut column = flat.clone();
    column.nodes[0] = 2;
    let mut short = flat.clone();
    short.leaves.pop();
    let mut falling = flat;
    falling.cuts.swap(0, 1);
    for wrong in [endless, column, short, falling] {
        assert!(Booster::from_flat(wrong).is_err());
    }
}

#[test]
fn leaves_of_the_absolute_error_are_medians_between_the_cuts_of_the_squared_error() {
    let values: Vec<f32> = (0..10).map(|i| if i < 5 { 0.0 } else { 1.0 }).collect();
    let targets = [1.0, 1.0, 2.0, 2.0, 9.0, 20.0, 21.0, 22.0, 23.0, 99.0];
    let rows = rows(&values, &targets, &[NUMBER]);
    let booster = fit(&rows, &BoosterOptions { objective: Objective::AbsoluteError, ..plain(2) });
    assert_eq!(booster.predict(Rows { values: &[0.0, 1.0], width: 1 }), [2.0, 22.0]);
    assert_eq!(Booster::from_flat(booster.to_flat()).unwrap(), booster);
}
