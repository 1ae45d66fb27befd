//! Fine-tuning: a pretrained network adapts to the series at hand, and stays as it is where that does not help.

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::forecaster::EpochLog;
use crate::ml::foundation::base::Base;
use crate::ml::foundation::batches::{Batches, Examples, Hidden, Shapes, fixed};
use crate::ml::foundation::corpus::Corpus;
use crate::ml::foundation::weights::{read_on, write};
use crate::ml::tensor_file::Precision;
use crate::ml::training::{Network, OptimizerConfig, Trainer, TrainerConfig};

/// Examples of any training are far fewer.
const EXAMPLES: usize = 1 << 40;
/// Pieces of a step, which are computed side by side: always as many, on any number of threads.
const PIECES: usize = 4;
/// Held-out windows that tell when to stop, at most.
const WINDOWS_MAX: usize = 1_000;

/// How to fine-tune.
#[derive(Debug, Clone, PartialEq)]
pub struct FineTuning {
    /// Looks at the held-out windows, at most.
    pub epochs: usize,
    /// Steps of the optimiser between them.
    pub steps: usize,
    /// Tokens of a step, about.
    pub tokens: usize,
    /// Steps of history that are seen, at most.
    pub context: usize,
    /// Steps to forecast.
    pub horizon: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Looks without improvement before it stops.
    pub patience: usize,
    /// Only what reads the forecasts from the last tokens learns.
    pub freezes_encoder: bool,
    /// Rank of what its matrices learn; `None` where they learn themselves.
    pub rank: Option<usize>,
    /// Where it is computed.
    pub device: Placement,
    /// Seconds after which it ends with what it has.
    pub seconds_max: Option<f64>,
    /// Shares of the whole work that are done when it begins and when it ends.
    pub progress: (f64, f64),
    /// Seed of all randomness.
    pub seed: u64,
}

/// What fine-tuning gave.
#[derive(Debug)]
pub struct FineTuned {
    /// The network: the one it began with where nothing was better on the held-out windows.
    pub base: Base,
    /// The look that was best; 0 is the beginning.
    pub best_epoch: usize,
    /// One line for every look.
    pub log: Vec<EpochLog>,
}

