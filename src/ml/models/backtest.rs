//! A backtest: forecasts of windows of the past by what was known before each.

use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::forecaster::{Family, FitOptions, FittedForecaster, Forecast, PredictOptions};
use crate::ml::hierarchy::{Hierarchy, SummedRow, Summing};
use crate::ml::models::family::{fit, fit_coherent, held_out};
use crate::ml::reconciliation::Reconciliation;
use crate::ml::series::Panel;

/// How a backtest rolls over the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    /// Number of windows; the last one ends where the data ends.
    pub windows: usize,
    /// Steps from a window to the next.
    pub step: usize,
    /// Steps of a window.
    pub horizon: usize,
    /// Windows after which models are fitted again; `None` fits once, before the first window.
    pub refit_every: Option<usize>,
}

impl Rolling {
    /// The last periods before the windows, the earliest first.
    pub fn cutoffs(&self, panel: &Panel) -> Vec<i64> {
        let Some(last) = panel.last_period() else { return Vec::new() };
        let back = |window: usize| (self.horizon + window * self.step) as i64;
        (0..self.windows).rev().map(|window| last - back(window)).collect()
    }

    /// Fails where nothing is left to learn from before the first window.
    pub fn check(&self, panel: &Panel) -> Result<()> {
        let steps = self.horizon + self.windows.saturating_sub(1) * self.step;
        let first = self.cutoffs(panel).first().copied().unwrap_or(i64::MIN);
        let longest = |panel: &Panel| panel.history.iter().max().copied().unwrap_or(0);
        if longest(&panel.as_of(first, 0).0) > 1 {
            return Ok(());
        }
        let windows = match self.windows {
            1 => format!("a window of {} steps leaves", self.horizon),
            windows => format!(
                "{windows} windows of {} steps, {} apart, reach back {steps} steps and leave",
                self.horizon, self.step
            ),
        };
        Err(Error::data(format!(
            "{windows} nothing to learn from: the longest series has {}",
            longest(panel)
        ))
        .with_hint("ask for fewer windows, a smaller step or a shorter horizon"))
    }
}

/// All series, whose histories end together where they are summed.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The series.
    pub panel: &'a Panel,
    /// How they are summed, and reconciled where it is not the usual way.
    pub sums: Option<(&'a Summing, Option<Reconciliation>)>,
}

/// Forecasts of one window.
#[derive(Debug)]
pub struct BacktestWindow {
    /// The last period that was known.
    pub cutoff: i64,
    /// The model was fitted for this window.
    pub refit: bool,
    /// What is forecast: the series that had begun, and their sums.
    pub rows: Vec<SummedRow>,
    /// The panel as it was.
    pub panel: Panel,
    /// Its forecasts.
    pub forecast: Forecast,
}

/// A past as it was at a time.
struct Known {
    panel: Panel,
    hierarchy: Option<Hierarchy>,
    rows: Vec<SummedRow>,
}

impl Past<'_> {
    /// What was known at the end of a period, and of `future` steps after it.
    fn as_of(&self, period: i64, future: usize) -> Known {
        let (panel, series) = self.panel.as_of(period, future);
        let Some((summing, _)) = self.sums else {
            let rows = series.into_iter().enumerate();
            let rows = rows.map(|(node, row)| SummedRow { row, whole: row, node }).collect();
            return Known { panel, hierarchy: None, rows };
        };
        let hierarchy = summing.among(&series);
        let rows = summing.rows(&hierarchy, &series);
        Known { panel: hierarchy.aggregate(&panel), hierarchy: Some(hierarchy), rows }
    }

    /// Fits families to what was known at the end of a period.
    fn fit(
        &self,
        families: &[Family],
        period: i64,
        options: &FitOptions,
        control: &Control,
    ) -> Result<Arc<dyn FittedForecaster>> {
        let Known { panel, hierarchy, .. } = self.as_of(period, 0);
        let method = self.sums.and_then(|(_, method)| method);
        let fitted = match &hierarchy {
            None => fit(families, &panel, options, control),
            Some(hierarchy) => {
                let (windows, length) = held_out(&panel, options);
                let method = method.unwrap_or(Reconciliation::usual(windows * length));
                fit_coherent(families, &panel, hierarchy, method, options, control)
            }
        };
        Ok(fitted?.0)
    }
}

/// Forecasts the windows, each by a model that learnt from nothing after the cutoff of its fit and looks back from its
/// own; models are fitted side by side.
pub fn backtest(
    families: &[Family],
    past: Past<'_>,
    options: &FitOptions,
    wanted: &PredictOptions,
    rolling: &Rolling,
    control: &Arc<Control>,
) -> Result<Vec<BacktestWindow>> {
    rolling.check(past.panel)?;
    let cutoffs = rolling.cutoffs(past.panel);
    let fits: Vec<&[i64]> = cutoffs.chunks(rolling.refit_every.unwrap_or(cutoffs.len()).max(1)).collect();
    let share = 1.0 / fits.len() as f64;
    let run = |cutoffs: &&[i64]| -> Result<Vec<BacktestWindow>> {
        let control = Control::part(control, share);
        let first = cutoffs.first().copied().unwrap_or_default();
        let model = past.fit(families, first, options, &control)?;
        let windows = cutoffs.iter().map(|cutoff| window(&*model, past, (*cutoff, first), wanted, &control));
        let windows = windows.collect();
        control.report(|p| p.fraction = 1.0);
        windows
    };
    let windows = fits.par_iter().with_max_len(1).map(run).collect::<Result<Vec<_>>>()?;
    Ok(windows.into_iter().flatten().collect())
}

