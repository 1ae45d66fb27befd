//! Growing one tree, best leaf first, on histograms of gradients (Ke et al. 2017, LightGBM).
//!
//! Gradient and curvature of a row ride in one integer, so that a histogram needs one addition a value and
//! its sums do not depend on the order of rows: any number of threads grows the same tree.

use std::ops::Range;

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use crate::ml::control::Control;
use crate::ml::trees::bins::{BINS_MAX, BLOCK, Bins, Codes, Cuts, MISSING_BIN};
use crate::ml::trees::tree::{BinSet, LEAF, Node, Test, Tree};

/// Rows from which a histogram is counted by several threads.
const PARALLEL_ROWS: usize = 8192;
/// Rows between the one that is counted and the one that is asked for.
const PREFETCHED: usize = 16;
/// Most categories on the smaller side of a split.
const CATEGORIES_MAX: usize = 32;
/// Rows that every category is taken to have seen with no gradient, against chance in rare ones.
const CATEGORY_SMOOTHING: f64 = 10.0;

/// Rows in bins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binned<'a> {
    pub(super) bins: &'a Bins,
    pub(super) codes: &'a Codes,
}

/// How a tree grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth<'a> {
    pub(super) leaves_max: usize,
    /// Fewest rows of a leaf.
    pub(super) rows_min: usize,
    /// Curvature that every leaf is taken to have besides that of its rows.
    pub(super) l2: f64,
    /// Columns that this tree may split by, in order.
    pub(super) columns: &'a [u32],
    /// Cuts the growth short when it is cancelled.
    pub(super) control: &'a Control,
}

/// Gradients of all rows, each one integer: gradient in the upper half, curvature in the lower.
#[derive(Debug, Default)]
pub(super) struct Gradients {
    packed: Vec<i64>,
    /// Units of a gradient and of a curvature.
    units: (f64, f64),
}

impl Gradients {
    /// Packs pairs of gradient and curvature such that the sums over all rows fit in their halves.
    pub(super) fn pack(&mut self, pairs: &[(f32, f32)]) {
        let (g, h) = pairs
            .iter()
            .fold((0.0, 0.0), |(g, h), pair| (g + f64::from(pair.0.abs()), h + f64::from(pair.1)));
        // Rounding adds half a unit a row, and there are fewer than 2^30 rows.
        let scale = |sum: f64| if sum > 0.0 { f64::from(1 << 30) / sum } else { 1.0 };
        let (g, h) = (scale(g), scale(h));
        self.units = (1.0 / g, 1.0 / h);
        self.packed.clear();
        self.packed.extend(pairs.iter().map(|pair| {
            let nearest = |x: f64| (x + 0.5f64.copysign(x)) as i64;
            (nearest(f64::from(pair.0) * g) << 32) + nearest(f64::from(pair.1) * h)
        }));
    }

    fn unpacked(&self, sum: i64) -> Sums {
        Sums { g: (sum >> 32) as f64 * self.units.0, h: f64::from(sum as u32) * self.units.1 }
    }
}

/// Packed sums of the rows in every bin of every column, block of columns after block.
type Histogram = Vec<[[i64; BINS_MAX]; BLOCK]>;

/// Gradient and curvature of some rows.
#[derive(Debug, Clone, Copy)]
struct Sums {
    g: f64,
    h: f64,
}

impl Sums {
    fn score(self, l2: f64) -> f64 {
        self.g * self.g / (self.h + l2).max(1e-12)
    }
}

#[derive(Debug, Clone, Copy)]
struct Split {
    gain: f64,
    column: u32,
    test: Test,
    missing_left: bool,
}

/// A leaf that may still be split.
struct Open {
    rows: Range<usize>,
    histogram: Histogram,
    split: Option<Split>,
    /// The node it hangs from and whether on the left; none at the root.
    parent: Option<(usize, bool)>,
}

/// What growing a tree needs of its rows.
pub(super) struct Grower<'a> {
    pub(super) data: Binned<'a>,
    pub(super) gradients: &'a Gradients,
    pub(super) growth: Growth<'a>,
}

/// Memory of one tree that the next one uses again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    histograms: Vec<Histogram>,
    /// Rows that go right.
    rows: Vec<u32>,
    /// Gradients of the rows that are counted.
    packed: Vec<i64>,
}

/// A grown tree and which rows ended in which leaf.
pub(super) struct Grown {
    pub(super) tree: Tree,
    /// Ranges of the rows of every leaf.
    pub(super) leaves: Vec<Range<usize>>,
    /// Gain of every split, beside its column.
    pub(super) gains: Vec<(u32, f64)>,
}

