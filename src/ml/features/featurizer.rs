//! What the features learned from the training part, saved with the model.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::control::Control;
use crate::ml::features::batch::WindowBatch;
use crate::ml::features::calendar;
use crate::ml::features::column::ColumnEncoder;
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::factors::Factors;
use crate::ml::features::history;
use crate::ml::features::target_encoding::TargetEncoding;
use crate::ml::features::window::Gatherer;
use crate::ml::series::{Covariate, Frequency, Panel, Values};

/// Series beyond this number get no embedding of their own.
const EMBEDDED_SERIES_MAX: usize = 50_000;
/// Known numbers beyond this number are given at the step only, not at its neighbours.
const NEIGHBOUR_COLUMNS_MAX: usize = 24;

/// Latest steps of a series that are origins of training windows.
const ORIGINS_MAX: usize = 20_000;
/// Steps without a sale before the first one from which on nothing was on sale, for short seasons and long ones.
const LAUNCH_STEPS_MIN: usize = 8;
/// See [`LAUNCH_STEPS_MIN`].
const LAUNCH_STEPS_MAX: usize = 28;

/// How much longer than any later time without a sale that must be.
const LAUNCH_RUNS: usize = 3;

/// How far windows reach, in steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Steps after the origin.
    pub horizon: usize,
    /// Steps before the origin that the network sees one by one.
    pub context: usize,
    /// Steps before the origin that any feature sees.
    pub lookback: usize,
    /// Steps before the origin that are matched by season and factors.
    pub matched: usize,
    /// Steps before the origin that give the scale.
    pub scaled: usize,
    /// Steps after which the season of seasons comes round.
    pub long_season: Option<usize>,
}

impl Layout {
    /// The layout for the first `train[s]` rows of every series `s`; `limit` bounds every reach.
    pub fn new(panel: &Panel, train: &[usize], horizon: usize, limit: Option<usize>) -> Self {
        let season = panel.season_length.max(1);
        let longest = train.iter().copied().max().unwrap_or(0);
        let reach = limit.unwrap_or(usize::MAX).min(longest).max(1);
        let bounded =
            |steps: usize, least: usize, most: usize| steps.clamp(least, most.max(least)).min(reach);
        let matched = bounded(26 * season, 26, 200.max(4 * season));
        let long_season =
            calendar::long_season(panel, train).filter(|steps| steps + season < reach && *steps > season);
        let recent = 4 * season;
        Self {
            horizon,
            context: bounded(horizon.max(4 * season), 16, 128),
            lookback: long_season.map_or(matched, |steps| steps + recent).max(matched).min(reach),
            matched,
            scaled: bounded(13 * season, 13, 100.max(2 * season)),
            long_season,
        }
    }
}

/// Sizes of the parts of a [`crate::ml::features::WindowBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widths {
    /// Covariates of a step before the origin.
    pub context_row: usize,
    /// Features of a step after the origin.
    pub future_row: usize,
    /// Known covariates among those of a step before the origin; they come first.
    pub known: usize,
    /// Where they begin among the features of a step after the origin.
    pub known_at: usize,
    /// Statistics and static numbers of a window.
    pub window_row: usize,
    /// Words of every known category.
    pub known_words: Vec<usize>,
    /// Words of every static category.
    pub static_words: Vec<usize>,
    /// Series with an embedding, the unknown one included.
    pub series: usize,
}

/// Scalers, vocabularies and choices, all from the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Featurizer {
    /// The grid.
    pub frequency: Frequency,
    /// Where period 0 begins.
    pub origin: i64,
    /// Periods in a season.
    pub season_length: usize,
    /// How far windows reach.
    pub layout: Layout,
    /// True when no training target is negative.
    pub nonnegative: bool,
    /// True when targets are taken relative to their mean, not only to their size.
    pub centred: bool,
    /// Scale of a window whose history has none.
    pub scale_fallback: f64,
    /// Mean and deviation of the logarithm of the scale over the series.
    pub scale_logarithm: (f64, f64),
    /// Encoders of the known covariates.
    pub known: Vec<ColumnEncoder>,
    /// Encoders of the past covariates.
    pub past: Vec<ColumnEncoder>,
    /// Encoders of the static covariates.
    pub statics: Vec<ColumnEncoder>,
    /// What history is matched by.
    pub factors: Factors,
    /// Binary known numbers, by their place among the numeric features: whether the rarer state is the upper one.
    pub events: Vec<(usize, bool)>,
    /// Which of the values that history suggests forecasts are relative to.
    pub suggestion: usize,
    /// What the target usually is where a category has a word; empty where no rows are learnt from.
    #[serde(default)]
    pub target_encodings: Vec<TargetEncoding>,
    /// Keys of the training series, sorted; empty when there are too many. Stored beside the other state.
    #[serde(skip)]
    pub keys: Vec<String>,
}

