//! Seasonal ARIMA, searched per series as by Hyndman and Khandakar (2008), "Automatic time series forecasting".
//!
//! A season is differenced where it is strong, the rest until it is level by the test of Kwiatkowski, Phillips,
//! Schmidt and Shin (1992). From a few starts on, orders move by one as long as AICc improves; coefficients have the
//! greatest likelihood, each fit from those of its neighbour on. What was found on the way is averaged by AICc. A
//! season too long for lags is taken out beforehand.

use crate::ml::evaluation::PointForecast;
use crate::ml::models::arma::{Arma, from_partial, impulse, is_stationary, product};
use crate::ml::models::averaging::{average, weighted};
use crate::ml::models::decomposition::{Season, seasonal_strength, without_season};
use crate::ml::models::least_squares::least_squares;
use crate::ml::models::local::{self, Rule};

/// Longest season with lags of its own.
const SEASON_MAX: usize = 24;
/// Highest order of the short lags; that of the seasonal ones is 1.
const ORDER_MAX: usize = 3;
/// Most models that a search fits.
const MODELS_MAX: usize = 24;
/// Steps towards the greatest likelihood: of a model in the search, and of the chosen one.
const STEPS: (usize, usize) = (4, 12);
/// Strength from which a season is differenced.
const STRONG: f64 = 0.5;
/// A series whose KPSS statistic is beyond this one (5 %) is not level.
const NOT_LEVEL: f64 = 0.463;
/// Roots this near to the unit circle make a model unfit.
const NEAR_UNIT: f64 = 1.01;
/// Values that a seasonal model needs, in seasons.
const SEASONS_MIN: usize = 3;
/// Most models that are averaged.
const MODELS: usize = 6;
/// Weight, differences and coefficients of one.
const MODEL_PARAMETERS: usize = 3 + 2 * ORDER_MAX + 3;

/// The rule.
#[derive(Debug)]
pub(super) struct Arima;

/// What is done to a series before it is a stationary process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Differences {
    short: usize,
    seasonal: usize,
    season: usize,
}

/// Numbers of coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Orders {
    ar: usize,
    ma: usize,
    seasonal_ar: usize,
    seasonal_ma: usize,
    constant: bool,
}

/// Coefficients, 0 beyond their order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Coefficients {
    ar: [f64; ORDER_MAX],
    ma: [f64; ORDER_MAX],
    seasonal_ar: f64,
    seasonal_ma: f64,
    mean: f64,
}

/// A model that was fitted: what its coefficients were searched by, and its AICc.
#[derive(Debug, Clone)]
struct Model {
    orders: Orders,
    raw: Vec<f64>,
    aicc: f64,
}

impl Rule for Arima {
    const PARAMETERS: usize = MODELS * MODEL_PARAMETERS;
    const SECONDS: f64 = 0.008;

