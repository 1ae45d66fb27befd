//! Rows that are sorted by keys and time as sequences of events.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{concat, partition, take};
use datafusion::arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::ml::sequence::Events;

/// Sequences while they are read.
#[derive(Debug)]
pub struct Sequences {
    keys: usize,
    columns: usize,
    events: Events,
    /// The keys of every sequence, one row each, by sequence.
    told: Vec<Vec<ArrayRef>>,
    /// There is a sequence whose end was not seen.
    open: bool,
}

impl Sequences {
    /// Nothing yet, of batches of so many columns: keys, time, the events, and what is told beside them.
    pub fn new(keys: usize, columns: usize) -> Self {
        Self { keys, columns, events: Events::new(columns - keys - 1), told: vec![], open: false }
    }

    /// Whole sequences so far.
    pub fn whole(&self) -> usize {
        self.events.len()
    }

    /// Adds rows; tells how many have no event and are left out.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<usize> {
        let keys = &batch.columns()[..self.keys];
        let ranges = match keys {
            [] => std::iter::once(0..batch.num_rows()).collect(),
            keys => partition(keys).map_err(internal)?.ranges(),
        };
        let columns: Vec<_> = batch.columns()[self.keys + 1..self.columns]
            .iter()
            .map(|column| column.as_string::<i32>())
            .collect();
        let mut skipped = 0;
        for range in ranges {
            let first = UInt32Array::from(vec![range.start as u32]);
            let own: Vec<ArrayRef> =
                keys.iter().map(|key| take(key, &first, None)).collect::<Result<_, _>>().map_err(internal)?;
            if !self.open || self.told.last() != Some(&own) {
                self.close();
                self.told.push(own);
                self.open = true;
            }
            for row in range {
                if columns[0].is_null(row) {
                    skipped += 1;
                    continue;
                }
                for (into, column) in self.events.columns.iter_mut().zip(&columns) {
                    into.push(column.is_valid(row).then(|| column.value(row)));
                }
            }
        }
        Ok(skipped)
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.events.ends.push(self.events.columns[0].codes.len());
        }
    }

    /// All sequences, and their keys, an array for each.
    pub fn finish(mut self) -> Result<(Events, Vec<ArrayRef>)> {
        self.close();
        let key = |n: usize| {
            let all: Vec<&dyn Array> = self.told.iter().map(|keys| keys[n].as_ref()).collect();
            concat(&all).map_err(internal)
        };
        let keys = match self.told.is_empty() {
            true => vec![],
            false => (0..self.keys).map(key).collect::<Result<_>>()?,
        };
        Ok((self.events, keys))
    }

    /// The whole sequences, leaving the one whose end was not seen.
    pub fn take_whole(&mut self) -> Result<(Events, Vec<ArrayRef>)> {
        let fresh = Self::new(self.keys, self.columns);
        let mut taken = std::mem::replace(self, fresh);
        if taken.open {
            taken.open = false;
            let from = taken.events.ends.last().copied().unwrap_or(0);
            for (into, column) in self.events.columns.iter_mut().zip(&mut taken.events.columns) {
                (from..column.codes.len()).for_each(|event| into.push(column.word(event)));
                column.codes.truncate(from);
            }
            self.told.extend(taken.told.pop());
            self.open = true;
        }
        taken.finish()
    }
}

fn internal(e: ArrowError) -> Error {
    Error::internal(e.to_string())
}
