//! Quantile functions of the distributions that models forecast.

use crate::ml::evaluation::levels::normal_score;
use crate::ml::special::{beta_i, gamma_p, ln_gamma};

/// Counts with a mean above this have the quantiles of a gamma distribution with their mean and variance.
const COUNT_MEAN_MAX: f64 = 500.0;
/// Compound sums of more terms than this, on average, have the quantiles of a gamma distribution, too.
const COMPOUND_MAX: f64 = 30.0;
/// Degrees of freedom beyond this count as this many: the normal distribution is as near as 0.2 %.
const FREEDOM_MAX: f64 = 1000.0;
/// Above this shape of a gamma distribution the approximation to its quantiles is as good as they are.
const SHAPE_MAX: f64 = 1e4;
/// Relative change of a quantile below which it is found.
const PRECISION: f64 = 1e-10;
/// Steps to a quantile, at most.
const STEPS_MAX: usize = 200;

/// A distribution of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Counts of this mean, whose variance is `mean + dispersion mean²`: negative binomial, Poisson with dispersion 0.
    Count {
        /// Above 0.
        mean: f64,
        /// At least 0.
        dispersion: f64,
    },
    /// A Poisson number of exponentially distributed sizes, which is Tweedie's distribution of power 3/2: its variance
    /// is `dispersion mean^1.5` (Jørgensen 1987).
    Compound {
        /// Above 0.
        mean: f64,
        /// Above 0.
        dispersion: f64,
    },
    /// Student's t distribution.
    StudentT {
        /// Its median.
        location: f64,
        /// Above 0.
        scale: f64,
        /// Degrees of freedom, above 2.
        freedom: f64,
    },
}

impl Distribution {
    /// The quantiles at ascending levels, each in (0, 1).
    pub fn quantiles(self, levels: &[f64], out: &mut [f64]) {
        match self {
            Self::Count { mean, dispersion } if mean <= COUNT_MEAN_MAX => {
                count_quantiles(mean, dispersion, levels, out);
            }
            Self::Count { mean, dispersion } => {
                matched_gamma(mean, mean + dispersion * mean * mean, levels, out);
                out.iter_mut().for_each(|q| *q = q.round());
            }
            Self::Compound { mean, dispersion } => compound_quantiles(mean, dispersion, levels, out),
            Self::StudentT { location, scale, freedom } => {
                for (q, level) in out.iter_mut().zip(levels) {
                    *q = location + scale * student_t_quantile(*level, freedom);
                }
            }
        }
    }
}

/// The smallest counts whose share of outcomes at or below them reaches the levels.
fn count_quantiles(mean: f64, dispersion: f64, levels: &[f64], out: &mut [f64]) {
    let spread = dispersion * mean;
    let zero = if dispersion > 0.0 { spread.ln_1p() / dispersion } else { mean };
    let (mut count, mut share) = (0.0, (-zero).exp());
    let mut below = share;
    for (q, level) in out.iter_mut().zip(levels) {
        // No more than a share 1 - u of the outcomes lies above mean / (1 - u) (Markov).
        let most = mean / (1.0 - level) + 1.0;
        while below < *level && count < most {
            share *= (mean + spread * count) / ((1.0 + spread) * (count + 1.0));
            count += 1.0;
            below += share;
        }
        *q = count;
    }
}

fn matched_gamma(mean: f64, variance: f64, levels: &[f64], out: &mut [f64]) {
    let (shape, scale) = (mean * mean / variance, variance / mean);
    for (q, level) in out.iter_mut().zip(levels) {
        *q = scale * gamma_quantile(*level, shape);
    }
}

/// Quantile of the gamma distribution of this shape and scale 1.
fn gamma_quantile(level: f64, shape: f64) -> f64 {
    let ninth = 1.0 / (9.0 * shape);
    // Wilson and Hilferty (1931).
    let start = shape * (1.0 - ninth + normal_score(level) * ninth.sqrt()).powi(3);
    let density = |x: f64| ((shape - 1.0) * x.ln() - x - ln_gamma(shape)).exp();
    if shape > SHAPE_MAX {
        return start;
    }
    positive_root(start.max(1e-3 * shape), |x| (gamma_p(shape, x) - level, density(x)))
}

fn compound_quantiles(mean: f64, dispersion: f64, levels: &[f64], out: &mut [f64]) {
    let (terms, size) = (2.0 * mean.sqrt() / dispersion, dispersion * mean.sqrt() / 2.0);
    if terms > COMPOUND_MAX {
        return matched_gamma(mean, dispersion * mean.powf(1.5), levels, out);
    }
    let none = (-terms).exp();
    let mut start = size;
    for (q, level) in out.iter_mut().zip(levels) {
        *q = if *level <= none {
            0.0
        } else {
            start = positive_root(start, |x| {
                let (above, density) = compound_tail(terms, x / size);
                (1.0 - level - above, density / size)
            });
            start
        };
    }
}

