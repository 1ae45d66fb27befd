//! Texts as the words and pairs of words that they have, weighted by how rare these are.

use std::collections::{BTreeMap, HashMap};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

/// Rows in which a word must occur.
const ROWS_MIN: u32 = 2;

/// The words and pairs of words of some texts (Salton and Buckley 1988).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Words and pairs, ascending.
    terms: Vec<String>,
    /// The logarithm of how rare each of them is.
    rareness: Vec<f32>,
}

impl Terms {
    /// Those of the most rows, `most` of them; `codes` tells the text of every row by its place among `labels`, where it has
    /// one.
    pub fn fit(labels: &[String], codes: impl Iterator<Item = u32>, most: usize) -> Self {
        let (mut uses, mut rows) = (vec![0u32; labels.len()], 0u32);
        for code in codes {
            rows += 1;
            if let Some(uses) = uses.get_mut(code as usize) {
                *uses += 1;
            }
        }
        let mut in_rows: HashMap<String, u32> = HashMap::new();
        let counted: Vec<BTreeMap<String, u32>> = (0..labels.len())
            .into_par_iter()
            .map(|i| if uses[i] > 0 { counts(&labels[i]) } else { BTreeMap::new() })
            .collect();
        for (terms, uses) in counted.into_iter().zip(&uses) {
            for term in terms.into_keys() {
                *in_rows.entry(term).or_default() += uses;
            }
        }
        let terms = most_frequent(in_rows.iter().map(|(term, n)| (term.as_str(), *n)), most);
        let rareness = terms
            .iter()
            .map(|term| ((1.0 + f64::from(rows)) / (1.0 + f64::from(in_rows[term]))).ln() as f32 + 1.0);
        let rareness = rareness.collect();
        Self { terms, rareness }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// True where what was read can be what was learnt.
    pub fn is_sound(&self) -> bool {
        self.terms.len() == self.rareness.len()
    }

    /// Places and weights of the terms of a text, of length 1 together.
    pub fn weights(&self, text: &str) -> Vec<(u32, f32)> {
        let mut found: Vec<(u32, f32)> = counts(text)
            .into_iter()
            .filter_map(|(term, n)| {
                let place = self.terms.binary_search(&term).ok()?;
                Some((place as u32, (1.0 + (n as f32).ln()) * self.rareness[place]))
            })
            .collect();
        let length = found.iter().map(|(_, w)| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt();
        found.iter_mut().for_each(|(_, w)| *w = (f64::from(*w) / length) as f32);
        found
    }
}

/// The words with the most rows, at least two each, in ascending order.
pub fn most_frequent<'a>(words: impl Iterator<Item = (&'a str, u32)>, most: usize) -> Vec<String> {
    let mut found: Vec<(&str, u32)> = words.filter(|(_, n)| *n >= ROWS_MIN).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut words: Vec<String> = found.into_iter().take(most).map(|(word, _)| word.to_owned()).collect();
    words.sort_unstable();
    words
}

/// The words of a text in small letters; apostrophes stay within them.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    parts.map(|word| word.trim_matches('\'')).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// How often each word and each pair of neighbours is in a text.
fn counts(text: &str) -> BTreeMap<String, u32> {
    let words = words(text);
    let mut counts = BTreeMap::new();
    for pair in words.windows(2) {
        *counts.entry(format!("{} {}", pair[0], pair[1])).or_default() += 1;
    }
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
}
