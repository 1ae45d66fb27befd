//! The memory of a training, told and set aside before it fits.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};

use super::Job;
use crate::error::{Error, ErrorKind, Subject};
use crate::ml::forecaster::{FitEstimate, FitOptions};
use crate::ml::models;
use crate::ml::series::{Panel, PanelBuilder};

/// Bytes of a text in a row: where it begins, and its words, which are mostly short.
const TEXT_BYTES: usize = 16;
/// Copies of the rows that a sort holds at its end: those that came, and the sorted ones.
const SORTED_COPIES: usize = 2;

/// Bytes that the reading of some rows took: their sort, which writes to disk what does not fit the pool, and the columns
/// that they were collected in.
pub fn reading_bytes(schema: &Schema, builder: &PanelBuilder, pool: &dyn MemoryPool) -> usize {
    let width = |data_type: &DataType| match data_type {
        DataType::Boolean => 1,
        other => other.primitive_width().unwrap_or(TEXT_BYTES),
    };
    let row: usize = schema.fields().iter().map(|field| width(field.data_type())).sum();
    let sorted = SORTED_COPIES * builder.len() * row;
    let sorted = match pool.memory_limit() {
        MemoryLimit::Finite(limit) => sorted.min(limit),
        _ => sorted,
    };
    sorted + builder.bytes()
}

/// Bytes that a process may hold beside a quarter more than the memory limit: the binary, and what its allocator keeps.
const UNCOUNTED_BYTES: usize = 200 << 20;

/// Bytes of the two parts of a training, which follow each other.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    reading: usize,
    fit: usize,
}

impl Needs {
    /// Those of a job: of the rows that were read, `reading`; of the fit to this panel what is estimated, the panel, and
    /// what a teacher tells.
    pub fn new(
        job: &Job,
        (panel, options): (&Panel, &FitOptions),
        estimate: &FitEstimate,
        reading: usize,
    ) -> Self {
        let taught = if job.options.distills() { models::taught_bytes(panel, options) } else { 0 };
        Self { reading, fit: panel.bytes() + estimate.memory_bytes + taught }
    }

    /// The most at any time.
    pub fn peak(self) -> usize {
        self.reading.max(self.fit) + self.kept()
    }

    /// What the fit is to set aside, of which a process may hold a quarter more, and what is not counted; the reading, which
    /// is over, had set aside its own.
    pub fn of_fit(self) -> usize {
        self.fit.max((self.fit + self.kept()).saturating_sub(UNCOUNTED_BYTES)) / 5 * 4
    }

    /// What one part leaves to the other: about half of its memory is in pages that the allocator cannot give back at once.
    fn kept(self) -> usize {
        self.reading.min(self.fit) / 2
    }
}

/// The error for a fit that needs more memory than there is.
pub fn too_little_memory(needed: usize) -> Error {
    let needed = needed.div_ceil(1 << 20);
    Error::new(
        ErrorKind::Unavailable,
        Subject::Memory,
        format!("training needs about {needed} MiB, more than the memory limit leaves"),
    )
    .with_hint("raise --memory-limit, lower batch_size or dim in WITH (…), or train on fewer series")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_part_counts_and_half_of_the_other() {
        assert_eq!(Needs { reading: 100, fit: 30 }.peak(), 115);
        assert_eq!(Needs { reading: 30, fit: 100 }.peak(), 115);
    }

    #[test]
    fn a_fit_sets_aside_what_keeps_the_process_to_its_limit() {
        assert_eq!(Needs { reading: 100, fit: 50 }.of_fit(), 40);
        let mib = |needs: Needs| needs.of_fit() >> 20;
        assert_eq!(mib(Needs { reading: 400 << 20, fit: 600 << 20 }), 480);
        assert_eq!(mib(Needs { reading: 900 << 20, fit: 800 << 20 }), 800);
    }
}
