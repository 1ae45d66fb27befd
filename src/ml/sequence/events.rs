//! Events of many sequences, in the words of their columns.

use std::collections::HashMap;

/// The words of one column of all events, each distinct one once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventColumn {
    /// Distinct words, in the order of their first event.
    pub labels: Vec<String>,
    /// By event the place of its word; `u32::MAX` where it has none.
    pub codes: Vec<u32>,
    places: HashMap<String, u32>,
}

impl EventColumn {
    /// Adds the word of one more event.
    pub fn push(&mut self, word: Option<&str>) {
        let code = match word {
            None => u32::MAX,
            Some(word) => match self.places.get(word) {
                Some(place) => *place,
                None => {
                    let place = self.labels.len() as u32;
                    self.labels.push(word.to_owned());
                    self.places.insert(word.to_owned(), place);
                    place
                }
            },
        };
        self.codes.push(code);
    }

    /// The word of an event.
    pub fn word(&self, event: usize) -> Option<&str> {
        self.labels.get(self.codes[event] as usize).map(String::as_str)
    }
}

/// Sequences of events, one after the other, each in the order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Events {
    /// Where each sequence ends.
    pub ends: Vec<usize>,
    /// What is told, and what is told by, first the events themselves.
    pub columns: Vec<EventColumn>,
}

impl Events {
    /// Sequences without events, of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { ends: vec![], columns: vec![EventColumn::default(); columns] }
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Some of the sequences, which share their words.
    pub fn part(&self, sequences: std::ops::Range<usize>) -> Self {
        let first = self.of(sequences.start).start;
        let ends: Vec<usize> = self.ends[sequences].iter().map(|end| end - first).collect();
        let events = first..first + ends.last().copied().unwrap_or(0);
        let column = |column: &EventColumn| EventColumn {
            labels: column.labels.clone(),
            codes: column.codes[events.clone()].to_vec(),
            places: HashMap::new(),
        };
        Self { ends, columns: self.columns.iter().map(column).collect() }
    }

    /// The events of a sequence.
    pub fn of(&self, sequence: usize) -> std::ops::Range<usize> {
        let start = if sequence == 0 { 0 } else { self.ends[sequence - 1] };
        start..self.ends[sequence]
    }
}
