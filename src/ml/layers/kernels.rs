//! Pointwise loops and matrix products on plain slices, compiled for the vector units at hand.

use gemm::{Parallelism, gemm};
use serde::{Deserialize, Serialize};

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Nothing.
    None,
    /// max(x, 0).
    Relu,
    /// Gaussian error linear unit: x times the chance that a standard normal is below x (Hendrycks and Gimpel 2016).
    Gelu,
}

/// A matrix in a slice: element (i, j) is at `i * rows + j * columns`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    /// The elements.
    pub data: &'a [T],
    /// Distance between rows.
    pub rows: usize,
    /// Distance between columns.
    pub columns: usize,
}

/// A number that matrices hold.
pub trait Element: Copy + 'static {
    /// The number that changes no product.
    const ONE: Self;
}

impl Element for f32 {
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ONE: Self = 1.0;
}

/// `output[m, n] += left[m, k] * right[k, n]` on the calling thread.
pub fn multiply_add<T: Element>(
    output: &mut [T],
    (m, n, k): (usize, usize, usize),
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(output.len() >= m * n, "the product fits its output");
    assert!(left.data.len() > (m - 1) * left.rows + (k - 1) * left.columns, "the left matrix is m by k");
    assert!(right.data.len() > (k - 1) * right.rows + (n - 1) * right.columns, "the right matrix is k by n");
    // SAFETY: the asserts above bound every address that the strides reach; output does not alias the inputs.
    unsafe {
        gemm(
            m,
            n,
            k,
            output.as_mut_ptr(),
            1,
            n as isize,
            true,
            left.data.as_ptr(),
            left.columns as isize,
            left.rows as isize,
            right.data.as_ptr(),
            right.columns as isize,
            right.rows as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Compiles a loop three times, for AVX-512, for AVX2 and for the baseline, and picks at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(in crate::ml) fn $name($($argument: $type),*) {
            #[allow(clippy::too_many_arguments)]
            #[inline(always)]
            fn body($($argument: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
                fn avx512($($argument: $type),*) {
                    body($($argument),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) {
                    body($($argument),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor has the features of `avx512`.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the features of `avx2`.
                    return unsafe { avx2($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}

pub(in crate::ml) use vectorised;

/// e^x without branches, relative error near 1e-7, for |x| up to 87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (x - power * 0.693_359_4) + power * 2.121_944_4e-4;
    let series = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (1.0 / 6.0
                                + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest * (1.0 / 720.0))))));
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// The chance that a standard normal is below x, and its density there; the error is at most 1e-7 (Abramowitz and Stegun
/// 1964, 7.1.26).
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series =
        t * (0.254_829_6 + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152_1 + t * 1.061_405_4))));
    let bell = exp(-z * z);
    let tail = 0.5 * series * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, DENSITY * bell)
}

vectorised! {
    /// Adds the bias to every row and applies the activation; GELU leaves its argument in `before`.
    bias_activation(output: &mut [f32], bias: &[f32], before: &mut [f32], activation: Activation) {
        let n = bias.len();
        match activation {
            Activation::None => {
                for row in output.chunks_exact_mut(n) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            }
            Activation::Relu => {
                for row in output.chunks_exact_mut(n) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y = (*y + b).max(0.0));
                }
            }
            Activation::Gelu => {
                for (row, before) in output.chunks_exact_mut(n).zip(before.chunks_exact_mut(n)) {
                    for ((y, b), z) in row.iter_mut().zip(bias).zip(before) {
                        *z = *y + b;
                        *y = *z * normal(*z).0;
                    }
                }
            }
        }
    }
}

vectorised! {
    /// Multiplies `gradient` by the slope of ReLU, given its result.
    relu_backward(gradient: &mut [f32], result: &[f32]) {
        gradient.iter_mut().zip(result).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 });
    }
}

vectorised! {
    /// Multiplies `gradient` by the slope of GELU, given its argument.
    gelu_backward(gradient: &mut [f32], argument: &[f32]) {
        for (g, &x) in gradient.iter_mut().zip(argument) {
            let (below, density) = normal(x);
            *g *= below + x * density;
        }
    }
}

