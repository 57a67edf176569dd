//! Trials of all engines in one form, and what the kernel's path costs in a sentence. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use linerate_experiment::engines::EngineName;
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
    /// The setting of hosts under which it ran; `None` where the document has none.
    pub host_setting: Option<&'s str>,
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
    pub limit: EngineLimit,
    /// One sentence with the numbers behind the limit.
    pub evidence: &'s str,
}

/// What limited a trial, in the words of frames or of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineLimit {
    /// Of a trial of frames.
    Frames(VerdictKind),
    /// Of a trial of datagrams.
    Datagrams(StreamsLimit),
}

impl EngineLimit {
    /// True when the rate is that of an end or of its CPUs rather than of the path between the ends.
    pub fn is_of_tester(self) -> bool {
        match self {
            EngineLimit::Frames(kind) => {
                matches!(kind, VerdictKind::GeneratorLimited | VerdictKind::ReceiverLimited)
            }
            EngineLimit::Datagrams(kind) => {
                !matches!(kind, StreamsLimit::Clean | StreamsLimit::NetworkLimited | StreamsLimit::Unknown)
            }
        }
    }
}

impl fmt::Display for EngineLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineLimit::Frames(kind) => kind.fmt(f),
            EngineLimit::Datagrams(kind) => kind.fmt(f),
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

    /// The engine, with the setting of hosts where there is one.
    pub fn name(&self) -> String {
        match self.host_setting {
            Some(setting) => format!("{}, {setting}", self.figures.engine),
            None => self.figures.engine.to_string(),
        }
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
            host_setting: trial.host_setting.as_ref().map(|setting| setting.name.as_str()),
            flows: trial.flows,
            repeat: trial.repeat,
            intended_pps: trial.intended_pps,
            offered_pps: Some(trial.offered_pps),
            received_pps: Some(trial.received_pps),
            sent: Some(trial.sent_packets),
            received: Some(trial.received_packets),
            lost: Some(trial.lost_packets),
            limit: EngineLimit::Frames(trial.verdict.kind),
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
            host_setting: trial.host_setting.as_ref().map(|setting| setting.name.as_str()),
            flows: trial.parallel,
            repeat: trial.repeat,
            intended_pps: trial.intended_bps.map(|bps| bps / bits),
            offered_pps: rate(trial.sent_datagrams),
            received_pps: rate(trial.received_datagrams),
            sent: trial.sent_datagrams,
            received: trial.received_datagrams,
            lost: trial.lost_datagrams,
            limit: EngineLimit::Datagrams(trial.verdict.kind),
            evidence: &trial.verdict.evidence,
        })
    }
}

/// The trials of an experiment of engines, those of one profile together, in the order of the profiles and engines; none
/// of other experiments.
pub fn rows(summary: &Summary) -> Vec<EngineRow<'_>> {
    let frames = summary.trials.iter().filter_map(EngineRow::of_frames);
    let mut rows: Vec<_> = frames.chain(summary.streams.iter().filter_map(EngineRow::of_datagrams)).collect();
    let profiles = places(rows.iter().map(|row| row.figures.profile.as_str()));
    let settings = places(rows.iter().filter_map(|row| row.host_setting));
    rows.sort_by_key(|row| {
        let setting = row.host_setting.and_then(|name| settings.get(name));
        (profiles.get(row.figures.profile.as_str()), setting, row.repeat)
    });
    rows
}

/// Each name with a number that grows in the order of the names' first mentions.
fn places<'n>(names: impl Iterator<Item = &'n str>) -> HashMap<&'n str, usize> {
    let mut places = HashMap::new();
    for (number, name) in names.enumerate() {
        places.entry(name).or_insert(number);
    }
    places
}