impl Featurizer {
    /// Learns from the first `train[s]` rows of every series `s`, and from nothing else.
    pub fn fit(
        panel: &Panel,
        train: &[usize],
        horizon: usize,
        limit: Option<usize>,
        control: &Control,
    ) -> Result<Self> {
        let order = canonical_order(panel);
        let rows: Vec<Range<usize>> =
            order.iter().map(|&s| panel.offsets[s]..panel.offsets[s] + train[s]).collect();
        let fit_all = |columns: &[Covariate], rows: &[Range<usize>]| {
            let fit = |column| control.check().map(|()| ColumnEncoder::fit(column, rows));
            columns.iter().map(fit).collect::<Result<Vec<_>>>()
        };
        let known = fit_all(&panel.known, &rows)?;
        let each: Vec<Range<usize>> = order.iter().filter(|s| train[**s] > 0).map(|&s| s..s + 1).collect();
        control.check()?;
        let factors = Factors::fit(panel, &known, &order, &rows);
        let layout = Layout::new(panel, train, horizon, limit);
        let keys = if panel.len() <= EMBEDDED_SERIES_MAX {
            order.iter().filter(|s| train[**s] > 0).map(|&s| panel.keys[s].clone()).collect()
        } else {
            Vec::new()
        };
        let mut featurizer = Self {
            frequency: panel.frequency,
            origin: panel.origin,
            season_length: panel.season_length.max(1),
            nonnegative: rows
                .iter()
                .cloned()
                .flatten()
                .all(|row| panel.target[row] >= 0.0 || panel.target[row].is_nan()),
            centred: false,
            scale_fallback: 1.0,
            scale_logarithm: (0.0, 1.0),
            past: fit_all(&panel.past, &rows)?,
            statics: fit_all(&panel.statics, &each)?,
            events: events(&known, &panel.known, &rows),
            known,
            factors,
            suggestion: 0,
            target_encodings: Vec::new(),
            layout,
            keys,
        };
        control.check()?;
        featurizer.fit_scale(panel, &rows, true);
        Ok(featurizer)
    }

    /// Takes targets relative to their size only, from zero up, as amounts are; learns from what
    /// [`Featurizer::fit`] learnt from.
    pub fn measure_from_zero(&mut self, panel: &Panel, train: &[usize]) {
        let range = |s: usize| panel.offsets[s]..panel.offsets[s] + train[s];
        let rows: Vec<Range<usize>> = canonical_order(panel).into_iter().map(range).collect();
        self.fit_scale(panel, &rows, false);
    }

    /// Tells why a state read from a file cannot be one that was fitted.
    pub fn check(&self) -> std::result::Result<(), String> {
        let columns = self.factors.columns.iter().copied().chain(self.factors.switch.map(|s| s.column));
        if let Some(column) = columns.into_iter().find(|column| *column >= self.known.len()) {
            return Err(format!("factor {column} of {} known covariates", self.known.len()));
        }
        let layout = &self.layout;
        if self.factors.columns.len() > 3
            || layout.horizon == 0
            || layout.lookback == 0
            || self.season_length == 0
        {
            return Err(format!("layout {layout:?}"));
        }
        match self.target_encodings.iter().find(|encoding| !encoding.is_sound(self)) {
            Some(encoding) => Err(format!("target encoding {}", encoding.name)),
            None => Ok(()),
        }
    }

