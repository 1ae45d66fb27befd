//! Results as aligned text, printed while they arrive: the first rows decide the widths of the rest.

use std::io::{self, Write};

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;

use super::cell::{self, Row};
use super::text::{cut, pad, width, wrap};
use super::{Expanded, Screen};

/// Rows looked at before the first one is printed.
const MEASURED_ROWS: usize = 1000;
/// Results up to this many rows show every cell whole, on several lines; longer ones cut cells, or are wider than the
/// screen, which a pager scrolls.
const WRAPPED_ROWS: usize = 30;
/// Text columns are never narrowed below this.
const NARROWEST: usize = 8;
/// A single row with at least this many columns is shown one column a line when it is too wide.
const MANY_COLUMNS: usize = 6;
/// The width that decides so where there is no terminal.
const PAPER_WIDTH: usize = 120;

#[derive(Debug)]
enum Layout {
    Aligned { widths: Vec<usize>, long_cells: LongCells },
    Expanded { label_width: usize, value_width: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongCells {
    Spill,
    Cut,
    Wrap,
}

/// Prints the batches of one result.
#[derive(Debug)]
pub(crate) struct TablePrinter {
    headers: Vec<String>,
    right_aligned: Vec<bool>,
    whole: Vec<bool>,
    screen: Screen,
    expanded: Expanded,
    pending: Vec<Row>,
    layout: Option<Layout>,
    printed: usize,
}

impl TablePrinter {
    /// A printer for results of this schema.
    pub(crate) fn new(schema: &Schema, screen: Screen, expanded: Expanded) -> Self {
        Self {
            headers: schema.fields().iter().map(|f| f.name().clone()).collect(),
            right_aligned: schema.fields().iter().map(|f| cell::is_numeric(f.data_type())).collect(),
            whole: schema.fields().iter().map(|f| !cell::is_text(f.data_type())).collect(),
            screen,
            expanded,
            pending: Vec::new(),
            layout: None,
            printed: 0,
        }
    }

    /// Prints the rows of a batch, or keeps them while the widths are still open.
    pub(crate) fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let rows = cell::rows(batch).map_err(io::Error::other)?;
        if self.layout.is_some() {
            return rows.iter().try_for_each(|row| self.write_row(row, out));
        }
        self.pending.extend(rows);
        if self.pending.len() >= MEASURED_ROWS { self.settle(false, out) } else { Ok(()) }
    }

    /// Prints what is left and the number of rows.
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.layout.is_none() {
            self.settle(true, out)?;
        }
        let rows = self.printed;
        writeln!(out, "({rows} {})", if rows == 1 { "row" } else { "rows" })
    }

