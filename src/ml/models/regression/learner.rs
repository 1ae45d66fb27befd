//! How every family over rows is fitted, estimated and loaded.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::Result;
use crate::ml::features::{EncodedPanel, RowColumn, RowWriter};
use crate::ml::forecaster::FitEstimate;
use crate::ml::models::container::{self, Stored};
use crate::ml::models::fitting::Plan;
use crate::ml::models::model::{Learner, Learnt, Lesson, Model};
use crate::ml::models::regression::course::{Course, VALID_ROWS_MAX, rows_of};
use crate::ml::models::regression::model::{Regression, RegressionConfig};
use crate::ml::models::regression::regressor::{Predicted, Regressor};
use crate::ml::models::regression::table::Table;
use crate::ml::models::spread::Spread;

/// Rows that held-out windows must give to tell the quantiles; those that were learnt from tell them else.
const JUDGED_ROWS_MIN: usize = 200;
/// Share of a fit when its rows are there.
const PREPARED_SHARE: f64 = 0.2;
/// Share of a fit when they are learnt.
const FITTED_SHARE: f64 = 0.9;
/// Columns of a row, about.
const COLUMNS: usize = 100;
/// Bytes of a row: its values, half as many again for the room that a growing table has, and its target, base and step.
const BYTES_PER_ROW: usize = COLUMNS * 6 + 16;
/// Seconds that one value of a row takes to be written.
const SECONDS_PER_VALUE: f64 = 1.5e-7;

/// How far quantiles lie from what was predicted for these rows.
fn spread(rows: &Table, predicted: &Predicted, horizon: usize) -> Spread {
    let errors: Vec<f32> = rows.targets.iter().zip(&predicted.medians).map(|(y, f)| y - f).collect();
    if let Some(widths) = &predicted.widths {
        return Spread::of_widths(&errors, widths, !predicted.means);
    }
    let sizes: Vec<f32> =
        rows.bases.iter().zip(&predicted.medians).map(|(base, f)| (base + f).abs()).collect();
    Spread::of_errors(&errors, &sizes, &rows.steps, horizon)
}

/// A family that is a regressor over rows.
pub(in crate::ml::models) struct RegressionLearner<R>(PhantomData<R>);

impl<R> RegressionLearner<R> {
    pub(in crate::ml::models) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Regressor> Learner for RegressionLearner<R> {
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt> {
        lesson.control.report(|p| p.phase = "prepare");
        let course = Course::new(lesson, R::ROWS_MAX)?;
        let (rows, valid) = course.tables(lesson)?;
        if rows.is_empty() {
            return Err(lesson.too_short(R::FAMILY));
        }
        lesson.control.report(|p| p.phase = "fit");
        lesson.advance(PREPARED_SHARE);
        let regressor = R::fit(&rows, &valid, lesson, None)?;
        lesson.advance(FITTED_SHARE);
        let judged = if valid.len() >= JUDGED_ROWS_MIN { &valid } else { &rows };
        let predicted = judged.predicted(&regressor, lesson.control)?;
        let spread = spread(judged, &predicted, lesson.options.horizon);
        let config = RegressionConfig { featurizer: course.featurizer, relative: course.relative, spread };
        let model: Arc<dyn Model> = Arc::new(Regression { config, regressor });
        Ok(Learnt { windows: rows.len(), ..Learnt::from(model) })
    }

    fn can_stop(&self) -> bool {
        R::CAN_STOP
    }

    fn estimate(&self, lesson: &Lesson<'_>) -> Result<FitEstimate> {
        let (panel, horizon) = (lesson.panel, lesson.options.horizon);
        let steps: usize = panel.history.iter().map(|n| n * horizon.min(*n)).sum();
        let rows = steps.min(rows_of(panel.history.iter().sum(), R::ROWS_MAX));
        let held_out = Plan::new(panel, lesson.options).steps();
        let held_out: usize = panel.history.iter().map(|n| held_out.min(*n)).sum();
        let cost = R::cost(rows, COLUMNS);
        let threads = rayon::current_num_threads().max(1) as f64;
        Ok(FitEstimate {
            parameters: cost.parameters,
            windows: rows,
            memory_bytes: EncodedPanel::bytes_of(panel)
                + (rows + held_out.min(VALID_ROWS_MAX)) * BYTES_PER_ROW
                + cost.memory_bytes,
            seconds: (rows * COLUMNS) as f64 * SECONDS_PER_VALUE + cost.seconds / threads,
        })
    }

    fn row_columns(&self, lesson: &Lesson<'_>) -> Result<Option<Vec<RowColumn>>> {
        Ok(Some(Course::new(lesson, R::ROWS_MAX)?.columns()))
    }

    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>> {
        let mut config: RegressionConfig = stored.config()?;
        let corrupt = |why: String| container::corrupt(format!("its rows cannot be read: {why}"));
        config.featurizer.check().map_err(corrupt)?;
        config.featurizer.keys =
            serde_json::from_slice(&stored.u8("series")?).map_err(|e| corrupt(e.to_string()))?;
        if !config.spread.is_sound() {
            return Err(corrupt("quantiles of errors that are not one for each level".into()));
        }
        let columns = RowWriter::new(&config.featurizer, &EncodedPanel::default()).types().len();
        Ok(Arc::new(Regression { regressor: R::load(stored, columns)?, config }))
    }
}
