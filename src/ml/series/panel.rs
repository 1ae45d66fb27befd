//! The arena of all series: target, covariates and offsets, regular in time.

use std::collections::HashMap;
use std::ops::Range;

use crate::ml::series::Frequency;

/// The code of a missing category.
pub const MISSING: u32 = u32::MAX;

/// Values of a covariate, one per row (or one per series for a static one).
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN is missing.
    Number(Vec<f32>),
    /// Indexes into `labels`; `u32::MAX` is missing.
    Category {
        /// One per row or series.
        codes: Vec<u32>,
        /// The words, in order of first appearance.
        labels: Vec<String>,
    },
}

impl Values {
    /// Number of rows or series.
    pub fn len(&self) -> usize {
        match self {
            Self::Number(numbers) => numbers.len(),
            Self::Category { codes, .. } => codes.len(),
        }
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Number(numbers) => numbers.len() * 4,
            Self::Category { codes, labels } => {
                codes.len() * 4 + labels.iter().map(|l| l.len() + size_of::<String>()).sum::<usize>()
            }
        }
    }

    /// The codes of these categories in another vocabulary, such as the one a model was fitted with;
    /// `u32::MAX` for words it lacks. Numbers have none.
    pub fn codes_in(&self, vocabulary: &[String]) -> Vec<u32> {
        let Self::Category { codes, labels } = self else { return Vec::new() };
        let known: HashMap<&str, u32> = (0..).zip(vocabulary).map(|(i, word)| (word.as_str(), i)).collect();
        let map: Vec<u32> =
            labels.iter().map(|l| known.get(l.as_str()).copied().unwrap_or(MISSING)).collect();
        codes.iter().map(|c| map.get(*c as usize).copied().unwrap_or(MISSING)).collect()
    }

    /// The rows of these ranges, one after the other.
    pub(super) fn gather(&self, ranges: &[Range<usize>]) -> Self {
        match self {
            Self::Number(numbers) => Self::Number(gather(numbers, ranges)),
            Self::Category { codes, labels } => {
                Self::Category { codes: gather(codes, ranges), labels: labels.clone() }
            }
        }
    }

    /// Marks the row as missing.
    pub(super) fn clear(&mut self, rows: Range<usize>) {
        match self {
            Self::Number(numbers) => numbers[rows].fill(f32::NAN),
            Self::Category { codes, .. } => codes[rows].fill(MISSING),
        }
    }
}

/// The items of these ranges, one after the other.
pub(super) fn gather<T: Copy>(items: &[T], ranges: &[Range<usize>]) -> Vec<T> {
    let mut out = Vec::with_capacity(ranges.iter().map(ExactSizeIterator::len).sum());
    ranges.iter().for_each(|range| out.extend_from_slice(&items[range.clone()]));
    out
}

/// A named covariate.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariate {
    /// The user's column name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

impl Covariate {
    fn gather(&self, ranges: &[Range<usize>]) -> Self {
        Self { name: self.name.clone(), values: self.values.gather(ranges) }
    }
}

/// Many series on one regular time grid.
///
/// Rows of series `i` are `offsets[i]..offsets[i + 1]`, one per period without gaps. The first
/// `history[i]` of them are history; the rest are future periods for which only `known` is filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The grid.
    pub frequency: Frequency,
    /// Origin of the grid in microseconds (or integer units): period 0 begins here.
    pub origin: i64,
    /// Periods in a season (7 for daily data, 12 for monthly); at least 1.
    pub season_length: usize,
    /// Key of every series as text (`store_id=3, item_id=A1`), unique.
    pub keys: Vec<String>,
    /// Length: series + 1.
    pub offsets: Vec<usize>,
    /// History rows of every series.
    pub history: Vec<usize>,
    /// Period number of the first row of every series.
    pub start: Vec<i64>,
    /// Target per row; NaN is missing, and always NaN in future rows.
    pub target: Vec<f64>,
    /// Covariates known in the future, per row.
    pub known: Vec<Covariate>,
    /// Covariates known only in the past, per row (missing in future rows).
    pub past: Vec<Covariate>,
    /// Covariates that do not change in time, per series.
    pub statics: Vec<Covariate>,
    /// Rows whose target lies on a line to the row after them, ascending: their values are not known before that.
    pub lines: Vec<Range<usize>>,
}

