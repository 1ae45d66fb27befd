//! Statistics of the history before an origin: scale, level, matched means, the same time a season of seasons ago.

use crate::ml::features::cell::{Cell, DEVIATION_SEASONS};
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::factors::{CODES, Factors, matching_season};
use crate::ml::features::featurizer::Featurizer;

/// Features beyond this are cut.
const LIMIT: f64 = 30.0;
/// Ways to suggest a value for a step.
pub(super) const SUGGESTIONS: usize = 5;
/// Windows, in seasons, over which the level is taken.
const LEVEL_SEASONS: [usize; 4] = [1, 2, 4, 8];

/// Statistics a window gives per step.
pub(super) fn step_width(featurizer: &Featurizer) -> usize {
    let long = if featurizer.layout.long_season.is_some() { 5 } else { 0 };
    featurizer.factors.columns.len() + 1 + 3 + SUGGESTIONS - 1 + long
}

/// Statistics a window gives once.
pub(super) fn window_width(featurizer: &Featurizer) -> usize {
    let factor = if featurizer.factors.columns.is_empty() { 0 } else { 2 };
    let long = if featurizer.layout.long_season.is_some() { 3 } else { 0 };
    LEVEL_SEASONS.len() + 2 + 6 + factor + long + 2 * featurizer.past_numbers()
}

/// Names of the statistics that a window gives once, in their order.
pub(super) fn window_names(featurizer: &Featurizer) -> Vec<String> {
    let mut names: Vec<String> = LEVEL_SEASONS.iter().map(|n| format!("level_of_{n}_seasons")).collect();
    let rest =
        ["level_matched", "level", "deviation", "zero_share", "missing_share", "scale", "center", "length"];
    names.extend(rest.map(ToString::to_string));
    if let Some(factor) = featurizer.factors.columns.first() {
        let factor = featurizer.known[*factor].name();
        names.extend([0, 1].map(|code| format!("level_at_{factor}_{code}")));
    }
    if featurizer.layout.long_season.is_some() {
        let long = ["growth_since_long_season", "step_up_long_season_ago", "has_long_season"];
        names.extend(long.map(ToString::to_string));
    }
    let past: Vec<String> = featurizer.past.iter().flat_map(|e| e.feature_names()).collect();
    for span in ["recent", "matched"] {
        names.extend(past.iter().map(|name| format!("{name}_{span}")));
    }
    names
}

/// Names of the statistics that a window gives per step, in their order.
pub(super) fn step_names(featurizer: &Featurizer) -> Vec<String> {
    let mut names = vec!["season_mean".to_owned()];
    for factor in &featurizer.factors.columns {
        let last = names.last().map_or("", String::as_str);
        let by = if names.len() == 1 { "_by" } else { "" };
        names.push(format!("{last}{by}_{}", featurizer.known[*factor].name()));
    }
    let rest = ["matched_recent", "matched_deviation", "matched_rows"];
    names.extend(rest.map(ToString::to_string));
    names.extend(DEVIATION_SEASONS.map(|n| format!("matched_above_level_of_{n}_seasons")));
    names.extend(["matched_latest", "latest"].map(ToString::to_string));
    if featurizer.layout.long_season.is_some() {
        let long = [
            "long_season_value",
            "long_season_value_grown",
            "long_season_matched",
            "has_long_season_value",
            "has_long_season_matched",
        ];
        names.extend(long.map(ToString::to_string));
    }
    names
}

/// Typical size of the values, and mean distance from their mean; `None` when there are none.
///
/// The size is the geometric mean of mean |y| with and without zeros: the mean where zeros are rare,
/// and not vanishing where they are the rule.
pub(super) fn level_and_spread(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let size = values.iter().map(|y| y.abs()).sum::<f64>();
    let nonzero = values.iter().filter(|y| **y != 0.0).count().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|y| (y - mean).abs()).sum::<f64>() / n;
    Some(((size / n * (size / nonzero)).sqrt(), spread))
}

