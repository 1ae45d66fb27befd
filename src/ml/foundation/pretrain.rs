//! Pretraining: a network learns to forecast what a corpus holds.

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::forecaster::EpochLog;
use crate::ml::foundation::batches::{Batches, Examples, Hidden, fixed};
use crate::ml::foundation::chronos2::Chronos2;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::corpus::Corpus;
use crate::ml::foundation::groups::Groups;
use crate::ml::foundation::rows::CovariateRows;
use crate::ml::foundation::weights::{read_on, write};
use crate::ml::layers::Parameters;
use crate::ml::rng::Rng;
use crate::ml::tensor_file::Precision;
use crate::ml::training::{Course, Network, OptimizerConfig, Trainer, TrainerConfig};

/// Tokens of a batch that is computed in one piece, on the processor, where a piece takes a tenth of a second, and on a card.
const TOKENS: [usize; 2] = [1_024, 32_768];
/// How often the network is looked at while it learns.
const EPOCHS: usize = 20;
/// Batches of made-up examples that tell how far it is, and windows of the held-out ends of series.
const VALID: (usize, usize) = (12, 2_000);
/// Examples of any training are far fewer.
const EXAMPLES: usize = 1 << 40;

/// How to pretrain.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainOptions {
    /// Sizes of a network that starts from nothing.
    pub config: FoundationConfig,
    /// What is asked of it.
    pub hidden: Hidden,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Tokens of each, about.
    pub batch_tokens: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Where it is computed.
    pub device: Placement,
    /// Seconds after which it ends with what it has.
    pub max_seconds: Option<f64>,
    /// Seed of all randomness.
    pub seed: u64,
}

/// A pretrained network, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Pretrained {
    /// The network as a file.
    pub file: Vec<u8>,
    /// Numbers that were learnt.
    pub parameters: usize,
    /// One line for every look at it.
    pub log: Vec<EpochLog>,
}

/// Pretrains a network on a corpus; `from` is the network to begin with, and none begins from nothing.
pub fn pretrain(
    corpus: Corpus,
    options: &PretrainOptions,
    from: Option<&[u8]>,
    course: Course<'_>,
    control: &Control,
) -> Result<Pretrained> {
    let device = options.device.open()?;
    let tokens = TOKENS[usize::from(!device.is_cpu())];
    let network = match from {
        None => {
            let rng = Rng::new(options.seed).fork("parameters");
            Chronos2::new(Parameters::seeded(rng).on(device), &options.config)?
        }
        Some(file) => read_on(file, device)?.learning()?,
    };
    let mut config = network.config().clone();
    config.past_rows |= corpus.has_past();
    // Batches of one row would hide from a network of others what its known covariates do to the target.
    let rows = if config.covariate_rows { CovariateRows::None } else { config.rows() };
    let corpus = corpus.with_covariate_rows(rows);
    let pieces = (options.batch_tokens / tokens).max(1);
    let train = Batches::new(&config, (&corpus, options.hidden), options.seed, (EXAMPLES, tokens));
    let valid = held_out(&corpus, &config, options, tokens);
    let epochs = EPOCHS.min(options.steps.max(1));
    let settings = TrainerConfig {
        epochs,
        epoch_length: options.steps.div_ceil(epochs) * pieces,
        batch_size: pieces,
        shard_size: 1,
        learning_rate: options.learning_rate,
        patience: epochs,
        optimizer: OptimizerConfig::default(),
        average_decay: 0.999,
        progress: (0.0, 1.0),
        seconds_max: options.max_seconds,
        seed: options.seed,
    };
    let (train, valid) = (Examples::Drawn(Box::new(train)), Examples::Fixed(valid));
    let trainer = Trainer::new(&network, &train, &valid, settings)?.run_kept(course, control)?;
    let log = trainer.log().to_vec();
    drop(trainer);
    let parameters = network.parameters().count();
    config.seen = seen(&corpus, from.is_some().then_some(&config));
    Ok(Pretrained { file: write((network.parameters(), &config), Precision::Half)?, parameters, log })
}

/// The frequencies that a network has seen which began as one of this configuration.
fn seen(corpus: &Corpus, began: Option<&FoundationConfig>) -> Option<Vec<usize>> {
    let mut all = corpus.frequencies()?;
    if let Some(began) = began {
        all.extend(began.seen.as_ref()?);
        all.sort_unstable();
        all.dedup();
    }
    Some(all)
}

/// What tells how far the network is: the ends of the series, or other made-up examples where there are none.
fn held_out(
    corpus: &Corpus,
    config: &FoundationConfig,
    options: &PretrainOptions,
    tokens: usize,
) -> Vec<Groups> {
    let windows = corpus.held_out(config.context_length, corpus.horizon(), VALID.1);
    if !windows.is_empty() {
        return fixed(&windows, corpus.horizon(), config);
    }
    let seed = Rng::new(options.seed).fork("valid").next_u64();
    let batches = Batches::new(
        config,
        (corpus, options.hidden),
        seed,
        (VALID.0 * 4_096 / tokens.min(4_096), tokens.min(4_096)),
    );
    batches.all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::ml::training::Checkpoint;
    use std::cell::RefCell;

    fn options(steps: usize) -> PretrainOptions {
        PretrainOptions {
            config: FoundationConfig::small(),
            hidden: Hidden::NextPatch,
            steps,
            batch_tokens: 4_096,
            learning_rate: 3e-3,
            device: Placement::Cpu,
            max_seconds: None,
            seed: 4,
        }
    }

    fn course<'a>(resume: Option<Checkpoint>, keep: &'a dyn Fn(&Checkpoint) -> Result<()>) -> Course<'a> {
        Course { resume, keep }
    }

    #[test]
    fn it_learns_and_the_same_seed_gives_the_same_bytes() {
        let control = Control::default();
        let corpus = || Corpus::new(vec![], 0, 1.0);
        let run = || pretrain(corpus(), &options(30), None, course(None, &|_| Ok(())), &control).unwrap();
        let first = run();
        let losses: Vec<f64> = first.log.iter().map(|line| line.valid_loss).collect();
        assert!(losses[losses.len() - 1] < 0.9 * losses[0], "{losses:?}");
        assert_eq!(first.file, run().file);
    }

    #[test]
    fn what_was_stopped_goes_on_to_the_same_bytes() {
        let control = Control::default();
        let corpus = || Corpus::new(vec![], 0, 1.0);
        let whole = pretrain(corpus(), &options(4), None, course(None, &|_| Ok(())), &control).unwrap();
        let kept = RefCell::new(None);
        let stop = |checkpoint: &Checkpoint| {
            *kept.borrow_mut() = Some(checkpoint.clone());
            if checkpoint.epoch == 2 { Err(Error::cancelled("enough")) } else { Ok(()) }
        };
        assert!(pretrain(corpus(), &options(4), None, course(None, &stop), &control).is_err());
        let resumed =
            pretrain(corpus(), &options(4), None, course(kept.take(), &|_| Ok(())), &control).unwrap();
        assert_eq!(resumed.file, whole.file);
    }
}
