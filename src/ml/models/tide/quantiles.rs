//! Quantiles between and beyond the levels of the head.

/// The level of the point forecast.
pub(super) const MEDIAN: f64 = 0.5;

/// The quantile at `level` of a row of ascending quantiles at ascending `levels`, the median among them.
///
/// Between levels it is linear in the normal score; beyond the outermost ones the distance from the
/// median grows with the normal score.
pub(super) fn at_level(levels: &[f64], row: &[f64], level: f64) -> f64 {
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
