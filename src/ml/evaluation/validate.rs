//! Windows at the end of every series, held out to score forecasts.

use crate::ml::evaluation::levels::{at_level, interval};
use crate::ml::forecaster::{Forecast, Scores};
use crate::ml::metrics::{Accumulator, quantile_loss_term, rmsse_scale, seasonal_scale, smape_term};
use crate::ml::series::Panel;

/// What errors of a series are divided by, for MASE and for RMSSE; none where that says nothing.
pub type Scale = (Option<f64>, Option<f64>);

/// The scale of a series with this history.
pub fn scale(history: &[f64], season_length: usize) -> Scale {
    let positive = |scale: Option<f64>| scale.filter(|s| *s > 0.0);
    (positive(seasonal_scale(history, season_length)), positive(rmsse_scale(history)))
}

/// A panel as it was before a window, and what came true in it.
#[derive(Debug)]
pub struct Holdout {
    panel: Panel,
    actual: Vec<f64>,
    scales: Vec<Scale>,
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
            scales.push(scale(&history[..left], panel.season_length));
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

    /// What the errors of every series are divided by: its in-sample seasonal mean absolute difference, of a history
    /// that has none the root of its mean squared change from step to step; NaN where that says nothing, either.
    pub fn scales(&self) -> Vec<f64> {
        self.scales.iter().map(|(seasonal, steps)| seasonal.or(*steps).unwrap_or(f64::NAN)).collect()
    }
}

/// Scores forecasts of windows, series by series.
#[derive(Debug)]
pub struct Scorer<'a> {
    /// Levels at which quantiles are scored; the outermost two make the interval.
    levels: &'a [f64],
    series: Vec<ScoreSums>,
}

impl<'a> Scorer<'a> {
    /// Nothing is scored yet.
    pub fn new(levels: &'a [f64]) -> Self {
        Self { levels, series: Vec::new() }
    }

    /// Adds a forecast of a window.
    pub fn add(&mut self, holdout: &Holdout, forecast: &Forecast) {
        self.series.resize(holdout.panel.len().max(self.series.len()), ScoreSums::default());
        for (i, sums) in self.series.iter_mut().enumerate().take(holdout.panel.len()) {
            let actual = &holdout.actual[i * holdout.length..(i + 1) * holdout.length];
            sums.add(holdout.scales[i], i, actual, forecast, self.levels);
        }
    }

    /// The scores of all that was added.
    pub fn scores(&self) -> Scores {
        ScoreSums::all(&self.series).scores()
    }

    /// What was added, by series.
    pub fn into_series(self) -> Vec<ScoreSums> {
        self.series
    }
}

/// Sums over scored points, of which every score is a quotient; those of several series merge.
///
/// Errors are pooled over all observed points. MASE is the mean over points of |error| over the
/// in-sample seasonal scale of their series; RMSSE is the mean over series and windows; series whose scale is
/// zero or undefined are left out of both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoreSums {
    n_series: usize,
    terms: [Accumulator; TERMS],
}

/// Number of quotients.
const TERMS: usize = 10;
/// Places of the quotients.
const ABSOLUTE: usize = 0;
const SQUARED: usize = 1;
const WEIGHTED: usize = 2;
const BIAS: usize = 3;
const SMAPE: usize = 4;
const MASE: usize = 5;
const RMSSE: usize = 6;
const QUANTILE_LOSS: usize = 7;
const COVERAGE: usize = 8;
const WIDTH: usize = 9;

impl ScoreSums {
    /// Numbers that [`ScoreSums::to_numbers`] gives.
    pub const NUMBERS: usize = 2 * TERMS + 1;

    /// Adds the forecast of a window of series `i`; `levels` are those at which quantiles are scored.
    pub fn add(&mut self, scale: Scale, i: usize, actual: &[f64], forecast: &Forecast, levels: &[f64]) {
        let mut squared = Accumulator::default();
        for (step, y) in actual.iter().enumerate().filter(|(_, y)| !y.is_nan()) {
            let error = self.add_step(scale.0, *y, i * forecast.horizon + step, forecast, levels);
            squared.add(error * error);
        }
        self.terms[SQUARED].merge(squared);
        if let (Some(error), Some(scale)) = (squared.value(), scale.1) {
            self.terms[RMSSE].add(error.sqrt() / scale);
        }
        self.n_series = usize::from(self.terms[SQUARED].weight > 0.0);
    }

