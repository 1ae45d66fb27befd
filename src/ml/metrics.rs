//! Every metric by its exact variant, as terms of a running sum and as functions of slices.
//!
//! An actual that is NaN is missing: its pair is skipped. A metric without any pair is `None`.

/// A sum of terms over a sum of weights, from which every metric here is one quotient.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Accumulator {
    /// Sum of the terms.
    pub sum: f64,
    /// Sum of the weights: the number of terms for a mean.
    pub weight: f64,
}

impl Accumulator {
    /// Adds one term of a mean.
    pub fn add(&mut self, term: f64) {
        self.add_weighted(term, 1.0);
    }

    /// Adds a term above and a weight below the fraction line.
    pub fn add_weighted(&mut self, term: f64, weight: f64) {
        self.sum += term;
        self.weight += weight;
    }

    /// Adds what another part of the rows summed up.
    pub fn merge(&mut self, other: Self) {
        self.add_weighted(other.sum, other.weight);
    }

    /// The quotient; `None` without weight or where it is not finite.
    pub fn value(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight).filter(|value| value.is_finite())
    }
}

/// Term of the sMAPE of the M4 competition: 200 |y - f| / (|y| + |f|), 0 where both are 0 (Makridakis,
/// Spiliotis and Assimakopoulos 2020).
pub fn smape_term(actual: f64, forecast: f64) -> f64 {
    let size = actual.abs() + forecast.abs();
    if size == 0.0 { 0.0 } else { 200.0 * (actual - forecast).abs() / size }
}

/// Term of the quantile (pinball) loss at `level`: max(u (y - q), (u - 1)(y - q)), without the factor 2
/// that some define (Koenker and Bassett 1978).
pub fn quantile_loss_term(actual: f64, quantile: f64, level: f64) -> f64 {
    let error = actual - quantile;
    (level * error).max((level - 1.0) * error)
}

/// Term of the Winkler score of a central interval of this level: its width, and 2 / (1 - level) times
/// the distance of an actual outside it (Winkler 1972).
pub fn winkler_term(actual: f64, lower: f64, upper: f64, level: f64) -> f64 {
    let outside = (lower - actual).max(0.0) + (actual - upper).max(0.0);
    upper - lower + 2.0 / (1.0 - level) * outside
}

fn pairs<'a>(actual: &'a [f64], forecast: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let pairs = actual.iter().copied().zip(forecast.iter().copied());
    pairs.filter(|(y, f)| !y.is_nan() && !f.is_nan())
}

fn mean(terms: impl Iterator<Item = f64>) -> Option<f64> {
    let mut total = Accumulator::default();
    terms.for_each(|term| total.add(term));
    total.value()
}

/// Mean absolute error.
pub fn mae(actual: &[f64], forecast: &[f64]) -> Option<f64> {
    mean(pairs(actual, forecast).map(|(y, f)| (y - f).abs()))
}

/// Root mean squared error, pooled over all pairs.
pub fn rmse(actual: &[f64], forecast: &[f64]) -> Option<f64> {
    mean(pairs(actual, forecast).map(|(y, f)| (y - f) * (y - f))).map(f64::sqrt)
}

/// Weighted absolute percentage error, also called ND: sum |y - f| / sum |y|, pooled.
pub fn wape(actual: &[f64], forecast: &[f64]) -> Option<f64> {
    let mut total = Accumulator::default();
    pairs(actual, forecast).for_each(|(y, f)| total.add_weighted((y - f).abs(), y.abs()));
    total.value()
}

/// Bias: sum (f - y) / sum |y|; positive where forecasts are too high.
pub fn bias(actual: &[f64], forecast: &[f64]) -> Option<f64> {
    let mut total = Accumulator::default();
    pairs(actual, forecast).for_each(|(y, f)| total.add_weighted(f - y, y.abs()));
    total.value()
}

/// Symmetric mean absolute percentage error of the M4 competition, 0 to 200; see [`smape_term`].
pub fn smape(actual: &[f64], forecast: &[f64]) -> Option<f64> {
    mean(pairs(actual, forecast).map(|(y, f)| smape_term(y, f)))
}

