//! Pretraining on made-up series: a data set of whole batches, each of groups of one shape.

use std::collections::HashMap;

use parking_lot::Mutex;
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::ml::foundation::{FoundationConfig, Groups};
use crate::ml::rng::Rng;
use crate::ml::synthetic::sample;
use crate::ml::training::trainer::Dataset;

/// Tokens before the origin, and how often a batch has so many at most.
const BEFORE: [(usize, f64); 5] = [(3, 0.22), (6, 0.18), (12, 0.18), (20, 0.16), (32, 0.26)];
/// Tokens after the origin, and how often.
const AFTER: [(usize, f64); 5] = [(1, 0.25), (2, 0.3), (3, 0.2), (4, 0.17), (6, 0.08)];
/// Rows of a group, and how often.
const ROWS: [(usize, f64); 5] = [(1, 0.5), (2, 0.14), (3, 0.12), (5, 0.14), (8, 0.1)];
/// Groups that are made on one thread.
const CHUNK: usize = 32;

/// Batches of made-up groups; equal seeds and equal places give equal batches.
#[derive(Debug)]
pub struct SyntheticBatches {
    config: FoundationConfig,
    seed: Rng,
    /// Batches.
    len: usize,
    /// Tokens of each, of all its rows.
    tokens: usize,
    ready: Mutex<HashMap<usize, Groups>>,
}

impl SyntheticBatches {
    /// `len` batches of about `tokens` tokens each.
    pub fn new(config: &FoundationConfig, seed: u64, len: usize, tokens: usize) -> Self {
        let seed = Rng::new(seed).fork("synthetic");
        Self { config: config.clone(), seed, len, tokens, ready: Mutex::new(HashMap::new()) }
    }

    fn make(&self, index: usize) -> Groups {
        let batch_seed = self.seed.stream(index as u64);
        let mut rng = batch_seed.clone();
        let mut draw = |of: &[(usize, f64)]| {
            let mut left = rng.uniform();
            of.iter().find(|(_, share)| { left -= share; left < 0.0 }).unwrap_or(&of[0]).0
        };
        let (before, after, rows) = (draw(&BEFORE), draw(&AFTER), draw(&ROWS));
        let before = before.min(self.config.context_length / self.config.input_patch_size).max(1);
        let after = after.min(self.config.max_output_patches).max(1);
        let groups = (self.tokens / (rows * (before + 1 + after))).max(1);
        let patch = self.config.input_patch_size;
        let parts: Vec<Groups> = (0..groups.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let mut part = Groups::default();
                part.start(rows, (before, after));
                for i in chunk * CHUNK..((chunk + 1) * CHUNK).min(groups) {
                    let mut rng = batch_seed.stream(i as u64 + 1);
                    part.push(&sample(&mut rng, rows, before * patch, after * patch), &self.config);
                }
                part
            })
            .collect();
        let mut batch = Groups::default();
        batch.start(rows, (before, after));
        parts.into_iter().for_each(|part| batch.append(part));
        batch
    }
}

impl Dataset for SyntheticBatches {
    type Batch = Groups;

    fn len(&self) -> usize {
        self.len
    }

    fn prepare(&self, indexes: &[usize]) {
        let made: Vec<(usize, Groups)> = indexes.par_iter().map(|i| (*i, self.make(*i))).collect();
        self.ready.lock().extend(made);
    }

    fn gather(&self, indexes: &[usize], batch: &mut Groups) {
        let Some(index) = indexes.first() else { return };
        let ready = self.ready.lock().remove(index);
        *batch = ready.unwrap_or_else(|| self.make(*index));
    }
}
