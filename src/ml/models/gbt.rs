//! Gradient-boosted trees over all series: a row for every step of many windows, targets in units of the window's scale.
//!
//! One booster gives the median; another one learns how far targets of the same rows lie from it, and so how wide the
//! quantiles of a row are. How many such widths a quantile is away from the median is told by the held-out rows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::levels::{LEVELS, MIDDLE, WIDTH};
use crate::ml::features::{EncodedPanel, Featurizer, RowWriter, canonical_order};
use crate::ml::forecaster::{FitEstimate, FitOptions, Forecast, Status};
use crate::ml::models::container::{self, Stored};
use crate::ml::models::model::{Learner, Learnt, Lesson, Model, Saved};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;
use crate::ml::trees::{Booster, BoosterOptions, Objective, Rows, SAMPLE_ROWS, TreeRows};

/// Most rows that a booster learns from.
const ROWS_MAX: usize = 150_000;
/// Rows of every observation, where that makes fewer.
const ROWS_PER_OBSERVATION: usize = 2;
/// Rows that even the smallest panels give, where they can.
const ROWS_MIN: usize = 5_000;
/// Rows that tell when to stop, at most.
const VALID_ROWS_MAX: usize = 30_000;
/// Most trees.
const TREES: usize = 300;
/// Series forecast in one go.
const SERIES_PER_PASS: usize = 64;
/// Errors beyond so many widths count as that many.
const ERROR_MAX: f32 = 50.0;

/// The family.
pub(super) struct GbtLearner;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct GbtConfig {
    featurizer: Featurizer,
    /// True where trees learn what is left of the target beside what matched history suggests; where most targets are
    /// zero they learn the target itself.
    relative: bool,
    /// Quantiles at [`LEVELS`] of the errors, in units of the width that the second booster gives.
    offsets: Vec<f32>,
}

/// Fitted trees.
#[derive(Debug)]
struct Gbt {
    config: GbtConfig,
    median: Booster,
    width: Booster,
}

impl Learner for GbtLearner {
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt> {
        lesson.control.report(|p| p.phase = "prepare");
        let course = Course::new(lesson)?;
        lesson.control.report(|p| p.phase = "fit");
        let (rows, valid) = course.rows(lesson)?;
        let windows = rows.len();
        let model = course.learn(lesson, rows, valid, TREES)?;
        let model: Arc<dyn Model> = Arc::new(model);
        Ok(Learnt { windows, ..Learnt::from(model) })
    }

    fn can_stop(&self) -> bool {
        true
    }

    fn estimate(&self, panel: &Panel, options: &FitOptions, _: &Control) -> Result<FitEstimate> {
        let steps: usize = panel.history.iter().map(|n| n * options.horizon.min(*n)).sum();
        let observations: usize = panel.history.iter().sum();
        let rows = steps.min((ROWS_PER_OBSERVATION * observations).clamp(ROWS_MIN, ROWS_MAX));
        let columns = 100;
        let threads = rayon::current_num_threads().max(1);
        Ok(FitEstimate {
            parameters: TREES * LEAVES * 2,
            windows: rows,
            memory_bytes: rows * columns * 6 + panel.bytes() * 2,
            seconds: 2.0 * (rows * columns * TREES) as f64 * SECONDS_PER_VALUE / threads as f64,
        })
    }

    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
        let config: GbtConfig = stored.config()?;
        let corrupt = |why: String| container::corrupt(format!("its trees cannot be read: {why}"));
        config.featurizer.check().map_err(corrupt)?;
        let mut featurizer = config.featurizer;
        featurizer.keys =
            serde_json::from_slice(&stored.u8("series")?).map_err(|e| corrupt(e.to_string()))?;
        let (relative, offsets) = (config.relative, config.offsets);
        if offsets.len() != WIDTH || offsets.iter().any(|offset| !offset.is_finite()) {
            return Err(corrupt(format!("{} offsets", offsets.len())));
        }
        let median = super::trees::load("median", stored)?;
        let width = super::trees::load("width", stored)?;
        let model = Gbt { config: GbtConfig { featurizer, relative, offsets }, median, width };
        let columns = RowWriter::new(&model.config.featurizer, &EncodedPanel::default()).types().len();
        match model.median.columns() == columns && model.width.columns() == columns {
            true => Ok(Arc::new(model)),
            false => Err(corrupt(format!("trees over {} of {columns} columns", model.median.columns()))),
        }
    }
}

/// Leaves of a tree.
const LEAVES: usize = 31;
/// Seconds that one value of one row costs a tree on one core, all overheads included.
const SECONDS_PER_VALUE: f64 = 2e-9;

fn options(lesson: &Lesson<'_>, rows: usize) -> BoosterOptions {
    BoosterOptions {
        objective: Objective::Quantile(0.5),
        trees: TREES,
        leaves: LEAVES,
        rows_min: (rows / 2_000).clamp(5, 50),
        column_fraction: 0.4,
        patience: 30,
        seed: lesson.options.seed,
        deadline: lesson.deadline,
        ..BoosterOptions::default()
    }
}