/// Seasonal naive for these windows, each series and sum for itself.
pub fn naive(
    past: Past<'_>,
    cutoffs: &[i64],
    options: &FitOptions,
    wanted: &PredictOptions,
    control: &Control,
) -> Result<Vec<BacktestWindow>> {
    let first = cutoffs.first().copied().unwrap_or_default();
    let (model, _) = fit(&[Family::SeasonalNaive], &past.as_of(first, 0).panel, options, control)?;
    cutoffs.iter().map(|cutoff| window(&*model, past, (*cutoff, first), wanted, control)).collect()
}

/// The forecasts of a fitted model after a cutoff.
pub fn window(
    model: &dyn FittedForecaster,
    past: Past<'_>,
    (cutoff, fitted): (i64, i64),
    wanted: &PredictOptions,
    control: &Control,
) -> Result<BacktestWindow> {
    control.check()?;
    let Known { panel, hierarchy, rows } = past.as_of(cutoff, wanted.horizon);
    let forecast = match &hierarchy {
        None => model.predict(&panel, wanted, control)?,
        Some(hierarchy) => model.predict_coherent(&panel, hierarchy, wanted, control)?,
    };
    Ok(BacktestWindow { cutoff, refit: cutoff == fitted, rows, panel, forecast })
}

impl BacktestWindow {
    /// The steps of a row that came true after the cutoff, as places in the panel of all series and sums, each with its
    /// step.
    pub fn steps<'a>(
        &'a self,
        whole: &'a Panel,
        row: &SummedRow,
    ) -> impl Iterator<Item = (usize, usize)> + 'a {
        let (i, first) = (row.whole, self.panel.first_step(row.node));
        let begin = usize::try_from(first - whole.start[i]).unwrap_or(0);
        let end = (begin + self.forecast.horizon).min(whole.history[i]);
        (begin..end).enumerate().map(move |(step, row)| (whole.offsets[i] + row, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::Frequency;

    fn panel(lengths: &[(i64, usize)]) -> Panel {
        let mut offsets = vec![0];
        lengths.iter().for_each(|(_, n)| offsets.push(offsets[offsets.len() - 1] + n));
        Panel {
            frequency: Frequency::Days(1),
            origin: 0,
            season_length: 7,
            keys: (0..lengths.len()).map(|i| format!("s={i}")).collect(),
            target: (0..offsets[lengths.len()]).map(|row| (row % 7) as f64).collect(),
            offsets,
            history: lengths.iter().map(|(_, n)| *n).collect(),
            start: lengths.iter().map(|(start, _)| *start).collect(),
            known: Vec::new(),
            past: Vec::new(),
            statics: Vec::new(),
            lines: Vec::new(),
        }
    }

    #[test]
    fn windows_end_with_the_data_and_series_take_part_once_they_have_begun() {
        // One series to period 39, one that begins late, one that has ended.
        let panel = panel(&[(0, 40), (30, 10), (0, 20)]);
        let rolling = Rolling { windows: 3, step: 4, horizon: 5, refit_every: Some(2) };
        assert_eq!(rolling.cutoffs(&panel), [26, 30, 34]);
        let (options, control) = (FitOptions { horizon: 5, ..FitOptions::default() }, Arc::default());
        let wanted = PredictOptions { horizon: 5, ..PredictOptions::default() };
        let past = Past { panel: &panel, sums: None };
        let windows =
            backtest(&[Family::SeasonalNaive], past, &options, &wanted, &rolling, &control).unwrap();
        assert_eq!(windows.iter().map(|w| w.refit).collect::<Vec<_>>(), [true, false, true]);
        let series = |w: &BacktestWindow| w.rows.iter().map(|row| row.row).collect::<Vec<_>>();
        assert_eq!(series(&windows[0]), [0, 2]);
        assert_eq!(series(&windows[1]), [0, 1, 2]);
        let steps: Vec<_> = windows[1].steps(&panel, &windows[1].rows[1]).collect();
        assert_eq!(steps, [(41, 0), (42, 1), (43, 2), (44, 3), (45, 4)]);
        assert_eq!(windows[1].steps(&panel, &windows[1].rows[2]).count(), 0);
        let point: Vec<f64> = windows[2].forecast.point[..5].to_vec();
        assert_eq!(point, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(control.progress().fraction, 1.0);
    }

    #[test]
    fn too_many_windows_are_an_error() {
        let rolling = Rolling { windows: 1, step: 1, horizon: 19, refit_every: None };
        assert_eq!(
            rolling.check(&panel(&[(0, 20)])).unwrap_err().message(),
            "a window of 19 steps leaves nothing to learn from: the longest series has 20"
        );
        assert!(rolling.check(&panel(&[(0, 21)])).is_ok());
    }
}
