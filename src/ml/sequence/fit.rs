//! A network learns what comes next; the last event of every sequence tells when to stop, and is learnt at the end.

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::forecaster::EpochLog;
use crate::ml::layers::{Along, Parameters};
use crate::ml::rng::Rng;
use crate::ml::sequence::events::Events;
use crate::ml::sequence::examples::{Asked, Examples};
use crate::ml::sequence::model::{SequenceConfig, SequenceModel};
use crate::ml::sequence::network::{Pass, SequenceNetwork, Sizes};
use crate::ml::sequence::pretrain::{SEQUENCES_MIN, SHARD, SequencePretraining};
use crate::ml::sequence::vocabulary::{FIRST, Vocabulary};
use crate::ml::training::{Dataset, Network, OptimizerConfig, Trainer, TrainerConfig};

/// Sequences whose last events tell when to stop, at most.
const HELD_OUT_MAX: usize = 5_000;
/// Places of a list among which what came next is looked for.
const LIST: usize = 10;

/// How to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceOptions {
    /// Sizes and course; `epochs` at most.
    pub course: SequencePretraining,
    /// Epochs without improvement before it stops.
    pub patience: usize,
}

/// How it went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SequenceReport {
    /// Sequences that were given.
    pub sequences: usize,
    /// Events whose next one was told.
    pub held_out: usize,
    /// Mean reciprocal place of what came next among all that could.
    pub mrr: f64,
    /// The same of telling the most frequent events always.
    pub naive_mrr: f64,
    /// Share of what came next among the first ten that were told.
    pub hit_rate: f64,
    /// Normalised discounted cumulative gain of what came next among the first ten (Järvelin and Kekäläinen 2002).
    pub ndcg: f64,
    /// Share that was told first.
    pub accuracy: f64,
    /// Mean negative logarithm of the probability of what came next.
    pub log_loss: f64,
    /// One line an epoch.
    pub log: Vec<EpochLog>,
}

/// Fits a network to sequences, beginning with a pretrained one where there is one, whose words it keeps.
pub fn fit(
    events: &Events,
    base: Option<&SequenceModel>,
    options: &SequenceOptions,
    control: &Control,
) -> Result<(SequenceModel, SequenceReport)> {
    let course = &options.course;
    let vocabulary = base.map_or_else(|| Vocabulary::of(events, course.classes), |b| b.vocabulary.clone());
    if vocabulary.sizes().len() != events.columns.len() {
        let columns = vocabulary.sizes().len() - 1;
        let message = format!("the pretrained model reads {columns} columns beside the events");
        return Err(Error::input(crate::error::Subject::Column, message)
            .with_hint("give the FEATURES of the pretraining, in their order"));
    }
    let sizes = base.map_or_else(
        || Sizes {
            codes: vocabulary.sizes(),
            width: course.width,
            heads: course.heads,
            layers: course.layers,
            longest: course.longest,
        },
        |base| base.config.sizes.clone(),
    );
    let parameters = Parameters::seeded(Rng::new(course.seed).fork("parameters")).on(course.device.open()?);
    let network = SequenceNetwork::new(parameters, &sizes, Along::Earlier, course.dropout)?;
    if let Some(base) = base {
        network.parameters().copy_from(base.network.parameters())?;
    }
    let codes = vocabulary.encode(events);
    let known = || (0..events.len()).map(|n| events.of(n));
    let before = known().map(|range| range.start..range.end.saturating_sub(1).max(range.start));
    let mut windows = Examples::windows(before, sizes.longest, true);
    Examples::keep_known(&mut windows, &codes[0], 1);
    if windows.len() < SEQUENCES_MIN {
        let message = format!(
            "{} sequences of at least three known events are too few to learn from; {SEQUENCES_MIN} are needed",
            windows.len()
        );
        return Err(Error::data(message));
    }
    let mut last = Examples::windows(known().filter(|range| range.len() > 2), sizes.longest, false);
    last.retain(|(_, end)| codes[0][end - 1] >= FIRST);
    let step = last.len().div_ceil(HELD_OUT_MAX).max(1);
    let last: Vec<(usize, usize)> = last.into_iter().step_by(step).collect();
    let make = |windows: Vec<(usize, usize)>, asked: Asked| Examples {
        codes: codes.clone(),
        windows,
        asked,
        copies: 1,
        seed: Rng::new(course.seed),
    };
    let (train, valid) = (make(windows, Asked::Next), make(last, Asked::Last));
    let settings = TrainerConfig {
        epochs: course.epochs,
        epoch_length: train.len(),
        batch_size: course.batch_size,
        shard_size: SHARD,
        learning_rate: course.learning_rate,
        patience: options.patience,
        optimizer: OptimizerConfig::default(),
        average_decay: 0.99,
        progress: (0.0, 0.8),
        seconds_max: course.max_seconds.map(|seconds| 0.8 * seconds),
        seed: course.seed,
    };
    let mut trainer = Trainer::new(&network, &train, &valid, settings.clone())?;
    trainer.run(control)?;
    let (log, best) = (trainer.log().to_vec(), trainer.best_epoch());
    drop(trainer);
    let report =
        SequenceReport { sequences: events.len(), log, ..judged(&network, &train, &valid, control)? };
    // The rest, for a third of the way and at a third of the rate.
    let mut all = Examples::windows(known(), sizes.longest, true);
    Examples::keep_known(&mut all, &codes[0], 1);
    let all = make(all, Asked::Next);
    let none = make(vec![], Asked::Next);
    let settings = TrainerConfig {
        epochs: best.div_ceil(3),
        epoch_length: all.len(),
        learning_rate: course.learning_rate / 3.0,
        progress: (0.8, 1.0),
        seconds_max: course.max_seconds.map(|seconds| 0.2 * seconds),
        ..settings
    };
    if settings.epochs > 0 {
        Trainer::new(&network, &all, &none, settings)?.run(control)?;
    }
    let network = network.on_processor(&sizes, Along::Earlier)?;
    let config = SequenceConfig { sizes, pretrained: false };
    Ok((SequenceModel { config, vocabulary, network }, report))
}