impl Panel {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// True when there is no series.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The rows of series `i`, history and future.
    pub fn rows_of(&self, i: usize) -> Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    /// The history of the target of series `i`.
    pub fn history_of(&self, i: usize) -> &[f64] {
        &self.target[self.offsets[i]..self.offsets[i] + self.history[i]]
    }

    /// Number of future rows of series `i`.
    pub fn future_of(&self, i: usize) -> usize {
        self.offsets[i + 1] - self.offsets[i] - self.history[i]
    }

    /// The period number after the history of series `i`: step 1 of a forecast.
    pub fn first_step(&self, i: usize) -> i64 {
        self.start[i] + self.history[i] as i64
    }

    /// The instant at which a period begins; `None` beyond the calendar.
    pub fn instant(&self, period: i64) -> Option<i64> {
        self.frequency.instant(self.origin, period)
    }

    /// Bytes held, keys and labels included.
    pub fn bytes(&self) -> usize {
        let covariates = self.known.iter().chain(&self.past).chain(&self.statics);
        self.keys.iter().map(|key| key.len() + size_of::<String>()).sum::<usize>()
            + (self.offsets.len() + self.history.len() + self.start.len() + self.target.len()) * 8
            + covariates.map(|c| c.values.bytes()).sum::<usize>()
    }

    /// The series of this range.
    pub fn select(&self, series: Range<usize>) -> Self {
        let rows: Vec<Range<usize>> = series.clone().map(|i| self.rows_of(i)).collect();
        let mut out = self.with_rows(std::slice::from_ref(&series), &rows);
        out.start = self.start[series.clone()].to_vec();
        out.history = self.history[series].to_vec();
        out
    }

    /// The last `context_length` rows of every history, and all future rows.
    pub fn take_last(&self, context_length: usize) -> Self {
        let dropped = |i: usize| self.history[i].saturating_sub(context_length);
        let rows: Vec<Range<usize>> =
            (0..self.len()).map(|i| self.offsets[i] + dropped(i)..self.offsets[i + 1]).collect();
        let mut out = self.with_rows(std::slice::from_ref(&(0..self.len())), &rows);
        out.start = (0..self.len()).map(|i| self.start[i] + dropped(i) as i64).collect();
        out.history = (0..self.len()).map(|i| self.history[i] - dropped(i)).collect();
        out
    }

    /// The panel without the lines that lead into the last `length` steps of a history: the value before them goes
    /// on instead; `None` where there is none.
    pub fn cut_lines(&self, length: usize) -> Option<Self> {
        let boundary = |i: usize| self.offsets[i] + self.history[i].saturating_sub(length);
        (0..self.len()).any(|i| line_at(&self.lines, boundary(i)).is_some()).then(|| {
            let mut cut = self.clone();
            (0..self.len()).for_each(|i| cut.cut_line(boundary(i)));
            cut
        })
    }

    /// Lets the value before a line go on where a boundary cuts it.
    fn cut_line(&mut self, boundary: usize) {
        let Some(at) = line_at(&self.lines, boundary) else { return };
        let line = self.lines[at].clone();
        let before = self.target[..line.start].iter().rfind(|y| !y.is_nan()).copied();
        let filled = self.target[line.start..boundary].iter_mut().filter(|y| !y.is_nan());
        filled.for_each(|y| *y = before.unwrap_or(*y));
        self.lines[at].start = boundary.min(line.end);
        if self.lines[at].is_empty() {
            self.lines.remove(at);
        }
    }

    /// The panel as it was `length` steps before the end of every history: the steps after are future
    /// rows, target and past covariates missing there; the old future rows are gone.
    pub fn hold_out(&self, length: usize) -> Self {
        let left = |i: usize| self.history[i].saturating_sub(length);
        self.held_out(&(0..self.len()).map(|i| (i, left(i), self.history[i])).collect::<Vec<_>>())
    }

