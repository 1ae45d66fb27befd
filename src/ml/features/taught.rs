//! What another model forecast of the rows that are learnt from.

use crate::ml::rng::Rng;
use crate::ml::series::Panel;

/// Quantiles of the latest rows of a panel, each forecast from the history before it.
///
/// In half of the windows they stand for the values themselves: at one level a window, which take turns, so that a model
/// that learns from many windows learns the distributions that were forecast (Hinton et al. 2015).
#[derive(Debug, Clone, PartialEq)]
pub struct Taught {
    /// Levels of a row.
    levels: usize,
    series: Vec<TaughtSeries>,
}

#[derive(Debug, Clone, PartialEq)]
struct TaughtSeries {
    /// Hash of the key, which chooses levels: the order of the series changes nothing.
    key: u64,
    /// The first row that is told.
    first: usize,
    /// `[rows, levels]`; NaN where nothing is told.
    values: Vec<f32>,
}

impl Taught {
    /// Nothing yet of the last `rows` rows of every series of a panel.
    pub fn new(panel: &Panel, rows: usize, levels: usize) -> Self {
        let of = |s: usize| {
            let kept = panel.history[s].min(rows);
            TaughtSeries {
                key: Rng::new(0).fork(&panel.keys[s]).next_u64(),
                first: panel.history[s] - kept,
                values: vec![f32::NAN; kept * levels],
            }
        };
        Self { levels, series: (0..panel.len()).map(of).collect() }
    }

    /// Tells the quantiles of the rows from `first` on, `[rows, levels]`.
    pub fn tell(&mut self, series: usize, first: usize, quantiles: &[f64]) {
        let TaughtSeries { first: begin, values, .. } = &mut self.series[series];
        let into = values.get_mut((first - *begin) * self.levels..).unwrap_or_default();
        into.iter_mut().zip(quantiles).for_each(|(value, quantile)| *value = *quantile as f32);
    }

    /// True where nothing is told.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(|value| value.is_nan()))
    }

    /// Bytes of what is told of the last `rows` rows of so many series.
    pub fn bytes(series: usize, rows: usize, levels: usize) -> usize {
        series * rows * levels * size_of::<f32>()
    }

    /// What stands for the value of a row in the window that begins at row `origin` of its series; `None` for the value
    /// itself.
    pub fn of(&self, series: usize, origin: usize, row: usize) -> Option<f32> {
        let TaughtSeries { key, first, values } = &self.series[series];
        let draw = mixed(key.wrapping_add(origin as u64)) % (2 * self.levels as u64);
        let level = (draw as usize).checked_sub(self.levels)?;
        let value = values.get((row.checked_sub(*first)?) * self.levels + level)?;
        value.is_finite().then_some(*value)
    }
}

/// A hash whose bits all depend on all of a number (Steele, Lea and Flood 2014, SplitMix64).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel as panel;

    #[test]
    fn half_of_the_windows_see_quantiles_each_level_in_its_turn() {
        let panel = panel(2, 40);
        let mut taught = Taught::new(&panel, 10, 4);
        taught.tell(1, 30, &(0..40).map(f64::from).collect::<Vec<_>>());
        let seen: Vec<f32> = (0..2_000).filter_map(|origin| taught.of(1, origin, 32)).collect();
        assert!((900..1_100).contains(&seen.len()), "{}", seen.len());
        for level in 0..4 {
            let n = seen.iter().filter(|value| **value == 8.0 + level as f32).count();
            assert!((180..320).contains(&n), "{level}: {n}");
        }
        // One window is of one level, and nothing is told of other series and of earlier rows.
        let origin = (0..).find(|origin| taught.of(1, *origin, 30) == Some(2.0)).unwrap();
        assert_eq!(taught.of(1, origin, 39), Some(38.0));
        assert!((0..100).all(|n| taught.of(0, n, 35).is_none() && taught.of(1, n, 29).is_none()));
        assert!((0..100).all(|n| taught.of(1, n, 40).is_none()));
    }
}
