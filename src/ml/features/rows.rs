//! Rows for trees: what is known of one step of one window, a column a feature.

use chrono::{DateTime, Datelike, Timelike};

use crate::ml::features::column::ColumnEncoder;
use crate::ml::features::encoded::EncodedPanel;
use crate::ml::features::featurizer::Featurizer;
use crate::ml::features::history::{self, History};
use crate::ml::features::target_encoding::EncodingHistory;
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
    /// The steps after the origin may be learnt from.
    teaches: bool,
    lags: usize,
    /// Target encodings as seen from the origin; without, as seen from the end of the training.
    encodings: Option<&'a EncodingHistory>,
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
            teaches: true,
            lags: featurizer.season_length.saturating_mul(2).clamp(6, LAGS_MAX),
            encodings: None,
        }
    }

    /// The same, of rows to learn from: they see target encodings as they were at their origins.
    pub fn learning_from(self, encodings: &'a EncodingHistory) -> Self {
        Self { encodings: Some(encodings), ..self }
    }

    /// Goes to the window of `series` whose step 1 is row `origin`.
    pub fn look(&mut self, series: usize, origin: usize) {
        (self.series, self.origin) = (series, origin);
        self.teaches = self.panel.teaches(series, origin);
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
        let teaches = self.teaches || row < self.panel.offsets[self.series] + self.origin;
        (teaches && y.is_finite()).then(|| self.history.scaled(f64::from(y)) as f32)
    }

    /// What is learnt from of an encoded row after the origin, scaled.
    pub fn lesson(&self, row: usize) -> Option<f32> {
        let y = self.panel.lesson(self.series, self.origin, row);
        (self.teaches && y.is_finite()).then(|| self.history.scaled(f64::from(y)) as f32)
    }

    /// False where a switch says that the target is zero.
    pub fn is_active(&self, row: usize) -> bool {
        self.panel.active.is_empty() || self.panel.active[row]
    }

    /// Appends the latest values and how they spread, in units of the scale.
    fn describe(&self, out: &mut Vec<f32>) {
        let (first, end) = (self.history.first, self.panel.offsets[self.series] + self.origin);
        let value = |row: usize| if self.is_active(row) { self.target(row) } else { None };
        for lag in 1..=self.lags {
            out.push(end.checked_sub(lag).filter(|row| *row >= first).and_then(value).unwrap_or(f32::NAN));
        }
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
        let (base, first) = (self.panel.offsets[self.series], self.history.first);
        let horizon = self.featurizer.layout.horizon;
        let end = self.row_of(horizon - 1);
        out.extend_from_slice(&self.window);
        out.push((step + 1) as f32);
        let origin = self.panel.start[self.series] + self.origin as i64;
        self.push_calendar(origin + step as i64, out);
        self.push_encodings(row, origin + step as i64, origin, out);
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
            let then = (base + self.origin + step).checked_sub(back).filter(|then| *then >= first);
            let then = then.filter(|then| self.is_active(*then));
            out.push(then.and_then(|then| self.target(then)).unwrap_or(f32::NAN));
        }
        if let Some(long) = self.featurizer.layout.long_season {
            for k in 0..LONG_LAGS {
                let back = (step / long + 1 + k) * long;
                let then = (base + self.origin + step).checked_sub(back).filter(|then| *then >= first);
                let then = then.filter(|then| self.is_active(*then));
                out.push(then.and_then(|then| self.target(then)).unwrap_or(f32::NAN));
            }
        }
        self.history.step_features(step, row, out)
    }

    fn push_encodings(&self, row: usize, period: i64, origin: i64, out: &mut Vec<f32>) {
        let encodings = self.featurizer.target_encodings.iter().enumerate();
        out.extend(encodings.map(|(n, encoding)| match self.encodings {
            Some(history) => history.of((n, encoding), self.panel, (self.series, row), (period, origin)),
            None => encoding.of(self.panel, self.series, row, period),
        }));
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

    /// Names and vocabularies of the columns, in their order.
    pub fn columns(&self) -> Vec<RowColumn> {
        let featurizer = self.featurizer;
        let known: Vec<String> = featurizer.known.iter().flat_map(ColumnEncoder::feature_names).collect();
        let mut columns: Vec<RowColumn> = numbers(history::window_names(featurizer)).collect();
        columns.extend(numbers(self.described()));
        columns.extend(numbers(featurizer.statics.iter().flat_map(ColumnEncoder::feature_names)));
        columns.extend(categories(&featurizer.statics));
        columns.extend(numbers(["step".to_owned()]));
        columns.extend(numbers(calendar_names(featurizer)));
        columns.extend(numbers(featurizer.target_encodings.iter().map(|encoding| encoding.name.clone())));
        columns.extend(numbers(known.iter().cloned()));
        columns.extend(categories(&featurizer.known));
        for distance in featurizer.neighbours() {
            let side = if *distance < 0 { "before" } else { "after" };
            columns.extend(numbers(known.iter().map(|name| format!("{name}_{}_{side}", distance.abs()))));
        }
        columns.extend(numbers(self.measured.iter().map(|column| format!("{}_change", known[*column]))));
        for (position, _) in &featurizer.events {
            let name = &known[*position];
            columns.extend(numbers([format!("steps_since_{name}"), format!("steps_to_{name}")]));
        }
        columns.extend(numbers((1..=SEASONAL_LAGS).map(|k| format!("seasonal_lag_{k}"))));
        if featurizer.layout.long_season.is_some() {
            columns.extend(numbers((1..=LONG_LAGS).map(|k| format!("long_seasonal_lag_{k}"))));
        }
        columns.extend(numbers(history::step_names(featurizer)));
        columns
    }

    /// Names of what [`RowWriter::describe`] appends.
    fn described(&self) -> Vec<String> {
        let mut names: Vec<String> = (1..=self.lags).map(|lag| format!("lag_{lag}")).collect();
        for steps in WINDOWS {
            let of = ["mean", "deviation", "min", "max", "zero_share"];
            names.extend(of.map(|what| format!("{what}_of_{steps}")));
        }
        let sales = [
            "steps_since_sale",
            "steps_between_sales",
            "steps_between_sales_before",
            "last_sale",
            "sale_before",
        ];
        names.extend(sales.map(ToString::to_string));
        names.push("seasonal_change".to_owned());
        if self.featurizer.layout.long_season.is_some() {
            names.push("long_seasonal_change".to_owned());
        }
        names.extend(["smoothed_slowly", "smoothed_quickly"].map(ToString::to_string));
        names
    }

    /// Types of the columns.
    pub fn types(&self) -> Vec<ColumnType> {
        let of = |column: RowColumn| column.words.map_or(ColumnType::Number, |_| ColumnType::Category);
        self.columns().into_iter().map(of).collect()
    }
}

