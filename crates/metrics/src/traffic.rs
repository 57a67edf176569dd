//! Counters of sent and received frames, fed by agents' samples.

use std::fmt::Debug;
use std::hash::Hash;

use linerate_wire::counters::{self, PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::sample::FrameMeasures;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

/// Labels of counters.
pub trait Labels: Clone + Hash + Eq + Debug + EncodeLabelSet + Send + Sync + 'static {}

impl<L: Clone + Hash + Eq + Debug + EncodeLabelSet + Send + Sync + 'static> Labels for L {}

/// Counters of sent and received traffic, by labels `L`.
#[derive(Debug, Clone)]
pub struct Traffic<L: Labels> {
    transmit: Families<TransmitCounters, L>,
    receive: Families<ReceiveCounters, L>,
    port: Families<PortCounters, L>,
}

/// The counters of `T` that are metrics.
#[derive(Debug, Clone)]
struct Families<T: 'static, L: Labels>(Vec<(Count<T>, Family<L, Counter>)>);

/// A counter's value.
type Count<T> = fn(&T) -> u64;

impl<L: Labels> Traffic<L> {
    /// Registers all counters.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            transmit: Families::register(registry, &TransmitCounters::TABLE),
            receive: Families::register(registry, &ReceiveCounters::TABLE),
            port: Families::register(registry, &PortCounters::TABLE),
        }
    }

    /// Adds the counts since the sample `before` of the same trial, or since the trial's beginning.
    pub fn add(&self, labels: &L, before: Option<&FrameMeasures>, now: &FrameMeasures) {
        self.transmit.add(labels, before.and_then(|sample| sample.transmit), now.transmit);
        self.receive.add(labels, before.and_then(|sample| sample.receive), now.receive);
        self.port.add(labels, before.and_then(|sample| sample.port), now.port);
    }
}

impl<T: Copy, L: Labels> Families<T, L> {
    fn register(registry: &mut Registry, table: &[counters::Counter<T>]) -> Self {
        let metrics = table.iter().filter_map(|counter| Some((counter.shown.metric?, counter.of)));
        let family = |(metric, of): (counters::Metric, Count<T>)| {
            let family = Family::<L, Counter>::default();
            match metric.unit {
                counters::Unit::Number => registry.register(metric.name, metric.help, family.clone()),
                counters::Unit::Bytes => {
                    registry.register_with_unit(metric.name, metric.help, Unit::Bytes, family.clone());
                }
            }
            (of, family)
        };
        Self(metrics.map(family).collect())
    }

    fn add(&self, labels: &L, before: Option<T>, now: Option<T>) {
        let Some(now) = now else { return };
        for (of, family) in &self.0 {
            let earlier = before.as_ref().map_or(0, of);
            family.get_or_create(labels).inc_by(of(&now).saturating_sub(earlier));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::EncodeLabelSet;

    use super::*;
    use crate::text::{Form, render};

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct RoleLabels {
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
        let labels = RoleLabels { role: "tx" };
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

    #[test]
    fn the_page_of_metrics_names_every_counter() {
        let mut registry = Registry::with_prefix("linerate");
        let traffic = Traffic::register(&mut registry);
        let receive = Some(ReceiveCounters::default());
        traffic.add(&RoleLabels { role: "both" }, None, &FrameMeasures { receive, ..sample(0, 0) });
        let text = render(&registry, Form::Text).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('{')?.0)).collect();
        assert!(names.len() > 20, "{names:?}");
        let page = include_str!("../../../docs/metrics.md");
        for name in names {
            assert!(page.contains(&format!("`{name}`")), "docs/metrics.md does not name {name}");
        }
    }
}