/// The history of one series before one origin, and what was counted in it.
pub(super) struct History<'a> {
    featurizer: &'a Featurizer,
    panel: &'a EncodedPanel,
    series: usize,
    /// First encoded row of the series.
    base: usize,
    /// Encoded row of step 1.
    origin: usize,
    /// First encoded row that may be looked at: nothing before the launch of what is sold.
    pub(super) first: usize,
    season: usize,
    tables: Vec<Vec<Cell>>,
    values: Vec<f64>,
    /// What scaled values are relative to.
    pub(super) center: f64,
    /// What scaled values are divided by.
    pub(super) scale: f64,
    level: f64,
    deviation: f64,
    /// Change of the scaled level over the long season.
    growth: f64,
    /// Usable values and their sum before every row from `first` to `origin`.
    sums: Vec<(u32, f64)>,
    /// The latest usable value.
    last: f64,
}

impl<'a> History<'a> {
    /// Buffers for the histories of a panel; [`History::look`] goes to one.
    pub(super) fn new(featurizer: &'a Featurizer, panel: &'a EncodedPanel) -> Self {
        let season = matching_season(featurizer.season_length);
        let tables = (0..=featurizer.factors.columns.len())
            .map(|depth| vec![Cell::default(); season * Factors::combinations(depth)])
            .collect();
        Self {
            featurizer,
            panel,
            series: 0,
            base: 0,
            origin: 0,
            first: 0,
            season,
            tables,
            values: Vec::new(),
            center: 0.0,
            scale: 1.0,
            level: 0.0,
            deviation: 0.0,
            growth: 0.0,
            sums: Vec::new(),
            last: 0.0,
        }
    }

    /// Looks at the history of `series` before its row `origin`.
    pub(super) fn look(&mut self, series: usize, origin: usize) {
        self.series = series;
        self.base = self.panel.offsets[series];
        self.origin = self.base + origin;
        self.first = self.base + origin.saturating_sub(self.featurizer.layout.lookback);
        let seen = self.panel.target[self.first..self.origin].iter().map(|y| f64::from(*y));
        self.first += self.featurizer.before_launch(seen);
        self.sum_up();
        self.find_scale();
        self.match_history();
        self.level = self.mean_of(self.featurizer.layout.matched).unwrap_or(self.center);
        self.growth = self.featurizer.layout.long_season.map_or(0.0, |steps| self.growth_since(steps));
    }

    /// The value in units of the scale.
    pub(super) fn scaled(&self, y: f64) -> f64 {
        (y - self.center) / self.scale
    }

    fn feature(&self, y: f64) -> f32 {
        self.scaled(y).clamp(-LIMIT, LIMIT) as f32
    }

    /// The target of an encoded row before the origin, where it is there and the switch is on.
    fn usable(&self, row: usize) -> Option<f64> {
        let y = self.panel.target[row];
        (y.is_finite() && self.is_active(row)).then_some(f64::from(y))
    }

    fn is_active(&self, row: usize) -> bool {
        self.panel.active.is_empty() || self.panel.active[row]
    }

    fn crossed(&self, row: usize) -> usize {
        if self.panel.crossed.is_empty() { 0 } else { self.panel.crossed[row] as usize }
    }

    fn phase(&self, row: usize) -> usize {
        (self.panel.start[self.series] + (row - self.base) as i64).rem_euclid(self.season as i64) as usize
    }

    fn before(&self, steps: usize) -> usize {
        self.origin.saturating_sub(steps).max(self.first)
    }

    fn sum_up(&mut self) {
        let mut sums = std::mem::take(&mut self.sums);
        sums.clear();
        let (mut n, mut sum) = (0, 0.0);
        sums.push((n, sum));
        self.last = f64::NAN;
        for row in self.first..self.origin {
            if let Some(y) = self.usable(row) {
                (n, sum) = (n + 1, sum + y);
                self.last = y;
            }
            sums.push((n, sum));
        }
        self.sums = sums;
    }