/// A column of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowColumn {
    /// What it tells.
    pub name: String,
    /// The words behind its numbers, counted from 1; `None` where they are numbers.
    pub words: Option<Vec<String>>,
}

fn numbers(names: impl IntoIterator<Item = String>) -> impl Iterator<Item = RowColumn> {
    names.into_iter().map(|name| RowColumn { name, words: None })
}

fn categories(encoders: &[ColumnEncoder]) -> impl Iterator<Item = RowColumn> + '_ {
    encoders.iter().filter_map(|encoder| {
        let words = encoder.vocabulary()?.to_vec();
        Some(RowColumn { name: encoder.name().to_owned(), words: Some(words) })
    })
}

fn calendar_names(featurizer: &Featurizer) -> Vec<String> {
    let mut names = if featurizer.season_length > 1 { vec!["season_step"] } else { Vec::new() };
    names.extend(match featurizer.frequency {
        Frequency::Integer(_) => &[][..],
        Frequency::Months(_) => &["month"],
        Frequency::Days(n) if n % 7 == 0 => &["week", "month", "day_of_month"],
        Frequency::Days(_) => &["weekday", "day_of_month", "day_of_year", "month"],
        Frequency::Seconds(_) => &["hour", "weekday", "day_of_month", "day_of_year"],
    });
    names.into_iter().map(ToString::to_string).collect()
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

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::{fit, panel};
    use crate::ml::series::{Covariate, Values};

    /// A row of every step of the window, and its targets.
    fn rows(writer: &mut RowWriter<'_>, origin: usize) -> (Vec<u32>, Vec<Option<f32>>) {
        let (mut values, mut targets) = (Vec::new(), Vec::new());
        writer.look(0, origin);
        for step in 0..7 {
            writer.push(step, &mut values);
            targets.push(writer.target(writer.row_of(step)));
        }
        (values.iter().map(|x| x.to_bits()).collect(), targets)
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let mut panel = panel(3, 800);
        let words = Values::Category { codes: vec![0; 2400], labels: vec!["sale".into()] };
        let price = Values::Number((0..2400).map(|row| (row % 17) as f32).collect());
        panel.known.push(Covariate { name: "kind_of_promo".into(), values: words });
        panel.known.push(Covariate { name: "price".into(), values: price });
        let featurizer = fit(&panel, &[800; 3]);
        let encoded = EncodedPanel::new(&featurizer, &panel, 0, 0);
        let mut writer = RowWriter::new(&featurizer, &encoded);
        let columns = writer.columns();
        let (values, _) = rows(&mut writer, 700);
        assert_eq!(values.len(), 7 * columns.len());
        let mut names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let at = |name: &str| f32::from_bits(values[names.iter().position(|n| *n == name).unwrap()]);
        assert_eq!((at("step"), at("weekday"), at("lag_1")), (1.0, 3.0 + 0.0, writer.target(699).unwrap()));
        assert_eq!(at("seasonal_lag_1"), writer.target(693).unwrap());
        assert_eq!(columns.iter().filter(|c| c.words.is_some()).count(), 2);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), columns.len());
    }

    #[test]
    fn rows_that_are_served_are_those_that_were_learnt_from() {
        let full = panel(1, 120);
        let featurizer = fit(&full, &[100]);
        let taught = EncodedPanel::new(&featurizer, &full, 0, 0);
        let mut taught = RowWriter::new(&featurizer, &taught);
        // Distances to what comes after the horizon would differ.
        assert!(!featurizer.events.is_empty());
        for origin in (15..=113).step_by(7) {
            let served = EncodedPanel::new(&featurizer, &full.hold_out(120 - origin), 7, 7);
            let served = rows(&mut RowWriter::new(&featurizer, &served), origin).0;
            assert_eq!(rows(&mut taught, origin).0, served, "{origin}");
        }
    }

    #[test]
    fn windows_on_a_line_to_a_later_value_teach_nothing_and_others_do_not_see_it() {
        let lined = |after: f64| {
            let mut panel = panel(1, 120);
            for row in 60..64 {
                panel.target[row] = 10.0 + (after - 10.0) * (row - 59) as f64 / 5.0;
            }
            panel.target[64..].fill(after);
            panel.lines = vec![60..64];
            panel
        };
        let (one, other) = (lined(20.0), lined(2000.0));
        let featurizer = fit(&one, &[120]);
        let (one, other) =
            (EncodedPanel::new(&featurizer, &one, 0, 0), EncodedPanel::new(&featurizer, &other, 0, 0));
        let mut writers = [RowWriter::new(&featurizer, &one), RowWriter::new(&featurizer, &other)];
        for origin in 20..66 {
            let [one, other] = writers.each_mut().map(|writer| rows(writer, origin));
            match origin {
                61..=64 => assert!(one.1.iter().chain(&other.1).all(Option::is_none), "{origin}"),
                ..=60 => assert_eq!(one.0, other.0, "{origin}"),
                _ => assert!(one.1.iter().all(Option::is_some), "{origin}"),
            }
        }
    }
}
