//! Lasting changes of the level of a series.

/// Least steps on either side of a shift, for short seasons and long ones.
const SIDE: (usize, usize) = (4, 28);
/// Least distance of the levels, in deviations within them.
const DEVIATIONS_MIN: f32 = 1.0;
/// Least t statistic: that of the likeliest of many places is large by chance already.
const T_MIN: f32 = 5.0;

/// The likeliest place where the level of these values shifted: how many of them came after it and by how much the
/// level changed; `None` where nothing tells of a shift.
///
/// The place is the one between whose sides the squared distance of the means is largest for the spread within
/// (the least-squares change point; Hinkley 1970).
pub(super) fn latest_shift(values: &[f32], season: usize) -> Option<(usize, f32)> {
    let (n, side) = (values.len(), season.clamp(SIDE.0, SIDE.1));
    if n < 2 * side {
        return None;
    }
    let total: f32 = values.iter().sum();
    let mean = total / n as f32;
    let squares: f32 = values.iter().map(|y| (y - mean) * (y - mean)).sum();
    // Values that are alike have a spread of rounding errors.
    let squares = squares.max(1e-9 * mean * mean * n as f32);
    let (mut before, mut best) = (0.0, (0.0f32, 0, 0.0f32));
    for (at, y) in values.iter().enumerate().take(n - side) {
        before += y;
        let (left, right) = ((at + 1) as f32, (n - at - 1) as f32);
        if at + 1 < side {
            continue;
        }
        let shift = (total - before) / right - before / left;
        let between = shift * shift * left * right / n as f32;
        if between > best.0 {
            best = (between, n - at - 1, shift);
        }
    }
    let (between, after, shift) = best;
    let within = ((squares - between).max(1e-3 * squares) / (n - 2) as f32).sqrt();
    let is_shift = between.sqrt() >= T_MIN * within && shift.abs() >= DEVIATIONS_MIN * within;
    is_shift.then_some((after, shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    fn noise(rng: &mut Rng, level: f32, n: usize) -> Vec<f32> {
        (0..n).map(|_| level + rng.normal() as f32).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is_and_noise_is_none() {
        let mut rng = Rng::new(7);
        let stepped = [noise(&mut rng, 10.0, 60), noise(&mut rng, 14.0, 30)].concat();
        let (after, shift) = latest_shift(&stepped, 7).unwrap();
        assert!((29..=31).contains(&after) && (shift - 4.0).abs() < 0.7, "{after} {shift}");
        let found = (0..200).filter(|_| latest_shift(&noise(&mut rng, 5.0, 90), 7).is_some()).count();
        assert!(found <= 2, "{found} of 200");
    }

    #[test]
    fn what_lasts_less_than_a_season_or_never_changes_is_no_shift() {
        let mut rng = Rng::new(8);
        let short = [noise(&mut rng, 10.0, 60), noise(&mut rng, 16.0, 3)].concat();
        let found = latest_shift(&short, 7);
        assert!(found.is_none_or(|(after, _)| after >= 7), "{found:?}");
        assert_eq!((latest_shift(&[3.0; 90], 7), latest_shift(&[1.0; 10], 7)), (None, None));
        // A season is none either.
        let weekly: Vec<f32> = (0..91).map(|t| if t % 7 < 5 { 10.0 } else { 4.0 }).collect();
        assert_eq!(latest_shift(&weekly, 7), None);
    }
}
