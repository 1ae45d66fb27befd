//! Values far from what season, known covariates and the history before them explain.
//!
//! A value is judged by earlier ones of its series only, so that a history is cleaned in the same way wherever it ends.
//! It is compared with the median of earlier values of the same place in the season and the same state of all known
//! covariates, in units of the median distance that earlier values had from theirs (Hampel's identifier).

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::features::calendar;
use crate::ml::series::{Panel, Values};

/// Distances, in robust standard deviations, from which on a value is an outlier.
const DISTANCE_MAX: f64 = 6.0;
/// The median absolute deviation of normal values times this is their standard deviation.
const DEVIATIONS_PER_MAD: f64 = 1.4826;
/// A standard deviation is at least this share of the level.
const DEVIATION_MIN: f64 = 0.1;
/// Values that an expectation is the median of, at most.
const MATCHES_MAX: usize = 8;
/// And at least.
const MATCHES_MIN: usize = 4;
/// Earlier distances that tell how large they usually are, at most.
const DISTANCES_MAX: usize = 60;
/// And at least.
const DISTANCES_MIN: usize = 12;
/// More such values in a row are no outliers, but a new level.
const RUN_MAX: usize = 2;
/// A share of zeros from which on only sales are compared, with sales.
const ZEROS_MANY: f64 = 0.3;
/// Seasons of more steps come round too rarely to be matched.
const SEASON_MAX: usize = 31;

/// What outliers become where models learn and where they look back; what is scored stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outliers {
    /// They stay.
    #[default]
    Keep,
    /// The farthest value that is none.
    Clip,
    /// Missing.
    Mask,
}

/// A row and the farthest value that would be no outlier there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    row: usize,
    bound: f64,
}

impl Outliers {
    const ALL: [Self; 3] = [Self::Keep, Self::Clip, Self::Mask];

    /// The word users write after OUTLIERS.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "KEEP",
            Self::Clip => "CLIP",
            Self::Mask => "MASK",
        }
    }

    /// The treatment of this word, in any case.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|outliers| outliers.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let message = format!("unknown OUTLIERS {word}{}", did_you_mean(word, words));
            Error::input(Subject::Option, message).with_hint(format!("OUTLIERS takes {}", words.join(", ")))
        })
    }

    /// The panel with its outliers treated and their number; `None` where they stay.
    pub fn clean(self, panel: &Panel) -> Option<(Panel, usize)> {
        if self == Self::Keep {
            return None;
        }
        let found = find(panel);
        let mut cleaned = panel.clone();
        for outlier in &found {
            cleaned.target[outlier.row] = if self == Self::Clip { outlier.bound } else { f64::NAN };
        }
        Some((cleaned, found.len()))
    }

    /// The number of outliers that are treated.
    pub fn count(self, panel: &Panel) -> usize {
        if self == Self::Keep { 0 } else { find(panel).len() }
    }
}

fn find(panel: &Panel) -> Vec<Found> {
    let long = calendar::calendar_season(panel.frequency, panel.season_length.max(1));
    let series: Vec<Vec<Found>> =
        (0..panel.len()).into_par_iter().map(|series| Judge::new(panel, series, long).all()).collect();
    series.into_iter().flatten().collect()
}

/// The rows of one series, judged one after the other.
struct Judge<'a> {
    values: &'a [f64],
    /// First row of the series.
    base: usize,
    /// Place of the first row in the season.
    phase: usize,
    season: usize,
    /// The season and the season of seasons, at which an exception may come again.
    repeats: Vec<usize>,
    /// What the known covariates of every row are, as a number.
    states: Vec<u64>,
    /// Distance of every row from what was expected; NaN where nothing was.
    distances: Vec<f64>,
    /// Sizes of the latest distances, of all judged rows.
    recent: Vec<f64>,
    /// Rows in a row that lie beyond the bound on one side, negative below it.
    run: isize,
    buffer: Vec<f64>,
}

impl<'a> Judge<'a> {
    fn new(panel: &'a Panel, series: usize, long: Option<usize>) -> Self {
        let values = panel.history_of(series);
        let length = panel.season_length.max(1);
        let season = if length <= SEASON_MAX { length } else { 1 };
        let repeats = [length, long.unwrap_or(0)].into_iter().filter(|steps| *steps > 1 && *steps != season);
        Self {
            values,
            base: panel.offsets[series],
            phase: panel.start[series].rem_euclid(season as i64) as usize,
            season,
            repeats: repeats.collect(),
            states: states(panel, series, season),
            distances: Vec::with_capacity(values.len()),
            recent: Vec::with_capacity(DISTANCES_MAX),
            run: 0,
            buffer: Vec::new(),
        }
    }

