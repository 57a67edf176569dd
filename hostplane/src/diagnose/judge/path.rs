//! What the two directions reach, and what limits them.

use hugepage_check::check::{Remedy, shell_word};

use super::{Diagnosis, Finding, Severity, ends, percent, rate_or_unknown};
use crate::diagnose::StepKind;
use crate::diagnose::view::HostView;
use crate::result::DirectionResult;
use crate::result::verdict::{VerdictKind, rate};
use crate::spec::Direction;

/// Difference between the directions from which it is told.
const ASYMMETRY: f64 = 0.1;
/// Gain of several streams from which one stream counts as limited.
const PARALLEL_GAIN: f64 = 1.3;
/// Loss of datagrams from which it is more than a remark.
const LOSS: f64 = 1e-4;
/// Share of retransmitted segments from which it is told.
const RETRANSMITS: f64 = 0.01;
/// Share of the time with payload on the path from which the path, not the receiver, brings a load late.
const UNDER_WAY: f64 = 0.5;
/// Share of a shaper's rate from which the shaper is the limit: its rate counts headers, too.
const SHAPED: f64 = 0.85;

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Reverse];

pub(super) fn judge(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings: Vec<Finding> = asymmetry(diagnosis).into_iter().collect();
    for direction in BOTH {
        findings.extend(shaper(diagnosis, direction));
        findings.extend(verdict(diagnosis, direction));
        findings.extend(one_stream(diagnosis, direction));
        findings.extend(retransmits(diagnosis, direction));
        findings.extend(datagrams(diagnosis, direction));
    }
    findings.extend(not_measured(diagnosis));
    findings.extend(diagnosis.server_note.iter().map(|note| {
        let words = "The server was not seen again after the measurements: what its host dropped meanwhile is not known.";
        Finding::new("server-unseen", Severity::Warning, words).fact(note.clone())
    }));
    findings
}

/// What each end's host shows.
fn sender_view(diagnosis: &Diagnosis, direction: Direction) -> Option<&HostView> {
    match direction {
        Direction::Forward => Some(diagnosis.client.last()),
        Direction::Reverse => diagnosis.server.as_ref().map(super::super::Both::last),
    }
}

/// The shaper at the sender's interface that explains a rate: interface, kind, bits per second.
fn shaped(diagnosis: &Diagnosis, direction: Direction, bps: f64) -> Option<(&str, &str, u64)> {
    let view = sender_view(diagnosis, direction)?;
    let queue = view.queues.iter().find(|queue| {
        let limit = queue.rate_bps.map(|limit| limit as f64);
        limit.is_some_and(|limit| bps >= SHAPED * limit && bps <= 1.05 * limit)
    })?;
    Some((view.link.as_ref()?.name.as_str(), queue.kind.as_str(), queue.rate_bps?))
}

fn shaper_commands(interface: &str) -> Remedy {
    Remedy::type_in([format!("tc -s qdisc show dev {}", shell_word(interface))])
}

fn asymmetry(diagnosis: &Diagnosis) -> Option<Finding> {
    let [forward, reverse] = BOTH.map(|direction| diagnosis.received_bps(StepKind::Tcp, direction));
    let (forward, reverse) = (forward?, reverse?);
    let (slow, slow_bps, fast, fast_bps) = if forward < reverse {
        (Direction::Forward, forward, Direction::Reverse, reverse)
    } else {
        (Direction::Reverse, reverse, Direction::Forward, forward)
    };
    if slow_bps > (1.0 - ASYMMETRY) * fast_bps {
        return None;
    }
    let (sender, receiver) = ends(slow);
    let (_, result) = diagnosis.measured(StepKind::Tcp, slow)?;
    // The program's own limit has a finding of its own, and a load that was held says nothing about the path.
    if result.verdict.kind == VerdictKind::ApplicationLimited || is_held(result) {
        return None;
    }
    let cause = match shaped(diagnosis, slow, slow_bps) {
        Some((interface, kind, limit)) => format!(
            "the {sender}'s interface {interface} has the queueing discipline {kind}, which limits it to {}",
            rate(limit as f64)
        ),
        None => because(result.verdict.kind, sender, receiver).to_owned(),
    };
    let words = format!(
        "TCP is slower {slow} ({sender} to {receiver}): {} against {} {fast}, {} less: {cause}.",
        rate(slow_bps),
        rate(fast_bps),
        percent(1.0 - slow_bps / fast_bps)
    );
    let remedy = match shaped(diagnosis, slow, slow_bps) {
        Some((interface, ..)) => {
            shaper_commands(interface).note(format!("on the {sender}: remove the shaper, or raise its rate"))
        }
        None => remedy_of(result.verdict.kind, sender),
    };
    let finding = Finding::new("asymmetry", Severity::Warning, words);
    Some(finding.facts(BOTH.into_iter().filter_map(|direction| facts(diagnosis, direction))).remedy(remedy))
}