/// The share of outcomes above `x`, and their density there, of a Poisson number (mean `terms`) of exponential sizes of
/// mean 1.
fn compound_tail(terms: f64, x: f64) -> (f64, f64) {
    let (mut number, mut arrival) = ((-terms).exp(), (-x).exp());
    let (mut above, mut density, mut fewer) = (0.0, 0.0, 0.0);
    for n in 1..=(terms + 10.0 * terms.sqrt() + 20.0) as usize {
        number *= terms / n as f64;
        fewer += arrival;
        above += number * fewer;
        density += number * arrival;
        arrival *= x / n as f64;
    }
    (above, density)
}

/// Quantile of Student's t distribution with these degrees of freedom.
fn student_t_quantile(level: f64, freedom: f64) -> f64 {
    let freedom = freedom.min(FREEDOM_MAX);
    let tail = level.min(1.0 - level);
    if tail >= 0.5 {
        return 0.0;
    }
    let log_beta = ln_gamma((freedom + 1.0) / 2.0) - ln_gamma(freedom / 2.0);
    let norm = log_beta.exp() / (freedom * std::f64::consts::PI).sqrt();
    let size = positive_root(hill(2.0 * tail, freedom), |t| {
        let above = 0.5 * beta_i(freedom / 2.0, 0.5, freedom / (freedom + t * t));
        (tail - above, norm * (1.0 + t * t / freedom).powf(-(freedom + 1.0) / 2.0))
    });
    if level < 0.5 { -size } else { size }
}

