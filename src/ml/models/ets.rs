//! Exponential smoothing in state space form, weighted per series by AICc (Hyndman, Koehler, Ord and Snyder 2008).
//!
//! The candidates are the eight models of Petropoulos, Grushka-Cockayne, Siemsen and Spiliotis (2023),
//! "Wielding Occam's razor": level only or with a damped trend, without a season, with an additive or with a
//! multiplicative one. Smoothing parameters minimise the likelihood's error term on the latest steps, from states
//! that a decomposition gives; a forecast runs the recursion over the history it is given. Before either the history is
//! put on one level: a step in it would be taken for a level that always moves.

use crate::ml::evaluation::PointForecast;
use crate::ml::models::averaging::{average, weighted};
use crate::ml::models::decomposition::seasonal_indices;
use crate::ml::models::level_shift::levelled;
use crate::ml::models::local::{self, Rule};
use crate::ml::models::simplex::minimise;

/// Longest season that is modelled: longer ones have more states than data supports.
const SEASON_MAX: usize = 52;
/// Evaluations of the likelihood for one candidate.
const CALLS: usize = 160;
/// The damping of trends.
const DAMPING: (f64, f64) = (0.8, 0.99);

/// What a first state counts for beside a parameter: a decomposition tells it, not the likelihood.
const STATES_COUNT: f64 = 0.5;
/// Most models that are averaged.
const MODELS: usize = 4;
/// Weight, form and smoothing of one.
const MODEL_PARAMETERS: usize = 6;

/// The rule.
#[derive(Debug)]
pub(super) struct Ets;

/// A candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Form {
    multiplicative_error: bool,
    trend: bool,
    season: Season,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Season {
    None,
    Additive,
    Multiplicative,
}

/// The candidates, by their place in a file: ANN, MNN, AAdN, MAdN, ANA, MNM, AAdA, MAdM.
const FORMS: [Form; 8] = {
    const fn form(multiplicative_error: bool, trend: bool, season: Season) -> Form {
        Form { multiplicative_error, trend, season }
    }
    [
        form(false, false, Season::None),
        form(true, false, Season::None),
        form(false, true, Season::None),
        form(true, true, Season::None),
        form(false, false, Season::Additive),
        form(true, false, Season::Multiplicative),
        form(false, true, Season::Additive),
        form(true, true, Season::Multiplicative),
    ]
};

/// Smoothing parameters: of level, trend and season, and the damping.
type Smoothing = [f64; 4];

/// Level, trend and season, the season of the next step first.
#[derive(Debug, Clone)]
struct State {
    level: f64,
    trend: f64,
    season: Vec<f64>,
    at: usize,
}

impl Rule for Ets {
    const PARAMETERS: usize = MODELS * MODEL_PARAMETERS;
    const SECONDS: f64 = 0.004;

    fn choose(history: &[f64], season_length: usize) -> Option<Vec<f64>> {
        let season = modelled(season_length);
        let history = levelled(history, season_length);
        let values = local::estimation_values(&history, season);
        let seasonal = season > 1 && values.len() >= 2 * season + 2;
        let positive = values.iter().all(|y| *y > 0.0);
        let fits = FORMS.iter().enumerate().filter_map(|(place, form)| {
            let usable =
                (form.season == Season::None || seasonal) && (!form.multiplicative_error || positive);
            let (aicc, smoothing) = usable.then(|| fit(*form, &values, season)).flatten()?;
            Some((aicc, (place, smoothing)))
        });
        let mut out = Vec::with_capacity(Self::PARAMETERS);
        for (weight, (place, smoothing)) in weighted(fits.collect(), MODELS) {
            out.extend([weight, place as f64]);
            out.extend(smoothing);
        }
        (!out.is_empty()).then(|| {
            out.resize(Self::PARAMETERS, 0.0);
            out
        })
    }

    fn run(
        parameters: &[f64],
        history: &[f64],
        season_length: usize,
        horizon: usize,
    ) -> Option<PointForecast> {
        let season = modelled(season_length);
        let history = levelled(history, season_length);
        let values = local::completed(&history, season);
        let models = parameters.chunks_exact(MODEL_PARAMETERS).filter(|model| model[0] > 0.0);
        let forecasts = models.filter_map(|model| {
            let [weight, place, smoothing @ ..] = model else { return None };
            let form = *FORMS.get(*place as usize)?;
            Some((*weight, form.forecast(smoothing.try_into().ok()?, &values, season, horizon)?))
        });
        let level = local::level(&history);
        average(forecasts).map(|forecast| PointForecast { level, ..forecast })
    }
}

