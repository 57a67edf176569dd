//! Counters that one lcore writes and the sampler reads.
//!
//! Each lcore has its own block on its own cache lines, and publishes its totals with plain stores once a
//! burst: without locked instructions or shared lines. A reader may see one field a burst ahead of another,
//! but sees each value whole.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use linerate_wire::counters::{Counters, ReceiveCounters, TransmitCounters};

/// Published counters of one lcore: the `N` counters of `T`.
#[derive(Debug)]
pub struct Block<T, const N: usize> {
    published: CachePadded<[AtomicU64; N]>,
    of: PhantomData<T>,
}

/// Published counters of one transmitting lcore.
pub type TransmitBlock = Block<TransmitCounters, { TransmitCounters::COUNT }>;

/// Published counters of one receiving lcore.
pub type ReceiveBlock = Block<ReceiveCounters, { ReceiveCounters::COUNT }>;

impl<T, const N: usize> Default for Block<T, N> {
    fn default() -> Self {
        Self { published: CachePadded::new([const { AtomicU64::new(0) }; N]), of: PhantomData }
    }
}

impl<T: Counters<N>, const N: usize> Block<T, N> {
    /// Publishes totals.
    #[inline(always)]
    pub fn publish(&self, totals: &T) {
        for (counter, total) in self.published.iter().zip(totals.to_array()) {
            counter.store(total, Ordering::Relaxed);
        }
    }

    /// The totals last published.
    pub fn read(&self) -> T {
        T::from_array(std::array::from_fn(|i| self.published[i].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_share_cache_lines() {
        assert_eq!(align_of::<TransmitBlock>() % 128, 0);
        assert_eq!(align_of::<ReceiveBlock>() % 128, 0);
    }

    #[test]
    fn what_is_published_is_read() {
        let totals = ReceiveCounters::from_array(std::array::from_fn(|index| index as u64 + 1));
        let block = ReceiveBlock::default();
        block.publish(&totals);
        assert_eq!(block.read(), totals);
    }
}