vectorised! {
    /// Adds every row to `sums`, first row first.
    add_rows(rows: &[f32], sums: &mut [f32]) {
        for row in rows.chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
    }
}

const LANES: usize = 16;

/// Sum in sixteen interleaved parts: one fixed order that vector units like.
#[inline(always)]
fn sum(values: impl Fn(usize) -> f32, n: usize) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += values(start + lane);
        }
    }
    let tail: f32 = (whole..n).map(&values).sum();
    lanes.iter().sum::<f32>() + tail
}

vectorised! {
    /// Normalises every row to mean 0 and variance 1, then scales and shifts; leaves mean and 1/deviation in `moments`.
    normalise(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32], moments: &mut [f32]) {
        let n = gain.len();
        for ((x, y), moments) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(moments.chunks_exact_mut(2)) {
            let mean = sum(|j| x[j], n) / n as f32;
            let variance = sum(|j| (x[j] - mean) * (x[j] - mean), n) / n as f32;
            let inverse = 1.0 / (variance + epsilon).sqrt();
            for j in 0..n {
                y[j] = (x[j] - mean) * inverse * gain[j] + bias[j];
            }
            moments[0] = mean;
            moments[1] = inverse;
        }
    }
}

vectorised! {
    /// Gradients of [`normalise`]; those of gain and bias are added to, first row first.
    normalise_backward(
        x: &[f32], gain: &[f32], moments: &[f32], gradient: &[f32],
        dx: &mut [f32], dgain: &mut [f32], dbias: &mut [f32]
    ) {
        let n = gain.len();
        let rows = x.chunks_exact(n).zip(gradient.chunks_exact(n)).zip(moments.chunks_exact(2));
        for (((x, g), moments), dx) in rows.zip(dx.chunks_exact_mut(n)) {
            let (mean, inverse) = (moments[0], moments[1]);
            let scaled = sum(|j| g[j] * gain[j], n) / n as f32;
            let along = sum(|j| g[j] * gain[j] * (x[j] - mean) * inverse, n) / n as f32;
            for j in 0..n {
                let unit = (x[j] - mean) * inverse;
                dx[j] = inverse * (g[j] * gain[j] - scaled - unit * along);
                dgain[j] += g[j] * unit;
                dbias[j] += g[j];
            }
        }
    }
}

vectorised! {
    /// Scales every row to mean square 1 and by the gain; leaves the inverse roots.
    scale_rows(x: &[f32], gain: &[f32], epsilon: f32, y: &mut [f32], inverses: &mut [f32]) {
        let n = gain.len();
        for ((x, y), inverse) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(inverses) {
            *inverse = 1.0 / (sum(|j| x[j] * x[j], n) / n as f32 + epsilon).sqrt();
            for j in 0..n {
                y[j] = x[j] * *inverse * gain[j];
            }
        }
    }
}

vectorised! {
    /// Gradients of [`scale_rows`]; that of the gain is added to, first row first.
    scale_rows_backward(
        x: &[f32], gain: &[f32], inverses: &[f32], gradient: &[f32], dx: &mut [f32], dgain: &mut [f32]
    ) {
        let n = gain.len();
        let rows = x.chunks_exact(n).zip(gradient.chunks_exact(n)).zip(inverses);
        for (((x, g), inverse), dx) in rows.zip(dx.chunks_exact_mut(n)) {
            let along = sum(|j| g[j] * gain[j] * x[j], n) / n as f32 * inverse * inverse;
            for j in 0..n {
                dx[j] = inverse * (g[j] * gain[j] - x[j] * along);
                dgain[j] += g[j] * x[j] * inverse;
            }
        }
    }
}

