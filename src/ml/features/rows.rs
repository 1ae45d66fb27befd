//! Rows for trees: what is known of one step of one window, a column a feature.

use chrono::{DateTime, Datelike, Timelike};

use crate::ml::features::column::ColumnEncoder;
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::featurizer::Featurizer;
use crate::ml::features::history::{self, History};
use crate::ml::series::Frequency;
use crate::ml::trees::ColumnType;

/// Latest values that a row sees one by one.
const LAGS_MAX: usize = 14;
/// Latest values of the step's place in the season that a row sees.
const SEASONAL_LAGS: usize = 4;
/// Latest values of the step's place in the long season that a row sees.
const LONG_LAGS: usize = 3;
/// Windows, in steps, over which the latest values are described.
const WINDOWS: [usize; 3] = [4, 13, 52];
/// Distances to events beyond this count as this.
const DISTANCE_MAX: u16 = 99;

/// Writes rows of one panel.
pub struct RowWriter<'a> {
    featurizer: &'a Featurizer,
    panel: &'a EncodedPanel,
    history: History<'a>,
    events: Vec<Event>,
    known: usize,
    statics: usize,
    measured: Vec<usize>,
    recent: Vec<f32>,
    window: Vec<f32>,
    series: usize,
    origin: usize,
    /// Some of the history was filled from later rows.
    is_on_line: bool,
    lags: usize,
}

/// A known covariate that is mostly off, and for every row the distance to the nearest rows where it is on.
struct Event {
    since: Vec<u16>,
    until: Vec<u16>,
}

impl<'a> RowWriter<'a> {
    /// A writer with its own buffers.
    pub fn new(featurizer: &'a Featurizer, panel: &'a EncodedPanel) -> Self {
        Self {
            featurizer,
            panel,
            history: History::new(featurizer, panel),
            events: events(featurizer, panel),
            known: featurizer.known_numbers(),
            statics: featurizer.statics.iter().map(ColumnEncoder::width).sum(),
            measured: featurizer.measured(),
            recent: Vec::new(),
            window: Vec::new(),
            series: 0,
            origin: 0,
            is_on_line: false,
            lags: featurizer.season_length.saturating_mul(2).clamp(6, LAGS_MAX),
        }
    }

    /// Goes to the window of `series` whose step 1 is row `origin`.
    pub fn look(&mut self, series: usize, origin: usize) {
        (self.series, self.origin) = (series, origin);
        self.is_on_line = self.panel.is_on_line(series, origin);
        self.history.look(series, origin);
        let mut window = std::mem::take(&mut self.window);
        window.clear();
        self.history.window_features(&mut window);
        self.describe(&mut window);
        let numbers = series * self.statics..(series + 1) * self.statics;
        window.extend_from_slice(&self.panel.static_numbers[numbers]);
        window.extend(self.panel.static_categories.iter().map(|codes| codes[series] as f32));
        self.window = window;
        let base = self.panel.offsets[series];
        let rows = base + origin.saturating_sub(self.featurizer.layout.scaled)..base + origin;
        let n = rows.len().max(1) as f32;
        self.recent.clear();
        for column in &self.measured {
            let sum: f32 = rows.clone().map(|row| self.panel.known[row * self.known + column]).sum();
            self.recent.push(sum / n);
        }
    }

    /// What scaled values are relative to, and what they are divided by.
    pub fn scale(&self) -> (f64, f64) {
        (self.history.center, self.history.scale)
    }

    /// The encoded row of a step, counted from 0.
    pub fn row_of(&self, step: usize) -> usize {
        let base = self.panel.offsets[self.series];
        let last = self.panel.offsets[self.series + 1].saturating_sub(1).max(base);
        (base + self.origin + step).min(last)
    }

    /// Scaled target of an encoded row, where it is there and, after the origin, may be learnt from.
    pub fn target(&self, row: usize) -> Option<f32> {
        let y = self.panel.target[row];
        let teaches = !self.is_on_line || row < self.panel.offsets[self.series] + self.origin;
        (teaches && y.is_finite()).then(|| self.history.scaled(f64::from(y)) as f32)
    }

    /// False where a switch says that the target is zero.
    pub fn is_active(&self, row: usize) -> bool {
        self.panel.active.is_empty() || self.panel.active[row]
    }

