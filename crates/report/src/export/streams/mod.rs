//! Trials of streams as tables, and in the forms of other tools: iperf3, k8s-netperf and perfdash. Pure.
//!
//! A figure that is not known is null, also where the other tool would write 0; perfdash has no null, so what is
//! not known is left out there.

mod iperf3;
mod k8s_netperf;
pub(super) mod parquet;
mod perfdash;
pub(super) mod tables;
#[cfg(test)]
mod tests;

pub(super) use self::iperf3::{Sent, lines as iperf3_lines};
pub(super) use self::k8s_netperf::{documents as k8s_netperf_documents, table as k8s_netperf_table};
pub(super) use self::perfdash::data as perfdash_data;

use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::Summary;
use linerate_wire::streams::Protocol;

/// Repeats of one profile: the samples of other tools.
struct Samples<'a> {
    first: &'a StreamsTrialSummary,
    trials: Vec<&'a StreamsTrialSummary>,
}

/// The profiles of an experiment in the order in which they ran first.
fn profiles(summary: &Summary) -> Vec<Samples<'_>> {
    let mut profiles: Vec<Samples<'_>> = Vec::new();
    for trial in &summary.streams {
        match profiles.iter_mut().find(|samples| samples.first.profile == trial.profile) {
            Some(samples) => samples.trials.push(trial),
            None => profiles.push(Samples { first: trial, trials: vec![trial] }),
        }
    }
    profiles
}

impl Samples<'_> {
    /// Name of the test in netperf's words.
    fn test(&self) -> &'static str {
        match self.first.transport {
            Protocol::Tcp => "TCP_STREAM",
            Protocol::Udp => "UDP_STREAM",
        }
    }

    /// A figure of each repeat, when all have it.
    fn each(&self, of: impl Fn(&StreamsTrialSummary) -> Option<f64>) -> Option<Vec<f64>> {
        self.trials.iter().map(|trial| of(trial)).collect()
    }

    /// Its mean over the repeats.
    fn mean(&self, of: impl Fn(&StreamsTrialSummary) -> Option<f64>) -> Option<f64> {
        self.each(of).map(|values| mean(&values))
    }

    fn throughput(&self) -> Option<Vec<f64>> {
        self.each(|trial| Some(trial.received_bps? / 1e6))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// True when all agents ran on one node; `None` when there are none.
fn same_node(summary: &Summary) -> Option<bool> {
    let (first, others) = summary.experiment.streams_agents.split_first()?;
    Some(others.iter().all(|agent| agent.node == first.node))
}
