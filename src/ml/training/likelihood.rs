//! Likelihoods and deviances of a step, with their slopes in what the network says of it.
//!
//! `outputs` is a row of the network, `actual` the target in units of the window's scale, `scale` that scale. The same
//! formulas in Candle's operations run where the tensors are not on the CPU.

use candle_core::{Result, Tensor};

use crate::ml::special::{digamma, ln_gamma};

/// Outputs of the likelihood with the most.
pub(super) const OUTPUTS_MAX: usize = 3;
/// The power of the mean that is the variance of a Tweedie distribution.
pub const TWEEDIE_POWER: f64 = 1.5;
/// Least scaled mean of counts, which keeps its logarithm finite.
const MEAN_MIN: f64 = 1e-6;
/// Least dispersion: counts that vary less are Poisson to all eyes.
const DISPERSION_MIN: f64 = 1e-5;
/// Least scale of Student's t distribution; residuals may be 0.
const WIDTH_MIN: f64 = 1e-4;
/// Logarithms of means stay within this size, so that means stay finite.
const LOG_MEAN_MAX: f64 = 30.0;

/// The loss of a step and its slopes in the outputs.
pub(super) type Likelihood = fn(&[f32], f64, f64) -> (f64, [f64; OUTPUTS_MAX]);

/// `ln(1 + exp(x))` and its slope.
fn softplus(x: f32) -> (f64, f64) {
    let x = f64::from(x);
    let small = (-x.abs()).exp();
    (x.max(0.0) + small.ln_1p(), if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) })
}

/// Means below this are as good as 0 where a link starts from them.
const START_MIN: f32 = 0.01;

/// The number whose [`softplus`] this is.
pub(super) fn softplus_inverse(mean: f32) -> f32 {
    let mean = mean.max(START_MIN);
    mean + (-(-mean).exp_m1()).ln()
}

/// The logarithm of a mean.
pub(super) fn log_link(mean: f32) -> f32 {
    mean.max(START_MIN).ln()
}

/// The mean of counts and its slope in the output.
fn count_mean(output: f32, scale: f64) -> (f64, f64) {
    let (mean, slope) = softplus(output);
    (scale * (mean + MEAN_MIN), scale * slope)
}

/// The dispersion of counts and its slope in the output; smaller for larger series (Salinas et al. 2020).
fn count_dispersion(output: f32, scale: f64) -> (f64, f64) {
    let ((dispersion, slope), root) = (softplus(output), scale.sqrt());
    (dispersion / root + DISPERSION_MIN, slope / root)
}

/// The mean that an output stands for under logarithmic link.
pub fn log_link_mean(output: f32, scale: f64) -> f64 {
    scale * f64::from(output).clamp(-LOG_MEAN_MAX, LOG_MEAN_MAX).exp()
}

/// Mean of a Poisson distribution.
pub fn poisson_mean(outputs: &[f32], scale: f64) -> f64 {
    count_mean(outputs[0], scale).0
}

/// Mean and dispersion of a negative binomial distribution.
pub fn negative_binomial_parameters(outputs: &[f32], scale: f64) -> (f64, f64) {
    (count_mean(outputs[0], scale).0, count_dispersion(outputs[1], scale).0)
}

/// Location and scale, in units of the window's scale, and degrees of freedom of Student's t distribution.
pub fn student_t_parameters(outputs: &[f32]) -> (f64, f64, f64) {
    (f64::from(outputs[0]), softplus(outputs[1]).0 + WIDTH_MIN, softplus(outputs[2]).0 + 2.0)
}

/// Negative log likelihood of a Poisson distribution.
pub(super) fn poisson(outputs: &[f32], actual: f64, scale: f64) -> (f64, [f64; OUTPUTS_MAX]) {
    let (y, (mean, slope)) = ((actual * scale).max(0.0), count_mean(outputs[0], scale));
    (mean - y * mean.ln() + ln_gamma(y + 1.0), [(1.0 - y / mean) * slope, 0.0, 0.0])
}

/// Negative log likelihood of a negative binomial distribution whose variance is `mean + dispersion mean²`.
pub(super) fn negative_binomial(outputs: &[f32], actual: f64, scale: f64) -> (f64, [f64; OUTPUTS_MAX]) {
    let (y, (mean, mean_slope)) = ((actual * scale).max(0.0), count_mean(outputs[0], scale));
    let (dispersion, dispersion_slope) = count_dispersion(outputs[1], scale);
    let (r, spread) = (1.0 / dispersion, (dispersion * mean).ln_1p());
    let value =
        ln_gamma(y + 1.0) + ln_gamma(r) - ln_gamma(y + r) + (r + y) * spread - y * (dispersion * mean).ln();
    let in_mean = (mean - y) / (mean * (1.0 + dispersion * mean));
    let in_r = digamma(r) - digamma(y + r) + spread + (y - mean) / (r + mean);
    (value, [in_mean * mean_slope, -in_r * r * r * dispersion_slope, 0.0])
}

/// Unit deviance of a Tweedie distribution of power [`TWEEDIE_POWER`], with logarithmic link.
pub(super) fn tweedie(outputs: &[f32], actual: f64, scale: f64) -> (f64, [f64; OUTPUTS_MAX]) {
    let (y, mean) = ((actual * scale).max(0.0), log_link_mean(outputs[0], scale));
    let (one, two) = (1.0 - TWEEDIE_POWER, 2.0 - TWEEDIE_POWER);
    let (low, high) = (mean.powf(one), mean.powf(two));
    let value = 2.0 * (y.powf(two) / (one * two) - y * low / one + high / two);
    let moves = f64::from(outputs[0]).abs() <= LOG_MEAN_MAX;
    (value, [if moves { 2.0 * (high - y * low) } else { 0.0 }, 0.0, 0.0])
}

