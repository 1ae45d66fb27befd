//! What regressors promise: functions that they can learn are learnt, and no row leaves them without an answer.

use crate::ml::control::Control;
use crate::ml::features::test_panel;
use crate::ml::models::model::Lesson;
use crate::ml::models::regression::regressor::Regressor;
use crate::ml::models::regression::table::Table;
use crate::ml::models::regression::{Gbt, Ridge, Svr, Tree};
use crate::ml::models::tests::options;
use crate::ml::rng::Rng;
use crate::ml::trees::{ColumnType, Rows};

/// Rows of two numbers, of which some lack the second, and a category; targets are a function of them, with noise.
fn table(n: usize, seed: u64, target: impl Fn(f32, f32, f32) -> f32) -> Table {
    let mut rows = Table::new(vec![ColumnType::Number, ColumnType::Number, ColumnType::Category]);
    let mut rng = Rng::new(seed);
    for _ in 0..n {
        let (a, b) = (rng.range(-2.0, 2.0) as f32, rng.range(-2.0, 2.0) as f32);
        let (kind, lacking) = (rng.below(4) as f32, rng.chance(0.1));
        rows.values.extend([a, if lacking { f32::NAN } else { b }, kind]);
        rows.targets.push(target(a, if lacking { 0.0 } else { b }, kind) + 0.05 * rng.normal() as f32);
        rows.bases.push(0.0);
        rows.steps.push(0);
    }
    rows
}

/// Mean absolute error on rows that were not learnt from.
fn error<R: Regressor>(target: impl Fn(f32, f32, f32) -> f32 + Copy) -> f64 {
    let (panel, control, options) = (test_panel(1, 20), Control::default(), options(7));
    let lesson = Lesson::new(&panel, 7, &options, &control);
    let (rows, valid, unseen) = (table(4_000, 1, target), table(500, 2, target), table(500, 3, target));
    let model = R::fit(&rows, &valid, &lesson, None).unwrap();
    let odd = [f32::NAN, 1e30, 77.0, -1e30, f32::NAN, f32::NAN];
    let answers = model.predict(Rows { values: &odd, width: 3 }).medians;
    assert!(answers.len() == 2 && answers.iter().all(|y| y.is_finite()), "{answers:?}");
    let again = R::fit(&rows, &table(0, 0, target), &lesson, Some(&model)).unwrap();
    assert!(unseen.error(&again, &control).unwrap() < 2.0, "choices that stay are of use");
    unseen.error(&model, &control).unwrap()
}

#[test]
fn functions_of_their_kind_are_learnt() {
    // Noise alone has a mean absolute error of 0.04.
    let linear = |a: f32, b: f32, kind: f32| a - 0.5 * b + if kind == 2.0 { 1.0 } else { 0.0 };
    let steps = |a: f32, b: f32, kind: f32| if a > 0.5 { 2.0 } else { f32::from(b < -1.0) - kind.min(1.0) };
    let hills = |a: f32, b: f32, _: f32| 0.5 * a * a + b.sin();
    let ridge = error::<Ridge>(linear);
    assert!(ridge < 0.045, "{ridge}");
    let tree = error::<Tree>(steps);
    assert!(tree < 0.09, "{tree}");
    let svr = error::<Svr>(hills);
    assert!(svr < 0.1, "{svr}");
    let gbt = error::<Gbt>(hills);
    assert!(gbt < 0.1, "{gbt}");
}
