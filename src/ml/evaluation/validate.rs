//! Windows at the end of every series, held out to score forecasts.

use crate::ml::evaluation::levels::{at_level, interval};
use crate::ml::forecaster::{Forecast, Scores};
use crate::ml::metrics::{Accumulator, quantile_loss_term, rmsse_scale, seasonal_scale, smape_term};
use crate::ml::series::Panel;

/// A panel as it was before a window, and what came true in it.
#[derive(Debug)]
pub struct Holdout {
    panel: Panel,
    actual: Vec<f64>,
    /// What errors of a series are divided by, for MASE and for RMSSE.
    scales: Vec<(Option<f64>, Option<f64>)>,
    length: usize,
}

impl Holdout {
    /// Holds out the window of `length` steps that begins `back` steps before the end of every history; a series
    /// with no more than that before it is not scored. The history before it is that of `learnt`, the same panel
    /// with its outliers treated.
    pub fn new(panel: &Panel, learnt: &Panel, back: usize, length: usize) -> Self {
        let mut actual = Vec::with_capacity(panel.len() * length);
        let mut scales = Vec::with_capacity(panel.len());
        for i in 0..panel.len() {
            let history = panel.history_of(i);
            let left = history.len().saturating_sub(back);
            match left {
                0 => actual.extend(std::iter::repeat_n(f64::NAN, length)),
                _ => actual.extend_from_slice(&history[left..left + length]),
            }
            let scale = seasonal_scale(&history[..left], panel.season_length);
            scales.push((scale.filter(|s| *s > 0.0), rmsse_scale(&history[..left]).filter(|s| *s > 0.0)));
        }
        Self { panel: learnt.hold_out(back), actual, scales, length }
    }

    /// The panel whose history ends where the window begins.
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

    /// What the errors of every series are divided by: its in-sample seasonal mean absolute difference; NaN where
    /// that says nothing.
    pub fn scales(&self) -> Vec<f64> {
        self.scales.iter().map(|(scale, _)| scale.unwrap_or(f64::NAN)).collect()
    }
}

/// Scores forecasts of windows.
///
/// Errors are pooled over all observed points. MASE is the mean over points of |error| over the
/// in-sample seasonal scale of their series; RMSSE is the mean over series and windows; series whose scale is
/// zero or undefined are left out of both.
#[derive(Debug)]
pub struct Scorer<'a> {
    /// Levels at which quantiles are scored; the outermost two make the interval.
    levels: &'a [f64],
    sums: Sums,
}

impl<'a> Scorer<'a> {
    /// Nothing is scored yet.
    pub fn new(levels: &'a [f64]) -> Self {
        Self { levels, sums: Sums::default() }
    }

    /// Adds a forecast of a window; the more series of it count, the more it does.
    pub fn add(&mut self, holdout: &Holdout, forecast: &Forecast) {
        let mut scored = 0;
        for i in 0..holdout.panel.len() {
            let actual = &holdout.actual[i * holdout.length..(i + 1) * holdout.length];
            if actual.iter().any(|y| !y.is_nan()) {
                self.sums.add_series(holdout.scales[i], i, actual, forecast, self.levels);
                scored += 1;
            }
        }
        self.sums.n_series = self.sums.n_series.max(scored);
    }

    /// The scores of all that was added.
    pub fn scores(self) -> Scores {
        self.sums.scores()
    }
}

#[derive(Debug, Default)]
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
}

impl Sums {
    fn add_series(
        &mut self,
        (scale, rmsse_scale): (Option<f64>, Option<f64>),
        i: usize,
        actual: &[f64],
        forecast: &Forecast,
        levels: &[f64],
    ) {
        let width = forecast.quantile_levels.len();
        let mut squared = Accumulator::default();
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
            let row = &forecast.quantiles[at * width..(at + 1) * width];
            let quantile = |level: f64| at_level(&forecast.quantile_levels, row, level);
            for level in levels {
                self.quantile_loss.add(quantile_loss_term(*y, quantile(*level), *level));
            }
            if let [first, .., last] = levels {
                let (low, high) = interval(&forecast.quantile_levels, row, *first, *last);
                self.coverage.add(f64::from(u8::from(low <= *y && *y <= high)));
                self.width.add(high - low);
            }
        }
        self.squared.merge(squared);
        if let (Some(error), Some(scale)) = (squared.value(), rmsse_scale) {
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
            lines: Vec::new(),
        };
        let holdout = Holdout::new(&panel, &panel, 2, 2);
        assert_eq!(holdout.panel().history, [3, 0, 2]);
        let forecast = Forecast {
            horizon: 2,
            quantile_levels: vec![0.1, 0.9],
            point: vec![5.0, 5.0, 0.0, 0.0, 4.0, 4.0],
            quantiles: vec![4.0, 6.0, 4.0, 6.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0, 3.0, 5.0],
            status: vec![None; 3],
            ..Forecast::default()
        };
        let mut scorer = Scorer::new(&forecast.quantile_levels);
        scorer.add(&holdout, &forecast);
        let scores = scorer.scores();
        assert_eq!((scores.n_series, scores.n), (2, 3));
        assert_eq!((scores.mae, scores.rmse, scores.mase), (Some(1.0), Some(1.0), Some(0.5)));
        assert_eq!((scores.wape, scores.bias), (Some(3.0 / 16.0), Some(-3.0 / 16.0)));
        assert_eq!((scores.coverage, scores.interval_width), (Some(2.0 / 3.0), Some(5.0 / 3.0)));
        assert_eq!(scores.rmsse, Some(0.5));
    }
}