    /// Mean of the usable values of these rows, all between `first` and `origin`.
    fn mean_between(&self, from: usize, to: usize) -> Option<f64> {
        let (n_from, sum_from) = self.sums[from - self.first];
        let (n, sum) = self.sums[to.max(from) - self.first];
        (n > n_from).then(|| (sum - sum_from) / f64::from(n - n_from))
    }

    /// Levels of the seasons before a row; `None` where nothing was before it.
    fn levels_before(&self, row: usize) -> Option<[f64; DEVIATION_SEASONS.len()]> {
        let season = self.featurizer.season_length;
        let level =
            |seasons: usize| self.mean_between(row.saturating_sub(seasons * season).max(self.first), row);
        let long = level(DEVIATION_SEASONS[1])?;
        Some([level(DEVIATION_SEASONS[0]).unwrap_or(long), long])
    }

    fn mean_of(&self, steps: usize) -> Option<f64> {
        self.mean_between(self.before(steps), self.origin)
    }

    /// Scale and centre from the recent rows, from all rows where those say nothing, from the panel in the end.
    fn find_scale(&mut self) {
        let centred = self.featurizer.centred;
        (self.center, self.scale) = (0.0, self.featurizer.scale_fallback);
        for from in [self.before(self.featurizer.layout.scaled), self.first] {
            let mut values = std::mem::take(&mut self.values);
            values.clear();
            values.extend((from..self.origin).filter_map(|row| self.usable(row)));
            let found = level_and_spread(&values);
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n.max(1.0);
            self.deviation =
                (values.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / n.max(1.0)).sqrt();
            self.values = values;
            if let Some((level, spread)) = found {
                self.center = if centred { mean } else { 0.0 };
                // A spread far below the precision of the values would only blow up their rounding.
                let scale = if centred { spread.max(1e-5 * level) } else { level };
                if scale > 0.0 {
                    self.scale = scale;
                    return;
                }
            }
        }
    }

    fn match_history(&mut self) {
        let mut tables = std::mem::take(&mut self.tables);
        tables.iter_mut().for_each(|table| table.fill(Cell::default()));
        let depth = tables.len() - 1;
        for row in (self.before(self.featurizer.layout.matched)..self.origin).rev() {
            if let Some(y) = self.usable(row) {
                let (phase, mut crossed) = (self.phase(row), self.crossed(row));
                let levels = self.levels_before(row);
                for (depth, table) in tables[..=depth].iter_mut().enumerate().rev() {
                    table[phase * Factors::combinations(depth) + crossed].add(y, levels);
                    crossed /= CODES;
                }
            }
        }
        self.tables = tables;
    }

    /// Appends the statistics of the whole window.
    pub(super) fn window_features(&self, out: &mut Vec<f32>) {
        let layout = &self.featurizer.layout;
        let season = self.featurizer.season_length;
        let mut level = self.mean_of(layout.lookback).unwrap_or(self.center);
        let mut levels = [level; LEVEL_SEASONS.len() + 2];
        levels[LEVEL_SEASONS.len()] = self.level;
        for (i, seasons) in LEVEL_SEASONS.iter().enumerate().rev() {
            level = self.mean_of(seasons * season).unwrap_or(level);
            levels[i] = level;
        }
        out.extend(levels.map(|y| self.feature(y)));
        let recent = self.before(8 * season.max(2))..self.origin;
        let n = recent.len().max(1) as f32;
        let zeros = recent.clone().filter(|row| self.usable(*row) == Some(0.0)).count() as f32;
        let missing =
            recent.clone().filter(|row| self.is_active(*row) && self.usable(*row).is_none()).count() as f32;
        let (mean, deviation) = self.featurizer.scale_logarithm;
        let length = (self.origin - self.first) as f32;
        out.extend([
            (self.deviation / self.scale).min(LIMIT) as f32,
            zeros / n,
            missing / n,
            ((self.scale.ln() - mean) / deviation).clamp(-LIMIT, LIMIT) as f32,
            (self.center / self.scale).clamp(-LIMIT, LIMIT) as f32 / LIMIT as f32,
            length.ln_1p() / (layout.lookback as f32).ln_1p(),
        ]);
        if !self.featurizer.factors.columns.is_empty() {
            self.factor_levels(out);
        }
        if let Some(steps) = layout.long_season {
            self.long_season_levels(steps, out);
        }
        self.past_levels(out);
    }

