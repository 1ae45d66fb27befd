//! Classical decomposition: a season about the centred moving mean of a series (Hyndman and Athanasopoulos,
//! "Forecasting: Principles and Practice", 3.4).

/// Multiplicative indices below this one say that no season multiplies the series.
const INDEX_MIN: f64 = 0.01;

/// The season of some values, the first value's index first.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Season {
    None,
    Additive(Vec<f64>),
    Multiplicative(Vec<f64>),
}

impl Season {
    /// Gives the value at `t` its season.
    pub(super) fn apply(&self, t: usize, y: f64) -> f64 {
        match self {
            Self::None => y,
            Self::Additive(indices) => y + indices[t % indices.len()],
            Self::Multiplicative(indices) => y * indices[t % indices.len()],
        }
    }

    /// What an error of the value at `t` is after [`Season::apply`].
    pub(super) fn scale(&self, t: usize, error: f64) -> f64 {
        match self {
            Self::None | Self::Additive(_) => error,
            Self::Multiplicative(indices) => error * indices[t % indices.len()],
        }
    }
}

/// Takes the season out, a multiplicative one where all values are positive.
pub(super) fn without_season(values: &[f64], season: usize) -> (Vec<f64>, Season) {
    let whole = || (values.to_vec(), Season::None);
    if season < 2 || values.len() < 2 * season + 1 {
        return whole();
    }
    let multiplicative = values.iter().all(|y| *y > 0.0);
    let indices = seasonal_indices(values, season, multiplicative);
    if multiplicative && indices.iter().any(|s| *s <= INDEX_MIN) {
        return whole();
    }
    let rest = values.iter().enumerate().map(|(t, y)| match multiplicative {
        true => y / indices[t % season],
        false => y - indices[t % season],
    });
    let rest = rest.collect();
    (rest, if multiplicative { Season::Multiplicative(indices) } else { Season::Additive(indices) })
}

/// Mean deviation from the moving mean by place in the season, for the first value on; about 0, or about 1 where the
/// season multiplies.
///
/// The means are drawn together by what chance alone spreads them, so that noise has no season (James and Stein 1961;
/// Miller and Williams 2003).
pub(super) fn seasonal_indices(values: &[f64], season: usize, multiplicative: bool) -> Vec<f64> {
    let mut places: Vec<Moments> = (0..season).map(|_| Moments::default()).collect();
    for (t, mean) in moving_mean(values, season) {
        let index = if multiplicative { values[t] / mean } else { values[t] - mean };
        if index.is_finite() {
            places[t % season].add(index);
        }
    }
    let neutral = if multiplicative { 1.0 } else { 0.0 };
    let mut indices: Vec<f64> = places.iter().map(|p| if p.n > 0.0 { p.mean } else { neutral }).collect();
    let mut about = Moments::default();
    indices.iter().for_each(|index| about.add(*index));
    let kept = share_beyond_chance(&places, &about);
    if multiplicative && about.mean > 0.0 {
        indices.iter_mut().for_each(|s| *s = (1.0 + kept * (*s / about.mean - 1.0)).max(INDEX_MIN));
    } else if !multiplicative {
        indices.iter_mut().for_each(|s| *s = kept * (*s - about.mean));
    }
    indices
}

/// Share of the variance of means that is not that of the means of noise; all of it where nothing was seen twice.
fn share_beyond_chance(places: &[Moments], about: &Moments) -> f64 {
    let n: f64 = places.iter().map(|p| p.n).sum();
    let squares: f64 = places.iter().map(|p| p.squares).sum();
    let free = n - about.n;
    if !(about.squares > 0.0 && free > 0.0) {
        return 1.0;
    }
    let by_chance = squares / free * about.n / n;
    (1.0 - by_chance * (about.n - 1.0) / about.squares).max(0.0)
}

/// Share of the variance about the moving mean that the season explains (Wang, Smith and Hyndman 2006).
pub(super) fn seasonal_strength(values: &[f64], season: usize) -> f64 {
    let indices = seasonal_indices(values, season, false);
    let (mut about, mut left) = (Moments::default(), Moments::default());
    for (t, mean) in moving_mean(values, season) {
        about.add(values[t] - mean);
        left.add(values[t] - mean - indices[t % season]);
    }
    let about = about.variance();
    if about > 0.0 { (1.0 - left.variance() / about).max(0.0) } else { 0.0 }
}

/// The mean over a season about each value that has half a season on both sides.
fn moving_mean(values: &[f64], season: usize) -> impl Iterator<Item = (usize, f64)> {
    let half = season / 2;
    (half..values.len().saturating_sub(half)).map(move |t| {
        let sum: f64 = match season % 2 {
            1 => values[t - half..=t + half].iter().sum(),
            _ => {
                let inner: f64 = values[t - half + 1..t + half].iter().sum();
                inner + 0.5 * (values[t - half] + values[t + half])
            }
        };
        (t, sum / season as f64)
    })
}

/// Variance of numbers as they come (Welford 1962).
#[derive(Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let before = x - self.mean;
        self.mean += before / self.n;
        self.squares += before * (x - self.mean);
    }

    fn variance(&self) -> f64 {
        self.squares / self.n.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    #[test]
    fn a_season_on_a_line_comes_back_exactly() {
        for season in [vec![-3.0, 1.0, 2.0], vec![5.0, -1.0, -2.0, -2.0]] {
            let m = season.len();
            let values: Vec<f64> = (0..5 * m + 1).map(|t| 10.0 + 0.5 * t as f64 + season[t % m]).collect();
            let indices = seasonal_indices(&values, m, false);
            assert!(indices.iter().zip(&season).all(|(a, b)| (a - b).abs() < 1e-9), "{indices:?}");
            assert!(seasonal_strength(&values, m) > 1.0 - 1e-9);
            let (rest, taken) = without_season(&values, m);
            let back: Vec<f64> = rest.iter().enumerate().map(|(t, y)| taken.apply(t, *y)).collect();
            assert!(back.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }

    #[test]
    fn noise_has_no_season() {
        let mut rng = Rng::new(1);
        let noise: Vec<f64> = (0..60).map(|_| rng.normal()).collect();
        let spread = |indices: &[f64]| indices.iter().fold(0.0f64, |most, s| most.max(s.abs()));
        assert!(spread(&seasonal_indices(&noise, 4, false)) < 0.1 && seasonal_strength(&noise, 4) < 0.3);
        assert_eq!(seasonal_strength(&[2.0; 20], 4), 0.0);
    }
}
