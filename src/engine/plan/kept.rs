//! Where a long pretraining stands, kept on disk until it is published, so that the same statement goes on there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::engine::query::QueryContext;
use crate::engine::shared::Engine;
use crate::error::{ErrorKind, Result};
use crate::ml::forecaster::EpochLog;
use crate::ml::training::Checkpoint;

/// Tells the rows of some streams from others, whatever the order in which the rows of each come.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint {
    sum: Arc<AtomicU64>,
    streams: Arc<AtomicU64>,
}

impl Fingerprint {
    /// The next stream, whose rows count.
    pub fn watch(&self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let (sum, schema) = (Arc::clone(&self.sum), rows.schema());
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let rows = rows.map(move |batch| {
            let batch = batch?;
            sum.fetch_add(sum_of_hashes(&batch, stream)?, Ordering::Relaxed);
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// The sum over rows of a hash of all values and their places.
fn sum_of_hashes(batch: &RecordBatch, stream: u64) -> DfResult<u64> {
    let mut rows = vec![stream; batch.num_rows()];
    for column in batch.columns() {
        // Of a missing value it stays 0.
        let mut hashes = vec![0; rows.len()];
        create_hashes([column], &QualityRandomState::with_seed(0), &mut hashes)?;
        let mixed = |row: u64, hash: u64| (row.rotate_left(23) ^ hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        rows.iter_mut().zip(hashes).for_each(|(row, hash)| *row = mixed(*row, hash));
    }
    // A step further on, so that no sum of zeros hides a row.
    Ok(rows.into_iter().fold(0, |sum: u64, row| sum.wrapping_add(row | 1)))
}

/// A notice where the seconds of a pretraining were over before all its steps were made.
pub fn tell_cut(log: &[EpochLog], (wanted, max_seconds): (usize, Option<f64>), query: &QueryContext) {
    let steps = log.last().map_or(0, |line| line.step);
    if max_seconds.is_some() && steps < wanted {
        query.notice(format!("max_seconds ended it after {steps} of {wanted} steps"));
    }
}

/// The checkpoints of one pretraining.
pub struct Checkpoints {
    engine: Arc<Engine>,
    key: String,
}

impl Checkpoints {
    /// Those of a statement over these rows, and of what it begins with: of other rows, or another network, none fits.
    pub fn new(engine: &Arc<Engine>, text: &str, rows: &Fingerprint, began: &str) -> Self {
        let rows = rows.sum.load(Ordering::Relaxed);
        let key = format!("{text} {rows:x} {began} {}", env!("CARGO_PKG_VERSION"));
        Self { engine: Arc::clone(engine), key }
    }

    /// The last one, of which the user is told.
    pub fn last(&self, query: &QueryContext) -> Result<Option<Checkpoint>> {
        let kept = match self.engine.registry.checkpoint(&self.key) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                query.notice(format!("{}: the pretraining begins anew", error.message()));
                None
            }
            kept => kept?,
        };
        let last = kept.and_then(|bytes| Checkpoint::from_bytes(&bytes).ok());
        if let Some(checkpoint) = &last {
            query
                .notice(format!("goes on from step {} of the pretraining that was stopped", checkpoint.step));
        }
        Ok(last)
    }

    /// Keeps one in the place of the last one.
    pub fn keep(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.engine.registry.keep_checkpoint(&self.key, &checkpoint.to_bytes()?)
    }

    /// Removes it.
    pub fn forget(&self) -> Result<()> {
        self.engine.registry.forget_checkpoint(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::physical_plan::memory::MemoryStream;

    use super::*;

    type Part<'a> = &'a [(Option<&'a str>, Option<&'a str>)];

    async fn fingerprint(streams: &[&[Part<'_>]]) -> u64 {
        let seen = Fingerprint::default();
        for parts in streams {
            let batch = |part: &Part<'_>| {
                let [a, b] = [
                    part.iter().map(|row| row.0).collect(),
                    part.iter().map(|row| row.1).collect::<StringArray>(),
                ];
                RecordBatch::try_from_iter([("a", Arc::new(a) as _), ("b", Arc::new(b) as _)]).unwrap()
            };
            let batches: Vec<RecordBatch> = parts.iter().map(batch).collect();
            let (schema, count) = (batches[0].schema(), batches.len());
            let stream = MemoryStream::try_new(batches, schema, None).unwrap();
            assert_eq!(seen.watch(Box::pin(stream)).count().await, count);
        }
        seen.sum.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn rows_are_told_apart_and_their_order_is_not() {
        let (a, b, c) = ((Some("a"), Some("1")), (Some("b"), None), (None, None));
        let whole = fingerprint(&[&[&[a, b, c]]]).await;
        assert_eq!(whole, fingerprint(&[&[&[c], &[b, a]]]).await);
        for other in [
            &[a, b][..],
            &[a, b, c, c],
            &[a, (None, Some("b")), c],
            &[(Some("1"), Some("a")), b, c],
            &[(Some("a"), None), (Some("b"), Some("1")), c],
        ] {
            assert_ne!(whole, fingerprint(&[&[other]]).await);
        }
        let apart = fingerprint(&[&[&[a]], &[&[b]]]).await;
        assert_ne!(apart, fingerprint(&[&[&[b]], &[&[a]]]).await);
        assert_ne!(apart, fingerprint(&[&[&[a, b]]]).await);
    }
}
