//! Reconciliation: base forecasts of series and sums become coherent ones.

use std::collections::HashMap;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::control::Control;
use crate::ml::forecaster::{Forecast, Status};
use crate::ml::hierarchy::Hierarchy;
use crate::ml::reconciliation::covariance::{Covariance, lifted, mean_squares};
use crate::ml::reconciliation::solve::System;

/// Held-out steps from which correlations of errors are worth estimating.
const STEPS_MIN: usize = 12;
/// Steps of the forecast between two looks at the control.
const STEPS_PER_CHECK: usize = 8;

/// How base forecasts are reconciled, by the words of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reconciliation {
    /// Sums are those of the forecasts of the series.
    BottomUp,
    /// Nearest by least squares (Hyndman, Ahmed, Athanasopoulos and Shang 2011).
    Ols,
    /// Nearest by squares over the variances of the errors; over the number of series where nothing was held out.
    Wls,
    /// Least total variance of the errors, their correlations shrunk (Wickramasuriya, Athanasopoulos and Hyndman 2019).
    Mint,
}

impl Reconciliation {
    const ALL: [Self; 4] = [Self::BottomUp, Self::Ols, Self::Wls, Self::Mint];

    /// The word users write after RECONCILE.
    pub fn word(self) -> &'static str {
        match self {
            Self::BottomUp => "BOTTOM_UP",
            Self::Ols => "OLS",
            Self::Wls => "WLS",
            Self::Mint => "MINT",
        }
    }

    /// The method of this word, in any case.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let message = format!("unknown RECONCILE {word}{}", did_you_mean(word, words));
            Error::input(Subject::Option, message).with_hint(format!("RECONCILE takes {}", words.join(", ")))
        })
    }

    /// What is done where so many steps are held out and nothing else is asked for.
    pub fn usual(held_out: usize) -> Self {
        if held_out >= STEPS_MIN { Self::Mint } else { Self::Wls }
    }
}

/// A method with what it learnt from the errors of base forecasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconciler {
    method: Reconciliation,
    covariance: Covariance,
    /// Variance of a series whose errors are not known; that of a sum is so many times it as it has series.
    variance: f64,
    /// The nodes whose errors are known.
    #[serde(skip)]
    rows: HashMap<String, usize>,
}

/// What a reconciler learnt of the nodes, in the order of their keys: for the file of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeErrors {
    /// Keys of the nodes, sorted.
    pub keys: Vec<String>,
    /// One per node.
    pub variances: Vec<f64>,
    /// `[node, step]`.
    pub scaled: Vec<f64>,
}

impl Reconciler {
    /// Learns from the errors of base forecasts of held-out steps: `[node, step]` of the nodes with these keys, the
    /// series first, NaN where nothing was observed.
    pub fn fit(
        method: Reconciliation,
        hierarchy: &Hierarchy,
        keys: &[String],
        errors: &[f64],
        steps: usize,
    ) -> Self {
        if matches!(method, Reconciliation::BottomUp | Reconciliation::Ols) {
            return Self::unweighted(method);
        }
        let mut variances = mean_squares(errors, steps);
        lifted(&mut variances);
        let series: Vec<f64> =
            variances.iter().take(hierarchy.series()).copied().filter(|v| v.is_finite()).collect();
        let mean = series.iter().sum::<f64>() / series.len() as f64;
        let variance = if mean > 0.0 { mean } else { 1.0 };
        // Nodes without an error, or where no error is, are weighted by their number of series.
        for (node, own) in variances.iter_mut().enumerate().filter(|(_, v)| v.is_nan() || **v <= 0.0) {
            *own = variance * size(hierarchy, node);
        }
        let rows = keys.iter().take(variances.len()).cloned().zip(0..).collect();
        let covariance = match method {
            Reconciliation::Mint => Covariance::shrunk(variances, errors, steps),
            _ => Covariance::diagonal(variances),
        };
        Self { method, covariance, variance, rows }
    }

    fn unweighted(method: Reconciliation) -> Self {
        let covariance = Covariance::diagonal(Vec::new());
        Self { method, covariance, variance: 1.0, rows: HashMap::new() }
    }

    /// How it reconciles.
    pub fn method(&self) -> Reconciliation {
        self.method
    }

    /// Makes the forecasts of all nodes coherent; `keys` are theirs, and a node that is `nonnegative` stays so.
    ///
    /// Series without any history count as 0. Quantiles move with the point of their node, so that a sum keeps the
    /// width of its own forecast; below the point they shrink in proportion where a node that is not negative falls.
    pub fn reconcile(
        &self,
        hierarchy: &Hierarchy,
        keys: &[String],
        nonnegative: &[bool],
        forecast: &mut Forecast,
        control: &Control,
    ) -> Result<()> {
        if keys.len() != hierarchy.nodes() || forecast.status.len() != keys.len() {
            return Err(Error::internal("a forecast does not have the nodes of its hierarchy"));
        }
        let silent: Vec<bool> = forecast.status.iter().map(|s| *s == Some(Status::NoHistory)).collect();
        let (horizon, width) = (forecast.horizon, forecast.quantile_levels.len());
        let covariance = self.covariance_of(hierarchy, keys, &silent);
        let system = System::new(hierarchy, &covariance);
        let base = &forecast.point;
        let at_step = |step: usize| -> Vec<f64> {
            let value = |node: usize| if silent[node] { 0.0 } else { base[node * horizon + step] };
            let base: Vec<f64> = (0..hierarchy.nodes()).map(value).collect();
            self.coherent(hierarchy, &system, nonnegative, base)
        };
        let mut points: Vec<Vec<f64>> = Vec::with_capacity(horizon);
        while points.len() < horizon {
            control.check()?;
            let steps = points.len()..(points.len() + STEPS_PER_CHECK).min(horizon);
            points.extend(steps.into_par_iter().map(at_step).collect::<Vec<_>>());
        }
        for (step, points) in points.iter().enumerate() {
            for (node, point) in points.iter().enumerate() {
                let at = node * horizon + step;
                let row = &mut forecast.quantiles[at * width..(at + 1) * width];
                shift(row, forecast.point[at], *point, nonnegative[node] && *point >= 0.0);
                forecast.point[at] = *point;
            }
        }
        Ok(())
    }

