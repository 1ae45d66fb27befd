//! One or several models that forecast together: weighted, calibrated, within bounds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result, Subject};
use crate::ml::control::Control;
use crate::ml::evaluation::{Calibration, Dependence, GROUPS, LEVELS, MIDDLE, WIDTH, group_of};
use crate::ml::features::{EncodedPanel, Featurizer, Outliers, RowColumn, RowWriter};
use crate::ml::forecaster::{Family, FitOptions, FittedForecaster, Forecast, PredictOptions, Status};
use crate::ml::models::answer::Answer;
use crate::ml::models::cold_start::{ColdStart, is_new};
use crate::ml::models::container::{self, Stored, Tensor};
use crate::ml::models::family::{family_name, learner};
use crate::ml::models::local::bounds;
use crate::ml::models::model::Model;
use crate::ml::series::Panel;

/// Most models in one.
const MEMBERS_MAX: usize = 32;

/// One model of a combination.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) family: Family,
    pub(super) model: Arc<dyn Model>,
    pub(super) calibration: Calibration,
    /// Its weight for every group of series.
    pub(super) weights: Vec<f64>,
}

/// A fitted combination; one model is a combination of itself.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub(super) config: FittedConfig,
    pub(super) members: Vec<Member>,
    /// What speaks for series without a history.
    pub(super) cold_start: Option<ColdStart>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FittedConfig {
    /// What the user asked for.
    pub(super) family: Family,
    /// Steps that the models were fitted for.
    pub(super) horizon: usize,
    /// Calibration of the combination.
    pub(super) calibration: Calibration,
    /// How its errors hang together.
    #[serde(default)]
    pub(super) dependence: Dependence,
    /// What outliers become in what it looks back at.
    #[serde(default)]
    pub(super) outliers: Outliers,
}

/// How a member stands in a file.
#[derive(Debug, Serialize, Deserialize)]
struct StoredMember {
    family: Family,
    calibration: Calibration,
    weights: Vec<f64>,
    config: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFitted {
    #[serde(flatten)]
    config: FittedConfig,
    members: Vec<StoredMember>,
    #[serde(default)]
    cold_start: Option<Value>,
}

impl Fitted {
    /// Forecasts at [`LEVELS`].
    pub(super) fn combined(&self, panel: &Panel, horizon: usize, control: &Control) -> Result<Forecast> {
        if horizon == 0 {
            return Err(Error::internal("a forecast of 0 steps was asked for"));
        }
        let cleaned = self.config.outliers.clean(panel);
        let panel = cleaned.as_ref().map_or(panel, |(cleaned, _)| cleaned);
        let groups = groups(panel, self.context());
        let mut forecasts = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut forecast = member.model.predict(panel, horizon, control)?;
            bound(panel, member.model.context_length(), &mut forecast);
            member.calibration.apply(&mut forecast, &groups);
            forecasts.push(forecast);
        }
        let weights: Vec<&[f64]> = self.members.iter().map(|m| m.weights.as_slice()).collect();
        let mut forecast = combine(&forecasts, &weights, &groups)
            .ok_or_else(|| Error::internal("a combination of no models"))?;
        self.config.calibration.apply(&mut forecast, &groups);
        bound(panel, self.context(), &mut forecast);
        if let Some(cold_start) = &self.cold_start {
            cold_start.speak(panel, &mut forecast);
        }
        close(panel, self.featurizer(), &mut forecast);
        if horizon > self.config.horizon {
            forecast.status.iter_mut().for_each(|status| *status = status.or(Some(Status::Extended)));
        }
        Ok(forecast)
    }

    /// What was asked for, from forecasts at [`LEVELS`].
    pub(super) fn answer(
        &self,
        panel: &Panel,
        all: Forecast,
        options: &PredictOptions,
        control: &Control,
    ) -> Result<Forecast> {
        let limits = (0..panel.len()).map(|i| match &self.cold_start {
            Some(cold_start) if is_new(panel, i) => cold_start.limits(),
            _ => bounds(latest(panel, i, self.context())),
        });
        let limits = limits.collect();
        Answer { all, keys: &panel.keys, limits, dependence: self.config.dependence }
            .forecast(options, control)
    }

