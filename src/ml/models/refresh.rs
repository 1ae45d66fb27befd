//! A fitted model goes on with rows that came later, or learns anew; which is better than what there was is told by the same
//! windows.

use std::sync::Arc;

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::{LEVELS, Scorer};
use crate::ml::forecaster::{Family, FitOptions, FitReport, FittedForecaster, PredictOptions, Scores};
use crate::ml::hierarchy::Hierarchy;
use crate::ml::models::family::{fit, fit_coherent, load};
use crate::ml::models::fitted;
use crate::ml::models::fitting::{self, Outcome, Plan};
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::Panel;

/// What a model becomes, and what it was.
#[derive(Debug)]
pub struct Refreshed {
    /// The new model.
    pub model: Arc<dyn FittedForecaster>,
    /// How it was fitted.
    pub report: FitReport,
    /// Scores of the old model on the windows that the new one was held out from.
    pub before: Scores,
}

/// The sums of the series of a panel, and how their forecasts are reconciled.
pub type Coherence<'a> = Option<(&'a Hierarchy, Reconciliation)>;

/// Lets the model of these bytes go on with a panel, whose series begin as those that it learnt from did. With `families`, and
/// wherever there are sums, these learn anew instead.
pub fn refresh(
    file: &[u8],
    families: Option<&[Family]>,
    panel: &Panel,
    coherence: Coherence<'_>,
    options: &FitOptions,
    control: &Control,
) -> Result<Refreshed> {
    let before = score(&*load(file)?, panel, coherence, options, control)?;
    let (model, report) = match (families, coherence) {
        (Some(families), Some((hierarchy, method))) => {
            fit_coherent(families, panel, hierarchy, method, options, control)?
        }
        (Some(families), None) => fit(families, panel, options, control)?,
        (None, _) => {
            // Networks learn in place: this one is nobody else's.
            let own = fitted::load(file)?;
            let Outcome { model, report, .. } = fitting::go_on(&own, panel, options, control)?;
            let model: Arc<dyn FittedForecaster> = model.with_cold_start(panel, options, control)?;
            (model, report)
        }
    };
    Ok(Refreshed { model, report, before })
}

/// Scores of a fitted model on the windows that a fit to the panel holds out.
pub fn score(
    model: &dyn FittedForecaster,
    panel: &Panel,
    coherence: Coherence<'_>,
    options: &FitOptions,
    control: &Control,
) -> Result<Scores> {
    let cleaned = options.outliers.clean(panel);
    let learnt = cleaned.as_ref().map_or(panel, |(cleaned, _)| cleaned);
    let mut scorer = Scorer::new(&options.quantile_levels);
    for holdout in fitting::holdouts(panel, learnt, Plan::new(panel, options)) {
        let wanted = PredictOptions {
            horizon: holdout.length(),
            quantile_levels: LEVELS.to_vec(),
            ..PredictOptions::default()
        };
        let forecast = match coherence {
            Some((hierarchy, _)) => model.predict_coherent(holdout.panel(), hierarchy, &wanted, control)?,
            None => model.predict(holdout.panel(), &wanted, control)?,
        };
        scorer.add(&holdout, &forecast);
    }
    Ok(scorer.scores())
}
