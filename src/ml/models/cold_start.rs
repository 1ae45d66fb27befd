//! What is expected of series of which nothing was ever observed: how much, by what is told of them, from series of which
//! the same is told.
//!
//! Boosted trees learn the level of series from their attributes, from the keys that they share with others and from their
//! known covariates. All series together tell the season, and the errors of levels that are told out of fold, of each series
//! by trees that did not see it, how far the target of a step lies from what is expected.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::evaluation::{LEVELS, MIDDLE, WIDTH};
use crate::ml::features::canonical_order;
use crate::ml::forecaster::{FitOptions, Forecast, Status};
use crate::ml::models::container::{self, Stored};
use crate::ml::models::model::Saved;
use crate::ml::models::trees;
use crate::ml::series::{Covariate, MISSING, Panel, Values};
use crate::ml::trees::{Booster, BoosterOptions, ColumnType, Objective, Rows, TreeRows};

/// Fewest series that tell anything of others.
const SERIES_MIN: usize = 20;
/// Fewest steps at the end of a series that tell its level.
const STEPS_MIN: usize = 8;
/// Steps of a series that tell the season, at most.
const SEASON_STEPS_MAX: usize = 2_000;
/// Parts of the series, each told by the others.
const FOLDS: usize = 5;
/// Groups of series by what is expected of them; each has errors of its own.
const GROUPS: usize = 3;
/// Errors that a group needs.
const ERRORS_MIN: usize = 200;
/// Share of the usual level that is added to levels before their logarithm is taken: the least ones are alike.
const OFFSET: f64 = 0.1;
/// Bytes of the words of an attribute.
const BYTES_MAX: usize = 100_000;
/// Words of an attribute that are told apart.
const WORDS_MAX: usize = 1_000;

/// What speaks for new series.
#[derive(Debug, Clone)]
pub(super) struct ColdStart {
    config: ColdStartConfig,
    booster: Booster,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ColdStartConfig {
    attributes: Vec<Attribute>,
    /// What is added to levels before their logarithm is taken; none where targets may be negative, and levels stand for
    /// themselves.
    offset: Option<f64>,
    /// By the place of a period in the season, what a level is multiplied by.
    season: Vec<f64>,
    /// Where the second group begins, and the third.
    cuts: Vec<f64>,
    /// By group, targets relative to what is expected, at [`LEVELS`].
    spread: Vec<Vec<f64>>,
}

/// Something that is told of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Attribute {
    /// A static number.
    Number(String),
    /// A static category, and its words, ascending.
    Category(String, Vec<String>),
    /// A key that series share, and its values, ascending.
    Key(String, Vec<String>),
    /// The mean of a known number.
    Known(String),
}

impl ColdStart {
    /// Learns from a panel; none where it has too few series, or nothing is told of them.
    pub(super) fn fit(panel: &Panel, options: &FitOptions, control: &Control) -> Result<Option<Self>> {
        if panel.statics.is_empty() {
            return Ok(None);
        }
        let season = season(panel);
        let steps = options.horizon.max(STEPS_MIN);
        let lesson: Vec<(usize, f64)> = canonical_order(panel)
            .into_iter()
            .filter_map(|series| Some((series, level(panel, series, steps, &season)?)))
            .collect();
        let attributes = attributes(panel);
        if lesson.len() < SERIES_MIN || attributes.is_empty() {
            return Ok(None);
        }
        let negative = panel.target.iter().any(|y| *y < 0.0);
        let mut levels: Vec<f64> = lesson.iter().map(|(_, level)| *level).collect();
        levels.sort_by(f64::total_cmp);
        let offset = (!negative).then(|| OFFSET * levels[levels.len() / 2]);
        let (cuts, spread) = (vec![], vec![]);
        let config = ColdStartConfig { attributes, offset, season, cuts, spread };
        let width = config.attributes.len();
        let read = |series: usize| config.row(panel, series, latest(panel, series, steps));
        let values: Vec<f32> = lesson.iter().flat_map(|(series, _)| read(*series)).collect();
        let targets: Vec<f32> = lesson.iter().map(|(_, level)| config.inward(*level) as f32).collect();
        let learn = |kept: &dyn Fn(usize) -> bool| {
            let kept: Vec<usize> = (0..lesson.len()).filter(|n| kept(*n)).collect();
            let values: Vec<f32> =
                kept.iter().flat_map(|n| &values[n * width..(n + 1) * width]).copied().collect();
            let targets: Vec<f32> = kept.iter().map(|n| targets[*n]).collect();
            config.learn(Rows { values: &values, width }, &targets, options.seed, control)
        };
        let mut told = vec![0.0; lesson.len()];
        for fold in 0..FOLDS {
            let booster = learn(&|n| n % FOLDS != fold)?;
            let said = booster.predict(Rows { values: &values, width });
            (fold..lesson.len()).step_by(FOLDS).for_each(|n| told[n] = config.outward(said[n]));
        }
        let booster = learn(&|_| true)?;
        let errors: Vec<(f64, Vec<f64>)> = lesson
            .iter()
            .zip(told)
            .map(|((series, _), level)| (level, config.errors(panel, *series, steps, level)))
            .collect();
        let (cuts, spread) = spread_of(errors);
        Ok(Some(Self { config: ColdStartConfig { cuts, spread, ..config }, booster }))
    }

