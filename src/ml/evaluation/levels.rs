//! The levels of the quantiles that models give, and quantiles between and beyond them.

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

/// The level of the quantile above a central interval of this level, whose lower bound is `lower`.
///
/// Where the lower bound is 0, which is as far down as demand goes, nothing lies below it, and the interval holds its
/// share with a lower upper bound: [0, quantile(0.8)] holds 80 % of the outcomes.
pub fn upper_level(level: f64, lower: f64) -> f64 {
    if lower == 0.0 { level } else { round((1.0 + level) / 2.0) }
}

/// The level of the quantile below a central interval of this level.
pub fn lower_level(level: f64) -> f64 {
    round((1.0 - level) / 2.0)
}

/// Rounded so that 0.9 gives 0.05 and not 0.04999….
fn round(level: f64) -> f64 {
    (level * 1e9).round() / 1e9
}

/// Quantile of the standard normal distribution (Abramowitz and Stegun 1964, 26.2.23; error below 5e-4).
fn normal_score(level: f64) -> f64 {
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

    #[test]
    fn intervals_that_begin_at_nothing_have_all_their_outcomes_above() {
        assert_eq!((lower_level(0.9), upper_level(0.9, 3.0), upper_level(0.9, 0.0)), (0.05, 0.95, 0.9));
        assert_eq!(upper_level(0.8, -1.0), 0.9);
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
