//! Columns of covariates on their way into a panel.

use std::collections::HashMap;

use crate::ml::series::panel::{Covariate, MISSING, Values};

/// The type of a covariate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Numbers.
    Number,
    /// Words.
    Category,
    /// Texts, of which a series has the last one.
    Text,
}

/// A covariate's name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The user's column name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
}

/// Values of a covariate for a run of rows.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// Numbers; NaN is NULL.
    Number(&'a [f32]),
    /// Words.
    Text(&'a [Option<&'a str>]),
    /// Indexes into words; `u32::MAX` is NULL.
    Coded {
        /// One per row.
        codes: &'a [u32],
        /// The words.
        labels: &'a [&'a str],
    },
}

impl Column<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Number(numbers) => numbers.len(),
            Self::Text(words) => words.len(),
            Self::Coded { codes, .. } => codes.len(),
        }
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A growing column with one vocabulary.
#[derive(Debug)]
pub(super) struct ColumnStore {
    name: String,
    kind: ColumnKind,
    values: Values,
    index: HashMap<String, u32>,
}

impl ColumnStore {
    pub(super) fn new(spec: &ColumnSpec) -> Self {
        let values = match spec.kind {
            ColumnKind::Number => Values::Number(Vec::new()),
            ColumnKind::Category | ColumnKind::Text => {
                Values::Category { codes: Vec::new(), labels: Vec::new() }
            }
        };
        Self { name: spec.name.clone(), kind: spec.kind, values, index: HashMap::new() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.bytes() + self.index.len() * 64
    }

    pub(super) fn into_covariate(self) -> Covariate {
        Covariate { name: self.name, values: self.values }
    }

    /// Appends a run; fails with the row of the first infinite number.
    pub(super) fn append(&mut self, column: &Column<'_>) -> Result<(), usize> {
        match column {
            Column::Number(new) => {
                if let Some(row) = infinite_row(new) {
                    return Err(row);
                }
                match &mut self.values {
                    Values::Number(numbers) => numbers.extend_from_slice(new),
                    Values::Category { codes, .. } => codes.extend(new.iter().map(|_| MISSING)),
                }
            }
            Column::Text(words) => self.append_words(words),
            Column::Coded { codes, labels } => self.append_codes(codes, labels),
        }
        Ok(())
    }

    fn append_words(&mut self, words: &[Option<&str>]) {
        let mut last: Option<(&str, u32)> = None;
        for word in words {
            let code = match (word, last) {
                (None, _) => MISSING,
                (Some(word), Some((before, code))) if *word == before => code,
                (Some(word), _) => self.code_of(word),
            };
            last = word.map(|w| (w, code));
            self.push_code(code);
        }
    }

    fn append_codes(&mut self, new: &[u32], labels: &[&str]) {
        let mut map = vec![MISSING; labels.len()];
        for code in new {
            let Some(label) = labels.get(*code as usize) else {
                self.push_code(MISSING);
                continue;
            };
            if map[*code as usize] == MISSING {
                map[*code as usize] = self.code_of(label);
            }
            self.push_code(map[*code as usize]);
        }
    }

    fn push_code(&mut self, code: u32) {
        match &mut self.values {
            Values::Category { codes, .. } => codes.push(code),
            Values::Number(numbers) => numbers.push(f32::NAN),
        }
    }

    fn code_of(&mut self, word: &str) -> u32 {
        let Values::Category { labels, .. } = &mut self.values else { return MISSING };
        if let Some(code) = self.index.get(word) {
            return *code;
        }
        let code = labels.len() as u32;
        labels.push(word.to_owned());
        self.index.insert(word.to_owned(), code);
        code
    }

    /// Appends one missing value.
    pub(super) fn push_missing(&mut self) {
        self.push_code(MISSING);
    }

    /// Makes the run's value the last one; fails with both when they differ.
    pub(super) fn merge_last(&mut self, column: &Column<'_>) -> Result<(), (String, String)> {
        match column {
            Column::Number(new) => self.merge_numbers(new),
            Column::Text(words) => words.iter().flatten().try_for_each(|word| self.merge_word(word)),
            Column::Coded { codes, labels } => {
                let mut last = MISSING;
                for code in codes.iter().filter(|c| (**c as usize) < labels.len()) {
                    if *code != last {
                        self.merge_word(labels[*code as usize])?;
                        last = *code;
                    }
                }
                Ok(())
            }
        }
    }

    fn merge_numbers(&mut self, new: &[f32]) -> Result<(), (String, String)> {
        let Values::Number(numbers) = &mut self.values else { return Ok(()) };
        let Some(last) = numbers.last_mut() else { return Ok(()) };
        for value in new.iter().filter(|v| v.is_finite()) {
            if last.is_nan() {
                *last = *value;
            } else if *last != *value {
                return Err((last.to_string(), value.to_string()));
            }
        }
        Ok(())
    }

    fn merge_word(&mut self, word: &str) -> Result<(), (String, String)> {
        if let Values::Category { codes, labels } = &self.values
            && let Some(before) = codes.last().and_then(|c| labels.get(*c as usize))
            && (before == word || self.kind != ColumnKind::Text)
        {
            return if before == word { Ok(()) } else { Err((before.clone(), word.to_owned())) };
        }
        let code = self.code_of(word);
        if let Values::Category { codes, .. } = &mut self.values
            && let Some(last) = codes.last_mut()
        {
            *last = code;
        }
        Ok(())
    }
}

fn infinite_row(numbers: &[f32]) -> Option<usize> {
    let any = numbers.iter().fold(false, |any, v| any | v.is_infinite());
    any.then(|| numbers.iter().position(|v| v.is_infinite())).flatten()
}