    /// Fails where the columns of a panel are not those that were fitted.
    pub fn check_columns(&self, panel: &Panel) -> Result<()> {
        let roles = [
            ("KNOWN", &self.known, &panel.known),
            ("PAST", &self.past, &panel.past),
            ("STATIC", &self.statics, &panel.statics),
        ];
        for (role, fitted, given) in roles {
            let matches = |(encoder, column): (&ColumnEncoder, &Covariate)| {
                let is_number = matches!(column.values, Values::Number(_));
                encoder.name() == column.name && is_number == encoder.words().is_none()
            };
            if fitted.len() != given.len() || !fitted.iter().zip(given).all(matches) {
                let fitted: Vec<&str> = fitted.iter().map(ColumnEncoder::name).collect();
                let given: Vec<&str> = given.iter().map(|column| column.name.as_str()).collect();
                return Err(Error::input(
                    Subject::Column,
                    format!("the model was trained with {role} {fitted:?}, the input has {given:?}"),
                )
                .with_hint("give the columns of the training, with their types"));
            }
        }
        Ok(())
    }

    fn fit_scale(&mut self, panel: &Panel, rows: &[Range<usize>], may_centre: bool) {
        let active = self.active(panel);
        let usable = |row: &usize| active.as_ref().is_none_or(|a| a[*row]) && panel.target[*row].is_finite();
        let moments: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|range| {
                let values: Vec<f64> = range.clone().filter(usable).map(|row| panel.target[row]).collect();
                history::level_and_spread(&values)
            })
            .collect();
        let ratios: Vec<f64> =
            moments.iter().map(|(level, spread)| spread / level.abs().max(1e-12)).collect();
        self.centred = may_centre && (!self.nonnegative || median(ratios).is_some_and(|ratio| ratio < 0.1));
        let scales = moments.iter().map(|(level, spread)| if self.centred { *spread } else { *level });
        let logarithms: Vec<f64> = scales.filter(|s| *s > 0.0).map(f64::ln).collect();
        let n = logarithms.len().max(1) as f64;
        let mean = logarithms.iter().sum::<f64>() / n;
        let variance = logarithms.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        self.scale_logarithm = (mean, if variance > 1e-12 { variance.sqrt() } else { 1.0 });
        self.scale_fallback = median(logarithms).map_or(1.0, f64::exp);
    }

    /// Makes forecasts relative to the suggestion that errs least in these windows of series, origin and end.
    pub fn choose_suggestion(&mut self, panel: &EncodedPanel, windows: &[(usize, usize, usize)]) {
        let errors = (0..history::SUGGESTIONS).map(|suggestion| {
            self.suggestion = suggestion;
            let mut gatherer = Gatherer::new(self, panel);
            let mut batch = WindowBatch::default();
            let mut error = 0.0;
            for &(series, origin, end) in windows {
                gatherer.start(&mut batch);
                gatherer.push(series, origin, end, &mut batch);
                let steps = batch.target.iter().zip(&batch.base).zip(&batch.weight);
                error += steps.map(|((y, base), w)| f64::from(w * (y - base).abs().min(10.0))).sum::<f64>();
            }
            (error, suggestion)
        });
        let best = errors.min_by(|a, b| a.0.total_cmp(&b.0));
        self.suggestion = best.map_or(0, |(_, suggestion)| suggestion);
    }

    /// Steps before the first sale of a history, where so many zeros, for how often it sells later, tell that nothing
    /// was on sale; else 0.
    pub fn before_launch(&self, history: impl IntoIterator<Item = f64>) -> usize {
        let least = (2 * self.season_length).clamp(LAUNCH_STEPS_MIN, LAUNCH_STEPS_MAX);
        if !self.nonnegative {
            return 0;
        }
        let (mut first, mut steps, mut run, mut longest) = (None, 0, 0, 0);
        for y in history {
            if y > 0.0 {
                first = first.or(Some(steps)).filter(|first| *first >= least);
                if first.is_none() {
                    return 0;
                }
                run = 0;
            } else {
                run += 1;
                longest = if first.is_some() { run.max(longest) } else { 0 };
            }
            steps += 1;
        }
        first.filter(|first| *first >= LAUNCH_RUNS * longest).unwrap_or(0)
    }

    /// The first origin from which a series teaches whose first `train` steps may be learnt from: after a season, and
    /// not so long ago that one long series would drown all others.
    pub fn earliest_origin(&self, train: usize) -> usize {
        self.season_length.min(train / 2).max(1).max(train.saturating_sub(ORIGINS_MAX))
    }

    /// Index of a series by its key, 0 for unknown ones.
    pub fn series_index(&self, key: &str) -> u32 {
        self.keys.binary_search_by(|k| k.as_str().cmp(key)).map_or(0, |i| i as u32 + 1)
    }

    /// Distances of the neighbours whose known numbers a step sees.
    pub fn neighbours(&self) -> &'static [isize] {
        match self.known_numbers() {
            0 => &[],
            n if n <= NEIGHBOUR_COLUMNS_MAX / 2 => &[-2, -1, 1, 2],
            n if n <= NEIGHBOUR_COLUMNS_MAX => &[-1, 1],
            _ => &[],
        }
    }

    /// By row, false where a switch says that the target is zero; `None` without a switch.
    pub fn active(&self, panel: &Panel) -> Option<Vec<bool>> {
        self.factors.encode(&self.known, &panel.known).0
    }

    /// Numeric features of the known covariates of one row.
    pub fn known_numbers(&self) -> usize {
        self.known.iter().map(ColumnEncoder::width).sum()
    }

    /// Numeric features of the past covariates of one row.
    pub fn past_numbers(&self) -> usize {
        self.past.iter().map(ColumnEncoder::width).sum()
    }

    /// Positions, among the known numeric features of a row, of numbers that are not binary.
    pub fn measured(&self) -> Vec<usize> {
        let mut position = 0;
        let mut measured = Vec::new();
        for encoder in &self.known {
            if encoder.words().is_none() && !encoder.is_binary() {
                measured.push(position);
            }
            position += encoder.width();
        }
        measured
    }

    /// Sizes of everything in a batch.
    pub fn widths(&self) -> Widths {
        let words = |encoders: &[ColumnEncoder]| encoders.iter().filter_map(ColumnEncoder::words).collect();
        let calendar = calendar::width(self.frequency, self.season_length);
        let known = self.known_numbers();
        let static_numbers: usize = self.statics.iter().map(ColumnEncoder::width).sum();
        Widths {
            context_row: known + self.past_numbers(),
            known,
            known_at: 2 + calendar,
            future_row: 2
                + calendar
                + known * (1 + self.neighbours().len())
                + self.measured().len()
                + history::step_width(self),
            window_row: calendar + history::window_width(self) + static_numbers,
            known_words: words(&self.known),
            static_words: words(&self.statics),
            series: self.keys.len() + 1,
        }
    }
}

