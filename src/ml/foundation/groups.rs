//! Series and their covariates as rows of tokens, those of a group side by side.

use crate::ml::foundation::config::FoundationConfig;

/// Most earlier values that a step shows beside its own.
pub(super) const LAGS: usize = 3;
/// Seasons that are looked back where values are missing, at most.
const SEASONS_BACK: usize = 4;
/// Largest size of a scaled value, which lies on the scale of the inverse hyperbolic sine.
const SCALED_MAX: f32 = 12.0;

/// One row of a group: its history, and its future where that is known or is to be learnt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupRow {
    /// Values before the origin, the last one right before it; NaN where there is none.
    pub history: Vec<f32>,
    /// Values after it; NaN where there is none.
    pub future: Vec<f32>,
    /// True where the future is shown to the network rather than asked of it.
    pub known: bool,
    /// True of a known row that is a covariate of the past, later by the steps by which it runs ahead.
    pub leads: bool,
}

/// Rows that look at each other; the first is the target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// The rows.
    pub rows: Vec<GroupRow>,
    /// The frequency's place in the table of separators, 0 for an unknown one.
    pub frequency: usize,
    /// The usual season in steps, below 2 where there is none.
    pub season: usize,
}

/// How far back the values lie that every step shows: a step, the usual season, and the longer one that goes with it, a week
/// of days with their hours, a year of weeks. 0 where there is none.
///
/// Lagged values as features of a step are those of DeepAR (Salinas et al. 2020) and Lag-Llama (Rasul et al. 2023).
fn lags(season: usize) -> [usize; LAGS] {
    match season {
        0 | 1 => [1, 0, 0],
        5 | 7 => [1, season, 52 * season],
        24 | 48 | 96 | 144 | 288 => [1, season, 7 * season],
        _ => [1, season, 0],
    }
}

/// Steps of history in which the longest of the seasons that are looked back on shows whole.
pub fn look_back(season: usize) -> usize {
    lags(season).into_iter().max().unwrap_or(0) + season
}

/// The step before the origin, counted back from it, that is `lag` steps before a step, `ahead` of the origin or before it; of
/// steps far ahead that of the last season.
fn lagged(ahead: isize, lag: usize) -> Option<usize> {
    let lag = isize::try_from(lag).ok().filter(|lag| *lag > 0)?;
    let seasons = if ahead < 0 { 1 } else { ahead / lag + 1 };
    usize::try_from(seasons * lag - ahead).ok()
}

/// What a row's values were shifted and divided by before the inverse hyperbolic sine was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Mean of the history.
    pub location: f32,
    /// Its standard deviation.
    pub deviation: f32,
}

impl Scale {
    /// That of a history: mean and population deviation; without values, or without spread, as Chronos-2 has it.
    pub fn of(history: &[f32]) -> Self {
        let observed = || history.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x));
        let n = observed().count();
        if n == 0 {
            return Self { location: 0.0, deviation: 1.0 };
        }
        let mean = observed().sum::<f64>() / n as f64;
        let variance = observed().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        let deviation = variance.sqrt() as f32;
        Self { location: mean as f32, deviation: if deviation > 0.0 { deviation } else { 1e-5 } }
    }

    /// A value as the network sees it.
    pub fn scaled(&self, x: f32) -> f32 {
        ((x - self.location) / self.deviation).asinh().clamp(-SCALED_MAX, SCALED_MAX)
    }

    /// The value that the network sees as `z`.
    pub fn unscaled(&self, z: f32) -> f32 {
        z.clamp(-SCALED_MAX, SCALED_MAX).sinh().mul_add(self.deviation, self.location)
    }
}

/// Groups of as many rows and as many tokens each, ready for the network.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    /// Groups.
    pub len: usize,
    /// Rows of each.
    pub rows: usize,
    /// Tokens before the separator and after it.
    pub tokens: (usize, usize),
    /// Steps, values, flags, and earlier values of every token, `[len, rows, tokens, channels * patch]`.
    pub inputs: Vec<f32>,
    /// True for the tokens that others look at, separators included: `[len, rows, before + 1 + after]`.
    pub present: Vec<bool>,
    /// Places in the table of separators, one for each group.
    pub separators: Vec<u32>,
    /// Scales of the rows, `[len, rows]`.
    pub scales: Vec<Scale>,
    /// True where tokens before the origin may be hidden, and are then asked for as those after it are.
    pub masked: bool,
    /// Scaled values that are asked for: `[len, rows, after * patch]`, of masked batches `[len, rows, (before + after) * patch]`.
    pub targets: Vec<f32>,
    /// What each counts for in the loss; those of a group add up to 1, or are all 0.
    pub weights: Vec<f32>,
}