/// True when the load that was asked for was all that limited a direction. It is held to a step of its schedule,
/// which is more than [`ASYMMETRY`] of a short measurement. What the sender's kernel took may still arrive late: the
/// send buffer hides a slower path.
fn is_held(result: &DirectionResult) -> bool {
    let on_path = result.tcp.as_ref().and_then(|tcp| {
        let limited = tcp.window_limited_share.unwrap_or(0.0) + tcp.buffer_limited_share.unwrap_or(0.0);
        Some(tcp.busy_share? - limited)
    });
    let is_path_late = arrives_late(result) && on_path.is_none_or(|share| share >= UNDER_WAY);
    result.verdict.kind == VerdictKind::Clean && !is_path_late
}

/// True when what was sent arrived more slowly.
fn arrives_late(result: &DirectionResult) -> bool {
    let rates = result.received_bps.zip(result.offered_bps);
    rates.is_some_and(|(received, offered)| received < (1.0 - ASYMMETRY) * offered)
}

/// The figures of a direction of TCP in one line.
fn facts(diagnosis: &Diagnosis, direction: Direction) -> Option<String> {
    let (trial, result) = diagnosis.measured(StepKind::Tcp, direction)?;
    let mut words = format!("{direction} {}", rate_or_unknown(result.received_bps));
    if let Some(tcp) = &result.tcp {
        words.push_str(&format!(", {} retransmits", tcp.retransmits));
        if let Some((least, mean, most)) = tcp.rtt_us {
            words.push_str(&format!(", RTT {least} / {mean:.0} / {most} µs"));
        }
    }
    for (name, end) in [("client", &trial.client), ("server", &trial.server)] {
        if let Some(cost) = end.cpu_s_per_gbit {
            words.push_str(&format!(", {name} {cost:.3} CPU s per Gbit"));
        }
    }
    words.push_str(&format!(", {}: {}", result.verdict.kind, result.verdict.evidence));
    Some(words)
}

/// What a verdict means, after a colon.
fn because(kind: VerdictKind, sender: &str, receiver: &str) -> String {
    match kind {
        VerdictKind::ReceiverWindowLimited => format!("the {receiver}'s receive window is the limit"),
        VerdictKind::ReceiverLimited => format!("the {receiver}'s program reads too slowly"),
        VerdictKind::SendBufferLimited => format!("the {sender}'s send buffer, or a queue of its host, is the limit"),
        VerdictKind::NetworkLimited => {
            "the path is the limit, not the hosts: a slower link, a shaper, losses or a queue in this direction"
                .to_owned()
        }
        VerdictKind::CpuLimited => "a CPU is the limit".to_owned(),
        VerdictKind::QuotaLimited => "a CPU quota stopped a process".to_owned(),
        VerdictKind::ApplicationLimited => format!("the {sender}'s program did not offer more"),
        VerdictKind::Clean => "the load left as asked for, and the path brought it more slowly".to_owned(),
        VerdictKind::Unknown => "it is not known why".to_owned(),
    }
}