    fn choose(history: &[f64], season_length: usize) -> Option<Vec<f64>> {
        let values = local::estimation_values(history, season_length);
        let (mut values, season, _) = modelled(values, season_length);
        let size = local::level(&values);
        values.iter_mut().for_each(|y| *y /= size);
        let likely = Differences::likely(&values, season)?;
        let share = 1.0 / likely.len() as f64;
        let mut out = Vec::with_capacity(Self::PARAMETERS);
        for differences in &likely {
            let found = Search::new(*differences, &values)?.models();
            for (weight, coefficients) in weighted(found, MODELS / likely.len()) {
                let Coefficients { ar, ma, seasonal_ar, seasonal_ma, mean } = coefficients;
                out.extend([weight * share, differences.short as f64, differences.seasonal as f64]);
                out.extend(ar.into_iter().chain(ma).chain([seasonal_ar, seasonal_ma, mean * size]));
            }
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
        let (values, season, taken) =
            modelled(local::completed(history, season_length.max(1)), season_length);
        let models = parameters.chunks_exact(MODEL_PARAMETERS).filter(|model| model[0] > 0.0);
        let mut forecast = average(models.filter_map(|model| {
            let [weight, short, seasonal, a1, a2, a3, m1, m2, m3, seasonal_ar, seasonal_ma, mean] = *model
            else {
                return None;
            };
            let (ar, ma) = ([a1, a2, a3], [m1, m2, m3]);
            let coefficients = Coefficients { ar, ma, seasonal_ar, seasonal_ma, mean };
            let count = |d: f64| (0.0..=2.0).contains(&d).then_some(d as usize);
            let differences = Differences { short: count(short)?, seasonal: count(seasonal)?, season };
            Some((weight, differences.forecast(&coefficients, &values, horizon)?))
        }))?;
        let n = values.len();
        forecast.point.iter_mut().enumerate().for_each(|(step, y)| *y = taken.apply(n + step, *y));
        let first = n - forecast.residuals.len();
        forecast.residuals.iter_mut().enumerate().for_each(|(t, e)| *e = taken.scale(first + t, *e));
        forecast.level = local::level(history);
        Some(forecast)
    }
}

/// The values to model and the season of their lags; a longer one is taken out.
fn modelled(values: Vec<f64>, season_length: usize) -> (Vec<f64>, usize, Season) {
    if season_length <= SEASON_MAX {
        return (values, season_length.max(1), Season::None);
    }
    let (values, season) = without_season(&values, season_length);
    (values, 1, season)
}

impl Differences {
    /// Those that make these values level: where two are taken, which is one too many as often as not, also those
    /// with one short difference less; `None` where there are too few values.
    fn likely(values: &[f64], season: usize) -> Option<Vec<Self>> {
        let seasonal = season > 1 && values.len() >= SEASONS_MIN * season;
        let season = if seasonal { season } else { 1 };
        let strong = seasonal && seasonal_strength(values, season) > STRONG;
        let mut differences = Self { short: 0, seasonal: usize::from(strong), season };
        let mut left = differences.apply(values)?;
        while differences.short + differences.seasonal < 2 && !is_level(&left) {
            differences.short += 1;
            left = difference(&left, 1);
        }
        let mut out = vec![differences];
        if differences.short + differences.seasonal == 2 {
            out.push(Self { short: differences.short - 1, ..differences });
        }
        Some(out)
    }

    /// The differenced values; `None` where there are too few.
    fn apply(&self, values: &[f64]) -> Option<Vec<f64>> {
        let mut out = values.to_vec();
        for _ in 0..self.seasonal {
            out = difference(&out, self.season);
        }
        for _ in 0..self.short {
            out = difference(&out, 1);
        }
        (!out.is_empty()).then_some(out)
    }

    /// What a value is besides its difference: the coefficients of those before it.
    fn integration(&self) -> Vec<f64> {
        let mut out = Vec::new();
        for _ in 0..self.short {
            out = product(&out, &[-1.0], 1);
        }
        for _ in 0..self.seasonal {
            out = product(&out, &[-1.0], self.season);
        }
        minus(&out)
    }

    /// Runs over the values and forecasts; `None` where the model does not suit them.
    fn forecast(&self, coefficients: &Coefficients, values: &[f64], horizon: usize) -> Option<PointForecast> {
        let process = coefficients.process(self.season)?;
        let mut differenced = self.apply(values)?;
        differenced.iter_mut().for_each(|w| *w -= coefficients.mean);
        let mut residuals = Vec::with_capacity(differenced.len());
        let filtered = process.filter(&differenced, |error, _| residuals.push(error))?;
        let integration = self.integration();
        let mut path = values[values.len().saturating_sub(integration.len())..].to_vec();
        for w in filtered.forecast(&process, horizon) {
            let past: f64 = integration.iter().zip(path.iter().rev()).map(|(a, y)| a * y).sum();
            path.push(coefficients.mean + w + past);
        }
        let point = path.split_off(path.len() - horizon);
        Some(PointForecast { point, residuals, growth: self.growth(coefficients, horizon), level: 0.0 })
    }

    /// Width of the errors of each step beside the first.
    fn growth(&self, coefficients: &Coefficients, horizon: usize) -> Vec<f64> {
        let ar = product(&minus(&coefficients.ar), &[-coefficients.seasonal_ar], self.season);
        let ma = product(&coefficients.ma, &[coefficients.seasonal_ma], self.season);
        let ar = minus(&product(&ar, &minus(&self.integration()), 1));
        let mut variance = 0.0;
        let widths = impulse(&ar, &ma, horizon).into_iter().map(|weight| {
            variance += weight * weight;
            f64::sqrt(variance)
        });
        widths.collect()
    }
}

fn minus(a: &[f64]) -> Vec<f64> {
    a.iter().map(|a| -a).collect()
}

impl Coefficients {
    fn process(&self, season: usize) -> Option<Arma> {
        let used = |a: &[f64]| a.iter().rposition(|a| *a != 0.0).map_or(0, |last| last + 1);
        let (seasonal_ar, seasonal_ma) = ([self.seasonal_ar], [self.seasonal_ma]);
        Arma::seasonal(
            [&self.ar[..used(&self.ar)], &seasonal_ar[..used(&seasonal_ar)]],
            [&self.ma[..used(&self.ma)], &seasonal_ma[..used(&seasonal_ma)]],
            season,
        )
    }

