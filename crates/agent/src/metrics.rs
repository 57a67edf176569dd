//! An agent's metrics, for a scraper on the same machine. Names begin with `linerate_agent`, so that sums
//! never include the controller's metrics of the same packets.

use std::net::SocketAddr;
use std::sync::Arc;

use linerate_metrics::{Listener, MetricsError, Traffic};
use linerate_wire::message::Event;
use linerate_wire::sample::{FrameMeasures, Measures};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

/// An agent's counters over all its trials.
#[derive(Debug)]
pub(crate) struct AgentMetrics {
    traffic: Traffic<RoleLabels>,
    /// Measures of the running trial in the last sample.
    last: Option<FrameMeasures>,
}

impl AgentMetrics {
    /// Serves metrics at `address` in the background.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn serve(address: SocketAddr) -> Result<Self, MetricsError> {
        let listener = Listener::bind(address).await?;
        let address = listener.address().unwrap_or(address);
        tracing::info!("metrics: http://{address}/metrics");
        let mut registry = Registry::with_prefix("linerate_agent");
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let traffic = Traffic::register(&mut registry);
        tokio::spawn(listener.serve(Arc::new(registry)));
        Ok(Self { traffic, last: None })
    }

    /// Adds an event's counts.
    pub(crate) fn note(&mut self, event: &Event) {
        let sample = match event {
            Event::Sample(sample) => sample,
            // The next trial's counters start from zero.
            Event::Finished(_) | Event::Failed(_) => {
                self.last = None;
                return;
            }
            Event::Sent(_) => return,
        };
        // Streams have no metrics yet.
        let Measures::Frames(frames) = &sample.measures else { return };
        let role = match (&frames.transmit, &frames.receive) {
            (Some(_), Some(_)) => "exchange",
            (Some(_), None) => "tx",
            (None, _) => "rx",
        };
        self.traffic.add(&RoleLabels { role }, self.last.as_ref(), frames);
        self.last = Some(FrameMeasures::clone(frames));
    }
}
