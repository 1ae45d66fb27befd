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