    /// Whether no root is near the unit circle.
    fn are_sound(&self) -> bool {
        let inflated = |a: &[f64], sign: f64| {
            let mut power = sign;
            let grown = a.iter().map(|a| {
                power *= NEAR_UNIT;
                a * power
            });
            is_stationary(&grown.collect::<Vec<f64>>())
        };
        inflated(&self.ar, 1.0)
            && inflated(&self.ma, -1.0)
            && inflated(&[self.seasonal_ar], 1.0)
            && inflated(&[self.seasonal_ma], -1.0)
    }
}

impl Orders {
    /// Numbers that a search looks for.
    fn count(&self) -> usize {
        self.ar + self.ma + self.seasonal_ar + self.seasonal_ma + usize::from(self.constant)
    }

    /// Coefficients by the numbers of a search: any number is one of a stationary and invertible process.
    fn coefficients(&self, raw: &[f64]) -> Coefficients {
        let partial: Vec<f64> = raw.iter().map(|x| x.tanh()).collect();
        let (ar, rest) = partial.split_at(self.ar);
        let (ma, rest) = rest.split_at(self.ma);
        let (seasonal_ar, rest) = rest.split_at(self.seasonal_ar);
        let (seasonal_ma, _) = rest.split_at(self.seasonal_ma);
        let mut out = Coefficients::default();
        out.ar[..self.ar].copy_from_slice(&from_partial(ar));
        out.ma[..self.ma].copy_from_slice(&from_partial(ma));
        out.ma.iter_mut().for_each(|b| *b = -*b);
        out.seasonal_ar = seasonal_ar.first().copied().unwrap_or(0.0);
        out.seasonal_ma = seasonal_ma.first().map_or(0.0, |b| -b);
        out.mean = if self.constant { raw[raw.len() - 1] } else { 0.0 };
        out
    }

    /// Where the search for a model of these orders begins that is a neighbour of another one.
    fn start(&self, from: &Model) -> Vec<f64> {
        let mut theirs = from.raw.as_slice();
        let mut out = Vec::with_capacity(self.count());
        let mut take = |own: usize, other: usize, new: f64| {
            let (part, rest) = theirs.split_at(other);
            out.extend((0..own).map(|i| part.get(i).copied().unwrap_or(new)));
            theirs = rest;
        };
        take(self.ar, from.orders.ar, 0.1);
        take(self.ma, from.orders.ma, -0.1);
        take(self.seasonal_ar, from.orders.seasonal_ar, 0.1);
        take(self.seasonal_ma, from.orders.seasonal_ma, -0.1);
        take(usize::from(self.constant), usize::from(from.orders.constant), 0.0);
        out
    }

    /// Orders that differ by one step.
    fn neighbours(&self) -> Vec<Self> {
        let moved = |ar: isize, ma: isize, seasonal_ar: isize, seasonal_ma: isize| {
            Some(Self {
                ar: self.ar.checked_add_signed(ar)?,
                ma: self.ma.checked_add_signed(ma)?,
                seasonal_ar: self.seasonal_ar.checked_add_signed(seasonal_ar)?,
                seasonal_ma: self.seasonal_ma.checked_add_signed(seasonal_ma)?,
                ..*self
            })
        };
        let steps = [
            (0, 0, 0, 1),
            (0, 0, 0, -1),
            (0, 0, 1, 0),
            (0, 0, -1, 0),
            (0, 0, 1, 1),
            (0, 0, -1, -1),
            (0, 1, 0, 0),
            (0, -1, 0, 0),
            (1, 0, 0, 0),
            (-1, 0, 0, 0),
            (1, 1, 0, 0),
            (-1, -1, 0, 0),
        ];
        let mut out: Vec<Self> = steps.iter().filter_map(|(a, b, c, d)| moved(*a, *b, *c, *d)).collect();
        out.push(Self { constant: !self.constant, ..*self });
        out
    }
}

/// A search for models of some values that are differenced.
struct Search {
    differences: Differences,
    /// In units of `scale`.
    values: Vec<f64>,
    scale: f64,
    tried: Vec<Orders>,
    found: Vec<Model>,
}

impl Search {
    /// `None` where the differences are all nothing.
    fn new(differences: Differences, values: &[f64]) -> Option<Self> {
        let mut values = differences.apply(values)?;
        let largest = values.iter().fold(0.0f64, |largest, w| largest.max(w.abs()));
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        let squares: f64 = values.iter().map(|w| (w / largest) * (w / largest)).sum();
        let scale = largest * (squares / values.len() as f64).sqrt();
        values.iter_mut().for_each(|w| *w /= scale);
        Some(Self { differences, values, scale, tried: Vec::new(), found: Vec::new() })
    }

