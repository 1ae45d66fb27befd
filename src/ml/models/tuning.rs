//! A search for options: trials of families on the held-out windows, the best of which the fit then uses.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::forecaster::{Family, FitOptions, Scores, Trial};
use crate::ml::models::{auto, family, fitting};
use crate::ml::rng::Rng;
use crate::ml::series::Panel;

/// Share of the trials that goes on to the next round of successive halving, and how much more work each does there.
const HALVING: usize = 3;
/// Most rounds of successive halving before the one of all work.
const ROUNDS_MAX: u32 = 3;

/// The values that an option may have.
#[derive(Debug, Clone, PartialEq)]
pub enum Space {
    /// One of these.
    List(Vec<f64>),
    /// Any between two, inclusive.
    Range {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Whole numbers only.
        whole: bool,
        /// Evenly in size rather than in difference: 0.001 is as far from 0.01 as that from 0.1.
        logarithmic: bool,
    },
}

/// The order in which values are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Every combination of the lists.
    Grid,
    /// Values drawn at random, evenly over their spaces (Bergstra and Bengio 2012).
    Random,
    /// The same with little work at first, and more of it for the better third, again and again (Jamieson and Talwalkar
    /// 2016).
    Halving,
}

/// A search for options.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Options by their words in SQL, and what they may be.
    pub parameters: Vec<(String, Space)>,
    /// Combinations that are tried.
    pub trials: usize,
    /// How they are chosen.
    pub search: Search,
    /// Seconds after which no trial begins any more.
    pub seconds: Option<f64>,
}

impl Tuning {
    /// Number of combinations, where all options have lists.
    pub fn combinations(&self) -> Option<usize> {
        self.parameters.iter().try_fold(1usize, |product, (_, space)| match space {
            Space::List(values) => product.checked_mul(values.len()),
            Space::Range { .. } => None,
        })
    }

    /// The combinations that are tried, each once.
    fn candidates(&self, seed: u64) -> Vec<Vec<f64>> {
        let mut rng = Rng::new(seed).fork("tune");
        let (wanted, mut found) = (self.trials.min(self.combinations().unwrap_or(usize::MAX)), Vec::new());
        if self.search == Search::Grid {
            return (0..wanted).map(|n| self.combination(n)).collect();
        }
        // Lists that are nearly used up take many draws.
        for _ in 0..wanted.saturating_mul(100) {
            let drawn: Vec<f64> = self.parameters.iter().map(|(_, space)| space.draw(&mut rng)).collect();
            if found.len() < wanted && !found.contains(&drawn) {
                found.push(drawn);
            }
        }
        found
    }

    /// Combination `n` of the lists; the last option changes first.
    fn combination(&self, mut n: usize) -> Vec<f64> {
        let mut values: Vec<f64> = self
            .parameters
            .iter()
            .rev()
            .filter_map(|(_, space)| match space {
                Space::List(list) => {
                    let value = list.get(n % list.len().max(1)).copied();
                    n /= list.len().max(1);
                    value
                }
                Space::Range { .. } => None,
            })
            .collect();
        values.reverse();
        values
    }

    /// Shares of the usual work of the rounds, and how many of the trials take part in each.
    fn rounds(&self, trials: usize) -> Vec<(f64, usize)> {
        if self.search != Search::Halving {
            return vec![(1.0, trials)];
        }
        let rounds = trials.max(1).ilog(HALVING).min(ROUNDS_MAX);
        let round = |n: u32| {
            let share = (HALVING as f64).powi(-((rounds - n) as i32));
            (share, trials.div_ceil(HALVING.pow(n)))
        };
        (0..=rounds).map(round).collect()
    }
}

