//! A fit: candidates learn, forecast held-out windows, are weighted and calibrated by them, and learn the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::error::{Error, ErrorKind, Result};
use crate::ml::control::Control;
use crate::ml::evaluation::{Calibration, Contest, Dependence, GROUPS, Holdout, Scorer};
use crate::ml::features::canonical_order;
use crate::ml::forecaster::{Candidate, Family, FitOptions, FitReport, Forecast, Scores, SeriesScores};
use crate::ml::models::family::{family_name, learner, objectives};
use crate::ml::models::fitted::{Fitted, FittedConfig, Member, bound, close, combine, groups};
use crate::ml::models::model::{Learnt, Lesson};
use crate::ml::series::Panel;

/// Most windows that are held out where the user names no number of steps.
pub const WINDOWS_MAX: usize = 3;
/// Share of the usual work that each of several families does.
const SHARED_EFFORT: f64 = 0.25;
/// Share of the seconds that candidates may take together; the rest is for what they learn at the end.
pub(super) const CANDIDATES_SECONDS: f64 = 0.6;
/// Share of the seconds when all must have learnt; the rest is for scores and for what the caller does with the model.
const LEARNT_SECONDS: f64 = 0.95;
/// Share of the progress when all candidates have learnt; the rest is what they learn at the end.
const CANDIDATES_SHARE: f64 = 0.75;

/// Windows at the end of every series that are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Number of windows.
    pub(super) windows: usize,
    /// Steps of each.
    pub(super) length: usize,
}

impl Plan {
    /// As many windows as the user's steps hold, or else as many as leave enough to learn from.
    pub(super) fn new(panel: &Panel, options: &FitOptions) -> Self {
        let longest = panel.history.iter().copied().max().unwrap_or(0);
        let horizon = options.horizon.max(1);
        if let Some(steps) = options.validation_length {
            let length = steps.min(horizon).max(1);
            let plan = Self { windows: (steps / length).max(usize::from(steps > 0)), length };
            return plan.within(longest);
        }
        let mut lengths = panel.history.clone();
        lengths.sort_unstable();
        let typical = lengths.get(lengths.len() / 4).copied().unwrap_or(0);
        let needed = (2 * panel.season_length).max(2 * horizon);
        let fits = |windows: usize| typical >= needed + windows * horizon;
        let windows = (1..=WINDOWS_MAX).rev().find(|n| fits(*n)).unwrap_or(1);
        Self { windows, length: horizon }.within(longest)
    }

    /// Fewer or shorter windows where the longest history has no more steps.
    fn within(self, longest: usize) -> Self {
        let windows = self.windows.min(longest.saturating_sub(1) / self.length.max(1));
        Self { windows, length: if windows == 0 { 0 } else { self.length } }
    }

    /// Steps that are held out.
    pub(super) fn steps(self) -> usize {
        self.windows * self.length
    }
}

/// A candidate that has learnt, and what it says of the windows.
struct Entrant {
    family: Family,
    learnt: Learnt,
    forecasts: Vec<Forecast>,
    calibration: Calibration,
    seconds: f64,
}

/// What a fit gives.
pub(super) struct Outcome {
    pub(super) model: Arc<Fitted>,
    pub(super) report: FitReport,
    /// The held-out windows, and what was forecast for them before they were learnt.
    pub(super) windows: Vec<(Holdout, Forecast)>,
}