    /// The models on the way to the best one, and that one, each by its AICc.
    fn models(mut self) -> Vec<(f64, Coefficients)> {
        let mean = self.values.iter().sum::<f64>() / self.values.len() as f64;
        let nothing = Orders { ar: 0, ma: 0, seasonal_ar: 0, seasonal_ma: 0, constant: true };
        let begin = Model { orders: nothing, raw: vec![mean], aicc: f64::INFINITY };
        let mut best: Option<Model> = None;
        for orders in self.starts() {
            let found = self.fit(orders, &begin);
            best = match (best, found) {
                (Some(best), Some(found)) if found.aicc >= best.aicc => Some(best),
                (best, found) => found.or(best),
            };
        }
        while let Some(model) = best.as_ref().and_then(|best| self.step(best)) {
            best = Some(model);
        }
        let last = best.and_then(|best| self.refit(best.orders, &best.raw, STEPS.1));
        if let Some(last) = last {
            self.found.retain(|model| model.orders != last.orders);
            self.found.push(last);
        }
        let coefficients = |model: &Model| {
            let mut coefficients = model.orders.coefficients(&model.raw);
            coefficients.mean *= self.scale;
            (model.aicc, coefficients)
        };
        self.found.iter().map(coefficients).collect()
    }

    /// The models that a search begins with.
    fn starts(&self) -> [Orders; 5] {
        let constant = self.differences.short + self.differences.seasonal < 2;
        let seasonal = usize::from(self.differences.season > 1);
        let orders = |ar, ma, seasonal_ar, seasonal_ma| Orders { ar, ma, seasonal_ar, seasonal_ma, constant };
        [
            orders(2, 2, seasonal, seasonal),
            orders(0, 0, 0, 0),
            orders(1, 0, seasonal, 0),
            orders(0, 1, 0, seasonal),
            Orders { constant: false, ..orders(0, 0, 0, 0) },
        ]
    }

