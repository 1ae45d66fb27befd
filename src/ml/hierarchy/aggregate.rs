//! The sums of a hierarchy as further series of a panel.

use std::ops::Range;

use crate::ml::hierarchy::Hierarchy;
use crate::ml::series::{Covariate, MISSING, Panel, Values};

/// Share of a sum that must have been observed.
const OBSERVED_MIN: f64 = 0.5;

impl Hierarchy {
    /// The panel with a series for every node; all histories of `panel` end at the same time.
    ///
    /// A target is the sum of the series' targets. A series has 0 before its first value, and where a value is missing
    /// later the latest one of its season stands for it; where that would be most of a sum, the sum is missing. A
    /// covariate with more than two values is the mean over the series. Any other covariate, and every static one, has
    /// the value that all series have, or else is missing.
    pub fn aggregate(&self, panel: &Panel) -> Panel {
        let spans: Vec<Span> = (0..self.sums()).map(|sum| Span::new(panel, self, sum)).collect();
        let completed = completed(panel);
        let mut out = panel.clone();
        for (sum, span) in spans.iter().enumerate() {
            out.keys.push(self.keys()[sum].clone());
            out.offsets.push(out.target.len() + span.rows);
            out.history.push(span.history);
            out.start.push(span.start);
            let begin = out.target.len();
            self.sum_targets(panel, &completed, sum, span, &mut out.target);
            out.lines.extend(self.lines(panel, sum, span, begin));
        }
        for (into, from) in out.known.iter_mut().zip(&panel.known).chain(out.past.iter_mut().zip(&panel.past))
        {
            self.merge_rows(panel, &spans, from, into);
        }
        for (into, from) in out.statics.iter_mut().zip(&panel.statics) {
            self.merge_statics(from, into);
        }
        out
    }

    /// The rows of a sum, which begins at row `begin`, that are on a line of one of its series.
    fn lines(&self, panel: &Panel, sum: usize, span: &Span, begin: usize) -> Vec<Range<usize>> {
        let of_series = |series: usize| {
            let (from, to) = (panel.offsets[series], begin + span.row(panel, series));
            let end = panel.offsets[series + 1];
            let first = panel.lines.partition_point(|line| line.end <= from);
            let own = panel.lines[first..].iter().take_while(move |line| line.start < end);
            own.map(move |line| line.start - from + to..line.end - from + to)
        };
        let mut found: Vec<Range<usize>> = self.members(sum).flat_map(of_series).collect();
        found.sort_by_key(|line| (line.start, line.end));
        let mut out: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for line in found {
            match out.last_mut() {
                Some(last) if line.start <= last.end => last.end = last.end.max(line.end),
                _ => out.push(line),
            }
        }
        out
    }

    fn sum_targets(&self, panel: &Panel, completed: &[f64], sum: usize, span: &Span, out: &mut Vec<f64>) {
        let (mut total, mut seen) = (vec![0.0; span.history], vec![0.0; span.history]);
        let (mut size, mut any) = (vec![0.0; span.history], vec![false; span.history]);
        for series in self.members(sum) {
            let at = span.row(panel, series);
            let rows = panel.offsets[series]..panel.offsets[series] + panel.history[series];
            for (t, row) in (at..).zip(rows) {
                let y = completed[row];
                total[t] += y;
                size[t] += y.abs();
                if !panel.target[row].is_nan() {
                    seen[t] += y.abs();
                    any[t] = true;
                }
            }
        }
        let known = |t: usize| any[t] && seen[t] >= OBSERVED_MIN * size[t];
        out.extend((0..span.history).map(|t| if known(t) { total[t] } else { f64::NAN }));
        out.extend(std::iter::repeat_n(f64::NAN, span.rows - span.history));
    }