/// Mean absolute scaled error of one series, by its [`seasonal_scale`]; `None` where the scale is not
/// positive (Hyndman and Koehler 2006).
pub fn mase(actual: &[f64], forecast: &[f64], scale: f64) -> Option<f64> {
    if scale > 0.0 { mae(actual, forecast).map(|error| error / scale) } else { None }
}

/// Root mean squared scaled error of one series as in the M5 competition, by its [`rmsse_scale`];
/// `None` where the scale is not positive (Makridakis, Spiliotis and Assimakopoulos 2022).
pub fn rmsse(actual: &[f64], forecast: &[f64], scale: f64) -> Option<f64> {
    if scale > 0.0 { rmse(actual, forecast).map(|error| error / scale) } else { None }
}

/// Mean quantile loss at one level; see [`quantile_loss_term`].
pub fn quantile_loss(actual: &[f64], quantile: &[f64], level: f64) -> Option<f64> {
    mean(pairs(actual, quantile).map(|(y, q)| quantile_loss_term(y, q, level)))
}

/// Share of actuals inside their interval, bounds included.
pub fn coverage(actual: &[f64], lower: &[f64], upper: &[f64]) -> Option<f64> {
    mean(intervals(actual, lower, upper).map(|(y, low, high)| f64::from(u8::from(low <= y && y <= high))))
}

/// Mean width of the intervals whose actual is present.
pub fn interval_width(actual: &[f64], lower: &[f64], upper: &[f64]) -> Option<f64> {
    mean(intervals(actual, lower, upper).map(|(_, low, high)| high - low))
}

/// Mean Winkler score of central intervals of this level; see [`winkler_term`].
pub fn winkler(actual: &[f64], lower: &[f64], upper: &[f64], level: f64) -> Option<f64> {
    mean(intervals(actual, lower, upper).map(|(y, low, high)| winkler_term(y, low, high, level)))
}

fn intervals<'a>(
    actual: &'a [f64],
    lower: &'a [f64],
    upper: &'a [f64],
) -> impl Iterator<Item = (f64, f64, f64)> + 'a {
    let bounds = lower.iter().copied().zip(upper.iter().copied());
    let triples = actual.iter().copied().zip(bounds).map(|(y, (low, high))| (y, low, high));
    triples.filter(|(y, low, high)| !(y.is_nan() || low.is_nan() || high.is_nan()))
}

/// Scale of the MASE: the in-sample mean of `|y[t] - y[t - m]|` over pairs without a missing member; `None`
/// without a pair.
pub fn seasonal_scale(history: &[f64], season_length: usize) -> Option<f64> {
    let late = history.get(season_length.max(1)..).unwrap_or_default();
    mean(pairs(late, history).map(|(late, early)| (late - early).abs()))
}

/// Scale of the M5 competition's RMSSE: the root of the in-sample mean of `(y[t] - y[t - 1])²` from the
/// first value on that is not 0, over pairs without a missing member; `None` without a pair.
pub fn rmsse_scale(history: &[f64]) -> Option<f64> {
    let first = history.iter().position(|y| !y.is_nan() && *y != 0.0)?;
    let active = &history[first..];
    mean(pairs(&active[1..], active).map(|(late, early)| (late - early) * (late - early))).map(f64::sqrt)
}