fn remedy_of(kind: VerdictKind, sender: &str) -> Remedy {
    match kind {
        VerdictKind::CpuLimited | VerdictKind::ApplicationLimited => Remedy::type_in([
            "ps -eLo psr,pcpu,comm --sort=-pcpu | head",
        ])
        .note(
            "see which CPU is taken by what, on the end that the evidence names; choose others with --cpus",
        ),
        VerdictKind::QuotaLimited => Remedy::default()
            .note("raise the CPU limit of the container or cgroup on the end that the evidence names"),
        VerdictKind::ReceiverWindowLimited => {
            Remedy::default().note("see the findings about windows; leave --window out")
        }
        _ => Remedy::type_in(["tc -s qdisc", "ip -s link", "nstat -az TcpRetransSegs TcpExtTCPTimeouts"])
            .note(format!("on the {sender} and on the routers between: which queue drops or shapes")),
    }
}

fn shaper(diagnosis: &Diagnosis, direction: Direction) -> Option<Finding> {
    let bps = [StepKind::TcpParallel, StepKind::Tcp]
        .into_iter()
        .filter_map(|kind| diagnosis.received_bps(kind, direction))
        .reduce(f64::max)?;
    let (interface, kind, limit) = shaped(diagnosis, direction, bps)?;
    let (sender, _) = ends(direction);
    let words = format!(
        "The {sender}'s interface {interface} is limited to {} by its queueing discipline {kind}, and the direction {direction} reaches that.",
        rate(limit as f64)
    );
    let remedy = shaper_commands(interface).note(format!("on the {sender}"));
    let fact = format!("{} of payload arrived, {} with headers are allowed", rate(bps), rate(limit as f64));
    Some(Finding::new("shaper", Severity::Note, words).fact(fact).remedy(remedy))
}

/// Limits that are not the path's.
fn verdict(diagnosis: &Diagnosis, direction: Direction) -> Option<Finding> {
    let (_, result) = diagnosis.measured(StepKind::Tcp, direction)?;
    // A stream that reaches a shaper's rate is limited by the shaper, however much its worker waited.
    if shaped(diagnosis, direction, result.received_bps?).is_some() {
        return None;
    }
    let (name, words) = match result.verdict.kind {
        VerdictKind::CpuLimited => {
            ("cpu-limited", format!("One TCP stream {direction} is limited by a CPU, not by the path."))
        }
        VerdictKind::QuotaLimited => {
            ("quota-limited", format!("TCP {direction} is limited by a CPU quota, not by the path."))
        }
        VerdictKind::ApplicationLimited => {
            let (sender, _) = ends(direction);
            let words = format!("TCP {direction} is limited by the {sender}'s own program, not by the path.");
            ("application-limited", words)
        }
        _ => return None,
    };
    let remedy = remedy_of(result.verdict.kind, ends(direction).0);
    let finding = Finding::new(name, Severity::Warning, words);
    Some(finding.fact(result.verdict.evidence.clone()).remedy(remedy))
}

fn one_stream(diagnosis: &Diagnosis, direction: Direction) -> Option<Finding> {
    let (_, one) = diagnosis.measured(StepKind::Tcp, direction)?;
    let (trial, several) = diagnosis.measured(StepKind::TcpParallel, direction)?;
    let (one_bps, several_bps) = (one.received_bps?, several.received_bps?);
    if several_bps < PARALLEL_GAIN * one_bps || is_held(one) {
        return None;
    }
    let (sender, receiver) = ends(direction);
    let words = format!(
        "One TCP stream does not fill the path {direction}: {} alone, {} on {} streams: {}.",
        rate(one_bps),
        rate(several_bps),
        trial.trial.each.streams,
        because(one.verdict.kind, sender, receiver)
    );
    let remedy = remedy_of(one.verdict.kind, sender);
    let finding = Finding::new("one-stream", Severity::Note, words);
    Some(finding.fact(format!("one stream: {}", one.verdict.evidence)).remedy(remedy))
}