    fn all(mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for at in 0..self.values.len() {
            let y = self.values[at];
            let expected = if y.is_finite() { self.expected(at) } else { None };
            let distance = expected.map_or(f64::NAN, |expected| y - expected);
            if let Some(bound) = expected.and_then(|expected| self.bound(at, expected, distance)) {
                found.push(Found { row: self.base + at, bound });
            }
            self.distances.push(distance);
            if distance.is_finite() {
                if self.recent.len() == DISTANCES_MAX {
                    self.recent.remove(0);
                }
                self.recent.push(distance.abs());
            }
        }
        found
    }

    /// The median of the latest values before a row that share its place in the season and its state.
    fn expected(&mut self, at: usize) -> Option<f64> {
        let phase = |row: usize| (self.phase + row) % self.season;
        let reach = at.saturating_sub(self.season * 3 * MATCHES_MAX);
        let rows = (reach..at).rev().filter(|row| self.values[*row].is_finite());
        let matching = rows.filter(|row| phase(*row) == phase(at) && self.states[*row] == self.states[at]);
        let most = if self.season == 1 { 2 * MATCHES_MAX } else { MATCHES_MAX };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend(matching.take(most).map(|row| self.values[row]));
        let zeros = buffer.iter().filter(|y| **y == 0.0).count() as f64;
        if zeros > ZEROS_MANY * buffer.len() as f64 {
            buffer.retain(|y| *y != 0.0);
            // A day without sales is nothing special among such days.
            if self.values[at] == 0.0 {
                buffer.clear();
            }
        }
        let found = (buffer.len() >= MATCHES_MIN).then(|| median(&mut buffer));
        self.buffer = buffer;
        found
    }

    /// The farthest value that would be no outlier, where the row is one.
    fn bound(&mut self, at: usize, expected: f64, distance: f64) -> Option<f64> {
        if self.recent.len() < DISTANCES_MIN {
            return None;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(&self.recent);
        let usual = DEVIATIONS_PER_MAD * median(&mut buffer);
        self.buffer = buffer;
        let most = DISTANCE_MAX * usual.max(DEVIATION_MIN * expected.abs());
        if most == 0.0 || distance.abs() <= most {
            self.run = 0;
            return None;
        }
        let side: isize = if distance > 0.0 { 1 } else { -1 };
        self.run = if self.run.signum() == side { self.run + side } else { side };
        let is_level = self.run.unsigned_abs() > RUN_MAX;
        (!is_level && !self.came_before(at, distance)).then_some(expected + side as f64 * most)
    }

    /// True when a season or a season of seasons ago, one step more or less, it was much the same.
    fn came_before(&self, at: usize, distance: f64) -> bool {
        let then = self.repeats.iter().filter_map(|steps| at.checked_sub(*steps));
        then.flat_map(|then| [then.checked_sub(1), Some(then), Some(then + 1)])
            .flatten()
            .filter_map(|then| self.distances.get(then))
            .any(|before| before * distance > 0.0 && before.abs() >= 0.5 * distance.abs())
    }
}

/// The known covariates of every row of history as one number: words as they are, numbers as below, at or above
/// the median of the rows before.
fn states(panel: &Panel, series: usize, season: usize) -> Vec<u64> {
    let rows = panel.offsets[series]..panel.offsets[series] + panel.history[series];
    let mut states = vec![0u64; rows.len()];
    let mut buffer = Vec::new();
    for covariate in &panel.known {
        let mut add = |at: usize, code: u64| {
            // Multiplying by a large odd number keeps the states of several columns apart.
            states[at] = (states[at] ^ code).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        };
        match &covariate.values {
            Values::Category { codes, .. } => {
                codes[rows.clone()].iter().enumerate().for_each(|(at, code)| add(at, u64::from(*code)));
            }
            Values::Number(numbers) => {
                let numbers = &numbers[rows.clone()];
                for at in 0..numbers.len() {
                    buffer.clear();
                    let before = &numbers[at.saturating_sub((2 * season).max(15))..at];
                    buffer.extend(before.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x)));
                    add(at, level(f64::from(numbers[at]), &mut buffer));
                }
            }
        }
    }
    states
}