    fn settle(&mut self, complete: bool, out: &mut dyn Write) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let layout = self.choose_layout(&pending, complete);
        if let Layout::Aligned { widths, long_cells } = &layout {
            self.write_header(widths, *long_cells, out)?;
        }
        self.layout = Some(layout);
        pending.iter().try_for_each(|row| self.write_row(row, out))
    }

    fn choose_layout(&self, rows: &[Row], complete: bool) -> Layout {
        let cells = self.measure(rows);
        let natural: Vec<usize> =
            cells.iter().zip(&self.headers).map(|(cell, header)| (*cell).max(width(header))).collect();
        let single = complete && rows.len() == 1 && self.headers.len() >= MANY_COLUMNS;
        let available = self.screen.width.unwrap_or(if single { PAPER_WIDTH } else { usize::MAX });
        let fits = line_width(&natural) <= available;
        let short = complete && rows.len() <= WRAPPED_ROWS;
        let narrowed = fit(&natural, &self.floors(&cells), available);
        let widths = match (self.expanded, narrowed) {
            (Expanded::On, _) => None,
            (Expanded::Auto, _) if single && !fits => None,
            _ if fits || rows.is_empty() => Some((natural, LongCells::Spill)),
            (_, Some(widths)) => Some((widths, if short { LongCells::Wrap } else { LongCells::Cut })),
            (Expanded::Auto, None) if short => None,
            (_, None) => Some((natural, LongCells::Spill)),
        };
        match widths {
            Some((widths, long_cells)) => Layout::Aligned { widths, long_cells },
            None => self.expanded_layout(),
        }
    }

    fn expanded_layout(&self) -> Layout {
        let label_width = self.headers.iter().map(|h| width(h)).max().unwrap_or(0);
        let value_width =
            self.screen.width.map_or(usize::MAX, |w| w.saturating_sub(label_width + 3).max(NARROWEST));
        Layout::Expanded { label_width, value_width }
    }

    /// The widest line of each column's cells.
    fn measure(&self, rows: &[Row]) -> Vec<usize> {
        let mut widths = vec![0; self.headers.len()];
        for row in rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest =
                    (*widest).max(cell.as_deref().unwrap_or(NULL).lines().map(width).max().unwrap_or(0));
            }
        }
        widths
    }

    /// How far each column may shrink: only texts are cut, headers can be recognised.
    fn floors(&self, cells: &[usize]) -> Vec<usize> {
        let header = self.headers.iter().map(|header| width(header).min(NARROWEST));
        let cells = cells.iter().zip(&self.whole);
        let cells = cells.map(|(cell, whole)| if *whole { *cell } else { (*cell).min(NARROWEST) });
        header.zip(cells).map(|(header, cell)| header.max(cell).max(1)).collect()
    }

    fn write_header(&self, widths: &[usize], long_cells: LongCells, out: &mut dyn Write) -> io::Result<()> {
        let spill = long_cells == LongCells::Spill;
        let lines = self.headers.iter().zip(widths);
        let lines: Vec<Vec<String>> =
            lines.map(|(h, w)| if spill { vec![h.clone()] } else { header_lines(h, *w) }).collect();
        for line in 0..lines.iter().map(Vec::len).max().unwrap_or(1).max(1) {
            let texts = lines.iter().map(|header| header.get(line).map_or("", String::as_str));
            let padded = texts.zip(widths).zip(&self.right_aligned).map(|((h, w), right)| pad(h, *w, *right));
            let cells: Vec<String> = padded.map(|h| self.screen.style.bold(&h)).collect();
            writeln!(out, " {}", cells.join(" | ").trim_end())?;
        }
        let rules: Vec<String> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
        writeln!(out, "{}", rules.join("+"))
    }

    fn write_row(&mut self, row: &Row, out: &mut dyn Write) -> io::Result<()> {
        self.printed += 1;
        match &self.layout {
            Some(Layout::Aligned { widths, long_cells }) => self.write_aligned(row, widths, *long_cells, out),
            Some(Layout::Expanded { label_width, value_width }) => {
                self.write_expanded(row, *label_width, *value_width, out)
            }
            None => Ok(()),
        }
    }

    fn write_aligned(
        &self,
        row: &Row,
        widths: &[usize],
        long_cells: LongCells,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let cells: Vec<Vec<String>> =
            row.iter().zip(widths).map(|(cell, w)| cell_lines(cell.as_deref(), *w, long_cells)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1);
        for line in 0..height {
            let parts: Vec<String> = cells
                .iter()
                .enumerate()
                .map(|(column, lines)| {
                    let text = lines.get(line).map_or("", String::as_str);
                    let padded = pad(text, widths[column], self.right_aligned[column]);
                    if row[column].is_none() { self.screen.style.dim(&padded) } else { padded }
                })
                .collect();
            writeln!(out, " {}", parts.join(" | ").trim_end())?;
        }
        Ok(())
    }

    fn write_expanded(&self, row: &Row, labels: usize, values: usize, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "-[ row {} ]{}", self.printed, "-".repeat(labels))?;
        for (header, cell) in self.headers.iter().zip(row) {
            let lines = cell_lines(cell.as_deref(), values, LongCells::Wrap);
            for (index, line) in lines.iter().enumerate() {
                let label = if index == 0 { pad(header, labels, false) } else { " ".repeat(labels) };
                let label = self.screen.style.bold(&label);
                let value = if cell.is_none() { self.screen.style.dim(line) } else { line.clone() };
                writeln!(out, "{}", format!("{label} | {value}").trim_end())?;
            }
        }
        Ok(())
    }
}

/// How NULL reads.
const NULL: &str = "NULL";

/// A heading in lines, broken after underscores where there are any.
fn header_lines(header: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for part in header.split_inclusive('_') {
        match lines.last_mut() {
            Some(line) if width(line) + width(part) <= columns => line.push_str(part),
            _ => lines.extend(wrap(part, columns)),
        }
    }
    lines
}

fn cell_lines(cell: Option<&str>, columns: usize, long_cells: LongCells) -> Vec<String> {
    let lines = cell.unwrap_or(NULL).lines();
    let mut shown: Vec<String> = match long_cells {
        LongCells::Spill => lines.map(str::to_owned).collect(),
        LongCells::Cut => lines.map(|line| cut(line, columns)).collect(),
        LongCells::Wrap => lines.flat_map(|line| wrap(line, columns)).collect(),
    };
    if shown.is_empty() {
        shown.push(String::new());
    }
    shown
}

