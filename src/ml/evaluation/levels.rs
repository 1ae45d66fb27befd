//! The levels of the quantiles that models give, and quantiles between and beyond them.

use std::sync::OnceLock;

/// The level of the point forecast.
pub const MEDIAN: f64 = 0.5;

/// Levels of the quantiles that every model gives.
pub const LEVELS: [f64; 21] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    0.975, 0.99, 0.995,
];

/// Number of [`LEVELS`].
pub const WIDTH: usize = LEVELS.len();

/// The place of the median in [`LEVELS`].
pub const MIDDLE: usize = WIDTH / 2;

/// The quantile at `level` of a row of ascending quantiles at ascending `levels`, the median among them.
///
/// Between levels it is linear in the normal score; beyond the outermost ones the distance from the
/// median grows with the normal score.
pub fn at_level(levels: &[f64], row: &[f64], level: f64) -> f64 {
    if let Some(i) = levels.iter().position(|u| (u - level).abs() < 1e-9) {
        return row[i];
    }
    let above = levels.partition_point(|u| *u < level);
    let score = normal_score(level);
    if above > 0 && above < levels.len() {
        let (low, high) = (normal_score(levels[above - 1]), normal_score(levels[above]));
        let share = (score - low) / (high - low);
        return row[above - 1] + share * (row[above] - row[above - 1]);
    }
    let outer = if above == 0 { 0 } else { levels.len() - 1 };
    let median = levels.iter().position(|u| (u - MEDIAN).abs() < 1e-9).unwrap_or(outer);
    let outer_score = normal_score(levels[outer]);
    if outer == median || outer_score == 0.0 {
        return row[outer];
    }
    row[median] + (row[outer] - row[median]) * score / outer_score
}

/// Normal scores of [`LEVELS`].
fn scores() -> &'static [f64; WIDTH] {
    static SCORES: OnceLock<[f64; WIDTH]> = OnceLock::new();
    SCORES.get_or_init(|| LEVELS.map(normal_score))
}

/// The quantile at a normal score of a row at [`LEVELS`], as [`at_level`] has it; beyond the outermost levels no more
/// than twice as far from the median as they are.
pub fn at_score(row: &[f64], score: f64) -> f64 {
    let scores = scores();
    let above = scores.partition_point(|s| *s <= score);
    if above == 0 || above == WIDTH {
        let outer = if above == 0 { 0 } else { WIDTH - 1 };
        let reach = (score / scores[outer]).min(2.0);
        return row[MIDDLE] + (row[outer] - row[MIDDLE]) * reach;
    }
    let share = (score - scores[above - 1]) / (scores[above] - scores[above - 1]);
    row[above - 1] + share * (row[above] - row[above - 1])
}

/// The normal score of an outcome under a row at [`LEVELS`], the middle of the levels where several have its value;
/// none where nothing was observed or the row says nothing.
pub fn score_of(row: &[f64], y: f64) -> Option<f64> {
    let (first, last) = (*row.first()?, *row.last()?);
    if !y.is_finite() || first >= last {
        return None;
    }
    let scores = scores();
    let (below, above) = (row.partition_point(|q| *q < y), row.partition_point(|q| *q <= y));
    if below < above {
        return Some((scores[below] + scores[above - 1]) / 2.0);
    }
    if below == 0 || below == WIDTH {
        return Some(scores[below.min(WIDTH - 1)]);
    }
    let share = (y - row[below - 1]) / (row[below] - row[below - 1]);
    Some(scores[below - 1] + share * (scores[below] - scores[below - 1]))
}

/// The mean of the distribution whose quantiles at [`LEVELS`] are a row: its quantiles over all levels.
pub fn mean(row: &[f64]) -> f64 {
    let inner: f64 =
        LEVELS.windows(2).zip(row.windows(2)).map(|(u, q)| (u[1] - u[0]) * (q[0] + q[1]) / 2.0).sum();
    let (low, high) = (LEVELS[0], 1.0 - LEVELS[WIDTH - 1]);
    inner + low * row[0] + high * row[WIDTH - 1]
}

/// The bounds of the interval between the quantiles at `low` and `high`.
///
/// Where the lower bound is 0, which is as far down as demand goes, all outcomes below it are within, and the upper
/// bound comes down until the interval holds its share and no more: with half of the outcomes at nothing,
/// [0, quantile(0.8)] holds 80 %. Between, where the share at nothing just exceeds `low`, it comes down by that much.
pub fn interval(levels: &[f64], row: &[f64], low: f64, high: f64) -> (f64, f64) {
    let lower = at_level(levels, row, low);
    if lower != 0.0 {
        return (lower, at_level(levels, row, high));
    }
    let spare = (share_at_nothing(levels, row) - low).clamp(0.0, low);
    let middle = at_level(levels, row, MEDIAN);
    (lower, at_level(levels, row, high - spare).max(middle))
}

