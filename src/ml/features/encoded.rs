//! A panel with every column encoded, row-major, ready for windows to be copied out.

use std::ops::Range;
use std::sync::Arc;

use crate::ml::features::calendar;
use crate::ml::features::column::ColumnEncoder;
use crate::ml::features::featurizer::Featurizer;
use crate::ml::features::taught::Taught;
use crate::ml::series::{Covariate, Panel, Values, line_at};

/// Encoded rows of all series: history, then as many steps as asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EncodedPanel {
    /// Length: series + 1.
    pub offsets: Vec<usize>,
    /// History rows of every series.
    pub history: Vec<usize>,
    /// Period number of the first row of every series.
    pub start: Vec<i64>,
    /// Target, NaN where it is missing and after the history.
    pub target: Vec<f32>,
    /// False where the switch is off; empty without a switch.
    pub active: Vec<bool>,
    /// Crossed codes of the factors; empty without factors.
    pub crossed: Vec<u8>,
    /// `[rows, known_numbers]`.
    pub known: Vec<f32>,
    /// One `[rows]` per known category.
    pub known_categories: Vec<Vec<u32>>,
    /// `[rows, past_numbers]`.
    pub past: Vec<f32>,
    /// `[series, static numbers]`.
    pub static_numbers: Vec<f32>,
    /// One `[series]` per static category.
    pub static_categories: Vec<Vec<u32>>,
    /// Index of every series among the trained ones, 0 for unknown.
    pub series: Vec<u32>,
    /// Rows whose target was filled on a line to the row after them.
    pub lines: Vec<Range<usize>>,
    /// Steps of every series before its first sale, where there are so many that nothing was on sale.
    pub launch: Vec<usize>,
    /// True where known covariates had to be carried forward.
    pub carried: Vec<bool>,
    /// Calendar features from period `calendar_first` on.
    pub calendar: Vec<f32>,
    /// See [`EncodedPanel::calendar`].
    pub calendar_first: i64,
    /// What stands for values that are learnt from, and the rows of every series that are.
    pub taught: Option<(Arc<Taught>, Vec<usize>)>,
}

/// The row of the panel that stands behind every encoded row; the last one is repeated past the end.
struct Sources {
    rows: Vec<Option<usize>>,
    offsets: Vec<usize>,
}

impl Sources {
    fn new(panel: &Panel, horizon: usize) -> Self {
        let (mut rows, mut offsets) = (Vec::with_capacity(panel.target.len()), vec![0]);
        for s in 0..panel.len() {
            let present = panel.rows_of(s);
            let wanted = panel.history[s] + horizon;
            rows.extend((0..wanted).map(|i| match present.len() {
                0 => None,
                n => Some(present.start + i.min(n - 1)),
            }));
            offsets.push(rows.len());
        }
        Self { rows, offsets }
    }
}

impl EncodedPanel {
    /// Encodes the history of every series and `horizon` steps after it.
    ///
    /// Steps that the panel lacks repeat its last row; of them the first `needed` count as carried.
    pub fn new(featurizer: &Featurizer, panel: &Panel, horizon: usize, needed: usize) -> Self {
        let sources = Sources::new(panel, horizon);
        let mut carried: Vec<bool> =
            (0..panel.len()).map(|s| !featurizer.known.is_empty() && panel.future_of(s) < needed).collect();
        let known = numbers(&featurizer.known, &panel.known, &sources.rows, |row, feature, out| {
            let s = sources.offsets.partition_point(|o| *o <= row) - 1;
            let future = row - sources.offsets[s] >= panel.history[s];
            if future && row > sources.offsets[s] {
                carried[s] |= row - sources.offsets[s] < panel.history[s] + needed;
                out[feature] = out[feature - featurizer.known_numbers()];
            }
        });
        let gather =
            |codes: Vec<u32>| sources.rows.iter().map(|r| r.map_or(0, |r| codes[r])).collect::<Vec<u32>>();
        let (active, crossed) = featurizer.factors.encode(&featurizer.known, &panel.known);
        let first = panel.start.iter().copied().min().unwrap_or(0);
        let last = (0..panel.len()).map(|s| panel.first_step(s) + horizon as i64).max().unwrap_or(0);
        let each: Vec<Option<usize>> = (0..panel.len()).map(Some).collect();
        Self {
            target: target(panel, &sources, horizon),
            active: active
                .map_or_else(Vec::new, |a| sources.rows.iter().map(|r| r.is_none_or(|r| a[r])).collect()),
            crossed: if crossed.is_empty() {
                Vec::new()
            } else {
                sources.rows.iter().map(|r| r.map_or(0, |r| crossed[r])).collect()
            },
            known,
            known_categories: categories(&featurizer.known, &panel.known).map(gather).collect(),
            past: numbers(&featurizer.past, &panel.past, &sources.rows, |_, _, _| {}),
            static_numbers: numbers(&featurizer.statics, &panel.statics, &each, |_, _, _| {}),
            static_categories: categories(&featurizer.statics, &panel.statics).collect(),
            series: panel.keys.iter().map(|key| featurizer.series_index(key)).collect(),
            carried,
            launch: (0..panel.len())
                .map(|s| featurizer.before_launch(panel.history_of(s).iter().copied()))
                .collect(),
            lines: panel
                .lines
                .iter()
                .map(|line| {
                    let s = panel.offsets.partition_point(|offset| *offset <= line.start) - 1;
                    let encoded = |row: usize| row - panel.offsets[s] + sources.offsets[s];
                    encoded(line.start)..encoded(line.end)
                })
                .collect(),
            calendar: calendar::features(panel, first, last),
            calendar_first: first,
            offsets: sources.offsets,
            history: panel.history.clone(),
            start: panel.start.clone(),
            taught: None,
        }
    }