    /// Adds all but the squared error; returns the error.
    fn add_step(
        &mut self,
        scale: Option<f64>,
        y: f64,
        at: usize,
        forecast: &Forecast,
        levels: &[f64],
    ) -> f64 {
        let (width, terms) = (forecast.quantile_levels.len(), &mut self.terms);
        let error = forecast.point[at] - y;
        terms[ABSOLUTE].add(error.abs());
        terms[WEIGHTED].add_weighted(error.abs(), y.abs());
        terms[BIAS].add_weighted(error, y.abs());
        terms[SMAPE].add(smape_term(y, forecast.point[at]));
        if let Some(scale) = scale {
            terms[MASE].add(error.abs() / scale);
        }
        let row = &forecast.quantiles[at * width..(at + 1) * width];
        for level in levels {
            let quantile = at_level(&forecast.quantile_levels, row, *level);
            terms[QUANTILE_LOSS].add(quantile_loss_term(y, quantile, *level));
        }
        if let [first, .., last] = levels {
            let (low, high) = interval(&forecast.quantile_levels, row, *first, *last);
            terms[COVERAGE].add(f64::from(u8::from(low <= y && y <= high)));
            terms[WIDTH].add(high - low);
        }
        error
    }

    /// Adds what other series or windows summed up; series are counted once each.
    pub fn merge(&mut self, other: &Self) {
        self.n_series += other.n_series;
        self.terms.iter_mut().zip(other.terms).for_each(|(term, other)| term.merge(other));
    }

    /// True where no point was scored.
    pub fn is_empty(&self) -> bool {
        self.terms[ABSOLUTE].weight == 0.0
    }

    /// All of them together.
    pub fn all<'a>(series: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sums = Self::default();
        series.into_iter().for_each(|other| sums.merge(other));
        sums
    }

    /// The scores.
    pub fn scores(&self) -> Scores {
        let value = |term: usize| self.terms[term].value();
        Scores {
            n_series: self.n_series,
            n: self.terms[ABSOLUTE].weight as usize,
            mae: value(ABSOLUTE),
            rmse: value(SQUARED).map(f64::sqrt),
            wape: value(WEIGHTED),
            smape: value(SMAPE),
            mase: value(MASE),
            rmsse: value(RMSSE),
            bias: value(BIAS),
            quantile_loss: value(QUANTILE_LOSS),
            coverage: value(COVERAGE),
            interval_width: value(WIDTH),
        }
    }

    /// The sums as plain numbers, to be stored.
    pub fn to_numbers(&self) -> [f64; Self::NUMBERS] {
        let mut numbers = [self.n_series as f64; Self::NUMBERS];
        for (pair, term) in numbers[1..].chunks_exact_mut(2).zip(self.terms) {
            pair.copy_from_slice(&[term.sum, term.weight]);
        }
        numbers
    }

    /// What [`ScoreSums::to_numbers`] gave.
    pub fn from_numbers(numbers: &[f64; Self::NUMBERS]) -> Self {
        let mut sums = Self { n_series: numbers[0] as usize, ..Self::default() };
        for (term, pair) in sums.terms.iter_mut().zip(numbers[1..].chunks_exact(2)) {
            *term = Accumulator { sum: pair[0], weight: pair[1] };
        }
        sums
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
        let series = scorer.into_series();
        let read: Vec<ScoreSums> =
            series.iter().map(|sums| ScoreSums::from_numbers(&sums.to_numbers())).collect();
        assert_eq!((&read, ScoreSums::all(&read).scores()), (&series, scores));
        assert_eq!((series[1].scores().n, series[1].scores().mae), (0, None));
    }
}