/// What the kernel's path costs against the fastest engine, at the profile at which an engine received most packets per
/// second: a sentence for each engine of the kernel, which names what limited the trials. Of several repeats, each engine
/// has the one with the median rate. Empty when there is nothing to compare.
pub fn comparison(rows: &[EngineRow<'_>]) -> Vec<String> {
    let medians = medians(rows);
    let faster = |a: &&Median<'_, '_>, b: &&Median<'_, '_>| a.speed.total_cmp(&b.speed);
    let Some(fastest) = medians.iter().max_by(faster) else { return Vec::new() };
    let of_profile = || medians.iter().filter(|median| median.is_beside(fastest));
    // Where the load is less than any engine can carry, the one without the kernel is the measure.
    let beside = of_profile().filter(|median| !median.engine().is_of_kernel());
    let as_fast = beside.max_by(faster).filter(|median| median.speed >= AS_FAST * fastest.speed);
    let measure = as_fast.unwrap_or(fastest);
    let kernel = of_profile().filter(|median| median.engine().is_of_kernel());
    let others = kernel.filter(|median| median.engine() != measure.engine());
    let mut told: Vec<String> = others.map(|median| sentence(median, measure)).collect();
    let there: BTreeSet<EngineName> = of_profile().map(Median::engine).collect();
    let all: BTreeSet<EngineName> = rows.iter().map(|row| row.figures.engine).collect();
    let EngineFigures { profile, cores, .. } = fastest.row.figures;
    let cores = if *cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let setting = fastest.row.host_setting.map(|name| format!(" under the host setting {name}"));
    let setting = setting.unwrap_or_default();
    let of_absent = |engine: &EngineName| {
        format!("{engine} has no whole result of the profile {profile} on {cores}{setting}.")
    };
    told.extend(all.difference(&there).map(of_absent));
    told
}

/// The repeat of an engine, at one profile and number of cores, whose rate is the median.
struct Median<'r, 's> {
    row: &'r EngineRow<'s>,
    /// Packets received per second.
    speed: f64,
    /// Repeats with a rate.
    repeats: usize,
}

impl Median<'_, '_> {
    fn engine(&self) -> EngineName {
        self.row.figures.engine
    }

    fn is_beside(&self, other: &Self) -> bool {
        let (one, of_other) = (self.row.figures, other.row.figures);
        one.profile == of_other.profile
            && one.cores == of_other.cores
            && self.row.host_setting == other.row.host_setting
    }
}

/// The median repeat of each engine, profile, number of cores and setting of hosts; of an even number, the slower of the two in the middle.
fn medians<'r, 's>(rows: &'r [EngineRow<'s>]) -> Vec<Median<'r, 's>> {
    let mut groups: Vec<Vec<(f64, &EngineRow<'s>)>> = Vec::new();
    let mut places = BTreeMap::new();
    for row in rows {
        let Some(speed) = row.received_pps else { continue };
        let EngineFigures { engine, profile, cores, .. } = row.figures;
        let place = *places.entry((engine, profile, cores, row.host_setting)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push((speed, row));
    }
    let median = |mut group: Vec<(f64, &'r EngineRow<'s>)>| {
        group.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let repeats = group.len();
        let (speed, row) = *group.get(repeats.saturating_sub(1) / 2)?;
        Some(Median { row, speed, repeats })
    };
    groups.into_iter().filter_map(median).collect()
}

fn sentence(of: &Median<'_, '_>, than: &Median<'_, '_>) -> String {
    let (row, fastest) = (of.row, than.row);
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
    if let Some(setting) = row.host_setting {
        text.push_str(&format!("; both under the host setting {setting}"));
    }
    for limited in [row, fastest].into_iter().filter(|row| row.limit.is_of_tester()) {
        let EngineRow { figures, limit, evidence, .. } = limited;
        text.push_str(&format!(
            "; {} was {limit} ({evidence}), so its rate is the tester's limit, not the path's",
            figures.engine
        ));
    }
    let repeats = |median: &Median<'_, '_>| match median.repeats {
        1 => "one trial".to_owned(),
        repeats => {
            let lower = if repeats % 2 == 0 { "lower " } else { "" };
            format!("the {lower}median of {repeats} repeats")
        }
    };
    if of.repeats.max(than.repeats) > 1 {
        let (one, other) = (repeats(of), repeats(than));
        let both = if one == other {
            format!("both rates are {one}")
        } else {
            format!("its rate is {one}, that of {} {other}", fastest.figures.engine)
        };
        text.push_str(&format!("; {both}"));
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
