//! A chart in characters: eight dots to a cell, an axis on two sides, a legend below.

use chrono::DateTime;

use super::selection::{Axis, Chart, Interval, Line};
use crate::repl::output::{cut, pad, short_float, width};
use crate::repl::terminal::Style;

/// Rows of cells between the axes.
const ROWS: usize = 16;
/// About as many steps has the left axis from its lowest number to its highest.
const STEPS_OF_VALUES: f64 = 4.0;
/// Columns that a label below takes.
const LABEL_COLUMNS: usize = 16;
const NARROWEST: usize = 20;
/// Cells of lines after the first where colours cannot tell them apart.
const MARKS: [char; 5] = ['*', '+', 'o', 'x', '#'];

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    dots: u8,
    line: usize,
    in_interval: bool,
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Interval,
    Line(usize),
}

/// Ranges of the two axes.
#[derive(Debug, Clone, Copy)]
struct Ranges {
    x: (f64, f64),
    y: (f64, f64),
}

struct Canvas {
    columns: usize,
    cells: Vec<Cell>,
    ranges: Ranges,
}

/// The chart in lines of at most `columns`.
pub(super) fn draw(chart: &Chart, columns: usize, style: Style) -> String {
    let ranges = ranges(chart);
    let labels = value_labels(ranges.y);
    let margin = labels.iter().flatten().map(|label| width(label)).max().unwrap_or(0);
    let mut canvas = Canvas::new(columns.saturating_sub(margin + 3).max(NARROWEST), ranges);
    if let Some(interval) = &chart.interval {
        canvas.shade(&chart.x, interval);
    }
    for (index, line) in chart.lines.iter().enumerate() {
        canvas.trace(&chart.x, line, index);
    }
    let mut text = String::new();
    if !chart.title.is_empty() {
        text += &format!("{}\n", cut(&chart.title, columns));
    }
    for (row, label) in labels.iter().enumerate() {
        let tick = if label.is_some() { '┤' } else { '│' };
        let label = pad(label.as_deref().unwrap_or(""), margin, true);
        text += &format!("{}\n", format!("{label} {tick}{}", canvas.row(row, style)).trim_end());
    }
    text += &time_axis(chart.axis, ranges.x, margin, canvas.columns);
    text + &legend(chart, margin, columns, style)
}

impl Canvas {
    fn new(columns: usize, ranges: Ranges) -> Self {
        Self { columns, cells: vec![Cell::default(); columns * ROWS], ranges }
    }

    /// Dot column of a time and dot row of a value.
    fn dot(&self, x: f64, y: f64) -> (i64, i64) {
        let share = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let column = share(x, self.ranges.x) * (2 * self.columns - 1) as f64;
        let row = (1.0 - share(y, self.ranges.y)) * (4 * ROWS - 1) as f64;
        (column.round() as i64, row.round() as i64)
    }

    fn cell(&mut self, column: i64, row: i64) -> &mut Cell {
        &mut self.cells[(row / 4) as usize * self.columns + (column / 2) as usize]
    }

    fn set(&mut self, column: i64, row: i64, line: usize) {
        const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
        let cell = self.cell(column, row);
        cell.dots |= DOTS[(column % 2) as usize][(row % 4) as usize];
        cell.line = line;
    }

    /// Connects neighbouring values; a missing one leaves a gap.
    fn trace(&mut self, x: &[f64], line: &Line, index: usize) {
        let mut previous = None;
        for (x, y) in x.iter().zip(&line.y) {
            let here = y.map(|y| self.dot(*x, y));
            if let Some(to) = here {
                self.segment(previous.unwrap_or(to), to, index);
            }
            previous = here;
        }
    }