/// What rows are made from.
struct Course {
    featurizer: Featurizer,
    encoded: EncodedPanel,
    order: Vec<usize>,
    /// See [`GbtConfig::relative`].
    relative: bool,
}

impl Course {
    fn new(lesson: &Lesson<'_>) -> Result<Self> {
        let (panel, options) = (lesson.panel, lesson.options);
        let featurizer =
            Featurizer::fit(panel, &lesson.train, options.horizon, options.context_length, lesson.control)?;
        let encoded = EncodedPanel::new(&featurizer, panel, 0, 0);
        let mut course = Self { featurizer, encoded, order: canonical_order(panel), relative: true };
        let windows = course.training_windows(lesson);
        let sample: Vec<_> = windows
            .iter()
            .step_by(windows.len().div_ceil(2000).max(1))
            .map(|w| (w.series, w.origin, w.end))
            .collect();
        course.featurizer.choose_suggestion(&course.encoded, &sample);
        course.relative = course.is_better_relative(&sample);
        Ok(course)
    }

    /// Whether what matched history suggests is nearer to the targets of these windows than zero is.
    fn is_better_relative(&self, windows: &[(usize, usize, usize)]) -> bool {
        let mut writer = RowWriter::new(&self.featurizer, &self.encoded);
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

    /// Rows to learn from and rows that tell when to stop.
    fn rows(&self, lesson: &Lesson<'_>) -> Result<(TreeRows, TreeRows)> {
        let mut writer = RowWriter::new(&self.featurizer, &self.encoded);
        let types = writer.types();
        let windows = self.training_windows(lesson);
        let (values, targets) = self.gather(&mut writer, &windows, lesson.control)?;
        if targets.is_empty() {
            return Err(lesson.too_short("gbt"));
        }
        let width = types.len();
        let step = targets.len().div_ceil(SAMPLE_ROWS).max(1);
        let sample: Vec<f32> = values.chunks_exact(width).step_by(step).flatten().copied().collect();
        let mut rows = TreeRows::new(Rows { values: &sample, width }, &types, BoosterOptions::default().bins);
        rows.append(Rows { values: &values, width }, &targets, &[]);
        drop(values);
        let mut valid = rows.empty_like();
        let (values, targets) = self.gather(&mut writer, &self.valid_windows(lesson), lesson.control)?;
        valid.append(Rows { values: &values, width }, &targets, &[]);
        Ok((rows, valid))
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
        let rows = (ROWS_PER_OBSERVATION * observations).clamp(ROWS_MIN, ROWS_MAX);
        let stride = (total * steps) as f64 / rows as f64;
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

    fn gather(
        &self,
        writer: &mut RowWriter<'_>,
        windows: &[Window],
        control: &Control,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (mut values, mut targets) = (Vec::new(), Vec::new());
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
                if let Some(target) = writer.target(row).filter(|_| writer.is_active(row)) {
                    let base = writer.push(step, &mut values);
                    let base = if self.relative { base } else { 0.0 };
                    targets.push((target - base).clamp(-ERROR_MAX, ERROR_MAX));
                }
            }
        }
        Ok((values, targets))
    }

