//! That the network can learn.

use super::*;
use crate::ml::features::WindowBatch;
use crate::ml::features::test_panel as panel;
use crate::ml::models::tests::options;

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
    let options = FitOptions {
        dropout: Some(0.0),
        hidden_size: Some(64),
        epochs: Some(2),
        layers: Some(1),
        ..options(5)
    };
    let shape = shape(&options, 8, 3);
    let network = TideNetwork::new(Parameters::seeded(Rng::new(1)), &featurizer, shape, vec![0.5]).unwrap();
    let (eight, none) = (Few(windows, 8), Few(Windows::train(&featurizer, &encoded, &[], &train), 0));
    let config = TrainerConfig { epochs: 600, learning_rate: 3e-3, ..trainer_config(&options, 1.0, 8, 1) };
    let mut trainer = Trainer::new(&network, &eight, &none, config).unwrap();
    trainer.run(&Control::default()).unwrap();
    let (first, last) = (trainer.log()[0].train_loss, trainer.log()[599].train_loss);
    assert!(last < 0.02 * first, "{first} to {last}");
}