impl Grower<'_> {
    /// Grows a tree on these rows, which come out ordered by leaf; leaves have the values of a Newton step.
    pub(super) fn grow(&self, rows: &mut [u32], scratch: &mut Scratch) -> Grown {
        let mut tree = Tree::default();
        let mut gains = Vec::new();
        let mut histogram = self.blank(scratch);
        self.count(rows, &mut histogram, &mut scratch.packed);
        let split = self.best_split(&histogram, rows.len());
        let mut open = vec![Open { rows: 0..rows.len(), histogram, split, parent: None }];
        while open.len() < self.growth.leaves_max && !self.growth.control.is_cancelled() {
            let best = (0..open.len())
                .filter_map(|i| open[i].split.map(|split| (split, i)))
                .reduce(|a, b| if b.0.gain > a.0.gain { b } else { a });
            let Some((split, at)) = best else { break };
            gains.push((split.column, split.gain));
            let node = tree.nodes.len();
            let Split { column, test, missing_left, .. } = split;
            tree.nodes.push(Node { column, test, missing_left, left: LEAF, right: LEAF });
            link(&mut tree, open[at].parent, node as u32);
            let (left, right) = self.divide(&mut open[at], &tree.nodes[node], rows, scratch);
            open[at] = Open { parent: Some((node, true)), ..left };
            open.push(Open { parent: Some((node, false)), ..right });
        }
        for (leaf, open) in open.iter().enumerate() {
            link(&mut tree, open.parent, LEAF + leaf as u32);
            tree.leaves.push(self.value(open));
        }
        let leaves = open.iter().map(|open| open.rows.clone()).collect();
        scratch.histograms.extend(open.into_iter().map(|open| open.histogram));
        Grown { tree, leaves, gains }
    }

    fn blank(&self, scratch: &mut Scratch) -> Histogram {
        let mut histogram = scratch.histograms.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(self.data.bins.columns.len().div_ceil(BLOCK), [[0; BINS_MAX]; BLOCK]);
        histogram
    }

    fn value(&self, open: &Open) -> f32 {
        let sums = self.total(&open.histogram);
        (-sums.g / (sums.h + self.growth.l2).max(1e-12)) as f32
    }

    /// Sums over all rows of a histogram: those of the bins of any counted column.
    fn total(&self, histogram: &Histogram) -> Sums {
        let sum = self.growth.columns.first().map_or(0, |c| self.bins_of(histogram, *c).iter().sum());
        self.gradients.unpacked(sum)
    }

    fn bins_of<'h>(&self, histogram: &'h Histogram, column: u32) -> &'h [i64] {
        let column = column as usize;
        &histogram[column / BLOCK][column % BLOCK][..self.data.bins.columns[column].bins()]
    }

    /// Adds these rows to a histogram, block of columns after block.
    fn count(&self, rows: &[u32], histogram: &mut Histogram, packed: &mut Vec<i64>) {
        packed.clear();
        packed.extend(rows.iter().map(|row| self.gradients.packed[*row as usize]));
        let packed = packed.as_slice();
        let columns = self.growth.columns;
        let mut blocks: Vec<_> = self.data.codes.blocks().zip(histogram).enumerate().collect();
        let count = |(block, (codes, sums)): &mut (usize, (&[_], &mut _))| {
            let first = columns.partition_point(|c| (*c as usize) < *block * BLOCK);
            let end = columns.partition_point(|c| (*c as usize) < (*block + 1) * BLOCK);
            count_block(codes, &columns[first..end], rows, packed, sums);
        };
        if rows.len() < PARALLEL_ROWS {
            blocks.iter_mut().for_each(count);
        } else {
            blocks.par_iter_mut().for_each(count);
        }
    }

    /// Splits a leaf in two by this node; rows of both keep their order.
    fn divide(&self, open: &mut Open, node: &Node, rows: &mut [u32], scratch: &mut Scratch) -> (Open, Open) {
        let range = open.rows.clone();
        let part = &mut rows[range.clone()];
        let (codes, place) = self.data.codes.column(node.column as usize);
        if scratch.rows.len() < part.len() {
            scratch.rows.resize(part.len(), 0);
        }
        let mut kept = 0;
        for at in 0..part.len() {
            if let Some(later) = part.get(at + PREFETCHED) {
                prefetch(codes, *later as usize);
            }
            let row = part[at];
            let goes_left = node.goes_left(codes[row as usize][place]);
            // A row is written to both sides and stays on one: no branch for the processor to guess.
            (part[kept], scratch.rows[at - kept]) = (row, row);
            kept += usize::from(goes_left);
        }
        let right = part.len() - kept;
        part[kept..].copy_from_slice(&scratch.rows[..right]);
        let (left_rows, right_rows) = (&part[..kept], &part[kept..]);
        let mut larger = std::mem::take(&mut open.histogram);
        let mut smaller = self.blank(scratch);
        let left_is_smaller = left_rows.len() <= right_rows.len();
        self.count(if left_is_smaller { left_rows } else { right_rows }, &mut smaller, &mut scratch.packed);
        larger
            .as_flattened_mut()
            .as_flattened_mut()
            .iter_mut()
            .zip(smaller.as_flattened().as_flattened())
            .for_each(|(sum, x)| *sum -= x);
        let (left, right) = if left_is_smaller { (smaller, larger) } else { (larger, smaller) };
        let (left_split, right_split) = rayon::join(
            || self.best_split(&left, left_rows.len()),
            || self.best_split(&right, right_rows.len()),
        );
        let middle = range.start + kept;
        (
            Open { rows: range.start..middle, histogram: left, split: left_split, parent: None },
            Open { rows: middle..range.end, histogram: right, split: right_split, parent: None },
        )
    }

    fn best_split(&self, histogram: &Histogram, rows: usize) -> Option<Split> {
        if rows < 2 * self.growth.rows_min.max(1) {
            return None;
        }
        let total = self.total(histogram);
        let rows_per_curvature = rows as f64 / total.h.max(1e-300);
        let search = Search { grower: self, total, rows: rows as f64, rows_per_curvature };
        let columns = self.growth.columns.iter();
        let found = columns.filter_map(|column| {
            let bins = self.bins_of(histogram, *column);
            match &self.data.bins.columns[*column as usize] {
                Cuts::Number(_) => search.number(*column, bins),
                Cuts::Category(_) => search.category(*column, bins),
            }
        });
        found.reduce(|a, b| if b.gain > a.gain { b } else { a })
    }
}