/// The area under the receiver operating characteristic of scores and whether they came true: the chance that one that
/// did is ranked above one that did not, half for ties (Mann and Whitney 1947). `None` where all did or none.
pub fn area_under_curve(ranked: &mut [(f64, bool)]) -> Option<f64> {
    let positive = ranked.iter().filter(|(_, is)| *is).count() as f64;
    let negative = ranked.len() as f64 - positive;
    if positive == 0.0 || negative == 0.0 {
        return None;
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area) = (0.0, 0.0);
    for ties in ranked.chunk_by(|a, b| a.0 == b.0) {
        let hits = ties.iter().filter(|(_, is)| *is).count() as f64;
        let misses = ties.len() as f64 - hits;
        area += hits * (below + 0.5 * misses);
        below += misses;
    }
    Some(area / (positive * negative))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: f64 = f64::NAN;
    const ACTUAL: [f64; 5] = [3.0, 0.0, 7.0, NULL, 10.0];
    const FORECAST: [f64; 5] = [2.0, 0.0, 9.0, 5.0, 14.0];

    fn near(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|v| (v - expected).abs() < 1e-12), "{value:?} for {expected}");
    }

    #[test]
    fn point_metrics_by_hand() {
        near(mae(&ACTUAL, &FORECAST), 7.0 / 4.0);
        near(rmse(&ACTUAL, &FORECAST), (21.0f64 / 4.0).sqrt());
        near(wape(&ACTUAL, &FORECAST), 7.0 / 20.0);
        near(bias(&ACTUAL, &FORECAST), 5.0 / 20.0);
        near(smape(&ACTUAL, &FORECAST), (40.0 + 0.0 + 25.0 + 800.0 / 24.0) / 4.0);
        near(mase(&ACTUAL, &FORECAST, 0.5), 3.5);
        assert_eq!(mase(&ACTUAL, &FORECAST, 0.0), None);
        assert_eq!(mae(&[NULL], &[1.0]), None);
        assert_eq!(wape(&[0.0], &[1.0]), None);
    }

    #[test]
    fn interval_metrics_by_hand() {
        let (lower, upper) = ([3.0, 1.0, 0.0, 0.0, 8.0], [4.0, 2.0, 5.0, 9.0, 12.0]);
        near(coverage(&ACTUAL, &lower, &upper), 0.5);
        near(interval_width(&ACTUAL, &lower, &upper), 11.0 / 4.0);
        near(winkler(&ACTUAL, &lower, &upper, 0.9), (11.0 + 20.0 + 40.0) / 4.0);
        near(quantile_loss(&ACTUAL, &FORECAST, 0.9), (0.9 + 0.0 + 0.2 + 0.4) / 4.0);
    }

    #[test]
    fn scales_skip_missing_members_and_leading_zeros() {
        near(seasonal_scale(&[1.0, 5.0, 2.0, 9.0], 2), 2.5);
        near(seasonal_scale(&[1.0, 5.0, NULL, 9.0], 2), 4.0);
        assert_eq!(seasonal_scale(&[1.0, 5.0], 2), None);
        near(rmsse_scale(&[0.0, 0.0, 3.0, 4.0, 11.0]), 5.0);
        assert_eq!(rmsse_scale(&[0.0, 0.0]), None);
        assert_eq!(rmsse_scale(&[]), None);
    }

    /// Values of utilsforecast.losses on the same rows; its smape is ours over 200.
    #[test]
    fn agrees_with_utilsforecast() {
        let actual = [12.0, 15.5, 9.0, 0.0, 3.25, 8.0];
        let forecast = [10.0, 16.0, 9.5, 1.0, 3.0, 11.0];
        let (lower, upper) = ([8.0, 14.0, 9.25, -1.0, 2.0, 9.0], [13.0, 18.0, 11.0, 2.0, 4.0, 14.0]);
        let history = [4.0, 8.0, 6.0, 10.0, 5.0, 9.5, 7.0, 12.0];
        near(mae(&actual, &forecast), UTILSFORECAST[0]);
        near(rmse(&actual, &forecast), UTILSFORECAST[1]);
        near(smape(&actual, &forecast).map(|s| s / 200.0), UTILSFORECAST[2]);
        near(mase(&actual, &forecast, seasonal_scale(&history, 4).unwrap()), UTILSFORECAST[3]);
        near(quantile_loss(&actual, &forecast, 0.3), UTILSFORECAST[4]);
        near(coverage(&actual, &lower, &upper), UTILSFORECAST[5]);
        near(winkler(&actual, &lower, &upper, 0.8), UTILSFORECAST[6]);
    }
    const UTILSFORECAST: [f64; 7] = [
        1.208_333_333_333_333_3,
        1.557_909_924_653_326_6,
        0.221_950_645_108_539_87,
        0.878_787_878_787_878_8,
        0.695_833_333_333_333_2,
        0.666_666_666_666_666_6,
        5.541_666_666_666_667,
    ];
}