impl Form {
    /// Runs over the values and forecasts; `None` where the form does not suit them.
    fn forecast(
        self,
        smoothing: Smoothing,
        values: &[f64],
        season: usize,
        horizon: usize,
    ) -> Option<PointForecast> {
        if self.multiplicative_error && values.iter().any(|y| *y <= 0.0) {
            return None;
        }
        if self.season != Season::None && values.len() < season + 2 {
            return None;
        }
        let mut state = State::first(self, values, season);
        let residuals = values.iter().map(|y| y - state.step(self, &smoothing, *y)).collect();
        let point = state.forecast(self, smoothing[3], horizon);
        let growth = growth(self, &smoothing, season, horizon);
        Some(PointForecast { point, residuals, growth, level: 0.0 })
    }
}

fn modelled(season_length: usize) -> usize {
    if season_length <= SEASON_MAX { season_length.max(1) } else { 1 }
}

/// The best smoothing parameters of a candidate and its AICc.
fn fit(form: Form, values: &[f64], season: usize) -> Option<(f64, Smoothing)> {
    let start = State::first(form, values, season);
    let mut state = start.clone();
    let criterion = |smoothing: &Smoothing| {
        state.clone_from(&start);
        likelihood(form, smoothing, values, &mut state)
    };
    // Parameters that a form has not are held at a point.
    let span = |used: bool, low: f64, high: f64| if used { (low, high) } else { (0.0, 0.0) };
    let seasonal = form.season != Season::None;
    let spans = [
        (1e-4, 0.9999),
        span(form.trend, 1e-4, 0.5),
        span(seasonal, 1e-4, 0.9),
        if form.trend { DAMPING } else { (1.0, 1.0) },
    ];
    let (low, high) = (spans.map(|(low, _)| low), spans.map(|(_, high)| high));
    let first = [0.3, 0.05f64.min(high[1]), 0.1f64.min(high[2]), 0.95f64.clamp(low[3], high[3])];
    let (smoothing, value) = minimise(first, low, high, CALLS, criterion);
    let states = 1 + usize::from(form.trend) + if seasonal { season } else { 0 };
    let used = 2 + 2 * usize::from(form.trend) + usize::from(seasonal);
    let (n, k) = (values.len() as f64, used as f64 + STATES_COUNT * states as f64);
    let aicc = value + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0).max(1.0);
    value.is_finite().then_some((aicc, smoothing))
}

/// Minus twice the log-likelihood, up to a constant.
fn likelihood(form: Form, smoothing: &Smoothing, values: &[f64], state: &mut State) -> f64 {
    let (mut squares, mut logarithms) = (0.0, 0.0);
    for y in values {
        let expected = state.step(form, smoothing, *y);
        if form.multiplicative_error {
            if expected <= 0.0 {
                return f64::INFINITY;
            }
            let error = y / expected - 1.0;
            squares += error * error;
            logarithms += expected.ln();
        } else {
            squares += (y - expected) * (y - expected);
        }
    }
    let n = values.len() as f64;
    n * (squares / n).max(1e-300).ln() + 2.0 * logarithms
}

impl State {
    /// States before the first value: season by decomposition, level and trend by a line through the first values.
    fn first(form: Form, values: &[f64], season: usize) -> Self {
        let indices = match form.season {
            Season::None => Vec::new(),
            kind => seasonal_indices(values, season, kind == Season::Multiplicative),
        };
        let n = values.len().min((2 * season).max(10));
        let adjusted = |i: usize| match form.season {
            Season::None => values[i],
            Season::Additive => values[i] - indices[i % season],
            Season::Multiplicative => values[i] / indices[i % season],
        };
        let (mut sum, mut slope, mut squares) = (0.0, 0.0, 0.0);
        let middle = (n as f64 - 1.0) / 2.0;
        for i in 0..n {
            let x = i as f64 - middle;
            sum += adjusted(i);
            slope += x * adjusted(i);
            squares += x * x;
        }
        let mean = sum / n.max(1) as f64;
        let slope = if form.trend && squares > 0.0 { slope / squares } else { 0.0 };
        let mut level = if form.trend { mean - slope * (middle + 1.0) } else { mean };
        let mut trend = slope;
        if form.multiplicative_error && level <= 0.0 {
            (level, trend) = (mean, 0.0);
        }
        Self { level, trend, season: indices, at: 0 }
    }

    /// What was expected of a step whose value is `y`; moves on by it.
    fn step(&mut self, form: Form, smoothing: &Smoothing, y: f64) -> f64 {
        let [alpha, beta, gamma, damping] = *smoothing;
        let trend = damping * self.trend;
        let base = self.level + trend;
        let at = self.at;
        let season = self.season.get(at).copied();
        let (expected, error) = match (form.season, season) {
            (Season::Additive, Some(s)) => (base + s, y - base - s),
            (Season::Multiplicative, Some(s)) => (base * s, y / s - base),
            _ => (base, y - base),
        };
        // In every form the level follows the error of what is left of the value without its season.
        self.level = base + alpha * error;
        if form.trend {
            self.trend = trend + beta * error;
        }
        if let Some(s) = self.season.get_mut(at) {
            match form.season {
                Season::Multiplicative if base != 0.0 => *s *= 1.0 + gamma * (y / expected - 1.0),
                Season::Multiplicative | Season::None => {}
                Season::Additive => *s += gamma * error,
            }
            self.at = if at + 1 == self.season.len() { 0 } else { at + 1 };
        }
        expected
    }