    /// Puts what is expected into a forecast at [`LEVELS`], of the series without any observation.
    pub(super) fn speak(&self, panel: &Panel, forecast: &mut Forecast) {
        let horizon = forecast.horizon;
        for series in (0..panel.len()).filter(|series| is_new(panel, *series)) {
            let ahead = panel.offsets[series] + panel.history[series]..panel.offsets[series + 1];
            let ahead = if ahead.is_empty() { panel.rows_of(series) } else { ahead };
            let row = self.config.row(panel, series, ahead);
            let said = self.booster.predict(Rows { values: &row, width: row.len() });
            let level = self.config.outward(said[0]);
            let group = self.config.cuts.partition_point(|cut| *cut <= level);
            for step in 0..horizon {
                let usual = level * self.config.of_season(panel.first_step(series) + step as i64);
                let at = series * horizon + step;
                let to = &mut forecast.quantiles[at * WIDTH..(at + 1) * WIDTH];
                for (q, error) in to.iter_mut().zip(&self.config.spread[group]) {
                    *q = if self.config.offset.is_some() { usual * error } else { usual + error };
                }
                forecast.point[at] = to[MIDDLE];
            }
            forecast.status[series] = Some(Status::ColdStart);
        }
    }

    /// The values that a new series may take.
    pub(super) fn limits(&self) -> (f64, f64) {
        let most = f64::MAX / 4.0;
        (if self.config.offset.is_some() { 0.0 } else { -most }, most)
    }

    pub(super) fn save(&self) -> Result<Saved> {
        Ok(trees::save("level", &self.booster, Saved::new(&self.config)?))
    }

    pub(super) fn load(stored: &Stored<'_>) -> Result<Self> {
        let (config, booster): (ColdStartConfig, _) = (stored.config()?, trees::load("level", stored)?);
        let whole = |spread: &Vec<f64>| spread.len() == WIDTH && spread.iter().all(|x| x.is_finite());
        let sound = config.spread.len() == config.cuts.len() + 1
            && config.spread.iter().all(whole)
            && config.season.iter().all(|x| x.is_finite())
            && !config.season.is_empty()
            && booster.columns() == config.attributes.len();
        match sound {
            true => Ok(Self { config, booster }),
            false => Err(container::corrupt("what it expects of new series does not fit together".into())),
        }
    }
}

/// Nothing of the series was ever observed.
pub(super) fn is_new(panel: &Panel, series: usize) -> bool {
    panel.history_of(series).iter().all(|y| y.is_nan())
}

impl ColdStartConfig {
    fn learn(&self, rows: Rows<'_>, targets: &[f32], seed: u64, control: &Control) -> Result<Booster> {
        let options = BoosterOptions {
            objective: Objective::SquaredError,
            trees: 200,
            learning_rate: 0.03,
            leaves: 15,
            rows_min: (targets.len() / 50).clamp(3, 20),
            column_fraction: 0.5,
            row_fraction: 0.7,
            seed,
            ..BoosterOptions::default()
        };
        let types: Vec<ColumnType> = self.attributes.iter().map(Attribute::column_type).collect();
        let mut binned = TreeRows::new(rows, &types, options.bins);
        binned.append(rows, targets, &[]);
        Booster::fit(&binned, None, &options, control)
    }

