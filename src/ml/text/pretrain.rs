//! Pretraining on texts without labels: a vocabulary and an encoder from nothing, or an encoder that goes on learning.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::device::Placement;
use crate::ml::forecaster::EpochLog;
use crate::ml::layers::Parameters;
use crate::ml::rng::Rng;
use crate::ml::tensor_file::Precision;
use crate::ml::text::config::BertConfig;
use crate::ml::text::encoder::{Pooling, TextConfig, TextEncoder, file_of};
use crate::ml::text::objective::{Masked, MaskedLanguageModel, TextObjective};
use crate::ml::text::tokens::{Encoded, Special, TextTokenizer, Tokens};
use crate::ml::text::vocabulary;
use crate::ml::training::{Course, Dataset, Network, OptimizerConfig, Trainer, TrainerConfig};

/// How often the network is looked at while it learns.
const EPOCHS: usize = 20;
/// Texts of a thread.
const SHARD: usize = 16;
/// Texts that tell how far it is: one of so many, at most so many.
const HELD_OUT: (usize, usize) = (20, 1_000);
/// Distinct texts that are needed.
const TEXTS_MIN: usize = 20;
/// Share of the tokens that are hidden; of those, shares that become another word, or stay.
const HIDDEN: (f64, f64, f64) = (0.15, 0.1, 0.1);

/// How to pretrain.
#[derive(Debug, Clone, PartialEq)]
pub struct TextPretraining {
    /// What is asked.
    pub objective: TextObjective,
    /// Pieces of the vocabulary at most, of an encoder from nothing.
    pub vocabulary: usize,
    /// Width of a token, of an encoder from nothing.
    pub width: usize,
    /// Layers, of an encoder from nothing.
    pub layers: usize,
    /// Tokens of a text that are read, at most.
    pub longest: usize,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Texts of each.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Dropout probability.
    pub dropout: f64,
    /// Where it is computed.
    pub device: Placement,
    /// Seconds after which it ends with what it has.
    pub max_seconds: Option<f64>,
    /// Seed of all randomness.
    pub seed: u64,
}

/// Width of a head.
pub const HEAD: usize = 32;
/// Hidden width of a layer, over the width of a token.
const INNER: usize = 4;

/// Where a pretraining goes on from, and what is told of it on its way.
pub struct TextCourse<'a> {
    /// The encoder to begin with; none begins from nothing.
    pub from: Option<&'a TextEncoder>,
    /// Its checkpoints.
    pub course: Course<'a>,
}

/// A pretrained encoder, and how it went.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainedText {
    /// The encoder as a file.
    pub file: Vec<u8>,
    /// Distinct texts.
    pub texts: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Pieces of the vocabulary.
    pub vocabulary: usize,
    /// Numbers of the network.
    pub parameters: usize,
    /// Share of the hidden tokens of texts that were held out which it names.
    pub accuracy: Option<f64>,
    /// One line for every look at it.
    pub log: Vec<EpochLog>,
}

/// One text of two parts, the second of which may be empty.
pub type Parts = [String; 2];

/// Pretrains an encoder on the distinct ones of these texts.
pub fn pretrain(
    texts: Vec<Parts>,
    options: &TextPretraining,
    course: TextCourse<'_>,
    control: &Control,
) -> Result<PretrainedText> {
    let texts: BTreeSet<Parts> =
        texts.into_iter().filter(|parts| parts.iter().any(|p| !p.is_empty())).collect();
    let texts: Vec<Parts> = texts.into_iter().collect();
    if texts.len() < TEXTS_MIN {
        let message =
            format!("{} distinct texts are too few to learn from; {TEXTS_MIN} are needed", texts.len());
        return Err(Error::data(message));
    }
    let (config, tokenizer) = match course.from {
        Some(encoder) => (encoder.text_config().clone(), encoder.tokenizer().clone()),
        None => from_nothing(&texts, options)?,
    };
    let network = network(&config, options, course.from)?;
    let mask = tokenizer.special().mask.ok_or_else(|| {
        Error::data("the vocabulary of the model has no [MASK]: it cannot be pretrained further")
    })?;
    let longest = config.longest.min(options.longest);
    let (train, valid) = split(&texts, &tokenizer, (options, longest, mask))?;
    let settings = TrainerConfig {
        epochs: EPOCHS.min(options.steps.max(1)),
        epoch_length: options.steps.div_ceil(EPOCHS).max(1) * options.batch_size,
        batch_size: options.batch_size,
        shard_size: SHARD,
        learning_rate: options.learning_rate,
        patience: EPOCHS,
        optimizer: OptimizerConfig::default(),
        average_decay: 0.99,
        progress: (0.0, 1.0),
        seconds_max: options.max_seconds,
        seed: options.seed,
    };
    let trainer = Trainer::new(&network, &train, &valid, settings)?.run_kept(course.course, control)?;
    let log = trainer.log().to_vec();
    drop(trainer);
    Ok(PretrainedText {
        file: file_of(&config, &tokenizer, network.parameters())?.write(Precision::Single)?,
        texts: texts.len(),
        tokens: train.tokens() + valid.tokens(),
        vocabulary: tokenizer.words(),
        parameters: network.parameters().count(),
        accuracy: accuracy(&network, &valid)?,
        log,
    })
}