    fn segment(&mut self, from: (i64, i64), to: (i64, i64), line: usize) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).max(1);
        for step in 0..=steps {
            let between =
                |from: i64, to: i64| from + ((to - from) as f64 * step as f64 / steps as f64).round() as i64;
            self.set(between(from.0, to.0), between(from.1, to.1), line);
        }
    }

    /// Marks the cells between the bounds.
    fn shade(&mut self, x: &[f64], interval: &Interval) {
        let mut previous: Option<(i64, i64, i64)> = None;
        for ((x, lower), upper) in x.iter().zip(&interval.lower).zip(&interval.upper) {
            let (Some(lower), Some(upper)) = (lower, upper) else {
                previous = None;
                continue;
            };
            let ((column, bottom), (_, top)) = (self.dot(*x, *lower), self.dot(*x, *upper));
            let from = previous.unwrap_or((column, bottom, top));
            for between in from.0..=column {
                let share = (between - from.0) as f64 / (column - from.0).max(1) as f64;
                let mix = |a: i64, b: i64| a + ((b - a) as f64 * share).round() as i64;
                for row in (mix(from.2, top)..=mix(from.1, bottom)).step_by(2) {
                    self.cell(between, row).in_interval = true;
                }
            }
            previous = Some((column, bottom, top));
        }
    }

    /// One row of cells, neighbours of the same kind between one pair of escapes.
    fn row(&self, row: usize, style: Style) -> String {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        cells.chunk_by(|a, b| a.kind() == b.kind()).map(|run| run_text(run, style)).collect()
    }
}

impl Cell {
    fn kind(&self) -> Kind {
        match self {
            Self { dots: 0, in_interval: true, .. } => Kind::Interval,
            Self { dots: 0, .. } => Kind::Blank,
            Self { line, .. } => Kind::Line(*line),
        }
    }
}

fn run_text(run: &[Cell], style: Style) -> String {
    match run[0].kind() {
        Kind::Blank => " ".repeat(run.len()),
        Kind::Interval => style.dim(&"░".repeat(run.len())),
        Kind::Line(line) => {
            style.nth(line, &run.iter().map(|c| mark(line, c.dots, style)).collect::<String>())
        }
    }
}

/// Dots where colours or being the first tell the line; a character of its own otherwise.
fn mark(line: usize, dots: u8, style: Style) -> char {
    if style.is_coloured() || line == 0 {
        char::from_u32(0x2800 + u32::from(dots)).unwrap_or('•')
    } else {
        MARKS[(line - 1) % MARKS.len()]
    }
}

fn ranges(chart: &Chart) -> Ranges {
    let bounds = chart.interval.iter().flat_map(|i| i.lower.iter().chain(&i.upper));
    let values = chart.lines.iter().flat_map(|line| &line.y).chain(bounds).flatten().copied();
    Ranges { x: range(chart.x.iter().copied()), y: range(values) }
}

/// Smallest and largest value, a little apart when they are the same.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match (low.is_finite() && high.is_finite(), low < high) {
        (true, true) => (low, high),
        (true, false) => (low - 0.5, high + 0.5),
        (false, _) => (0.0, 1.0),
    }
}

/// The round number beside each row of cells that has one, top to bottom.
fn value_labels((low, high): (f64, f64)) -> Vec<Option<String>> {
    let step = round_step((high - low) / STEPS_OF_VALUES);
    let mut labels = vec![None; ROWS];
    for multiple in (low / step).ceil() as i64..=(high / step).floor() as i64 {
        let value = multiple as f64 * step;
        let row = (high - value) / (high - low) * (ROWS - 1) as f64;
        labels[(row.round() as usize).min(ROWS - 1)] = Some(short_float(value));
    }
    labels
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|s| *s >= step).unwrap_or(10.0 * power)
}

