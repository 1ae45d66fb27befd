//! Which regular grid the rows of a table lie on: inferred, or given and checked.

use std::collections::BTreeMap;

use chrono::Datelike;

use crate::error::{Error, Result};
use crate::ml::series::frequency::{Frequency, MICROS_PER_DAY, TimeKind, date_of, month_number};

/// Distinct distances after which a table has no most common one.
const DISTANCES_MAX: usize = 65_536;

/// How the grid of a panel is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grid {
    /// From the distances between rows; irregular time is an error.
    #[default]
    Infer,
    /// The frequency is given; rows that do not share one phase are truncated to civil periods.
    Every(Frequency),
    /// The grid of a fitted model; rows are truncated to it.
    Fixed {
        /// The step.
        frequency: Frequency,
        /// Where period 0 begins.
        origin: i64,
    },
}

/// The sorted timestamps of all series, with what is needed to name them in an error.
pub(super) struct Timeline<'a> {
    pub(super) table: &'a str,
    pub(super) target: &'a str,
    pub(super) time: &'a str,
    pub(super) kind: TimeKind,
    pub(super) keys: &'a [String],
    pub(super) offsets: &'a [usize],
    pub(super) timestamps: &'a [i64],
}

impl<'a> Timeline<'a> {
    pub(super) fn series(&self) -> impl Iterator<Item = (usize, &'a [i64])> {
        let timestamps = self.timestamps;
        self.offsets.windows(2).map(move |ends| &timestamps[ends[0]..ends[1]]).enumerate()
    }

    /// `store_id=3, sale_date=2026-01-05`, or only the time where there is one series without a key.
    pub(super) fn place(&self, series: usize, instant: i64) -> String {
        let time = format!("{}={}", self.time, self.kind.format(instant));
        match self.keys[series].as_str() {
            "" => time,
            key => format!("{key}, {time}"),
        }
    }

    fn earliest(&self) -> i64 {
        self.series().filter_map(|(_, times)| times.first().copied()).min().unwrap_or(0)
    }
}

/// The frequency and origin of the grid for these rows.
pub(super) fn find_grid(rows: &Timeline<'_>, grid: Grid) -> Result<(Frequency, i64)> {
    match grid {
        Grid::Fixed { frequency, origin } => Ok((frequency, origin)),
        Grid::Every(frequency) => {
            Ok((frequency, common_origin(rows, frequency).unwrap_or_else(|| frequency.civil_origin())))
        }
        Grid::Infer => infer(rows),
    }
}

/// An origin of the grid on which all rows lie, when there is one.
fn common_origin(rows: &Timeline<'_>, frequency: Frequency) -> Option<i64> {
    match frequency.fixed_step() {
        Some(step) => {
            let origin = rows.earliest();
            let on_grid = |(_, times): (usize, &[i64])| {
                times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) % step == 0)
                    && times.first().is_none_or(|first| first.wrapping_sub(origin) % step == 0)
            };
            rows.series().all(on_grid).then_some(origin)
        }
        None => {
            let origin = month_anchor(rows, frequency)?;
            rows.timestamps.iter().all(|t| frequency.is_on_grid(origin, *t)).then_some(origin)
        }
    }
}

/// A period begin at or before the first row whose day of the month is the latest of all rows, so that
/// data of month ends stay month ends.
fn month_anchor(rows: &Timeline<'_>, frequency: Frequency) -> Option<i64> {
    let anchor_day = rows.timestamps.iter().filter_map(|t| date_of(*t)).map(|d| d.day()).max()?;
    let first = rows.earliest();
    (0..=12).find_map(|back| {
        let candidate = frequency.instant(first, -back)?;
        let date = date_of(candidate)?.with_day(anchor_day)?;
        let days = date.signed_duration_since(date_of(candidate)?).num_days();
        candidate.checked_add(days * MICROS_PER_DAY)
    })
}

fn infer(rows: &Timeline<'_>) -> Result<(Frequency, i64)> {
    let distances = distances(rows)?;
    let Some(step) = most_common(&distances) else {
        let message = format!(
            "the frequency of {} cannot be inferred: no series of {} has two rows",
            rows.time, rows.table
        );
        return Err(Error::data(message).with_hint("name it after ORDER BY, for example EVERY DAY"));
    };
    if rows.kind != TimeKind::Integer
        && distances.keys().all(|d| *d >= 28 * MICROS_PER_DAY)
        && let Some(found) = infer_months(rows)
    {
        return Ok(found);
    }
    if distances.keys().any(|d| d % step != 0) {
        return Err(irregular(rows, step));
    }
    let frequency = frequency_of(rows, step)?;
    let origin = rows.earliest();
    match rows.series().find(|(_, times)| times.iter().any(|t| t.wrapping_sub(origin) % step != 0)) {
        None => Ok((frequency, origin)),
        Some((series, times)) => Err(out_of_phase(rows, frequency, series, times[0])),
    }
}

