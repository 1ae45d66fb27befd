//! The place of a period in the day, week, month and year as sines and cosines.

use std::f64::consts::TAU;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

use crate::ml::series::{Frequency, Panel};

/// A cycle and how many harmonics of it are given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cycle {
    Day(usize),
    Week(usize),
    Month(usize),
    Year(usize),
    Season(usize),
}

/// The cycles that matter on this grid; three harmonics span all seven weekdays.
fn cycles(frequency: Frequency, season_length: usize) -> Vec<Cycle> {
    let season = (season_length > 1).then_some(Cycle::Season((season_length / 2).clamp(1, 3)));
    let mut cycles = match frequency {
        Frequency::Integer(_) => return season.into_iter().collect(),
        Frequency::Seconds(_) => vec![Cycle::Day(4), Cycle::Week(3), Cycle::Year(2)],
        Frequency::Days(n) if n % 7 == 0 => vec![Cycle::Month(1), Cycle::Year(4)],
        Frequency::Days(_) => vec![Cycle::Week(3), Cycle::Month(2), Cycle::Year(4)],
        Frequency::Months(n) if n % 12 == 0 => Vec::new(),
        Frequency::Months(n) => vec![Cycle::Year((6 / n.max(1)).clamp(1, 4) as usize)],
    };
    if season_length != frequency.default_season_length() {
        cycles.extend(season);
    }
    cycles
}

impl Cycle {
    fn harmonics(self) -> usize {
        match self {
            Self::Day(n) | Self::Week(n) | Self::Month(n) | Self::Year(n) | Self::Season(n) => n,
        }
    }

    /// Share of the cycle that has passed.
    fn phase(self, time: Option<NaiveDateTime>, period: i64, season_length: usize) -> f64 {
        if let Self::Season(_) = self {
            return period.rem_euclid(season_length.max(1) as i64) as f64 / season_length.max(1) as f64;
        }
        let Some(time) = time else { return 0.0 };
        let day = f64::from(time.num_seconds_from_midnight()) / 86_400.0;
        match self {
            Self::Day(_) => day,
            Self::Week(_) => (f64::from(time.weekday().num_days_from_monday()) + day) / 7.0,
            Self::Month(_) => (f64::from(time.day0()) + day) / 30.5,
            Self::Year(_) | Self::Season(_) => (f64::from(time.ordinal0()) + day) / 365.25,
        }
    }
}

/// Number of calendar features.
pub(super) fn width(frequency: Frequency, season_length: usize) -> usize {
    cycles(frequency, season_length).iter().map(|c| 2 * c.harmonics()).sum()
}

/// Calendar features of the periods `first..last` of the panel's grid, row after row.
pub(super) fn features(panel: &Panel, first: i64, last: i64) -> Vec<f32> {
    let cycles = cycles(panel.frequency, panel.season_length);
    let mut out =
        Vec::with_capacity((last - first).max(0) as usize * width(panel.frequency, panel.season_length));
    for period in first..last {
        let time = match panel.frequency {
            Frequency::Integer(_) => None,
            _ => panel.instant(period).and_then(DateTime::from_timestamp_micros).map(|time| time.naive_utc()),
        };
        for cycle in &cycles {
            let phase = cycle.phase(time, period, panel.season_length);
            // Every harmonic is the one before it, turned by the first.
            let (sin, cos) = (TAU * phase).sin_cos();
            let (mut s, mut c) = (sin, cos);
            for _ in 0..cycle.harmonics() {
                out.extend([s as f32, c as f32]);
                (s, c) = (s * cos + c * sin, c * cos - s * sin);
            }
        }
    }
    out
}

/// Seasons that may make a longer season where the grid has no calendar: a week of days, a year of months.
const SEASONS_OF_SEASONS: [usize; 4] = [4, 5, 7, 12];
/// Series that tell of a longer season.
const SERIES_MAX: usize = 500;
/// Share of the series for which repeating a longer season must err less than repeating the season.
const SERIES_SHARE: f64 = 0.2;