    fn forecast(&self, form: Form, damping: f64, horizon: usize) -> Vec<f64> {
        let (mut level, mut trend) = (self.level, self.trend);
        let next = |step: usize| {
            trend *= damping;
            level += trend;
            match form.season {
                Season::None => level,
                Season::Additive => level + self.season[(self.at + step) % self.season.len()],
                Season::Multiplicative => level * self.season[(self.at + step) % self.season.len()],
            }
        };
        (0..horizon).map(next).collect()
    }
}

/// Width of the errors of each step beside the first, as in the form with additive errors.
fn growth(form: Form, smoothing: &Smoothing, season: usize, horizon: usize) -> Vec<f64> {
    let [alpha, beta, gamma, damping] = *smoothing;
    let (mut variance, mut slope) = (1.0f64, 0.0);
    let mut out = Vec::with_capacity(horizon);
    let mut power = 1.0;
    for step in 1..=horizon {
        out.push(variance.sqrt());
        power *= damping;
        slope += power;
        let seasonal = if form.season != Season::None && step % season == 0 { gamma } else { 0.0 };
        let moved = alpha + if form.trend { beta * slope } else { 0.0 } + seasonal;
        variance += moved * moved;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    fn form_of(history: &[f64], season: usize) -> Form {
        FORMS[Ets::choose(history, season).unwrap()[1] as usize]
    }

    #[test]
    fn the_form_follows_the_data() {
        let mut rng = Rng::new(2);
        let mut noise = || rng.normal();
        let flat: Vec<f64> = (0..200).map(|_| 50.0 + noise()).collect();
        assert_eq!((form_of(&flat, 1).trend, form_of(&flat, 1).season), (false, Season::None));
        let wave = |t: usize| (t as f64 * std::f64::consts::TAU / 12.0).sin();
        let additive: Vec<f64> = (0..120).map(|t| 50.0 + 10.0 * wave(t) + noise()).collect();
        assert_ne!(form_of(&additive, 12).season, Season::None);
        let growing: Vec<f64> = (0..120)
            .map(|t| (20.0 + 2.0 * t as f64) * (1.0 + 0.4 * wave(t)) * (1.0 + 0.02 * noise()))
            .collect();
        assert_eq!(form_of(&growing, 12).season, Season::Multiplicative);
    }

    #[test]
    fn seasons_and_trends_go_on() {
        let wave = |t: usize| (t as f64 * std::f64::consts::TAU / 12.0).sin();
        let value = |t: usize| 100.0 + 20.0 * wave(t) + 0.5 * t as f64;
        let history: Vec<f64> = (0..96).map(value).collect();
        let parameters = Ets::choose(&history, 12).unwrap();
        let forecast = Ets::run(&parameters, &history, 12, 12).unwrap();
        for (step, y) in forecast.point.iter().enumerate() {
            assert!((y - value(96 + step)).abs() < 4.0, "{y} for {} at {step}", value(96 + step));
        }
        assert!(
            forecast.growth.windows(2).all(|pair| pair[0] <= pair[1])
                && (forecast.growth[0] - 1.0).abs() < 1e-9
        );
    }

    #[test]
    fn a_step_of_the_past_does_not_make_the_level_restless() {
        let mut rng = Rng::new(5);
        let steady: Vec<f64> = (0..120).map(|_| 100.0 + rng.normal()).collect();
        let mut stepped = steady.clone();
        stepped[..60].iter_mut().for_each(|y| *y *= 0.5);
        let forecast = |history: &[f64]| {
            let parameters = Ets::choose(history, 1).unwrap();
            Ets::run(&parameters, history, 1, 12).unwrap()
        };
        let (one, other) = (forecast(&stepped), forecast(&steady));
        for step in 0..12 {
            assert!((one.point[step] - 100.0).abs() < 0.6, "{:?}", one.point);
            assert!(one.growth[step] < 1.1 * other.growth[step], "{:?} {:?}", one.growth, other.growth);
        }
    }

    #[test]
    fn simple_smoothing_by_hand() {
        let parameters = [1.0, 0.0, 0.5, 0.0, 0.0, 1.0];
        let history = [4.0, 8.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0];
        let forecast = Ets::run(&parameters, &history, 1, 2).unwrap();
        let mut level = history.iter().sum::<f64>() / 10.0;
        history.iter().for_each(|y| level += 0.5 * (y - level));
        assert_eq!(forecast.point, [level, level]);
        assert!((forecast.growth[1] - 1.25f64.sqrt()).abs() < 1e-12);
    }
}
