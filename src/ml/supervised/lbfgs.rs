//! Minimisation by limited-memory quasi-Newton steps (Liu and Nocedal 1989).

use std::collections::VecDeque;

use crate::error::Result;
use crate::ml::control::Control;

/// Steps that the curvature is remembered of.
const MEMORY: usize = 10;
/// Most steps.
const STEPS: usize = 200;
/// Relative decrease below which there is no other step.
const ENOUGH: f64 = 1e-7;
/// Halvings of a step.
const HALVINGS: usize = 30;

/// Minimises a function from `x` on; it gives its value and writes its gradient.
pub(super) fn minimise(
    mut x: Vec<f64>,
    function: &dyn Fn(&[f64], &mut [f64]) -> f64,
    control: &Control,
) -> Result<Vec<f64>> {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = function(&x, &mut gradient);
    let mut kept: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..STEPS {
        control.check()?;
        let direction = direction(&gradient, &kept);
        let slope = dot(&direction, &gradient);
        if slope >= 0.0 || !slope.is_finite() {
            break;
        }
        let mut size = if kept.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut new_gradient = vec![0.0; n];
        let mut found = None;
        for _ in 0..HALVINGS {
            let new_x: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + size * d).collect();
            let new_value = function(&new_x, &mut new_gradient);
            if new_value <= value + 1e-4 * size * slope {
                found = Some((new_x, new_value));
                break;
            }
            size *= 0.5;
        }
        let Some((new_x, new_value)) = found else { break };
        let step: Vec<f64> = new_x.iter().zip(&x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-12 {
            if kept.len() == MEMORY {
                kept.pop_front();
            }
            kept.push_back((step, change, curvature));
        }
        let gained = value - new_value;
        (x, value, gradient) = (new_x, new_value, new_gradient);
        if gained <= ENOUGH * value.abs().max(1e-12) {
            break;
        }
    }
    Ok(x)
}

/// The direction down, as far as the remembered steps tell the curvature.
fn direction(gradient: &[f64], kept: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(kept.len());
    for (step, change, curvature) in kept.iter().rev() {
        let share = dot(step, &direction) / curvature;
        direction.iter_mut().zip(change).for_each(|(d, c)| *d -= share * c);
        shares.push(share);
    }
    if let Some((_, change, curvature)) = kept.back() {
        let scale = curvature / dot(change, change).max(1e-300);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((step, change, curvature), share) in kept.iter().zip(shares.into_iter().rev()) {
        let back = dot(change, &direction) / curvature;
        direction.iter_mut().zip(step).for_each(|(d, s)| *d += (share - back) * s);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_is_found() {
        let function = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let x = minimise(vec![-1.2, 1.0], &function, &Control::default()).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-3 && (x[1] - 1.0).abs() < 1e-3, "{x:?}");
    }
}
