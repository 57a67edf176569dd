//! What the trials of an experiment of engines cost, and where they lost packets. Pure.

mod correlation;
mod host;
mod losses;
mod rows;
#[cfg(test)]
mod tests;

use linerate_experiment::engines::{Carrier, EngineName};
use linerate_experiment::streams::FramesAsStreams;
use linerate_traffic::profile::{FrameSizes, Profile};
use linerate_traffic::rate::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use correlation::{Coefficient, Correlation, FEWEST_TRIALS, correlations};
pub use host::{CpuUse, EngineHost};
pub use losses::{LossPart, LossPlace};
pub use rows::{EngineLimit, EngineRow, comparison, rows};

use crate::store::report::TrialReport;
use crate::streams::{AgentPart, ConnectionSummary, StreamsTrialRecord};
use crate::summary::LcoreSummary;
use crate::verdict::sender_lost;
use losses::Counted;

/// A trial of one engine. Null: not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineFigures {
    /// The engine.
    pub engine: EngineName,
    /// Name of the profile that every engine carries.
    pub profile: String,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Worker lcores or threads asked for, of each agent. Fewer may have sent.
    pub cores: u32,
    /// CPU seconds of the agents. Those that poll hold their CPUs all the time.
    pub agents_cpu_s: Option<f64>,
    /// Of those, seconds in which agents that poll had packets to handle; null for sockets, which sleep instead.
    pub working_cpu_s: Option<f64>,
    /// CPU seconds of the node in softirqs, where the kernel handles packets. The kernel counts in steps of 10 ms; traffic of others is in it. Most kernels count softirqs inside a system call in `agents_cpu_s` as well, so the two must not be added.
    pub softirq_cpu_s: Option<f64>,
    /// What the node's kernel counted; null when the agents do not report it.
    pub host: Option<EngineHost>,
    /// Where packets were lost, in the order of their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<LossPart>,
}

/// Lcores of both ends and the packets they handled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lcores<'a> {
    pub(crate) tx: &'a [LcoreSummary],
    pub(crate) rx: &'a [LcoreSummary],
}

impl EngineFigures {
    /// Why its places of loss contradict the number of packets that were lost; `None` when they add up to it. Places of an
    /// unknown number are none.
    pub fn misplaced(&self, lost: Option<u64>) -> Option<String> {
        let placed = self.losses.iter().try_fold(0u64, |sum, part| sum.checked_add(part.packets));
        (placed != Some(lost.unwrap_or(0))).then(|| {
            let lost = lost.map_or("an unknown number of".to_owned(), |lost| lost.to_string());
            let placed = placed.map_or("more than can be counted".to_owned(), |placed| placed.to_string());
            format!("{lost} lost packets ≠ {placed} of its places of loss")
        })
    }

    /// Figures of a trial of frames of which `lost` did not arrive, from both agents' reports.
    pub(crate) fn of_frames(
        (carrier, profile): (Carrier, &Profile),
        (tx, rx): (&TrialReport, &TrialReport),
        lcores: Lcores<'_>,
        (sent, lost): (u64, u64),
    ) -> Self {
        let Carrier { engine, cores } = carrier;
        // Who sends as fast as possible is never idle; of others, unknown headroom stays unknown.
        let never_idle = (profile.rate() == Rate::Max).then_some(0.0);
        let senders = lcores.tx.iter().map(|lcore| (lcore, lcore.headroom.or(never_idle)));
        let all = || senders.clone().chain(lcores.rx.iter().map(|lcore| (lcore, lcore.headroom)));
        let on_cpu =
            |lcore: &LcoreSummary| lcore.cpu_time.map(|time| (time.elapsed_s - time.off_cpu_s).max(0.0));
        let working = |(lcore, idle): (&LcoreSummary, Option<f64>)| Some(on_cpu(lcore)? * (1.0 - idle?));
        let counted = Counted {
            engine,
            sent,
            lost,
            tx: tx.host.as_ref(),
            rx: rx.host.as_ref(),
            port_failed: sender_lost(sent, tx.port),
            port_missed: rx.port.map(|port| port.rx_missed),
            socket_drops: None,
        };
        let (host, softirq_cpu_s) = EngineHost::of([tx.host.as_ref(), rx.host.as_ref()]).unzip();
        let softirq_cpu_s = softirq_cpu_s.flatten();
        Self {
            engine,
            profile: profile.name(),
            frame_size: profile.frame_sizes().clone(),
            cores,
            agents_cpu_s: all().map(|(lcore, _)| on_cpu(lcore)).sum(),
            working_cpu_s: all().map(working).sum(),
            softirq_cpu_s,
            host,
            losses: counted.places(),
        }
    }

    /// Figures of a trial of datagrams in place of `frames`.
    pub fn of_datagrams(frames: &FramesAsStreams, record: &StreamsTrialRecord) -> Self {
        let sum = |of: fn(&ConnectionSummary) -> Option<u64>| {
            record.connections.iter().map(of).sum::<Option<u64>>()
        };
        let report = |name: Option<&String>| record.agent(name?)?.report.as_ref();
        let first = record.ends.first();
        let (tx, rx) = (report(first.map(|ends| &ends.from)), report(first.map(|ends| &ends.to)));
        let hosts = [tx, rx].map(|report| report.and_then(|report| report.host.as_ref()));
        let process = |part: &AgentPart| Some(part.report.as_ref()?.detail.process_s);
        let losses = sum(|one| one.sent_datagrams).zip(sum(|one| one.lost_datagrams)).map(|(sent, lost)| {
            let counted = Counted {
                engine: EngineName::Sockets,
                sent,
                lost,
                tx: hosts[0],
                rx: hosts[1],
                port_failed: 0,
                port_missed: None,
                socket_drops: sum(|one| one.socket_drops),
            };
            counted.places()
        });
        let (host, softirq_cpu_s) = EngineHost::of(hosts).unzip();
        let softirq_cpu_s = softirq_cpu_s.flatten();
        Self {
            engine: EngineName::Sockets,
            profile: frames.profile.clone(),
            frame_size: frames.frame_size.clone(),
            cores: frames.workers,
            agents_cpu_s: record.agents.iter().map(process).sum(),
            working_cpu_s: None,
            softirq_cpu_s,
            host,
            losses: losses.unwrap_or_default(),
        }
    }
}