fn retransmits(diagnosis: &Diagnosis, direction: Direction) -> Option<Finding> {
    let (_, result) = diagnosis.measured(StepKind::Tcp, direction)?;
    let tcp = result.tcp.as_ref()?;
    let share = tcp.retransmit_share.filter(|share| *share >= RETRANSMITS)?;
    // A shaper's queue loses what it must.
    if shaped(diagnosis, direction, result.received_bps.unwrap_or(0.0)).is_some() {
        return None;
    }
    let words =
        format!("TCP {direction} sends {} of its segments again: the path loses packets.", percent(share));
    let remedy = remedy_of(VerdictKind::NetworkLimited, ends(direction).0);
    let fact = format!("{} retransmits, {}", tcp.retransmits, rate_or_unknown(result.received_bps));
    Some(Finding::new("retransmits", Severity::Warning, words).fact(fact).remedy(remedy))
}

fn datagrams(diagnosis: &Diagnosis, direction: Direction) -> Option<Finding> {
    let (_, result) = diagnosis.measured(StepKind::Udp, direction)?;
    let udp = result.udp.as_ref()?;
    let (sent, lost) = (udp.sent?, udp.lost?);
    let refused = udp.refused.unwrap_or(0);
    let (sender, receiver) = ends(direction);
    if lost + refused == 0 {
        return arrives_late(result).then(|| late_datagrams(result, direction, sender));
    }
    let at_socket = udp.socket_drops.unwrap_or(0).min(lost);
    let share = (lost + refused) as f64 / (sent + refused).max(1) as f64;
    let (place, remedy) = if at_socket * 2 >= lost && at_socket > 0 {
        let remedy = Remedy::type_in(["sysctl net.core.rmem_max"]).note(format!(
            "on the {receiver}: a CPU of its own for the receiver, or a larger receive buffer"
        ));
        (format!("the {receiver}'s socket overflowed: its program was not read in time"), remedy)
    } else if refused > lost {
        (
            format!("the {sender}'s own kernel refused them: a full queue or a firewall rule"),
            remedy_of(VerdictKind::NetworkLimited, sender),
        )
    } else {
        ("the path lost them".to_owned(), remedy_of(VerdictKind::NetworkLimited, sender))
    };
    let words = format!(
        "UDP {direction} at {} loses {} ({lost} of {sent}): {place}.",
        rate_or_unknown(result.intended_bps),
        percent(share)
    );
    let severity = if share >= LOSS { Severity::Warning } else { Severity::Note };
    let finding = Finding::new("udp-loss", severity, words).fact(datagram_facts(result));
    Some(finding.remedy(remedy))
}

/// Datagrams that all arrived, and more slowly than they were sent.
fn late_datagrams(result: &DirectionResult, direction: Direction, sender: &str) -> Finding {
    let words = format!(
        "UDP {direction} at {} arrives at {}, and nothing is lost: a queue on the way holds it back.",
        rate_or_unknown(result.offered_bps),
        rate_or_unknown(result.received_bps)
    );
    let remedy = remedy_of(VerdictKind::NetworkLimited, sender);
    let finding = Finding::new("udp-slow", Severity::Warning, words).fact(datagram_facts(result));
    finding.fact(result.verdict.evidence.clone()).remedy(remedy)
}

fn datagram_facts(result: &DirectionResult) -> String {
    let udp = result.udp.as_ref();
    let count =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    format!(
        "sent {}, received {}, lost {}, dropped at the receiver's socket {}, refused by the sender's kernel {}",
        count(udp.and_then(|udp| udp.sent)),
        count(udp.and_then(|udp| udp.received)),
        count(udp.and_then(|udp| udp.lost)),
        count(udp.and_then(|udp| udp.socket_drops)),
        count(udp.and_then(|udp| udp.refused))
    )
}

/// Measurements without a complete result.
fn not_measured(diagnosis: &Diagnosis) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in &diagnosis.steps {
        let name = match step.kind {
            StepKind::Tcp => "One TCP stream",
            StepKind::TcpParallel => "Several TCP streams",
            StepKind::Udp => "UDP",
        };
        let reasons = match (&step.reason, &step.result) {
            (Some(reason), _) => vec![reason.clone()],
            (None, Some(result)) if !result.complete => result.failures.clone(),
            _ => continue,
        };
        let words = format!("{name} {} gave no complete result.", step.direction);
        findings.push(Finding::new("not-measured", Severity::Fault, words).facts(reasons));
    }
    findings
}