/// Whether a number is missing, or below, at or above the median of others.
fn level(x: f64, others: &mut [f64]) -> u64 {
    if !x.is_finite() {
        return 0;
    }
    let usual = if others.is_empty() { 0.0 } else { median(others) };
    let apart = 0.05 * usual.abs();
    if x < usual - apart {
        1
    } else if x > usual + apart {
        3
    } else {
        2
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    let (below, middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let middle = *middle;
    if n % 2 == 1 {
        return middle;
    }
    0.5 * (middle + below.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::panel;

    /// Rows and new values of what is clipped.
    fn clipped(panel: &Panel) -> Vec<(usize, f64)> {
        let (cleaned, n) = Outliers::Clip.clean(panel).unwrap();
        let changed = (0..panel.target.len()).filter(|row| panel.target[*row] != cleaned.target[*row]);
        let changed: Vec<(usize, f64)> = changed.map(|row| (row, cleaned.target[row])).collect();
        assert_eq!(changed.len(), n);
        changed
    }

    /// Ten, a little more or less, on every weekday but the last, on which it is twenty.
    fn weekly(days: usize) -> Panel {
        let mut one = panel(1, days);
        (one.known, one.past) = (Vec::new(), Vec::new());
        for (t, y) in one.target.iter_mut().enumerate() {
            *y = if t % 7 == 6 { 20.0 } else { 10.0 } + (t * 37 % 5) as f64 * 0.5 - 1.0;
        }
        one
    }

    #[test]
    fn a_spike_and_a_hole_are_found_and_seasons_are_not() {
        let mut one = weekly(140);
        assert!(clipped(&one).is_empty());
        (one.target[100], one.target[120]) = (90.0, 0.0);
        let found = clipped(&one);
        assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [100, 120]);
        assert!(found[0].1 > 13.0 && found[0].1 < 25.0 && found[1].1 < 9.0, "{found:?}");
        let (masked, n) = Outliers::Mask.clean(&one).unwrap();
        assert!(n == 2 && masked.target[100].is_nan() && masked.target[99] == one.target[99]);
        assert_eq!((Outliers::Keep.clean(&one), Outliers::Keep.count(&one)), (None, 0));
    }

    #[test]
    fn what_a_known_covariate_explains_is_kept() {
        let mut one = weekly(210);
        let promo: Vec<f32> = (0..210).map(|t| f32::from(u8::from(t % 35 < 3))).collect();
        one.target.iter_mut().zip(&promo).for_each(|(y, promo)| *y *= 1.0 + 8.0 * f64::from(*promo));
        let covariate = crate::ml::series::Covariate { name: "promo".into(), values: Values::Number(promo) };
        one.known.push(covariate);
        assert!(clipped(&one).is_empty());
    }

    #[test]
    fn a_new_level_is_no_row_of_outliers() {
        let mut one = weekly(200);
        one.target[120..].iter_mut().for_each(|y| *y *= 6.0);
        assert!(clipped(&one).iter().all(|(row, _)| (120..122).contains(row)));
    }

    #[test]
    fn rare_sales_are_compared_with_sales() {
        let mut one = weekly(140);
        for (t, y) in one.target.iter_mut().enumerate() {
            *y = if t % 2 == 0 { 0.0 } else { 3.0 + (t * 37 % 3) as f64 };
        }
        assert!(clipped(&one).is_empty());
        one.target[101] = 400.0;
        assert_eq!(clipped(&one).len(), 1);
    }

    #[test]
    fn nothing_after_a_row_changes_what_becomes_of_it() {
        let mut one = weekly(140);
        one.target[60] = 90.0;
        let clean = Outliers::Clip.clean(&one).unwrap().0;
        let mut other = one.clone();
        other.target[90..].iter_mut().enumerate().for_each(|(t, y)| *y = (t * 7919 % 1000) as f64);
        let changed = Outliers::Clip.clean(&other).unwrap().0;
        assert_eq!(clean.target[..90], changed.target[..90]);
        assert!(clean.target[60] < 90.0);
    }

    #[test]
    fn a_wrong_word_is_told() {
        assert_eq!(Outliers::parse("clip").unwrap(), Outliers::Clip);
        let error = Outliers::parse("CLIPS").unwrap_err();
        assert_eq!(error.message(), "unknown OUTLIERS CLIPS; did you mean CLIP?");
        assert_eq!(error.hint(), Some("OUTLIERS takes KEEP, CLIP, MASK"));
    }
}
