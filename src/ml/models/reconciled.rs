//! Models of a hierarchy: they forecast series and sums alike, and what they say is made coherent.
//!
//! Means are what adds up: the forecast of a hierarchy is the mean, not the median, which for items that sell now and
//! then is far less than its share of the sum.

use std::sync::Arc;

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::levels::mean;
use crate::ml::evaluation::{Calibration, GROUPS, Holdout, Scorer, WIDTH};
use crate::ml::features::RowColumn;
use crate::ml::forecaster::{FitOptions, FitReport, FittedForecaster, Forecast, PredictOptions};
use crate::ml::hierarchy::Hierarchy;
use crate::ml::models::container::{self, Data, File};
use crate::ml::models::fitted::{self, Fitted, groups};
use crate::ml::models::fitting::Outcome;
use crate::ml::models::local::bounds;
use crate::ml::models::model::Saved;
use crate::ml::reconciliation::{NodeErrors, Reconciler, Reconciliation};
use crate::ml::series::Panel;

/// What the file of such a model names in the place of a family.
pub(super) const WORD: &str = "reconciled";

/// A model of series and sums, and how its forecasts are reconciled.
#[derive(Debug)]
struct Reconciled {
    model: Arc<Fitted>,
    reconciler: Reconciler,
}

/// Makes the outcome of a fit to all nodes of a hierarchy a model of coherent forecasts; its scores are theirs.
pub(super) fn reconciled(
    outcome: Outcome,
    panel: &Panel,
    hierarchy: &Hierarchy,
    method: Reconciliation,
    options: &FitOptions,
    control: &Control,
) -> Result<(Arc<dyn FittedForecaster>, FitReport)> {
    control.report(|p| p.phase = "reconcile");
    let Outcome { model, mut report, mut windows } = outcome;
    windows.iter_mut().for_each(|(_, forecast)| take_means(forecast));
    let fit = Fit { panel, hierarchy, method, windows };
    let reconciler = fit.reconciler(None);
    if !fit.windows.is_empty() {
        let scorer = fit.score(options, control)?;
        report.scores = scorer.scores();
        report.series.model = scorer.into_series();
    }
    Ok((Arc::new(Reconciled { model, reconciler }), report))
}

struct Fit<'a> {
    panel: &'a Panel,
    hierarchy: &'a Hierarchy,
    method: Reconciliation,
    windows: Vec<(Holdout, Forecast)>,
}

impl Fit<'_> {
    /// All windows but one.
    fn others(&self, without: Option<usize>) -> impl Iterator<Item = &(Holdout, Forecast)> {
        self.windows.iter().enumerate().filter(move |(w, _)| Some(*w) != without).map(|(_, window)| window)
    }

    /// What the errors of the windows but one teach.
    fn reconciler(&self, without: Option<usize>) -> Reconciler {
        let steps = self.others(without).map(|(holdout, _)| holdout.length()).sum();
        let mut errors = Vec::with_capacity(self.panel.len() * steps);
        for node in 0..self.panel.len() {
            for (holdout, forecast) in self.others(without) {
                let rows = node * holdout.length()..(node + 1) * holdout.length();
                let pairs = holdout.actual()[rows.clone()].iter().zip(&forecast.point[rows]);
                errors.extend(pairs.map(|(actual, forecast)| actual - forecast));
            }
        }
        Reconciler::fit(self.method, self.hierarchy, &self.panel.keys, &errors, steps)
    }

    /// Scores of the coherent forecasts of every window, by what the others teach where there are others.
    fn score<'o>(&self, options: &'o FitOptions, control: &Control) -> Result<Scorer<'o>> {
        let mut scorer = Scorer::new(&options.quantile_levels);
        let groups = groups(self.panel, usize::MAX);
        for (w, (holdout, forecast)) in self.windows.iter().enumerate() {
            let without = (self.windows.len() > 1).then_some(w);
            let others: Vec<(&Forecast, &[f64])> =
                self.others(without).map(|(holdout, forecast)| (forecast, holdout.actual())).collect();
            let mut forecast = forecast.clone();
            Calibration::fit(&others, &groups, GROUPS).apply(&mut forecast, &groups);
            take_means(&mut forecast);
            let (panel, reconciler) = (holdout.panel(), self.reconciler(without));
            let nonnegative = nonnegative(panel, usize::MAX);
            reconciler.reconcile(self.hierarchy, &panel.keys, &nonnegative, &mut forecast, control)?;
            scorer.add(holdout, &forecast);
        }
        Ok(scorer)
    }
}

/// Makes the mean of every row the point.
fn take_means(forecast: &mut Forecast) {
    for (point, row) in forecast.point.iter_mut().zip(forecast.quantiles.chunks_exact(WIDTH)) {
        *point = mean(row);
    }
}

/// Series whose latest history is never below 0.
fn nonnegative(panel: &Panel, context: usize) -> Vec<bool> {
    (0..panel.len()).map(|i| bounds(fitted::latest(panel, i, context)).0 >= 0.0).collect()
}

impl FittedForecaster for Reconciled {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        self.model.predict(panel, options, control)
    }

    fn predict_coherent(
        &self,
        panel: &Panel,
        hierarchy: &Hierarchy,
        options: &PredictOptions,
        control: &Control,
    ) -> Result<Forecast> {
        let mut forecast = self.model.combined(panel, options.horizon, control)?;
        take_means(&mut forecast);
        let nonnegative = nonnegative(panel, self.context_length().unwrap_or(usize::MAX));
        self.reconciler.reconcile(hierarchy, &panel.keys, &nonnegative, &mut forecast, control)?;
        // The points are means already, and coherent.
        let options = PredictOptions { mean: false, ..options.clone() };
        self.model.answer(panel, forecast, &options, control)
    }

    fn context_length(&self) -> Option<usize> {
        self.model.context_length()
    }

    fn row_columns(&self) -> Option<Vec<RowColumn>> {
        self.model.row_columns()
    }

    fn featurize(&self, panel: &Panel, horizon: usize) -> Result<Vec<f32>> {
        self.model.featurize(panel, horizon)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let model = self.model.to_bytes()?;
        let NodeErrors { keys, variances, scaled } = self.reconciler.nodes();
        let (nodes, (text, ends)) = (keys.len(), container::texts(&keys)?);
        let saved = Saved::new(&self.reconciler)?
            .with("model", vec![model.len()], Data::U8(model))
            .with("keys", vec![text.len()], Data::U8(text))
            .with("key_ends", vec![nodes], Data::U32(ends))
            .with("variances", vec![nodes], Data::F64(variances))
            .with("errors", vec![scaled.len()], Data::F64(scaled));
        container::write(WORD, saved.config.to_string(), saved.tensors)
    }
}

/// The model that [`FittedForecaster::to_bytes`] wrote into this file.
pub(super) fn load(file: &File<'_>) -> Result<Arc<dyn FittedForecaster>> {
    let reconciler: Reconciler = file.config()?;
    let stored = file.stored("", serde_json::Value::Null);
    let keys = stored.texts("keys", "key_ends")?;
    let errors = NodeErrors { variances: stored.f64("variances")?, scaled: stored.f64("errors")?, keys };
    let unsound = || container::corrupt("its errors do not fit together".into());
    let reconciler = reconciler.with_nodes(errors).ok_or_else(unsound)?;
    Ok(Arc::new(Reconciled { model: fitted::load(&stored.u8("model")?)?, reconciler }))
}
