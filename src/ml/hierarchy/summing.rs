//! Hierarchies of some of the series only: those that had begun by a time of the past.

use crate::ml::hierarchy::{Hierarchy, Rollup};

/// How series are summed, whichever of them there are.
///
/// Its rows are the series and then, level by level, every sum, as [`Hierarchy::rows`] of all series has them.
#[derive(Debug)]
pub struct Summing {
    rollup: Rollup,
    /// A text such as `region=north` for every key of every series.
    parts: Vec<Vec<String>>,
    whole: Hierarchy,
    /// By level and series: the row of the sum that it is in.
    row_of: Vec<Vec<usize>>,
}

/// A row of a hierarchy of some of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummedRow {
    /// Its row among those of all series.
    pub row: usize,
    /// Its node among those of all series.
    pub whole: usize,
    /// Its node.
    pub node: usize,
}

impl Summing {
    /// Sums of these series; each has a text for every key of the rollup.
    pub fn new(rollup: Rollup, parts: Vec<Vec<String>>) -> Self {
        let whole = Hierarchy::new(&rollup, &parts);
        let mut row_of = vec![vec![0; parts.len()]; whole.levels().len()];
        for (n, sum) in whole.rows().iter().enumerate() {
            for series in whole.series_of(sum.node) {
                row_of[sum.level][series] = parts.len() + n;
            }
        }
        Self { rollup, parts, whole, row_of }
    }

    /// The hierarchy of all series.
    pub fn whole(&self) -> &Hierarchy {
        &self.whole
    }

    /// The hierarchy of these of the series.
    pub fn among(&self, series: &[usize]) -> Hierarchy {
        let parts: Vec<Vec<String>> = series.iter().map(|i| self.parts[*i].clone()).collect();
        Hierarchy::new(&self.rollup, &parts)
    }

    /// The node, among those of all series, that a row has.
    pub fn node(&self, row: usize) -> usize {
        row.checked_sub(self.parts.len()).map_or(row, |sum| self.whole.rows()[sum].node)
    }

    /// The rows of the hierarchy that [`Summing::among`] made of these series.
    pub fn rows(&self, hierarchy: &Hierarchy, series: &[usize]) -> Vec<SummedRow> {
        let of_series = series.iter().enumerate().map(|(node, i)| SummedRow { row: *i, whole: *i, node });
        let sums = hierarchy.rows().iter().map(|sum| {
            let row = self.row_of[sum.level][series[sum.first]];
            SummedRow { row, whole: self.node(row), node: sum.node }
        });
        of_series.chain(sums).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_some_series_are_those_of_all_with_the_same_keys() {
        let keys = ["region", "store"].map(str::to_owned).to_vec();
        let parts = |region: &str, store: &str| vec![format!("region={region}"), format!("store={store}")];
        let all = vec![parts("n", "1"), parts("n", "2"), parts("s", "3"), parts("s", "4")];
        let summing = Summing::new(Rollup::new(keys, vec![vec![0, 1]]), all);
        // Rows: four stores, two regions, the total; nodes are the same.
        let rows = |series: &[usize]| {
            let hierarchy = summing.among(series);
            let rows = summing.rows(&hierarchy, series);
            rows.iter().map(|r| (r.row, r.whole, r.node)).collect::<Vec<_>>()
        };
        assert_eq!(rows(&[0, 1, 2, 3]), (0..7).map(|n| (n, n, n)).collect::<Vec<_>>());
        // Region n is store 2 alone, whose node it has.
        assert_eq!(rows(&[1, 2, 3]), [(1, 1, 0), (2, 2, 1), (3, 3, 2), (4, 4, 0), (5, 5, 3), (6, 6, 4)]);
    }
}
