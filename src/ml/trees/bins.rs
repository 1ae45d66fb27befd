//! Columns as bins: numbers cut at their quantiles, categories by frequency; one byte a value.

use rayon::iter::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

/// The bin of a missing value, an unseen category and every category beyond the most frequent ones.
pub(super) const MISSING_BIN: u8 = 0;
/// Most bins of a column, the missing one included.
pub(super) const BINS_MAX: usize = 128;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Ordered values; NaN is missing.
    Number,
    /// Codes without order, whole and not negative; NaN is missing.
    Category,
}

/// Rows of `width` values one after the other; NaN is missing.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[rows, width]`.
    pub values: &'a [f32],
    /// Columns.
    pub width: usize,
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How one column falls into bins, counted from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Cuts {
    /// A number x falls into bin 1 + how many of these are below x.
    Number(Vec<f32>),
    /// A code falls into 1 + its place in this list, which is sorted.
    Category(Vec<u32>),
}

impl Cuts {
    /// Bins with the missing one.
    pub(super) fn bins(&self) -> usize {
        match self {
            Self::Number(cuts) => cuts.len() + 2,
            Self::Category(codes) => codes.len() + 1,
        }
    }

    pub(super) fn bin(&self, x: f32) -> u8 {
        if x.is_nan() {
            return MISSING_BIN;
        }
        match self {
            Self::Number(cuts) => cuts.partition_point(|cut| *cut < x) as u8 + 1,
            Self::Category(codes) => codes.binary_search(&(x as u32)).map_or(MISSING_BIN, |i| i as u8 + 1),
        }
    }
}

/// The bins of all columns, learnt from a sample of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins {
    pub(super) columns: Vec<Cuts>,
}

impl Bins {
    /// Learns at most `most` bins a column.
    pub(super) fn fit(sample: Rows<'_>, types: &[ColumnType], most: usize) -> Self {
        let columns: Vec<Cuts> = (0..sample.width)
            .into_par_iter()
            .map(|column| {
                let values = sample.values[column..].iter().step_by(sample.width).copied();
                let present: Vec<f32> = values.filter(|x| !x.is_nan()).collect();
                match types[column] {
                    ColumnType::Number => Cuts::Number(number_cuts(present, most)),
                    ColumnType::Category => Cuts::Category(frequent_codes(&present, most)),
                }
            })
            .collect();
        Self { columns }
    }

    /// The bins of these rows, row by row.
    pub(super) fn encode(&self, rows: Rows<'_>) -> Vec<u8> {
        let mut out = vec![MISSING_BIN; rows.values.len()];
        let block = ROWS_PER_TASK * rows.width.max(1);
        let parts = out.par_chunks_mut(block).zip(rows.values.par_chunks(block));
        parts.for_each(|(out, values)| {
            for (out, values) in out.chunks_exact_mut(rows.width).zip(values.chunks_exact(rows.width)) {
                for ((out, x), cuts) in out.iter_mut().zip(values).zip(&self.columns) {
                    *out = cuts.bin(*x);
                }
            }
        });
        out
    }
}

/// Rows that one thread encodes before it takes others.
const ROWS_PER_TASK: usize = 1024;
/// Columns whose codes lie side by side: the histograms of so many fit into the first cache.
pub(super) const BLOCK: usize = 16;

/// The bins of many rows, block of columns after block.
#[derive(Debug, Clone, Default)]
pub(super) struct Codes {
    /// One array a row in each, the last one padded.
    blocks: Vec<Vec<[u8; BLOCK]>>,
}

impl Codes {
    /// Appends the bins of these rows.
    pub(super) fn append(&mut self, bins: &Bins, rows: Rows<'_>) {
        self.blocks.resize_with(bins.columns.len().div_ceil(BLOCK), Vec::new);
        self.blocks.par_iter_mut().enumerate().for_each(|(block, codes)| {
            let first = block * BLOCK;
            let cuts = &bins.columns[first..bins.columns.len().min(first + BLOCK)];
            codes.extend(rows.values.chunks_exact(rows.width).map(|values| {
                let mut row = [MISSING_BIN; BLOCK];
                row.iter_mut()
                    .zip(cuts)
                    .zip(&values[first..])
                    .for_each(|((code, cuts), x)| *code = cuts.bin(*x));
                row
            }));
        });
    }

