//! What rows are made from: which windows, which of their steps, and what targets are relative to.

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::features::{EncodedPanel, EncodingHistory, Featurizer, RowColumn, RowWriter, canonical_order};
use crate::ml::models::model::Lesson;
use crate::ml::models::regression::table::Table;
use crate::ml::models::spread::ERROR_MAX;
use crate::ml::objective::ObjectiveKind;
use crate::ml::rng::Rng;

/// Rows of every observation, where that makes fewer than the most.
const ROWS_PER_OBSERVATION: usize = 2;
/// Rows that even the smallest panels give, where they can.
const ROWS_MIN: usize = 5_000;
/// Rows that tell what is best, at most.
pub(super) const VALID_ROWS_MAX: usize = 30_000;
/// Windows that choices look at.
const SAMPLE_MAX: usize = 2_000;

/// Rows that so many observations give.
pub(super) fn rows_of(observations: usize, rows_max: usize) -> usize {
    (ROWS_PER_OBSERVATION * observations).clamp(ROWS_MIN.min(rows_max), rows_max)
}

/// What rows are made from.
pub(super) struct Course {
    pub(super) featurizer: Featurizer,
    /// True where targets are relative to what matched history suggests; where most are zero, and where the objective
    /// is one of amounts, they stand for themselves.
    pub(super) relative: bool,
    encoded: EncodedPanel,
    history: EncodingHistory,
    order: Vec<usize>,
    rows_max: usize,
}

/// A window and which of its steps become rows.
struct Window {
    series: usize,
    origin: usize,
    /// Rows of the series that may be targets.
    end: usize,
    first: usize,
    apart: usize,
}

impl Course {
    pub(super) fn new(lesson: &Lesson<'_>, rows_max: usize) -> Result<Self> {
        let (panel, options) = (lesson.panel, lesson.options);
        let mut featurizer =
            Featurizer::fit(panel, &lesson.train, options.horizon, options.context_length, lesson.control)?;
        let of_amounts = options.objective.is_some_and(ObjectiveKind::is_of_amounts);
        if of_amounts {
            featurizer.measure_from_zero(panel, &lesson.train);
        }
        let encoded =
            EncodedPanel::new(&featurizer, panel, 0, 0).taught_by(options.taught.as_ref(), &lesson.train);
        let order = canonical_order(panel);
        let history = EncodingHistory::fit(&mut featurizer, &encoded, &order, &lesson.train);
        let mut course = Self { featurizer, encoded, history, order, relative: true, rows_max };
        let windows = course.training_windows(lesson);
        let sample: Vec<_> = windows
            .iter()
            .step_by(windows.len().div_ceil(SAMPLE_MAX).max(1))
            .map(|w| (w.series, w.origin, w.end))
            .collect();
        course.featurizer.choose_suggestion(&course.encoded, &sample);
        course.relative = !of_amounts && course.is_better_relative(&sample);
        Ok(course)
    }

    /// The columns of the rows.
    pub(super) fn columns(&self) -> Vec<RowColumn> {
        RowWriter::new(&self.featurizer, &self.encoded).columns()
    }

    /// Rows to learn from and rows that tell what is best.
    pub(super) fn tables(&self, lesson: &Lesson<'_>) -> Result<(Table, Table)> {
        let mut writer = RowWriter::new(&self.featurizer, &self.encoded).learning_from(&self.history);
        let rows = self.gather(&mut writer, &self.training_windows(lesson), lesson.control)?;
        let valid = self.gather(&mut writer, &self.valid_windows(lesson), lesson.control)?;
        Ok((rows, valid))
    }

    /// Whether what matched history suggests is nearer to the targets of these windows than zero is.
    fn is_better_relative(&self, windows: &[(usize, usize, usize)]) -> bool {
        let mut writer = RowWriter::new(&self.featurizer, &self.encoded).learning_from(&self.history);
        let (mut relative, mut plain, mut values) = (0.0f64, 0.0, Vec::new());
        for (series, origin, end) in windows {
            writer.look(*series, *origin);
            for step in 0..self.featurizer.layout.horizon.min(end - origin) {
                let row = writer.row_of(step);
                values.clear();
                let base = writer.push(step, &mut values);
                if let Some(target) = writer.target(row).filter(|_| writer.is_active(row)) {
                    relative += f64::from((target - base).abs().min(ERROR_MAX));
                    plain += f64::from(target.abs().min(ERROR_MAX));
                }
            }
        }
        relative <= plain
    }

    /// Windows whose targets lie before the held-out steps, evenly spread, and the steps of each that become rows.
    fn training_windows(&self, lesson: &Lesson<'_>) -> Vec<Window> {
        let horizon = self.featurizer.layout.horizon;
        let steps = (horizon / 3).clamp(4, 24).min(horizon);
        let apart = horizon.div_ceil(steps);
        let origins = |series: usize| {
            let end = lesson.train[series];
            let first = self.featurizer.earliest_origin(end);
            first..(end + 1).saturating_sub(horizon.min(end / 2)).max(first)
        };
        let total: usize = self.order.iter().map(|s| origins(*s).len()).sum();
        let observations: usize = lesson.train.iter().sum();
        let stride = (total * steps) as f64 / rows_of(observations, self.rows_max) as f64;
        let mut rng = Rng::new(lesson.options.seed).fork("windows");
        let (mut at, mut before) = (rng.uniform() * stride.max(1.0), 0);
        let mut windows = Vec::new();
        for series in &self.order {
            let own = origins(*series);
            while (at as usize) < before + own.len() {
                let origin = own.start + (at as usize - before);
                windows.push(Window {
                    series: *series,
                    origin,
                    end: lesson.train[*series],
                    first: rng.below(apart),
                    apart,
                });
                at += stride.max(1.0);
            }
            before += own.len();
        }
        windows
    }

    /// Windows of the held-out steps.
    fn valid_windows(&self, lesson: &Lesson<'_>) -> Vec<Window> {
        let horizon = self.featurizer.layout.horizon;
        let mut windows = Vec::new();
        for series in &self.order {
            let (train, end) = (lesson.train[*series], lesson.panel.history[*series]);
            let origins = (train..end).step_by(horizon).filter(|origin| *origin > 0);
            windows.extend(origins.map(|origin| Window { series: *series, origin, end, first: 0, apart: 1 }));
        }
        let rows = windows.len() * horizon;
        let apart = rows.div_ceil(VALID_ROWS_MAX).clamp(1, horizon);
        let kept = windows.len().div_ceil((VALID_ROWS_MAX * apart / horizon).max(1));
        let spread = windows.into_iter().step_by(kept.max(1)).enumerate();
        spread.map(|(n, window)| Window { first: n % apart, apart, ..window }).collect()
    }

    fn gather(&self, writer: &mut RowWriter<'_>, windows: &[Window], control: &Control) -> Result<Table> {
        let mut table = Table::new(writer.types());
        for (n, window) in windows.iter().enumerate() {
            if n % 64 == 0 {
                control.check()?;
            }
            writer.look(window.series, window.origin);
            for step in (window.first..self.featurizer.layout.horizon).step_by(window.apart) {
                if window.origin + step >= window.end {
                    break;
                }
                let row = writer.row_of(step);
                if let Some(target) = writer.lesson(row).filter(|_| writer.is_active(row)) {
                    let base = writer.push(step, &mut table.values);
                    let base = if self.relative { base } else { 0.0 };
                    table.targets.push((target - base).clamp(-ERROR_MAX, ERROR_MAX));
                    table.bases.push(base);
                    table.steps.push(step);
                }
            }
        }
        Ok(table)
    }
}