    /// Coherent points of one step.
    fn coherent(
        &self,
        hierarchy: &Hierarchy,
        system: &System<'_>,
        nonnegative: &[bool],
        mut points: Vec<f64>,
    ) -> Vec<f64> {
        if self.method != Reconciliation::BottomUp {
            let adjustments = system.adjustments(&points);
            points.iter_mut().zip(adjustments).for_each(|(point, adjustment)| *point += adjustment);
        }
        // What falls below 0 is set to 0, and summed as that (Di Fonzo and Girolimetto 2023).
        for (point, nonnegative) in points.iter_mut().zip(nonnegative).take(hierarchy.series()) {
            *point = if *nonnegative { point.max(0.0) } else { *point };
        }
        for sum in 0..hierarchy.sums() {
            points[hierarchy.series() + sum] = hierarchy.members(sum).map(|series| points[series]).sum();
        }
        points
    }

    /// The covariance of the nodes of this hierarchy; a silent series has no error to speak of.
    fn covariance_of(&self, hierarchy: &Hierarchy, keys: &[String], silent: &[bool]) -> Covariance {
        let Covariance { shrinkage, steps, .. } = self.covariance;
        let mut out = Covariance { shrinkage, steps, variances: Vec::new(), scaled: Vec::new() };
        for (node, key) in keys.iter().enumerate() {
            let (row, variance) = match (self.method, self.rows.get(key)) {
                (Reconciliation::Ols, _) => (None, 1.0),
                (_, Some(row)) => (Some(*row), self.covariance.variances[*row]),
                (_, None) => (None, self.variance * size(hierarchy, node)),
            };
            let is_silent = silent[node] && node < hierarchy.series();
            out.variances.push(if is_silent { 0.0 } else { variance });
            match row {
                Some(row) => out.scaled.extend_from_slice(self.covariance.row(row)),
                None => out.scaled.extend(std::iter::repeat_n(0.0, steps)),
            }
        }
        out
    }

    /// What it learnt of the nodes.
    pub fn nodes(&self) -> NodeErrors {
        let mut rows: Vec<(&String, &usize)> = self.rows.iter().collect();
        rows.sort_unstable();
        NodeErrors {
            keys: rows.iter().map(|(key, _)| (*key).clone()).collect(),
            variances: rows.iter().map(|(_, row)| self.covariance.variances[**row]).collect(),
            scaled: rows.iter().flat_map(|(_, row)| self.covariance.row(**row)).copied().collect(),
        }
    }

    /// The reconciler with what it learnt of the nodes; none where the two do not fit together.
    pub fn with_nodes(mut self, nodes: NodeErrors) -> Option<Self> {
        let NodeErrors { keys, variances, scaled } = nodes;
        let covariance = &mut self.covariance;
        let sound = variances.len() == keys.len()
            && keys.len().checked_mul(covariance.steps) == Some(scaled.len())
            && variances.iter().all(|v| *v > 0.0 && v.is_finite())
            && scaled.iter().all(|z| (-1.0..=1.0).contains(z))
            && (0.0..=1.0).contains(&covariance.shrinkage)
            && self.variance > 0.0
            && self.variance.is_finite();
        (covariance.variances, covariance.scaled) = (variances, scaled);
        self.rows = keys.into_iter().zip(0..).collect();
        sound.then_some(self)
    }
}

/// Number of series of a node.
fn size(hierarchy: &Hierarchy, node: usize) -> f64 {
    node.checked_sub(hierarchy.series()).map_or(1.0, |sum| hierarchy.members(sum).count() as f64)
}

/// Moves quantiles with their point.
fn shift(quantiles: &mut [f64], from: f64, to: f64, nonnegative: bool) {
    let below = if nonnegative && to < from { to / from } else { 1.0 };
    for quantile in quantiles {
        let distance = *quantile - from;
        *quantile = to + if distance < 0.0 { distance * below } else { distance };
        *quantile = if nonnegative { quantile.max(0.0) } else { *quantile };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_their_order_and_the_point_among_them() {
        let mut row = [2.0, 8.0, 10.0, 15.0];
        shift(&mut row, 10.0, 5.0, true);
        assert_eq!(row, [1.0, 4.0, 5.0, 10.0]);
        shift(&mut row, 5.0, 7.0, true);
        assert_eq!(row, [3.0, 6.0, 7.0, 12.0]);
        shift(&mut row, 7.0, 0.0, true);
        assert_eq!(row, [0.0, 0.0, 0.0, 5.0]);
        shift(&mut row, 0.0, -4.0, false);
        assert_eq!(row, [-4.0, -4.0, -4.0, 1.0]);
    }

    #[test]
    fn words_are_methods_in_any_case() {
        assert_eq!(Reconciliation::parse("mint").unwrap(), Reconciliation::Mint);
        let error = Reconciliation::parse("mnit").unwrap_err();
        assert_eq!(error.message(), "unknown RECONCILE mnit; did you mean MINT?");
        assert_eq!(error.hint(), Some("RECONCILE takes BOTTOM_UP, OLS, WLS, MINT"));
        assert_eq!(
            (Reconciliation::usual(11), Reconciliation::usual(12)),
            (Reconciliation::Wls, Reconciliation::Mint)
        );
    }
}
