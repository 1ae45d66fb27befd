//! What is counted of the rows that share season and factors.

/// Matches that count as recent.
const RECENT: u32 = 4;
/// Windows, in seasons, of the levels that matched deviations are taken from.
pub(super) const DEVIATION_SEASONS: [usize; 2] = [1, 4];

/// Sums over the rows that share season and factors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// Rows.
    pub(super) n: u32,
    recent: u32,
    /// Sum of their values.
    pub(super) sum: f64,
    recent_sum: f64,
    squares: f64,
    /// The latest value.
    pub(super) latest: f64,
    /// Recent matches that had levels before them, and in `deviations` the sums of their distances from them.
    pub(super) levelled: u32,
    /// See [`Cell::levelled`].
    pub(super) deviations: [f64; DEVIATION_SEASONS.len()],
}

impl Cell {
    /// Adds a match older than those added before.
    pub(super) fn add(&mut self, y: f64, levels: Option<[f64; DEVIATION_SEASONS.len()]>) {
        if self.n == 0 {
            self.latest = y;
        }
        if self.recent < RECENT {
            self.recent += 1;
            self.recent_sum += y;
            if let Some(levels) = levels {
                self.levelled += 1;
                self.deviations.iter_mut().zip(levels).for_each(|(d, level)| *d += y - level);
            }
        }
        self.n += 1;
        self.sum += y;
        self.squares += y * y;
    }

    /// Mean of all matches.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }

    /// Mean of the recent matches.
    pub(super) fn recent_mean(&self) -> Option<f64> {
        (self.recent > 0).then(|| self.recent_sum / f64::from(self.recent))
    }

    /// Standard deviation, from three matches on.
    pub(super) fn deviation(&self) -> Option<f64> {
        let n = f64::from(self.n);
        (self.n > 2).then(|| ((self.squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_matches_are_recent_and_deviations_ignore_rows_without_a_level() {
        let mut cell = Cell::default();
        assert_eq!((cell.mean(), cell.recent_mean(), cell.deviation()), (None, None, None));
        for (y, levels) in
            [(6.0, Some([5.0, 4.0])), (2.0, None), (4.0, Some([1.0, 1.0])), (8.0, None), (90.0, None)]
        {
            cell.add(y, levels);
        }
        assert_eq!((cell.mean(), cell.recent_mean(), cell.latest), (Some(22.0), Some(5.0), 6.0));
        assert_eq!((cell.levelled, cell.deviations), (2, [4.0, 5.0]));
        assert!((cell.deviation().unwrap() - 38.078).abs() < 1e-3);
    }
}