/// Adds rows to the histograms of these columns, which are of one block.
fn count_block(
    codes: &[[u8; BLOCK]],
    columns: &[u32],
    rows: &[u32],
    packed: &[i64],
    sums: &mut [[i64; BINS_MAX]; BLOCK],
) {
    match columns.len() {
        0 => {}
        1..=4 => count_columns(codes, places::<4>(columns), rows, packed, sums),
        5..=8 => count_columns(codes, places::<8>(columns), rows, packed, sums),
        9..=12 => count_columns(codes, places::<12>(columns), rows, packed, sums),
        _ => count_columns(codes, std::array::from_fn::<_, BLOCK, _>(|place| place), rows, packed, sums),
    }
}

/// Where in their block these columns lie, and as many others as it takes: nobody reads the sums of those.
fn places<const N: usize>(columns: &[u32]) -> [usize; N] {
    let wanted = |place: usize| columns.iter().any(|column| *column as usize % BLOCK == place);
    let mut places =
        (0..BLOCK).filter(|place| wanted(*place)).chain((0..BLOCK).filter(|place| !wanted(*place)));
    std::array::from_fn(|_| places.next().unwrap_or(0))
}

/// Adds rows to the histograms of so many columns of a block: a number that the compiler knows.
fn count_columns<const N: usize>(
    codes: &[[u8; BLOCK]],
    places: [usize; N],
    rows: &[u32],
    packed: &[i64],
    sums: &mut [[i64; BINS_MAX]; BLOCK],
) {
    for (at, (row, packed)) in rows.iter().zip(packed).enumerate() {
        if let Some(later) = rows.get(at + PREFETCHED) {
            prefetch(codes, *later as usize);
        }
        let codes = &codes[*row as usize];
        for place in places {
            // Places are below BLOCK and codes below BINS_MAX; the compiler sees it by the masks.
            let place = place & (BLOCK - 1);
            sums[place][usize::from(codes[place]) & (BINS_MAX - 1)] += packed;
        }
    }
}