    /// The first neighbour that is better.
    fn step(&mut self, best: &Model) -> Option<Model> {
        for orders in best.orders.neighbours() {
            let found = self.fit(orders, best).filter(|model| model.aicc < best.aicc);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Fits a model that was not tried before.
    fn fit(&mut self, orders: Orders, from: &Model) -> Option<Model> {
        let Differences { short, seasonal, season } = self.differences;
        let seasonal_max = usize::from(season > 1);
        let allowed = orders.ar.max(orders.ma) <= ORDER_MAX
            && orders.seasonal_ar.max(orders.seasonal_ma) <= seasonal_max
            && !(orders.constant && short + seasonal > 1)
            && orders.count() + 3 < self.values.len();
        if !allowed || self.tried.len() >= MODELS_MAX || self.tried.contains(&orders) {
            return None;
        }
        self.tried.push(orders);
        let model = self.refit(orders, &orders.start(from), STEPS.0)?;
        self.found.push(model.clone());
        Some(model)
    }

    fn refit(&self, orders: Orders, start: &[f64], steps: usize) -> Option<Model> {
        let (raw, squares) =
            least_squares(start, steps, |raw, out| self.residuals(&orders.coefficients(raw), out).is_some())?;
        if !orders.coefficients(&raw).are_sound() {
            return None;
        }
        let (n, k) = (self.values.len() as f64, (orders.count() + 1) as f64);
        let aicc = n * (squares / n).max(1e-300).ln() + 2.0 * k * n / (n - k - 1.0);
        Some(Model { orders, raw, aicc })
    }

    /// Numbers whose squares are least where the likelihood is greatest.
    fn residuals(&self, coefficients: &Coefficients, out: &mut Vec<f64>) -> Option<()> {
        let process = coefficients.process(self.differences.season)?;
        let values: Vec<f64> = self.values.iter().map(|w| w - coefficients.mean).collect();
        out.clear();
        let (mut product, mut logarithms) = (1.0f64, 0.0);
        process.filter(&values, |error, variance| {
            out.push(error / variance.sqrt());
            product *= variance;
            if product > 1e100 {
                logarithms += product.ln();
                product = 1.0;
            }
        })?;
        logarithms += product.ln();
        let factor = (0.5 * logarithms / values.len() as f64).exp();
        out.iter_mut().for_each(|error| *error *= factor);
        Some(())
    }
}

fn difference(values: &[f64], lag: usize) -> Vec<f64> {
    values.iter().skip(lag).zip(values).map(|(y, before)| y - before).collect()
}

/// Whether the KPSS test finds no unit root at 5 %.
fn is_level(values: &[f64]) -> bool {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let errors: Vec<f64> = values.iter().map(|w| w - mean).collect();
    let product = |lag: usize| errors.iter().skip(lag).zip(&errors).map(|(a, b)| a * b).sum::<f64>() / n;
    let lags = (3.0 * n.sqrt() / 13.0) as usize;
    let near: f64 = (1..=lags).map(|lag| 2.0 * (1.0 - lag as f64 / (lags as f64 + 1.0)) * product(lag)).sum();
    let (variance, mut sum) = (product(0) + near, 0.0);
    let sums = errors.iter().map(|e| {
        sum += e;
        sum * sum
    });
    let sums = sums.sum::<f64>();
    variance.is_nan() || variance <= 0.0 || sums / (n * n * variance) <= NOT_LEVEL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    /// Passengers of international airlines in thousands, 1949 to 1960 (Box, Jenkins and Reinsel 1994, series G).
    const PASSENGERS: [u16; 144] = [
        112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170,
        158, 133, 114, 140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181,
        183, 218, 230, 242, 209, 191, 172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
        204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347,
        312, 274, 237, 278, 284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306, 315, 301, 356, 348,
        355, 422, 465, 467, 404, 347, 305, 336, 340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
        360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405, 417, 391, 419, 461, 472, 535, 622, 606,
        508, 461, 390, 432,
    ];

    fn passengers() -> Vec<f64> {
        PASSENGERS.iter().map(|y| f64::from(*y)).collect()
    }

    /// The model of these orders with the greatest likelihood.
    fn fitted(values: &[f64], differences: Differences, orders: Orders) -> Coefficients {
        let search = Search::new(differences, values).unwrap();
        let model = search.refit(orders, &vec![0.1; orders.count()], 50).unwrap();
        orders.coefficients(&model.raw)
    }

    /// Simulated values of a process with normal innovations, after a while.
    fn simulated(process: &[&[f64]; 2], n: usize) -> Vec<f64> {
        let mut rng = Rng::new(3);
        let weights = impulse(process[0], process[1], 200);
        let errors: Vec<f64> = (0..n + 200).map(|_| rng.normal()).collect();
        let value = |t: usize| weights.iter().zip(errors[..=t].iter().rev()).map(|(w, e)| w * e).sum();
        (200..n + 200).map(value).collect()
    }

    #[test]
    fn the_airline_model_has_the_published_coefficients() {
        // R: arima(log(AirPassengers), c(0, 1, 1), c(0, 1, 1)) gives ma1 -0.4018, sma1 -0.5569.
        let logarithms: Vec<f64> = passengers().iter().map(|y| y.ln()).collect();
        let differences = Differences { short: 1, seasonal: 1, season: 12 };
        let orders = Orders { ar: 0, ma: 1, seasonal_ar: 0, seasonal_ma: 1, constant: false };
        let airline = fitted(&logarithms, differences, orders);
        assert!((airline.ma[0] + 0.4018).abs() < 1e-3, "{airline:?}");
        assert!((airline.seasonal_ma + 0.5569).abs() < 1e-3, "{airline:?}");
        // R: arima(AirPassengers, c(2, 1, 1), c(0, 1, 0)) has ma1 -0.9819, too near to the unit circle for us.
        let orders = Orders { ar: 2, ma: 1, seasonal_ar: 0, seasonal_ma: 0, constant: false };
        let search = Search::new(differences, &passengers()).unwrap();
        assert!(search.refit(orders, &[0.1; 3], 50).is_none());
    }

    #[test]
    fn seasons_and_growth_go_on() {
        let all = passengers();
        let (history, actual) = all.split_at(132);
        let likely = Differences::likely(history, 12).unwrap();
        assert!(likely.iter().all(|d| d.seasonal == 1), "{likely:?}");
        let parameters = Arima::choose(history, 12).unwrap();
        let forecast = Arima::run(&parameters, history, 12, 12).unwrap();
        let errors = forecast.point.iter().zip(actual).map(|(f, y)| (f / y - 1.0).abs());
        let error = errors.sum::<f64>() / 12.0;
        assert!(error < 0.05, "{error}: {:?}", forecast.point);
        assert!(
            (forecast.growth[0] - 1.0).abs() < 1e-9
                && forecast.growth.windows(2).all(|pair| pair[0] <= pair[1])
        );
    }

    #[test]
    fn simulated_processes_are_found() {
        let level = Differences { short: 0, seasonal: 0, season: 1 };
        let ar = simulated(&[&[0.7], &[]], 300);
        let (_, best) = weighted(Search::new(level, &ar).unwrap().models(), 1)[0];
        assert!((best.ar[0] - 0.7).abs() < 0.15 && best.mean.abs() < 0.5, "{best:?}");
        let orders = Orders { ar: 0, ma: 1, seasonal_ar: 0, seasonal_ma: 0, constant: true };
        let ma = fitted(&simulated(&[&[], &[0.6]], 300), level, orders);
        assert!((ma.ma[0] - 0.6).abs() < 0.1, "{ma:?}");
        let walk: Vec<f64> = simulated(&[&[], &[]], 300)
            .iter()
            .scan(0.0, |sum, e| {
                *sum += e;
                Some(*sum)
            })
            .collect();
        assert_eq!(Differences::likely(&walk, 1).unwrap(), [Differences { short: 1, ..level }]);
        assert_eq!(Differences::likely(&simulated(&[&[], &[0.6]], 300), 1).unwrap(), [level]);
    }

    #[test]
    fn an_autoregression_by_hand() {
        let mut parameters = vec![0.0; Arima::PARAMETERS];
        // Weight 1, no differences, w = 0.5 w before + e about 10.
        (parameters[0], parameters[3], parameters[11]) = (1.0, 0.5, 10.0);
        let history = [10.0, 12.0, 9.0, 11.0, 8.0, 10.0, 13.0, 14.0];
        let forecast = Arima::run(&parameters, &history, 1, 3).unwrap();
        for (y, expected) in forecast.point.iter().zip([12.0, 11.0, 10.5]) {
            assert!((y - expected).abs() < 1e-9);
        }
        assert!((forecast.residuals[7] - (4.0 - 0.5 * 3.0)).abs() < 1e-9);
        assert!((forecast.growth[1] - 1.25f64.sqrt()).abs() < 1e-12);
        // A walk with a drift: y = 2 + y before + e.
        (parameters[1], parameters[3], parameters[11]) = (1.0, 0.0, 2.0);
        assert_eq!(Arima::run(&parameters, &history, 1, 2).unwrap().point, [16.0, 18.0]);
    }

    #[test]
    fn hardly_any_or_huge_values_are_no_trouble() {
        assert!(Arima::choose(&[1.0, 2.0], 7).is_none());
        let flat = Arima::run(&Arima::choose(&[5.0; 40], 7).unwrap(), &[5.0; 40], 7, 3).unwrap();
        assert!(flat.point.iter().all(|y| (y - 5.0).abs() < 1e-9), "{flat:?}");
        let mut rng = Rng::new(9);
        for size in [1e12, 1e-12, 1e300] {
            let history: Vec<f64> =
                (0..60).map(|t| size * (1.0 + 0.1 * f64::from(t % 7) + 0.1 * rng.normal())).collect();
            let parameters = Arima::choose(&history, 7).unwrap();
            let forecast = Arima::run(&parameters, &history, 7, 7).unwrap();
            assert!(
                forecast.point.iter().all(|y| (0.3 * size..3.0 * size).contains(y)),
                "{:?}",
                forecast.point
            );
        }
        let unstable = [&[1.0, 0.0, 0.0, 1.5][..], &[0.0; Arima::PARAMETERS - 4]].concat();
        assert!(Arima::run(&unstable, &[1.0, 2.0, 3.0], 1, 2).is_none());
    }

    #[test]
    fn long_seasons_are_taken_out() {
        let wave = |t: usize| 100.0 + 30.0 * (t as f64 * std::f64::consts::TAU / 52.0).sin();
        let history: Vec<f64> = (0..200).map(|t| wave(t) + ((t * 7) % 5) as f64).collect();
        let parameters = Arima::choose(&history, 52).unwrap();
        let forecast = Arima::run(&parameters, &history, 52, 26).unwrap();
        for (step, y) in forecast.point.iter().enumerate() {
            assert!((y - wave(200 + step) - 2.0).abs() < 6.0, "{y} at {step}");
        }
    }
}
