//! The time that a made-up series lives in: its frequency, its seasons, its length.

use crate::ml::rng::Rng;

/// Frequencies that a foundation model tells apart, besides an unknown one.
pub const FREQUENCIES: usize = 8;

/// Seasons of a frequency: lengths in steps, the first one the usual.
const SEASONS: [&[f64]; FREQUENCIES + 1] = [
    &[],
    &[],                                // years
    &[4.0],                             // quarters
    &[12.0],                            // months
    &[52.18, 13.04, 4.35],              // weeks
    &[7.0, 365.25, 30.44],              // days
    &[5.0, 261.0, 21.7],                // working days
    &[24.0, 168.0],                     // hours
    &[96.0, 48.0, 144.0, 288.0, 672.0], // parts of an hour
];

/// Season lengths where the frequency is not told.
const ANY: [f64; 16] =
    [4.0, 5.0, 6.0, 7.0, 7.0, 10.0, 12.0, 12.0, 13.0, 24.0, 24.0, 30.4, 48.0, 52.18, 96.0, 168.0];

/// How likely each frequency is where the history is at most so many steps long.
const LIKELY: [(usize, [f64; FREQUENCIES + 1]); 4] = [
    (64, [0.10, 0.17, 0.23, 0.28, 0.10, 0.08, 0.02, 0.02, 0.0]),
    (160, [0.10, 0.03, 0.12, 0.32, 0.18, 0.15, 0.03, 0.07, 0.0]),
    (320, [0.10, 0.0, 0.02, 0.15, 0.23, 0.30, 0.05, 0.13, 0.02]),
    (usize::MAX, [0.10, 0.0, 0.0, 0.05, 0.10, 0.43, 0.05, 0.20, 0.07]),
];

/// How often any season of the frequency is told rather than the usual one, and how often none.
const TOLD_OTHERWISE: f64 = 0.1;
const UNTOLD: f64 = 0.05;

/// The time of a made-up series.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Its frequency's place among [`FREQUENCIES`], counted from 1; 0 where it is not told.
    pub frequency: usize,
    /// Lengths of its seasons, in steps; there may be none.
    pub seasons: Vec<f64>,
    /// The season that is told, in steps: mostly the usual one of the frequency, whether the series has it or not, and of an unknown
    /// frequency the series' own; 0 for none.
    pub season: usize,
    /// Steps before the origin.
    pub history: usize,
    /// Steps in all.
    pub len: usize,
}

impl Grid {
    /// A time with at most `context` steps before the origin and `horizon` after it.
    pub fn draw(rng: &mut Rng, context: usize, horizon: usize) -> Self {
        let frequency = pick(rng, &LIKELY[LIKELY.partition_point(|(most, _)| *most < context)].1);
        let mut seasons = Vec::new();
        let mut told = SEASONS[frequency].first().copied().unwrap_or(0.0);
        if frequency == 0 {
            for _ in 0..pick(rng, &[0.25, 0.5, 0.25]) {
                seasons.push(ANY[rng.below(ANY.len())]);
            }
            told = seasons.first().copied().unwrap_or(0.0);
        } else {
            let usual = SEASONS[frequency];
            for (i, season) in usual.iter().enumerate() {
                if rng.chance(if i == 0 { 0.85 } else { 0.35 }) {
                    seasons.push(*season);
                }
            }
            if rng.chance(TOLD_OTHERWISE) {
                told = usual.get(rng.below(usual.len().max(1))).copied().unwrap_or(0.0);
            }
        }
        if rng.chance(UNTOLD) {
            told = 0.0;
        }
        let whole = rng.chance(0.55);
        let least = context.min(8);
        let history =
            if whole { context } else { least + (rng.uniform() * (context - least) as f64) as usize };
        Self { frequency, seasons, season: told.round() as usize, history, len: history + horizon }
    }
}

/// The place of a weight drawn in proportion to it.
pub fn pick(rng: &mut Rng, weights: &[f64]) -> usize {
    let mut left = rng.uniform() * weights.iter().sum::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return i;
        }
    }
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Months, ten years before the origin and two after it.
    pub fn months() -> Grid {
        Grid { frequency: 3, seasons: vec![12.0], season: 12, history: 120, len: 144 }
    }

    /// The correlation of a path with itself so many steps earlier.
    pub fn autocorrelation(path: &[f64], lag: usize) -> f64 {
        let mean = path.iter().sum::<f64>() / path.len() as f64;
        let product =
            |lag: usize| -> f64 { path[lag..].iter().zip(path).map(|(a, b)| (a - mean) * (b - mean)).sum() };
        product(lag) / product(0).max(1e-12)
    }

    /// The mean over many seeds of what is told of a path.
    pub fn mean_of(path: impl Fn(&mut Rng) -> Vec<f64>, told: impl Fn(&[f64]) -> f64) -> f64 {
        let of = |seed| told(&path(&mut Rng::new(seed)));
        (0..300).map(of).sum::<f64>() / 300.0
    }

    #[test]
    fn grids_have_their_lengths_and_weights_are_drawn_in_proportion() {
        let mut rng = Rng::new(1);
        for context in [8, 64, 160, 512] {
            let grid = Grid::draw(&mut rng, context, 16);
            assert!(
                grid.history <= context && grid.len == grid.history + 16 && grid.frequency <= FREQUENCIES
            );
        }
        let drawn = (0..4_000).filter(|_| pick(&mut rng, &[1.0, 0.0, 3.0]) == 2).count();
        assert!((2_850..3_150).contains(&drawn), "{drawn}");
    }
}
