//! Minimising a function of a few numbers without slopes (Nelder and Mead 1965), within a box.

/// Most parameters.
const PARAMETERS_MAX: usize = 6;

/// The point in the box `low..=high` at which `f` is least, from `start` on; looks at `f` at most `calls` times.
pub(super) fn minimise<const N: usize>(
    start: [f64; N],
    low: [f64; N],
    high: [f64; N],
    calls: usize,
    mut f: impl FnMut(&[f64; N]) -> f64,
) -> ([f64; N], f64) {
    const { assert!(N <= PARAMETERS_MAX) };
    let boxed = |x: [f64; N]| std::array::from_fn(|i| x[i].clamp(low[i], high[i]));
    let mut value = |x: &[f64; N]| {
        let y = f(x);
        if y.is_nan() { f64::INFINITY } else { y }
    };
    let mut points: Vec<([f64; N], f64)> = Vec::with_capacity(N + 1);
    let start: [f64; N] = boxed(start);
    points.push((start, value(&start)));
    for i in 0..N {
        let mut x = start;
        let step = 0.25 * (high[i] - low[i]);
        x[i] += if x[i] + step <= high[i] { step } else { -step };
        points.push((x, value(&x)));
    }
    let mut left = calls.saturating_sub(N + 1);
    while left > 0 {
        points.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (points[0].1, points[N].1);
        if worst - best <= 1e-7 * best.abs().max(1e-12) {
            break;
        }
        let centre: [f64; N] =
            std::array::from_fn(|i| points[..N].iter().map(|(x, _)| x[i]).sum::<f64>() / N as f64);
        let beyond = |by: f64, worst: &[f64; N]| {
            boxed(std::array::from_fn(|i| centre[i] + by * (centre[i] - worst[i])))
        };
        let reflected = beyond(1.0, &points[N].0);
        let mut next = (reflected, value(&reflected));
        left -= 1;
        if next.1 < best {
            let further = beyond(2.0, &points[N].0);
            let found = value(&further);
            left = left.saturating_sub(1);
            if found < next.1 {
                next = (further, found);
            }
        } else if next.1 >= points[N - 1].1 {
            let nearer = if next.1 < worst { beyond(0.5, &points[N].0) } else { beyond(-0.5, &points[N].0) };
            let found = value(&nearer);
            left = left.saturating_sub(1);
            if found >= next.1.min(worst) {
                let first = points[0].0;
                for point in &mut points[1..] {
                    point.0 = std::array::from_fn(|i| 0.5 * (first[i] + point.0[i]));
                    point.1 = value(&point.0);
                }
                left = left.saturating_sub(N);
                continue;
            }
            next = (nearer, found);
        }
        points[N] = next;
    }
    points.into_iter().reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap_or((start, f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_and_walls_are_found() {
        let banana = |x: &[f64; 2]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let (x, y) = minimise([-1.2, 1.0], [-5.0; 2], [5.0; 2], 2000, banana);
        assert!(y < 1e-6 && (x[0] - 1.0).abs() < 1e-2, "{x:?} {y}");
        let (x, _) = minimise([0.5], [0.0], [1.0], 200, |x: &[f64; 1]| -x[0]);
        assert_eq!(x, [1.0]);
        let (_, y) = minimise([0.5], [0.0], [1.0], 50, |_: &[f64; 1]| f64::NAN);
        assert_eq!(y, f64::INFINITY);
    }
}
