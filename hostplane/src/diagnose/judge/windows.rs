//! Windows: what was asked for, what the kernel grants, and what the path needs.

use hugepage_check::check::Remedy;
use linerate_wire::streams::SentStream;

use super::{Diagnosis, Finding, Severity, ends};
use crate::diagnose::StepKind;
use crate::diagnose::view::HostView;
use crate::result::verdict::{VerdictKind, rate};
use crate::result::{DirectionResult, StreamResult};
use crate::spec::Direction;

/// Longest round trip that is planned for when a limit is suggested.
const SUGGESTED_BYTES: u64 = 16 << 20;

pub(super) fn judge(diagnosis: &Diagnosis, asked: Option<u32>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for direction in [Direction::Forward, Direction::Reverse] {
        let Some((_, result)) = diagnosis.measured(StepKind::Tcp, direction) else { continue };
        match asked {
            Some(asked) => findings.extend(capped(diagnosis, direction, result, asked)),
            None => findings.extend(limited(diagnosis, direction, result)),
        }
    }
    let ends = [("client", Some(diagnosis.client.last())), ("server", server(diagnosis))];
    for (end, view) in ends {
        findings.extend(view.and_then(|view| scaling(end, view)));
        findings.extend(view.and_then(|view| explicit(end, view)));
    }
    findings
}

fn server(diagnosis: &Diagnosis) -> Option<&HostView> {
    diagnosis.server.as_ref().map(crate::diagnose::Both::last)
}

fn receiver_view(diagnosis: &Diagnosis, direction: Direction) -> Option<&HostView> {
    match direction {
        Direction::Forward => server(diagnosis),
        Direction::Reverse => Some(diagnosis.client.last()),
    }
}

fn stream(result: &DirectionResult) -> Option<&StreamResult> {
    result.streams.first()
}

/// Bytes that the path holds: its rate times its shortest round trip.
fn needed(result: &DirectionResult, sent: &SentStream) -> Option<(f64, u32)> {
    let rtt_us = sent.tcp.as_ref()?.min_rtt_us?;
    Some((result.received_bps? / 8.0 * f64::from(rtt_us) / 1e6, rtt_us))
}

fn path_facts(result: &DirectionResult) -> Vec<String> {
    let mut facts = vec![format!("{}: {}", result.verdict.kind, result.verdict.evidence)];
    if let Some((bytes, rtt_us)) = stream(result).and_then(|stream| needed(result, stream.sent.as_ref()?)) {
        let bps = result.received_bps.map_or_else(String::new, rate);
        facts.push(format!("bandwidth-delay product: {bps} × {rtt_us} µs (shortest RTT) = {bytes:.0} bytes"));
    }
    facts
}

/// A window that the user asked for and did not get.
fn capped(
    diagnosis: &Diagnosis,
    direction: Direction,
    result: &DirectionResult,
    asked: u32,
) -> Option<Finding> {
    let (_, receiver) = ends(direction);
    let granted = stream(result)?.received.as_ref()?.buffer_bytes?;
    // The kernel doubles what is asked for: half of it is for its own data.
    let usable = granted / 2;
    let is_limit = result.verdict.kind == VerdictKind::ReceiverWindowLimited;
    if usable >= asked.into() {
        return None;
    }
    let most = receiver_view(diagnosis, direction).and_then(|view| view.limits.receive_max);
    let most = most.map_or_else(|| "unknown".to_owned(), |most| most.to_string());
    let mut words = format!(
        "The window {direction} is capped: {asked} bytes were asked for, and the {receiver}'s kernel grants {usable} \
         (net.core.rmem_max is {most})."
    );
    let severity = if is_limit {
        words.push_str(" It is what limits the direction.");
        Severity::Fault
    } else {
        Severity::Warning
    };
    let remedy = Remedy::type_in([format!("sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}")])
        .note(format!(
            "on the {receiver} (not from inside a pod); or leave --window out: the kernel then adapts the window up to the third \
             number of net.ipv4.tcp_rmem"
        ));
    let finding = Finding::new("window-capped", severity, words)
        .fact(format!("SO_RCVBUF: {granted} bytes, twice what is usable"));
    Some(finding.facts(path_facts(result)).remedy(remedy))
}

/// A window that the kernel chose and that is the limit.
fn limited(diagnosis: &Diagnosis, direction: Direction, result: &DirectionResult) -> Option<Finding> {
    if result.verdict.kind != VerdictKind::ReceiverWindowLimited {
        return None;
    }
    let (_, receiver) = ends(direction);
    let limits = receiver_view(diagnosis, direction).and_then(|view| view.limits.tcp_receive);
    let words = format!("The {receiver}'s receive window limits TCP {direction}.");
    let remedy = limits.map_or_else(Remedy::default, |[least, first, most]| {
        let most = most.max(SUGGESTED_BYTES);
        Remedy::type_in([format!("sysctl -w net.ipv4.tcp_rmem='{least} {first} {most}'")])
    });
    let finding = Finding::new("window-limited", Severity::Warning, words).facts(path_facts(result));
    let fact = limits.map(|[_, _, most]| format!("largest receive buffer (net.ipv4.tcp_rmem): {most} bytes"));
    let note = format!(
        "on the {receiver}; in a pod, as a safe sysctl. A receiver that is slow to read has a closed window, too"
    );
    Some(finding.facts(fact).remedy(remedy.note(note)))
}

fn scaling(end: &str, view: &HostView) -> Option<Finding> {
    if view.limits.window_scaling != Some(false) {
        return None;
    }
    let words = format!("The {end} has TCP window scaling switched off: windows end at 64 KiB.");
    let remedy = Remedy::type_in(["sysctl -w net.ipv4.tcp_window_scaling=1"]).note(format!("on the {end}"));
    Some(Finding::new("window-scaling", Severity::Fault, words).remedy(remedy))
}

/// Limits under which programs that choose their window get less than those that leave it to the kernel.
fn explicit(end: &str, view: &HostView) -> Option<Finding> {
    let (most, [_, _, adapted]) = (view.limits.receive_max?, view.limits.tcp_receive?);
    // The kernel doubles what a program asks for.
    if most.saturating_mul(2) >= adapted {
        return None;
    }
    let words = format!(
        "On the {end}, a program that asks for its window (SO_RCVBUF, iperf3 -w) gets at most {most} bytes (net.core.rmem_max); \
         the kernel's own choice goes up to {} (half of tcp_rmem).",
        adapted / 2
    );
    let remedy = Remedy::type_in([format!("sysctl -w net.core.rmem_max={}", adapted / 2)])
        .note(format!("on the {end}; or do not set the window in programs"));
    Some(Finding::new("window-limits", Severity::Note, words).remedy(remedy))
}
