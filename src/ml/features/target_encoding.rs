//! Target encoding: what the target usually is where a category of many words has a word (Micci-Barreca 2001).
//!
//! Every value is taken relative to the level of its series just before it; the means over all series by word, and
//! for words of series by place in a cycle, are shrunk towards those over all words. They are out of fold in time: a
//! row that is learnt from sees only values before its origin (ordered target statistics; Prokhorenkova et al. 2018),
//! and the model keeps what is seen from the end of the training.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::ml::features::column::ColumnEncoder;
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::featurizer::Featurizer;
use crate::ml::features::history::level_and_spread;
use crate::ml::series::line_at;

/// Values that the mean over all words counts for beside those of a word.
const SHRINKAGE: f64 = 10.0;
/// Means are rounded to multiples of this: as they drift, precise ones would tell when they were taken.
const PRECISION: f64 = 0.05;
/// Relative values beyond this are cut.
const LIMIT: f64 = 5.0;
/// Words of a category that trees tell apart as they are; of more they see what is usual.
const WORDS_PLAIN_MAX: usize = 64;
/// A cycle is learnt from so many of its kind.
const CYCLES_MIN: usize = 4;
/// Most sums of one encoding, of every word at every time.
const SUMS_MAX: usize = 1 << 21;

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// That of a step.
    Known,
    /// That of a series.
    Static,
}

/// Means of the words of one category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetEncoding {
    /// What it is called among the features.
    pub name: String,
    role: Role,
    /// Its place among the categories of its role.
    category: usize,
    /// Words, the unknown one included.
    words: usize,
    /// Steps of a place in the cycle.
    width: usize,
    /// Places of the cycle.
    places: usize,
    /// `[words, places]`, as seen from the end of the training.
    means: Vec<f32>,
}

impl TargetEncoding {
    /// All encodings of these features; they know nothing yet.
    fn all(featurizer: &Featurizer) -> Vec<Self> {
        let season = featurizer.season_length;
        let mut found = Vec::new();
        let categories = |encoders: &[ColumnEncoder]| {
            let words = encoders.iter().filter_map(|e| e.words().map(|words| (e.name().to_owned(), words)));
            words.enumerate().filter(|(_, (_, words))| *words > WORDS_PLAIN_MAX).collect::<Vec<_>>()
        };
        for (category, (name, words)) in categories(&featurizer.known) {
            let new =
                |name| Self { name, role: Role::Known, category, words, width: 1, places: 1, means: vec![] };
            found.push(new(format!("usual_at_{name}")));
        }
        for (category, (name, words)) in categories(&featurizer.statics) {
            let new = |name, width, places| Self {
                name,
                role: Role::Static,
                category,
                words,
                width,
                places,
                means: vec![],
            };
            if season > 1 {
                found.push(new(format!("usual_of_{name}_in_season"), 1, season));
            }
            if let Some(long) = featurizer.layout.long_season {
                found.push(new(format!("usual_of_{name}_in_long_season"), season, long.div_ceil(season)));
            }
        }
        found
    }

    /// The mean that a row at `period` has by the codes of its step and of its series.
    pub(super) fn of(&self, panel: &EncodedPanel, series: usize, row: usize, period: i64) -> f32 {
        let at = self.code(panel, series, row) * self.places + self.place(period);
        self.means.get(at).copied().unwrap_or(f32::NAN)
    }

    fn code(&self, panel: &EncodedPanel, series: usize, row: usize) -> usize {
        let code = match self.role {
            Role::Known => panel.known_categories[self.category][row],
            Role::Static => panel.static_categories[self.category][series],
        };
        code as usize
    }

    fn block(&self, period: i64) -> i64 {
        period.div_euclid(self.width as i64)
    }

    fn place(&self, period: i64) -> usize {
        self.block(period).rem_euclid(self.places as i64) as usize
    }

