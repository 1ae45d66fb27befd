//! That the networks can learn.

use crate::ml::control::Control;
use crate::ml::features::test_panel as panel;
use crate::ml::features::{EncodedPanel, Featurizer, WindowBatch};
use crate::ml::forecaster::FitOptions;
use crate::ml::layers::{Gradients, Parameters};
use crate::ml::models::networks::body::Architecture;
use crate::ml::models::networks::learner::{shape, trainer_config};
use crate::ml::models::networks::network::WindowNetwork;
use crate::ml::models::networks::windows::Windows;
use crate::ml::models::tests::options;
use crate::ml::objective::OptimizerKind;
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{Checkpoint, Dataset, Network, Objective, Trainer, TrainerConfig};

const ALL: [Architecture; 5] = [
    Architecture::Tide,
    Architecture::Dlinear,
    Architecture::Lstm,
    Architecture::Gru,
    Architecture::Transformer,
];

const TRAIN: [usize; 3] = [60; 3];

/// The first windows of a panel, some of which reach back before the first rows.
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

fn small() -> FitOptions {
    FitOptions { dropout: Some(0.0), hidden_size: Some(64), epochs: Some(2), layers: Some(1), ..options(5) }
}

fn featurizer(panel: &Panel) -> Featurizer {
    Featurizer::fit(panel, &TRAIN, 5, None, &Control::default()).unwrap()
}

fn network(architecture: Architecture, featurizer: &Featurizer, objective: Objective) -> WindowNetwork {
    let shape = shape(architecture, &small(), 8, featurizer);
    WindowNetwork::new(Parameters::seeded(Rng::new(1)), featurizer, &shape, objective).unwrap()
}

/// A dense network gets there in hundreds of epochs; a linear one has no way to learn eight windows by heart.
#[test]
fn one_batch_can_be_learned_by_heart() {
    let panel = panel(3, 60);
    let featurizer = featurizer(&panel);
    let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
    for architecture in ALL.into_iter().filter(|a| *a != Architecture::Dlinear) {
        let windows = |series: &[usize]| Windows::train(&featurizer, &encoded, series, &TRAIN);
        let (eight, none) = (Few(windows(&[0, 1, 2]), 8), Few(windows(&[]), 0));
        let network = network(architecture, &featurizer, Objective::Mae);
        let config = trainer_config(architecture, &small(), 1.0, 8, 1);
        let config = TrainerConfig { epochs: 600, learning_rate: 3e-3, ..config };
        let mut trainer = Trainer::new(&network, &eight, &none, config).unwrap();
        trainer.run(&Control::default()).unwrap();
        let (first, last) = (trainer.log()[0].train_loss, trainer.log()[599].train_loss);
        assert!(last < 0.02 * first, "{architecture:?}: {first} to {last}");
    }
}

/// The slope of the loss along a random direction of all parameters, by backward and by difference.
#[test]
fn gradients_reach_every_parameter_and_match_differences() {
    let panel = panel(3, 60);
    let featurizer = featurizer(&panel);
    let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
    let mut batch = WindowBatch::default();
    Windows::train(&featurizer, &encoded, &[0, 1, 2], &TRAIN).gather(&[0, 40, 77], &mut batch);
    let quantiles = ALL.map(|architecture| (architecture, Objective::Quantile(vec![0.1, 0.5, 0.9])));
    let others = [
        (Architecture::Tide, Objective::NegativeBinomial),
        (Architecture::Dlinear, Objective::Tweedie),
        (Architecture::Lstm, Objective::StudentT),
        (Architecture::Gru, Objective::Poisson),
        (Architecture::Transformer, Objective::Huber),
    ];
    for (architecture, objective) in quantiles.into_iter().chain(others) {
        let network = network(architecture, &featurizer, objective.clone());
        let mut rng = Rng::new(5);
        // Away from the start, where skips are zero and losses have kinks.
        let values: Vec<Vec<f32>> = network.parameters().values().unwrap();
        let draw = |values: &[Vec<f32>], rng: &mut Rng, size: f64| -> Vec<Vec<f32>> {
            values.iter().map(|v| v.iter().map(|_| (size * rng.normal()) as f32).collect()).collect()
        };
        let add = |a: &[Vec<f32>], b: &[Vec<f32>], times: f32| -> Vec<Vec<f32>> {
            let sum = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a + times * b).collect();
            a.iter().zip(b).map(sum).collect()
        };
        let start = add(&values, &draw(&values, &mut rng, 0.05), 1.0);
        let direction = draw(&values, &mut rng, 1.0);
        network.parameters().set_values(&start).unwrap();
        let loss = network.loss(&batch, None).unwrap().sum;
        let mut gradients = Gradients::default();
        gradients.collect(|| loss.backward()).unwrap();
        let mut slope = 0.0;
        for ((name, var, _), direction) in network.parameters().iter().zip(&direction) {
            let gradient = gradients.take(var).unwrap().unwrap_or_else(|| panic!("{architecture:?}: {name}"));
            assert!(gradient.iter().any(|g| *g != 0.0), "{architecture:?}: {name} gets nothing");
            slope += gradient.iter().zip(direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum::<f64>();
        }
        let loss = |times: f32| {
            network.parameters().set_values(&add(&start, &direction, times)).unwrap();
            f64::from(network.loss(&batch, None).unwrap().sum.to_scalar::<f32>().unwrap())
        };
        let step = 2e-4;
        let numeric = (loss(step) - loss(-step)) / f64::from(2.0 * step);
        assert!(
            (numeric - slope).abs() < 0.03 * slope.abs() + 0.05,
            "{architecture:?} {objective:?}: {numeric} and {slope}"
        );
    }
}

/// Dropout, hidden series, order of the windows, moments, moving averages, the best epoch: all go on where they were.
#[test]
fn every_network_resumes_with_the_same_bits_under_both_optimizers() {
    let panel = panel(3, 60);
    let featurizer = featurizer(&panel);
    let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
    let (series, ends, control) = ([0, 1, 2], [50; 3], Control::default());
    let train = Windows::train(&featurizer, &encoded, &series, &ends);
    let valid = Windows::valid(&featurizer, &encoded, &series, &ends);
    for (architecture, optimizer) in ALL.iter().flat_map(|a| OptimizerKind::ALL.map(|o| (*a, o))) {
        let options = FitOptions {
            dropout: Some(0.2),
            epochs: Some(4),
            optimizer: Some(optimizer),
            hidden_size: Some(16),
            ..small()
        };
        let shape = shape(architecture, &options, train.len(), &featurizer);
        let fresh = || {
            let start = Parameters::seeded(Rng::new(1));
            WindowNetwork::new(start, &featurizer, &shape, Objective::StudentT).unwrap()
        };
        let config = trainer_config(architecture, &options, 1.0, train.len(), 1);
        let trainer = |network| Trainer::new(network, &train, &valid, config.clone()).unwrap();
        let straight = fresh();
        trainer(&straight).run(&control).unwrap();
        let first = fresh();
        let mut stopped = trainer(&first);
        stopped.run_epoch(&control).unwrap();
        stopped.run_epoch(&control).unwrap();
        let bytes = stopped.checkpoint().to_bytes().unwrap();
        let second = fresh();
        let resumed = trainer(&second).resume(Checkpoint::from_bytes(&bytes).unwrap());
        resumed.unwrap().run(&control).unwrap();
        let values = |network: &WindowNetwork| network.parameters().values().unwrap();
        assert_eq!(values(&second), values(&straight), "{architecture:?} {optimizer:?}");
        assert_ne!(values(&first), values(&straight), "{architecture:?} {optimizer:?}");
    }
}