impl Groups {
    /// Empties the batch for groups of `rows` rows with at most `before` and exactly `after` tokens.
    pub fn start(&mut self, rows: usize, tokens: (usize, usize)) {
        (self.len, self.rows, self.tokens, self.masked) = (0, rows, tokens, false);
        self.inputs.clear();
        self.present.clear();
        self.separators.clear();
        self.scales.clear();
        self.targets.clear();
        self.weights.clear();
    }

    /// Adds a group; rows beyond those of the batch are left out, missing ones are seen by nobody.
    pub fn push(&mut self, group: &Group, config: &FoundationConfig) {
        self.push_hiding(group, &[], config);
    }

    /// Adds a group to a masked batch, whose tokens before the origin with a flag are hidden in all rows that are to be
    /// forecast.
    pub fn push_hiding(&mut self, group: &Group, hidden: &[bool], config: &FoundationConfig) {
        let first_weight = self.weights.len();
        for row in 0..self.rows {
            match group.rows.get(row) {
                Some(row) => self.push_row((row, group.season), hidden, config),
                None => self.push_blank(config),
            }
        }
        let asked = &mut self.weights[first_weight..];
        let count: f32 = asked.iter().sum();
        asked.iter_mut().for_each(|weight| *weight /= count.max(1.0));
        self.separators.push((1 + group.frequency).min(config.vocab_size - 1) as u32);
        self.len += 1;
    }

    fn push_row(&mut self, (row, season): (&GroupRow, usize), hidden: &[bool], config: &FoundationConfig) {
        let (patch, (before, after)) = (config.input_patch_size, self.tokens);
        let (channels, lags) = (config.channels(), &lags(season)[..config.lags]);
        let is_hidden = |token: usize| !row.known && hidden.get(token).copied().unwrap_or(false);
        let context = before * patch;
        let history = &row.history[row.history.len().saturating_sub(context)..];
        let (lead, scale) = (context - history.len(), Scale::of(history));
        // What is asked for begins with the last value that there is.
        let last = history.iter().rposition(|x| x.is_finite()).map(|t| history.len() - t);
        let clock = 1.0 / config.time_encoding_scale as f32;
        for token in 0..before + after {
            let hides = (!row.known && token >= before) || is_hidden(token);
            let at = self.inputs.len();
            self.inputs.resize(at + channels * patch, 0.0);
            let mut seen = false;
            for i in 0..patch {
                let step = token * patch + i;
                self.inputs[at + i] = (step as f32 - context as f32) * clock;
                for (channel, lag) in lags.iter().enumerate() {
                    let back = match (*lag, step < context) {
                        (1, false) => last,
                        _ => lagged(step as isize - context as isize, *lag),
                    };
                    let seen = |back: usize| {
                        let x = history[history.len() - back];
                        (x.is_finite() && !is_hidden((context - back) / patch)).then_some(x)
                    };
                    // Where nobody wrote down the step a season ago, it is the one of the season before.
                    let seasons = if *lag > 1 { SEASONS_BACK } else { 1 };
                    let places = back.into_iter().flat_map(|back| (0..seasons).map(move |n| back + n * lag));
                    let value = places.take_while(|back| *back <= history.len()).find_map(seen);
                    self.inputs[at + (3 + channel) * patch + i] = value.map_or(0.0, |x| scale.scaled(x));
                }
                let value = match step.checked_sub(context) {
                    None => step.checked_sub(lead).map(|j| history[j]),
                    Some(ahead) => row.future.get(ahead).copied(),
                };
                let value = value.filter(|x| x.is_finite());
                if let Some(x) = value.filter(|_| !hides) {
                    (self.inputs[at + patch + i], self.inputs[at + 2 * patch + i]) = (scale.scaled(x), 1.0);
                    seen = true;
                }
                if token >= before || self.masked {
                    let asked = value.filter(|_| hides);
                    self.targets.push(asked.map_or(0.0, |y| scale.scaled(y)));
                    self.weights.push(f32::from(u8::from(asked.is_some())));
                }
            }
            self.present.push(seen || token >= before || hides);
            if token + 1 == before {
                self.present.push(true);
            }
        }
        self.scales.push(scale);
    }

