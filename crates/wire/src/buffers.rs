//! Packet buffers that a port needs, so that reception always finds a free one. Pure arithmetic, used by both
//! programs: the data plane sizes its pools by it, the controller checks that an agent's packet memory
//! suffices.
//!
//! A buffer outside its pool is in one of four places: a ring of the port, a burst, the cache of an lcore
//! that freed it, or the ring of a port that forwards it. The pool is larger than the sum of these places, so
//! at least one buffer is always free. How many each place holds depends on the driver ([`BufferUse`]).

/// Size of an lcore's buffer cache. The cache spares most accesses to the shared pool.
pub const CACHE_BUFFERS: u32 = 256;
/// Most buffers in an lcore's cache: DPDK flushes it only once it exceeds its size by half.
const FULL_CACHE_BUFFERS: u32 = CACHE_BUFFERS + CACHE_BUFFERS / 2;
/// Most lcores that free a queue's buffers: the main lcore, which empties queues before a trial, and the
/// workers that serve the queue in trials that send, receive, do both, or send back.
const LCORES_PER_QUEUE: u32 = 5;
/// Most frames received or sent in one call.
pub const MAX_BURST: u32 = 64;
/// Bursts in flight per queue: one in the loop and one in the driver, which allocates new buffers before it
/// hands over filled ones.
const BURSTS_PER_QUEUE: u32 = 2;
/// Buffers of the RX pool that af_xdp puts into its fill ring at start, whatever the number of descriptors.
const AF_XDP_FILL_BUFFERS: u32 = 2048;
/// Most sent buffers that wait in af_xdp's completion ring.
const AF_XDP_COMPLETION_BUFFERS: u32 = 2048;

/// Spare buffers for the port's own frames, beyond those held in rings: all may be taken before any is freed.
const OWN_SPARE_BUFFERS: u32 = 64;

/// Data room of a buffer that holds any frame up to MTU 1500, in bytes: the size that drivers expect.
const DEFAULT_DATA_BYTES: u32 = 2048;
/// Bytes that an Ethernet header with two VLAN tags and a frame check sequence add to the MTU.
const L2_OVERHEAD_BYTES: u32 = 26;
/// Bytes of a buffer before its data: mempool object header, `rte_mbuf` and headroom.
const BUFFER_HEAD_BYTES: u32 = 64 + 128 + 128;

/// How a driver uses buffers, in order of growing demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BufferUse {
    /// The driver copies a frame to be sent, and frees the buffer at once.
    Copies,
    /// The driver keeps a sent buffer in the TX ring until it reuses the slot: NICs, virtio.
    KeepsSent,
    /// af_xdp: its fill ring takes buffers from the RX pool; it copies frames to be sent into buffers of that
    /// pool; RX and TX queues come in pairs; buffers in the kernel's rings are lost when the port closes.
    FillsRings,
}

impl BufferUse {
    /// Buffer use of a driver, by its ethdev name. An unknown driver counts as [`BufferUse::KeepsSent`], the
    /// largest demand among drivers without fill rings.
    pub fn of_driver(driver: &str) -> Self {
        match driver {
            "net_memif" | "net_null" | "net_pcap" | "net_af_packet" | "net_tap" | "net_vhost" => Self::Copies,
            "net_af_xdp" => Self::FillsRings,
            _ => Self::KeepsSent,
        }
    }
}

/// Properties of a port that determine the size of its pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolDemand {
    /// How the driver uses buffers.
    pub buffer_use: BufferUse,
    /// Receive queues; each has a pool.
    pub rx_queues: u32,
    /// Transmit queues; each has a pool.
    pub tx_queues: u32,
    /// Descriptors per receive queue.
    pub rx_descriptors: u32,
    /// Descriptors per transmit queue.
    pub tx_descriptors: u32,
    /// Worker lcores that serve the port.
    pub workers: u32,
    /// True when the port forwards received buffers. A worker forwards on one fixed TX queue.
    pub forwards: bool,
    /// True when the port answers ARP and ping. These frames have a pool of their own.
    pub answers: bool,
    /// Largest payload of a frame, in bytes.
    pub mtu: u32,
}

impl PoolDemand {
    /// Buffers of each RX queue's pool.
    pub fn rx_buffers(&self) -> u32 {
        let received = match self.buffer_use {
            BufferUse::Copies | BufferUse::KeepsSent => self.rx_descriptors,
            BufferUse::FillsRings => self.rx_descriptors.max(AF_XDP_FILL_BUFFERS),
        };
        let sent = match self.buffer_use {
            BufferUse::KeepsSent if self.forwards => self.tx_descriptors,
            BufferUse::Copies | BufferUse::KeepsSent => 0,
            // Its TX ring is as long as its RX ring.
            BufferUse::FillsRings => self.rx_descriptors.max(self.tx_descriptors) + AF_XDP_COMPLETION_BUFFERS,
        };
        received + sent + self.under_way()
    }

    /// Buffers of each TX queue's pool.
    pub fn tx_buffers(&self) -> u32 {
        self.tx_descriptors + self.under_way()
    }

    /// Buffers of the pool for the port's own frames; 0 for a port that sends none. Lcores have no cache for
    /// this pool, so only the port holds buffers: with a driver that keeps sent buffers, every slot of every
    /// TX ring may hold one until test traffic reuses the slot.
    pub fn own_buffers(&self) -> u32 {
        let kept = match self.buffer_use {
            BufferUse::KeepsSent => self.tx_queues * self.tx_descriptors,
            BufferUse::Copies | BufferUse::FillsRings => 0,
        };
        // Each sending lcore holds one, and so does the main lcore.
        if self.answers { kept + self.tx_queues + 1 + OWN_SPARE_BUFFERS } else { 0 }
    }