    /// Appends the latest values and how they spread, in units of the scale.
    fn describe(&self, out: &mut Vec<f32>) {
        let base = self.panel.offsets[self.series];
        let end = base + self.origin;
        let value = |row: usize| if self.is_active(row) { self.target(row) } else { None };
        for lag in 1..=self.lags {
            out.push(end.checked_sub(lag).filter(|row| *row >= base).and_then(value).unwrap_or(f32::NAN));
        }
        let first = self.origin.saturating_sub(self.featurizer.layout.lookback) + base;
        for steps in WINDOWS {
            let rows = end.saturating_sub(steps).max(first)..end;
            let (mut n, mut sum, mut squares, mut zeros) = (0.0f32, 0.0, 0.0, 0.0);
            let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
            for row in rows {
                if let Some(y) = value(row) {
                    (n, sum, squares) = (n + 1.0, sum + y, squares + y * y);
                    zeros += f32::from(u8::from(self.panel.target[row] == 0.0));
                    (low, high) = (low.min(y), high.max(y));
                }
            }
            let mean = sum / n;
            let deviation = ((squares / n - mean * mean).max(0.0)).sqrt();
            out.extend(if n > 0.0 { [mean, deviation, low, high, zeros / n] } else { [f32::NAN; 5] });
        }
        // Intermittent demand: how long ago the last sale is, how large the last sales were and how far apart.
        let mut sales = (first..end).rev().filter(|row| self.panel.target[*row] > 0.0);
        let last = sales.next();
        let second = sales.next();
        let third = sales.next();
        let distance = |from: Option<usize>, to: Option<usize>| match (from, to) {
            (Some(from), Some(to)) => (from - to) as f32,
            _ => f32::NAN,
        };
        out.extend([
            distance(Some(end), last),
            distance(last, second),
            distance(second, third),
            last.and_then(value).unwrap_or(f32::NAN),
            second.and_then(value).unwrap_or(f32::NAN),
        ]);
        // How far values are from those a season and a long season before.
        for lag in
            [Some(self.featurizer.season_length), self.featurizer.layout.long_season].into_iter().flatten()
        {
            let (mut n, mut sum) = (0.0f32, 0.0);
            for row in (first + lag).min(end)..end {
                if let (Some(y), Some(then)) = (value(row), value(row - lag)) {
                    (n, sum) = (n + 1.0, sum + (y - then).abs());
                }
            }
            out.push(if n > 0.0 { sum / n } else { f32::NAN });
        }
        // Exponential means, which forget by level shifts.
        for alpha in [0.1f32, 0.3] {
            let mut level = f32::NAN;
            for row in first..end {
                if let Some(y) = value(row) {
                    level = if level.is_nan() { y } else { level + alpha * (y - level) };
                }
            }
            out.push(level);
        }
    }

    /// Appends the row of a step, counted from 0; returns what matched history suggests, scaled.
    pub fn push(&mut self, step: usize, out: &mut Vec<f32>) -> f32 {
        let row = self.row_of(step);
        let base = self.panel.offsets[self.series];
        let horizon = self.featurizer.layout.horizon;
        let end = self.row_of(horizon - 1);
        out.extend_from_slice(&self.window);
        out.push((step + 1) as f32);
        self.push_calendar(self.panel.start[self.series] + (self.origin + step) as i64, out);
        let known = &self.panel.known[row * self.known..(row + 1) * self.known];
        out.extend_from_slice(known);
        out.extend(self.panel.known_categories.iter().map(|codes| codes[row] as f32));
        for distance in self.featurizer.neighbours() {
            let near = (row as isize + distance).clamp(base as isize, end as isize) as usize;
            out.extend_from_slice(&self.panel.known[near * self.known..(near + 1) * self.known]);
        }
        out.extend(self.measured.iter().zip(&self.recent).map(|(column, mean)| known[*column] - mean));
        for event in &self.events {
            let ahead = (end - row) as u16 + 1;
            out.push(f32::from(event.since[row]));
            out.push(f32::from(event.until[row].min(ahead)));
        }
        let season = self.featurizer.season_length;
        let seasons = step / season + 1;
        for k in 0..SEASONAL_LAGS {
            let back = (seasons + k) * season;
            let then = (base + self.origin + step).checked_sub(back).filter(|then| *then >= base);
            let then = then.filter(|then| self.is_active(*then));
            out.push(then.and_then(|then| self.target(then)).unwrap_or(f32::NAN));
        }
        if let Some(long) = self.featurizer.layout.long_season {
            for k in 0..LONG_LAGS {
                let back = (step / long + 1 + k) * long;
                let then = (base + self.origin + step).checked_sub(back).filter(|then| *then >= base);
                let then = then.filter(|then| self.is_active(*then));
                out.push(then.and_then(|then| self.target(then)).unwrap_or(f32::NAN));
            }
        }
        self.history.step_features(step, row, out)
    }