    /// The last period of the histories.
    pub fn last_period(&self) -> Option<i64> {
        (0..self.len()).map(|i| self.first_step(i) - 1).max()
    }

    /// The panel as it was after a period: the series that had begun, and `future` steps after it at most, of which
    /// only known covariates are told; and which series these are.
    pub fn as_of(&self, period: i64, future: usize) -> (Self, Vec<usize>) {
        let left = |i: usize| usize::try_from(period + 1 - self.start[i]).unwrap_or(0).min(self.history[i]);
        let series: Vec<usize> = (0..self.len()).filter(|i| left(*i) > 0).collect();
        let rows = series.iter().map(|i| (*i, left(*i), (left(*i) + future).min(self.history[*i])));
        (self.held_out(&rows.collect::<Vec<_>>()), series)
    }

    /// Series with the steps of their histories that are kept, and those that are rows.
    fn held_out(&self, kept: &[(usize, usize, usize)]) -> Self {
        let rows: Vec<Range<usize>> =
            kept.iter().map(|(i, _, rows)| self.offsets[*i]..self.offsets[*i] + rows).collect();
        let series: Vec<Range<usize>> = kept.iter().map(|(i, ..)| *i..*i + 1).collect();
        let mut out = self.with_rows(&series, &rows);
        out.start = kept.iter().map(|(i, ..)| self.start[*i]).collect();
        out.history = kept.iter().map(|(_, left, _)| *left).collect();
        for i in 0..out.len() {
            let future = out.offsets[i] + out.history[i]..out.offsets[i + 1];
            out.cut_line(future.start);
            out.target[future.clone()].fill(f64::NAN);
            out.past.iter_mut().for_each(|c| c.values.clear(future.clone()));
        }
        out
    }

    /// The series of these ranges with these rows each; `start` and `history` are left empty.
    fn with_rows(&self, series: &[Range<usize>], rows: &[Range<usize>]) -> Self {
        let mut offsets = Vec::with_capacity(rows.len() + 1);
        offsets.push(0);
        let mut end = 0;
        for range in rows {
            end += range.len();
            offsets.push(end);
        }
        Self {
            frequency: self.frequency,
            origin: self.origin,
            season_length: self.season_length,
            keys: series.iter().flat_map(|range| &self.keys[range.clone()]).cloned().collect(),
            offsets,
            history: Vec::new(),
            start: Vec::new(),
            target: gather(&self.target, rows),
            known: self.known.iter().map(|c| c.gather(rows)).collect(),
            past: self.past.iter().map(|c| c.gather(rows)).collect(),
            statics: self.statics.iter().map(|c| c.gather(series)).collect(),
            lines: moved(&self.lines, rows),
        }
    }
}

/// The line among these whose rows, or the row after them, are at `row` but do not begin there.
pub fn line_at(lines: &[Range<usize>], row: usize) -> Option<usize> {
    let at = lines.partition_point(|line| line.end < row);
    lines.get(at).filter(|line| line.start < row).map(|_| at)
}