/// Fits these families, which are combined where there are several.
pub(super) fn fit(
    family: Family,
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<Outcome> {
    let cleaned = options.outliers.clean(panel);
    let (learnt, outliers) = cleaned.as_ref().map_or((panel, 0), |(cleaned, n)| (cleaned, *n));
    let outcome = with_fitting(families, (panel, learnt), options, (1.0, control), |fit| {
        let (entrants, failures) = fit.entrants(families)?;
        fit.finish(family, entrants, failures)
    })?;
    Ok(Outcome { report: FitReport { outliers, ..outcome.report }, ..outcome })
}

/// Lets the members of a fitted combination go on with a panel, and weighs and calibrates them again.
pub(super) fn go_on(
    fitted: &Fitted,
    panel: &Panel,
    options: &FitOptions,
    control: &Control,
) -> Result<Outcome> {
    let cleaned = options.outliers.clean(panel);
    let (learnt, outliers) = cleaned.as_ref().map_or((panel, 0), |(cleaned, n)| (cleaned, *n));
    let families: Vec<Family> = fitted.members.iter().map(|member| member.family).collect();
    let outcome = with_fitting(&families, (panel, learnt), options, (1.0, control), |fit| {
        let fit = Fitting { goes_on: true, ..fit };
        let share = CANDIDATES_SHARE / families.len() as f64;
        let entrants = fitted.members.iter().enumerate().map(|(n, member)| {
            let span = (n as f64 * share, (n + 1) as f64 * share);
            let go_on = |lesson: &Lesson<'_>| Ok(Learnt::from(Arc::clone(&member.model).go_on(lesson)?));
            fit.enter_by(member.family, span, &go_on)
        });
        let entrants = entrants.collect::<Result<Vec<_>>>()?;
        fit.finish(fitted.config.family, entrants, Vec::new())
    })?;
    Ok(Outcome { report: FitReport { outliers, ..outcome.report }, ..outcome })
}

/// Scores of these families on the held-out windows, before which they learn with a share of the usual work.
pub(super) fn score(
    families: &[Family],
    panel: &Panel,
    options: &FitOptions,
    effort: f64,
    control: &Control,
) -> Result<Scores> {
    let cleaned = options.outliers.clean(panel);
    let learnt = cleaned.as_ref().map_or(panel, |(cleaned, _)| cleaned);
    with_fitting(families, (panel, learnt), options, (effort, control), |fit| {
        let (entrants, _) = fit.entrants(families)?;
        Ok(match entrants.as_slice() {
            [only] => fit.score_of(only),
            several => fit.score(&fit.combined(several).1, usize::MAX),
        }
        .scores())
    })
}

/// Runs a fit to `learnt`, which is `panel` with its outliers treated.
fn with_fitting<T>(
    families: &[Family],
    (panel, learnt): (&Panel, &Panel),
    options: &FitOptions,
    (effort, control): (f64, &Control),
    run: impl FnOnce(Fitting<'_>) -> Result<T>,
) -> Result<T> {
    let (plan, started) = (Plan::new(panel, options), Instant::now());
    let holdouts = holdouts(panel, learnt, plan);
    let known = learnt.cut_lines(plan.steps());
    let panel = known.as_ref().unwrap_or(learnt);
    let shared = families.len() > 1;
    let share = if shared { SHARED_EFFORT } else { 1.0 };
    let groups = groups(panel, usize::MAX);
    let (plain, effort) = (&FitOptions { objective: None, ..options.clone() }, effort * share);
    let goes_on = false;
    run(Fitting { panel, options, plain, control, plan, holdouts, groups, effort, shared, started, goes_on })
}

/// The windows, with what came true in `panel` and the history of `learnt`, whose outliers are treated.
pub(super) fn holdouts(panel: &Panel, learnt: &Panel, plan: Plan) -> Vec<Holdout> {
    let windows = (1..=plan.windows).rev();
    windows.map(|back| Holdout::new(panel, learnt, back * plan.length, plan.length)).collect()
}

struct Fitting<'a> {
    panel: &'a Panel,
    options: &'a FitOptions,
    /// The options of families that do not know the objective, which only the choice of others has.
    plain: &'a FitOptions,
    control: &'a Control,
    plan: Plan,
    holdouts: Vec<Holdout>,
    /// Group of every series.
    groups: Vec<usize>,
    effort: f64,
    /// There are several families.
    shared: bool,
    started: Instant,
    /// Models go on from where they stand.
    goes_on: bool,
}

impl Fitting<'_> {
    /// The instant at which this share of the user's seconds is over.
    fn deadline(&self, share: f64) -> Option<Instant> {
        self.options.max_seconds.map(|seconds| self.started + Duration::from_secs_f64(seconds * share))
    }

    fn lesson(
        &self,
        family: Family,
        held_out: usize,
        deadline: Option<Instant>,
        span: (f64, f64),
    ) -> Lesson<'_> {
        let knows = self.options.objective.is_some_and(|kind| objectives(family).contains(&kind));
        let options = if knows { self.options } else { self.plain };
        let lesson = Lesson::new(self.panel, held_out, options, self.control);
        Lesson { effort: self.effort, shared: self.shared, deadline, span, ..lesson }
    }

    /// Why there is no time for this family, where there is none.
    fn too_slow(&self, family: Family) -> Result<Option<String>> {
        let (Some(deadline), Some(learner)) = (self.deadline(CANDIDATES_SECONDS), learner(family)) else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let estimate = learner.estimate(&self.lesson(family, self.plan.steps(), None, (0.0, 1.0)))?;
        // A network or a booster that is cut short is still of use from a tenth of its way on.
        let needed = if learner.can_stop() { 0.1 * self.effort * estimate.seconds } else { estimate.seconds };
        Ok((needed > left).then(|| {
            format!("it needs about {:.1} s, and {left:.1} s of max_seconds are left for it", needed.max(0.1))
        }))
    }

    /// Lets every family learn; of several, those that fail are left out and told.
    fn entrants(&self, families: &[Family]) -> Result<(Vec<Entrant>, Vec<Candidate>)> {
        let (mut entrants, mut failures) = (Vec::new(), Vec::new());
        for (n, family) in families.iter().enumerate() {
            let share = CANDIDATES_SHARE / families.len() as f64;
            let span = (n as f64 * share, (n + 1) as f64 * share);
            self.control.report(|p| p.fraction = span.0);
            let slow = match families.len() > 1 && *family != Family::SeasonalNaive {
                true => self.too_slow(*family)?,
                false => None,
            };
            let entered = match slow {
                Some(why) => Err(Error::data(why)),
                None => self.enter(*family, span),
            };
            match entered {
                Ok(entrant) => entrants.push(entrant),
                Err(error) if families.len() == 1 || error.kind() == ErrorKind::Cancelled => {
                    return Err(error);
                }
                Err(error) => failures.push(Candidate {
                    family: *family,
                    scores: Scores::default(),
                    weight: 0.0,
                    seconds: 0.0,
                    failure: Some(error.message().to_owned()),
                }),
            }
        }
        match entrants.is_empty() {
            true => Err(Error::data(failures.first().and_then(|f| f.failure.clone()).unwrap_or_default())),
            false => Ok((entrants, failures)),
        }
    }

    fn enter(&self, family: Family, span: (f64, f64)) -> Result<Entrant> {
        let learner = learner(family)
            .ok_or_else(|| Error::internal(format!("{} does not learn", family_name(family))))?;
        self.enter_by(family, span, &|lesson| learner.fit(lesson))
    }

    /// An entrant that learns what comes before the windows by `learn`.
    fn enter_by(
        &self,
        family: Family,
        span: (f64, f64),
        learn: &dyn Fn(&Lesson<'_>) -> Result<Learnt>,
    ) -> Result<Entrant> {
        let started = Instant::now();
        self.control.report(|p| p.phase = "fit");
        let deadline = self.deadline(CANDIDATES_SECONDS);
        let mut learnt = learn(&self.lesson(family, self.plan.steps(), deadline, span))?;
        let before =
            learnt.before.take().map(|model| Learnt { log: learnt.log.clone(), ..Learnt::from(model) });
        self.control.report(|p| p.phase = "validate");
        let entrant = self.heard(family, learnt, started)?;
        let Some(before) = before.map(|before| self.heard(family, before, Instant::now())).transpose()?
        else {
            return Ok(entrant);
        };
        let rank = |entrant: &Entrant| self.score_of(entrant).scores().rank();
        Ok(if rank(&before) < rank(&entrant) { before } else { entrant })
    }

    /// An entrant, and what it says of the windows.
    fn heard(&self, family: Family, learnt: Learnt, started: Instant) -> Result<Entrant> {
        let predict = |holdout: &Holdout| {
            let mut forecast = learnt.model.predict(holdout.panel(), holdout.length(), self.control)?;
            bound(holdout.panel(), learnt.model.context_length(), &mut forecast);
            Ok(forecast)
        };
        let forecasts: Vec<Forecast> = self.holdouts.iter().map(predict).collect::<Result<_>>()?;
        let calibration = self.calibrate(&forecasts, None);
        Ok(Entrant { family, learnt, forecasts, calibration, seconds: started.elapsed().as_secs_f64() })
    }

    /// Calibration by these forecasts of the windows, one of them left out.
    fn calibrate(&self, forecasts: &[Forecast], without: Option<usize>) -> Calibration {
        let windows = forecasts.iter().zip(&self.holdouts).enumerate();
        let learnt: Vec<(&Forecast, &[f64])> = windows
            .filter(|(w, _)| Some(*w) != without)
            .map(|(_, (f, holdout))| (f, holdout.actual()))
            .collect();
        Calibration::fit(&learnt, &self.groups, GROUPS)
    }

    fn calibrated(&self, forecasts: &[Forecast], calibration: &Calibration) -> Vec<Forecast> {
        let calibrated = forecasts.iter().cloned().map(|mut forecast| {
            calibration.apply(&mut forecast, &self.groups);
            forecast
        });
        calibrated.collect()
    }

    /// Scores of forecasts of the windows, each calibrated by the others where there are others.
    /// Models look back so many steps.
    fn score(&self, forecasts: &[Forecast], context: usize) -> Scorer<'_> {
        let mut scorer = Scorer::new(&self.options.quantile_levels);
        for (w, (forecast, holdout)) in forecasts.iter().zip(&self.holdouts).enumerate() {
            let mut forecast = forecast.clone();
            let without = (forecasts.len() > 1).then_some(w);
            self.calibrate(forecasts, without).apply(&mut forecast, &self.groups);
            bound(holdout.panel(), context, &mut forecast);
            scorer.add(holdout, &forecast);
        }
        scorer
    }

    fn score_of(&self, entrant: &Entrant) -> Scorer<'_> {
        self.score(&entrant.forecasts, entrant.learnt.model.context_length())
    }

    fn weights(&self, calibrated: &[Vec<Forecast>]) -> Vec<Vec<f64>> {
        if calibrated.len() == 1 || self.holdouts.is_empty() {
            let even = 1.0 / calibrated.len() as f64;
            return vec![vec![even; calibrated.len()]; GROUPS];
        }
        let contest = Contest {
            forecasts: calibrated.iter().map(|windows| windows.iter().collect()).collect(),
            actual: self.holdouts.iter().map(Holdout::actual).collect(),
            scales: self.holdouts.iter().map(Holdout::scales).collect(),
            groups: &self.groups,
        };
        contest.weights(GROUPS)
    }

    /// Weights of the entrants for every group of series, and their combined forecasts of the windows.
    fn combined(&self, entrants: &[Entrant]) -> (Vec<Vec<f64>>, Vec<Forecast>) {
        let calibrated: Vec<Vec<Forecast>> =
            entrants.iter().map(|e| self.calibrated(&e.forecasts, &e.calibration)).collect();
        let by_group = self.weights(&calibrated);
        let of_model = |model: usize| by_group.iter().map(|weights| weights[model]).collect::<Vec<f64>>();
        let weights: Vec<Vec<f64>> = (0..entrants.len()).map(of_model).collect();
        let shares: Vec<&[f64]> = weights.iter().map(Vec::as_slice).collect();
        let featurizer = entrants.iter().find_map(|e| e.learnt.model.featurizer());
        let of_window = |(w, holdout): (usize, &Holdout)| {
            let forecasts: Vec<Forecast> = calibrated.iter().map(|windows| windows[w].clone()).collect();
            let mut combined = combine(&forecasts, &shares, &self.groups)?;
            close(holdout.panel(), featurizer, &mut combined);
            Some(combined)
        };
        let combined = self.holdouts.iter().enumerate().filter_map(of_window).collect();
        (weights, combined)
    }

    fn finish(self, family: Family, entrants: Vec<Entrant>, failures: Vec<Candidate>) -> Result<Outcome> {
        self.control.report(|p| p.phase = "combine");
        let (weights, combined) = self.combined(&entrants);
        let mut report = self.report(&entrants, &weights, &combined);
        report.candidates.extend(failures);
        let calibration = self.calibrate(&combined, None);
        let config = FittedConfig {
            family,
            horizon: self.options.horizon,
            dependence: self.dependence(&self.calibrated(&combined, &calibration)),
            calibration,
            outliers: self.options.outliers,
        };
        let members = self.members(entrants, weights)?;
        report.parameters = members.iter().map(|m| m.model.parameters()).sum();
        let windows = self.holdouts.into_iter().zip(combined).collect();
        Ok(Outcome { model: Arc::new(Fitted { config, members, cold_start: None }), report, windows })
    }

    fn dependence(&self, forecasts: &[Forecast]) -> Dependence {
        let windows: Vec<(&Forecast, &[f64])> =
            forecasts.iter().zip(&self.holdouts).map(|(f, holdout)| (f, holdout.actual())).collect();
        Dependence::fit(&windows, &canonical_order(self.panel))
    }

    /// Members that have weight, after they have learnt the rest.
    fn members(&self, entrants: Vec<Entrant>, weights: Vec<Vec<f64>>) -> Result<Vec<Member>> {
        let chosen: Vec<(Entrant, Vec<f64>)> = entrants
            .into_iter()
            .zip(weights)
            .filter(|(_, weights)| weights.iter().any(|w| *w > 0.0))
            .collect();
        let count = chosen.len().max(1) as f64;
        let done = |members: usize| CANDIDATES_SHARE + (1.0 - CANDIDATES_SHARE) * members as f64 / count;
        let mut members = Vec::with_capacity(chosen.len());
        for (n, (entrant, weights)) in chosen.into_iter().enumerate() {
            self.control.check()?;
            let lesson =
                self.lesson(entrant.family, 0, self.deadline(LEARNT_SECONDS), (done(n), done(n + 1)));
            self.control.report(|p| p.phase = "learn all");
            lesson.advance(0.0);
            // Whoever would not be ready in time stays with what was learnt before the windows.
            let late = lesson.seconds_left().is_some_and(|left| left < entrant.seconds);
            let model = match self.plan.steps() {
                0 => entrant.learnt.model,
                _ if late => entrant.learnt.model,
                _ if self.goes_on => entrant.learnt.model.go_on(&lesson)?,
                _ => entrant.learnt.model.learn_rest(&lesson)?,
            };
            members.push(Member { family: entrant.family, model, calibration: entrant.calibration, weights });
        }
        Ok(members)
    }

    fn report(&self, entrants: &[Entrant], weights: &[Vec<f64>], combined: &[Forecast]) -> FitReport {
        let share = |weights: &Vec<f64>| {
            let sum: f64 = self.groups.iter().map(|group| weights[*group]).sum();
            sum / self.groups.len().max(1) as f64
        };
        let scored: Vec<Scores> = entrants.par_iter().map(|e| self.score_of(e).scores()).collect();
        let mut candidates: Vec<Candidate> = entrants
            .iter()
            .zip(weights)
            .zip(scored)
            .map(|((entrant, weights), scores)| Candidate {
                family: entrant.family,
                scores,
                weight: share(weights),
                seconds: entrant.seconds,
                failure: None,
            })
            .collect();
        let scorer = match entrants {
            [only] => self.score_of(only),
            _ => self.score(combined, usize::MAX),
        };
        let entered = entrants.iter().find(|e| e.family == Family::SeasonalNaive);
        let own = if entered.is_none() { self.enter(Family::SeasonalNaive, (1.0, 1.0)).ok() } else { None };
        let naive = entered.or(own.as_ref()).map(|entrant| self.score_of(entrant));
        if let (Some(own), Some(naive)) = (&own, &naive) {
            candidates.push(Candidate {
                family: own.family,
                scores: naive.scores(),
                weight: 0.0,
                seconds: own.seconds,
                failure: None,
            });
        }
        candidates.sort_by(|a, b| a.scores.rank().total_cmp(&b.scores.rank()));
        // Of several networks the one that took most epochs is told of; the first of equal ones.
        let logs = entrants.iter().rev().map(|e| &e.learnt.log);
        let log = logs.max_by_key(|log| log.len()).cloned().unwrap_or_default();
        FitReport {
            epochs: log.len(),
            windows: entrants.iter().map(|e| e.learnt.windows).max().unwrap_or(0),
            log,
            scores: scorer.scores(),
            naive: naive.as_ref().map(Scorer::scores).unwrap_or_default(),
            series: SeriesScores {
                model: scorer.into_series(),
                naive: naive.map(Scorer::into_series).unwrap_or_default(),
            },
            candidates,
            held_out: (self.plan.windows, self.plan.length),
            ..FitReport::default()
        }
    }
}
