//! What was asked for, from quantiles at all levels: other levels, intervals, means and sample paths.

use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::levels::{at_level, central, interval, mean};
use crate::ml::evaluation::{Dependence, LEVELS, PathOptions, WIDTH, draw};
use crate::ml::forecaster::{Forecast, PredictOptions};

/// Series whose paths are drawn between two looks at the control.
const SERIES_PER_CHECK: usize = 16;

/// Forecasts at [`LEVELS`], and what is needed to say more of them.
pub(super) struct Answer<'a> {
    pub(super) all: Forecast,
    /// Keys of the series.
    pub(super) keys: &'a [String],
    /// The values that each series may take.
    pub(super) limits: Vec<(f64, f64)>,
    pub(super) dependence: Dependence,
}

impl Answer<'_> {
    /// The forecast with what was asked for.
    pub(super) fn forecast(mut self, options: &PredictOptions, control: &Control) -> Result<Forecast> {
        let (levels, intervals) = (&options.quantile_levels, &options.interval_levels);
        let rows = self.all.point.len();
        let mut out = Forecast {
            horizon: self.all.horizon,
            quantile_levels: levels.clone(),
            quantiles: Vec::with_capacity(rows * levels.len()),
            intervals: Vec::with_capacity(rows * intervals.len()),
            ..Forecast::default()
        };
        for (row, at) in self.all.quantiles.chunks_exact(WIDTH).zip(0..) {
            let limits = self.limits(at / self.all.horizon.max(1), row);
            let within = |y: f64| y.clamp(limits.0, limits.1);
            out.quantiles.extend(levels.iter().map(|level| within(at_level(&LEVELS, row, *level))));
            out.intervals.extend(intervals.iter().map(|level| {
                let (below, above) = central(*level);
                let (lower, upper) = interval(&LEVELS, row, below, above);
                (within(lower), within(upper))
            }));
        }
        if let Some(paths) = options.paths {
            out.paths = self.paths(paths, control)?;
        }
        out.point = match options.mean {
            true => self.all.quantiles.chunks_exact(WIDTH).map(mean).collect(),
            false => std::mem::take(&mut self.all.point),
        };
        out.status = self.all.status;
        Ok(out)
    }

    /// What lies beyond the outermost levels is extrapolated, and bounded as they are.
    fn limits(&self, series: usize, row: &[f64]) -> (f64, f64) {
        let (low, high) = self.limits[series];
        let (low, high) = if high > 0.0 { (low, high) } else { (f64::MIN, f64::MAX) };
        (low.min(row[0]), high.max(row[WIDTH - 1]))
    }

    fn paths(&self, options: PathOptions, control: &Control) -> Result<Vec<f64>> {
        let size = self.all.horizon * WIDTH;
        let mut out = Vec::with_capacity(self.keys.len() * options.count * self.all.horizon);
        for first in (0..self.keys.len()).step_by(SERIES_PER_CHECK) {
            control.check()?;
            let some = first..(first + SERIES_PER_CHECK).min(self.keys.len());
            let drawn: Vec<Vec<f64>> = some
                .into_par_iter()
                .map(|series| {
                    let rows = &self.all.quantiles[series * size..(series + 1) * size];
                    let (low, high) = self.limits[series];
                    let mut paths = Vec::with_capacity(options.count * self.all.horizon);
                    draw(rows, &self.keys[series], &self.dependence, options, &mut paths);
                    if high > 0.0 {
                        paths.iter_mut().for_each(|y| *y = y.clamp(low, high));
                    }
                    paths
                })
                .collect();
            drawn.into_iter().for_each(|paths| out.extend(paths));
        }
        Ok(out)
    }
}
