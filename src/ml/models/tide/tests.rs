//! What must hold of the whole model: degenerate input, leakage, determinism, symmetry, and that it learns.

use super::*;
use crate::ml::features::WindowBatch;
use crate::ml::features::test_panel as panel;
use crate::ml::forecaster::Status;
use crate::ml::series::Values;

fn options(horizon: usize) -> FitOptions {
    FitOptions {
        horizon,
        quantile_levels: vec![0.1, 0.9],
        validation_length: horizon,
        context_length: None,
        epochs: Some(2),
        batch_size: Some(32),
        learning_rate: Some(5e-3),
        weight_decay: None,
        dropout: None,
        hidden_size: Some(16),
        layers: Some(1),
        early_stop: None,
        max_seconds: None,
        seed: 7,
    }
}

fn wanted(horizon: usize) -> PredictOptions {
    PredictOptions { horizon, quantile_levels: vec![0.1, 0.5, 0.9] }
}

fn fitted(panel: &Panel, options: &FitOptions) -> Arc<dyn FittedForecaster> {
    fit(panel, options, &Control::default()).unwrap().0
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
    let panel = panel(6, 60);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = FitOptions { seed, ..options(7) };
        pool.install(|| fitted(&panel, &options).to_bytes().unwrap())
    };
    let one = run(1, 7);
    assert!(one == run(1, 7) && one == run(3, 7));
    assert!(one != run(1, 8));
}

#[test]
fn weights_and_forecasts_do_not_see_what_comes_after_the_cutoff() {
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
    let (a, b) = (fitted(&clean, &options(7)), fitted(&garbage, &options(7)));
    assert!(a.to_bytes().unwrap() == b.to_bytes().unwrap());
    assert_eq!(bits(&forecast(&a, &clean, 7)), bits(&forecast(&b, &garbage, 7)));
}