    fn push_blank(&mut self, config: &FoundationConfig) {
        let (patch, (before, after)) = (config.input_patch_size, self.tokens);
        let asked = (if self.masked { before } else { 0 } + after) * patch;
        self.inputs.resize(self.inputs.len() + (before + after) * config.channels() * patch, 0.0);
        self.present.resize(self.present.len() + before + after + 1, false);
        self.targets.resize(self.targets.len() + asked, 0.0);
        self.weights.resize(self.weights.len() + asked, 0.0);
        self.scales.push(Scale { location: 0.0, deviation: 1.0 });
    }

    /// Adds the groups of another batch of the same shape.
    pub fn append(&mut self, mut other: Self) {
        self.len += other.len;
        self.inputs.append(&mut other.inputs);
        self.present.append(&mut other.present);
        self.separators.append(&mut other.separators);
        self.scales.append(&mut other.scales);
        self.targets.append(&mut other.targets);
        self.weights.append(&mut other.weights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_shows_the_one_before_and_those_of_seasons_ago() {
        let config = FoundationConfig { input_patch_size: 4, ..FoundationConfig::default() };
        let history: Vec<f32> = (0..8).map(|t| t as f32).collect();
        let scale = Scale::of(&history);
        let row = GroupRow { history, ..GroupRow::default() };
        let group = Group { rows: vec![row], frequency: 3, season: 3 };
        let mut batch = Groups::default();
        batch.start(1, (2, 2));
        batch.push(&group, &config);
        let steps = |channel: usize| -> Vec<f32> {
            let tokens = batch.inputs.chunks_exact(4 * config.channels());
            tokens.flat_map(|token| token[channel * 4..(channel + 1) * 4].to_vec()).collect()
        };
        let scaled =
            |steps: &[usize]| -> Vec<f32> { steps.iter().map(|t| scale.scaled(*t as f32)).collect() };
        assert_eq!(steps(3)[0], 0.0);
        assert_eq!(steps(3)[1..], scaled(&[0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7]));
        assert_eq!(steps(4)[..3], [0.0; 3]);
        assert_eq!(steps(4)[3..], scaled(&[0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 5, 6]));
        assert_eq!(steps(5), [0.0; 16]);
        assert_eq!([lags(1), lags(7), lags(24)], [[1, 0, 0], [1, 7, 364], [1, 24, 168]]);
    }

    #[test]
    fn a_missing_step_of_a_season_ago_is_that_of_the_season_before() {
        let config = FoundationConfig { input_patch_size: 4, ..FoundationConfig::default() };
        let mut history: Vec<f32> = (0..16).map(|t| (t * t) as f32).collect();
        for missing in [13, 11, 9, 7, 5, 3] {
            history[missing] = f32::NAN;
        }
        let scale = Scale::of(&history);
        let row = GroupRow { history, ..GroupRow::default() };
        let group = Group { rows: vec![row], frequency: 3, season: 2 };
        let mut batch = Groups::default();
        batch.start(1, (4, 1));
        batch.masked = true;
        batch.push_hiding(&group, &[false, false, false, true], &config);
        let token = |n: usize, channel: usize| -> &[f32] {
            &batch.inputs[(n * config.channels() + channel) * 4..][..4]
        };
        let value = |t: usize| scale.scaled((t * t) as f32);
        // The last token, of steps 12 to 15, is hidden: 11, 9, 7 and 5 are missing, and four seasons are looked back.
        assert_eq!(token(4, 4), [value(10), 0.0, value(10), 0.0]);
        // Steps 12 to 15 themselves, from 10, from 11, 9, 7 and 5, and from what is hidden.
        assert_eq!(token(3, 4), [value(10), 0.0, value(10), 0.0]);
        // Of the step before nothing is looked for; steps 7 to 10 are before 8 to 11.
        assert_eq!(token(2, 3), [0.0, value(8), 0.0, value(10)]);
    }
}