/// The binary ones among these columns, and which of their states is an event: the rarer one.
fn events(encoders: &[ColumnEncoder], columns: &[Covariate], rows: &[Range<usize>]) -> Vec<(usize, bool)> {
    let mut position = 0;
    let mut found = Vec::new();
    for (encoder, column) in encoders.iter().zip(columns) {
        if let (true, Values::Number(numbers)) = (encoder.is_binary(), &column.values) {
            let all = || rows.iter().flat_map(|range| &numbers[range.clone()]).filter(|x| x.is_finite());
            let upper = all().filter(|x| encoder.encode(**x) >= 0.5).count();
            found.push((position, 2 * upper <= all().count()));
        }
        position += encoder.width();
    }
    found
}

/// Indexes of the series in the order of their keys.
pub fn canonical_order(panel: &Panel) -> Vec<usize> {
    let mut order: Vec<usize> = (0..panel.len()).collect();
    order.sort_by(|a, b| panel.keys[*a].cmp(&panel.keys[*b]));
    order
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Weekly shaped positive series, one known flag that lifts them, one past and two static columns.
    pub(crate) fn panel(series: usize, length: usize) -> Panel {
        let rows = series * length;
        let promo: Vec<f32> = (0..rows).map(|row| f32::from((row * 7 + row / length) % 11 < 3)).collect();
        let target = (0..rows)
            .map(|row| {
                let (s, t) = (row / length, row % length);
                let season = 1.0 + 0.4 * ((t + s) as f64 * std::f64::consts::TAU / 7.0).sin();
                let wobble = 0.05 * ((row * 37 % 17) as f64 - 8.0) / 8.0;
                (10.0 + 5.0 * s as f64) * (season + wobble) * (1.0 + 0.5 * f64::from(promo[row]))
            })
            .collect();
        let labels = vec!["a".to_string(), "b".to_string()];
        Panel {
            frequency: Frequency::Days(1),
            origin: 0,
            season_length: 7,
            keys: (0..series).map(|s| format!("s={s:03}")).collect(),
            offsets: (0..=series).map(|s| s * length).collect(),
            history: vec![length; series],
            start: vec![0; series],
            target,
            known: vec![Covariate { name: "promo".into(), values: Values::Number(promo) }],
            past: vec![Covariate {
                name: "visits".into(),
                values: Values::Number((0..rows).map(|row| (row * 13 % 29) as f32).collect()),
            }],
            statics: vec![
                Covariate {
                    name: "size".into(),
                    values: Values::Number((0..series).map(|s| s as f32).collect()),
                },
                Covariate {
                    name: "kind".into(),
                    values: Values::Category { codes: (0..series).map(|s| (s % 2) as u32).collect(), labels },
                },
            ],
            lines: Vec::new(),
        }
    }

    /// A featurizer for a horizon of a week.
    pub(crate) fn fit(panel: &Panel, train: &[usize]) -> Featurizer {
        Featurizer::fit(panel, train, 7, None, &Control::default()).unwrap()
    }

    #[test]
    fn nothing_is_learned_from_rows_after_the_training_part() {
        let panel = panel(4, 100);
        let mut garbage = panel.clone();
        for s in 0..4 {
            for row in panel.offsets[s] + 80..panel.offsets[s + 1] {
                garbage.target[row] = -1e9;
                if let Values::Number(promo) = &mut garbage.known[0].values {
                    promo[row] = 77.0;
                }
            }
        }
        let train = [80; 4];
        let clean = fit(&panel, &train);
        assert_eq!(clean, fit(&garbage, &train));
        assert!(clean.nonnegative && !clean.centred);
    }

    #[test]
    fn reach_follows_season_history_and_the_users_limit() {
        let panel = panel(1, 1000);
        let layout = Layout::new(&panel, &[1000], 28, None);
        assert_eq!((layout.long_season, layout.lookback, layout.matched), (Some(364), 392, 182));
        let limited = Layout::new(&panel, &[1000], 28, Some(64));
        assert_eq!((limited.long_season, limited.lookback, limited.context), (None, 64, 28));
        assert_eq!(Layout::new(&panel, &[1], 28, None).lookback, 1);
    }

    #[test]
    fn what_was_not_on_sale_says_nothing_of_demand() {
        let mut panel = panel(1, 60);
        panel.target[..30].fill(0.0);
        let featurizer = fit(&panel, &[60]);
        let before = |zeros: usize, sales: usize| {
            featurizer.before_launch([vec![0.0; zeros], vec![3.0; sales], vec![0.0; 5]].concat())
        };
        assert_eq!((before(20, 1), before(13, 1), before(14, 1), before(40, 0)), (20, 0, 0, 0));
        let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
        assert!(!encoded.teaches(0, 12) && !encoded.teaches(0, 30) && encoded.teaches(0, 31));
        let mut writer = crate::ml::features::RowWriter::new(&featurizer, &encoded);
        let mut row = |origin| {
            let mut out = Vec::new();
            writer.look(0, origin);
            writer.push(0, &mut out);
            (out, writer.target(origin))
        };
        assert_eq!((row(20).1, row(40).1.is_some()), (None, true));
        // The zeros before are as if they were not there.
        let mut late = panel.clone();
        late.target[..30].fill(f64::NAN);
        let late = EncodedPanel::new(&featurizer, &late, 0, 0);
        let mut writer = crate::ml::features::RowWriter::new(&featurizer, &late);
        let mut out = Vec::new();
        writer.look(0, 40);
        writer.push(0, &mut out);
        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let same = bits(&out).iter().zip(bits(&row(40).0)).filter(|(a, b)| **a == *b).count();
        assert!(same + 2 >= out.len(), "{same} of {}", out.len());
    }

    #[test]
    fn a_long_series_teaches_from_its_latest_steps() {
        let featurizer = fit(&panel(1, 60), &[60]);
        let first = [1, 10, 100, 1_000_000].map(|train| featurizer.earliest_origin(train));
        assert_eq!(first, [1, 5, 7, 980_000]);
    }

    #[test]
    fn state_survives_json() {
        let featurizer = fit(&panel(3, 60), &[60; 3]);
        let text = serde_json::to_string(&featurizer).unwrap();
        let mut again = serde_json::from_str::<Featurizer>(&text).unwrap();
        again.keys = featurizer.keys.clone();
        assert_eq!(again, featurizer);
    }
}