/// Asks for the codes of a row that will be counted soon: rows of a leaf lie too far apart for the processor
/// to foresee them.
fn prefetch(codes: &[[u8; BLOCK]], row: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(codes) = codes.get(row) {
        // SAFETY: every x86-64 processor has the instruction, and it reads nothing.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(codes.as_ptr().cast())
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (codes, row);
}

fn link(tree: &mut Tree, parent: Option<(usize, bool)>, child: u32) {
    match parent {
        Some((node, true)) => tree.nodes[node].left = child,
        Some((node, false)) => tree.nodes[node].right = child,
        None => {}
    }
}

/// The search for the best split of one leaf.
struct Search<'a> {
    grower: &'a Grower<'a>,
    total: Sums,
    rows: f64,
    rows_per_curvature: f64,
}

impl Search<'_> {
    /// Gain of a split with these sums on the left; `None` where a side is too small or nothing is gained.
    fn gain(&self, left: Sums, l2: f64) -> Option<f64> {
        let right = Sums { g: self.total.g - left.g, h: self.total.h - left.h };
        let (least, left_rows) = (self.grower.growth.rows_min as f64 - 0.5, left.h * self.rows_per_curvature);
        if left_rows < least || self.rows - left_rows < least {
            return None;
        }
        let gain = left.score(l2) + right.score(l2) - self.total.score(l2);
        (gain > 1e-12 * self.total.score(l2).max(1e-12)).then_some(gain)
    }

    /// The best cut, rows without a value on either side.
    fn number(&self, column: u32, bins: &[i64]) -> Option<Split> {
        let l2 = self.grower.growth.l2;
        let missing = bins[usize::from(MISSING_BIN)];
        let sides: &[bool] = if missing == 0 { &[false] } else { &[false, true] };
        let mut best: Option<Split> = None;
        for missing_left in sides {
            let mut sum = if *missing_left { missing } else { 0 };
            // The last bin may be cut off only from rows that lack the value.
            let last = bins.len() - 1 - usize::from(missing == 0 || *missing_left);
            for (bin, packed) in bins.iter().enumerate().take(last + 1).skip(1) {
                sum += packed;
                if *packed == 0 && bin < last {
                    continue;
                }
                let gain = self.gain(self.grower.gradients.unpacked(sum), l2);
                if let Some(gain) = gain.filter(|gain| best.is_none_or(|best| *gain > best.gain)) {
                    let test = Test::UpTo(bin as u8);
                    best = Some(Split { gain, column, test, missing_left: *missing_left });
                }
            }
        }
        // Rows without a value go with the larger side where training had none.
        best.map(|split| Split {
            missing_left: split.missing_left || (missing == 0 && self.is_large(split, bins)),
            ..split
        })
    }

    /// Whether more than half of the rows go left.
    fn is_large(&self, split: Split, bins: &[i64]) -> bool {
        let Test::UpTo(last) = split.test else { return false };
        let left = self.grower.gradients.unpacked(bins[1..=usize::from(last)].iter().sum());
        2.0 * left.h > self.total.h
    }

    /// The best set of categories among those that follow each other by their mean gradient (Fisher 1958).
    fn category(&self, column: u32, bins: &[i64]) -> Option<Split> {
        let curvature = 1.0 / self.rows_per_curvature;
        let smoothing = CATEGORY_SMOOTHING * curvature;
        let mut ranked: Vec<(f64, u8, i64)> = bins
            .iter()
            .enumerate()
            .filter(|(_, packed)| **packed != 0)
            .map(|(bin, packed)| {
                let sums = self.grower.gradients.unpacked(*packed);
                (sums.g / (sums.h + smoothing), bin as u8, *packed)
            })
            .collect();
        ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let l2 = self.grower.growth.l2 + smoothing;
        let most = CATEGORIES_MAX.min(ranked.len() / 2);
        let mut best: Option<(f64, bool, usize)> = None;
        for reversed in [false, true] {
            let mut sum = 0;
            for n in 0..most {
                sum += ranked[if reversed { ranked.len() - 1 - n } else { n }].2;
                let gain = self.gain(self.grower.gradients.unpacked(sum), l2);
                if let Some(gain) = gain.filter(|gain| best.is_none_or(|best| *gain > best.0)) {
                    best = Some((gain, reversed, n + 1));
                }
            }
        }
        let (gain, reversed, n) = best?;
        let mut set = BinSet::default();
        let chosen = if reversed { &ranked[ranked.len() - n..] } else { &ranked[..n] };
        chosen.iter().for_each(|(_, bin, _)| set.insert(*bin));
        Some(Split { gain, column, test: Test::OneOf(set), missing_left: set.contains(MISSING_BIN) })
    }
}
