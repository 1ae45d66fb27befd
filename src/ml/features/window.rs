//! One window, copied out of the encoded panel into a batch.

use crate::ml::features::batch::WindowBatch;
use crate::ml::features::calendar;
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::featurizer::Featurizer;
use crate::ml::features::history::History;

/// Copies windows of one panel into batches.
pub struct Gatherer<'a> {
    featurizer: &'a Featurizer,
    panel: &'a EncodedPanel,
    history: History<'a>,
    measured: Vec<usize>,
    calendar: usize,
    known: usize,
    past: usize,
    static_numbers: usize,
}

impl<'a> Gatherer<'a> {
    /// A gatherer with its own buffers.
    pub fn new(featurizer: &'a Featurizer, panel: &'a EncodedPanel) -> Self {
        let known = featurizer.known_numbers();
        Self {
            featurizer,
            panel,
            history: History::new(featurizer, panel),
            measured: featurizer.measured(),
            calendar: calendar::width(featurizer.frequency, featurizer.season_length),
            known,
            past: featurizer.past_numbers(),
            static_numbers: featurizer.statics.iter().map(|e| e.width()).sum(),
        }
    }

    /// Empties the batch for windows of this panel.
    pub fn start(&self, batch: &mut WindowBatch) {
        batch.clear(self.panel.known_categories.len(), self.panel.static_categories.len());
    }

    /// Appends the window of `series` whose step 1 is row `origin`; only rows before `end` count in the loss.
    pub fn push(&mut self, series: usize, origin: usize, end: usize, batch: &mut WindowBatch) {
        self.history.look(series, origin);
        let base = self.panel.offsets[series];
        let last = self.panel.offsets[series + 1].saturating_sub(1).max(base);
        batch.len += 1;
        batch.center.push(self.history.center);
        batch.scale.push(self.history.scale);
        batch.series.push(self.panel.series[series]);
        for (column, codes) in batch.static_categories.iter_mut().zip(&self.panel.static_categories) {
            column.push(codes[series]);
        }
        self.push_window(series, origin, batch);
        self.push_context(base, origin, batch);
        self.push_steps(series, origin, last, batch);
        self.push_targets(series, origin, end, last, batch);
    }

    fn push_window(&self, series: usize, origin: usize, batch: &mut WindowBatch) {
        batch.window.extend_from_slice(self.calendar_of(self.panel.start[series] + origin as i64));
        self.history.window_features(&mut batch.window);
        let numbers = series * self.static_numbers..(series + 1) * self.static_numbers;
        batch.window.extend_from_slice(&self.panel.static_numbers[numbers]);
    }

    /// Features of a period; zeros outside the span that the panel was encoded for.
    fn calendar_of(&self, period: i64) -> &[f32] {
        let periods = self.panel.calendar.len() / self.calendar.max(1);
        let at = (period - self.panel.calendar_first).clamp(0, periods.saturating_sub(1) as i64) as usize;
        &self.panel.calendar[at * self.calendar..(at + usize::from(periods > 0)) * self.calendar]
    }

    /// Rows before the origin; those before the first row are zero and not observed.
    fn push_context(&self, base: usize, origin: usize, batch: &mut WindowBatch) {
        let context = self.featurizer.layout.context;
        let padding = context.saturating_sub(origin);
        batch.values.extend(std::iter::repeat_n(0.0, padding));
        batch.observed.extend(std::iter::repeat_n(0.0, padding));
        batch.context.extend(std::iter::repeat_n(0.0, padding * (self.known + self.past)));
        batch.known_categories.iter_mut().for_each(|c| c.extend(std::iter::repeat_n(0, padding)));
        for row in base + origin - (context - padding)..base + origin {
            let y = f64::from(self.panel.target[row]);
            let present = y.is_finite() && row >= self.history.first;
            batch.values.push(if present { self.history.scaled(y).clamp(-30.0, 30.0) as f32 } else { 0.0 });
            batch.observed.push(f32::from(u8::from(present)));
            batch.context.extend_from_slice(&self.panel.known[row * self.known..(row + 1) * self.known]);
            batch.context.extend_from_slice(&self.panel.past[row * self.past..(row + 1) * self.past]);
        }
        let rows = base + origin - (context - padding)..base + origin;
        for (column, codes) in batch.known_categories.iter_mut().zip(&self.panel.known_categories) {
            column.extend_from_slice(&codes[rows.clone()]);
        }
    }

    fn push_steps(&self, series: usize, origin: usize, last: usize, batch: &mut WindowBatch) {
        let (base, start) = (self.panel.offsets[series], self.panel.start[series]);
        let horizon = self.featurizer.layout.horizon;
        // Neighbours stay inside the horizon: what a forecast sees is what training saw.
        let end = (base + origin + horizon - 1).min(last);
        let recent = self.recent_means(base, origin);
        for step in 0..horizon {
            let row = (base + origin + step).min(last);
            batch.future.push((step + 1) as f32 / horizon as f32);
            batch.future.push(((step + 1) as f32).ln_1p() / (horizon as f32).ln_1p());
            batch.future.extend_from_slice(self.calendar_of(start + (origin + step) as i64));
            let known = &self.panel.known[row * self.known..(row + 1) * self.known];
            batch.future.extend_from_slice(known);
            for distance in self.featurizer.neighbours() {
                let near = (row as isize + distance).clamp(base as isize, end as isize) as usize;
                batch.future.extend_from_slice(&self.panel.known[near * self.known..(near + 1) * self.known]);
            }
            batch
                .future
                .extend(self.measured.iter().zip(&recent).map(|(column, mean)| known[*column] - mean));
            let suggested = self.history.step_features(step, row, &mut batch.future);
            batch.base.push(suggested);
        }
        for (column, codes) in batch.known_categories.iter_mut().zip(&self.panel.known_categories) {
            column.extend((0..horizon).map(|step| codes[(base + origin + step).min(last)]));
        }
    }

    /// Recent means of the known numbers that are not binary.
    fn recent_means(&self, base: usize, origin: usize) -> Vec<f32> {
        let rows = base + origin.saturating_sub(self.featurizer.layout.scaled)..base + origin;
        let n = rows.len().max(1) as f32;
        self.measured
            .iter()
            .map(|column| {
                rows.clone().map(|row| self.panel.known[row * self.known + column]).sum::<f32>() / n
            })
            .collect()
    }

    fn push_targets(&self, series: usize, origin: usize, end: usize, last: usize, batch: &mut WindowBatch) {
        let base = self.panel.offsets[series];
        let teaches = self.panel.teaches(series, origin);
        for step in 0..self.featurizer.layout.horizon {
            let row = (base + origin + step).min(last);
            let active = self.panel.active.is_empty() || self.panel.active[row];
            let y = if origin + step < end { self.panel.lesson(series, origin, row) } else { f32::NAN };
            let counts = y.is_finite() && active && teaches;
            batch.target.push(if counts { self.history.scaled(f64::from(y)) as f32 } else { 0.0 });
            batch.weight.push(f32::from(u8::from(counts)));
            batch.active.push(active);
        }
    }
}
