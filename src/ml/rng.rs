//! The one source of randomness: a seeded ChaCha8 generator whose draws are the same bits everywhere.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// A seeded generator; equal seeds and equal calls give equal bits on every platform.
#[derive(Debug, Clone)]
pub struct Rng {
    generator: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Rng {
    /// A generator for this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut key = [0u8; 32];
        for word in key.chunks_exact_mut(8) {
            word.copy_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        Self { generator: ChaCha8Rng::from_seed(key), spare_normal: None }
    }

    /// An independent generator named `label`; it does not depend on what was drawn before.
    pub fn fork(&self, label: &str) -> Self {
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        self.on_stream(hash)
    }

    /// The `index`-th independent generator; it does not depend on what was drawn before.
    pub fn stream(&self, index: u64) -> Self {
        self.on_stream(index.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1))
    }

    fn on_stream(&self, salt: u64) -> Self {
        let mut state = self.generator.get_stream() ^ salt;
        let mut generator = self.generator.clone();
        generator.set_stream(split_mix(&mut state));
        generator.set_word_pos(0);
        Self { generator, spare_normal: None }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.generator.next_u32()
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [0, 1), 24 bits.
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in (0, 1]: safe to take the logarithm of.
    fn uniform_positive(&mut self) -> f64 {
        1.0 - self.uniform()
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Uniform in 0..n without bias; 0 when n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        if n == 0 {
            return 0;
        }
        // Lemire's method: the low half of the product is rejected where it would favour some values.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = (-2.0 * ln(s) / s).sqrt();
                self.spare_normal = Some(v * factor);
                return u * factor;
            }
        }
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.uniform_positive())
    }

    /// Gamma with this shape and scale (Marsaglia and Tsang 2000); 0 when either is not positive.
    pub fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        if !(shape > 0.0 && scale > 0.0) {
            return 0.0;
        }
        if shape < 1.0 {
            let boost = exp(ln(self.uniform_positive()) / shape);
            return self.gamma(shape + 1.0, scale) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
            if v > 0.0 && ln(self.uniform_positive()) < 0.5 * x * x + d - d * v + d * ln(v) {
                return d * v * scale;
            }
        }
    }

    /// Poisson with this mean; 0 when the mean is not positive.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        if mean > 30.0 {
            return self.poisson_rejection(mean);
        }
        let mut time = self.exponential();
        let mut arrivals = 0;
        while time < mean {
            arrivals += 1;
            time += self.exponential();
        }
        arrivals
    }

    /// Transformed rejection with squeeze (Hoermann 1993, PTRS), for means above 10.
    fn poisson_rejection(&mut self, mean: f64) -> u64 {
        let mean = mean.min(1e15);
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform_positive();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let left = ln(v) + ln(inverse_alpha) - ln(a / (us * us) + b);
            if left <= -mean + k * ln(mean) - ln_factorial(k) {
                return k as u64;
            }
        }
    }

    /// Negative binomial with this mean and variance `mean + dispersion * mean^2`.
    pub fn negative_binomial(&mut self, mean: f64, dispersion: f64) -> u64 {
        if dispersion <= 0.0 {
            return self.poisson(mean);
        }
        let rate = self.gamma(1.0 / dispersion, mean * dispersion);
        self.poisson(rate)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Natural logarithm of a positive normal number from basic arithmetic only, because the platform's
/// may differ in the last bit.
fn ln(x: f64) -> f64 {
    const SQRT_2: f64 = std::f64::consts::SQRT_2;
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent * std::f64::consts::LN_2 + 2.0 * s * series
}

/// Exponential from basic arithmetic only, for the reason of [`ln`]; 0 far below, infinite far above.
fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = x - power * std::f64::consts::LN_2;
    let series = (1..20).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    series * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

/// Logarithm of k! by Stirling's series; exact sums below 10.
fn ln_factorial(k: f64) -> f64 {
    if k < 10.0 {
        return (2..=k as u32).map(|i| ln(f64::from(i))).sum();
    }
    let half_ln_two_pi = 0.918_938_533_204_672_8;
    let inverse = 1.0 / k;
    let correction = inverse * (1.0 / 12.0 - inverse * inverse * (1.0 / 360.0 - inverse * inverse / 1260.0));
    (k + 0.5) * ln(k) - k + half_ln_two_pi + correction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let n = 40_000;
        let xs: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = xs.iter().sum::<f64>() / f64::from(n);
        (mean, xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n))
    }

    #[test]
    fn equal_seeds_give_equal_bits_and_forks_ignore_the_position() {
        let mut a = Rng::new(7);
        let fork_before = a.fork("init").next_u64();
        let first = a.next_u64();
        assert_eq!(first, Rng::new(7).next_u64());
        assert_ne!(first, Rng::new(8).next_u64());
        assert_eq!(fork_before, a.fork("init").next_u64());
        assert_ne!(fork_before, a.fork("dropout").next_u64());
        assert_ne!(a.stream(0).next_u64(), a.stream(1).next_u64());
        assert_ne!(a.stream(0).fork("x").next_u64(), a.stream(1).fork("x").next_u64());
    }

    #[test]
    fn the_first_bits_of_a_seed_never_change() {
        let mut rng = Rng::new(42);
        assert_eq!([rng.next_u64(), rng.next_u64()], [3_536_907_876_931_541_756, 1_681_417_456_739_323_905]);
        assert_eq!(Rng::new(42).normal().to_bits(), 4_607_630_233_317_498_060);
    }

    #[test]
    fn below_is_uniform_and_shuffle_is_a_permutation() {
        let mut rng = Rng::new(1);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[rng.below(7)] += 1);
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
        let mut items: Vec<usize> = (0..100).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn distributions_have_their_mean_and_variance() {
        let mut rng = Rng::new(3);
        let near = |(mean, var): (f64, f64), m: f64, v: f64| {
            assert!((mean - m).abs() < 0.03 * m.max(1.0), "mean {mean} for {m}");
            assert!((var - v).abs() < 0.06 * v, "variance {var} for {v}");
        };
        near(moments(|| rng.uniform()), 0.5, 1.0 / 12.0);
        near(moments(|| rng.normal()), 0.0, 1.0);
        near(moments(|| rng.gamma(0.5, 2.0)), 1.0, 2.0);
        near(moments(|| rng.gamma(4.0, 0.5)), 2.0, 1.0);
        near(moments(|| rng.poisson(3.5) as f64), 3.5, 3.5);
        near(moments(|| rng.poisson(250.0) as f64), 250.0, 250.0);
        near(moments(|| rng.negative_binomial(5.0, 0.4) as f64), 5.0, 15.0);
    }

    #[test]
    fn own_logarithm_and_exponential_are_accurate() {
        for x in [1e-300, 1e-9, 0.3, 0.999_999, 1.0, 1.5, 7.0, 1e12] {
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "{x}");
        }
        for x in [-300.0, -1.0, -1e-9, 0.0, 0.4, 50.0, 700.0] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-13, "{x}");
        }
    }
}