    /// The same, which also speaks for new series where enough is told of those of this panel.
    pub(super) fn with_cold_start(
        self: Arc<Self>,
        panel: &Panel,
        options: &FitOptions,
        control: &Control,
    ) -> Result<Arc<Self>> {
        let cleaned = options.outliers.clean(panel);
        let panel = cleaned.as_ref().map_or(panel, |(cleaned, _)| cleaned);
        Ok(match ColdStart::fit(panel, options, control)? {
            None => self,
            cold_start => Arc::new(Self { cold_start, ..Self::clone(&self) }),
        })
    }

    fn featurizer(&self) -> Option<&Featurizer> {
        self.members.iter().find_map(|member| member.model.featurizer())
    }

    fn context(&self) -> usize {
        self.members.iter().map(|m| m.model.context_length()).max().unwrap_or(1)
    }
}

/// The part of a history that models with this context look at.
pub(super) fn latest(panel: &Panel, series: usize, context: usize) -> &[f64] {
    let history = panel.history_of(series);
    &history[history.len().saturating_sub(context)..]
}

/// Keeps forecasts where the history says they can be, and tells what is special.
pub(super) fn bound(panel: &Panel, context: usize, forecast: &mut Forecast) {
    let horizon = forecast.horizon;
    let year = panel.frequency.periods_per_year().unwrap_or(0);
    let pause = year.max(SEASONS_ENDED * panel.season_length).max(ZEROS_ENDED);
    for i in 0..panel.len() {
        let history = latest(panel, i, context);
        let rows = i * horizon..(i + 1) * horizon;
        let values = &mut forecast.quantiles[rows.start * WIDTH..rows.end * WIDTH];
        if let Some((value, status)) = constant(history).or(ended(history, pause)) {
            values.fill(value);
            forecast.status[i] = Some(status);
        }
        let (low, high) = bounds(history);
        if high > 0.0 {
            values.iter_mut().for_each(|q| *q = q.clamp(low, high));
        }
        if let Some(least) = least_demand(history).filter(|_| low == 0.0) {
            let rows = values.chunks_exact_mut(WIDTH);
            let below = rows.flat_map(|row| &mut row[..MIDDLE]);
            below.filter(|q| **q < least / 2.0).for_each(|q| *q = 0.0);
        }
        for (point, row) in forecast.point[rows].iter_mut().zip(values.chunks_exact(WIDTH)) {
            *point = row[MIDDLE];
        }
    }
}

/// Makes forecasts 0 where a switch says so, which only some of the members may know.
pub(super) fn close(panel: &Panel, featurizer: Option<&Featurizer>, forecast: &mut Forecast) {
    let Some(active) = featurizer.and_then(|featurizer| featurizer.active(panel)) else { return };
    for i in 0..panel.len() {
        let future = panel.offsets[i] + panel.history[i]..panel.offsets[i + 1];
        for (step, _) in future.enumerate().take(forecast.horizon).filter(|(_, row)| !active[*row]) {
            let at = i * forecast.horizon + step;
            forecast.point[at] = 0.0;
            forecast.quantiles[at * WIDTH..(at + 1) * WIDTH].fill(0.0);
        }
    }
}

/// The least demand that a history has besides none: no value lies between it and 0, and so no quantile.
fn least_demand(history: &[f64]) -> Option<f64> {
    let has_none = history.contains(&0.0);
    has_none.then(|| history.iter().copied().filter(|y| *y > 0.0).reduce(f64::min)).flatten()
}

/// The group of every series by the latest steps of its history.
pub(super) fn groups(panel: &Panel, context: usize) -> Vec<usize> {
    (0..panel.len()).map(|i| group_of(latest(panel, i, context))).collect()
}