/// How often each distance between neighbouring rows of a series occurs; equal times are skipped.
fn distances(rows: &Timeline<'_>) -> Result<BTreeMap<i64, usize>> {
    let mut counts = BTreeMap::new();
    let (mut last, mut run) = (0, 0);
    for (_, times) in rows.series() {
        if times.windows(2).fold(true, |even, pair| even & (pair[1].wrapping_sub(pair[0]) == last)) {
            run += times.len().saturating_sub(1);
            continue;
        }
        for pair in times.windows(2) {
            let distance = pair[1].saturating_sub(pair[0]);
            if distance == last {
                run += 1;
                continue;
            }
            *counts.entry(last).or_insert(0) += run;
            (last, run) = (distance, 1);
        }
        if counts.len() > DISTANCES_MAX {
            let step = most_common(&counts).unwrap_or(1);
            return Err(irregular(rows, step));
        }
    }
    *counts.entry(last).or_insert(0) += run;
    counts.remove(&0);
    Ok(counts)
}

fn most_common(distances: &BTreeMap<i64, usize>) -> Option<i64> {
    let positive = distances.iter().filter(|(distance, _)| **distance > 0);
    positive.max_by_key(|(distance, count)| (**count, -**distance)).map(|(distance, _)| *distance)
}

fn infer_months(rows: &Timeline<'_>) -> Option<(Frequency, i64)> {
    let mut distances = BTreeMap::new();
    for (_, times) in rows.series() {
        for pair in times.windows(2) {
            *distances.entry(month_number(pair[1]) - month_number(pair[0])).or_insert(0) += 1;
        }
    }
    let step = most_common(&distances)?;
    if distances.keys().any(|d| d % step != 0) {
        return None;
    }
    let frequency = Frequency::Months(step);
    common_origin(rows, frequency).map(|origin| (frequency, origin))
}

fn frequency_of(rows: &Timeline<'_>, step: i64) -> Result<Frequency> {
    match rows.kind {
        TimeKind::Integer => Ok(Frequency::Integer(step)),
        _ if step % 1_000_000 == 0 => Ok(Frequency::of_seconds(step / 1_000_000)),
        _ => {
            Err(Error::data(format!("rows of {} are less than a second apart in {}", rows.table, rows.time))
                .with_hint("aggregate them, for example TARGET avg(value) with EVERY MINUTE"))
        }
    }
}

/// The error that names the first two neighbouring rows whose distance the grid does not permit.
fn irregular(rows: &Timeline<'_>, step: i64) -> Error {
    let monthly = rows.kind != TimeKind::Integer && (28..=31).contains(&(step / MICROS_PER_DAY));
    let fits = |distance: i64| distance % step == 0 || (monthly && distance / MICROS_PER_DAY <= 31);
    let name = match (monthly, frequency_of(rows, step)) {
        (true, _) => Frequency::Months(1).to_string(),
        (false, Ok(frequency)) => frequency.to_string(),
        (false, Err(error)) => return error,
    };
    let pair = rows.series().find_map(|(series, times)| {
        times.windows(2).find(|p| !fits(p[1].saturating_sub(p[0]))).map(|p| (series, p[0], p[1]))
    });
    let example = pair.map_or(String::new(), |(series, from, to)| {
        format!(": {} is followed by {}", rows.place(series, from), rows.kind.format(to))
    });
    Error::data(format!(
        "{} is irregular in time, most rows are {name} apart but not all{example}",
        rows.table
    ))
    .with_hint(format!(
        "add EVERY {name} with an aggregate, for example TARGET sum({}) … EVERY {name}",
        rows.target
    ))
}