    fn row(&self, panel: &Panel, series: usize, rows: Range<usize>) -> Vec<f32> {
        self.attributes.iter().map(|attribute| attribute.of(panel, series, rows.clone())).collect()
    }

    /// A level as trees learn it.
    fn inward(&self, level: f64) -> f64 {
        self.offset.map_or(level, |offset| (level + offset).ln())
    }

    /// The level that trees tell.
    fn outward(&self, said: f32) -> f64 {
        self.offset.map_or(f64::from(said), |offset| (f64::from(said).exp() - offset).max(offset / 10.0))
    }

    fn of_season(&self, period: i64) -> f64 {
        of_season(&self.season, period)
    }

    /// The latest targets of a series relative to what this level makes expect.
    fn errors(&self, panel: &Panel, series: usize, steps: usize, level: f64) -> Vec<f64> {
        let rows = latest(panel, series, steps);
        let first = panel.start[series] - panel.offsets[series] as i64;
        let rows = rows.map(|row| (panel.target[row], level * self.of_season(first + row as i64)));
        let known = rows.filter(|(y, usual)| y.is_finite() && (self.offset.is_none() || *usual > 0.0));
        known.map(|(y, usual)| if self.offset.is_some() { y / usual } else { y - usual }).collect()
    }
}

impl Attribute {
    fn column_type(&self) -> ColumnType {
        match self {
            Self::Number(_) | Self::Known(_) => ColumnType::Number,
            Self::Category(..) | Self::Key(..) => ColumnType::Category,
        }
    }

    fn of(&self, panel: &Panel, series: usize, rows: Range<usize>) -> f32 {
        let place = |words: &[String], word: &str| {
            words.binary_search_by(|own| own.as_str().cmp(word)).map_or(f32::NAN, |at| at as f32)
        };
        let named = |columns: &[Covariate], name: &String| columns.iter().position(|c| c.name == *name);
        match self {
            Self::Number(name) => match named(&panel.statics, name).map(|at| &panel.statics[at].values) {
                Some(Values::Number(numbers)) => numbers[series],
                _ => f32::NAN,
            },
            Self::Category(name, words) => {
                match named(&panel.statics, name).map(|at| &panel.statics[at].values) {
                    Some(Values::Category { codes, labels }) => {
                        labels.get(codes[series] as usize).map_or(f32::NAN, |label| place(words, label))
                    }
                    _ => f32::NAN,
                }
            }
            Self::Key(name, words) => {
                let part = key_parts(&panel.keys[series]).find(|(key, _)| key == name);
                part.map_or(f32::NAN, |(_, value)| place(words, value))
            }
            Self::Known(name) => match named(&panel.known, name).map(|at| &panel.known[at].values) {
                Some(Values::Number(numbers)) => mean(numbers[rows].iter().filter(|x| x.is_finite())),
                _ => f32::NAN,
            },
        }
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let (sum, n) = values.fold((0.0f64, 0.0), |(sum, n), x| (sum + f64::from(*x), n + 1.0));
    if n > 0.0 { (sum / n) as f32 } else { f32::NAN }
}

/// The names and values of a key, `store_id=3, item_id=A1`.
fn key_parts(key: &str) -> impl Iterator<Item = (&str, &str)> {
    key.split(", ").filter_map(|part| part.split_once('='))
}

/// What is told of the series of a panel.
fn attributes(panel: &Panel) -> Vec<Attribute> {
    let mut found = vec![];
    for covariate in &panel.statics {
        let name = covariate.name.clone();
        match &covariate.values {
            Values::Number(_) => found.push(Attribute::Number(name)),
            Values::Category { codes, labels } => {
                let words = codes.iter().filter(|code| **code != MISSING);
                let words = vocabulary(words.map(|code| labels[*code as usize].as_str()));
                let bytes: usize = words.iter().map(String::len).sum();
                // What every series has for itself tells nothing of another one.
                if 2 * words.len() <= panel.len() && bytes <= BYTES_MAX {
                    found.push(Attribute::Category(name, words));
                }
            }
        }
    }
    let numbers = panel.known.iter().filter(|known| matches!(known.values, Values::Number(_)));
    found.extend(numbers.map(|known| Attribute::Known(known.name.clone())));
    found.extend(shared_keys(panel));
    found
}

/// The keys whose values several series have.
fn shared_keys(panel: &Panel) -> Vec<Attribute> {
    let names = |key: &String| key_parts(key).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let Some(first) = panel.keys.first().map(names) else { return vec![] };
    // Values that hold the signs between keys leave none to tell apart.
    if first.len() < 2 || !panel.keys.iter().all(|key| names(key) == first) {
        return vec![];
    }
    let key = |at: usize| {
        let words =
            vocabulary(panel.keys.iter().filter_map(|key| key_parts(key).nth(at)).map(|(_, value)| value));
        (2 * words.len() <= panel.len()).then(|| Attribute::Key(first[at].clone(), words))
    };
    (0..first.len()).filter_map(key).collect()
}

/// The most frequent of these words, ascending.
fn vocabulary<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    let mut found: Vec<(&str, usize)> = counts.into_iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut words: Vec<String> = found.into_iter().take(WORDS_MAX).map(|(word, _)| word.to_owned()).collect();
    words.sort_unstable();
    words
}

