//! The memory that statements share. DataFusion's fair pool believes what consumers tell, and lets those that can spill
//! take all of it, so that what stands above a sort finds nothing; this one does neither.

use std::fmt;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};
use parking_lot::Mutex;

/// How the last stages of aggregates are called.
const FINAL_STAGE: &str = "FinalHashAggregateStream[";

/// One of so many parts of the pool is not for those that can spill.
const UNSPILLABLE_SHARE: usize = 4;

/// Merges of sorted runs may have one of so many parts each; what they take beyond, to merge more runs at once, must
/// leave as much free as those that can spill do.
const MERGE_SHARE: usize = 4;

/// Where others still hold more than their shares, who can spill may have one of so many parts of its own.
const LEAST_SHARE: usize = 4;

/// Where so much is free, the last stage of an aggregate may have it whatever its share: what it has spilled, it reads
/// again into a table that cannot spill, of two blocks of texts and what waits to go out.
const FINAL_BYTES: usize = 16 << 20;

/// Memory that those who can spill share evenly, and of which others take what is left.
#[derive(Debug)]
pub struct StatementPool {
    limit: usize,
    taken: Mutex<Taken>,
}

/// Bytes that are held, by consumers that can spill and by others.
#[derive(Debug, Default)]
struct Taken {
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl Taken {
    fn of(&mut self, consumer: &MemoryConsumer) -> &mut usize {
        if consumer.can_spill() { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl StatementPool {
    /// A pool of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Mutex::default() }
    }

    /// The most that a consumer may take beside the `held` bytes it has, if it wants `more`.
    fn left(&self, taken: &Taken, consumer: &MemoryConsumer, held: usize, more: usize) -> usize {
        let free = self.limit / UNSPILLABLE_SHARE;
        if consumer.can_spill() {
            let all = self.limit.saturating_sub(taken.unspillable.max(free));
            let share = all / taken.spillers.max(1);
            // Who holds nothing could only fail.
            let least = if held == 0 { share } else { share / LEAST_SHARE };
            let rest = all.saturating_sub(taken.spillable);
            let few = if consumer.name().starts_with(FINAL_STAGE) { FINAL_BYTES } else { 0 };
            let even = share.saturating_sub(held).min(rest.max(least.saturating_sub(held)));
            return even.max(few.saturating_sub(held).min(rest));
        }
        let left = self.limit.saturating_sub(taken.spillable.saturating_add(taken.unspillable));
        let many_runs = consumer.name().starts_with("ExternalSorterMerge[")
            && held.saturating_add(more) > self.limit / MERGE_SHARE;
        if many_runs { left.saturating_sub(free) } else { left }
    }
}

/// How many bytes a consumer holds for each that it tells.
fn weight(consumer: &MemoryConsumer) -> usize {
    // A table of groups is copied whole before it is spilled or given out, and while it grows; so is a heap of rows.
    // What comes out of the last one waits beside it.
    match consumer.name() {
        name if name.starts_with(FINAL_STAGE) => 3,
        name if name.contains("AggregateStream[") || name.contains("TopK[") => 2,
        _ => 1,
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "statements"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.taken.lock().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut taken = self.taken.lock();
            taken.spillers = taken.spillers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let consumer = reservation.consumer();
        let more = additional.saturating_mul(weight(consumer));
        let mut taken = self.taken.lock();
        let bytes = taken.of(consumer);
        *bytes = bytes.saturating_add(more);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let consumer = reservation.consumer();
        let less = shrink.saturating_mul(weight(consumer));
        let mut taken = self.taken.lock();
        let bytes = taken.of(consumer);
        *bytes = bytes.saturating_sub(less);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let more = additional.saturating_mul(weight(consumer));
        let held = reservation.size().saturating_mul(weight(consumer));
        let mut taken = self.taken.lock();
        let left = self.left(&taken, consumer, held, more);
        if more > left {
            return Err(self.refused(consumer, held, more, left));
        }
        *taken.of(consumer) += more;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let taken = self.taken.lock();
        taken.spillable.saturating_add(taken.unspillable)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl StatementPool {
    fn refused(&self, consumer: &MemoryConsumer, held: usize, more: usize, left: usize) -> DataFusionError {
        let [held, more, left, limit] = [held, more, left, self.limit].map(human_readable_size);
        DataFusionError::ResourcesExhausted(format!(
            "{} holds {held} and needs {more} more, of the limit of {limit} there are {left} left for it",
            consumer.name()
        ))
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(limit: {})", self.name(), human_readable_size(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool(limit: usize) -> Arc<dyn MemoryPool> {
        Arc::new(StatementPool::new(limit))
    }

    fn spiller(name: &str, pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new(name).with_can_spill(true).register(pool)
    }

    #[test]
    fn those_who_can_spill_share_what_they_may_have_and_leave_the_rest() {
        let pool = pool(1_600);
        let first = spiller("ExternalSorter[0]", &pool);
        first.try_grow(1_200).unwrap();
        first.try_grow(1).unwrap_err();
        let other = MemoryConsumer::new("SortPreservingMergeExec[0]").register(&pool);
        other.try_grow(400).unwrap();
        other.try_grow(1).unwrap_err();
        first.free();
        other.try_grow(400).unwrap();
        let second = spiller("ExternalSorter[1]", &pool);
        second.try_grow(400).unwrap();
        second.try_grow(1).unwrap_err();
        drop(second);
        first.try_grow(800).unwrap();
        assert_eq!(pool.reserved(), 1_600);
        drop((first, other));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn who_comes_later_begins_with_little_until_the_first_have_spilled() {
        let pool = pool(1_600);
        let first = spiller("ExternalSorter[0]", &pool);
        first.try_grow(1_200).unwrap();
        let second = spiller("ExternalSorter[1]", &pool);
        second.try_grow(100).unwrap();
        second.try_grow(51).unwrap_err();
        second.try_grow(50).unwrap();
        second.try_grow(1).unwrap_err();
        first.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 1_350);
        let third = spiller("ExternalSorter[2]", &pool);
        third.try_grow(401).unwrap_err();
        third.try_grow(200).unwrap();
        third.try_grow(1).unwrap_err();
        first.free();
        for (held, sorter) in [(150, &second), (200, &third), (0, &first)] {
            sorter.try_grow(400 - held).unwrap();
            sorter.try_grow(1).unwrap_err();
        }
        assert_eq!(pool.reserved(), 1_200);
    }

    #[test]
    fn many_that_come_one_after_the_other_keep_to_the_limit() {
        let pool = pool(1 << 20);
        let mut sorters = vec![];
        for number in 0..5 {
            let sorter = spiller(&format!("ExternalSorter[{number}]"), &pool);
            while sorter.try_grow(1_000).is_ok() {}
            assert!(sorter.size() > 0);
            sorters.push(sorter);
        }
        assert!(pool.reserved() <= 1 << 20, "{}", pool.reserved());
    }

    #[test]
    fn what_is_copied_counts_more_than_once() {
        let pool = pool(1_600);
        for (name, times) in [
            ("FinalHashAggregateStream[0]", 3),
            ("PartialHashAggregateStream[0]", 2),
            ("GroupedHashAggregateStream[1] (median(t.v))", 2),
            ("TopK[0]", 2),
        ] {
            let groups = spiller(name, &pool);
            groups.try_grow(1_200 / times).unwrap();
            assert_eq!(pool.reserved(), 1_200);
            groups.try_grow(1).unwrap_err();
            groups.try_resize(100).unwrap();
            assert_eq!(pool.reserved(), 100 * times);
        }
        assert_eq!(pool.reserved(), 0);
        let all = MemoryConsumer::new("AggregateStream[0]").register(&pool);
        all.try_grow(800).unwrap();
        let error = all.try_grow(1).unwrap_err();
        assert!(matches!(error, DataFusionError::ResourcesExhausted(_)));
        let error = error.strip_backtrace();
        let told = "AggregateStream[0] holds 1600.0 B and needs 2.0 B more, of the limit of 1600.0 B there are 0.0 B left";
        assert!(error.contains(told), "{error}");
    }

    #[test]
    fn last_stages_may_have_a_little_whatever_their_share() {
        let pool = pool(96 << 20);
        let others: Vec<_> =
            (0..7).map(|number| spiller(&format!("RepartitionExec[{number}]"), &pool)).collect();
        let last = spiller("FinalHashAggregateStream[0]", &pool);
        last.try_grow(5 << 20).unwrap();
        last.try_grow(1 << 20).unwrap_err();
        others[0].try_grow(9 << 20).unwrap();
        others[0].try_grow(1).unwrap_err();
        last.free();
        for other in &others[1..] {
            other.try_grow(9 << 20).unwrap();
        }
        last.try_grow(3 << 20).unwrap();
        last.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 72 << 20);
    }

    #[test]
    fn merges_of_many_runs_leave_memory_to_what_stands_above() {
        let pool = pool(1_600);
        let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(&pool);
        merge.try_grow(1_100).unwrap();
        merge.try_grow(101).unwrap_err();
        merge.try_grow(100).unwrap();
        let other = MemoryConsumer::new("ExternalSorterMerge[1]").register(&pool);
        other.try_grow(300).unwrap();
        other.try_grow(101).unwrap_err();
        let above = MemoryConsumer::new("SortPreservingMergeExec[0]").register(&pool);
        above.try_grow(100).unwrap();
        assert_eq!(pool.reserved(), 1_600);
    }
}