    /// True where a state that was read can be one that was learnt.
    pub(super) fn is_sound(&self, featurizer: &Featurizer) -> bool {
        let encoders = if self.role == Role::Known { &featurizer.known } else { &featurizer.statics };
        let words = encoders.iter().filter_map(ColumnEncoder::words).nth(self.category);
        words == Some(self.words)
            && self.width > 0
            && self.places > 0
            && self.means.len() == self.words * self.places
            && self.means.iter().all(|mean| mean.is_finite())
    }
}

/// Encoded rows of a series, and their values relative to its level before each.
type RelativeValues = Vec<(usize, f32)>;

/// Sums of one encoding up to every time.
#[derive(Debug)]
struct Sums {
    first: i64,
    blocks: usize,
    /// `[words + 1, blocks]`: number and sum of the values in this block and all before it at its place of the cycle;
    /// the last row is over all words.
    sums: Vec<(f32, f32)>,
}

/// What target encodings are as seen from any time of the training.
#[derive(Debug, Default)]
pub struct EncodingHistory {
    by_encoding: Vec<Sums>,
}

impl EncodingHistory {
    /// Learns the encodings of `featurizer` from the first `train[s]` rows of every series `s`, added up in this order.
    pub fn fit(featurizer: &mut Featurizer, panel: &EncodedPanel, order: &[usize], train: &[usize]) -> Self {
        let mut encodings = TargetEncoding::all(featurizer);
        let periods = periods(panel, train);
        let blocks = |e: &TargetEncoding| (e.block(periods.end) - e.block(periods.start) + 1) as usize;
        encodings.retain(|e| {
            let sums = (e.words + 1).saturating_mul(blocks(e));
            !periods.is_empty() && sums <= SUMS_MAX && blocks(e) >= CYCLES_MIN * e.places
        });
        if encodings.is_empty() {
            return Self::default();
        }
        let relative = relative_values(featurizer, panel, train);
        let mut history = Self::default();
        for encoding in &mut encodings {
            let sums = Sums::new(encoding, panel, (order, &relative), &periods, blocks(encoding));
            let words = 0..encoding.words;
            let cells = words.flat_map(|word| (0..encoding.places).map(move |place| (word, place)));
            encoding.means =
                cells.map(|(word, place)| sums.mean(encoding, word, place, periods.end)).collect();
            history.by_encoding.push(sums);
        }
        featurizer.target_encodings = encodings;
        history
    }

    /// The mean of encoding `n` for a row at `period`, as seen from the period `origin`.
    pub(super) fn of(
        &self,
        (n, encoding): (usize, &TargetEncoding),
        panel: &EncodedPanel,
        (series, row): (usize, usize),
        (period, origin): (i64, i64),
    ) -> f32 {
        let (word, place) = (encoding.code(panel, series, row), encoding.place(period));
        self.by_encoding[n].mean(encoding, word, place, origin)
    }
}

impl Sums {
    fn new(
        encoding: &TargetEncoding,
        panel: &EncodedPanel,
        (order, relative): (&[usize], &[RelativeValues]),
        periods: &Range<i64>,
        blocks: usize,
    ) -> Self {
        let first = encoding.block(periods.start);
        let mut sums = vec![(0.0f32, 0.0f32); (encoding.words + 1) * blocks];
        for &series in order {
            let base = panel.offsets[series];
            for (row, y) in &relative[series] {
                let block = encoding.block(panel.start[series] + (row - base) as i64) - first;
                for word in [encoding.code(panel, series, *row), encoding.words] {
                    let cell = &mut sums[word * blocks + block as usize];
                    *cell = (cell.0 + 1.0, cell.1 + y);
                }
            }
        }
        for row in sums.chunks_exact_mut(blocks) {
            for at in encoding.places..blocks {
                let before = row[at - encoding.places];
                row[at] = (row[at].0 + before.0, row[at].1 + before.1);
            }
        }
        Self { first, blocks, sums }
    }

