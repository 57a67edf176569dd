//! Counters that one lcore writes and the sampler reads.
//!
//! Each lcore has its own block on its own cache lines, and publishes its totals with plain stores once a
//! burst: without locked instructions or shared lines. A reader may see one field a burst ahead of another,
//! but sees each value whole.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use linerate_wire::counters::{ReceiveCounters, TransmitCounters};

/// A block of `N` counters with one writer.
#[derive(Debug)]
struct Block<const N: usize>(CachePadded<[AtomicU64; N]>);

impl<const N: usize> Default for Block<N> {
    fn default() -> Self {
        Self(CachePadded::new([const { AtomicU64::new(0) }; N]))
    }
}

impl<const N: usize> Block<N> {
    #[inline(always)]
    fn publish(&self, values: [u64; N]) {
        for (counter, value) in self.0.iter().zip(values) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    fn read(&self) -> [u64; N] {
        std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed))
    }
}

/// Published counters of one transmitting lcore.
#[derive(Debug, Default)]
pub struct TransmitBlock(Block<4>);

impl TransmitBlock {
    /// Publishes totals.
    #[inline(always)]
    pub fn publish(&self, totals: &TransmitCounters) {
        let TransmitCounters { packets, bytes, queue_full, no_mbuf } = *totals;
        self.0.publish([packets, bytes, queue_full, no_mbuf]);
    }

    /// The totals last published.
    pub fn read(&self) -> TransmitCounters {
        let [packets, bytes, queue_full, no_mbuf] = self.0.read();
        TransmitCounters { packets, bytes, queue_full, no_mbuf }
    }
}

/// Published counters of one receiving lcore.
#[derive(Debug, Default)]
pub struct ReceiveBlock(Block<11>);

impl ReceiveBlock {
    /// Publishes totals.
    #[inline(always)]
    pub fn publish(&self, totals: &ReceiveCounters) {
        let ReceiveCounters {
            frames,
            bytes,
            packets,
            duplicates,
            out_of_order,
            stale,
            bad_probes,
            bad_checksums,
            without_checksum,
            foreign,
            delay_sum_ns,
        } = *totals;
        self.0.publish([
            frames,
            bytes,
            packets,
            duplicates,
            out_of_order,
            stale,
            bad_probes,
            bad_checksums,
            without_checksum,
            foreign,
            delay_sum_ns,
        ]);
    }

    /// The totals last published.
    pub fn read(&self) -> ReceiveCounters {
        let [
            frames,
            bytes,
            packets,
            duplicates,
            out_of_order,
            stale,
            bad_probes,
            bad_checksums,
            without_checksum,
            foreign,
            delay_sum_ns,
        ] = self.0.read();
        ReceiveCounters {
            frames,
            bytes,
            packets,
            duplicates,
            out_of_order,
            stale,
            bad_probes,
            bad_checksums,
            without_checksum,
            foreign,
            delay_sum_ns,
        }
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
        let totals = ReceiveCounters {
            frames: 1,
            bytes: 2,
            packets: 3,
            duplicates: 4,
            out_of_order: 5,
            stale: 6,
            bad_probes: 7,
            bad_checksums: 8,
            without_checksum: 11,
            foreign: 9,
            delay_sum_ns: 10,
        };
        let block = ReceiveBlock::default();
        block.publish(&totals);
        assert_eq!(block.read(), totals);
    }
}
