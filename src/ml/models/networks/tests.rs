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
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::training::{Dataset, Network, Trainer, TrainerConfig};

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

fn network(architecture: Architecture, featurizer: &Featurizer, levels: Vec<f64>) -> WindowNetwork {
    let shape = shape(architecture, &small(), 8, featurizer);
    WindowNetwork::new(Parameters::seeded(Rng::new(1)), featurizer, &shape, levels).unwrap()
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
        let network = network(architecture, &featurizer, vec![0.5]);
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
    for architecture in ALL {
        let network = network(architecture, &featurizer, vec![0.1, 0.5, 0.9]);
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
            let gradient = gradients.take(var).unwrap_or_else(|| panic!("{architecture:?}: {name}"));
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
            "{architecture:?}: {numeric} and {slope}"
        );
    }
}