/// Seasons of zeros after which a series may have ended; a year is needed as well.
const SEASONS_ENDED: usize = 2;
/// Fewest zeros after which it may.
const ZEROS_ENDED: usize = 12;

/// Zero for a series whose last values are zeros, at least as many as `pause` and more than twice as many as there ever
/// were between two of its demands; and what that is called.
fn ended(history: &[f64], pause: usize) -> Option<(f64, Status)> {
    let (mut run, mut longest, mut demand) = (0, 0, false);
    for y in history.iter().filter(|y| y.is_finite()) {
        match *y {
            0.0 => run += 1,
            y if y < 0.0 => return None,
            _ => {
                // What lies before the first demand is no pause.
                longest = if demand { run.max(longest) } else { 0 };
                (run, demand) = (0, true);
            }
        }
    }
    (demand && run >= pause.max(2 * longest + 1)).then_some((0.0, Status::EndedSeries))
}

/// The one value that all observed values equal, and what that is called.
fn constant(history: &[f64]) -> Option<(f64, Status)> {
    let mut observed = history.iter().copied().filter(|y| y.is_finite());
    let first = observed.next()?;
    let mut status = Status::ShortHistory;
    for y in observed {
        if y != first {
            return None;
        }
        status = Status::ConstantSeries;
    }
    Some((first, status))
}

/// The mean of forecasts level by level, with the weights of every series' group; models that have nothing to say of
/// a series do not count for it.
pub(super) fn combine(forecasts: &[Forecast], weights: &[&[f64]], groups: &[usize]) -> Option<Forecast> {
    let first = forecasts.first()?;
    let size = first.horizon * WIDTH;
    let mut out = Forecast {
        horizon: first.horizon,
        quantile_levels: LEVELS.to_vec(),
        point: vec![0.0; first.point.len()],
        quantiles: vec![0.0; first.quantiles.len()],
        status: Vec::with_capacity(first.status.len()),
        ..Forecast::default()
    };
    for series in 0..first.status.len() {
        let group = groups.get(series).copied().unwrap_or(0);
        let has_history = |f: &Forecast| f.status[series] != Some(Status::NoHistory);
        let weight = |model: usize| weights[model].get(group).copied().unwrap_or(0.0);
        let mut shares: Vec<f64> = (0..forecasts.len())
            .map(|model| if has_history(&forecasts[model]) { weight(model) } else { 0.0 })
            .collect();
        let total: f64 = shares.iter().sum();
        if total > 0.0 {
            shares.iter_mut().for_each(|share| *share /= total);
        } else {
            // Whoever has something to say speaks, the first one where nobody has.
            let speaker = forecasts.iter().position(has_history).unwrap_or(0);
            shares.fill(0.0);
            shares[speaker] = 1.0;
        }
        let to = &mut out.quantiles[series * size..(series + 1) * size];
        for (forecast, share) in forecasts.iter().zip(&shares).filter(|(_, share)| **share > 0.0) {
            let from = &forecast.quantiles[series * size..(series + 1) * size];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += share * from);
        }
        let points = &mut out.point[series * out.horizon..(series + 1) * out.horizon];
        for (point, row) in points.iter_mut().zip(to.chunks_exact(WIDTH)) {
            *point = row[MIDDLE];
        }
        let heaviest_first = {
            let mut order: Vec<usize> = (0..forecasts.len()).filter(|model| shares[*model] > 0.0).collect();
            order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
            order
        };
        out.status.push(heaviest_first.into_iter().find_map(|model| forecasts[model].status[series]));
    }
    Some(out)
}

impl FittedForecaster for Fitted {
    fn predict(&self, panel: &Panel, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        self.answer(panel, self.combined(panel, options.horizon, control)?, options, control)
    }

    fn context_length(&self) -> Option<usize> {
        // Whether a value is an outlier is told by all values before it.
        (self.config.outliers == Outliers::Keep).then(|| self.context())
    }

