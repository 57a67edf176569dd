//! Prometheus metrics of a running experiment of streams: sums over all connections.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use linerate_experiment::streams::{Connection, StreamsTrial};
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::TrialFailure;
use linerate_runner::events::StreamsReading;
use linerate_runner::run::observer::Observer;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProfileLabels {
    profile: String,
}

/// How a trial ended: `complete`, `incomplete` or `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

type Rate = Family<ProfileLabels, Gauge<f64, AtomicU64>>;

/// Observer of a run of streams that updates the metrics.
#[derive(Debug, Default)]
pub struct StreamsMetrics {
    sent: Family<ProfileLabels, Counter>,
    received: Family<ProfileLabels, Counter>,
    retransmits: Family<ProfileLabels, Counter>,
    connections: Gauge,
    alive: Gauge,
    trials: Family<OutcomeLabels, Counter>,
    planned: Gauge,
    trial_received: Rate,
    /// Bytes sent, bytes received and segments sent again of the current trial in the reading before.
    before: RefCell<(u64, u64, u64)>,
}

impl StreamsMetrics {
    /// The metrics of an experiment, and the registry to serve.
    pub fn new(id: &str, name: &str) -> (Self, Arc<Registry>) {
        let mut registry = registry(id, name);
        let metrics = Self::default();
        registry.register_with_unit(
            "streams_sent",
            "Payload that the senders' kernels accepted",
            Unit::Bytes,
            metrics.sent.clone(),
        );
        registry.register_with_unit(
            "streams_received",
            "Payload that the receivers read",
            Unit::Bytes,
            metrics.received.clone(),
        );
        registry.register("streams_retransmits", "TCP segments sent again", metrics.retransmits.clone());
        registry.register(
            "streams_connections",
            "Connections of the current trial",
            metrics.connections.clone(),
        );
        registry.register(
            "streams_connections_alive",
            "Connections of which bytes arrived in their receiver's latest interval of samples",
            metrics.alive.clone(),
        );
        registry.register("streams_trials", "Trials of streams that have ended", metrics.trials.clone());
        registry.register("planned_trials", "Trials of the plan", metrics.planned.clone());
        registry.register(
            "streams_trial_received_bits_per_second",
            "Payload that the receivers read per second, of the last trial with a result",
            metrics.trial_received.clone(),
        );
        (metrics, Arc::new(registry))
    }

    fn add(&self, profile: &str, now: (u64, u64, u64)) {
        let before = self.before.replace(now);
        let labels = ProfileLabels { profile: profile.to_owned() };
        self.sent.get_or_create(&labels).inc_by(now.0.saturating_sub(before.0));
        self.received.get_or_create(&labels).inc_by(now.1.saturating_sub(before.1));
        self.retransmits.get_or_create(&labels).inc_by(now.2.saturating_sub(before.2));
    }
}

impl Observer for StreamsMetrics {
    fn streams_trial_began(&self, _trial: &StreamsTrial, of: usize, connections: &[Connection]) {
        self.planned.set(of as i64);
        self.connections.set(connections.len() as i64);
        self.alive.set(0);
        self.before.replace((0, 0, 0));
    }

    fn streams_reading(&self, reading: &StreamsReading) {
        self.alive.set(reading.connections_alive.into());
        self.add(
            &reading.profile,
            (reading.sent_bytes, reading.received_bytes, reading.retransmits.unwrap_or(0)),
        );
    }

    fn streams_trial_ended(&self, result: &StreamsTrialSummary) {
        let (sent, received, retransmits) = *self.before.borrow();
        let totals = (
            result.written_bytes.unwrap_or(sent),
            result.received_bytes.unwrap_or(received),
            result.retransmits.unwrap_or(retransmits),
        );
        self.add(&result.profile, totals);
        self.alive.set(0);
        let outcome = if result.complete { "complete" } else { "incomplete" };
        self.trials.get_or_create(&OutcomeLabels { outcome }).inc();
        if let Some(bps) = result.received_bps {
            self.trial_received.get_or_create(&ProfileLabels { profile: result.profile.clone() }).set(bps);
        }
    }

    fn trial_failed(&self, _failure: &TrialFailure) {
        self.trials.get_or_create(&OutcomeLabels { outcome: "failed" }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus_client::encoding::text::encode;

    use super::*;

    /// Words that are names of metrics, without the endings of counters and infos.
    fn names(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metrics = words.filter(|word| word.starts_with("linerate_"));
        metrics.map(|word| word.trim_end_matches("_total").trim_end_matches("_info").to_owned()).collect()
    }

    #[test]
    fn page_and_dashboard_name_what_a_run_serves() {
        let (metrics, registry) = StreamsMetrics::new("0123abcd", "streams");
        metrics.add("p", (1, 1, 1));
        metrics.trials.get_or_create(&OutcomeLabels { outcome: "complete" }).inc();
        metrics.trial_received.get_or_create(&ProfileLabels { profile: "p".into() }).set(1.0);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let served: String =
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let served = names(&served);
        assert_eq!(names(include_str!("../../docs/metrics-of-streams.md")), served);
        let dashboard = names(include_str!("../../docs/grafana/linerate-streams.json"));
        assert!(dashboard.is_subset(&served) && dashboard.len() >= 7, "{dashboard:?}");
    }
}
