//! Verdict: the limit of a trial. Pure.

mod absence;

use std::fmt;

use linerate_wire::counters::PortCounters;
use linerate_wire::report::{blocking_explains, missed_intended};
use linerate_wire::time::{Throttling, WorkerTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use absence::{Absence, Sending};

/// Without an intended load, this share of the time counts as missing.
const HELD_BACK_SHARE: f64 = 0.02;
/// An lcore with less headroom than this was saturated.
pub const NO_HEADROOM: f64 = 0.02;
/// Largest share of the time, 0…1, that a worker may wait for its CPU without a finding.
pub const WAITING_SHARE: f64 = 0.001;

/// Limit of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Nothing: the intended load was offered and all of it arrived.
    Clean,
    /// The receiver's port dropped frames, or its lcores had no time left.
    ReceiverLimited,
    /// Packets were lost between the ports.
    PathLimited,
    /// The transmitter's port did not take the intended load, or lost packets that it had taken.
    PortLimited,
    /// The generator itself did not offer the intended load.
    GeneratorLimited,
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerdictKind::Clean => "clean",
            VerdictKind::ReceiverLimited => "receiver-limited",
            VerdictKind::PathLimited => "path-limited",
            VerdictKind::PortLimited => "port-limited",
            VerdictKind::GeneratorLimited => "generator-limited",
        })
    }
}

/// Limit of a trial, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Its limit.
    pub kind: VerdictKind,
    /// One sentence with the numbers.
    pub evidence: String,
}

/// The lcore of an agent with the least headroom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busiest {
    /// Its DPDK lcore number.
    pub lcore: u32,
    /// Share of the time in which it was idle, 0…1.
    pub headroom: f64,
}

impl Busiest {
    fn is_at_its_limit(&self) -> bool {
        self.headroom < NO_HEADROOM
    }
}

impl fmt::Display for Busiest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lcore {} had {:.2} % headroom", self.lcore, 100.0 * self.headroom)
    }
}

/// Inputs of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observed {
    /// Intended load; `None`: as fast as the port accepts.
    pub intended_pps: Option<f64>,
    /// Packets that the port accepted, per second.
    pub offered_pps: f64,
    /// Packets that the port accepted.
    pub sent: u64,
    /// Those of them that did not arrive.
    pub lost: u64,
    /// Frames that arrived with a wrong checksum; they count as lost.
    pub damaged: u64,
    /// Seconds during which the transmitting port refused packets.
    pub blocked_s: f64,
    /// Frames too late to distinguish a first copy from a duplicate.
    pub beyond_window: u64,
    /// Linerate's frames of another path or trial.
    pub stale: u64,
    /// Frames that the transmitting port counts as failed.
    pub tx_errors: u64,
    /// Those of them that it does not count as sent either; see [`sender_lost`].
    pub sender_lost: u64,
    /// Packets that the pacer skipped after stalls.
    pub forgone: u64,
    /// Sending time in seconds.
    pub duration_s: f64,
    /// Packets by which the sent number may differ from the intended one; 0 stands for 1.
    pub slack_packets: u64,
    /// The transmitting lcore that waited longest for a CPU; `None` when the agent does not report it.
    pub tx_waiting: Option<WorkerTime>,
    /// The receiving lcore that waited longest for a CPU.
    pub rx_waiting: Option<WorkerTime>,
    /// Throttling of the transmitter by a CPU quota.
    pub tx_throttling: Option<Throttling>,
    /// Throttling of the receiver by a CPU quota.
    pub rx_throttling: Option<Throttling>,
    /// A receiver that was away from its queues for too long; `None` when none was.
    pub rx_absence: Option<Absence>,
    /// Drop counters of the receiving port; `None` when it did not report them.
    pub rx_port: Option<PortTrouble>,
    /// Busiest transmitting lcore; `None` without an intended load, where headroom has no meaning.
    pub tx_busiest: Option<Busiest>,
    /// Busiest receiving lcore.
    pub rx_busiest: Option<Busiest>,
    /// The far end of a round trip.
    pub reflected: Option<Reflected>,
}

/// Packets at the far end of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reflected {
    /// Packets that arrived there.
    pub received: u64,
    /// Those of them that its port did not send back.
    pub dropped: u64,
    /// Packets that were sent back and did not arrive.
    pub lost_back: u64,
    /// Drop counters of its port; `None` when it did not report them.
    pub port: Option<PortTrouble>,
}

/// Counters of a receiving port for frames that it did not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortTrouble {
    /// Packets dropped because the receive queue was full.
    pub missed: u64,
    /// Packets dropped because they arrived damaged.
    pub errors: u64,
    /// Failed allocations of receive buffers. This is not a number of packets: a driver may retry for the
    /// same packet, and fail many times.
    pub failed_allocations: u64,
}

