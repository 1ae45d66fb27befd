//! Lasting changes of the level of a series.

use std::borrow::Cow;

use crate::ml::evaluation::is_intermittent;

/// Least steps on either side of a shift, where a season is shorter.
const SIDE_MIN: usize = 4;
/// Least distance of the levels, in deviations within them.
const DEVIATIONS_MIN: f64 = 2.0;
/// Least t statistic: that of the likeliest of many places is large by chance already.
const T_MIN: f64 = 5.0;
/// Squares about two levels are at most this share of those about a line: a trend is no shift.
const LINE_SHARE_MAX: f64 = 0.7;

/// A history whose level shifted for good.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shift {
    /// Values from here on have the new level.
    at: usize,
    before: f64,
    after: f64,
}

/// The history with the values before a lasting shift moved to the level after it: in proportion where nothing is
/// negative, which leaves seasons as large as they were beside the level, else by the difference.
/// Demand in few periods stays what it was.
pub(super) fn levelled(history: &[f64], season: usize) -> Cow<'_, [f64]> {
    let shift = if is_intermittent(history) { None } else { latest_shift(history, season) };
    let Some(shift) = shift else { return Cow::Borrowed(history) };
    let is_positive = shift.before > 0.0 && shift.after > 0.0 && !history.iter().any(|y| *y < 0.0);
    let mut values = history.to_vec();
    for y in &mut values[..shift.at] {
        *y = if is_positive { *y * shift.after / shift.before } else { *y + shift.after - shift.before };
    }
    Cow::Owned(values)
}

/// The likeliest place where the level of these values shifted; `None` where nothing tells of a shift. Missing values
/// tell nothing.
///
/// The place is the one between whose sides the squared distance of the means is largest for the spread within
/// (the least-squares change point; Hinkley 1970).
fn latest_shift(values: &[f64], season: usize) -> Option<Shift> {
    let side = season.max(SIDE_MIN);
    let points = seasonless(values, season);
    let n = points.len();
    if n < 2 * side {
        return None;
    }
    let (count, mean) = (n as f64, level(&points));
    let squares: f64 = points.iter().map(|(_, y)| (y - mean) * (y - mean)).sum();
    let (mut sum, mut best) = (0.0, (0.0, side));
    for (at, (_, y)) in points.iter().enumerate().take(n - side) {
        sum += y - mean;
        let (left, right) = ((at + 1) as f64, (n - at - 1) as f64);
        // The means of the sides are sum / left and -sum / right from the mean of all.
        let between = sum * sum * count / (left * right);
        if at + 1 >= side && between > best.0 {
            best = (between, at + 1);
        }
    }
    let (between, place) = best;
    // Values that are alike have a spread of rounding errors.
    let within = (squares - between).max(1e-9 * mean * mean * count).max(1e-3 * squares);
    let deviation = (within / (n - 2) as f64).sqrt();
    let (before, after) = (level(&points[..place]), level(&points[place..]));
    let is_shift = between.sqrt() >= T_MIN * deviation
        && (after - before).abs() >= DEVIATIONS_MIN * deviation
        && within <= LINE_SHARE_MAX * squares_about_line(&points);
    is_shift.then(|| Shift { at: points[place].0, before, after })
}

/// Places and values of what was observed, without what their places in the season usually add.
fn seasonless(values: &[f64], season: usize) -> Vec<(usize, f64)> {
    let mut points: Vec<(usize, f64)> =
        values.iter().copied().enumerate().filter(|(_, y)| !y.is_nan()).collect();
    if season > 1 && points.len() >= 2 * season {
        let mean = level(&points);
        let mut sums = vec![(0.0, 0.0); season];
        for (at, y) in &points {
            let (n, sum) = &mut sums[at % season];
            (*n, *sum) = (*n + 1.0, *sum + y - mean);
        }
        for (at, y) in &mut points {
            let (n, sum) = sums[*at % season];
            *y -= sum / n;
        }
    }
    points
}

fn level(points: &[(usize, f64)]) -> f64 {
    points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64
}

/// Sum of squared distances from the least-squares line.
fn squares_about_line(points: &[(usize, f64)]) -> f64 {
    let mean = level(points);
    let middle = points.iter().map(|(at, _)| *at as f64).sum::<f64>() / points.len() as f64;
    let (mut squares, mut along, mut times) = (0.0, 0.0, 0.0);
    for (at, y) in points {
        let (t, y) = (*at as f64 - middle, y - mean);
        (squares, along, times) = (squares + y * y, along + t * y, times + t * t);
    }
    (squares - along * along / times).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    fn noise(rng: &mut Rng, level: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| level + rng.normal()).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is_and_noise_is_none() {
        let mut rng = Rng::new(7);
        let mut stepped = [noise(&mut rng, 10.0, 60), noise(&mut rng, 14.0, 30)].concat();
        stepped[3] = f64::NAN;
        let shift = latest_shift(&stepped, 7).unwrap();
        assert!((59..=61).contains(&shift.at) && (shift.after - shift.before - 4.0).abs() < 0.7, "{shift:?}");
        let found = (0..200).filter(|_| latest_shift(&noise(&mut rng, 5.0, 90), 7).is_some()).count();
        assert!(found <= 2, "{found} of 200");
    }

    #[test]
    fn what_is_short_or_a_trend_or_a_season_is_no_shift() {
        let mut rng = Rng::new(8);
        let short = [noise(&mut rng, 10.0, 60), noise(&mut rng, 16.0, 3)].concat();
        let found = latest_shift(&short, 7);
        assert!(found.is_none_or(|shift| shift.at <= 56), "{found:?}");
        assert_eq!((latest_shift(&[3.0; 90], 7), latest_shift(&[1.0; 10], 7)), (None, None));
        let weekly: Vec<f64> = (0..91).map(|t| if t % 7 < 5 { 10.0 } else { 4.0 }).collect();
        assert_eq!(latest_shift(&weekly, 7), None);
        let growing: Vec<f64> = (0..120).map(|t| f64::from(t) + rng.normal()).collect();
        assert_eq!(latest_shift(&growing, 12), None);
    }

    #[test]
    fn values_before_move_to_the_new_level() {
        let weekly = |t: usize| 10.0 + 2.0 * (t % 7) as f64;
        let history: Vec<f64> = (0..84).map(|t| if t < 49 { weekly(t) } else { 3.0 * weekly(t) }).collect();
        let one = levelled(&history, 7);
        assert!((0..84).all(|t| (one[t] - 3.0 * weekly(t)).abs() < 1e-9), "{one:?}");
        let signed: Vec<f64> = (0..84).map(|t| weekly(t) - if t < 49 { 100.0 } else { 0.0 }).collect();
        let one = levelled(&signed, 7);
        assert!((0..84).all(|t| (one[t] - weekly(t)).abs() < 1e-9), "{one:?}");
        let rare: Vec<f64> = (0..84)
            .map(|t| {
                if t % 6 > 0 {
                    0.0
                } else if t < 49 {
                    1.0
                } else {
                    9.0
                }
            })
            .collect();
        assert_eq!(*levelled(&rare, 7), *rare);
    }
}
