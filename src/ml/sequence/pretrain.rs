//! Pretraining on sequences without a target: events are hidden, and told from those around them (Sun et al. 2019).

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::forecaster::EpochLog;
use crate::ml::layers::{Along, Parameters};
use crate::ml::rng::Rng;
use crate::ml::sequence::events::Events;
use crate::ml::sequence::examples::{Asked, Examples};
use crate::ml::sequence::model::{SequenceConfig, SequenceModel};
use crate::ml::sequence::network::{SequenceNetwork, Sizes};
use crate::ml::sequence::vocabulary::Vocabulary;
use crate::ml::training::{Course, OptimizerConfig, Trainer, TrainerConfig};

/// Events of a sequence that are hidden, about, and the least and the largest share of them, where the user names none: of
/// short sequences more tells more (Sun et al. 2019 hide 0.6 of 9 events, 0.4 of 12 and 0.2 of 150).
const HIDDEN: (f64, f64, f64) = (5.0, 0.2, 0.6);
/// Sequences that are needed.
pub(super) const SEQUENCES_MIN: usize = 20;
/// Sequences that tell how far it is: one of so many, at most so many.
const HELD_OUT: (usize, usize) = (20, 2_000);
/// Sequences of a thread.
pub(super) const SHARD: usize = 64;

/// How to pretrain.
#[derive(Debug, Clone, PartialEq)]
pub struct SequencePretraining {
    /// Width of an event.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Events that are looked at.
    pub longest: usize,
    /// Passes over the sequences.
    pub epochs: usize,
    /// Sequences of a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Dropout probability.
    pub dropout: f64,
    /// Share of the events that are hidden while pretraining; `None` chooses by the length of the sequences.
    pub hidden: Option<f64>,
    /// Events that are told apart, at most; of more the most frequent ones are.
    pub classes: usize,
    /// Where it is computed.
    pub device: Placement,
    /// Seconds after which it ends with what it has.
    pub max_seconds: Option<f64>,
    /// Seed of all randomness.
    pub seed: u64,
}

/// A pretrained network, and how it went.
#[derive(Debug)]
pub struct PretrainedSequence {
    /// The network.
    pub model: SequenceModel,
    /// Sequences that were given.
    pub sequences: usize,
    /// One line an epoch.
    pub log: Vec<EpochLog>,
}

/// Pretrains a network on these sequences but for their last events, by which what is trained from it is judged.
pub fn pretrain(
    events: &Events,
    options: &SequencePretraining,
    course: Course<'_>,
    control: &Control,
) -> Result<PretrainedSequence> {
    let vocabulary = Vocabulary::of(events, options.classes);
    let codes = vocabulary.encode(events);
    let ranges = (0..events.len()).map(|n| events.of(n));
    let before_last = ranges.map(|range| range.start..range.end.saturating_sub(1).max(range.start));
    let mut windows = Examples::windows(before_last, options.longest - 1, true);
    Examples::keep_known(&mut windows, &codes[0], 0);
    if windows.len() < SEQUENCES_MIN {
        let message = format!(
            "{} sequences of at least three events are too few to learn from; {SEQUENCES_MIN} are needed",
            windows.len()
        );
        return Err(Error::data(message));
    }
    let mean = windows.iter().map(|(start, end)| end - start).sum::<usize>() as f64 / windows.len() as f64;
    let share = options.hidden.unwrap_or((HIDDEN.0 / mean).clamp(HIDDEN.1, HIDDEN.2));
    let sizes = Sizes {
        codes: vocabulary.sizes(),
        width: options.width,
        heads: options.heads,
        layers: options.layers,
        longest: options.longest,
    };
    let parameters =
        Parameters::seeded(Rng::new(options.seed).fork("parameters")).on(options.device.open()?);
    let network = SequenceNetwork::new(parameters, &sizes, Along::Steps, options.dropout)?;
    let mut order: Vec<usize> = (0..windows.len()).collect();
    Rng::new(options.seed).fork("held out").shuffle(&mut order);
    let held_out = (windows.len() / HELD_OUT.0).min(HELD_OUT.1);
    let make = |places: &[usize], copies: usize, name: &str| Examples {
        codes: codes.clone(),
        windows: places.iter().map(|n| windows[*n]).collect(),
        asked: Asked::Hidden(share),
        copies,
        seed: Rng::new(options.seed).fork(name),
    };
    let (valid, train) = order.split_at(held_out);
    // Every epoch hides other events.
    let (valid, train) = (make(valid, 1, "valid"), make(train, options.epochs, "train"));
    let settings = TrainerConfig {
        epochs: options.epochs,
        epoch_length: train.windows.len(),
        batch_size: options.batch_size,
        shard_size: SHARD,
        learning_rate: options.learning_rate,
        patience: options.epochs,
        optimizer: OptimizerConfig::default(),
        average_decay: 0.99,
        progress: (0.0, 1.0),
        seconds_max: options.max_seconds,
        seed: options.seed,
    };
    let trainer = Trainer::new(&network, &train, &valid, settings)?.run_kept(course, control)?;
    let log = trainer.log().to_vec();
    drop(trainer);
    let network = network.on_processor(&sizes, Along::Steps)?;
    let config = SequenceConfig { sizes, pretrained: true };
    let sequences = events.len();
    Ok(PretrainedSequence { model: SequenceModel { config, vocabulary, network }, sequences, log })
}
