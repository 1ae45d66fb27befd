//! Histories that all end at the same time, so that steps of their forecasts can be added.

use crate::ml::series::{Covariate, Gaps, MISSING, Panel, Values};

/// Makes every history of the panel end at the latest period at which one has a value; tells how many series have no
/// rows up to it.
///
/// Periods after the last row of a series are gaps like those between its rows: 0 or the last value where the policy
/// says so, else missing.
pub fn align(panel: &mut Panel, gaps: Gaps) -> usize {
    let Some((together, ended)) = aligned(panel, gaps) else { return 0 };
    *panel = together;
    ended
}

/// None where all histories end together.
fn aligned(panel: &Panel, gaps: Gaps) -> Option<(Panel, usize)> {
    let observed = |i: usize| panel.history_of(i).iter().any(|y| !y.is_nan());
    let ends = |only_observed: bool| {
        (0..panel.len()).filter(move |i| !only_observed || observed(*i)).map(|i| panel.first_step(i)).max()
    };
    let end = ends(true).or_else(|| ends(false))?;
    let shape: Vec<Shape> = (0..panel.len()).map(|i| Shape::new(panel, i, end)).collect();
    if shape
        .iter()
        .enumerate()
        .all(|(i, s)| s.rows == panel.rows_of(i).len() && s.history == panel.history[i])
    {
        return None;
    }
    let mut offsets = vec![0];
    for s in &shape {
        offsets.push(offsets[offsets.len() - 1] + s.rows);
    }
    let spread = |c: &Covariate| Covariate { name: c.name.clone(), values: values(&c.values, panel, &shape) };
    let mut target = scatter(&panel.target, f64::NAN, panel, &shape);
    for (i, s) in shape.iter().enumerate() {
        let rows = &mut target[offsets[i]..offsets[i + 1]];
        rows[s.history..].fill(f64::NAN);
        let gap = (s.before + panel.rows_of(i).len()).min(s.history)..s.history;
        let last = rows[..gap.start].iter().rev().find(|y| !y.is_nan()).copied();
        match gaps {
            Gaps::Zero if observed(i) => rows[gap].fill(0.0),
            Gaps::Previous => rows[gap].fill(last.unwrap_or(f64::NAN)),
            _ => {}
        }
    }
    let moved = |i: usize| {
        let (from, to) = (panel.offsets[i]..panel.offsets[i + 1], offsets[i] + shape[i].before);
        let first = panel.lines.partition_point(|line| line.end <= from.start);
        let own = panel.lines[first..].iter().take_while(move |line| line.start < from.end);
        own.map(move |line| line.start - panel.offsets[i] + to..line.end - panel.offsets[i] + to)
    };
    let lines = (0..panel.len()).flat_map(moved).collect();
    let ended = (0..panel.len()).filter(|i| panel.start[*i] + (panel.rows_of(*i).len() as i64) < end).count();
    let together = Panel {
        frequency: panel.frequency,
        origin: panel.origin,
        season_length: panel.season_length,
        keys: panel.keys.clone(),
        history: shape.iter().map(|s| s.history).collect(),
        start: shape.iter().zip(&panel.start).map(|(s, start)| start - s.before as i64).collect(),
        offsets,
        lines,
        target,
        known: panel.known.iter().map(spread).collect(),
        past: panel.past.iter().map(spread).collect(),
        statics: panel.statics.clone(),
    };
    Some((together, ended))
}

/// Where the rows of one series go.
struct Shape {
    /// Rows before its first one: it may begin after the end of all histories.
    before: usize,
    rows: usize,
    history: usize,
}

impl Shape {
    fn new(panel: &Panel, i: usize, end: i64) -> Self {
        let before = (panel.start[i] - end).max(0) as usize;
        let history = (end - panel.start[i]).max(0) as usize;
        Self { before, rows: (before + panel.rows_of(i).len()).max(history), history }
    }
}

fn values(values: &Values, panel: &Panel, shape: &[Shape]) -> Values {
    match values {
        Values::Number(numbers) => Values::Number(scatter(numbers, f32::NAN, panel, shape)),
        Values::Category { codes, labels } => {
            Values::Category { codes: scatter(codes, MISSING, panel, shape), labels: labels.clone() }
        }
    }
}

fn scatter<T: Copy>(column: &[T], missing: T, panel: &Panel, shape: &[Shape]) -> Vec<T> {
    let mut out = Vec::with_capacity(shape.iter().map(|s| s.rows).sum());
    for (i, s) in shape.iter().enumerate() {
        let end = out.len() + s.rows;
        out.extend(std::iter::repeat_n(missing, s.before));
        out.extend_from_slice(&column[panel.rows_of(i)]);
        out.resize(end, missing);
    }
    out
}
