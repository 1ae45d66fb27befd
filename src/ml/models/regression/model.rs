//! Forecasts of a regressor over rows: passes over some series, block after block of the trained horizon.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{MIDDLE, WIDTH};
use crate::ml::features::{EncodedPanel, Featurizer, RowWriter};
use crate::ml::forecaster::{Forecast, Status};
use crate::ml::models::container::Data;
use crate::ml::models::model::{Lesson, Model, Saved};
use crate::ml::models::passes;
use crate::ml::models::regression::course::Course;
use crate::ml::models::regression::regressor::Regressor;
use crate::ml::models::spread::Spread;
use crate::ml::series::Panel;
use crate::ml::trees::Rows;

/// Series forecast in one go.
const SERIES_PER_PASS: usize = 64;

/// Everything about a fitted family over rows besides what it learnt from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RegressionConfig {
    pub(super) featurizer: Featurizer,
    /// See [`Course::relative`].
    pub(super) relative: bool,
    #[serde(flatten)]
    pub(super) spread: Spread,
}

/// A regressor that has learnt.
#[derive(Debug)]
pub(super) struct Regression<R> {
    pub(super) config: RegressionConfig,
    pub(super) regressor: R,
}

/// One row of a forecast: where it belongs and how its prediction is read.
struct Place {
    series: usize,
    step: usize,
    /// False where a switch says that the target is zero.
    active: bool,
    /// What a prediction is relative to, scaled.
    base: f32,
    center: f64,
    scale: f64,
}

impl<R: Regressor> Regression<R> {
    /// Forecasts of a few series, what a block of the horizon says becoming the history of the next one.
    fn predict_pass(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        let featurizer = &self.config.featurizer;
        let block = featurizer.layout.horizon;
        let steps = horizon.div_ceil(block) * block;
        let mut encoded = EncodedPanel::new(featurizer, panel, steps, horizon);
        let mut out = passes::blank(panel, featurizer, &encoded, featurizer.season_length, horizon);
        for done in (0..horizon).step_by(block) {
            control.check()?;
            let wanted = block.min(horizon - done);
            let (values, width, places) = self.rows(&encoded, wanted);
            let predicted = self.regressor.predict(Rows { values: &values, width });
            let mut history = vec![Vec::with_capacity(wanted); panel.len()];
            for (n, (place, median)) in places.iter().zip(&predicted.medians).enumerate() {
                let at = place.series * horizon + done + place.step;
                let row = &mut out.quantiles[at * WIDTH..(at + 1) * WIDTH];
                let width = predicted.widths.as_ref().map_or(1.0, |widths| widths[n]);
                match median.is_finite() && width.is_finite() {
                    true => self.unscale(place, *median, width, row),
                    false => {
                        self.unscale(place, 0.0, 0.0, row);
                        out.status[place.series] = Some(Status::FallbackNaive);
                    }
                }
                out.point[at] = row[MIDDLE];
                history[place.series].push(row[MIDDLE] as f32);
            }
            history.iter().enumerate().for_each(|(series, values)| encoded.extend_history(series, values));
        }
        Ok(out)
    }

    /// The quantiles of a row in the user's units.
    fn unscale(&self, place: &Place, median: f32, width: f32, row: &mut [f64]) {
        if !place.active {
            return row.fill(0.0);
        }
        let origin = place.center + place.scale * f64::from(place.base);
        let offsets = self.config.spread.offsets(place.step, place.base + median);
        for (q, offset) in row.iter_mut().zip(offsets) {
            *q = origin + place.scale * f64::from(median + offset * width);
        }
        if self.config.featurizer.nonnegative {
            row.iter_mut().for_each(|q| *q = q.max(0.0));
        }
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
                let base = writer.push(step, &mut values);
                let base = if self.config.relative { base } else { 0.0 };
                let active = writer.is_active(writer.row_of(step));
                places.push(Place { series, step, active, base, center, scale });
            }
        }
        (values, width, places)
    }
}

impl<R: Regressor> Model for Regression<R> {
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        self.config.featurizer.check_columns(panel)?;
        passes::predict(panel, SERIES_PER_PASS, horizon, |part| {
            self.predict_pass(&part.take_last(self.context_length()), horizon, control)
        })
    }

    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        let mut course = Course::new(lesson, R::ROWS_MAX)?;
        course.relative = self.config.relative;
        let (rows, valid) = course.tables(lesson)?;
        let regressor = R::fit(&rows, &valid, lesson, Some(&self.regressor))?;
        // Errors of rows that were learnt from are too small: those of the held-out rows stay.
        let spread = self.config.spread.clone();
        let config = RegressionConfig { featurizer: course.featurizer, relative: course.relative, spread };
        Ok(Arc::new(Self { config, regressor }))
    }

    fn featurizer(&self) -> Option<&Featurizer> {
        Some(&self.config.featurizer)
    }

    fn context_length(&self) -> usize {
        self.config.featurizer.layout.lookback
    }

    fn parameters(&self) -> usize {
        self.regressor.parameters()
    }

    fn save(&self) -> Result<Saved> {
        let keys = serde_json::to_vec(&self.config.featurizer.keys)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        let saved = Saved::new(&self.config)?.with("series", vec![keys.len()], Data::U8(keys));
        self.regressor.save(saved)
    }
}
