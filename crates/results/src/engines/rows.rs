//! Trials of all engines in one form, and what the kernel's path costs in a sentence. Pure.

use std::fmt;

use linerate_traffic::profile::FrameSizes;
use linerate_wire::streams::StreamsLimit;

use super::{EngineFigures, EngineHost};
use crate::streams::StreamsTrialSummary;
use crate::summary::{Summary, TrialSummary};
use crate::verdict::VerdictKind;

/// Share of the highest rate that counts as the same rate.
const AS_FAST: f64 = 0.98;

/// A trial of an engine: `sent = received + lost`.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineRow<'s> {
    /// Engine, CPU time and places of loss.
    pub figures: &'s EngineFigures,
    /// Lcores that sent; `None` for threads, each of which sends.
    pub senders: Option<usize>,
    /// Number of flows.
    pub flows: u32,
    /// Number of the repeat.
    pub repeat: u32,
    /// Intended load in packets per second; `None`: as fast as possible.
    pub intended_pps: Option<f64>,
    /// Offered load in packets per second.
    pub offered_pps: Option<f64>,
    /// Packets received per second of sending.
    pub received_pps: Option<f64>,
    /// Packets that the sender's port or kernel accepted.
    pub sent: Option<u64>,
    /// Of those, packets that arrived.
    pub received: Option<u64>,
    /// Packets that did not.
    pub lost: Option<u64>,
    /// What limited the trial.
    pub limit: Limit,
    /// One sentence with the numbers behind the limit.
    pub evidence: &'s str,
}

/// What limited a trial, in the words of frames or of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of a trial of frames.
    Frames(VerdictKind),
    /// Of a trial of datagrams.
    Datagrams(StreamsLimit),
}

impl Limit {
    /// True when the rate is that of an end or of its CPUs rather than of the path between the ends.
    pub fn is_of_tester(self) -> bool {
        match self {
            Limit::Frames(kind) => {
                matches!(kind, VerdictKind::GeneratorLimited | VerdictKind::ReceiverLimited)
            }
            Limit::Datagrams(kind) => {
                !matches!(kind, StreamsLimit::Clean | StreamsLimit::NetworkLimited | StreamsLimit::Unknown)
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Frames(kind) => kind.fmt(f),
            Limit::Datagrams(kind) => kind.fmt(f),
        }
    }
}

impl<'s> EngineRow<'s> {
    /// Bytes of a frame.
    pub fn frame_size(&self) -> &'s FrameSizes {
        &self.figures.frame_size
    }

    /// Share of the packets sent that were lost, 0…1.
    pub fn loss_share(&self) -> Option<f64> {
        let sent = self.sent.filter(|sent| *sent > 0)?;
        Some(self.lost? as f64 / sent as f64)
    }

    /// A count of the node's kernel per second.
    pub fn per_second(&self, of: fn(&EngineHost) -> Option<u64>) -> Option<f64> {
        let host = self.figures.host.as_ref().filter(|host| host.elapsed_s > 0.0)?;
        Some(of(host)? as f64 / host.elapsed_s)
    }

    /// Number of cores, with the number that sent where it is another.
    pub fn cores(&self) -> String {
        let cores = self.figures.cores;
        match self.senders {
            Some(senders) if senders != cores as usize => format!("{cores} ({senders} sent)"),
            _ => cores.to_string(),
        }
    }

    /// CPU seconds per million packets received.
    pub fn per_million(&self, seconds: Option<f64>) -> Option<f64> {
        let received = self.received.filter(|received| *received > 0)?;
        Some(seconds? * 1e6 / received as f64)
    }

    fn of_frames(trial: &'s TrialSummary) -> Option<Self> {
        Some(Self {
            figures: trial.engine.as_ref()?,
            senders: Some(trial.tx_lcores.len()),
            flows: trial.flows,
            repeat: trial.repeat,
            intended_pps: trial.intended_pps,
            offered_pps: Some(trial.offered_pps),
            received_pps: Some(trial.received_pps),
            sent: Some(trial.sent_packets),
            received: Some(trial.received_packets),
            lost: Some(trial.lost_packets),
            limit: Limit::Frames(trial.verdict.kind),
            evidence: &trial.verdict.evidence,
        })
    }

    fn of_datagrams(trial: &'s StreamsTrialSummary) -> Option<Self> {
        let bits = f64::from(trial.message_bytes) * 8.0;
        let rate = |packets: Option<u64>| {
            Some(packets? as f64 / trial.duration_s).filter(|_| trial.duration_s > 0.0)
        };
        Some(Self {
            figures: trial.engine.as_ref()?,
            senders: None,
            flows: trial.parallel,
            repeat: trial.repeat,
            intended_pps: trial.intended_bps.map(|bps| bps / bits),
            offered_pps: rate(trial.sent_datagrams),
            received_pps: rate(trial.received_datagrams),
            sent: trial.sent_datagrams,
            received: trial.received_datagrams,
            lost: trial.lost_datagrams,
            limit: Limit::Datagrams(trial.verdict.kind),
            evidence: &trial.verdict.evidence,
        })
    }
}