impl Space {
    fn draw(&self, rng: &mut Rng) -> f64 {
        match self {
            Self::List(values) => values.get(rng.below(values.len().max(1))).copied().unwrap_or(f64::NAN),
            Self::Range { low, high, whole: true, .. } => low + rng.below((high - low) as usize + 1) as f64,
            Self::Range { low, high, logarithmic: true, .. } if *low > 0.0 => {
                let (from, to) = (low.ln(), high.ln());
                rounded((from + rng.uniform() * (to - from)).exp()).clamp(*low, *high)
            }
            Self::Range { low, high, .. } => rounded(low + rng.uniform() * (high - low)).clamp(*low, *high),
        }
    }
}

/// Three digits of a number: more would make no difference and be hard to read and to write again.
fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}

/// The options with the best of the values tried, and all trials, in the order in which they were made.
pub fn tune(
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    tuning: &Tuning,
    control: &Arc<Control>,
) -> Result<(FitOptions, Vec<Trial>)> {
    if fitting::Plan::new(panel, options).windows == 0 {
        let message = "TUNE compares trials on held-out steps, and the series are too short to hold any out";
        return Err(Error::data(message).with_hint("leave TUNE away, or train on longer series"));
    }
    // Families without the options would say the same in all trials.
    let tuned = |family: &Family| tuning.parameters.iter().any(|(name, _)| family::has_option(*family, name));
    let families: Vec<Family> = auto::candidates(families, panel).into_iter().filter(tuned).collect();
    let mut search =
        Running { families, panel, options, tuning, control, started: Instant::now(), trials: vec![] };
    search.run()?;
    let tuned = set(options, &search.best()?.options);
    Ok((tuned, search.trials))
}

/// The options with these values.
fn set(options: &FitOptions, values: &[(String, f64)]) -> FitOptions {
    let mut options = options.clone();
    values.iter().for_each(|(name, value)| options.set(name, *value));
    options
}

/// A search that runs.
struct Running<'a> {
    families: Vec<Family>,
    panel: &'a Panel,
    options: &'a FitOptions,
    tuning: &'a Tuning,
    control: &'a Arc<Control>,
    started: Instant,
    trials: Vec<Trial>,
}