/// Fine-tunes a network on a corpus; without held-out windows it goes on to the last epoch.
pub fn fine_tune(base: &Base, corpus: &Corpus, options: &FineTuning, control: &Control) -> Result<FineTuned> {
    let network =
        read_on(base.file(), options.device.open()?)?.learning()?.freezing_encoder(options.freezes_encoder);
    let config = network.config().clone();
    let patch = config.input_patch_size;
    let shape = Shapes::One {
        before: options.context.div_ceil(patch).clamp(1, config.context_length / patch),
        after: options.horizon.div_ceil(patch).clamp(1, config.max_output_patches),
        rows: corpus.rows(),
    };
    let train =
        Batches::new(&config, (corpus, Hidden::NextPatch), options.seed, (EXAMPLES, options.tokens / PIECES));
    let train = Examples::Drawn(Box::new(train.of_shape(shape)));
    let windows = corpus.held_out(options.context, options.horizon, WINDOWS_MAX);
    let valid = Examples::Fixed(fixed(&windows, options.horizon, &config));
    let settings = TrainerConfig {
        epochs: options.epochs,
        epoch_length: options.steps * PIECES,
        batch_size: PIECES,
        shard_size: 1,
        learning_rate: options.learning_rate,
        patience: options.patience,
        optimizer: OptimizerConfig { rank: options.rank, ..OptimizerConfig::default() },
        average_decay: 0.98,
        progress: options.progress,
        seconds_max: options.seconds_max,
        seed: options.seed,
    };
    let mut trainer = Trainer::new(&network, &train, &valid, settings)?;
    trainer.look(control)?;
    trainer.run(control)?;
    let (log, best_epoch) = (trainer.log().to_vec(), trainer.best_epoch());
    drop(trainer);
    let base = match best_epoch {
        0 => base.clone(),
        _ => Base::read(&write((network.parameters(), &config), Precision::Half)?)?,
    };
    Ok(FineTuned { base, best_epoch, log })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ml::features::test_panel;
    use crate::ml::foundation::FoundationConfig;
    use crate::ml::foundation::chronos2::Chronos2;
    use crate::ml::layers::Parameters;
    use crate::ml::rng::Rng;

    fn base() -> Base {
        let config = FoundationConfig::small();
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &config).unwrap();
        Base::read(&write((network.parameters(), &config), Precision::Half).unwrap()).unwrap()
    }

    fn tuned(replay: f64, change: impl Fn(&mut FineTuning)) -> FineTuned {
        tuned_from(&base(), replay, change)
    }

    fn tuned_from(base: &Base, replay: f64, change: impl Fn(&mut FineTuning)) -> FineTuned {
        let panel = test_panel(6, 90);
        let corpus = Corpus::of_panel(&panel, &[76; 6], replay);
        let mut options = FineTuning {
            epochs: 3,
            steps: 4,
            tokens: 256,
            context: 64,
            horizon: 14,
            learning_rate: 3e-3,
            patience: 3,
            freezes_encoder: false,
            rank: None,
            device: Placement::Cpu,
            seconds_max: None,
            progress: (0.0, 1.0),
            seed: 5,
        };
        change(&mut options);
        fine_tune(base, &corpus, &options, &Control::default()).unwrap()
    }

    fn values(base: &Base) -> BTreeMap<String, (usize, Vec<f32>)> {
        let value = |(name, var, _): (&str, &candle_core::Var, bool)| {
            (name.to_owned(), (var.rank(), var.flatten_all().unwrap().to_vec1().unwrap()))
        };
        base.network().parameters().iter().map(value).collect()
    }

    /// Whether a tensor of this name and rank changed.
    fn changes(tuned: &FineTuned) -> BTreeMap<String, (usize, bool)> {
        let (old, new) = (values(&base()), values(&tuned.base));
        assert_eq!(old.len(), new.len());
        old.into_iter().zip(new).map(|((name, old), (_, new))| (name, (old.0, old != new))).collect()
    }

    #[test]
    fn a_frozen_encoder_keeps_every_bit_and_what_reads_it_learns() {
        let frozen = tuned(0.0, |options| options.freezes_encoder = true);
        assert!(frozen.best_epoch > 0);
        let encoder = |name: &str| name.starts_with("encoder.block") || name.starts_with("input_patch");
        let changes = changes(&frozen);
        assert!(changes.iter().filter(|(name, _)| encoder(name)).all(|(_, (_, changed))| !changed));
        assert!(changes.iter().any(|(name, (_, changed))| name.starts_with("output_patch") && *changed));
    }

    #[test]
    fn thin_matrices_move_matrices_alone_and_repeat() {
        let thin = || tuned(0.0, |options| options.rank = Some(2));
        let (once, again) = (thin(), thin());
        assert!(once.best_epoch > 0);
        assert_eq!(once.base.file(), again.base.file());
        let changes = changes(&once);
        assert!(changes.values().all(|(rank, changed)| !changed || *rank == 2), "{changes:?}");
        assert!(changes.iter().any(|(name, (_, changed))| name.starts_with("encoder.block") && *changed));
        assert_ne!(once.base.file(), tuned(0.0, |_| ()).base.file());
    }

    #[test]
    fn what_is_best_is_kept_and_where_nothing_is_better_all_stays() {
        let learnt = tuned(0.0, |_| ());
        let losses: Vec<f64> = learnt.log.iter().map(|line| line.valid_loss).collect();
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(losses[learnt.best_epoch - 1], best);
        // A step too far, which is not kept.
        let still = tuned_from(&learnt.base, 0.0, |options| {
            (options.epochs, options.steps, options.learning_rate) = (1, 1, 10.0);
        });
        assert_eq!((still.best_epoch, still.log.len()), (0, 1));
        assert!(still.base.file() == learnt.base.file());
    }

    #[test]
    fn replay_mixes_made_up_examples_in() {
        let (none, some) = (tuned(0.0, |_| ()), tuned(0.5, |_| ()));
        assert_ne!(none.log[0].train_loss, some.log[0].train_loss);
    }
}
