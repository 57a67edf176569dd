//! Counters of frames, from both sources: Linerate's own and the port's.

use std::iter::Sum;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the port itself counts (ethdev's basic statistics), since the trial was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received; some ports count the frame check sequence, some do not, some count no bytes at all.
    pub rx_bytes: u64,
    /// Bytes sent, likewise.
    pub tx_bytes: u64,
    /// Frames the port dropped because the receive queue was full.
    pub rx_missed: u64,
    /// Erroneous frames received.
    pub rx_errors: u64,
    /// Frames that failed to be sent.
    pub tx_errors: u64,
    /// Receive buffers that could not be allocated.
    pub rx_nombuf: u64,
}

impl PortCounters {
    /// Counts since `earlier`. `None` when a counter decreased: the port was reset in between (memif resets
    /// when its peer leaves), so the difference has no meaning.
    pub fn since(&self, earlier: &PortCounters) -> Option<PortCounters> {
        Some(PortCounters {
            rx_packets: self.rx_packets.checked_sub(earlier.rx_packets)?,
            tx_packets: self.tx_packets.checked_sub(earlier.tx_packets)?,
            rx_bytes: self.rx_bytes.checked_sub(earlier.rx_bytes)?,
            tx_bytes: self.tx_bytes.checked_sub(earlier.tx_bytes)?,
            rx_missed: self.rx_missed.checked_sub(earlier.rx_missed)?,
            rx_errors: self.rx_errors.checked_sub(earlier.rx_errors)?,
            tx_errors: self.tx_errors.checked_sub(earlier.tx_errors)?,
            rx_nombuf: self.rx_nombuf.checked_sub(earlier.rx_nombuf)?,
        })
    }
}

/// What transmitting lcores count, summed over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TransmitCounters {
    /// Frames the port accepted.
    pub packets: u64,
    /// Their bytes, without frame check sequence.
    pub bytes: u64,
    /// Bursts that the port did not accept whole at the first offer, because its queue was full.
    pub queue_full: u64,
    /// Times no buffer was free.
    pub no_mbuf: u64,
}

/// What receiving lcores count, summed over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReceiveCounters {
    /// Frames taken from the port, of any kind.
    pub frames: u64,
    /// Their bytes, without frame check sequence.
    pub bytes: u64,
    /// First copies of this trial's frames: the received packets of the result.
    pub packets: u64,
    /// Further copies of frames already received.
    pub duplicates: u64,
    /// Frames that arrived after a later one of their flow (RFC 4737), duplicates not counted.
    pub out_of_order: u64,
    /// Linerate's frames of another trial.
    pub stale: u64,
    /// Frames of this trial with a flow id that it does not have.
    pub bad_probes: u64,
    /// Linerate's frames whose IPv4, UDP or TCP checksum is wrong; not among the received packets.
    pub bad_checksums: u64,
    /// Of the received packets, those whose UDP checksum over IPv4 is 0: none was computed (RFC 768), so damage cannot be told.
    #[serde(default)]
    pub without_checksum: u64,
    /// Frames that are not Linerate's.
    pub foreign: u64,
    /// Delays of the received packets added up, in nanoseconds; the largest number stands for all that is beyond. Without meaning where the clocks of
    /// sender and receiver do not compare.
    pub delay_sum_ns: u64,
}

impl AddAssign for TransmitCounters {
    fn add_assign(&mut self, other: Self) {
        let Self { packets, bytes, queue_full, no_mbuf } = other;
        self.packets += packets;
        self.bytes += bytes;
        self.queue_full += queue_full;
        self.no_mbuf += no_mbuf;
    }
}

impl AddAssign for ReceiveCounters {
    fn add_assign(&mut self, other: Self) {
        let Self {
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
        } = other;
        self.frames += frames;
        self.bytes += bytes;
        self.packets += packets;
        self.duplicates += duplicates;
        self.out_of_order += out_of_order;
        self.stale += stale;
        self.bad_probes += bad_probes;
        self.bad_checksums += bad_checksums;
        self.without_checksum += without_checksum;
        self.foreign += foreign;
        // A delay between clocks that are not comparable may have 39 bits.
        self.delay_sum_ns = self.delay_sum_ns.saturating_add(delay_sum_ns);
    }
}

impl Sum for TransmitCounters {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        total(parts)
    }
}

impl Sum for ReceiveCounters {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        total(parts)
    }
}

fn total<T: Default + AddAssign>(parts: impl Iterator<Item = T>) -> T {
    parts.fold(T::default(), |mut sum, part| {
        sum += part;
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_reset_has_no_difference() {
        let early = PortCounters { rx_packets: 10, ..PortCounters::default() };
        let late = PortCounters { rx_packets: 25, rx_missed: 1, ..PortCounters::default() };
        let delta = PortCounters { rx_packets: 15, rx_missed: 1, ..PortCounters::default() };
        assert_eq!(late.since(&early), Some(delta));
        assert_eq!(early.since(&late), None);
    }

    /// With clocks that are not comparable, each lcore may reach the largest value of the field.
    #[test]
    fn sums_of_delays_end_at_the_largest_number() {
        let most = ReceiveCounters { packets: 1, delay_sum_ns: u64::MAX, ..ReceiveCounters::default() };
        let sum: ReceiveCounters = [most, most].into_iter().sum();
        assert_eq!((sum.packets, sum.delay_sum_ns), (2, u64::MAX));
    }
}
