//! The last steps of every series, held out to score forecasts.

use crate::ml::forecaster::{Forecast, Scores};
use crate::ml::metrics::{Accumulator, quantile_loss_term, rmsse_scale, seasonal_scale, smape_term};
use crate::ml::series::Panel;

/// A panel as it was before the validation steps, and what came true in them.
#[derive(Debug)]
pub struct Holdout {
    panel: Panel,
    actual: Vec<f64>,
    length: usize,
}

impl Holdout {
    /// Holds out the last `length` steps of every history; of a series with no more than that nothing is
    /// left, and it is not scored.
    pub fn new(panel: &Panel, length: usize) -> Self {
        let mut actual = Vec::with_capacity(panel.len() * length);
        for i in 0..panel.len() {
            let history = panel.history_of(i);
            match history.len().checked_sub(length) {
                Some(left) if left > 0 => actual.extend_from_slice(&history[left..]),
                _ => actual.extend(std::iter::repeat_n(f64::NAN, length)),
            }
        }
        Self { panel: panel.hold_out(length), actual, length }
    }

    /// The panel whose history ends where validation begins.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// `[series, length]`; NaN where nothing was observed or nothing is scored.
    pub fn actual(&self) -> &[f64] {
        &self.actual
    }

    /// Number of held-out steps.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Scores a forecast of these steps.
    ///
    /// Errors are pooled over all observed points. MASE is the mean over points of |error| over the
    /// in-sample seasonal scale of their series; RMSSE is the mean over series; series whose scale is
    /// zero or undefined are left out of both.
    pub fn scores(&self, forecast: &Forecast) -> Scores {
        let mut sums = Sums::new(forecast);
        for i in 0..self.panel.len() {
            let actual = &self.actual[i * self.length..(i + 1) * self.length];
            if actual.iter().any(|y| !y.is_nan()) {
                sums.add_series(&self.panel, i, actual, forecast);
            }
        }
        sums.scores()
    }
}

#[derive(Default)]
struct Sums {
    n_series: usize,
    absolute: Accumulator,
    squared: Accumulator,
    weighted: Accumulator,
    bias: Accumulator,
    smape: Accumulator,
    mase: Accumulator,
    rmsse: Accumulator,
    quantile_loss: Accumulator,
    coverage: Accumulator,
    width: Accumulator,
    /// Places of the lowest and highest level, where there are two.
    interval: Option<(usize, usize)>,
}

impl Sums {
    fn new(forecast: &Forecast) -> Self {
        let levels = forecast.quantile_levels.len();
        Self { interval: (levels > 1).then(|| (0, levels - 1)), ..Self::default() }
    }

    fn add_series(&mut self, panel: &Panel, i: usize, actual: &[f64], forecast: &Forecast) {
        let history = panel.history_of(i);
        let scale = seasonal_scale(history, panel.season_length).filter(|scale| *scale > 0.0);
        let levels = &forecast.quantile_levels;
        let mut squared = Accumulator::default();
        self.n_series += 1;
        for (step, y) in actual.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
            let at = i * forecast.horizon + step;
            let error = forecast.point[at] - y;
            self.absolute.add(error.abs());
            squared.add(error * error);
            self.weighted.add_weighted(error.abs(), y.abs());
            self.bias.add_weighted(error, y.abs());
            self.smape.add(smape_term(*y, forecast.point[at]));
            if let Some(scale) = scale {
                self.mase.add(error.abs() / scale);
            }
            let quantiles = &forecast.quantiles[at * levels.len()..(at + 1) * levels.len()];
            for (q, level) in quantiles.iter().zip(levels) {
                self.quantile_loss.add(quantile_loss_term(*y, *q, *level));
            }
            if let Some((low, high)) = self.interval {
                let inside = quantiles[low] <= *y && *y <= quantiles[high];
                self.coverage.add(f64::from(u8::from(inside)));
                self.width.add(quantiles[high] - quantiles[low]);
            }
        }
        self.squared.merge(squared);
        if let (Some(error), Some(scale)) = (squared.value(), rmsse_scale(history).filter(|s| *s > 0.0)) {
            self.rmsse.add(error.sqrt() / scale);
        }
    }

    fn scores(self) -> Scores {
        Scores {
            n_series: self.n_series,
            n: self.absolute.weight as usize,
            mae: self.absolute.value(),
            rmse: self.squared.value().map(f64::sqrt),
            wape: self.weighted.value(),
            smape: self.smape.value(),
            mase: self.mase.value(),
            rmsse: self.rmsse.value(),
            bias: self.bias.value(),
            quantile_loss: self.quantile_loss.value(),
            coverage: self.coverage.value(),
            interval_width: self.width.value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::Frequency;

    #[test]
    fn scores_by_hand_and_short_series_left_out() {
        let panel = Panel {
            frequency: Frequency::Integer(1),
            origin: 0,
            season_length: 1,
            keys: vec!["a".into(), "b".into(), "c".into()],
            offsets: vec![0, 5, 7, 11],
            history: vec![5, 2, 4],
            start: vec![0; 3],
            target: vec![1.0, 3.0, 5.0, 6.0, f64::NAN, 8.0, 9.0, 4.0, 4.0, 5.0, 5.0],
            known: Vec::new(),
            past: Vec::new(),
            statics: Vec::new(),
        };
        let holdout = Holdout::new(&panel, 2);
        assert_eq!(holdout.panel().history, [3, 0, 2]);
        let forecast = Forecast {
            horizon: 2,
            quantile_levels: vec![0.1, 0.9],
            point: vec![5.0, 5.0, 0.0, 0.0, 4.0, 4.0],
            quantiles: vec![4.0, 6.0, 4.0, 6.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 3.0, 5.0],
            status: vec![None; 3],
        };
        let scores = holdout.scores(&forecast);
        assert_eq!((scores.n_series, scores.n), (2, 3));
        assert_eq!((scores.mae, scores.rmse, scores.mase), (Some(1.0), Some(1.0), Some(0.5)));
        assert_eq!((scores.wape, scores.bias), (Some(3.0 / 16.0), Some(-3.0 / 16.0)));
        assert_eq!((scores.coverage, scores.interval_width), (Some(2.0 / 3.0), Some(5.0 / 3.0)));
        assert_eq!(scores.rmsse, Some(0.5));
    }
}