    /// Levels under the two codes of the first factor.
    fn factor_levels(&self, out: &mut Vec<f32>) {
        for code in 0..2 {
            let cells = self.tables[1].chunks_exact(CODES).map(|cells| cells[code]);
            let (n, sum) = cells.fold((0, 0.0), |(n, sum), cell| (n + cell.n, sum + cell.sum));
            out.push(self.feature(if n > 0 { sum / f64::from(n) } else { self.level }));
        }
    }

    /// Level before the same origin a long season ago.
    fn level_then(&self, steps: usize) -> Option<f64> {
        let then = self.origin.checked_sub(steps).filter(|row| *row > self.first)?;
        self.mean_between(then.saturating_sub(4 * self.featurizer.season_length).max(self.first), then)
    }

    fn growth_since(&self, steps: usize) -> f64 {
        let now = self.mean_of(4 * self.featurizer.season_length);
        self.level_then(steps).zip(now).map_or(0.0, |(then, now)| self.scaled(now) - self.scaled(then))
    }

    /// Growth since then, and how the horizon stood to the level then.
    fn long_season_levels(&self, steps: usize, out: &mut Vec<f32>) {
        let known = self.level_then(steps).and_then(|then| {
            let from = self.origin - steps;
            let ahead = self.mean_between(from, (from + self.featurizer.layout.horizon).min(self.origin))?;
            let growth = self.growth.clamp(-LIMIT, LIMIT) as f32;
            Some([growth, self.feature(ahead) - self.feature(then), 1.0])
        });
        out.extend(known.unwrap_or([0.0; 3]));
    }

    /// Recent and longer means of the past covariates.
    fn past_levels(&self, out: &mut Vec<f32>) {
        let width = self.featurizer.past_numbers();
        for steps in [4 * self.featurizer.season_length, self.featurizer.layout.matched] {
            let rows = self.before(steps)..self.origin;
            for column in 0..width {
                let active = rows.clone().filter(|row| self.is_active(*row));
                let (n, sum) = active.fold((0u32, 0.0f64), |(n, sum), row| {
                    (n + 1, sum + f64::from(self.panel.past[row * width + column]))
                });
                out.push(if n > 0 { (sum / f64::from(n)) as f32 } else { 0.0 });
            }
        }
    }

    /// Appends the statistics of step `step`, counted from 0, whose known covariates are those of `row`;
    /// returns what matched history suggests, scaled.
    pub(super) fn step_features(&self, step: usize, row: usize, out: &mut Vec<f32>) -> f32 {
        let (phase, crossed) = (self.phase(self.origin + step), self.crossed(row));
        let deepest = self.tables.len() - 1;
        let mut mean = self.level;
        let mut matched = Cell::default();
        let mut levelled = Cell::default();
        for (depth, table) in self.tables.iter().enumerate() {
            let key = crossed / Factors::combinations(deepest - depth);
            let cell = table[phase * Factors::combinations(depth) + key];
            mean = cell.mean().unwrap_or(mean);
            out.push(self.feature(mean));
            if cell.levelled > 0 {
                levelled = cell;
            }
            matched = cell;
        }
        let recent = matched.recent_mean().unwrap_or(mean);
        let deviation = matched.deviation().unwrap_or(self.deviation);
        out.extend([
            self.feature(recent),
            (deviation / self.scale).min(LIMIT) as f32,
            (matched.n as f32).ln_1p() / 3.0,
        ]);
        let suggestions = self.suggestions(mean, &matched, &levelled);
        out.extend(suggestions[1..].iter().map(|y| self.feature(*y)));
        if let Some(steps) = self.featurizer.layout.long_season {
            self.step_then(step, crossed, mean, steps, out);
        }
        self.scaled(suggestions[self.featurizer.suggestion.min(SUGGESTIONS - 1)]) as f32
    }