/// A vocabulary of the texts, and sizes that fit it.
fn from_nothing(texts: &[Parts], options: &TextPretraining) -> Result<(TextConfig, TextTokenizer)> {
    let all: Vec<String> = texts.iter().flatten().filter(|text| !text.is_empty()).cloned().collect();
    let tokenizer = vocabulary::learn(&all, options.vocabulary, options.longest)?;
    let bert = BertConfig {
        vocab_size: tokenizer.last() as usize + 1,
        hidden_size: options.width,
        num_hidden_layers: options.layers,
        num_attention_heads: (options.width / HEAD).max(1),
        intermediate_size: INNER * options.width,
        hidden_act: "gelu".to_owned(),
        max_position_embeddings: options.longest,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
    };
    let config = TextConfig { bert, pooling: Pooling::Mean, normalized: true, longest: options.longest };
    Ok((config, tokenizer))
}

/// The network from a seed; an encoder that is there keeps its weights, and only the heads are new.
fn network(
    config: &TextConfig,
    options: &TextPretraining,
    from: Option<&TextEncoder>,
) -> Result<MaskedLanguageModel> {
    let seeded = Parameters::seeded(Rng::new(options.seed).fork("parameters")).on(options.device.open()?);
    let network = MaskedLanguageModel::new(seeded, &config.bert, options.objective, options.dropout)?;
    if let Some(encoder) = from {
        network.parameters().copy_from(encoder.parameters())?;
    }
    Ok(network)
}

/// Texts as examples, those that are held out apart.
fn split(
    texts: &[Parts],
    tokenizer: &TextTokenizer,
    (options, longest, mask): (&TextPretraining, usize, u32),
) -> Result<(Examples, Examples)> {
    let mut parts = Vec::with_capacity(texts.len());
    for [first, second] in texts {
        let first = inner(tokenizer, first)?;
        let pair = match (options.objective, second.is_empty()) {
            (TextObjective::SentenceOrder, true) => halves(first, tokenizer),
            (_, true) => [first, vec![]],
            (_, false) => [first, inner(tokenizer, second)?],
        };
        let ordered = options.objective == TextObjective::SentenceOrder;
        if pair.iter().any(|part| !part.is_empty()) && !(ordered && pair.iter().any(Vec::is_empty)) {
            parts.push(fitted(pair, longest));
        }
    }
    if parts.len() < TEXTS_MIN {
        let message =
            format!("{} texts of two parts are too few to learn from; {TEXTS_MIN} are needed", parts.len());
        return Err(Error::data(message));
    }
    let mut order: Vec<usize> = (0..parts.len()).collect();
    Rng::new(options.seed).fork("held out").shuffle(&mut order);
    let held_out = (parts.len() / HELD_OUT.0).min(HELD_OUT.1);
    let make = |places: &[usize], name: &str, copies: usize| Examples {
        parts: places.iter().map(|i| parts[*i].clone()).collect(),
        copies,
        seed: Rng::new(options.seed).fork(name),
        special: tokenizer.special(),
        mask,
        words: tokenizer.last() + 1,
        swaps: options.objective == TextObjective::SentenceOrder,
    };
    let (valid, train) = order.split_at(held_out);
    let copies = (options.steps * options.batch_size).div_ceil(train.len().max(1)).max(1);
    Ok((make(train, "train", copies), make(valid, "valid", 1)))
}

/// The tokens of a text without those that begin and end it.
fn inner(tokenizer: &TextTokenizer, text: &str) -> Result<Vec<u32>> {
    let ids = tokenizer.encode(text, None)?.ids;
    Ok(ids[1.min(ids.len())..ids.len().saturating_sub(1).max(1).min(ids.len())].to_vec())
}