    /// The shrunk mean of a word at a place of the cycle, over the blocks that ended before the period `origin`.
    fn mean(&self, encoding: &TargetEncoding, word: usize, place: usize, origin: i64) -> f32 {
        let ended = (encoding.block(origin) - self.first).min(self.blocks as i64) - 1;
        let back = (self.first + ended - place as i64).rem_euclid(encoding.places as i64);
        let at = usize::try_from(ended - back).ok();
        let sum_of = |word: usize| {
            let (n, sum) = at.map_or((0.0, 0.0), |at| self.sums[word * self.blocks + at]);
            (f64::from(n), f64::from(sum))
        };
        let shrunk = |(n, sum): (f64, f64), prior: f64| (sum + SHRINKAGE * prior) / (n + SHRINKAGE);
        let mean = shrunk(sum_of(word), shrunk(sum_of(encoding.words), 0.0));
        ((mean / PRECISION).round() * PRECISION) as f32
    }
}

/// From the first to the last period that is learnt from.
fn periods(panel: &EncodedPanel, train: &[usize]) -> Range<i64> {
    let learnt = || panel.start.iter().zip(train).filter(|(_, rows)| **rows > 0);
    let first = learnt().map(|(start, _)| *start).min().unwrap_or(0);
    first..learnt().map(|(start, rows)| start + *rows as i64).max().unwrap_or(0)
}

/// What every series teaches.
fn relative_values(featurizer: &Featurizer, panel: &EncodedPanel, train: &[usize]) -> Vec<RelativeValues> {
    let of = |series: usize| {
        let (base, scaled) = (panel.offsets[series], featurizer.layout.scaled);
        let is_active = |row: usize| panel.active.is_empty() || panel.active[row];
        let first = base + featurizer.earliest_origin(train[series]).max(panel.launch[series]);
        let (mut before, mut found) = (Vec::with_capacity(scaled), Vec::new());
        for row in first..base + train[series] {
            let y = panel.target[row];
            if !y.is_finite() || !is_active(row) || line_at(&panel.lines, row).is_some() {
                continue;
            }
            before.clear();
            let earlier = row.saturating_sub(scaled).max(base)..row;
            let usable = earlier.filter(|row| is_active(*row) && panel.target[*row].is_finite());
            before.extend(usable.map(|row| f64::from(panel.target[row])));
            if before.len() >= featurizer.season_length.min(scaled) {
                found.extend(relative(f64::from(y), &before, featurizer.centred).map(|y| (row, y)));
            }
        }
        found
    };
    (0..train.len()).into_par_iter().map(of).collect()
}