    /// Values that the history suggests for a step: the mean of what matches, recent matches counting
    /// twice; today's level plus what recent matches were above theirs, for two levels; the latest match;
    /// the latest value.
    fn suggestions(&self, mean: f64, matched: &Cell, levelled: &Cell) -> [f64; SUGGESTIONS] {
        let recent = matched.recent_mean().unwrap_or(mean);
        let plain = 0.5 * (mean + recent);
        let last = if self.last.is_nan() { plain } else { self.last };
        let mut suggestions = [plain, plain, plain, if matched.n > 0 { matched.latest } else { plain }, last];
        if let (Some(levels), true) = (self.levels_before(self.origin), levelled.levelled > 0) {
            for ((s, level), deviation) in suggestions[1..].iter_mut().zip(levels).zip(levelled.deviations) {
                *s = level + deviation / f64::from(levelled.levelled);
            }
        }
        suggestions
    }

    /// The value a long season ago, moved to today's level, and the mean of its neighbours under the same factors.
    fn step_then(&self, step: usize, crossed: usize, mean: f64, steps: usize, out: &mut Vec<f32>) {
        let season = self.featurizer.season_length;
        // The latest row before the origin that is whole long seasons away.
        let back = step / steps * steps + steps;
        let then = (self.origin + step).checked_sub(back).filter(|then| *then >= self.first);
        let value = then.and_then(|then| self.usable(then));
        let growth = if back == steps { self.growth } else { self.growth_since(back) };
        let near = then.map(|then| {
            let rows = [then.checked_sub(season), Some(then), Some(then + season)];
            rows.into_iter()
                .flatten()
                .filter(|r| *r >= self.first && *r < self.origin && self.crossed(*r) == crossed)
        });
        let (n, sum) = near
            .into_iter()
            .flatten()
            .filter_map(|row| self.usable(row))
            .fold((0u32, 0.0), |(n, sum), y| (n + 1, sum + y));
        let present = value.is_some();
        let value = value.unwrap_or(mean);
        let matched = if n > 0 { sum / f64::from(n) } else { value };
        out.extend([
            self.feature(value),
            (self.scaled(value) + growth).clamp(-LIMIT, LIMIT) as f32,
            self.feature(matched),
            f32::from(u8::from(present)),
            f32::from(u8::from(n > 0)),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::{fit, panel};

    #[test]
    fn level_of_rare_sales_does_not_vanish() {
        let mut sparse = vec![0.0; 99];
        sparse.push(5.0);
        assert_eq!(level_and_spread(&[2.0, 4.0]), Some((3.0, 1.0)));
        assert!((level_and_spread(&sparse).unwrap().0 - 0.5).abs() < 1e-12);
        assert_eq!(level_and_spread(&[]), None);
    }

    #[test]
    fn matched_mean_is_the_mean_of_the_same_weekday_and_flag() {
        let panel = panel(1, 140);
        let featurizer = fit(&panel, &[140]);
        assert_eq!(featurizer.factors.columns, [0]);
        let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
        let mut history = History::new(&featurizer, &encoded);
        history.look(0, 133);
        let mut out = Vec::new();
        history.step_features(2, 135, &mut out);
        let same: Vec<f64> = (0..133)
            .filter(|t| t % 7 == 135 % 7 && encoded.crossed[*t] == encoded.crossed[135])
            .map(|t| f64::from(encoded.target[t]))
            .collect();
        let mean = same.iter().sum::<f64>() / same.len() as f64;
        assert!((f64::from(out[1]) - mean / history.scale).abs() < 1e-5);
        assert_eq!(out.len(), step_width(&featurizer));
    }
}
