//! Special functions of positive numbers: the gamma function's logarithm and its slope, incomplete gamma and beta.

/// From here on Stirling's series is exact to double precision.
const STIRLING_MIN: f64 = 10.0;
/// Terms of a series or a continued fraction, at most.
const TERMS_MAX: usize = 500;
/// Relative change below which a series has ended.
const PRECISION: f64 = 1e-15;

/// The logarithm of Γ(x), x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    let (mut product, mut x) = (1.0, x);
    while x < STIRLING_MIN {
        product *= x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - product.ln()
}

/// The slope of [`ln_gamma`], x > 0.
pub fn digamma(x: f64) -> f64 {
    let (mut sum, mut x) = (0.0, x);
    while x < STIRLING_MIN {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = r * (1.0 / 12.0 - r * (1.0 / 120.0 - r * (1.0 / 252.0 - r * (1.0 / 240.0 - r / 132.0))));
    sum + x.ln() - 0.5 / x - series
}

/// The regularised lower incomplete gamma function P(a, x), a > 0, x ≥ 0 (Press et al. 2007, 6.2).
pub fn gamma_p(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..TERMS_MAX * 20 {
            term *= x / (a + n as f64);
            sum += term;
            if term < PRECISION * sum {
                break;
            }
        }
        return (front * sum).min(1.0);
    }
    let fraction = lentz(x + 1.0 - a, TERMS_MAX * 20, |n| {
        let n = n as f64;
        (n * (a - n), x + 2.0 * n + 1.0 - a)
    });
    1.0 - front / fraction
}

/// The regularised incomplete beta function Iₓ(a, b), a, b > 0, 0 ≤ x ≤ 1 (Press et al. 2007, 6.4).
pub fn beta_i(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_i(b, a, 1.0 - x);
    }
    let front = a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    let fraction = lentz(1.0, TERMS_MAX, |n| {
        let m = (n / 2) as f64;
        let numerator = match n % 2 {
            0 => m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            _ => -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        };
        (numerator, 1.0)
    });
    front.exp() / (a * fraction)
}

/// `first + n₁ / (d₁ + n₂ / (d₂ + …))` by the method of Lentz, `part(k)` being `(n, d)` of the k-th fraction.
fn lentz(first: f64, terms: usize, part: impl Fn(usize) -> (f64, f64)) -> f64 {
    let away = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let mut value = away(first);
    let (mut c, mut d) = (value, 0.0);
    for k in 1..terms {
        let (numerator, denominator) = part(k);
        d = 1.0 / away(denominator + numerator * d);
        c = away(denominator + numerator / c);
        value *= c * d;
        if (c * d - 1.0).abs() < PRECISION {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(0.1), "{ours} and {theirs}");
    }

    /// Values by scipy.special 1.17.
    #[test]
    fn values_of_scipy() {
        near(ln_gamma(0.001), 6.907178885383853);
        near(ln_gamma(0.5), 0.5723649429247);
        near(ln_gamma(1.0), 0.0);
        near(ln_gamma(3.7), 1.428072326665388);
        near(ln_gamma(25.0), 54.78472939811232);
        near(ln_gamma(100000.0), 1051287.7089736569);
        near(digamma(0.001), -1000.5755719318103);
        near(digamma(0.5), -1.9635100260214235);
        near(digamma(3.7), 1.1671535393615113);
        near(digamma(25.0), 3.198742512851974);
        near(digamma(100000.0), 11.512920464961896);
        near(gamma_p(0.5, 0.2), 0.47291074313446196);
        near(gamma_p(3.0, 2.0), 0.32332358381693654);
        near(gamma_p(3.0, 9.0), 0.9937678048936227);
        near(gamma_p(120.0, 100.0), 0.02823039396486565);
        near(gamma_p(120.0, 150.0), 0.9948952883968496);
        near(gamma_p(2000.0, 2050.0), 0.8678507404035056);
        near(beta_i(0.5, 0.5, 0.3), 0.36901011956554536);
        near(beta_i(2.0, 5.0, 0.4), 0.7667200000000001);
        near(beta_i(50.0, 0.5, 0.99), 0.3173043978741973);
        near(beta_i(500.0, 0.5, 0.995), 0.025200765362045793);
        near(beta_i(1.2, 0.5, 0.05), 0.01295729373585646);
    }
}