/// About the quantile that both tails of this share together lie beyond (Hill 1970, algorithm 396).
fn hill(tails: f64, freedom: f64) -> f64 {
    let a = 1.0 / (freedom - 0.5);
    let b = 48.0 / (a * a);
    let c = ((20_700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * std::f64::consts::FRAC_PI_2).sqrt() * freedom;
    let y = (d * tails).powf(2.0 / freedom);
    let square = if y > 0.05 + a {
        let x = normal_score(tails / 2.0);
        let c = if freedom < 5.0 { c + 0.3 * (freedom - 4.5) * (x + 0.6) } else { c };
        let c = (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b + c;
        let y = x * x;
        let y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        (a * y * y).exp_m1()
    } else {
        let inner = ((freedom + 6.0) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2.0) * 3.0;
        ((1.0 / inner + 0.5 / (freedom + 4.0)) * y - 1.0) * (freedom + 1.0) / (freedom + 2.0) + 1.0 / y
    };
    (freedom * square).max(0.0).sqrt()
}

/// The positive number at which an increasing function is 0: Newton's method, bisection where it leads astray.
/// `at` gives value and slope.
fn positive_root(start: f64, at: impl Fn(f64) -> (f64, f64)) -> f64 {
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut x = if start.is_finite() && start > 0.0 { start } else { 1.0 };
    for _ in 0..STEPS_MAX {
        let (value, slope) = at(x);
        if value > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - value / slope;
        let next = match newton > low && newton < high {
            true => newton,
            false if high.is_finite() => (low + high) / 2.0,
            false => 2.0 * x,
        };
        let moved = (next - x).abs();
        x = next;
        if moved <= PRECISION * x {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: [f64; 7] = [0.005, 0.05, 0.25, 0.5, 0.8, 0.975, 0.995];

    fn of(distribution: Distribution) -> [f64; 7] {
        let mut out = [0.0; 7];
        distribution.quantiles(&AT, &mut out);
        out
    }

    fn near(distribution: Distribution, theirs: [f64; 7], relative: f64) {
        let ours = of(distribution);
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!(
                (ours - theirs).abs() <= relative * theirs.abs().max(1e-9),
                "{distribution:?} {ours} {theirs}"
            );
        }
    }

    /// scipy.stats.nbinom.ppf(AT, 1 / dispersion, 1 / (1 + dispersion mean)) and scipy.stats.poisson.ppf, scipy 1.17.
    #[test]
    fn counts_have_the_quantiles_of_scipy() {
        near(Distribution::Count { mean: 0.3, dispersion: 2.0 }, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 4.0], 0.0);
        near(Distribution::Count { mean: 4.0, dispersion: 0.5 }, [0.0, 0.0, 1.0, 3.0, 6.0, 13.0, 17.0], 0.0);
        near(
            Distribution::Count { mean: 120.0, dispersion: 0.05 },
            [58.0, 76.0, 99.0, 118.0, 144.0, 183.0, 207.0],
            0.0,
        );
        near(
            Distribution::Count { mean: 480.0, dispersion: 0.8 },
            [6.0, 40.0, 169.0, 360.0, 757.0, 1613.0, 2259.0],
            0.0,
        );
        near(Distribution::Count { mean: 0.2, dispersion: 0.0 }, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0], 0.0);
        near(Distribution::Count { mean: 7.5, dispersion: 0.0 }, [2.0, 3.0, 6.0, 7.0, 10.0, 13.0, 15.0], 0.0);
        near(
            Distribution::Count { mean: 333.0, dispersion: 0.0 },
            [287.0, 303.0, 321.0, 333.0, 348.0, 369.0, 381.0],
            0.0,
        );
        // Beyond the largest mean that is counted: within a hundredth.
        near(
            Distribution::Count { mean: 900.0, dispersion: 0.3 },
            [117.0, 267.0, 537.0, 812.0, 1268.0, 2094.0, 2664.0],
            1e-2,
        );
        near(
            Distribution::Count { mean: 20000.0, dispersion: 0.01 },
            [15212.0, 16820.0, 18614.0, 19933.0, 21665.0, 24116.0, 25540.0],
            1e-2,
        );
    }

    /// scipy.stats.t.ppf(AT, freedom, location, scale), scipy 1.17.
    #[test]
    fn student_t_has_the_quantiles_of_scipy() {
        near(
            Distribution::StudentT { location: 0.0, scale: 1.0, freedom: 2.1 },
            [
                -9.165665861448588,
                -2.8273354002997513,
                -0.8088567931417223,
                0.0,
                1.0483046779883707,
                4.112152758173878,
                9.165665861448582,
            ],
            1e-8,
        );
        near(
            Distribution::StudentT { location: 3.0, scale: 0.5, freedom: 3.0 },
            [
                0.07954534513332145,
                1.823318282599088,
                2.617553835797828,
                3.0,
                3.489236156181652,
                4.591223152641854,
                5.920454654866678,
            ],
            1e-8,
        );
        near(
            Distribution::StudentT { location: 0.0, scale: 1.0, freedom: 7.3 },
            [
                -3.4510316556221854,
                -1.8829300179564314,
                -0.709573020456991,
                0.0,
                0.8936713571802273,
                2.345066736547703,
                3.451031655622185,
            ],
            1e-8,
        );
        near(
            Distribution::StudentT { location: -2.0, scale: 4.0, freedom: 60.0 },
            [
                -12.641132115420149,
                -8.682595459618547,
                -4.714402882592542,
                -2.0,
                1.3906120254264578,
                6.001191288057042,
                8.641132115420147,
            ],
            1e-8,
        );
        near(
            Distribution::StudentT { location: 0.0, scale: 1.0, freedom: 1000.0 },
            [
                -2.580754698065951,
                -1.6463788172854648,
                -0.6747351646070093,
                0.0,
                0.8419808221624288,
                1.9623390808264083,
                2.580754698065951,
            ],
            1e-8,
        );
    }

    /// Roots of exp(-λ) + Σ Poisson(n; λ) P(n, y / θ) by scipy.optimize.brentq, scipy 1.17.
    #[test]
    fn compound_sums_have_the_quantiles_of_their_series() {
        near(
            Distribution::Compound { mean: 0.5, dispersion: 2.0 },
            [0.0, 0.0, 0.0, 0.01414864194357796, 0.9334711000033759, 2.9117876223683212, 4.381398808484085],
            1e-8,
        );
        near(
            Distribution::Compound { mean: 4.0, dispersion: 1.0 },
            [
                0.0,
                0.36782342031062837,
                1.8713120069972335,
                3.4878172540441956,
                6.155645186182907,
                10.811377190259517,
                13.914468188488568,
            ],
            1e-8,
        );
        near(
            Distribution::Compound { mean: 30.0, dispersion: 0.5 },
            [
                10.662530564998084,
                16.348949972420687,
                23.546580342641768,
                29.312675034851615,
                37.384464626800266,
                49.61563390609726,
                57.08445018488125,
            ],
            1e-8,
        );
        // Beyond the largest number of terms that are summed: gamma.
        near(
            Distribution::Compound { mean: 400.0, dispersion: 0.5 },
            [
                251.44866147972382,
                300.4016129096902,
                356.04409544737524,
                397.49737776758974,
                452.4156349609421,
                530.8757030794147,
                576.755616845656,
            ],
            2e-2,
        );
    }

    #[test]
    fn extremes_are_finite_and_ascending() {
        for mean in [1e-9, 1e-3, 0.4, 37.0, 499.0, 501.0, 1e9] {
            for dispersion in [1e-5, 0.1, 3.0, 1e4] {
                let compound = Distribution::Compound { mean, dispersion };
                for q in [of(Distribution::Count { mean, dispersion }), of(compound)] {
                    assert!(q.iter().all(|y| y.is_finite() && *y >= 0.0), "{mean} {dispersion} {q:?}");
                    assert!(q.windows(2).all(|pair| pair[0] <= pair[1]), "{mean} {dispersion} {q:?}");
                }
            }
        }
    }
}