impl From<PortCounters> for PortTrouble {
    fn from(port: PortCounters) -> Self {
        Self { missed: port.rx_missed, errors: port.rx_errors, failed_allocations: port.rx_nombuf }
    }
}

impl fmt::Display for PortTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missed, errors, failed_allocations } = self;
        write!(f, "{missed} missed and {errors} damaged packets")?;
        if *failed_allocations > 0 {
            write!(f, ", and {failed_allocations} times that no receive buffer could be allocated")?;
        }
        Ok(())
    }
}

impl Reflected {
    /// Packets lost at the reflector: missed or not sent back by its port.
    fn kept(&self) -> u64 {
        self.dropped.saturating_add(self.port.map_or(0, |port| port.missed))
    }

    /// Text on where `sent` packets were lost.
    fn evidence(&self, sent: u64) -> String {
        format!(
            "{} did not reach the reflector, which dropped {} more; {} did not come back",
            sent.saturating_sub(self.received),
            self.dropped,
            self.lost_back
        )
    }
}

impl Observed {
    /// Deviation of the offered load as a share of the intended one; `None` without an intended load.
    fn deviation(&self) -> Option<f64> {
        self.intended_pps.map(|intended| (self.offered_pps - intended) / intended)
    }

    /// True when the offered load deviates from the intended one by more than the tolerance.
    pub fn missed_intended(&self) -> bool {
        missed_intended(self.intended_pps, self.offered_pps, self.duration_s, self.slack_packets)
    }

    /// Text on the CPU time that the transmitter lacked; `None` when it lacked none.
    fn missing_cpu(&self) -> Option<String> {
        cpu_words("sending", self.tx_waiting, self.tx_throttling)
    }

    /// Text with the offered and the intended load.
    fn load(&self) -> String {
        let offered = self.offered_pps;
        match (self.intended_pps, self.deviation()) {
            (Some(intended), Some(deviation)) => {
                format!("offered {offered:.0} of {intended:.0} pps intended ({:+.3} %)", 100.0 * deviation)
            }
            _ => format!("offered {offered:.0} pps, as fast as possible"),
        }
    }
}

