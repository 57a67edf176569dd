//! Which CPUs move a stream fastest: the same trial on one CPU after the other, at one end at a time.

use linerate_wire::diagnosis::SweepEnds;
use serde::Serialize;

use super::view::{HostView, Relation, relation};
use crate::result::TrialResult;
use crate::result::verdict::VerdictKind;
use crate::spec::Direction;

/// Rounds over all CPUs: what disturbs one round need not disturb the next.
pub(super) const ROUNDS: usize = 2;
/// Most CPUs of an end that are tried unless the user chooses them.
pub(super) const MOST_CPUS: usize = 8;

/// True when the CPUs of an end are tried.
pub(super) fn covers(ends: SweepEnds, end: SweptEnd) -> bool {
    match ends {
        SweepEnds::Both => true,
        SweepEnds::Client => end == SweptEnd::Client,
        SweepEnds::Server => end == SweptEnd::Server,
        SweepEnds::None => false,
    }
}

/// An end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SweptEnd {
    Client,
    Server,
}

impl SweptEnd {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SweptEnd::Client => "client",
            SweptEnd::Server => "server",
        }
    }
}

/// CPUs of one end, the fastest first. One TCP stream from the client to the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sweep {
    pub(crate) end: SweptEnd,
    pub(crate) direction: Direction,
    /// CPU of the other end; null: its scheduler placed the worker.
    pub(crate) other_cpu: Option<u32>,
    pub(crate) cpus: Vec<SweptCpu>,
    /// CPUs that were not tried.
    pub(crate) left_out: Vec<u32>,
}

/// A CPU that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SweptCpu {
    pub(crate) cpu: u32,
    /// Payload per second that arrived, in the middle of the rounds; null when no round succeeded.
    pub(crate) bps: Option<f64>,
    /// Of each round; null where there was no result.
    pub(crate) rounds_bps: Vec<Option<f64>>,
    /// CPU seconds per gigabit of each end's process; null when unknown.
    pub(crate) client_s_per_gbit: Option<f64>,
    pub(crate) server_s_per_gbit: Option<f64>,
    /// Share of the time, 0…1, that the worker waited for this CPU; null when unknown.
    pub(crate) waiting_share: Option<f64>,
    pub(crate) verdict: VerdictKind,
    /// CPU whose softirq took the stream's last packet at this end; null when unknown.
    pub(crate) softirq_cpu: Option<u32>,
    /// What this CPU shares with that one.
    pub(crate) relation: Relation,
}

/// Results of one CPU, a round each.
pub(super) struct Rounds {
    pub(super) cpu: u32,
    pub(super) results: Vec<Option<TrialResult>>,
}

/// The sweep from its results.
pub(super) fn rank(
    end: SweptEnd,
    other_cpu: Option<u32>,
    left_out: Vec<u32>,
    rounds: &[Rounds],
    view: &HostView,
) -> Sweep {
    let mut cpus: Vec<SweptCpu> = rounds.iter().map(|rounds| swept(end, rounds, view)).collect();
    cpus.sort_by(|a, b| b.bps.unwrap_or(-1.0).total_cmp(&a.bps.unwrap_or(-1.0)));
    Sweep { end, direction: Direction::Forward, other_cpu, cpus, left_out }
}

fn swept(end: SweptEnd, rounds: &Rounds, view: &HostView) -> SweptCpu {
    let received =
        |result: &TrialResult| result.directions.first().and_then(|direction| direction.received_bps);
    let rounds_bps: Vec<Option<f64>> =
        rounds.results.iter().map(|result| result.as_ref().and_then(received)).collect();
    let known: Vec<f64> = rounds_bps.iter().flatten().copied().collect();
    let last = rounds.results.iter().flatten().last();
    let direction = last.and_then(|result| result.directions.first());
    let stream = direction.and_then(|direction| direction.streams.first());
    let (worker, softirq_cpu) = match end {
        SweptEnd::Client => (
            last.and_then(|result| result.client.workers.first()),
            stream.and_then(|stream| stream.sent.as_ref()?.incoming_cpu),
        ),
        SweptEnd::Server => (
            last.and_then(|result| result.server.workers.first()),
            stream.and_then(|stream| stream.received.as_ref()?.incoming_cpu),
        ),
    };
    SweptCpu {
        cpu: rounds.cpu,
        bps: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
        rounds_bps,
        client_s_per_gbit: last.and_then(|result| result.client.cpu_s_per_gbit),
        server_s_per_gbit: last.and_then(|result| result.server.cpu_s_per_gbit),
        waiting_share: worker.map(linerate_wire::time::WorkerTime::waiting_share),
        verdict: direction.map_or(VerdictKind::Unknown, |direction| direction.verdict.kind),
        softirq_cpu,
        relation: softirq_cpu.map_or(Relation::Unknown, |softirq| relation(&view.cpus, rounds.cpu, softirq)),
    }
}

/// The CPUs to be tried: at most [`MOST_CPUS`], at equal distances, and those left out.
pub(super) fn choose(all: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let step = |index: usize| index * MOST_CPUS / all.len().max(1);
    let few = all.len() <= MOST_CPUS;
    let chosen = |index: usize| few || index == 0 || step(index) != step(index - 1);
    let (mut tried, mut left_out) = (Vec::new(), Vec::new());
    for (index, cpu) in all.iter().enumerate() {
        if chosen(index) { tried.push(*cpu) } else { left_out.push(*cpu) }
    }
    (tried, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_chosen_at_equal_distances() {
        assert_eq!(choose(&[2, 3]), (vec![2, 3], vec![]));
        let all: Vec<u32> = (0..32).collect();
        let (tried, left_out) = choose(&all);
        assert_eq!(tried, [0, 4, 8, 12, 16, 20, 24, 28]);
        assert_eq!(left_out.len(), 24);
        let (tried, _) = choose(&(0..9).collect::<Vec<_>>());
        assert_eq!(tried.len(), MOST_CPUS);
        assert_eq!(choose(&[]), (vec![], vec![]));
    }
}