    /// The codes of every block of columns, one array a row.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[[u8; BLOCK]]> {
        self.blocks.iter().map(Vec::as_slice)
    }

    /// The codes of the block of a column, and its place in it.
    pub(super) fn column(&self, column: usize) -> (&[[u8; BLOCK]], usize) {
        (&self.blocks[column / BLOCK], column % BLOCK)
    }

    /// The code of one value.
    pub(super) fn code(&self, row: usize, column: usize) -> u8 {
        self.blocks[column / BLOCK][row][column % BLOCK]
    }
}

/// Midpoints between neighbouring values, such that bins hold about the same number of them.
fn number_cuts(mut values: Vec<f32>, most: usize) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let most = most.min(BINS_MAX) - 1;
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for x in &values {
        match distinct.last_mut() {
            Some((last, n)) if last == x => *n += 1,
            _ => distinct.push((*x, 1)),
        }
    }
    if distinct.len() <= most {
        return distinct.windows(2).map(|pair| midpoint(pair[0].0, pair[1].0)).collect();
    }
    let mut cuts = Vec::with_capacity(most - 1);
    let (mut left, mut bins_left, mut held) = (values.len(), most, 0);
    for pair in distinct.windows(2) {
        held += pair[0].1;
        let full = held * bins_left >= left;
        if full && bins_left > 1 {
            cuts.push(midpoint(pair[0].0, pair[1].0));
            (left, bins_left, held) = (left - held, bins_left - 1, 0);
        }
    }
    cuts
}

/// A number that is not below `low` and below `high`.
fn midpoint(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if middle < high { middle.max(low) } else { low }
}

/// The most frequent codes, sorted; of equally frequent ones the lower.
fn frequent_codes(values: &[f32], most: usize) -> Vec<u32> {
    let mut codes: Vec<u32> = values.iter().map(|x| *x as u32).collect();
    codes.sort_unstable();
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for code in codes {
        match counts.last_mut() {
            Some((last, n)) if *last == code => *n += 1,
            _ => counts.push((code, 1)),
        }
    }
    counts.sort_by_key(|(code, n)| (std::cmp::Reverse(*n), *code));
    counts.truncate(most.min(BINS_MAX) - 1);
    let mut kept: Vec<u32> = counts.into_iter().map(|(code, _)| code).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_bin_each_and_many_share_evenly() {
        let few = number_cuts(vec![3.0, 1.0, 1.0, 2.0, 3.0], 255);
        assert_eq!(few, [1.5, 2.5]);
        let many = number_cuts((0..1000).map(|i| i as f32).collect(), 11);
        let cuts = Cuts::Number(many.clone());
        let mut counts = [0; 12];
        (0..1000).for_each(|i| counts[cuts.bin(i as f32) as usize] += 1);
        assert_eq!((many.len(), counts[0], cuts.bins()), (9, 0, 11));
        assert!(counts[1..11].iter().all(|n| (95..=105).contains(n)), "{counts:?}");
    }

    #[test]
    fn neighbours_without_a_number_between_them_are_told_apart() {
        let (low, high) = (1.0f32, f32::from_bits(1.0f32.to_bits() + 1));
        let cuts = Cuts::Number(number_cuts(vec![low, high], 255));
        assert_eq!((cuts.bin(low), cuts.bin(high), cuts.bin(f32::NAN)), (1, 2, MISSING_BIN));
        let infinite = Cuts::Number(number_cuts(vec![f32::MIN, f32::MAX], 255));
        assert_eq!((infinite.bin(f32::MIN), infinite.bin(f32::MAX)), (1, 2));
    }

    #[test]
    fn rare_and_unseen_codes_are_missing() {
        let codes = frequent_codes(&[5.0, 5.0, 9.0, 9.0, 7.0, 2.0], 4);
        assert_eq!(codes, [2, 5, 9]);
        let cuts = Cuts::Category(codes);
        assert_eq!([5.0, 7.0, 1e9, f32::NAN].map(|x| cuts.bin(x)), [2, 0, 0, 0]);
    }
}
