//! `run --metrics`: address and duration of the metrics server.

use std::net::SocketAddr;

use clap::Args;
use linerate_command::signals::Signals;
use linerate_metrics::{Exposure, Listener, MetricsError};
use linerate_traffic::span::Span;
use tokio::time::sleep;

use super::output::say;
use crate::metrics::RunMetrics;
use crate::streams_metrics::StreamsMetrics;
use linerate_runner::run::observer::Observer;

#[derive(Debug, Args)]
pub(super) struct MetricsArgs {
    /// Serve metrics for Prometheus at http://ADDRESS/metrics during the run; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// Allow a metrics address that other hosts can reach
    #[arg(long, requires = "metrics")]
    metrics_public: bool,
    /// Serve metrics for this long after the run, so that the last scrape has the totals; Ctrl-C ends it
    #[arg(long, value_name = "TIME", requires = "metrics")]
    metrics_linger: Option<Span>,
}

/// Error: metrics of an experiment that serves none.
#[derive(Debug, thiserror::Error)]
#[error("--metrics: experiments of HTTP serve no metrics; leave it out, and follow --json")]
pub(super) struct NoMetricsOfHttp;

impl MetricsArgs {
    /// Refuses metrics for an experiment of HTTP, before anything listens.
    pub(super) fn refuse_for_http(&self) -> Result<(), NoMetricsOfHttp> {
        if self.metrics.is_some() { Err(NoMetricsOfHttp) } else { Ok(()) }
    }

    /// Listens, if metrics were asked for.
    pub(super) async fn listen(&self) -> Result<Option<Listener>, MetricsError> {
        let Some(address) = self.metrics else { return Ok(None) };
        let exposure = if self.metrics_public { Exposure::Anyone } else { Exposure::Loopback };
        Listener::check(address, exposure, "; to allow that, add --metrics-public")?;
        let listener = Listener::bind(address).await?;
        say(&format!("metrics: http://{}/metrics", listener.address().unwrap_or(address)));
        Ok(Some(listener))
    }

    /// Serves for the requested time after the run, or until a signal.
    pub(super) async fn linger(&self, mut signals: Signals) {
        if let Some(time) = self.metrics_linger {
            say(&format!("metrics are served for {time} more; Ctrl-C ends that"));
            tokio::select! {
                () = sleep(time.0) => {}
                () = signals.next() => {}
            }
        }
    }
}

/// The same for an experiment of streams.
pub(super) fn serve_streams(listener: Listener, id: &str, name: &str) -> Box<dyn Observer> {
    let (metrics, registry) = StreamsMetrics::new(id, name);
    tokio::spawn(listener.serve(registry));
    Box::new(metrics)
}

/// Starts the metrics server in the background; returns the observer that feeds it.
pub(super) fn serve(listener: Listener, id: &str, name: &str) -> Box<dyn Observer> {
    let (metrics, registry) = RunMetrics::new(id, name);
    tokio::spawn(listener.serve(registry));
    Box::new(metrics)
}
