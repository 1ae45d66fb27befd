//! The memory of rows that are kept, taken from the pool that all statements share.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::StreamExt;

/// What the batches that somebody keeps take, for as long as this lives; buffers that several of them share count once.
#[derive(Debug)]
pub struct RowMemory {
    reservation: MemoryReservation,
    counted: RecordBatchMemoryCounter,
}

impl RowMemory {
    /// Memory of this pool for rows that messages call `name`.
    pub fn new(name: &str, pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new(name).register(pool);
        Self { reservation, counted: RecordBatchMemoryCounter::new() }
    }

    /// Takes what one more batch needs; fails where the pool has not as much left.
    pub fn hold(&mut self, batch: &RecordBatch) -> Result<()> {
        self.reservation.try_grow(self.counted.count_batch(batch))
    }

    /// As [`Self::hold`], and as much again for what will be made of the batch.
    pub fn hold_twice(&mut self, batch: &RecordBatch) -> Result<()> {
        self.reservation.try_grow(self.counted.count_batch(batch).saturating_mul(2))
    }

    /// All rows of a stream, held as they come.
    pub async fn collect(&mut self, mut rows: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        while let Some(batch) = rows.next().await.transpose()? {
            self.hold(&batch)?;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Takes over what another one holds of these batches.
    pub fn take_over(&mut self, other: Self, batches: &[RecordBatch]) {
        let counted = &mut self.counted;
        let bytes: usize = batches.iter().map(|batch| counted.count_batch(batch)).sum();
        // Nobody else gets it in between.
        self.reservation.grow(bytes);
        drop(other);
    }

    /// These batches are kept and no others; fails where they need more than the pool has left.
    pub fn try_keep_only(&mut self, batches: &[RecordBatch]) -> Result<()> {
        self.count_only(batches);
        self.reservation.try_resize(self.counted.memory_usage())
    }

    /// As [`Self::try_keep_only`], of rows that are there and have to stay.
    pub fn keep_only(&mut self, batches: &[RecordBatch]) {
        self.count_only(batches);
        self.reservation.resize(self.counted.memory_usage());
    }

    fn count_only(&mut self, batches: &[RecordBatch]) {
        self.counted = RecordBatchMemoryCounter::new();
        for batch in batches {
            self.counted.count_batch(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn rows(count: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn shared_buffers_count_once_and_all_is_given_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100_000));
        let mut memory = RowMemory::new("rows", &pool);
        let batch = rows(1_000);
        memory.hold(&batch).unwrap();
        let once = pool.reserved();
        assert!((8_000..9_000).contains(&once), "{once}");
        memory.hold(&batch.slice(10, 20)).unwrap();
        assert_eq!(pool.reserved(), once);
        assert!(memory.hold(&rows(20_000)).is_err());
        memory.keep_only(&[]);
        assert_eq!(pool.reserved(), 0);
        let mut other = RowMemory::new("others", &pool);
        other.hold_twice(&batch).unwrap();
        assert_eq!(pool.reserved(), 2 * once);
        memory.take_over(other, std::slice::from_ref(&batch));
        assert_eq!(pool.reserved(), once);
        drop(memory);
        assert_eq!(pool.reserved(), 0);
    }
}