/// Negative log likelihood of Student's t distribution, in units of the window's scale.
pub(super) fn student_t(outputs: &[f32], actual: f64, _: f64) -> (f64, [f64; OUTPUTS_MAX]) {
    let (location, width, freedom) = student_t_parameters(outputs);
    let (width_slope, freedom_slope) = (softplus(outputs[1]).1, softplus(outputs[2]).1);
    let error = actual - location;
    let square = (error / width) * (error / width) / freedom;
    let (half, log) = ((freedom + 1.0) / 2.0, square.ln_1p());
    let value = ln_gamma(freedom / 2.0) - ln_gamma(half)
        + 0.5 * (std::f64::consts::PI * freedom).ln()
        + width.ln()
        + half * log;
    let pull = (freedom + 1.0) / (1.0 + square);
    let in_freedom =
        0.5 * (digamma(freedom / 2.0) - digamma(half) + log) + (1.0 - pull * square) / (2.0 * freedom);
    let slopes = [
        -pull * error / (freedom * width * width),
        (1.0 - pull * square) / width * width_slope,
        in_freedom * freedom_slope,
    ];
    (value, slopes)
}

/// The likelihoods in Candle's operations, in double precision: `outputs` is `[rows, outputs]`, `actual` and `scale`
/// are `[rows, 1]`, as is the result.
pub(super) mod plain {
    use super::{DISPERSION_MIN, LOG_MEAN_MAX, MEAN_MIN, Result, TWEEDIE_POWER, Tensor, WIDTH_MIN};

    /// Arguments of the logarithm of Γ are moved up by this many steps, to where Stirling's series holds.
    const SHIFT: usize = 8;

    fn softplus(x: &Tensor) -> Result<Tensor> {
        x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
    }

    fn ln_gamma(x: &Tensor) -> Result<Tensor> {
        let mut product = x.clone();
        for n in 1..SHIFT {
            product = (product * (x + n as f64)?)?;
        }
        let x = (x + SHIFT as f64)?;
        let (r, log) = (x.recip()?, x.log()?);
        let s = r.sqr()?;
        // 1/12 - s (1/360 - s (1/1260 - s (1/1680 - s / 1188)))
        let mut series = (&s / 1188.0)?.affine(-1.0, 1.0 / 1680.0)?;
        for coefficient in [1.0 / 1260.0, 1.0 / 360.0, 1.0 / 12.0] {
            series = (series * &s)?.affine(-1.0, coefficient)?;
        }
        let stirling = (((&x - 0.5)? * log)? - &x)? + (series * r)?;
        (stirling? + 0.5 * (2.0 * std::f64::consts::PI).ln())? - product.log()?
    }

    fn column(outputs: &Tensor, n: usize) -> Result<Tensor> {
        outputs.narrow(1, n, 1)
    }

    fn count_mean(outputs: &Tensor, scale: &Tensor) -> Result<Tensor> {
        (softplus(&column(outputs, 0)?)? + MEAN_MIN)? * scale
    }

    /// See [`super::poisson`].
    pub(in super::super) fn poisson(outputs: &Tensor, actual: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let (y, mean) = ((actual * scale)?, count_mean(outputs, scale)?);
        ((&mean - (&y * mean.log()?)?)? + ln_gamma(&(y + 1.0)?)?)?.contiguous()
    }

    /// See [`super::negative_binomial`].
    pub(in super::super) fn negative_binomial(
        outputs: &Tensor,
        actual: &Tensor,
        scale: &Tensor,
    ) -> Result<Tensor> {
        let (y, mean) = ((actual * scale)?, count_mean(outputs, scale)?);
        let dispersion = ((softplus(&column(outputs, 1)?)? / scale.sqrt()?)? + DISPERSION_MIN)?;
        let (r, product) = (dispersion.recip()?, (dispersion * mean)?);
        let counted = ((ln_gamma(&(&y + 1.0)?)? + ln_gamma(&r)?)? - ln_gamma(&(&y + &r)?)?)?;
        let spread = ((r + &y)? * (&product + 1.0)?.log()?)?;
        (counted + spread)? - (y * product.log()?)?
    }

    /// See [`super::tweedie`].
    pub(in super::super) fn tweedie(outputs: &Tensor, actual: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let y = (actual * scale)?;
        let log = (column(outputs, 0)?.clamp(-LOG_MEAN_MAX, LOG_MEAN_MAX)? + scale.log()?)?;
        let (one, two) = (1.0 - TWEEDIE_POWER, 2.0 - TWEEDIE_POWER);
        let (low, high) = ((&log * one)?.exp()?, (log * two)?.exp()?);
        let own = (y.powf(two)? / (one * two))?;
        ((own - ((y * low)? / one)?)? + (high / two)?)? * 2.0
    }

    /// See [`super::student_t`].
    pub(in super::super) fn student_t(outputs: &Tensor, actual: &Tensor) -> Result<Tensor> {
        let width = (softplus(&column(outputs, 1)?)? + WIDTH_MIN)?;
        let freedom = (softplus(&column(outputs, 2)?)? + 2.0)?;
        let square = (((actual - column(outputs, 0)?)? / &width)?.sqr()? / &freedom)?;
        let half = ((&freedom + 1.0)? / 2.0)?;
        let norm = (ln_gamma(&(&freedom / 2.0)?)? - ln_gamma(&half)?)?;
        let norm = ((norm + ((freedom * std::f64::consts::PI)?.log()? * 0.5)?)? + width.log()?)?;
        norm + (half * (square + 1.0)?.log()?)?
    }
}
