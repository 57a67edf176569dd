//! Counters of sent and received frames, fed by agents' samples.

use std::fmt::Debug;
use std::hash::Hash;

use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::sample::FrameMeasures;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// A counter: its name without unit and `_total`, its help text, and its place in a sample.
struct Row {
    name: &'static str,
    bytes: bool,
    help: &'static str,
    of: fn(&FrameMeasures) -> Option<u64>,
}

const fn row(name: &'static str, help: &'static str, of: fn(&FrameMeasures) -> Option<u64>) -> Row {
    Row { name, bytes: false, help, of }
}

const fn bytes(name: &'static str, help: &'static str, of: fn(&FrameMeasures) -> Option<u64>) -> Row {
    Row { name, bytes: true, help, of }
}

fn tx(sample: &FrameMeasures, of: fn(&TransmitCounters) -> u64) -> Option<u64> {
    sample.transmit.as_ref().map(of)
}

fn rx(sample: &FrameMeasures, of: fn(&ReceiveCounters) -> u64) -> Option<u64> {
    sample.receive.as_ref().map(of)
}

fn port(sample: &FrameMeasures, of: fn(&PortCounters) -> u64) -> Option<u64> {
    sample.port.as_ref().map(of)
}

const ROWS: [Row; 21] = [
    row("tx_packets", "Packets that the transmitting port accepted", |s| tx(s, |c| c.packets)),
    bytes("tx", "Bytes of those packets, without frame check sequence", |s| tx(s, |c| c.bytes)),
    row("tx_queue_full", "Bursts that the transmitting port did not accept whole at the first offer", |s| {
        tx(s, |c| c.queue_full)
    }),
    row("tx_no_mbuf", "Times the transmitter found no buffer free", |s| tx(s, |c| c.no_mbuf)),
    row("rx_packets", "Packets received, each counted once", |s| rx(s, |c| c.packets)),
    row("rx_frames", "Frames of any kind taken from the receiving port", |s| rx(s, |c| c.frames)),
    bytes("rx", "Bytes of those frames, without frame check sequence", |s| rx(s, |c| c.bytes)),
    row("rx_duplicate_packets", "Further copies of packets already received", |s| rx(s, |c| c.duplicates)),
    row("rx_reordered_packets", "Packets that arrived after a later one of their flow (RFC 4737)", |s| {
        rx(s, |c| c.out_of_order)
    }),
    row("rx_stale_packets", "Packets of another trial", |s| rx(s, |c| c.stale)),
    row("rx_bad_probe_packets", "Packets with a flow id that the trial does not have", |s| {
        rx(s, |c| c.bad_probes)
    }),
    row("rx_bad_checksum_packets", "Packets with a wrong IPv4, UDP or TCP checksum", |s| {
        rx(s, |c| c.bad_checksums)
    }),
    row("rx_foreign_frames", "Frames that are not Linerate's", |s| rx(s, |c| c.foreign)),
    row("port_tx_packets", "Frames sent, as the port counts them", |s| port(s, |c| c.tx_packets)),
    row("port_rx_packets", "Frames received, as the port counts them", |s| port(s, |c| c.rx_packets)),
    bytes("port_tx", "Bytes sent, as the port counts them", |s| port(s, |c| c.tx_bytes)),
    bytes("port_rx", "Bytes received, as the port counts them", |s| port(s, |c| c.rx_bytes)),
    row("port_rx_missed_packets", "Frames that the port dropped because its receive queue was full", |s| {
        port(s, |c| c.rx_missed)
    }),
    row("port_rx_errors", "Erroneous frames received", |s| port(s, |c| c.rx_errors)),
    row("port_tx_errors", "Frames that failed to be sent", |s| port(s, |c| c.tx_errors)),
    row("port_rx_no_mbuf", "Receive buffers that could not be allocated", |s| port(s, |c| c.rx_nombuf)),
];

/// Counters of sent and received traffic, by labels `L`.
#[derive(Debug, Clone)]
pub struct Traffic<L: Clone + Hash + Eq + Debug + EncodeLabelSet + Send + Sync + 'static> {
    families: Vec<Family<L, Counter>>,
}

impl<L: Clone + Hash + Eq + Debug + EncodeLabelSet + Send + Sync + 'static> Traffic<L> {
    /// Registers all counters.
    pub fn register(registry: &mut Registry) -> Self {
        let families = ROWS
            .iter()
            .map(|row| {
                let family = Family::<L, Counter>::default();
                if row.bytes {
                    registry.register_with_unit(row.name, row.help, Unit::Bytes, family.clone());
                } else {
                    registry.register(row.name, row.help, family.clone());
                }
                family
            })
            .collect();
        Self { families }
    }

    /// Adds the counts since the sample `before` of the same trial, or since the trial's beginning.
    pub fn add(&self, labels: &L, before: Option<&FrameMeasures>, now: &FrameMeasures) {
        for (row, family) in ROWS.iter().zip(&self.families) {
            let counted = (row.of)(now);
            let earlier = before.and_then(row.of).unwrap_or(0);
            if let Some(counted) = counted {
                family.get_or_create(labels).inc_by(counted.saturating_sub(earlier));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;

    use super::*;
    use crate::text::{Form, render};

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Labels {
        role: &'static str,
    }

    fn sample(packets: u64, tx_bytes: u64) -> FrameMeasures {
        let transmit = Some(TransmitCounters { packets, ..TransmitCounters::default() });
        let port = Some(PortCounters { tx_bytes, ..PortCounters::default() });
        FrameMeasures { transmit, receive: None, port, queue_frames: Vec::new() }
    }

    #[test]
    fn trials_add_up() {
        let mut registry = Registry::with_prefix("linerate");
        let traffic = Traffic::register(&mut registry);
        let labels = Labels { role: "tx" };
        let first = [sample(10, 600), sample(25, 1500)];
        traffic.add(&labels, None, &first[0]);
        traffic.add(&labels, Some(&first[0]), &first[1]);
        // The next trial's counters start from zero; those of a port that was reset decrease.
        traffic.add(&labels, None, &sample(5, 300));
        traffic.add(&labels, Some(&sample(5, 300)), &sample(5, 0));
        let text = render(&registry, Form::Text).unwrap();
        for line in [
            "linerate_tx_packets_total{role=\"tx\"} 30\n",
            "linerate_port_tx_bytes_total{role=\"tx\"} 1800\n",
            "# TYPE linerate_tx_bytes_total counter\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("linerate_rx_packets_total{"), "a transmitter receives nothing: {text}");
    }
}