    /// Bytes of the encoding of a panel, about: for every row the target, a number and whether it is there for each covariate,
    /// its factors, and while it is made the place of the row.
    pub fn bytes_of(panel: &Panel) -> usize {
        let covariates = panel.known.len() + panel.past.len();
        let row = (1 + 2 * covariates) * size_of::<f32>() + 2 + size_of::<Option<usize>>();
        panel.target.len() * row
    }

    /// The same with what another model told of the first `train[series]` rows of every series.
    pub fn taught_by(mut self, taught: Option<&Arc<Taught>>, train: &[usize]) -> Self {
        self.taught = taught.map(|taught| (Arc::clone(taught), train.to_vec()));
        self
    }

    /// What is learnt from of an encoded row in the window at row `origin` of its series; NaN where it is missing.
    pub fn lesson(&self, series: usize, origin: usize, row: usize) -> f32 {
        let value = self.target[row];
        let Some((taught, train)) = &self.taught else { return value };
        let of_series = row - self.offsets[series];
        match value.is_finite() && of_series < train[series] {
            true => taught.of(series, origin, of_series).unwrap_or(value),
            false => value,
        }
    }

    /// False when the window at row `origin` of a series is none to learn from: some of the history before it was
    /// filled from later rows, or nothing was on sale yet.
    pub fn teaches(&self, series: usize, origin: usize) -> bool {
        let is_on_line = line_at(&self.lines, self.offsets[series] + origin).is_some();
        !is_on_line && (origin > self.launch[series] || self.launch[series] == 0)
    }

    /// Writes forecasts as if they were history, so that later steps can be forecast after them.
    pub fn extend_history(&mut self, series: usize, values: &[f32]) {
        let from = self.offsets[series] + self.history[series];
        self.target[from..from + values.len()].copy_from_slice(values);
        self.history[series] += values.len();
    }
}

fn target(panel: &Panel, sources: &Sources, horizon: usize) -> Vec<f32> {
    let mut target = Vec::with_capacity(sources.rows.len());
    for s in 0..panel.len() {
        target.extend(panel.history_of(s).iter().map(|y| *y as f32));
        target.extend(std::iter::repeat_n(f32::NAN, horizon));
    }
    target
}

/// Numeric features row by row; `absent` may fill in for a complete column where a value is missing.
fn numbers(
    encoders: &[ColumnEncoder],
    columns: &[Covariate],
    rows: &[Option<usize>],
    mut absent: impl FnMut(usize, usize, &mut [f32]),
) -> Vec<f32> {
    let width: usize = encoders.iter().map(ColumnEncoder::width).sum();
    let mut out = vec![0.0; rows.len() * width];
    let mut position = 0;
    for (encoder, column) in encoders.iter().zip(columns) {
        let Values::Number(values) = &column.values else { continue };
        for (row, source) in rows.iter().enumerate() {
            let at = row * width + position;
            let x = source.map_or(f32::NAN, |r| values[r]);
            if x.is_finite() {
                out[at] = encoder.encode(x);
            } else if encoder.is_complete() {
                absent(row, at, &mut out);
            } else {
                out[at + 1] = 1.0;
            }
        }
        position += encoder.width();
    }
    out
}

/// Indexes of every categorical column, 0 for unknown words.
fn categories<'a>(
    encoders: &'a [ColumnEncoder],
    columns: &'a [Covariate],
) -> impl Iterator<Item = Vec<u32>> + 'a {
    encoders.iter().zip(columns).filter_map(|(encoder, column)| match encoder {
        ColumnEncoder::Category { vocabulary, .. } => {
            Some(column.values.codes_in(vocabulary).into_iter().map(|code| code.wrapping_add(1)).collect())
        }
        ColumnEncoder::Number { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::{fit, panel};

    #[test]
    fn steps_beyond_the_panel_carry_the_last_known_row() {
        let panel = panel(2, 30);
        let featurizer = fit(&panel, &[30; 2]);
        let encoded = EncodedPanel::new(&featurizer, &panel, 7, 7);
        assert_eq!(
            (encoded.offsets.as_slice(), encoded.carried.as_slice()),
            (&[0, 37, 74][..], &[true, true][..])
        );
        assert!(encoded.target[30..37].iter().all(|y| y.is_nan()));
        assert_eq!(encoded.known[36], encoded.known[29]);
        let trained = EncodedPanel::new(&featurizer, &panel, 0, 0);
        assert_eq!((trained.carried[0], trained.target.len()), (false, 60));
    }

    #[test]
    fn a_missing_future_value_is_carried_and_told() {
        let held = panel(1, 30).hold_out(7);
        let featurizer = fit(&held, &[23]);
        let mut holes = held.clone();
        if let Values::Number(promo) = &mut holes.known[0].values {
            promo[25] = f32::NAN;
        }
        let encoded = EncodedPanel::new(&featurizer, &holes, 7, 7);
        assert!(encoded.carried[0] && encoded.known[25] == encoded.known[24]);
        assert!(!EncodedPanel::new(&featurizer, &held, 7, 7).carried[0]);
    }

    #[test]
    fn unknown_series_and_words_get_index_zero() {
        let mut panel = panel(2, 30);
        let featurizer = fit(&panel, &[30; 2]);
        panel.keys[1] = "s=new".into();
        if let Values::Category { labels, .. } = &mut panel.statics[1].values {
            labels[1] = "other".into();
        }
        let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
        assert_eq!(
            (encoded.series.as_slice(), encoded.static_categories[0].as_slice()),
            (&[1, 0][..], &[1, 0][..])
        );
    }
}
