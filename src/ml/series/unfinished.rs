//! Whether the last period of aggregated rows is over.

use crate::ml::series::frequency::Frequency;

/// Periods before the last one that it is compared with.
const PERIODS_BEFORE: usize = 12;
/// Of so many periods one may be an exception, such as the week of a feast.
const EXCEPTION_OF: usize = 4;
/// A period that lacks less than this part of itself at its end counts as over.
const SLACK: i64 = 100;

/// The rows of one period, over all series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodRows {
    /// Where the period begins.
    pub begin: i64,
    /// Its first row.
    pub first: i64,
    /// Its last row.
    pub last: i64,
}

/// The last period, when its rows end earlier than those of the periods before it do: a week with rows to
/// Tuesday, after weeks with rows to Sunday. One period of the past may have ended early itself.
pub fn unfinished_period(mut periods: Vec<PeriodRows>, frequency: Frequency) -> Option<PeriodRows> {
    periods.sort_unstable();
    let seen = &periods[periods.len().saturating_sub(PERIODS_BEFORE + 1)..];
    let (latest, earlier) = seen.split_last()?;
    let end = |p: &PeriodRows| frequency.instant(p.begin, 1).unwrap_or(p.last);
    let mut short: Vec<i64> = earlier.iter().map(|p| end(p).saturating_sub(p.last)).collect();
    short.sort_unstable();
    let most = *short.get(short.len().saturating_sub(if short.len() >= EXCEPTION_OF { 2 } else { 1 }))?;
    let length = end(latest).saturating_sub(latest.begin);
    let usual = usual(most, short[0], end_step(seen)).max(length / SLACK);
    (end(latest).saturating_sub(latest.last) > usual).then_some(*latest)
}

/// How short of its end a period may stop: a step where rows lie on a grid that reaches the ends; elsewhere as
/// short as it was before, and by the range of that more.
fn usual(most: i64, least: i64, step: i64) -> i64 {
    if most <= step { step } else { most.saturating_add(most.saturating_sub(least)) }
}

/// The widest grid that the first and last rows of all periods can lie on.
fn end_step(periods: &[PeriodRows]) -> i64 {
    let origin = periods.first().map_or(0, |p| p.first);
    let ends = periods.iter().flat_map(|p| [p.first, p.last]);
    ends.fold(0, |step, instant| divisor(step, instant.saturating_sub(origin)))
}

/// The greatest common divisor.
fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a.saturating_abs() } else { divisor(b, a.wrapping_rem(b)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::frequency::{MICROS_PER_DAY, date_of};

    const HOUR: i64 = MICROS_PER_DAY / 24;

    /// Groups days since 1970-01-01 into periods.
    fn periods(frequency: Frequency, rows: impl Iterator<Item = i64>) -> Vec<PeriodRows> {
        let mut found: Vec<PeriodRows> = vec![];
        for row in rows {
            let begin = frequency.truncate(row);
            match found.last_mut().filter(|p| p.begin == begin) {
                Some(period) => period.last = row,
                None => found.push(PeriodRows { begin, first: row, last: row }),
            }
        }
        found
    }

    fn unfinished(frequency: Frequency, rows: impl Iterator<Item = i64>) -> Option<String> {
        let found = unfinished_period(periods(frequency, rows), frequency)?;
        date_of(found.begin).map(|date| date.to_string())
    }

    #[test]
    fn days_in_weeks_and_months_must_reach_the_last_day() {
        let days = |n: i64| (0..n).map(|day| day * MICROS_PER_DAY);
        // 1970-01-01 was a Thursday: weeks end after 4, 11, … days.
        for (n, expected) in [(60, None), (61, Some("1970-03-02")), (66, Some("1970-03-02")), (67, None)] {
            assert_eq!(unfinished(Frequency::Days(7), days(n)).as_deref(), expected, "{n}");
        }
        assert_eq!(unfinished(Frequency::Months(1), days(31 + 28 + 31)), None);
        assert_eq!(unfinished(Frequency::Months(1), days(31 + 28 + 30)).as_deref(), Some("1970-03-01"));
    }

    #[test]
    fn shops_closed_on_sundays_finish_their_weeks_on_saturdays() {
        let open = |n: i64| (0..n).filter(|day| day % 7 != 3).map(|day| day * MICROS_PER_DAY);
        assert_eq!(unfinished(Frequency::Days(7), open(38)), None);
        assert_eq!(unfinished(Frequency::Days(7), open(37)).as_deref(), Some("1970-02-02"));
    }

    #[test]
    fn weeks_in_months_may_end_a_week_early() {
        let weeks = |n: i64| (0..n).map(|week| week * 7 * MICROS_PER_DAY);
        assert_eq!(unfinished(Frequency::Months(1), weeks(13)), None);
        assert_eq!(unfinished(Frequency::Months(1), weeks(12)).as_deref(), Some("1970-03-01"));
    }

    #[test]
    fn irregular_times_have_their_usual_slack() {
        let closing = [21, 20, 22, 21, 20, 22];
        let rows = |last: i64| {
            let days = closing.into_iter().chain([last]).enumerate();
            days.flat_map(|(day, hour)| [8, hour].map(|h| day as i64 * MICROS_PER_DAY + h * HOUR + 7 * h))
        };
        assert_eq!(unfinished(Frequency::Days(1), rows(19)), None);
        assert_eq!(unfinished(Frequency::Days(1), rows(15)).as_deref(), Some("1970-01-07"));
    }

    #[test]
    fn one_short_week_is_an_exception_and_a_lost_reading_is_none() {
        let feast = |n: i64| {
            let days = (4..n).filter(|day| !(30..32).contains(day));
            days.map(|day| day * MICROS_PER_DAY)
        };
        assert_eq!(unfinished(Frequency::Days(7), feast(60)), None);
        assert_eq!(unfinished(Frequency::Days(7), feast(59)).as_deref(), Some("1970-02-23"));
        let readings = |n: i64| (0..n).map(|reading| reading * HOUR / 12);
        assert_eq!(unfinished(Frequency::Days(1), readings(5 * 288 - 1)), None);
        assert_eq!(unfinished(Frequency::Days(1), readings(5 * 288 - 6)).as_deref(), Some("1970-01-05"));
    }

    #[test]
    fn one_period_says_nothing() {
        assert_eq!(unfinished_period(vec![], Frequency::Days(7)), None);
        let one = PeriodRows { begin: 0, first: 0, last: 0 };
        assert_eq!(unfinished_period(vec![one], Frequency::Days(7)), None);
        let extreme = PeriodRows { begin: i64::MIN, first: i64::MIN, last: i64::MAX };
        assert_eq!(unfinished_period(vec![extreme, extreme], Frequency::Days(7)), None);
    }
}
