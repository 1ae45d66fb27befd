//! Whether the rows of aggregated periods fill the first and the last of them.

use crate::ml::series::frequency::Frequency;

/// Periods that the first and the last one are compared with.
const PERIODS_BESIDE: usize = 12;
/// Of so many periods one may be an exception, such as the week of a feast.
const EXCEPTION_OF: usize = 4;
/// A period that lacks less than this part of itself counts as complete.
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

/// The first and the last period, where their rows do not fill them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Incomplete {
    /// Its rows begin late.
    pub first: Option<PeriodRows>,
    /// Its rows end early: it is not over yet.
    pub last: Option<PeriodRows>,
}

impl Incomplete {
    /// Where these periods begin.
    pub fn begins(&self) -> [Option<i64>; 2] {
        [self.first, self.last].map(|period| period.map(|p| p.begin))
    }
}

/// Compares the ends of the data with the twelve periods beside them: a week with rows to Tuesday, after weeks with
/// rows to Sunday, is not over. One of those may have been cut short itself.
pub fn incomplete_periods(mut periods: Vec<PeriodRows>, frequency: Frequency) -> Incomplete {
    periods.sort_unstable();
    let end = |p: &PeriodRows| frequency.instant(p.begin, 1).unwrap_or(p.last);
    let length = |p: &PeriodRows| end(p).saturating_sub(p.begin);
    let before_end = |p: &PeriodRows| end(p).saturating_sub(p.last);
    let after_begin = |p: &PeriodRows| p.first.saturating_sub(p.begin);
    let oldest = &periods[..periods.len().min(PERIODS_BESIDE + 1)];
    let newest = &periods[periods.len().saturating_sub(PERIODS_BESIDE + 1)..];
    // A period may end a step before its end, but begin less than a step after its begin.
    let first = oldest.split_first().filter(|(first, others)| {
        let others = others.iter().map(after_begin).collect();
        is_short(after_begin(first), others, end_step(oldest) - 1, length(first))
    });
    let last = newest.split_last().filter(|(last, others)| {
        let others = others.iter().map(before_end).collect();
        is_short(before_end(last), others, end_step(newest), length(last))
    });
    Incomplete { first: first.map(|(p, _)| *p), last: last.map(|(p, _)| *p) }
}

/// True when a period lacks more than the others do: more than a step where their rows lie on a grid, elsewhere
/// more than they and the range of what they lack explain.
fn is_short(lack: i64, mut others: Vec<i64>, step: i64, length: i64) -> bool {
    others.sort_unstable();
    let exceptions = usize::from(others.len() >= EXCEPTION_OF);
    let Some(most) = others.len().checked_sub(1 + exceptions).map(|at| others[at]) else { return false };
    let range = most.saturating_sub(others[0]);
    let usual = if most <= step { step } else { most.saturating_add(range) };
    lack > usual.max(length / SLACK)
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
        let found = incomplete_periods(periods(frequency, rows), frequency).last?;
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
    fn a_first_month_of_three_days_is_left_out() {
        let first = |begin: i64, step: usize| {
            let rows = (begin..500).step_by(step).map(|day| day * MICROS_PER_DAY);
            let found = incomplete_periods(periods(Frequency::Months(1), rows), Frequency::Months(1)).first?;
            date_of(found.begin).map(|date| date.to_string())
        };
        assert_eq!(first(28, 1).as_deref(), Some("1970-01-01"));
        assert_eq!((first(0, 1), first(31, 1)), (None, None));
        assert_eq!((first(6, 7), first(7, 7).as_deref()), (None, Some("1970-01-01")));
    }

    #[test]
    fn one_period_says_nothing() {
        let of = |periods| incomplete_periods(periods, Frequency::Days(7));
        assert_eq!(of(vec![]), Incomplete::default());
        assert_eq!(of(vec![PeriodRows { begin: 0, first: 0, last: 0 }]), Incomplete::default());
        let extreme = PeriodRows { begin: i64::MIN, first: i64::MIN, last: i64::MAX };
        assert_eq!(of(vec![extreme, extreme]), Incomplete::default());
    }
}
