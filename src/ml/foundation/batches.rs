//! Examples to pretrain on as a data set of whole batches, each of groups of one shape.

use std::collections::HashMap;

use parking_lot::Mutex;
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::corpus::Corpus;
use crate::ml::foundation::groups::{Group, Groups};
use crate::ml::rng::Rng;
use crate::ml::training::Dataset;

/// Tokens before the origin, and how often a batch has so many at most.
const BEFORE: [(usize, f64); 6] = [(2, 0.1), (3, 0.17), (6, 0.16), (12, 0.14), (20, 0.15), (32, 0.28)];
/// Tokens after the origin, and how often.
const AFTER: [(usize, f64); 5] = [(1, 0.25), (2, 0.3), (3, 0.2), (4, 0.17), (6, 0.08)];
/// Rows of a group, and how often.
const ROWS: [(usize, f64); 4] = [(1, 0.5), (2, 0.3), (3, 0.12), (4, 0.08)];
/// Groups that are made on one thread.
const CHUNK: usize = 32;
/// Most tokens that are hidden one after the other.
const SPAN_MAX: usize = 4;

/// What is hidden from the network, and asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hidden {
    /// The patches after the origin.
    #[default]
    NextPatch,
    /// Those, and spans of patches before it (Devlin et al. 2019, of words).
    MaskedPatch,
}

/// Shapes of the groups of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// Those of everyday series, one for each batch.
    Mixed,
    /// Always the same.
    One {
        /// Tokens before the origin.
        before: usize,
        /// Tokens after it.
        after: usize,
        /// Rows of a group.
        rows: usize,
    },
}

/// Batches of examples; equal seeds and equal places give equal batches.
#[derive(Debug)]
pub struct Batches<'a> {
    config: FoundationConfig,
    corpus: &'a Corpus,
    hidden: Hidden,
    shapes: Shapes,
    seed: Rng,
    /// Batches.
    len: usize,
    /// Tokens of each, of all its rows.
    tokens: usize,
    ready: Mutex<HashMap<usize, Groups>>,
}