/// The last so many rows of a history.
fn latest(panel: &Panel, series: usize, steps: usize) -> Range<usize> {
    let end = panel.offsets[series] + panel.history[series];
    end - steps.min(panel.history[series])..end
}

fn of_season(season: &[f64], period: i64) -> f64 {
    season[period.rem_euclid(season.len() as i64) as usize]
}

/// By place in the season, targets of all series relative to the means of their series; 1 where no two seasons are there.
fn season(panel: &Panel) -> Vec<f64> {
    let length = panel.season_length.max(1);
    let longest = panel.history.iter().copied().max().unwrap_or(0);
    if length == 1 || longest < 2 * length || panel.target.iter().any(|y| *y < 0.0) {
        return vec![1.0];
    }
    let steps = SEASON_STEPS_MAX.max(2 * length) / length * length;
    let mut sums = vec![(0.0f64, 0.0f64); length];
    for series in 0..panel.len() {
        let rows = latest(panel, series, steps);
        let known = || rows.clone().filter(|row| panel.target[*row].is_finite());
        let mean = known().map(|row| panel.target[row]).sum::<f64>() / known().count().max(1) as f64;
        for row in known() {
            let period = panel.start[series] + (row - panel.offsets[series]) as i64;
            let (sum, expected) = &mut sums[period.rem_euclid(length as i64) as usize];
            (*sum, *expected) = (*sum + panel.target[row], *expected + mean);
        }
    }
    sums.into_iter().map(|(sum, expected)| if expected > 0.0 { sum / expected } else { 1.0 }).collect()
}

/// The level of a series at its end, without its season; none where nothing was sold, and so nothing is on sale.
fn level(panel: &Panel, series: usize, steps: usize, season: &[f64]) -> Option<f64> {
    let first = panel.start[series] - panel.offsets[series] as i64;
    let rows = latest(panel, series, steps).filter(|row| panel.target[*row].is_finite());
    let (sum, expected) = rows.fold((0.0, 0.0), |(sum, expected), row| {
        (sum + panel.target[row], expected + of_season(season, first + row as i64))
    });
    (sum != 0.0 && expected > 0.0).then(|| sum / expected)
}

/// Where groups by level begin, and the quantiles of the errors of each.
fn spread_of(mut errors: Vec<(f64, Vec<f64>)>) -> (Vec<f64>, Vec<Vec<f64>>) {
    errors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: usize = errors.iter().map(|(_, errors)| errors.len()).sum();
    let groups = (total / ERRORS_MIN).clamp(1, GROUPS);
    let bounds: Vec<usize> = (0..=groups).map(|group| group * errors.len() / groups).collect();
    let cuts = bounds[1..groups].iter().map(|at| errors[*at].0).collect();
    let quantiles = |group: usize| {
        let mut own: Vec<f64> =
            errors[bounds[group]..bounds[group + 1]].iter().flat_map(|(_, errors)| errors).copied().collect();
        own.sort_by(f64::total_cmp);
        let place = |level: f64| ((level * own.len() as f64) as usize).min(own.len().saturating_sub(1));
        LEVELS.iter().map(|level| own.get(place(*level)).copied().unwrap_or(0.0)).collect()
    };
    (cuts, (0..groups).map(quantiles).collect())
}
