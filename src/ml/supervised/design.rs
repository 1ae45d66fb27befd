//! Rows as sparse vectors: standardised numbers, flags of words, and weights of the words and pairs of words in texts.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::ml::supervised::table::{ColumnKind, NONE, Table, Values};
use crate::ml::text::{Terms, most_frequent};

/// Standardised numbers lie within this size.
const SIZE_MAX: f64 = 6.0;
/// Words of a category that have a flag, the most frequent ones.
const FLAGS_MAX: usize = 2_000;
/// Words and pairs of a text column that have a weight.
const TERMS_MAX: usize = 60_000;

/// Sparse rows, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    /// Where each row ends.
    pub(super) ends: Vec<usize>,
    /// Columns of the values.
    pub(super) columns: Vec<u32>,
    /// Values.
    pub(super) values: Vec<f32>,
    /// Columns.
    pub(super) width: usize,
}

impl Sparse {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Columns and values of a row.
    pub(super) fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let of = start..self.ends[row];
        (&self.columns[of.clone()], &self.values[of])
    }
}

/// How rows become vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Design {
    parts: Vec<Part>,
    width: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// A number, its logarithmic size, and whether it is missing.
    Number { column: usize, start: usize, plain: [f64; 2], logarithm: [f64; 2] },
    /// A flag for each of these words, ascending.
    Category { column: usize, start: usize, words: Vec<String> },
    /// Words and pairs of words.
    Text {
        column: usize,
        start: usize,
        #[serde(flatten)]
        terms: Terms,
    },
}

impl Design {
    /// A design of the columns of these kinds, learnt from these rows.
    pub(super) fn fit(table: &Table, rows: &[usize], kinds: &[ColumnKind]) -> Self {
        let (mut parts, mut width) = (vec![], 0);
        for (column, of) in table.columns.iter().enumerate().filter(|(_, of)| kinds.contains(&of.kind)) {
            let part = match &of.values {
                Values::Numbers(numbers) => {
                    let moments = |f: &dyn Fn(f64) -> f64| moments(rows.iter().map(|i| f(numbers[*i])));
                    let (plain, logarithm) = (moments(&|x| x), moments(&signed_log));
                    Part::Number { column, start: width, plain, logarithm }
                }
                Values::Words(words) if of.kind == ColumnKind::Text => {
                    let terms = Terms::fit(&words.labels, rows.iter().map(|i| words.codes[*i]), TERMS_MAX);
                    Part::Text { column, start: width, terms }
                }
                Values::Words(words) => {
                    let mut counts = vec![0u32; words.labels.len()];
                    rows.iter()
                        .map(|i| words.codes[*i])
                        .filter(|c| *c != NONE)
                        .for_each(|c| counts[c as usize] += 1);
                    let words = most_frequent(words.labels.iter().map(String::as_str).zip(counts), FLAGS_MAX);
                    Part::Category { column, start: width, words }
                }
            };
            width += part.width();
            parts.push(part);
        }
        Self { parts, width }
    }

    /// Columns of a vector.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// These rows as vectors.
    pub(super) fn apply(&self, table: &Table, rows: &[usize]) -> Sparse {
        // What a word or a text becomes is the same in all rows that have it.
        let parts: Vec<Vec<Vec<(u32, f32)>>> = self.parts.iter().map(|part| part.of_labels(table)).collect();
        let mut sparse = Sparse { width: self.width, ..Sparse::default() };
        for row in rows {
            for (part, of_labels) in self.parts.iter().zip(&parts) {
                part.append(table, *row, of_labels, &mut sparse);
            }
            sparse.ends.push(sparse.columns.len());
        }
        sparse
    }

    /// True where the parts stand side by side.
    pub(super) fn is_whole(&self) -> bool {
        let mut width = 0;
        let begins = |part: &Part| {
            let start = match part {
                Part::Number { start, .. } | Part::Category { start, .. } => *start,
                Part::Text { start, terms, .. } if terms.is_sound() => *start,
                Part::Text { .. } => return false,
            };
            let here = start == width;
            width += part.width();
            here
        };
        self.parts.iter().all(begins) && width == self.width
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }
}