    fn tells_new_series(&self) -> bool {
        self.cold_start.is_some()
    }

    fn row_columns(&self) -> Option<Vec<RowColumn>> {
        let featurizer = self.featurizer()?;
        Some(RowWriter::new(featurizer, &EncodedPanel::default()).columns())
    }

    fn featurize(&self, panel: &Panel, horizon: usize) -> Result<Vec<f32>> {
        let featurizer = self
            .featurizer()
            .ok_or_else(|| Error::internal("features of a model that learns from no rows"))?;
        featurizer.check_columns(panel)?;
        if horizon > featurizer.layout.horizon {
            let message = format!("rows reach {} steps, {horizon} are asked for", featurizer.layout.horizon);
            return Err(Error::input(Subject::Option, message)
                .with_hint("later steps are forecast from rows that see forecasts of the earlier ones"));
        }
        let cleaned = self.config.outliers.clean(panel);
        let panel = cleaned.as_ref().map_or(panel, |(cleaned, _)| cleaned).take_last(self.context());
        let encoded = EncodedPanel::new(featurizer, &panel, horizon, horizon);
        let mut writer = RowWriter::new(featurizer, &encoded);
        let mut values = Vec::new();
        for series in 0..panel.len() {
            writer.look(series, panel.history[series]);
            for step in 0..horizon {
                writer.push(step, &mut values);
            }
        }
        Ok(values)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut stored = StoredFitted { config: self.config.clone(), members: Vec::new(), cold_start: None };
        let mut tensors = Vec::new();
        if let Some(cold_start) = &self.cold_start {
            let saved = cold_start.save()?;
            stored.cold_start = Some(saved.config);
            tensors.extend(saved.tensors.into_iter().map(|tensor| prefixed(COLD_START, tensor)));
        }
        for (i, member) in self.members.iter().enumerate() {
            let saved = member.model.save()?;
            tensors.extend(saved.tensors.into_iter().map(|tensor| prefixed(&format!("{i}."), tensor)));
            stored.members.push(StoredMember {
                family: member.family,
                calibration: member.calibration.clone(),
                weights: member.weights.clone(),
                config: saved.config,
            });
        }
        let config = serde_json::to_string(&stored)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        container::write(family_name(self.config.family), config, tensors)
    }
}

/// The model that [`FittedForecaster::to_bytes`] wrote; any other bytes are an error, never a panic.
pub(super) fn load(bytes: &[u8]) -> Result<Arc<Fitted>> {
    let file = container::read(bytes)?;
    let stored: StoredFitted = file.config()?;
    let sound = |member: &StoredMember| {
        let weights = &member.weights;
        weights.len() == GROUPS
            && weights.iter().all(|w| (0.0..=1.0).contains(w))
            && member.calibration.is_sound()
    };
    let members = &stored.members;
    let StoredFitted { config, .. } = &stored;
    if members.is_empty() || members.len() > MEMBERS_MAX || !members.iter().all(sound) {
        return Err(container::corrupt("its members do not fit together".into()));
    }
    if file.family != family_name(config.family) {
        return Err(container::corrupt(format!("it names the family {}", file.family)));
    }
    if config.horizon == 0 || !config.calibration.is_sound() || !config.dependence.is_sound() {
        return Err(container::corrupt("its intervals are not finite".into()));
    }
    let load = |(i, member): (usize, &StoredMember)| {
        let stored: Stored<'_> = file.stored(&format!("{i}."), member.config.clone());
        let model = learner(member.family)
            .ok_or_else(|| container::corrupt(format!("{} is no model", family_name(member.family))))?
            .load(&stored)?;
        let (calibration, weights) = (member.calibration.clone(), member.weights.clone());
        Ok(Member { family: member.family, model, calibration, weights })
    };
    let members = members.iter().enumerate().map(load).collect::<Result<_>>()?;
    let cold_start = match stored.cold_start {
        Some(config) => Some(ColdStart::load(&file.stored(COLD_START, config))?),
        None => None,
    };
    Ok(Arc::new(Fitted { config: stored.config, members, cold_start }))
}