/// A text in two parts: after the end of a sentence nearest to its middle, or there.
fn halves(tokens: Vec<u32>, tokenizer: &TextTokenizer) -> [Vec<u32>; 2] {
    let ends: Vec<u32> = [".", "!", "?", ";"].iter().filter_map(|end| tokenizer.place(end)).collect();
    let middle = tokens.len() / 2;
    let after_end = (1..tokens.len()).filter(|i| ends.contains(&tokens[i - 1]));
    let at = after_end.min_by_key(|i| i.abs_diff(middle)).unwrap_or(middle);
    let (first, second) = tokens.split_at(at);
    [first.to_vec(), second.to_vec()]
}

/// The parts cut so that they fit, the longer one first.
fn fitted(mut parts: [Vec<u32>; 2], longest: usize) -> [Vec<u32>; 2] {
    let room = longest.saturating_sub(if parts[1].is_empty() { 2 } else { 3 }).max(2);
    while parts[0].len() + parts[1].len() > room {
        let longer = usize::from(parts[1].len() > parts[0].len());
        parts[longer].pop();
    }
    parts
}

/// Texts whose tokens are hidden anew each time.
struct Examples {
    parts: Vec<[Vec<u32>; 2]>,
    /// How often each text is there, with other tokens hidden.
    copies: usize,
    seed: Rng,
    special: Special,
    mask: u32,
    /// Pieces of the vocabulary.
    words: u32,
    swaps: bool,
}

impl Examples {
    fn tokens(&self) -> usize {
        self.parts.iter().flatten().map(Vec::len).sum()
    }

    /// A text as the network sees it, the places of its hidden tokens, what they hide, and whether its parts are swapped.
    fn example(&self, index: usize) -> (Encoded, Vec<(usize, u32)>, bool) {
        let mut rng = self.seed.stream(index as u64);
        let parts = &self.parts[index / self.copies];
        let swapped = self.swaps && rng.chance(0.5);
        let [first, second] = if swapped { [&parts[1], &parts[0]] } else { [&parts[0], &parts[1]] };
        let mut text = Encoded { ids: vec![self.special.cls], kinds: vec![0] };
        for (kind, part) in [first, second].into_iter().enumerate() {
            if kind == 0 || !part.is_empty() {
                text.ids.extend(part.iter().copied().chain([self.special.sep]));
                text.kinds.resize(text.ids.len(), kind as u32);
            }
        }
        let mut open: Vec<usize> = (1..text.ids.len()).filter(|i| text.ids[*i] != self.special.sep).collect();
        rng.shuffle(&mut open);
        open.truncate(((HIDDEN.0 * open.len() as f64).round() as usize).max(1));
        let mut hidden = Vec::with_capacity(open.len());
        for place in open {
            hidden.push((place, text.ids[place]));
            let fate = rng.uniform();
            if fate < HIDDEN.1 {
                text.ids[place] = rng.below(self.words as usize) as u32;
            } else if fate >= HIDDEN.1 + HIDDEN.2 {
                text.ids[place] = self.mask;
            }
        }
        (text, hidden, swapped)
    }
}

impl Dataset for Examples {
    type Batch = Masked;

    fn len(&self) -> usize {
        self.parts.len() * self.copies
    }

    fn gather(&self, indexes: &[usize], batch: &mut Masked) {
        let made: Vec<_> = indexes.iter().map(|i| self.example(*i)).collect();
        batch.tokens = Tokens::of(made.iter().map(|(text, _, _)| text));
        let width = batch.tokens.width;
        let hidden = made.iter().enumerate().flat_map(|(i, (_, hidden, _))| {
            hidden.iter().map(move |(place, word)| ((i * width + place) as u32, *word))
        });
        (batch.places, batch.words) = hidden.unzip();
        batch.swapped = made.iter().map(|(_, _, swapped)| u32::from(*swapped)).collect();
    }
}