vectorised! {
    /// `output[m, n] = left[m, k] * right[k, n]` of matrices that are too small for a packed product.
    product(left: &[f32], right: &[f32], output: &mut [f32], size: (usize, usize, usize)) {
        let (m, n, k) = size;
        let whole = n - n % LANES;
        for (left, output) in left.chunks_exact(k).zip(output.chunks_exact_mut(n)).take(m) {
            for at in (0..whole).step_by(LANES) {
                let mut lanes = [0.0f32; LANES];
                for (x, right) in left.iter().zip(right.chunks_exact(n)) {
                    let right: &[f32; LANES] = right[at..].first_chunk().unwrap_or(&[0.0; LANES]);
                    for lane in 0..LANES {
                        lanes[lane] += x * right[lane];
                    }
                }
                output[at..at + LANES].copy_from_slice(&lanes);
            }
            output[whole..].fill(0.0);
            for (x, right) in left.iter().zip(right.chunks_exact(n)) {
                output[whole..].iter_mut().zip(&right[whole..]).for_each(|(y, r)| *y += x * r);
            }
        }
    }
}

vectorised! {
    /// `output[n, m]` is `input[m, n]` turned.
    transpose(input: &[f32], size: (usize, usize), output: &mut [f32]) {
        let (m, n) = size;
        for (i, row) in input.chunks_exact(n).enumerate().take(m) {
            for (j, x) in row.iter().enumerate() {
                output[j * m + i] = *x;
            }
        }
    }
}

vectorised! {
    /// Exponentials of every row over their sum, those without a flag of 1 left out; zeros where all are.
    softmax_rows(rows: &mut [f32], flags: &[f32]) {
        for row in rows.chunks_exact_mut(flags.len()) {
            let seen = row.iter().zip(flags).filter(|(_, flag)| **flag > 0.0);
            let largest = seen.fold(f32::NEG_INFINITY, |most, (x, _)| most.max(*x));
            row.iter_mut().zip(flags).for_each(|(x, flag)| *x = flag * exp(*x - largest));
            let total = sum(|j| row[j], row.len());
            let inverse = if total > 0.0 { 1.0 / total } else { 0.0 };
            row.iter_mut().for_each(|x| *x *= inverse);
        }
    }
}

vectorised! {
    /// Turns gradients of probabilities `[n, n]` into those of the scores.
    softmax_backward(probabilities: &[f32], gradient: &mut [f32]) {
        let n = probabilities.len().isqrt();
        for (p, g) in probabilities.chunks_exact(n).zip(gradient.chunks_exact_mut(n)) {
            let along = sum(|j| p[j] * g[j], n);
            g.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - along));
        }
    }
}

/// A well mixed hash of 32 bits.
#[inline(always)]
pub(super) fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

vectorised! {
    /// `y = x / keep` where the hash of seed and position keeps the element, else 0.
    drop_elements(x: &[f32], y: &mut [f32], seed: (u32, u32), threshold: u32, scale: f32) {
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let hash = mix(mix(i as u32 ^ seed.0) ^ seed.1);
            *y = if hash < threshold { 0.0 } else { *x * scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_exponential_is_accurate() {
        for i in -800..800 {
            let x = i as f32 / 10.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 5e-7, "{x}");
        }
    }

    #[test]
    fn the_normal_distribution_has_its_published_values() {
        // Abramowitz and Stegun 1964, table 26.1.
        for (x, below, density) in [
            (0.0, 0.5, 0.398_942_3),
            (0.5, 0.691_462_5, 0.352_065_3),
            (1.0, 0.841_344_7, 0.241_970_7),
            (-2.0, 0.022_750_13, 0.053_990_97),
            (3.0, 0.998_650_1, 0.004_431_848),
        ] {
            let (p, d) = normal(x);
            assert!((p - below).abs() < 2e-7 && (d - density).abs() < 2e-7, "{x}: {p} {d}");
        }
    }

    #[test]
    fn product_respects_strides() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut c = [0.0; 4];
        let left = Matrix { data: &a, rows: 3, columns: 1 };
        let right = Matrix { data: &a, rows: 1, columns: 3 };
        multiply_add(&mut c, (2, 2, 3), left, right);
        assert_eq!(c, [14.0, 32.0, 32.0, 77.0]);
    }
}