/// What the names of the tensors begin with by which a model speaks for new series.
const COLD_START: &str = "cold_start.";

fn prefixed(prefix: &str, tensor: Tensor) -> Tensor {
    Tensor { name: format!("{prefix}{}", tensor.name), ..tensor }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel;
    use crate::ml::series::Values;

    #[test]
    fn nothing_lies_between_no_demand_and_the_least_one() {
        let mut panel = test_panel(2, 40);
        let demand = |t: usize| if t.is_multiple_of(4) { 2.0 + (t % 3) as f64 } else { 0.0 };
        (0..40).for_each(|t| panel.target[t] = demand(t));
        (0..40).for_each(|t| panel.target[40 + t] = demand(t) + 1.0);
        let row: Vec<f64> = (0..WIDTH).map(|level| 0.2 * level as f64).collect();
        let mut forecast = Forecast {
            horizon: 1,
            point: vec![0.0; 2],
            quantiles: row.repeat(2),
            status: vec![None; 2],
            ..Forecast::default()
        };
        bound(&panel, 40, &mut forecast);
        let expected = row.iter().enumerate().map(|(at, q)| if at < 5 { 0.0 } else { *q });
        assert_eq!(forecast.quantiles[..WIDTH], expected.collect::<Vec<_>>());
        assert_eq!((&forecast.quantiles[WIDTH..], forecast.point[0]), (row.as_slice(), row[MIDDLE]));
    }

    #[test]
    fn what_is_closed_sells_nothing_whoever_has_weight() {
        let mut panel = test_panel(2, 60);
        let Values::Number(open) = panel.known[0].values.clone() else { panic!("a number") };
        (0..120).filter(|row| open[*row] == 0.0).for_each(|row| panel.target[row] = 0.0);
        let featurizer = Featurizer::fit(&panel, &[53; 2], 7, None, &Control::default()).unwrap();
        let mut forecast = Forecast {
            horizon: 7,
            point: vec![5.0; 14],
            quantiles: vec![5.0; 14 * WIDTH],
            status: vec![None; 2],
            ..Forecast::default()
        };
        close(&panel.hold_out(7), Some(&featurizer), &mut forecast);
        let rows = (53..60).chain(113..120);
        let expected: Vec<f64> = rows.map(|row| 5.0 * f64::from(open[row])).collect();
        assert!(expected.contains(&0.0) && expected.contains(&5.0));
        assert_eq!(forecast.point, expected);
        assert!(forecast.quantiles.chunks_exact(WIDTH).zip(expected).all(|(row, y)| row == [y; WIDTH]));
        let before = forecast.clone();
        close(&panel.hold_out(7), None, &mut forecast);
        assert_eq!(forecast, before);
    }

    #[test]
    fn long_silence_is_an_end_and_usual_pauses_are_none() {
        let series = |demands: &[usize], length: usize| {
            let mut history = vec![0.0; length];
            demands.iter().for_each(|at| history[*at] = 2.0);
            history
        };
        let status = |history: &[f64]| ended(history, 24);
        assert_eq!(status(&series(&[3, 4], 48)), Some((0.0, Status::EndedSeries)));
        // Less than two seasons; a pause of its usual length; nothing ever; returns.
        assert_eq!(status(&series(&[3, 4], 28)), None);
        assert_eq!(status(&series(&[3, 24], 60)), None);
        assert_eq!(status(&series(&[], 60)), None);
        assert_eq!(status(&[&[-1.0], series(&[1], 60).as_slice()].concat()), None);
        // Missing values are no zeros.
        assert_eq!(status(&[&[1.0, 0.0], vec![f64::NAN; 60].as_slice()].concat()), None);
    }
}