impl Running<'_> {
    fn run(&mut self) -> Result<()> {
        let mut candidates = self.tuning.candidates(self.options.seed);
        let rounds = self.tuning.rounds(candidates.len());
        let (planned, work) =
            (rounds.iter().map(|r| r.1).sum(), rounds.iter().map(|r| r.0 * r.1 as f64).sum::<f64>());
        for (effort, count) in rounds {
            candidates.truncate(count);
            let mut ranked = Vec::with_capacity(count);
            for values in candidates {
                if self.is_over() {
                    return Ok(());
                }
                self.control
                    .report(|p| (p.phase, p.trial, p.trials) = ("tune", self.trials.len() + 1, planned));
                let trial = self.attempt(&values, effort, effort / work)?;
                ranked.push((rank(&trial), values));
                self.trials.push(trial);
            }
            // Of equals, those tried first go on.
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
            candidates = ranked.into_iter().map(|(_, values)| values).collect();
        }
        Ok(())
    }

    /// Seconds that are left, of those that the user gave.
    fn seconds_left(&self) -> Option<f64> {
        self.tuning.seconds.map(|seconds| seconds - self.started.elapsed().as_secs_f64())
    }

    fn is_over(&self) -> bool {
        !self.trials.is_empty() && self.seconds_left().is_some_and(|left| left <= 0.0)
    }

    /// One trial; what stops the whole search is an error, what speaks against these values is in the trial.
    fn attempt(&self, values: &[f64], effort: f64, share: f64) -> Result<Trial> {
        let started = Instant::now();
        let names = self.tuning.parameters.iter().map(|(name, _)| name.clone());
        let tried: Vec<(String, f64)> = names.zip(values.iter().copied()).collect();
        let mut options = set(self.options, &tried);
        if let Some(left) = self.seconds_left() {
            // A fit of candidates takes its share of the seconds, which here is all there is.
            options.max_seconds = Some((left / fitting::CANDIDATES_SECONDS).max(0.1));
        }
        let control = Control::part(self.control, share);
        let found = fitting::score(&self.families, self.panel, &options, effort, &control);
        control.report(|p| p.fraction = 1.0);
        self.control.check()?;
        let (scores, failure) = match found {
            Ok(scores) => (Some(scores), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        Ok(Trial { options: tried, effort, scores, seconds: started.elapsed().as_secs_f64(), failure })
    }

    /// The best of those with the most work.
    fn best(&self) -> Result<&Trial> {
        let most = self.trials.iter().filter(|t| t.scores.is_some()).map(|t| t.effort).fold(0.0, f64::max);
        let last = self.trials.iter().filter(|t| t.scores.is_some() && t.effort == most);
        last.min_by(|a, b| rank(a).total_cmp(&rank(b))).ok_or_else(|| {
            let why = self.trials.iter().find_map(|t| t.failure.clone()).unwrap_or_default();
            Error::data(format!("all trials of TUNE failed; the first one: {why}"))
        })
    }
}

/// What trials are sorted by; those without scores are last.
fn rank(trial: &Trial) -> f64 {
    trial.scores.as_ref().map_or(f64::INFINITY, Scores::rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning(search: Search, trials: usize) -> Tuning {
        let list = |values: &[f64]| Space::List(values.to_vec());
        let parameters =
            vec![("layers".to_owned(), list(&[1.0, 2.0])), ("dim".to_owned(), list(&[8.0, 16.0, 32.0]))];
        Tuning { parameters, trials, search, seconds: None }
    }

    #[test]
    fn grids_are_complete_and_draws_are_distinct_and_repeatable() {
        let grid = tuning(Search::Grid, usize::MAX).candidates(1);
        assert_eq!(grid.len(), 6);
        assert_eq!((&grid[0], &grid[1], &grid[5]), (&vec![1.0, 8.0], &vec![1.0, 16.0], &vec![2.0, 32.0]));
        let drawn = tuning(Search::Random, 5).candidates(1);
        assert_eq!((drawn.len(), &drawn), (5, &tuning(Search::Random, 5).candidates(1)));
        assert!(drawn.iter().all(|values| grid.contains(values)));
        assert_ne!(drawn, tuning(Search::Random, 5).candidates(2));
        assert_eq!(tuning(Search::Random, 50).candidates(1).len(), 6);
    }

    #[test]
    fn ranges_are_drawn_within_their_bounds_evenly_in_size() {
        let mut rng = Rng::new(3);
        let rate = Space::Range { low: 1e-4, high: 1e-2, whole: false, logarithmic: true };
        let drawn: Vec<f64> = (0..1000).map(|_| rate.draw(&mut rng)).collect();
        assert!(drawn.iter().all(|x| (1e-4..=1e-2).contains(x) && format!("{x}").len() <= 8), "{drawn:?}");
        let below = drawn.iter().filter(|x| **x < 1e-3).count();
        assert!((440..560).contains(&below), "{below}");
        let layers = Space::Range { low: 2.0, high: 4.0, whole: true, logarithmic: false };
        let drawn: Vec<f64> = (0..100).map(|_| layers.draw(&mut rng)).collect();
        assert!([2.0, 3.0, 4.0].iter().all(|n| drawn.contains(n)) && drawn.iter().all(|n| n.fract() == 0.0));
    }

    #[test]
    fn halving_gives_more_work_to_fewer() {
        let third = 1.0 / 3.0;
        let shares = |trials| tuning(Search::Halving, trials).rounds(trials);
        assert_eq!(shares(9).iter().map(|r| r.1).collect::<Vec<_>>(), [9, 3, 1]);
        assert!(
            shares(9).iter().zip([third * third, third, 1.0]).all(|(r, share)| (r.0 - share).abs() < 1e-12)
        );
        assert_eq!((shares(1), shares(2)), (vec![(1.0, 1)], vec![(1.0, 2)]));
    }
}