fn relative(y: f64, before: &[f64], centred: bool) -> Option<f32> {
    let (level, spread) = level_and_spread(before)?;
    let mean = before.iter().sum::<f64>() / before.len() as f64;
    let (center, scale) = if centred { (mean, spread.max(1e-5 * level)) } else { (level, level) };
    (scale > 0.0).then(|| ((y - center) / scale).clamp(-LIMIT, LIMIT) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::canonical_order;
    use crate::ml::features::featurizer::tests::{fit, panel};
    use crate::ml::features::rows::RowWriter;
    use crate::ml::series::{Panel, Values};

    const KINDS: usize = WORDS_PLAIN_MAX + 6;
    const SERIES: usize = 2 * KINDS;

    /// Two series of every kind, of which every other sells twice as much on the third day of a week.
    fn many_kinds() -> Panel {
        let mut panel = panel(SERIES, 120);
        for s in 0..SERIES {
            for t in 0..120 {
                panel.target[s * 120 + t] = if t % 7 == 2 && s % 2 == 1 { 20.0 } else { 10.0 };
            }
        }
        panel.statics[1].values = Values::Category {
            codes: (0..SERIES).map(|s| (s % KINDS) as u32).collect(),
            labels: (0..KINDS).map(|kind| format!("kind {kind}")).collect(),
        };
        panel
    }

    fn learnt(panel: &Panel, train: usize) -> (Featurizer, EncodedPanel, EncodingHistory) {
        let train = vec![train; panel.len()];
        let mut featurizer = fit(panel, &train);
        let encoded = EncodedPanel::new(&featurizer, panel, 0, 0);
        let history = EncodingHistory::fit(&mut featurizer, &encoded, &canonical_order(panel), &train);
        (featurizer, encoded, history)
    }

    #[test]
    fn a_word_is_worth_what_its_series_usually_sell_at_that_place_of_the_season() {
        let (featurizer, encoded, _) = learnt(&many_kinds(), 120);
        let [encoding] = featurizer.target_encodings.as_slice() else { panic!("one category") };
        assert_eq!(encoding.name, "usual_of_kind_in_season");
        let of = |series, day| encoding.of(&encoded, series, 0, day);
        // 17 weeks of two series, of which the first teaches nothing, beside 10 values of all words.
        let level = 80.0 / 7.0;
        let (n, promo, plain) = (32.0, 20.0 / level - 1.0, 10.0 / 10.0 - 1.0);
        let of_all = n * KINDS as f64;
        let all = of_all / 2.0 * (promo + plain) / (of_all + SHRINKAGE);
        let expected = (n * promo + SHRINKAGE * all) / (n + SHRINKAGE);
        assert!((f64::from(of(1, 121)) - expected).abs() < PRECISION, "{} {expected}", of(1, 121));
        assert!(of(1, 122) < -0.05 && of(0, 121).abs() < 0.15 && of(0, 122).abs() < 0.02);
    }

    #[test]
    fn nothing_after_the_origin_nor_after_the_training_is_seen() {
        let (one, mut other) = (many_kinds(), many_kinds());
        for s in 0..SERIES {
            other.target[s * 120 + 80..(s + 1) * 120].fill(500.0 + s as f64);
        }
        let (featurizer, encoded, history) = learnt(&one, 120);
        let (late_featurizer, late, late_history) = learnt(&other, 120);
        let (e, f) = (&featurizer.target_encodings[0], &late_featurizer.target_encodings[0]);
        for (day, origin) in [(80, 80), (85, 79), (30, 28), (3, 2)] {
            let of = |history: &EncodingHistory, e, panel| history.of((0, e), panel, (1, 0), (day, origin));
            assert_eq!(of(&history, e, &encoded), of(&late_history, f, &late), "{day} from {origin}");
        }
        assert_ne!(
            history.of((0, e), &encoded, (1, 0), (121, 120)),
            late_history.of((0, f), &late, (1, 0), (121, 120))
        );
        assert_eq!(learnt(&one, 80).0.target_encodings, learnt(&other, 80).0.target_encodings);
        // From the end of the training both views are one.
        assert_eq!(history.of((0, e), &encoded, (1, 0), (121, 120)), e.of(&encoded, 1, 0, 121));
        assert_eq!(history.of((0, e), &encoded, (1, 0), (0, 0)), 0.0);
    }

    #[test]
    fn few_words_and_cycles_that_were_seen_rarely_have_none() {
        let few = panel(12, 120);
        assert_eq!(learnt(&few, 120).0.target_encodings, []);
        let many = many_kinds();
        let weeks = |days| learnt(&many, days).0.target_encodings.len();
        assert_eq!((weeks(26), weeks(28)), (0, 1));
    }

    #[test]
    fn rows_have_a_column_for_every_encoding() {
        let (featurizer, encoded, history) = learnt(&many_kinds(), 120);
        let column = |writer: &RowWriter<'_>| {
            writer.columns().iter().position(|c| c.name == "usual_of_kind_in_season").unwrap()
        };
        let mut writer = RowWriter::new(&featurizer, &encoded).learning_from(&history);
        let mut values = Vec::new();
        writer.look(1, 100);
        writer.push(0, &mut values);
        assert_eq!(values.len(), writer.columns().len());
        let expected = history.of((0, &featurizer.target_encodings[0]), &encoded, (1, 0), (100, 100));
        assert_eq!(values[column(&writer)], expected);
        assert!(featurizer.check().is_ok());
        let mut cut = featurizer.clone();
        cut.season_length = 0;
        assert!(cut.check().is_err());
    }
}