#[test]
fn the_order_of_the_series_changes_nothing() {
    let straight = panel(5, 60);
    let parts: Vec<Panel> = [3, 0, 4, 1, 2].iter().map(|s| straight.select(*s..s + 1)).collect();
    let mut turned = straight.clone();
    turned.keys = parts.iter().flat_map(|p| p.keys.clone()).collect();
    turned.target = parts.iter().flat_map(|p| p.target.clone()).collect();
    let columns = |pick: fn(&Panel) -> &Vec<crate::ml::series::Covariate>, column: usize| {
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
    let (a, b) = (fitted(&straight, &options(7)), fitted(&turned, &options(7)));
    assert!(a.to_bytes().unwrap() == b.to_bytes().unwrap());
}

#[test]
fn a_short_horizon_is_the_beginning_of_a_long_one_and_the_context_is_enough() {
    let full = panel(4, 80).hold_out(7);
    let model = fitted(&full, &options(7));
    let (long, short) = (forecast(&model, &full, 7), forecast(&model, &full, 3));
    for s in 0..4 {
        assert_eq!(long.point[s * 7..s * 7 + 3], short.point[s * 3..s * 3 + 3]);
    }
    let context = model.context_length().unwrap();
    assert_eq!(bits(&long), bits(&forecast(&model, &full.take_last(context), 7)));
    let extended = forecast(&model, &full, 20);
    assert_sane(&extended);
    assert_eq!(extended.point[..7], long.point[..7]);
    assert!(forecast(&model, &panel(4, 73), 20).status.iter().all(|s| *s == Some(Status::CovariatesCarried)));
}

#[test]
fn written_and_read_again_it_forecasts_the_same_bits() {
    let panel = panel(4, 60);
    let model = fitted(&panel, &options(7));
    let bytes = model.to_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let config = &metadata.metadata().as_ref().unwrap()["config"];
    let again = crate::ml::models::load(&bytes).unwrap();
    assert_eq!(bits(&forecast(&model, &panel, 7)), bits(&forecast(&again, &panel, 7)));
    assert!(again.to_bytes().unwrap() == bytes);
    for damaged in
        [config.replace("\"hidden\":16", "\"hidden\":17"), config.replace("[0.1,", "[0.7,"), "{}".into()]
    {
        assert_eq!(load(&damaged, &file).unwrap_err().kind(), crate::error::ErrorKind::Corrupt);
    }
    let mut other = panel.clone();
    other.known[0].name = "price".into();
    let error = model.predict(&other, &wanted(7), &Control::default()).unwrap_err();
    assert!(error.message().contains("[\"promo\"]") && error.message().contains("[\"price\"]"), "{error}");
}

#[test]
fn degenerate_series_get_finite_forecasts_and_a_status() {
    let mut panel = panel(6, 50);
    panel.target[0..50].fill(0.0);
    panel.target[50..100].fill(42.5);
    panel.target[100..149].fill(f64::NAN);
    panel.target[150..200].fill(f64::NAN);
    let model = fitted(&panel, &options(7));
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

#[test]
fn one_series_and_series_shorter_than_everything_work() {
    let one = panel(1, 40);
    assert_sane(&forecast(&fitted(&one, &options(7)), &one, 7));
    let tiny = panel(3, 9);
    let model = fitted(&tiny, &options(7));
    let answer = forecast(&model, &tiny, 7);
    assert_sane(&answer);
    let error = fit(&panel(3, 8), &options(7), &Control::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "the longest series has 8 rows; tide needs at least 2 before the 7 validation steps"
    );
    let row = tiny.take_last(1);
    assert_eq!(forecast(&model, &row, 7).status, [Some(Status::ShortHistory); 3]);
}

#[test]
fn one_batch_can_be_learned_by_heart() {
    let panel = panel(3, 60);
    let train = [60; 3];
    let featurizer = Featurizer::fit(&panel, &train, 5, None, &Control::default()).unwrap();
    let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
    let windows = Windows::train(&featurizer, &encoded, &[0, 1, 2], &train);
    struct Few<'a>(Windows<'a>, usize);
    impl Dataset for Few<'_> {
        type Batch = WindowBatch;
        fn len(&self) -> usize {
            self.1
        }
        fn gather(&self, indexes: &[usize], batch: &mut WindowBatch) {
            self.0.gather(indexes, batch);
        }
    }
    let options = FitOptions { dropout: Some(0.0), hidden_size: Some(64), ..options(5) };
    let shape = shape(&options, 8, 3);
    let network =
        TideNetwork::new(Parameters::seeded(Rng::new(1)), &featurizer, shape, vec![MEDIAN]).unwrap();
    let (eight, none) = (Few(windows, 8), Few(Windows::train(&featurizer, &encoded, &[], &train), 0));
    let config = TrainerConfig { epochs: 600, learning_rate: 3e-3, ..trainer_config(&options, 8) };
    let mut trainer = Trainer::new(&network, &eight, &none, config).unwrap();
    trainer.run(&Control::default()).unwrap();
    let (first, last) = (trainer.log()[0].train_loss, trainer.log()[599].train_loss);
    assert!(last < 0.02 * first, "{first} to {last}");
}

#[test]
fn it_beats_seasonal_naive_on_signal_and_not_on_shuffled_targets() {
    let error = |panel: &Panel| {
        let held = panel.hold_out(7);
        let options = FitOptions { epochs: Some(8), ..options(7) };
        let forecast = forecast(&fitted(&held, &options), &held, 7);
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

#[test]
fn estimate_knows_the_size_and_cancel_stops() {
    let panel = panel(4, 60);
    let (_, report) = fit(&panel, &options(7), &Control::default()).unwrap();
    assert!(report.scores.mase.unwrap() > 0.0 && report.naive.mase.unwrap() > 0.0);
    assert!(report.scores.coverage.unwrap() > 0.5);
    let estimate = estimate(&panel, &options(7), &Control::default()).unwrap();
    assert_eq!(estimate.parameters, report.parameters);
    assert!(estimate.memory_bytes > 0 && estimate.seconds > 0.0);
    let control = Control::default();
    control.cancel();
    assert_eq!(fit(&panel, &options(7), &control).unwrap_err().kind(), crate::error::ErrorKind::Cancelled);
}