fn out_of_phase(rows: &Timeline<'_>, frequency: Frequency, series: usize, instant: i64) -> Error {
    let origin = rows.earliest();
    let first = rows.series().find(|(_, times)| times.first() == Some(&origin)).map_or(0, |(i, _)| i);
    Error::data(format!(
        "the series of {} do not share one {frequency} grid: one starts at {}, another at {}",
        rows.table,
        rows.place(first, origin),
        rows.place(series, instant)
    ))
    .with_hint(format!("EVERY {frequency} moves every row to the begin of its period"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn micros(text: &str) -> i64 {
        let (date, hours, minutes) = match text.split_once(' ') {
            Some((date, time)) => (date, time[..2].parse().unwrap(), time[3..].parse().unwrap()),
            None => (text, 0i64, 0i64),
        };
        let date: NaiveDate = date.parse().unwrap();
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        days * MICROS_PER_DAY + (hours * 60 + minutes) * 60_000_000
    }

    fn find(kind: TimeKind, series: &[&[&str]], grid: Grid) -> Result<(Frequency, i64)> {
        let mut offsets = vec![0];
        let mut timestamps = Vec::new();
        for times in series {
            timestamps.extend(times.iter().map(|t| match kind {
                TimeKind::Integer => t.parse().unwrap(),
                _ => micros(t),
            }));
            offsets.push(timestamps.len());
        }
        let keys: Vec<String> = (1..=series.len()).map(|i| format!("store={i}")).collect();
        let (table, target, time) = ("sales", "units", "day");
        find_grid(
            &Timeline { table, target, time, kind, keys: &keys, offsets: &offsets, timestamps: &timestamps },
            grid,
        )
    }

    #[test]
    fn the_step_is_the_most_common_distance() {
        let infer = |kind, times: &[&str]| find(kind, &[times], Grid::Infer).unwrap().0.to_string();
        let date = TimeKind::Date;
        assert_eq!(infer(date, &["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-09"]), "DAY");
        assert_eq!(infer(date, &["2026-01-04", "2026-01-11", "2026-01-25"]), "WEEK");
        assert_eq!(infer(date, &["2026-01-01", "2026-02-01", "2026-04-01"]), "MONTH");
        assert_eq!(infer(date, &["2025-03-31", "2025-06-30", "2025-09-30"]), "QUARTER");
        assert_eq!(infer(date, &["2023-02-28", "2024-02-29", "2025-02-28"]), "YEAR");
        assert_eq!(infer(date, &["2026-01-01", "2026-01-29", "2026-02-26"]), "4 WEEK");
        let time = TimeKind::Timestamp;
        assert_eq!(infer(time, &["2026-01-01 00:00", "2026-01-01 02:00", "2026-01-01 06:00"]), "2 HOUR");
        assert_eq!(infer(TimeKind::Integer, &["40", "41", "44"]), "1");
    }

    #[test]
    fn month_ends_keep_their_anchor() {
        let times: &[&str] = &["2023-02-28", "2023-03-31", "2023-04-30"];
        let (frequency, origin) = find(TimeKind::Date, &[times], Grid::Infer).unwrap();
        assert_eq!((frequency, origin), (Frequency::Months(1), micros("2023-01-31")));
        let next = frequency.period(origin, micros("2023-04-30")) + 1;
        assert_eq!(frequency.instant(origin, next), Some(micros("2023-05-31")));
    }

    #[test]
    fn irregular_time_names_the_series_and_both_instants() {
        let times: &[&str] = &["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-03 13:05", "2026-01-04"];
        let error =
            find(TimeKind::Timestamp, &[&["2026-01-01", "2026-01-02"], times], Grid::Infer).unwrap_err();
        assert_eq!(
            error.message(),
            "sales is irregular in time, most rows are DAY apart but not all: store=2, \
             day=2026-01-03 00:00:00 is followed by 2026-01-03 13:05:00"
        );
        let month: &[&str] =
            &["2026-01-01", "2026-02-01", "2026-03-15", "2026-04-01", "2026-07-01", "2026-08-01"];
        let error = find(TimeKind::Date, &[month], Grid::Infer).unwrap_err();
        assert!(error.message().contains("MONTH apart"), "{error}");
        assert!(error.message().ends_with("day=2026-02-01 is followed by 2026-03-15"), "{error}");
    }

    #[test]
    fn series_of_different_phase_and_single_rows_are_told_apart() {
        let monday: &[&str] = &["2026-01-05", "2026-01-12"];
        let tuesday: &[&str] = &["2026-01-06", "2026-01-13"];
        let error = find(TimeKind::Date, &[monday, tuesday], Grid::Infer).unwrap_err();
        assert!(error.message().contains("store=1, day=2026-01-05, another at store=2, day=2026-01-06"));
        let week = Grid::Every(Frequency::Days(7));
        assert_eq!(find(TimeKind::Date, &[monday, tuesday], week).unwrap().1, micros("1970-01-05"));
        assert_eq!(find(TimeKind::Date, &[tuesday], week).unwrap().1, micros("2026-01-06"));
        let error = find(TimeKind::Date, &[&["2026-01-05"]], Grid::Infer).unwrap_err();
        assert!(error.message().contains("no series of sales has two rows"), "{error}");
    }
}