fn time_axis(axis: Axis, (low, high): (f64, f64), margin: usize, columns: usize) -> String {
    let count = (columns / LABEL_COLUMNS).clamp(2, 6);
    let mut ticks: Vec<char> = vec!['─'; columns];
    let mut labels = String::new();
    for index in 0..count {
        let share = index as f64 / (count - 1) as f64;
        let column = (share * (columns - 1) as f64).round() as usize;
        ticks[column] = '┬';
        let label = axis_label(axis, low + (high - low) * share, high - low);
        let last_start = columns.saturating_sub(width(&label));
        let start = column.saturating_sub(width(&label) / 2).min(last_start);
        labels += &" ".repeat(start.saturating_sub(width(&labels)));
        labels += &label;
    }
    let left = " ".repeat(margin + 1);
    format!("{left}└{}\n{left} {labels}\n", ticks.iter().collect::<String>())
}

fn axis_label(axis: Axis, value: f64, span: f64) -> String {
    const DAY: f64 = 86_400.0;
    let format = if span >= 2.0 * DAY { "%Y-%m-%d" } else { "%m-%d %H:%M" };
    match axis {
        Axis::Row => short_float(value.round()),
        Axis::Time => DateTime::from_timestamp(value.round() as i64, 0)
            .map_or(String::new(), |t| t.format(format).to_string()),
    }
}

/// Samples and names beside each other, or below each other where they are too wide.
fn legend(chart: &Chart, margin: usize, columns: usize, style: Style) -> String {
    let sample = |index: usize| style.nth(index, &mark(index, 0x12, style).to_string().repeat(2));
    let lines = chart.lines.iter().enumerate().map(|(index, line)| (sample(index), line.name.as_str()));
    let interval = chart.interval.iter().map(|_| (style.dim("░░"), "interval"));
    let parts: Vec<(String, &str)> = lines.chain(interval).collect();
    let total: usize = parts.iter().map(|(_, name)| width(name) + 6).sum();
    let indent = " ".repeat(margin + 2);
    let separator = if margin + total > columns { format!("\n{indent}") } else { "   ".to_owned() };
    let parts: Vec<String> = parts.iter().map(|(sample, name)| format!("{sample} {name}")).collect();
    format!("{indent}{}\n", parts.join(&separator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Chart {
        let x: Vec<f64> = (0..60).map(|day| f64::from(day) * 86_400.0).collect();
        let wave = |day: f64| 100.0 + 50.0 * (day / 5.0).sin();
        let half = |past: bool| -> Vec<Option<f64>> {
            (0..60).map(|day| ((day < 45) == past).then(|| wave(f64::from(day)))).collect()
        };
        let bounds = |by: f64| half(false).iter().map(|v| v.map(|v| v + by)).collect();
        let lines = vec![
            Line { name: "actual".to_owned(), y: half(true) },
            Line { name: "forecast".to_owned(), y: half(false) },
        ];
        let interval = Some(Interval { lower: bounds(-20.0), upper: bounds(20.0) });
        Chart { title: "store_id=1".to_owned(), axis: Axis::Time, x, lines, interval }
    }

    #[test]
    fn every_line_of_the_chart_fits_the_width() {
        for columns in [40, 80, 133] {
            let text = draw(&sample(), columns, Style::PLAIN);
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
            assert_eq!(text.lines().count(), 1 + ROWS + if columns == 40 { 5 } else { 3 });
        }
    }

    #[test]
    fn lines_interval_labels_and_legend_are_there() {
        let text = draw(&sample(), 80, Style::PLAIN);
        for part in ["1970-01-01", "1970-03-01", "░", "*", "actual", "** forecast", "store_id=1", "100 ┤"]
        {
            assert!(text.contains(part), "{part} missing in\n{text}");
        }
    }

    #[test]
    fn constant_and_single_values_are_drawn() {
        let line = Line { name: "n".to_owned(), y: vec![Some(3.0)] };
        let chart =
            Chart { title: String::new(), axis: Axis::Row, x: vec![1.0], lines: vec![line], interval: None };
        let text = draw(&chart, 30, Style::PLAIN);
        assert!(text.contains("3.5 ┤"), "{text}");
        assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{text}");
    }
}