/// The levels below and above a central interval of this level, without 0.04999… for 0.05.
pub fn central(level: f64) -> (f64, f64) {
    let round = |level: f64| (level * 1e9).round() / 1e9;
    (round((1.0 - level) / 2.0), round((1.0 + level) / 2.0))
}

/// The level at which ascending quantiles that are cut at 0 leave it: on the line through the first two above it.
fn share_at_nothing(levels: &[f64], row: &[f64]) -> f64 {
    let above = row.partition_point(|q| *q <= 0.0);
    match (above.checked_sub(1), row.get(above), row.get(above + 1)) {
        (None, ..) => 0.0,
        (_, None, _) => 1.0,
        (Some(last), Some(_), None) => levels[last],
        (Some(last), Some(first), Some(second)) => {
            let slope = (levels[above + 1] - levels[above]) / (second - first).max(1e-300);
            (levels[above] - slope * first).max(levels[last])
        }
    }
}

/// Quantile of the standard normal distribution (Abramowitz and Stegun 1964, 26.2.23; error below 5e-4).
pub fn normal_score(level: f64) -> f64 {
    let tail = level.min(1.0 - level).max(1e-12);
    let t = (-2.0 * tail.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let score = t - top / bottom;
    if level < MEDIAN { -score } else { score }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(LEVELS[MIDDLE], MEDIAN);
        assert!(LEVELS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Quantiles of an even distribution from `from` to `to`, cut at 0.
    fn even(from: f64, to: f64) -> [f64; WIDTH] {
        LEVELS.map(|level| (from + (to - from) * level).max(0.0))
    }

    #[test]
    fn intervals_at_nothing_hold_their_share_and_come_down_without_a_jump() {
        assert_eq!((central(0.9), central(0.95)), ((0.05, 0.95), (0.025, 0.975)));
        let bounds = |from: f64| interval(&LEVELS, &even(from, from + 100.0), 0.1, 0.9);
        assert_eq!((bounds(5.0).0, bounds(5.0).1.round()), (15.0, 95.0));
        // With half of the outcomes at nothing, 80 % lie below the quantile at 0.8.
        assert!(bounds(-50.0).0 == 0.0 && (bounds(-50.0).1 - 30.0).abs() < 0.5, "{:?}", bounds(-50.0));
        let mut before = bounds(0.0).1;
        for shift in 1..600 {
            let upper = bounds(-0.1 * f64::from(shift)).1;
            assert!(upper < before + 1e-9 && before - upper < 0.5, "{before} and {upper} at {shift}");
            before = upper;
        }
        assert_eq!(interval(&LEVELS, &[0.0; WIDTH], 0.1, 0.9), (0.0, 0.0));
    }

    #[test]
    fn scores_and_means_of_rows() {
        let row = even(10.0, 20.0);
        assert!((mean(&row) - 15.0).abs() < 1e-9);
        for score in [-2.9, -1.3, 0.0, 0.4, 2.2] {
            let y = at_score(&row, score);
            let expected = score.clamp(normal_score(0.005), normal_score(0.995));
            assert!((score_of(&row, y).unwrap() - expected).abs() < 1e-6, "{score}");
        }
        // Half of the outcomes at nothing: an outcome of nothing is in the middle of them.
        let half = score_of(&even(-50.0, 50.0), 0.0).unwrap();
        assert!((half - normal_score(LEVELS[0]) / 2.0).abs() < 1e-6, "{half}");
        assert_eq!((score_of(&row, f64::NAN), score_of(&[3.0; WIDTH], 3.0)), (None, None));
    }

    #[test]
    fn between_and_beyond_the_levels() {
        let (levels, row) = ([0.1, 0.5, 0.9], [0.0, 10.0, 30.0]);
        assert_eq!(at_level(&levels, &row, 0.9), 30.0);
        let between = at_level(&levels, &row, 0.7);
        assert!((between - (10.0 + 20.0 * 0.5244 / 1.2816)).abs() < 0.02, "{between}");
        let beyond = at_level(&levels, &row, 0.975);
        assert!((beyond - (10.0 + 20.0 * 1.96 / 1.2816)).abs() < 0.05, "{beyond}");
        assert!(at_level(&levels, &row, 0.025) < 0.0);
        assert_eq!(at_level(&[0.5], &[4.0], 0.8), 4.0);
    }
}
