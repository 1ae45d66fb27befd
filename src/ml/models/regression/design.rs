//! Rows as numbers that can be added and multiplied: standardised, without gaps, words and rare values one by one.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::Saved;
use crate::ml::models::regression::table::Table;
use crate::ml::trees::{ColumnType, Rows};

/// Rows that teach the design.
const SAMPLE_ROWS: usize = 30_000;
/// Most values of a column that each have a column of their own, the most frequent ones.
const OWN_COLUMNS: usize = 32;
/// A number of at most so many values is also taken as a word.
const FEW_VALUES: usize = 14;
/// Standardised numbers beyond this are cut.
const LIMIT: f32 = 5.0;
/// Share of rows that lack a number from which a column tells which.
const MISSING_SHARE: f64 = 0.01;

/// How the columns of a table become columns of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Design {
    columns: Vec<Column>,
}

/// How one column does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Column {
    /// Mean and deviation of a number; none where it does not vary or is a word.
    scale: Option<(f32, f32)>,
    /// Whether a column tells which rows lack it.
    missing: bool,
    /// Values with a column of their own, ascending.
    values: Vec<f32>,
}

impl Design {
    /// Learns from these rows.
    pub(super) fn fit(rows: &Table, control: &Control) -> Result<Self> {
        let (sample, width) = (rows.sample(SAMPLE_ROWS), rows.width());
        let columns = (0..width).into_par_iter().map(|column| {
            let values: Vec<f32> = sample[column..].iter().step_by(width).copied().collect();
            control.check().map(|()| Column::fit(values, rows.types[column]))
        });
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }

    /// Number of columns that come out.
    pub(super) fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// Appends these rows, one after the other.
    pub(super) fn expand(&self, rows: Rows<'_>, out: &mut Vec<f32>) {
        for row in rows.values.chunks_exact(rows.width.max(1)) {
            self.columns.iter().zip(row).for_each(|(column, x)| column.expand(*x, out));
        }
    }

    /// Adds the design to a model on its way into a file.
    pub(super) fn save(&self, saved: Saved) -> Result<Saved> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
        Ok(saved.with("design", vec![bytes.len()], Data::U8(bytes)))
    }

    /// What [`Design::save`] wrote, for rows of so many columns.
    pub(super) fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let corrupt = |why: String| container::corrupt(format!("its design cannot be read: {why}"));
        let design: Self =
            serde_json::from_slice(&stored.u8("design")?).map_err(|e| corrupt(e.to_string()))?;
        match design.columns.len() == columns {
            true => Ok(design),
            false => Err(corrupt(format!("{} of {columns} columns", design.columns.len()))),
        }
    }
}

impl Column {
    fn fit(values: Vec<f32>, kind: ColumnType) -> Self {
        let n = values.len();
        let mut present: Vec<f32> = values.into_iter().filter(|x| x.is_finite()).collect();
        present.sort_unstable_by(f32::total_cmp);
        let mut counts: Vec<(f32, usize)> = Vec::new();
        for x in &present {
            match counts.last_mut() {
                Some((last, n)) if last == x => *n += 1,
                _ => counts.push((*x, 1)),
            }
        }
        let lacking = (n - present.len()) as f64;
        let missing = lacking > MISSING_SHARE * n as f64 && lacking < (1.0 - MISSING_SHARE) * n as f64;
        let few = (3..=FEW_VALUES).contains(&counts.len());
        if matches!(kind, ColumnType::Number) && !few {
            return Self { scale: scale(&present), missing, values: Vec::new() };
        }
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        counts.truncate(OWN_COLUMNS);
        let mut values: Vec<f32> = counts.into_iter().map(|(x, _)| x).collect();
        values.sort_unstable_by(f32::total_cmp);
        match kind {
            ColumnType::Number => Self { scale: scale(&present), missing, values },
            ColumnType::Category => Self { scale: None, missing: false, values },
        }
    }

    fn width(&self) -> usize {
        usize::from(self.scale.is_some()) + usize::from(self.missing) + self.values.len()
    }

    fn expand(&self, x: f32, out: &mut Vec<f32>) {
        let there = x.is_finite();
        if let Some((mean, deviation)) = self.scale {
            out.push(if there { ((x - mean) / deviation).clamp(-LIMIT, LIMIT) } else { 0.0 });
        }
        if self.missing {
            out.push(f32::from(u8::from(!there)));
        }
        out.extend(self.values.iter().map(|value| f32::from(u8::from(*value == x))));
    }
}

/// Mean and deviation; none where the numbers do not vary.
fn scale(values: &[f32]) -> Option<(f32, f32)> {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let deviation = variance.sqrt();
    (deviation > 1e-6 * mean.abs().max(1e-6)).then_some((mean as f32, deviation as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standardised_gaps_are_means_and_words_stand_one_by_one() {
        let nan = f32::NAN;
        let mut rows = Table::new(vec![ColumnType::Number, ColumnType::Category, ColumnType::Number]);
        for i in 0..100 {
            let number = if i % 10 == 9 { nan } else { i as f32 };
            rows.values.extend([number, (i % 2) as f32 + 4.0, 7.0]);
            rows.targets.push(0.0);
        }
        let design = Design::fit(&rows, &Control::default()).unwrap();
        assert_eq!(design.width(), 4);
        let expand = |row: [f32; 3]| {
            let mut out = Vec::new();
            design.expand(Rows { values: &row, width: 3 }, &mut out);
            out
        };
        assert_eq!(expand([nan, 5.0, 7.0]), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(expand([1e9, 0.0, nan]), [LIMIT, 0.0, 0.0, 0.0]);
        let mut all = Vec::new();
        design.expand(rows.rows(), &mut all);
        let square: f32 = all.chunks_exact(4).map(|row| row[0] * row[0]).sum();
        assert!((square / 90.0 - 1.0).abs() < 1e-4, "{square}");
    }
}