fn cpu_words(side: &str, worker: Option<WorkerTime>, throttling: Option<Throttling>) -> Option<String> {
    let worker = worker.filter(|worker| worker.waiting_share() >= WAITING_SHARE);
    let worker = worker.map(|worker| format!("{side} {worker}"));
    let parts: Vec<String> = worker.into_iter().chain(throttling.map(|quota| quota.to_string())).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Packets of `sent` that the transmitting port lost, at most: those that it counts as failed, as far as it does not count
/// them as sent. A driver may count a packet as failed that it accepts later, or that its device sends later.
pub fn sender_lost(sent: u64, port: Option<PortCounters>) -> u64 {
    port.map_or(0, |port| port.tx_errors.min(sent.saturating_sub(port.tx_packets)))
}

/// Text on frames too late to be judged.
fn too_late(frames: u64) -> String {
    format!(
        "{frames} packets came so late that copies cannot be distinguished from first arrivals, and may hide losses"
    )
}

/// Judges a trial: by its loss first, then by its load.
pub fn judge(observed: &Observed) -> Verdict {
    let loss = if observed.lost > 0 {
        Some(judge_loss(observed))
    } else if observed.beyond_window > 0 {
        Some((VerdictKind::PathLimited, too_late(observed.beyond_window)))
    } else {
        None
    };
    let (kind, evidence) = match loss {
        Some((kind, evidence)) if observed.missed_intended() => {
            let cpu = observed.missing_cpu().map_or_else(String::new, |words| format!("; {words}"));
            (kind, format!("{evidence}; besides, {}{cpu}", observed.load()))
        }
        Some(loss) => loss,
        None => judge_load(observed),
    };
    Verdict { kind, evidence }
}

/// Judges the loss by its largest part: drops at the receiving port, then failures of the sending one, then damaged
/// frames, then a receiver that was saturated, or away for so long that it explains all of it. Failed buffer allocations are reported and do not decide.
fn judge_loss(observed: &Observed) -> (VerdictKind, String) {
    let Observed { sent, lost, damaged, rx_port, .. } = *observed;
    let share = 100.0 * lost as f64 / sent.max(1) as f64;
    let mut evidence = format!("{lost} of {sent} packets lost ({share:.4} %)");
    let mut add = |text: &str| {
        evidence.push_str("; ");
        evidence.push_str(text);
    };
    match rx_port {
        Some(port) => add(&format!("the receiving port counts {port}")),
        None => add("the receiving port's own drop counters are not known"),
    }
    if observed.tx_errors > 0 {
        add(&format!(
            "the sending port counts {} failed packets, as when its link is down",
            observed.tx_errors
        ));
    }
    if observed.stale > 0 {
        add(&format!("{} packets of another path or trial arrived", observed.stale));
    }
    if observed.beyond_window > 0 {
        add(&too_late(observed.beyond_window));
    }
    if damaged > 0 {
        add(&format!("damaged frames (wrong checksum): {damaged}"));
    }
    let far_port = observed.reflected.and_then(|reflected| reflected.port);
    if let Some(reflected) = observed.reflected {
        add(&reflected.evidence(sent));
        if let Some(port) = far_port {
            add(&format!("the reflector's port counts {port}"));
        }
    }
    let at_limit = observed.rx_busiest.filter(Busiest::is_at_its_limit);
    if let Some(busiest) = at_limit {
        add(&format!("receiving {busiest}"));
    }
    if let Some(words) = cpu_words("receiving", observed.rx_waiting, observed.rx_throttling) {
        add(&words);
    }
    if let Some(absence) = observed.rx_absence {
        add(&absence.to_string());
    }
    let most = lost.div_ceil(2);
    let ports = || rx_port.into_iter().chain(far_port);
    let dropped = rx_port
        .map_or(0, |port| port.missed)
        .saturating_add(observed.reflected.map_or(0, |reflected| reflected.kept()));
    let damaged = ports().fold(damaged, |damaged, port| damaged.saturating_add(port.errors));
    let kind = if dropped >= most {
        VerdictKind::ReceiverLimited
    } else if observed.sender_lost >= most {
        VerdictKind::PortLimited
    } else if damaged >= most {
        VerdictKind::PathLimited
    } else if at_limit.is_some() || observed.rx_absence.is_some_and(|absence| absence.packets >= lost) {
        VerdictKind::ReceiverLimited
    } else {
        if ports().any(|port| port.failed_allocations > 0) {
            add("a receiver without buffers may have its part in it");
        } else if rx_port.is_some() {
            add("the receiver does not explain it");
        }
        VerdictKind::PathLimited
    };
    (kind, evidence)
}

fn blocked_share(blocked_s: f64, duration_s: f64) -> f64 {
    if duration_s > 0.0 { blocked_s / duration_s } else { 0.0 }
}

/// True when the offered load is below the intended one because the sender's port held packets back, whatever
/// was lost besides.
pub fn is_held_back(intended_pps: f64, offered_pps: f64, blocked_s: f64, duration_s: f64) -> bool {
    let missing_share = (intended_pps - offered_pps) / intended_pps;
    missing_share > 0.0 && blocking_explains(blocked_share(blocked_s, duration_s), missing_share)
}

fn judge_load(observed: &Observed) -> (VerdictKind, String) {
    let Observed { sent, blocked_s, forgone, duration_s, .. } = *observed;
    let load = observed.load();
    let missing_share = match observed.deviation() {
        Some(_) if !observed.missed_intended() => {
            return (VerdictKind::Clean, format!("{load}, all {sent} packets received"));
        }
        Some(deviation) if deviation > 0.0 => {
            let evidence = format!("{load}: the generator did not hold its rate");
            return (VerdictKind::GeneratorLimited, evidence);
        }
        Some(deviation) => -deviation,
        None => HELD_BACK_SHARE,
    };
    let blocked_share = blocked_share(blocked_s, duration_s);
    let held_back = format!(
        "{load}, without loss; the port held packets back {:.1} % of the time",
        100.0 * blocked_share
    );
    if blocking_explains(blocked_share, missing_share) {
        // A memif is full when its other end has no CPU.
        let receiver = cpu_words("receiving", observed.rx_waiting, observed.rx_throttling);
        let words: Vec<String> =
            [Some(held_back), observed.missing_cpu(), receiver].into_iter().flatten().collect();
        return (VerdictKind::PortLimited, words.join("; "));
    }
    let mut evidence =
        format!("{held_back}, which does not explain the shortfall; the pacer skipped {forgone} packets");
    // The headroom of an lcore without its CPU is not real.
    if let Some(words) = observed.missing_cpu() {
        evidence.push_str(&format!("; {words}"));
    } else if let Some(busiest) = observed.tx_busiest {
        evidence.push_str(&format!("; sending {busiest}"));
    }
    (VerdictKind::GeneratorLimited, evidence)
}

#[cfg(test)]
mod tests;