    fn merge_rows(&self, panel: &Panel, spans: &[Span], from: &Covariate, into: &mut Covariate) {
        let cells = |sum: usize| {
            self.members(sum)
                .flat_map(move |series| (spans[sum].row(panel, series)..).zip(panel.rows_of(series)))
        };
        for (sum, span) in spans.iter().enumerate() {
            match (&from.values, &mut into.values) {
                (Values::Number(from), Values::Number(into)) if has_two_values(from) => {
                    let present = cells(sum).map(|(t, row)| (t, from[row])).filter(|(_, x)| !x.is_nan());
                    into.extend(common(span.rows, present).into_iter().map(|x| x.unwrap_or(f32::NAN)));
                }
                (Values::Number(from), Values::Number(into)) => {
                    into.extend(means(span.rows, cells(sum).map(|(t, row)| (t, from[row]))));
                }
                (Values::Category { codes: from, .. }, Values::Category { codes: into, .. }) => {
                    let present = cells(sum).map(|(t, row)| (t, from[row])).filter(|(_, c)| *c != MISSING);
                    into.extend(common(span.rows, present).into_iter().map(|c| c.unwrap_or(MISSING)));
                }
                _ => {}
            }
        }
    }

    fn merge_statics(&self, from: &Covariate, into: &mut Covariate) {
        for sum in 0..self.sums() {
            match (&from.values, &mut into.values) {
                (Values::Number(from), Values::Number(into)) => {
                    let present = self.members(sum).map(|s| (0, from[s])).filter(|(_, x)| !x.is_nan());
                    into.push(common(1, present)[0].unwrap_or(f32::NAN));
                }
                (Values::Category { codes: from, .. }, Values::Category { codes: into, .. }) => {
                    let present = self.members(sum).map(|s| (0, from[s])).filter(|(_, c)| *c != MISSING);
                    into.push(common(1, present)[0].unwrap_or(MISSING));
                }
                _ => {}
            }
        }
    }
}

/// The periods of a sum: from the first row of its series to their last one.
struct Span {
    start: i64,
    history: usize,
    rows: usize,
}

impl Span {
    fn new(panel: &Panel, hierarchy: &Hierarchy, sum: usize) -> Self {
        let start = hierarchy.members(sum).map(|s| panel.start[s]).min().unwrap_or(0);
        let last = |s: usize| panel.start[s] + panel.rows_of(s).len() as i64;
        let end = hierarchy.members(sum).map(last).max().unwrap_or(start);
        let history = hierarchy.members(sum).map(|s| panel.first_step(s)).max().unwrap_or(start);
        Self { start, history: (history - start) as usize, rows: (end - start) as usize }
    }

    /// The row at which a series begins.
    fn row(&self, panel: &Panel, series: usize) -> usize {
        (panel.start[series] - self.start) as usize
    }
}

/// The targets of all series: 0 before the first value, and the latest one of its season for a missing one.
fn completed(panel: &Panel) -> Vec<f64> {
    let mut out = panel.target.clone();
    let season = panel.season_length.max(1);
    for i in 0..panel.len() {
        let rows = panel.offsets[i]..panel.offsets[i] + panel.history[i];
        let history = &mut out[rows];
        let first = history.iter().position(|y| !y.is_nan()).unwrap_or(history.len());
        history[..first].fill(0.0);
        for row in first..history.len() {
            if history[row].is_nan() {
                history[row] = history[if row >= first + season { row - season } else { row - 1 }];
            }
        }
    }
    out
}

fn has_two_values(numbers: &[f32]) -> bool {
    let mut seen: Vec<f32> = Vec::new();
    for x in numbers.iter().filter(|x| !x.is_nan()) {
        if !seen.contains(x) {
            if seen.len() == 2 {
                return false;
            }
            seen.push(*x);
        }
    }
    true
}

/// The value that all cells of a row have; none where two differ.
fn common<T: Copy + PartialEq>(rows: usize, cells: impl Iterator<Item = (usize, T)>) -> Vec<Option<T>> {
    let (mut out, mut mixed) = (vec![None; rows], vec![false; rows]);
    for (t, value) in cells {
        mixed[t] |= out[t].is_some_and(|found| found != value);
        out[t] = Some(value);
    }
    out.iter_mut().zip(mixed).filter(|(_, mixed)| *mixed).for_each(|(value, _)| *value = None);
    out
}

/// The mean of the cells of every row that are there.
fn means(rows: usize, cells: impl Iterator<Item = (usize, f32)>) -> Vec<f32> {
    let mut sums = vec![(0.0f64, 0u32); rows];
    for (t, x) in cells.filter(|(_, x)| !x.is_nan()) {
        sums[t] = (sums[t].0 + f64::from(x), sums[t].1 + 1);
    }
    sums.into_iter().map(|(sum, n)| if n > 0 { (sum / f64::from(n)) as f32 } else { f32::NAN }).collect()
}
