//! Counters of frames, from both sources: Linerate's own and the port's.

mod table;

pub use table::{Counter, Counters, Metric, Shown, Unit};
use table::{bytes, column, counters, metric};

counters! {
    /// Counters of the port (ethdev's basic statistics), since the trial was armed.
    pub struct PortCounters {
        /// Frames received.
        rx_packets: metric("port_rx_packets", "Frames received, as the port counts them").column("port_ipackets"),
        /// Frames sent.
        tx_packets: metric("port_tx_packets", "Frames sent, as the port counts them").column("port_opackets"),
        /// Bytes received; some ports count the frame check sequence, some do not, some count no bytes at all.
        rx_bytes: bytes("port_rx", "Bytes received, as the port counts them").column("port_ibytes"),
        /// Bytes sent, likewise.
        tx_bytes: bytes("port_tx", "Bytes sent, as the port counts them").column("port_obytes"),
        /// Frames the port dropped because the receive queue was full.
        rx_missed: metric("port_rx_missed_packets", "Frames that the port dropped because its receive queue was full")
            .column("port_imissed"),
        /// Erroneous frames received.
        rx_errors: metric("port_rx_errors", "Erroneous frames received").column("port_ierrors"),
        /// Frames that failed to be sent.
        tx_errors: metric("port_tx_errors", "Frames that failed to be sent").column("port_oerrors"),
        /// Receive buffers that could not be allocated.
        rx_nombuf: metric("port_rx_no_mbuf", "Receive buffers that could not be allocated").column("port_rx_nombuf"),
    }
}

counters! {
    /// Counters of the transmitting lcores, summed.
    pub struct TransmitCounters {
        /// Frames the port accepted.
        packets: metric("tx_packets", "Packets that the transmitting port accepted").column("tx_packets"),
        /// Their bytes, without frame check sequence.
        bytes: bytes("tx", "Bytes of those packets, without frame check sequence").column("tx_bytes"),
        /// Bursts that the port did not accept whole at the first offer, because its queue was full.
        queue_full: metric("tx_queue_full", "Bursts that the transmitting port did not accept whole at the first offer")
            .column("tx_queue_full"),
        /// Times no buffer was free.
        no_mbuf: metric("tx_no_mbuf", "Times the transmitter found no buffer free").column("tx_no_mbuf"),
    }
}

counters! {
    /// Counters of the receiving lcores, summed.
    pub struct ReceiveCounters {
        /// Frames taken from the port, of any kind.
        frames: metric("rx_frames", "Frames of any kind taken from the receiving port").column("rx_frames"),
        /// Their bytes, without frame check sequence.
        bytes: bytes("rx", "Bytes of those frames, without frame check sequence").column("rx_bytes"),
        /// First copies of this trial's frames: the received packets of the result.
        packets: metric("rx_packets", "Packets received, each counted once").column("rx_packets"),
        /// Further copies of frames already received.
        duplicates: metric("rx_duplicate_packets", "Further copies of packets already received").column("rx_duplicates"),
        /// Frames that arrived after a later one of their flow (RFC 4737), duplicates not counted.
        out_of_order: metric("rx_reordered_packets", "Packets that arrived after a later one of their flow (RFC 4737)")
            .column("rx_out_of_order"),
        /// Linerate's frames of another path or trial.
        stale: metric("rx_stale_packets", "Packets of another path or trial").column("rx_stale"),
        /// Frames of this trial with a flow id that it does not have.
        bad_probes: metric("rx_bad_probe_packets", "Packets with a flow id that the trial does not have")
            .column("rx_bad_probes"),
        /// Linerate's frames whose IPv4, UDP or TCP checksum is wrong; not among the received packets.
        bad_checksums: metric("rx_bad_checksum_packets", "Packets with a wrong IPv4, UDP or TCP checksum")
            .column("rx_bad_checksums"),
        /// Of the received packets, those whose UDP checksum over IPv4 is 0: none was computed (RFC 768), so
        /// damage cannot be detected.
        #[serde(default)]
        without_checksum: metric("rx_without_checksum_packets", "Packets received whose UDP checksum over IPv4 is 0: none was computed")
            .column("rx_without_checksum"),
        /// Frames that are not Linerate's.
        foreign: metric("rx_foreign_frames", "Frames that are not Linerate's").column("rx_foreign"),
        /// Delays of the received packets added up, in nanoseconds; the sum saturates at the largest number.
        /// Without meaning where the clocks of sender and receiver are not comparable.
        delay_sum_ns: column("rx_delay_sum_ns"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    #[test]
    fn what_is_counted_has_one_order_one_sum_and_names_of_its_own() {
        let counts: [u64; ReceiveCounters::COUNT] = std::array::from_fn(|index| index as u64 + 1);
        let counters = ReceiveCounters::from_array(counts);
        assert_eq!(counters.to_array(), counts);
        assert_eq!(ReceiveCounters::TABLE.map(|counter| (counter.of)(&counters)), counts);
        let twice: ReceiveCounters = [counters, counters].into_iter().sum();
        assert_eq!(twice.to_array(), counts.map(|count| 2 * count));
        assert_eq!(twice.since(&counters), Some(counters));
        let json = serde_json::to_string(&counters).unwrap();
        let names = ReceiveCounters::TABLE.map(|counter| counter.name);
        let keys: Vec<&str> = json.split('"').skip(1).step_by(2).collect();
        assert_eq!(keys, names);

        let (port, sent, received) = (PortCounters::TABLE, TransmitCounters::TABLE, ReceiveCounters::TABLE);
        let shown: Vec<Shown> = port
            .map(|counter| counter.shown)
            .into_iter()
            .chain(sent.map(|counter| counter.shown))
            .chain(received.map(|counter| counter.shown))
            .collect();
        let columns: Vec<&str> = shown.iter().filter_map(|shown| shown.column).collect();
        let metrics: Vec<(&str, bool)> = shown
            .iter()
            .filter_map(|shown| shown.metric)
            .map(|one| (one.name, one.unit == Unit::Bytes))
            .collect();
        assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{columns:?}");
        assert_eq!(metrics.iter().collect::<BTreeSet<_>>().len(), metrics.len(), "{metrics:?}");
    }
}