    /// Buffers in caches and bursts.
    fn under_way(&self) -> u32 {
        let lcores = (self.workers + 1).min(LCORES_PER_QUEUE);
        lcores * FULL_CACHE_BUFFERS + BURSTS_PER_QUEUE * MAX_BURST
    }

    /// Data room of each buffer of the port's own frames, in bytes, without headroom. It does not depend on
    /// the MTU: the port ignores requests longer than MTU 1500.
    pub fn own_data_bytes(&self) -> u32 {
        DEFAULT_DATA_BYTES
    }

    /// Data room of each buffer, in bytes, without headroom.
    pub fn data_bytes(&self) -> u32 {
        (self.mtu + L2_OVERHEAD_BYTES).max(DEFAULT_DATA_BYTES)
    }

    /// Bytes of all pools, without DPDK's own structures.
    pub fn bytes(&self) -> u64 {
        let buffers = u64::from(self.rx_queues) * u64::from(self.rx_buffers())
            + u64::from(self.tx_queues) * u64::from(self.tx_buffers());
        let own = u64::from(self.own_buffers()) * u64::from(BUFFER_HEAD_BYTES + self.own_data_bytes());
        buffers * u64::from(BUFFER_HEAD_BYTES + self.data_bytes()) + own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(driver: &str, rings: (u32, u32), workers: u32, forwards: bool) -> PoolDemand {
        PoolDemand {
            buffer_use: BufferUse::of_driver(driver),
            rx_queues: workers,
            tx_queues: workers,
            rx_descriptors: rings.0,
            tx_descriptors: rings.1,
            workers,
            forwards,
            answers: false,
            mtu: 1500,
        }
    }

    #[test]
    fn pools_by_table() {
        // (driver, RX and TX descriptors, workers, forwards, RX pool, TX pool)
        for (driver, rings, workers, forwards, rx, tx) in [
            ("net_memif", (1024, 1024), 1, false, 1920, 1920),
            ("net_memif", (1024, 1024), 1, true, 1920, 1920),
            ("net_af_packet", (1024, 512), 1, true, 1920, 1408),
            ("net_e1000_igb_vf", (1024, 1024), 1, false, 1920, 1920),
            ("net_e1000_igb_vf", (1024, 1024), 1, true, 2944, 1920),
            ("net_e1000_igb_vf", (512, 4096), 1, true, 5504, 4992),
            ("net_e1000_igb_vf", (4096, 512), 1, true, 5504, 1408),
            ("net_ixgbe", (4096, 4096), 8, true, 10_240, 6144),
            ("mlx5_pci", (1024, 1024), 2, true, 3328, 2304),
            ("net_unheard_of", (1024, 1024), 1, true, 2944, 1920),
            ("net_af_xdp", (1024, 1024), 1, false, 6016, 1920),
            ("net_af_xdp", (4096, 1024), 1, true, 11_136, 1920),
        ] {
            let demand = demand(driver, rings, workers, forwards);
            let found = (demand.rx_buffers(), demand.tx_buffers());
            assert_eq!(found, (rx, tx), "{driver} {rings:?} {workers} {forwards}");
        }
    }

    #[test]
    fn a_buffer_is_free_when_every_other_place_is_full() {
        let sizes = [64, 512, 1024, 4096];
        for driver in ["net_memif", "net_e1000_igb", "net_af_xdp"] {
            for (rx, tx) in sizes.iter().flat_map(|rx| sizes.map(|tx| (*rx, tx))) {
                for workers in [1, 2, 16] {
                    let demand = demand(driver, (rx, tx), workers, true);
                    // A ring of n descriptors holds n - 1 buffers at most, and caches are not full while a
                    // burst is handed over.
                    let keeps = if demand.buffer_use == BufferUse::Copies { 0 } else { tx - 1 };
                    let caches = (workers + 1).min(5) * 384;
                    let elsewhere = rx + keeps + caches + 64;
                    assert!(demand.rx_buffers() >= elsewhere + 64, "{driver} {rx} {tx} {workers}");
                    assert!(demand.tx_buffers() >= tx + caches + 64, "{driver} {rx} {tx} {workers}");
                }
            }
        }
    }

    #[test]
    fn own_frames_have_a_buffer_when_every_ring_is_full_of_them() {
        // (driver, TX descriptors, workers and so TX queues, buffers)
        for (driver, tx, workers, own) in [
            ("net_memif", 1024, 1, 66),
            ("net_af_xdp", 4096, 4, 69),
            ("net_ixgbe_vf", 1024, 1, 1090),
            ("net_ixgbe_vf", 4096, 4, 16_453),
            ("net_unheard_of", 512, 2, 1091),
        ] {
            let silent = demand(driver, (1024, tx), workers, false);
            let demand = PoolDemand { answers: true, ..silent };
            assert_eq!((demand.own_buffers(), silent.own_buffers()), (own, 0), "{driver} {tx} {workers}");
            assert_eq!(demand.bytes() - silent.bytes(), u64::from(own) * 2368, "{driver}");
            let jumbo = PoolDemand { mtu: 9000, ..demand };
            assert_eq!(jumbo.own_data_bytes(), 2048, "answers are no longer than 1514 bytes");
        }
    }

    #[test]
    fn memory_grows_with_queues_and_frames() {
        let one = demand("net_memif", (1024, 1024), 1, false);
        assert_eq!(one.bytes(), 2 * 1920 * 2368);
        assert_eq!(PoolDemand { rx_queues: 3, ..one }.bytes(), 2 * one.bytes());
        assert_eq!(PoolDemand { mtu: 9000, ..one }.bytes(), 2 * 1920 * (320 + 9026));
    }
}
