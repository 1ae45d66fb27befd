//! Seasonal naive: every step takes the latest observed value of its position in the season.
//!
//! With season 7 the forecast of next Monday is the last Monday that was observed, as in Hyndman and
//! Athanasopoulos, "Forecasting: Principles and Practice", 5.2; a missing value is passed over.

use crate::ml::evaluation::PointForecast;
use crate::ml::forecaster::Status;
use crate::ml::models::local::{self, Rule};

/// The rule itself.
#[derive(Debug)]
pub(super) struct SeasonalNaive;

impl Rule for SeasonalNaive {
    const PARAMETERS: usize = 0;
    const SECONDS: f64 = 2e-5;

    fn choose(_: &[f64], _: usize) -> Option<Vec<f64>> {
        Some(Vec::new())
    }

    fn run(_: &[f64], history: &[f64], season_length: usize, horizon: usize) -> Option<PointForecast> {
        Some(forecast(history, season_length, horizon))
    }
}

/// The forecast of one series, and its errors wherever the rule could have been applied before.
///
/// Before a season is complete the rule is the last observed value, and so are the errors.
pub(super) fn forecast(history: &[f64], season_length: usize, horizon: usize) -> PointForecast {
    let mut latest = vec![f64::NAN; season_length];
    let mut last = None;
    let mut residuals = Vec::with_capacity(history.len().saturating_sub(season_length));
    let mut changes = vec![];
    for (row, y) in history.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
        let position = &mut latest[row % season_length];
        if !position.is_nan() {
            residuals.push(y - *position);
        } else if let Some(last) = last {
            changes.push(y - last);
        }
        *position = *y;
        last = Some(*y);
    }
    if residuals.is_empty() {
        residuals = changes;
    }
    let at = |step: usize| latest[(history.len() + step) % season_length];
    let point =
        (0..horizon).map(|step| if at(step).is_nan() { last.unwrap_or(0.0) } else { at(step) }).collect();
    let growth = local::root_growth(horizon, season_length);
    PointForecast { point, residuals, growth, level: local::level(history) }
}

/// What is special about a history: shorter than a season, or constant.
pub(super) fn status(history: &[f64], season_length: usize) -> Option<Status> {
    let mut observed = history.iter().filter(|y| !y.is_nan());
    let first = observed.next();
    let (mut count, mut constant) = (usize::from(first.is_some()), true);
    for y in observed {
        count += 1;
        constant &= Some(y) == first;
    }
    match (count, constant) {
        (0, _) => Some(Status::NoHistory),
        (1, _) => Some(Status::ShortHistory),
        (_, true) => Some(Status::ConstantSeries),
        (count, false) => (count < season_length).then_some(Status::ShortHistory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: f64 = f64::NAN;

    #[test]
    fn missing_values_are_passed_over() {
        let history = [1.0, 2.0, 3.0, 4.0, NULL, 6.0, 7.0];
        assert_eq!(forecast(&history, 3, 4).point, [2.0, 6.0, 7.0, 2.0]);
        assert_eq!(forecast(&history, 3, 4).residuals, [3.0, 3.0, 3.0]);
        assert_eq!(forecast(&[5.0, NULL, 7.0, 4.0], 7, 1).residuals, [2.0, -3.0]);
    }

    #[test]
    fn degenerate_histories_have_finite_forecasts_and_a_status() {
        for (history, point, expected) in [
            (&[][..], 0.0, Some(Status::NoHistory)),
            (&[NULL, NULL], 0.0, Some(Status::NoHistory)),
            (&[4.0], 4.0, Some(Status::ShortHistory)),
            (&[4.0, 5.0], 5.0, Some(Status::ShortHistory)),
            (&[0.0; 30], 0.0, Some(Status::ConstantSeries)),
            (&[2.5; 3], 2.5, Some(Status::ConstantSeries)),
        ] {
            let last = forecast(history, 7, 9).point[8 - history.len() % 7 % 2];
            assert_eq!((last, status(history, 7)), (point, expected), "{history:?}");
        }
    }
}