/// The lines within some rows, where these rows go one after the other.
fn moved(lines: &[Range<usize>], rows: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut begin = 0;
    for range in rows {
        let first = lines.partition_point(|line| line.end <= range.start);
        for line in lines[first..].iter().take_while(|line| line.start < range.end) {
            let inside = line.start.max(range.start)..line.end.min(range.end);
            out.push(inside.start - range.start + begin..inside.end - range.start + begin);
        }
        begin += range.len();
    }
    out
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        let label = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
        Panel {
            frequency: Frequency::Days(1),
            origin: 0,
            season_length: 7,
            keys: label(&["s=a", "s=b"]),
            offsets: vec![0, 4, 7],
            history: vec![3, 2],
            start: vec![0, 10],
            target: vec![1.0, 2.0, 3.0, f64::NAN, 5.0, 6.0, f64::NAN],
            known: vec![Covariate {
                name: "promo".into(),
                values: Values::Number((0..7).map(|v| v as f32).collect()),
            }],
            past: vec![Covariate {
                name: "visits".into(),
                values: Values::Number(vec![1.0, 2.0, 3.0, f32::NAN, 4.0, 5.0, f32::NAN]),
            }],
            statics: vec![Covariate {
                name: "region".into(),
                values: Values::Category { codes: vec![0, 1], labels: label(&["north", "south"]) },
            }],
            lines: Vec::new(),
        }
    }

    #[test]
    fn a_line_into_what_is_held_out_is_cut_and_moves_with_its_rows() {
        let mut lined = panel();
        (lined.offsets, lined.history, lined.target) =
            (vec![0, 6, 7], vec![6, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0]);
        (lined.known, lined.past) = (Vec::new(), Vec::new());
        lined.lines = vec![2..4];
        let on: Vec<bool> = (0..6).map(|row| line_at(&lined.lines, row).is_some()).collect();
        assert_eq!(on, [false, false, false, true, true, false]);
        assert_eq!(lined.hold_out(2).target[..4], [1.0, 2.0, 2.0, 2.0]);
        let held = lined.hold_out(3);
        assert!(held.target[2] == 2.0 && held.target[3].is_nan() && held.lines == [3..4]);
        assert_eq!(lined.hold_out(1).target[..5], [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(lined.cut_lines(3).unwrap().target, [1.0, 2.0, 2.0, 4.0, 5.0, 6.0, 9.0]);
        assert_eq!((lined.cut_lines(1), lined.cut_lines(4)), (None, None));
        assert_eq!(lined.take_last(3).lines, [0..1]);
        assert!(lined.select(1..2).lines.is_empty());
    }

    #[test]
    fn select_and_take_last_keep_time_and_future() {
        let b = panel().select(1..2);
        assert_eq!((b.len(), b.first_step(0), b.future_of(0), b.history_of(0)), (1, 12, 1, &[5.0, 6.0][..]));
        assert_eq!(b.statics[0].values.codes_in(&["south".into()]), [0]);
        let last = panel().take_last(1);
        assert_eq!((last.history_of(0), last.first_step(0), last.future_of(0)), (&[3.0][..], 3, 1));
        assert_eq!(last.known[0].values, Values::Number(vec![2.0, 3.0, 5.0, 6.0]));
    }

    #[test]
    fn hold_out_hides_target_and_past_but_keeps_known() {
        let held = panel().hold_out(2);
        assert_eq!((held.history.as_slice(), held.future_of(1)), (&[1, 0][..], 2));
        assert!(held.target[1..].iter().all(|y| y.is_nan()));
        let Values::Number(visits) = &held.past[0].values else { panic!("numbers") };
        assert!(visits[0] == 1.0 && visits[1..].iter().all(|v| v.is_nan()));
        assert_eq!(held.known[0].values, Values::Number(vec![0.0, 1.0, 2.0, 4.0, 5.0]));
        assert!(held.bytes() > 0);
    }

    #[test]
    fn as_of_a_period_only_what_had_begun_is_there() {
        let (early, series) = panel().as_of(0, 1);
        assert_eq!((series, early.history.as_slice(), early.future_of(0)), (vec![0], &[1][..], 1));
        assert_eq!(early.known[0].values, Values::Number(vec![0.0, 1.0]));
        assert!(early.target[1].is_nan());
        let (late, series) = panel().as_of(10, 5);
        assert_eq!((series, late.history.as_slice()), (vec![0, 1], &[3, 1][..]));
        assert_eq!((late.future_of(0), late.future_of(1), late.statics[0].values.len()), (0, 1, 2));
        assert_eq!(panel().last_period(), Some(11));
    }

    #[test]
    fn unknown_words_have_no_code() {
        let codes = panel().statics[0].values.codes_in(&["east".into(), "north".into()]);
        assert_eq!(codes, [1, MISSING]);
    }
}