    /// Fits both boosters.
    fn learn(self, lesson: &Lesson<'_>, rows: TreeRows, valid: TreeRows, trees: usize) -> Result<Gbt> {
        let options = BoosterOptions { trees, ..options(lesson, rows.len()) };
        let valid = Some(&valid).filter(|valid| !valid.is_empty());
        let median = Booster::fit(&rows, valid, &options, lesson.control)?;
        let errors = |rows: &TreeRows| {
            let predicted = median.predict_rows(rows);
            rows.targets().iter().zip(&predicted).map(|(y, f)| y - f).collect::<Vec<f32>>()
        };
        let own = errors(&rows);
        let sizes = own.iter().map(|e| e.abs().min(ERROR_MAX)).collect();
        let rows = rows.with_targets(sizes);
        let narrow = BoosterOptions {
            objective: Objective::Poisson,
            trees: (trees / 3).max(1),
            leaves: 15,
            ..options
        };
        let width = Booster::fit(&rows, None, &narrow, lesson.control)?;
        let (judged, errors) = match valid.filter(|valid| valid.len() >= 200) {
            Some(valid) => (valid, errors(valid)),
            None => (&rows, own),
        };
        let widths = width.predict_rows(judged);
        let mut scores: Vec<f32> =
            errors.iter().zip(&widths).map(|(e, w)| (e / w.max(1e-6)).clamp(-ERROR_MAX, ERROR_MAX)).collect();
        scores.sort_unstable_by(f32::total_cmp);
        let at = |level: f64| scores.get((level * scores.len() as f64) as usize).copied().unwrap_or(0.0);
        let mut offsets: Vec<f32> = LEVELS.iter().map(|level| at(*level)).collect();
        offsets[..MIDDLE].iter_mut().for_each(|o| *o = o.min(0.0));
        offsets[MIDDLE..].iter_mut().for_each(|o| *o = o.max(0.0));
        offsets[MIDDLE] = 0.0;
        Ok(Gbt {
            config: GbtConfig { featurizer: self.featurizer, relative: self.relative, offsets },
            median,
            width,
        })
    }
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

impl Gbt {
    /// Forecasts of a few series, what a block of the horizon says becoming the history of the next one.
    fn predict_pass(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        let featurizer = &self.config.featurizer;
        let block = featurizer.layout.horizon;
        let steps = horizon.div_ceil(block) * block;
        let mut encoded = EncodedPanel::new(featurizer, panel, steps, horizon);
        let mut out = Forecast {
            horizon,
            quantile_levels: LEVELS.to_vec(),
            point: vec![0.0; panel.len() * horizon],
            quantiles: vec![0.0; panel.len() * horizon * WIDTH],
            status: (0..panel.len()).map(|s| self.status(panel, &encoded, s)).collect(),
        };
        for done in (0..horizon).step_by(block) {
            control.check()?;
            let wanted = block.min(horizon - done);
            let (values, width, places) = self.rows(&encoded, wanted);
            let medians = self.median.predict(Rows { values: &values, width });
            let widths = self.width.predict(Rows { values: &values, width });
            let mut history = vec![Vec::with_capacity(wanted); panel.len()];
            for ((place, median), width) in places.iter().zip(&medians).zip(&widths) {
                let at = place.series * horizon + done + place.step;
                let row = &mut out.quantiles[at * WIDTH..(at + 1) * WIDTH];
                for (q, offset) in row.iter_mut().zip(&self.config.offsets) {
                    *q = place.center + place.scale * f64::from(median + offset * width);
                }
                if !place.active {
                    row.fill(0.0);
                }
                if featurizer.nonnegative {
                    row.iter_mut().for_each(|q| *q = q.max(0.0));
                }
                out.point[at] = row[MIDDLE];
                history[place.series].push(row[MIDDLE] as f32);
            }
            history.iter().enumerate().for_each(|(series, values)| encoded.extend_history(series, values));
        }
        Ok(out)
    }

    /// Rows of the next steps of every series.
    fn rows(&self, encoded: &EncodedPanel, steps: usize) -> (Vec<f32>, usize, Vec<Place>) {
        let mut writer = RowWriter::new(&self.config.featurizer, encoded);
        let width = writer.types().len();
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for series in 0..encoded.history.len() {
            writer.look(series, encoded.history[series]);
            let (center, scale) = writer.scale();
            for step in 0..steps {
                let base = f64::from(writer.push(step, &mut values));
                let base = if self.config.relative { base } else { 0.0 };
                let active = writer.is_active(writer.row_of(step));
                places.push(Place { series, step, active, center: center + scale * base, scale });
            }
        }
        (values, width, places)
    }

    fn status(&self, panel: &Panel, encoded: &EncodedPanel, series: usize) -> Option<Status> {
        let featurizer = &self.config.featurizer;
        let known = featurizer.keys.is_empty() || encoded.series[series] > 0;
        if !known || panel.history_of(series).iter().all(|y| y.is_nan()) {
            Some(Status::ColdStart)
        } else if panel.history[series] < featurizer.season_length {
            Some(Status::ShortHistory)
        } else {
            encoded.carried[series].then_some(Status::CovariatesCarried)
        }
    }
}

/// One row of a forecast: where it belongs and how its prediction is read.
struct Place {
    series: usize,
    step: usize,
    /// False where a switch says that the target is zero.
    active: bool,
    center: f64,
    scale: f64,
}

impl Model for Gbt {
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        self.config.featurizer.check_columns(panel)?;
        super::passes::predict(panel, SERIES_PER_PASS, horizon, |part| {
            self.predict_pass(&part.take_last(self.context_length()), horizon, control)
        })
    }

    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        let mut course = Course::new(lesson)?;
        course.relative = self.config.relative;
        let (rows, valid) = course.rows(lesson)?;
        let mut model = course.learn(lesson, rows, valid, self.median.len().max(1))?;
        // Errors of rows that trees have seen are too small: those of the held-out rows stay.
        model.config.offsets.clone_from(&self.config.offsets);
        Ok(Arc::new(model))
    }

    fn context_length(&self) -> usize {
        self.config.featurizer.layout.lookback
    }

    fn featurizer(&self) -> Option<&Featurizer> {
        Some(&self.config.featurizer)
    }

    fn parameters(&self) -> usize {
        self.median.leaves() + self.width.leaves()
    }

    fn save(&self) -> Result<Saved> {
        let keys = serde_json::to_vec(&self.config.featurizer.keys)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        let saved = Saved::new(&self.config)?.with("series", vec![keys.len()], container::Data::U8(keys));
        Ok(super::trees::save("width", &self.width, super::trees::save("median", &self.median, saved)))
    }
}