/// The trials of an experiment of engines, those of one profile together, in the order of the profiles and engines; none
/// of other experiments.
pub fn rows(summary: &Summary) -> Vec<EngineRow<'_>> {
    let frames = summary.trials.iter().filter_map(EngineRow::of_frames);
    let mut rows: Vec<_> = frames.chain(summary.streams.iter().filter_map(EngineRow::of_datagrams)).collect();
    let mut order: Vec<&str> = Vec::new();
    for row in &rows {
        if !order.contains(&row.figures.profile.as_str()) {
            order.push(&row.figures.profile);
        }
    }
    let place = |row: &EngineRow<'_>| order.iter().position(|profile| *profile == row.figures.profile);
    rows.sort_by_key(|row| (place(row), row.repeat));
    rows
}

/// What the kernel's path costs against the fastest engine, at the profile at which an engine received most packets per
/// second: a sentence for each engine of the kernel, which names what limited the trials. Empty when there is nothing
/// to compare.
pub fn comparison(rows: &[EngineRow<'_>]) -> Vec<String> {
    let rows: Vec<&EngineRow<'_>> = rows.iter().filter(|row| row.received_pps.is_some()).collect();
    let speed = |row: &&EngineRow<'_>| row.received_pps.unwrap_or(0.0);
    let faster = |a: &&EngineRow<'_>, b: &&EngineRow<'_>| speed(a).total_cmp(&speed(b));
    let Some(fastest) = rows.iter().copied().max_by(faster) else { return Vec::new() };
    let of_profile = |row: &&EngineRow<'_>| {
        row.figures.profile == fastest.figures.profile
            && (row.repeat, row.figures.cores) == (fastest.repeat, fastest.figures.cores)
    };
    let of_profile = || rows.iter().copied().filter(of_profile);
    // Where the load is less than any engine can carry, the one without the kernel is the measure.
    let beside = of_profile().filter(|row| !row.figures.engine.is_of_kernel());
    let as_fast = beside.max_by(faster).filter(|row| speed(row) >= AS_FAST * speed(&fastest));
    let measure = as_fast.unwrap_or(fastest);
    let kernel = of_profile().filter(|row| row.figures.engine.is_of_kernel());
    let others = kernel.filter(|row| row.figures.engine != measure.figures.engine);
    others.map(|row| sentence(row, measure)).collect()
}

fn sentence(row: &EngineRow<'_>, fastest: &EngineRow<'_>) -> String {
    let mpps =
        |pps: Option<f64>| pps.map_or("an unknown number of".to_owned(), |pps| format!("{:.3}", pps / 1e6));
    let share = row.received_pps.zip(fastest.received_pps).filter(|(_, fastest)| *fastest > 0.0);
    let share =
        share.map_or_else(String::new, |(this, fastest)| format!(", {:.0} % of it", 100.0 * this / fastest));
    let mut text = format!(
        "{} received {} of {} Mpps offered of {}-byte frames where {} received {} of {} Mpps{share}; {}",
        row.figures.engine,
        mpps(row.received_pps),
        mpps(row.offered_pps),
        row.frame_size().label(),
        fastest.figures.engine,
        mpps(fastest.received_pps),
        mpps(fastest.offered_pps),
        cpu(row, fastest),
    );
    match (row.lost, row.figures.losses.iter().max_by_key(|part| part.packets)) {
        (None, _) => text.push_str("; how many it lost is not known"),
        (Some(0), _) => text.push_str("; it lost none"),
        (Some(lost), most) => {
            let percent = 100.0 * row.loss_share().unwrap_or(0.0);
            text.push_str(&format!("; it lost {lost} packets, {percent:.3} %"));
            if let Some(most) = most {
                text.push_str(&format!(
                    ", of which {} in {} ({})",
                    most.packets,
                    most.place.words(),
                    most.evidence
                ));
            }
        }
    }
    for limited in [row, fastest].into_iter().filter(|row| row.limit.is_of_tester()) {
        let EngineRow { figures, limit, evidence, .. } = limited;
        text.push_str(&format!(
            "; {} was {limit} ({evidence}), so its rate is the tester's limit, not the path's",
            figures.engine
        ));
    }
    text.push('.');
    text
}

/// CPU time per million packets of both, as far as it is known. Agents and softirqs are not added: where softirqs run
/// inside a system call, most kernels count their time twice.
fn cpu(row: &EngineRow<'_>, fastest: &EngineRow<'_>) -> String {
    let parts = |row: &EngineRow<'_>| {
        let agents = row.per_million(row.figures.agents_cpu_s)?;
        let softirqs = row.per_million(row.figures.softirq_cpu_s);
        let softirqs = softirqs.map_or("not known".to_owned(), |softirqs| format!("{softirqs:.2}"));
        Some(format!("{agents:.2} CPU-seconds of agents (the node's softirqs: {softirqs}, partly the same)"))
    };
    match (parts(row), parts(fastest)) {
        (Some(this), Some(other)) => {
            format!("a million packets took it {this}, and {} {other}", fastest.figures.engine)
        }
        (Some(this), None) => format!("a million packets took it {this}"),
        (None, _) if row.received == Some(0) => "nothing arrived to divide its CPU time by".to_owned(),
        (None, _) => "the CPU time of its agents is not known".to_owned(),
    }
}