/// Scores of the network on the events that are held out, and of the most frequent ones.
fn judged(
    network: &SequenceNetwork,
    train: &Examples,
    valid: &Examples,
    control: &Control,
) -> Result<SequenceReport> {
    let mut counts: Vec<f32> = vec![];
    for (start, end) in &train.windows {
        for code in &train.codes[0][*start..*end] {
            counts.resize(counts.len().max(*code as usize + 1), 0.0);
            counts[*code as usize] += 1.0;
        }
    }
    let (mut report, mut pass) = (SequenceReport::default(), Pass::default());
    let indexes: Vec<usize> = (0..valid.len()).collect();
    for indexes in indexes.chunks(SHARD) {
        control.check()?;
        valid.gather(indexes, &mut pass);
        let scores = network.scores(&pass)?.to_vec2::<f32>()?;
        for (row, wanted) in scores.iter().zip(&pass.wanted) {
            let (row, wanted) = (&row[FIRST as usize..], (*wanted - FIRST) as usize);
            let place = place(row, wanted);
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            let total: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
            report.log_loss += total.ln() - f64::from(row[wanted] - largest);
            report.mrr += 1.0 / place as f64;
            report.hit_rate += f64::from(u8::from(place <= LIST));
            report.ndcg += if place <= LIST { 1.0 / (place as f64 + 1.0).log2() } else { 0.0 };
            report.accuracy += f64::from(u8::from(place == 1));
            counts.resize(counts.len().max(row.len() + FIRST as usize), 0.0);
            report.naive_mrr += 1.0 / self::place(&counts[FIRST as usize..], wanted) as f64;
            report.held_out += 1;
        }
    }
    let n = report.held_out.max(1) as f64;
    let SequenceReport { mrr, naive_mrr, hit_rate, ndcg, accuracy, log_loss, .. } = &mut report;
    [mrr, naive_mrr, hit_rate, ndcg, accuracy, log_loss].into_iter().for_each(|sum| *sum /= n);
    Ok(report)
}

/// The place of a class by its score; of equal ones half of the others come before it.
fn place(scores: &[f32], class: usize) -> usize {
    let own = scores[class];
    let above = scores.iter().filter(|score| **score > own).count();
    let equal = scores.iter().filter(|score| **score == own).count();
    1 + above + (equal - 1) / 2
}