impl<'a> Batches<'a> {
    /// `len` batches of about `tokens` tokens each.
    pub fn new(
        config: &FoundationConfig,
        (corpus, hidden): (&'a Corpus, Hidden),
        seed: u64,
        (len, tokens): (usize, usize),
    ) -> Self {
        let seed = Rng::new(seed).fork("batches");
        let (config, ready, shapes) = (config.clone(), Mutex::default(), Shapes::Mixed);
        Self { config, corpus, hidden, shapes, seed, len, tokens, ready }
    }

    /// The same with groups of other shapes.
    pub fn of_shape(self, shapes: Shapes) -> Self {
        Self { shapes, ..self }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Groups> {
        (0..self.len).into_par_iter().map(|index| self.make(index)).collect()
    }

    fn make(&self, index: usize) -> Groups {
        let batch_seed = self.seed.stream(index as u64);
        let mut rng = batch_seed.clone();
        let patch = self.config.input_patch_size;
        let (before, after, rows) = match self.shapes {
            Shapes::One { before, after, rows } => (before, after, rows),
            Shapes::Mixed => (draw(&mut rng, &BEFORE), draw(&mut rng, &AFTER), draw(&mut rng, &ROWS)),
        };
        let before = before.min(self.config.context_length / patch).max(1);
        let after = after.min(self.config.max_output_patches).max(1);
        let groups = (self.tokens / (rows * (before + 1 + after))).max(1);
        let start = || {
            let mut part = Groups::default();
            part.start(rows, (before, after));
            part.masked = self.hidden == Hidden::MaskedPatch;
            part
        };
        let parts: Vec<Groups> = (0..groups.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let mut part = start();
                for i in chunk * CHUNK..((chunk + 1) * CHUNK).min(groups) {
                    let mut rng = batch_seed.stream(i as u64 + 1);
                    let group = self.corpus.draw(&mut rng, rows, before * patch, after * patch);
                    let hidden = if part.masked { spans(&mut rng, before) } else { Vec::new() };
                    part.push_hiding(&group, &hidden, &self.config);
                }
                part
            })
            .collect();
        let mut batch = start();
        parts.into_iter().for_each(|part| batch.append(part));
        batch
    }
}

fn draw(rng: &mut Rng, of: &[(usize, f64)]) -> usize {
    let mut left = rng.uniform();
    let chosen = of.iter().find(|(_, share)| {
        left -= share;
        left < 0.0
    });
    chosen.unwrap_or(&of[0]).0
}

/// Flags of spans of tokens, of a sixth to a half of all.
fn spans(rng: &mut Rng, tokens: usize) -> Vec<bool> {
    let mut hidden = vec![false; tokens];
    let wanted = (rng.range(0.15, 0.5) * tokens as f64).round() as usize;
    let mut count = 0;
    while count < wanted {
        let (start, length) = (rng.below(tokens), 1 + rng.below(SPAN_MAX));
        hidden[start..(start + length).min(tokens)].fill(true);
        count = hidden.iter().filter(|h| **h).count();
    }
    hidden
}

/// Groups with `horizon` steps after their origins as batches, each of groups of one shape.
pub fn fixed(groups: &[Group], horizon: usize, config: &FoundationConfig) -> Vec<Groups> {
    let patch = config.input_patch_size;
    let shape = |group: &&Group| {
        let history = group.rows.first().map_or(0, |row| row.history.len());
        (group.rows.len(), history.div_ceil(patch).max(1))
    };
    let mut sorted: Vec<&Group> = groups.iter().collect();
    sorted.sort_by_key(shape);
    let batch = |groups: &[&Group]| {
        let mut batch = Groups::default();
        if let Some((rows, before)) = groups.first().map(shape) {
            batch.start(rows, (before, horizon.div_ceil(patch).clamp(1, config.max_output_patches)));
        }
        groups.iter().for_each(|group| batch.push(group, config));
        batch
    };
    let of_one_shape = sorted.chunk_by(|a, b| shape(a) == shape(b));
    of_one_shape.flat_map(|groups| groups.chunks(CHUNK)).map(batch).collect()
}

/// What a network learns from, or is judged by.
#[derive(Debug)]
pub enum Examples<'a> {
    /// Batches that are made when they are asked for.
    Drawn(Box<Batches<'a>>),
    /// Batches that are there.
    Fixed(Vec<Groups>),
}

impl Dataset for Examples<'_> {
    type Batch = Groups;

    fn len(&self) -> usize {
        match self {
            Self::Drawn(batches) => batches.len,
            Self::Fixed(batches) => batches.len(),
        }
    }

    fn prepare(&self, indexes: &[usize]) {
        if let Self::Drawn(batches) = self {
            let made: Vec<(usize, Groups)> = indexes.par_iter().map(|i| (*i, batches.make(*i))).collect();
            batches.ready.lock().extend(made);
        }
    }

    fn gather(&self, indexes: &[usize], batch: &mut Groups) {
        let Some(index) = indexes.first() else { return };
        *batch = match self {
            Self::Fixed(batches) => batches[*index].clone(),
            Self::Drawn(batches) => {
                let ready = batches.ready.lock().remove(index);
                ready.unwrap_or_else(|| batches.make(*index))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_repeat_with_their_seed_whether_prepared_or_not() {
        let (config, corpus) = (FoundationConfig::default(), Corpus::new(vec![], 0, 1.0));
        for hidden in [Hidden::NextPatch, Hidden::MaskedPatch] {
            let of = |prepared: bool| {
                let batches =
                    Examples::Drawn(Box::new(Batches::new(&config, (&corpus, hidden), 3, (10, 600))));
                if prepared {
                    batches.prepare(&[4]);
                }
                let mut batch = Groups::default();
                batches.gather(&[4], &mut batch);
                (batch.inputs, batch.targets, batch.weights)
            };
            let (plain, prepared) = (of(false), of(true));
            assert_eq!(plain.1, prepared.1);
            assert_eq!(plain.2, prepared.2);
            assert!(plain.0.iter().zip(&prepared.0).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