/// Terminal columns of a line whose cells have these widths.
fn line_width(widths: &[usize]) -> usize {
    widths.iter().map(|w| w + 3).sum::<usize>().saturating_sub(1)
}

/// Caps the widest columns at one common width, each no lower than its floor, until a line fits.
fn fit(natural: &[usize], floors: &[usize], available: usize) -> Option<Vec<usize>> {
    let capped = |cap: usize| -> Vec<usize> {
        natural.iter().zip(floors).map(|(natural, floor)| (*natural).min(cap).max(*floor)).collect()
    };
    let widest = natural.iter().copied().max().unwrap_or(0);
    (1..=widest).rev().map(capped).find(|widths| line_width(widths) <= available)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;
    use crate::repl::terminal::Style;

    fn print(columns: Vec<(&str, ArrayRef)>, width: Option<usize>, expanded: Expanded) -> String {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let screen = Screen { width, style: Style::PLAIN };
        let mut printer = TablePrinter::new(&batch.schema(), screen, expanded);
        let mut out = Vec::new();
        printer.write(&batch, &mut out).unwrap();
        printer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn products() -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("item", Arc::new(StringArray::from(vec![Some("りんご 🍎"), None])) as ArrayRef),
            ("units", Arc::new(Int64Array::from(vec![Some(5), Some(1200)]))),
            ("price", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None]))),
        ]
    }

    #[test]
    fn headings_break_after_underscores() {
        assert_eq!(header_lines("model_version", 8), ["model_", "version"]);
        assert_eq!(header_lines("lower_bound", 20), ["lower_bound"]);
        assert_eq!(header_lines("categories", 8).concat(), "categories");
    }

    #[test]
    fn columns_line_up_whatever_the_script() {
        let expected = "\
\u{20}item      | units | price
-----------+-------+-------
 りんご 🍎 |     5 |   0.3
 NULL      |  1200 |  NULL
(2 rows)
";
        assert_eq!(print(products(), None, Expanded::Auto), expected);
    }

    #[test]
    fn expanded_rows_show_one_column_a_line() {
        let printed = print(products(), None, Expanded::On);
        assert!(printed.starts_with("-[ row 1 ]-----\nitem  | りんご 🍎\nunits | 5\nprice | 0.3\n"));
    }

    #[test]
    fn long_text_wraps_in_short_results_and_numbers_stay_whole() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["red running shoe with laces", "x"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1234567890, 1]));
        let printed = print(vec![("title", text), ("n", number)], Some(30), Expanded::Auto);
        assert!(printed.contains(" red running     | 1234567890\n shoe with laces |\n"), "{printed}");
        assert!(printed.lines().all(|line| width(line) <= 30), "{printed}");
    }

    #[test]
    fn long_text_is_cut_in_long_results() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["red running shoe with laces"; 40]));
        let printed = print(vec![("title", text)], Some(20), Expanded::Auto);
        assert!(printed.contains(" red running shoe …\n"), "{printed}");
    }

    #[test]
    fn a_wide_single_row_is_expanded_and_an_empty_result_keeps_its_header() {
        let wide: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(30)]));
        let columns = ["a", "b", "c", "d", "e", "f"].map(|name| (name, Arc::clone(&wide))).to_vec();
        assert!(print(columns, None, Expanded::Auto).starts_with("-[ row 1 ]"));
        let none: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        assert_eq!(print(vec![("n", none)], None, Expanded::Auto), " n\n---\n(0 rows)\n");
    }

    #[test]
    fn cells_after_the_measured_rows_spill_rather_than_lose_text() {
        let mut texts = vec!["ab"; MEASURED_ROWS];
        texts.push("abcdefgh");
        let batch_of = |t: &[&str]| {
            RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(t.to_vec())) as ArrayRef)]).unwrap()
        };
        let batch = batch_of(&texts[..MEASURED_ROWS]);
        let screen = Screen { width: None, style: Style::PLAIN };
        let mut printer = TablePrinter::new(&batch.schema(), screen, Expanded::Auto);
        let mut out = Vec::new();
        printer.write(&batch, &mut out).unwrap();
        printer.write(&batch_of(&texts[MEASURED_ROWS..]), &mut out).unwrap();
        printer.finish(&mut out).unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert!(printed.ends_with(" ab\n abcdefgh\n(1001 rows)\n"));
    }
}