/// Share of the hidden tokens that the network names.
fn accuracy(network: &MaskedLanguageModel, valid: &Examples) -> Result<Option<f64>> {
    let (mut right, mut all) = (0, 0);
    let indexes: Vec<usize> = (0..valid.len()).collect();
    let mut batch = Masked::default();
    for indexes in indexes.chunks(SHARD) {
        valid.gather(indexes, &mut batch);
        let (hits, count) = network.hits(&batch)?;
        (right, all) = (right + hits, all + count);
    }
    Ok((all > 0).then(|| right as f64 / all as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::Gradients;

    fn texts(n: usize) -> Vec<Parts> {
        const COLORS: [&str; 4] = ["red", "blue", "green", "white"];
        const THINGS: [(&str, &str); 4] = [
            ("mug", "for hot drinks"),
            ("shoe", "for running"),
            ("lamp", "for reading"),
            ("rug", "for floors"),
        ];
        let one = |i: usize| {
            let (thing, use_of) = THINGS[i % 4];
            [format!("{} {thing} no {}", COLORS[i / 4 % 4], i / 16), format!("A {thing} {use_of}.")]
        };
        (0..n).map(one).collect()
    }

    fn options(objective: TextObjective, steps: usize) -> TextPretraining {
        TextPretraining {
            objective,
            vocabulary: 150,
            width: 32,
            layers: 1,
            longest: 24,
            steps,
            batch_size: 16,
            learning_rate: 3e-3,
            dropout: 0.1,
            device: Placement::Cpu,
            max_seconds: None,
            seed: 2,
        }
    }

    fn run(objective: TextObjective, steps: usize, from: Option<&TextEncoder>) -> PretrainedText {
        let course = TextCourse { from, course: Course { resume: None, keep: &|_| Ok(()) } };
        pretrain(texts(160), &options(objective, steps), course, &Control::default()).unwrap()
    }

    #[test]
    fn it_learns_which_words_go_together_and_repeats() {
        for objective in [TextObjective::MaskedLm, TextObjective::SentenceOrder] {
            let first = run(objective, 160, None);
            let losses: Vec<f64> = first.log.iter().map(|line| line.valid_loss).collect();
            assert!(losses[losses.len() - 1] < 0.6 * losses[0], "{losses:?}");
            assert!(first.accuracy > Some(0.4), "{:?}", first.accuracy);
            let encoder = TextEncoder::read(&first.file).unwrap();
            let vectors = encoder
                .embed(
                    &["red mug no 1", "red mug no 2", "white shoe no 1", "red mug no 1"],
                    &Control::default(),
                )
                .unwrap();
            assert_eq!(vectors[0], vectors[3]);
            // Alone, a text is what it is beside others.
            let again = TextEncoder::read(&first.file).unwrap();
            assert_eq!(again.embed(&["white shoe no 1"], &Control::default()).unwrap()[0], vectors[2]);
        }
        let file = || run(TextObjective::MaskedLm, 20, None).file;
        assert!(file() == file());
    }

    #[test]
    fn it_goes_on_from_an_encoder_with_its_vocabulary() {
        let first = TextEncoder::read(&run(TextObjective::MaskedLm, 160, None).file).unwrap();
        let more = run(TextObjective::MaskedLm, 40, Some(&first));
        let start = run(TextObjective::MaskedLm, 40, None);
        assert!(more.log[0].valid_loss < start.log[0].valid_loss);
        let json = |file: &[u8]| TextEncoder::read(file).unwrap().tokenizer().to_json().unwrap();
        assert_eq!(json(&more.file), first.tokenizer().to_json().unwrap());
    }

    #[test]
    fn every_parameter_gets_a_gradient() {
        let options = options(TextObjective::SentenceOrder, 10);
        let all = texts(40);
        let (config, tokenizer) = from_nothing(&all, &options).unwrap();
        let network = network(&config, &options, None).unwrap();
        let (train, _) = split(&all, &tokenizer, (&options, 24, 4)).unwrap();
        let mut batch = Masked::default();
        train.gather(&[0, 9, 17], &mut batch);
        let loss = network.loss(&batch, Some(1)).unwrap();
        let mut gradients = Gradients::default();
        gradients.add(&loss.sum, network.parameters()).unwrap();
        for (name, var, _) in network.parameters().iter() {
            let gradient = gradients.take(var).unwrap().unwrap_or_default();
            assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
        }
    }

    #[test]
    fn texts_without_words_or_too_few_are_refused() {
        let course = || TextCourse { from: None, course: Course { resume: None, keep: &|_| Ok(()) } };
        let few = pretrain(texts(3), &options(TextObjective::MaskedLm, 2), course(), &Control::default());
        assert_eq!(few.unwrap_err().message(), "3 distinct texts are too few to learn from; 20 are needed");
    }
}