/// Periods after which the season of seasons comes round in the first `train[s]` rows of every series `s`: by the
/// calendar, or where there is none, where repeating it errs less than repeating the season for many series.
pub(super) fn long_season(panel: &Panel, train: &[usize]) -> Option<usize> {
    let season = panel.season_length.max(1);
    if !matches!(panel.frequency, Frequency::Integer(_)) || season < 2 {
        return calendar_season(panel.frequency, season);
    }
    // The mean step over the lag in the second half of a history, which any of the lags leaves room before.
    let error = |history: &[f64], lag: usize| {
        let late = history.len() / 2;
        let gaps = (late..history.len()).map(|t| (history[t] - history[t - lag]).abs());
        let (n, sum) =
            gaps.filter(|gap| gap.is_finite()).fold((0.0, 0.0), |(n, sum), gap| (n + 1.0, sum + gap));
        (n > 0.0).then(|| sum / n)
    };
    let lags = SEASONS_OF_SEASONS.map(|seasons| seasons * season);
    let (mut judged, mut better) = ([0usize; SEASONS_OF_SEASONS.len()], [0usize; SEASONS_OF_SEASONS.len()]);
    for s in (0..panel.len()).step_by(panel.len().div_ceil(SERIES_MAX).max(1)) {
        let history = &panel.history_of(s)[..train[s]];
        let fits = lags.iter().filter(|lag| 2 * **lag <= history.len());
        let errors: Vec<Option<f64>> = fits.map(|lag| error(history, *lag)).collect();
        if errors.is_empty() {
            continue;
        }
        let Some(plain) = error(history, season) else { continue };
        for (i, found) in errors.into_iter().enumerate().filter_map(|(i, e)| e.map(|e| (i, e))) {
            judged[i] += 1;
            better[i] += usize::from(found < plain);
        }
    }
    let share = |i: usize| better[i] as f64 / judged[i].max(1) as f64;
    let best = (0..lags.len()).reduce(|a, b| if share(b) > share(a) { b } else { a })?;
    (share(best) >= SERIES_SHARE).then_some(lags[best])
}

/// Periods after which the season of seasons comes round by the calendar: a year of days in whole weeks,
/// a week of hours; `None` where the season itself is the longest.
pub(super) fn calendar_season(frequency: Frequency, season_length: usize) -> Option<usize> {
    let periods = match frequency {
        Frequency::Seconds(n) if n > 0 => 7 * 86_400 / n,
        Frequency::Days(n) if n > 0 && n % 7 == 0 => 52 * 7 / n,
        Frequency::Days(n) if n > 0 => 364 / n,
        Frequency::Months(n) if n > 0 => 12 / n,
        _ => season_length as i64,
    };
    let season = season_length.max(1);
    let whole = (periods.max(0) as usize / season) * season;
    (whole > 1).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_seasons_hold_whole_seasons() {
        assert_eq!(calendar_season(Frequency::Days(1), 7), Some(364));
        assert_eq!(calendar_season(Frequency::Months(1), 12), Some(12));
        assert_eq!(calendar_season(Frequency::Seconds(3600), 24), Some(168));
        assert_eq!(calendar_season(Frequency::Days(7), 52), Some(52));
        assert_eq!(calendar_season(Frequency::Months(12), 1), None);
    }

    #[test]
    fn harmonics_are_sines_and_cosines_of_multiples() {
        let mut panel = crate::ml::features::featurizer::tests::panel(3, 40);
        (panel.frequency, panel.season_length) = (Frequency::Integer(1), 7);
        for (period, row) in features(&panel, 0, 7).chunks_exact(6).enumerate() {
            for (n, pair) in row.chunks_exact(2).enumerate() {
                let angle = TAU * period as f64 / 7.0 * (n + 1) as f64;
                let expected = [angle.sin(), angle.cos()];
                assert!(pair.iter().zip(expected).all(|(x, y)| (f64::from(*x) - y).abs() < 1e-7), "{pair:?}");
            }
        }
    }

    #[test]
    fn widths_match_what_is_written() {
        let mut panel = crate::ml::features::featurizer::tests::panel(3, 40);
        for (frequency, season) in [
            (Frequency::Days(1), 7),
            (Frequency::Days(7), 52),
            (Frequency::Months(1), 12),
            (Frequency::Seconds(3600), 24),
            (Frequency::Integer(1), 5),
            (Frequency::Days(1), 30),
        ] {
            (panel.frequency, panel.season_length) = (frequency, season);
            assert_eq!(features(&panel, -3, 7).len(), 10 * width(frequency, season));
            assert!(features(&panel, -3, 7).iter().all(|x| x.abs() <= 1.0));
        }
    }
}