    fn push_calendar(&self, period: i64, out: &mut Vec<f32>) {
        let frequency = self.featurizer.frequency;
        let season = self.featurizer.season_length.max(1) as i64;
        if season > 1 {
            out.push(period.rem_euclid(season) as f32);
        }
        let time = self
            .featurizer
            .frequency
            .instant(self.featurizer.origin, period)
            .and_then(DateTime::from_timestamp_micros)
            .map(|time| time.naive_utc());
        let Some(time) = time.filter(|_| !matches!(frequency, Frequency::Integer(_))) else {
            out.extend(std::iter::repeat_n(f32::NAN, calendar_width(frequency)));
            return;
        };
        match frequency {
            Frequency::Integer(_) => {}
            Frequency::Months(_) => out.push(time.month() as f32),
            Frequency::Days(n) if n % 7 == 0 => {
                out.extend([time.iso_week().week() as f32, time.month() as f32, time.day() as f32]);
            }
            Frequency::Days(_) => out.extend([
                time.weekday().num_days_from_monday() as f32,
                time.day() as f32,
                time.ordinal() as f32,
                time.month() as f32,
            ]),
            Frequency::Seconds(_) => out.extend([
                time.hour() as f32,
                time.weekday().num_days_from_monday() as f32,
                time.day() as f32,
                time.ordinal() as f32,
            ]),
        }
    }

    /// Types of the columns.
    pub fn types(&self) -> Vec<ColumnType> {
        let mut types = Vec::new();
        let numbers =
            |types: &mut Vec<ColumnType>, n: usize| types.extend(std::iter::repeat_n(ColumnType::Number, n));
        numbers(
            &mut types,
            history::window_width(self.featurizer) + self.lags + 5 * WINDOWS.len() + 8 + self.statics,
        );
        let long = usize::from(self.featurizer.layout.long_season.is_some());
        numbers(&mut types, long);
        types.extend(categories(&self.featurizer.statics));
        let season = usize::from(self.featurizer.season_length > 1);
        numbers(&mut types, 1 + season + calendar_width(self.featurizer.frequency) + self.known);
        types.extend(categories(&self.featurizer.known));
        let neighbours = self.known * self.featurizer.neighbours().len();
        numbers(&mut types, neighbours + self.measured.len() + 2 * self.events.len() + SEASONAL_LAGS);
        numbers(&mut types, long * LONG_LAGS);
        numbers(&mut types, history::step_width(self.featurizer));
        types
    }
}

fn categories(encoders: &[ColumnEncoder]) -> impl Iterator<Item = ColumnType> + '_ {
    encoders.iter().filter_map(ColumnEncoder::words).map(|_| ColumnType::Category)
}

fn calendar_width(frequency: Frequency) -> usize {
    match frequency {
        Frequency::Integer(_) => 0,
        Frequency::Months(_) => 1,
        Frequency::Days(n) if n % 7 == 0 => 3,
        Frequency::Days(_) | Frequency::Seconds(_) => 4,
    }
}

/// Distances to the events of every binary known column.
fn events(featurizer: &Featurizer, panel: &EncodedPanel) -> Vec<Event> {
    let width = featurizer.known_numbers();
    let of = |(position, upper): &(usize, bool)| {
        distances(panel, |row| (panel.known[row * width + position] >= 0.5) == *upper)
    };
    featurizer.events.iter().map(of).collect()
}

fn distances(panel: &EncodedPanel, is_on: impl Fn(usize) -> bool) -> Event {
    let rows = panel.target.len();
    let mut event = Event { since: vec![DISTANCE_MAX; rows], until: vec![DISTANCE_MAX; rows] };
    for ends in panel.offsets.windows(2) {
        let mut distance = DISTANCE_MAX;
        for row in ends[0]..ends[1] {
            distance = if is_on(row) { 0 } else { (distance + 1).min(DISTANCE_MAX) };
            event.since[row] = distance;
        }
        let mut distance = DISTANCE_MAX;
        for row in (ends[0]..ends[1]).rev() {
            distance = if is_on(row) { 0 } else { (distance + 1).min(DISTANCE_MAX) };
            event.until[row] = distance;
        }
    }
    event
}
