//! Training and validation windows as pairs of series and origin, gathered on the fly.

use crate::ml::features::{EncodedPanel, Featurizer, Gatherer, WindowBatch};
use crate::ml::training::Dataset;

/// Origins of one series: `first, first + stride, ..`, counted by `cumulative`.
#[derive(Debug, Clone, Copy)]
struct Origins {
    series: usize,
    first: usize,
    /// Windows of this series and of those before it.
    cumulative: usize,
    /// Rows of the series that may be targets.
    end: usize,
}

/// All windows of a panel between two bounds per series.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    featurizer: &'a Featurizer,
    panel: &'a EncodedPanel,
    origins: Vec<Origins>,
    stride: usize,
}

impl<'a> Windows<'a> {
    /// Every origin whose target steps lie before `train[series]`; series too short for a whole horizon
    /// give the windows they have.
    pub(super) fn train(
        featurizer: &'a Featurizer,
        panel: &'a EncodedPanel,
        order: &[usize],
        train: &[usize],
    ) -> Self {
        let horizon = featurizer.layout.horizon;
        let ranges = order.iter().map(|&series| {
            let end = train[series];
            let last = if end > horizon { end - horizon } else { end.saturating_sub(1) };
            let first = featurizer.earliest_origin(end).min(last.max(1));
            (series, first, last, end)
        });
        Self::new(featurizer, panel, ranges, 1)
    }

    /// Origins at `train[series]` and every horizon after it, up to the end of the history.
    pub(super) fn valid(
        featurizer: &'a Featurizer,
        panel: &'a EncodedPanel,
        order: &[usize],
        train: &[usize],
    ) -> Self {
        let ranges = order.iter().filter(|s| train[**s] < panel.history[**s]).map(|&series| {
            let end = panel.history[series];
            (series, train[series], end - 1, end)
        });
        Self::new(featurizer, panel, ranges, featurizer.layout.horizon)
    }

    fn new(
        featurizer: &'a Featurizer,
        panel: &'a EncodedPanel,
        ranges: impl Iterator<Item = (usize, usize, usize, usize)>,
        stride: usize,
    ) -> Self {
        let mut cumulative = 0;
        let origins = ranges
            .filter(|(_, first, last, _)| first <= last)
            .map(|(series, first, last, end)| {
                cumulative += (last - first) / stride + 1;
                Origins { series, first, cumulative, end }
            })
            .collect();
        Self { featurizer, panel, origins, stride }
    }

    /// At most `most` windows, evenly spread.
    pub(super) fn sample(&self, most: usize) -> Vec<(usize, usize, usize)> {
        let n = self.len().min(most);
        (0..n).map(|i| self.window(i * self.len() / n)).collect()
    }

    /// Series, origin and end of the targets of a window.
    fn window(&self, index: usize) -> (usize, usize, usize) {
        let at = self.origins.partition_point(|o| o.cumulative <= index);
        let before = if at == 0 { 0 } else { self.origins[at - 1].cumulative };
        let origins = self.origins[at];
        (origins.series, origins.first + (index - before) * self.stride, origins.end)
    }
}

impl Dataset for Windows<'_> {
    type Batch = WindowBatch;

    fn len(&self) -> usize {
        self.origins.last().map_or(0, |o| o.cumulative)
    }

    fn gather(&self, indexes: &[usize], batch: &mut WindowBatch) {
        let mut gatherer = Gatherer::new(self.featurizer, self.panel);
        gatherer.start(batch);
        for &index in indexes {
            let (series, origin, end) = self.window(index);
            gatherer.push(series, origin, end, batch);
        }
    }
}
