//! The words of events that a network knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ml::sequence::events::{EventColumn, Events};

/// The code of an event that is not known.
pub(super) const UNKNOWN: u32 = 0;
/// The code of an event that is hidden.
pub(super) const HIDDEN: u32 = 1;
/// The code of the first word.
pub(super) const FIRST: u32 = 2;
/// Words of a column beside the events.
const BESIDE_MAX: usize = 1_000;

/// The words of every column, the most frequent ones first; their codes count on from those of what is unknown and hidden.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Vocabulary {
    columns: Vec<Vec<String>>,
}

impl Vocabulary {
    /// The words of these events: of what is told all up to `most`, of each other column the most frequent ones.
    pub fn of(events: &Events, most: usize) -> Self {
        let words = |(column, most): (&EventColumn, usize)| {
            let mut counts = vec![0usize; column.labels.len()];
            for code in &column.codes {
                if let Some(count) = counts.get_mut(*code as usize) {
                    *count += 1;
                }
            }
            let mut found: Vec<(&String, usize)> = column.labels.iter().zip(counts).collect();
            found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            found.into_iter().take(most).map(|(word, _)| word.clone()).collect()
        };
        let limits = std::iter::once(most).chain(std::iter::repeat(BESIDE_MAX));
        Self { columns: events.columns.iter().zip(limits).map(words).collect() }
    }

    /// What may be told.
    pub fn classes(&self) -> &[String] {
        self.columns.first().map_or(&[], Vec::as_slice)
    }

    /// Codes of every column, those of what is unknown and hidden included.
    pub fn sizes(&self) -> Vec<usize> {
        self.columns.iter().map(|words| words.len() + FIRST as usize).collect()
    }

    /// The codes of all events, by column.
    pub(super) fn encode(&self, events: &Events) -> Vec<Vec<u32>> {
        let codes = |(words, column): (&Vec<String>, &EventColumn)| {
            let places: BTreeMap<&str, u32> = words.iter().map(String::as_str).zip(FIRST..).collect();
            let known: Vec<u32> =
                column.labels.iter().map(|l| places.get(l.as_str()).copied().unwrap_or(UNKNOWN)).collect();
            column.codes.iter().map(|code| known.get(*code as usize).copied().unwrap_or(UNKNOWN)).collect()
        };
        self.columns.iter().zip(&events.columns).map(codes).collect()
    }
}
