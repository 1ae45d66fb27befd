//! Rows to learn from: columns of numbers, of words and of texts, and what is to be told of each row.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The code of a word that is missing.
pub const NONE: u32 = u32::MAX;

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// A number.
    Number,
    /// One of a few words.
    Category,
    /// A text of many words.
    Text,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it is read as.
    pub kind: ColumnKind,
    /// Its values.
    pub values: Values,
}

/// Values of a column, one for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN where there is none.
    Numbers(Vec<f64>),
    /// Words or texts.
    Words(Words),
}

/// Words by their places among the distinct ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Words {
    /// Places, `u32::MAX` where there is no word.
    pub codes: Vec<u32>,
    /// The distinct words.
    pub labels: Vec<String>,
    places: HashMap<String, u32>,
}

impl Words {
    /// Adds the word of a row.
    pub fn push(&mut self, word: Option<&str>) {
        let code = match word {
            None => NONE,
            Some(word) => match self.places.get(word) {
                Some(code) => *code,
                None => {
                    let code = self.labels.len() as u32;
                    self.labels.push(word.to_owned());
                    self.places.insert(word.to_owned(), code);
                    code
                }
            },
        };
        self.codes.push(code);
    }

    /// The word of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.labels.get(self.codes[row] as usize).map(String::as_str)
    }
}

/// Columns of some rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: usize,
}

impl Table {
    /// Numbers of a column.
    pub fn numbers(&self, column: usize) -> &[f64] {
        match self.columns.get(column).map(|column| &column.values) {
            Some(Values::Numbers(numbers)) => numbers,
            _ => &[],
        }
    }

    /// Words of a column.
    pub fn words(&self, column: usize) -> Option<&Words> {
        match self.columns.get(column).map(|column| &column.values) {
            Some(Values::Words(words)) => Some(words),
            _ => None,
        }
    }

    /// Places of the columns of a kind.
    pub fn of_kind(&self, kind: ColumnKind) -> Vec<usize> {
        (0..self.columns.len()).filter(|i| self.columns[*i].kind == kind).collect()
    }

    /// The texts of a row as one.
    pub fn text(&self, row: usize) -> String {
        let texts = self.of_kind(ColumnKind::Text).into_iter();
        let texts: Vec<&str> = texts.filter_map(|column| self.words(column)?.get(row)).collect();
        texts.join(". ")
    }
}

/// What is to be told of each row: a class's place, or a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Places of classes.
    Classes(Vec<u32>),
    /// Numbers.
    Numbers(Vec<f64>),
}

impl Target {
    /// Rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target of these rows.
    pub fn of(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes(classes) => Self::Classes(rows.iter().map(|i| classes[*i]).collect()),
            Self::Numbers(numbers) => Self::Numbers(rows.iter().map(|i| numbers[*i]).collect()),
        }
    }

    /// Mean and deviation of numbers, the unit that they are learnt in.
    pub(super) fn unit(&self) -> [f64; 2] {
        let Self::Numbers(numbers) = self else { return [0.0, 1.0] };
        let n = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let variance = numbers.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / n;
        [mean, if variance > 0.0 { variance.sqrt() } else { 1.0 }]
    }

    /// What an output is to be: 1 for the rows of a class and 0 for others, or the numbers.
    pub fn output(&self, output: usize) -> Vec<f64> {
        match self {
            Self::Classes(classes) => {
                classes.iter().map(|class| f64::from(u8::from(*class as usize == output))).collect()
            }
            Self::Numbers(numbers) => numbers.clone(),
        }
    }
}
