//! What every family of models is to the rest: something that learns, forecasts and is stored.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::features::{Featurizer, RowColumn};
use crate::ml::forecaster::{EpochLog, FitEstimate, FitOptions, Forecast};
use crate::ml::models::container::{Stored, Tensor};
use crate::ml::series::Panel;

/// What a fit may learn from: the first rows of every series. The rows after them tell only when to stop.
#[derive(Debug)]
pub(super) struct Lesson<'a> {
    pub(super) panel: &'a Panel,
    /// Rows of every series that may be learnt from.
    pub(super) train: Vec<usize>,
    pub(super) options: &'a FitOptions,
    pub(super) control: &'a Control,
    /// Share of the usual work that a fit may do: less where several families take part.
    pub(super) effort: f64,
    /// Other families learn beside this one, and all are combined.
    pub(super) shared: bool,
    /// When a fit is to come to an end with what it has.
    pub(super) deadline: Option<Instant>,
    /// Shares of the whole work that are done when the fit begins and when it is over.
    pub(super) span: (f64, f64),
}

impl<'a> Lesson<'a> {
    /// All rows but the last `held_out` of every series.
    pub(super) fn new(
        panel: &'a Panel,
        held_out: usize,
        options: &'a FitOptions,
        control: &'a Control,
    ) -> Self {
        let train = panel.history.iter().map(|n| n.saturating_sub(held_out)).collect();
        Self { panel, train, options, control, effort: 1.0, shared: false, deadline: None, span: (0.0, 1.0) }
    }

    /// Seconds until the deadline.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    /// Tells that this share of the fit is done.
    pub(super) fn advance(&self, share: f64) {
        let (from, to) = self.span;
        self.control.report(|p| p.fraction = from + share * (to - from));
    }

    /// The error of a family that finds nothing to learn from.
    pub(super) fn too_short(&self, family: &str) -> Error {
        let longest = self.panel.history.iter().max().copied().unwrap_or(0);
        let held_out = longest - self.train.iter().max().copied().unwrap_or(0);
        Error::data(format!(
            "the longest series has {longest} rows; {family} needs at least 2 before the {held_out} validation steps"
        ))
        .with_hint("shorten VALIDATE, or USING seasonal_naive")
    }

    /// Something at the ends of the series may not be learnt from.
    pub(super) fn holds_out(&self) -> bool {
        self.train.iter().zip(&self.panel.history).any(|(train, history)| train < history)
    }

    /// The history of a series that may be learnt from.
    pub(super) fn history_of(&self, i: usize) -> &'a [f64] {
        &self.panel.history_of(i)[..self.train[i]]
    }
}

/// A family of models.
pub(super) trait Learner: Sync {
    /// Learns.
    fn fit(&self, lesson: &Lesson<'_>) -> Result<Learnt>;

    /// Whether a fit may end at its deadline with what it has.
    fn can_stop(&self) -> bool {
        false
    }

    /// What [`Learner::fit`] will need.
    fn estimate(&self, lesson: &Lesson<'_>) -> Result<FitEstimate>;

    /// The columns of the rows that [`Learner::fit`] learns from; none for a family that learns from whole series.
    fn row_columns(&self, _: &Lesson<'_>) -> Result<Option<Vec<RowColumn>>> {
        Ok(None)
    }

    /// The model that [`Model::save`] wrote.
    fn load(&self, stored: &Stored<'_>) -> Result<Arc<dyn Model>>;
}

/// A model that has learnt, and how it went.
#[derive(Debug)]
pub(super) struct Learnt {
    pub(super) model: Arc<dyn Model>,
    /// One line an epoch, for families with epochs.
    pub(super) log: Vec<EpochLog>,
    /// Training windows, for families that learn from windows.
    pub(super) windows: usize,
    /// The model before it adapted, which stays where it forecasts the held-out windows better.
    pub(super) before: Option<Arc<dyn Model>>,
}

impl From<Arc<dyn Model>> for Learnt {
    fn from(model: Arc<dyn Model>) -> Self {
        Self { model, log: Vec::new(), windows: 0, before: None }
    }
}

/// A model that has learnt.
pub(super) trait Model: fmt::Debug + Send + Sync {
    /// Forecasts every series from the end of its history, with quantiles at
    /// [`LEVELS`](crate::ml::evaluation::LEVELS), ascending and finite.
    fn predict(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast>;

    /// The model after it has learnt all history, also what was held out before.
    fn learn_rest(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>>;

    /// The model after it has learnt rows that came later, from where it stands; what it is made of may change in place.
    fn go_on(self: Arc<Self>, lesson: &Lesson<'_>) -> Result<Arc<dyn Model>> {
        self.learn_rest(lesson)
    }

    /// Steps of history that [`Model::predict`] looks at.
    fn context_length(&self) -> usize;

    /// Numbers that were learnt.
    fn parameters(&self) -> usize;

    /// What the rows are made by that it learns from, where it learns from rows.
    fn featurizer(&self) -> Option<&Featurizer> {
        None
    }

    /// Configuration and tensors.
    fn save(&self) -> Result<Saved>;
}

/// A model on its way into a file.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its configuration as JSON.
    pub(super) config: serde_json::Value,
    pub(super) tensors: Vec<Tensor>,
}

impl Saved {
    /// A configuration without tensors.
    pub(super) fn new(config: &impl serde::Serialize) -> Result<Self> {
        let config = serde_json::to_value(config)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        Ok(Self { config, tensors: Vec::new() })
    }

    /// Adds a tensor.
    pub(super) fn with(mut self, name: &str, shape: Vec<usize>, data: super::container::Data) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), shape, data });
        self
    }
}