impl Part {
    fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 3,
            Self::Category { words, .. } => words.len() + 1,
            Self::Text { terms, .. } => terms.len() + 1,
        }
    }

    /// What each distinct word of its column becomes.
    fn of_labels(&self, table: &Table) -> Vec<Vec<(u32, f32)>> {
        let (Self::Category { column, .. } | Self::Text { column, .. }) = self else { return vec![] };
        let Some(found) = table.words(*column) else { return vec![] };
        let of_label = |label: &String| match self {
            Self::Number { .. } => vec![],
            Self::Category { start, words, .. } => {
                let place = words.binary_search(label).unwrap_or(words.len());
                vec![((start + place) as u32, 1.0)]
            }
            Self::Text { start, terms, .. } => {
                let weights = terms.weights(label).into_iter();
                weights.map(|(term, weight)| (*start as u32 + term, weight)).collect()
            }
        };
        found.labels.iter().collect::<Vec<_>>().into_par_iter().map(of_label).collect()
    }

    fn append(&self, table: &Table, row: usize, of_labels: &[Vec<(u32, f32)>], out: &mut Sparse) {
        let mut push = |column: usize, value: f32| {
            if value != 0.0 {
                out.columns.push(column as u32);
                out.values.push(value);
            }
        };
        match self {
            Self::Number { column, start, plain, logarithm } => {
                let x = table.numbers(*column)[row];
                match x.is_finite() {
                    true => {
                        push(*start, standardised(x, plain));
                        push(start + 1, standardised(signed_log(x), logarithm));
                    }
                    false => push(start + 2, 1.0),
                }
            }
            Self::Category { column, start, words } => {
                let code = table.words(*column).map_or(NONE, |words| words.codes[row]);
                match of_labels.get(code as usize) {
                    Some(pairs) => pairs.iter().for_each(|(column, value)| push(*column as usize, *value)),
                    None => push(start + words.len(), 1.0),
                }
            }
            Self::Text { column, start, terms, .. } => {
                let code = table.words(*column).map_or(NONE, |words| words.codes[row]);
                match of_labels.get(code as usize) {
                    Some(pairs) => pairs.iter().for_each(|(column, value)| push(*column as usize, *value)),
                    None => push(start + terms.len(), 1.0),
                }
            }
        }
    }
}

fn signed_log(x: f64) -> f64 {
    x.signum() * x.abs().ln_1p()
}

/// Mean and deviation of what is finite.
fn moments(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let finite = values.filter(|x| x.is_finite());
    let n = finite.clone().count().max(1) as f64;
    let mean = finite.clone().sum::<f64>() / n;
    let variance = finite.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    [mean, if variance > 0.0 { variance.sqrt() } else { 1.0 }]
}

fn standardised(x: f64, [mean, deviation]: &[f64; 2]) -> f32 {
    ((x - mean) / deviation).clamp(-SIZE_MAX, SIZE_MAX) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::supervised::table::{Column, Words};

    fn text(values: &[Option<&str>]) -> Values {
        let mut words = Words::default();
        values.iter().for_each(|value| words.push(*value));
        Values::Words(words)
    }

    #[test]
    fn vectors_are_those_of_the_fitted_rows_whatever_rows_come_later() {
        let column = |name: &str, kind, values| Column { name: name.to_owned(), kind, values };
        let of = |notes: &[Option<&str>], x: &[f64], colors: &[Option<&str>]| Table {
            rows: x.len(),
            columns: vec![
                column("x", ColumnKind::Number, Values::Numbers(x.to_vec())),
                column("color", ColumnKind::Category, text(colors)),
                column("note", ColumnKind::Text, text(notes)),
            ],
        };
        let table = of(
            &[Some("Good shoe, good fit"), Some("good fit"), None, Some("bad shoe")],
            &[1.0, 3.0, f64::NAN, 5.0],
            &[Some("red"), Some("red"), None, Some("blue")],
        );
        let design =
            Design::fit(&table, &[0, 1, 2, 3], &[ColumnKind::Number, ColumnKind::Category, ColumnKind::Text]);
        // x: 3 columns; red and others; fit, good, good fit, shoe and no text.
        assert_eq!((design.parts(), design.width()), (3, 3 + 2 + 5));
        let sparse = design.apply(&table, &[2, 1]);
        assert_eq!(sparse.row(0), (&[2u32, 4, 9][..], &[1.0f32, 1.0, 1.0][..]));
        let (columns, values) = sparse.row(1);
        assert_eq!(columns, &[1, 3, 5, 6, 7]);
        let length: f32 = values[2..].iter().map(|w| w * w).sum();
        assert!((length - 1.0).abs() < 1e-6);
        // The same row beside others, with a word that was never seen.
        let later = of(&[Some("unknown"), Some("good fit")], &[9.0, 3.0], &[Some("green"), Some("red")]);
        let again = design.apply(&later, &[0, 1]);
        assert_eq!(again.row(1), sparse.row(1));
        assert_eq!(again.row(0).0, &[0, 1, 4]);
    }
}
