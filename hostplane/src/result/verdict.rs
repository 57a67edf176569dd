//! Verdict on a direction: what limited its streams. Pure.

use std::fmt;

use linerate_wire::report::LOAD_TOLERANCE;
use linerate_wire::streams::Protocol;
use linerate_wire::time::{Throttling, WorkerTime};
use serde::{Deserialize, Serialize};

use super::{DirectionResult, Parts, TcpResult, UdpResult};
use crate::streams::report::EndReport;

/// Share of the sending time on a CPU from which a worker was at its limit.
const FULL_SHARE: f64 = 0.95;
/// Share of the sending time that a worker waited for its CPU from which the wait was a limit.
const WAITING_SHARE: f64 = 0.1;
/// Share of the sending time for which a quota stopped the process from which the quota was the limit.
const THROTTLED_SHARE: f64 = 0.02;
/// Share of the time for which sockets were full from which they held the load back.
const FULL_SOCKET_SHARE: f64 = 0.02;
/// Least number of equal steps in which a load is sent each second; a load may be one step off.
const FEWEST_STEPS: f64 = 20.0;

/// What limited a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum VerdictKind {
    /// Nothing: the intended load was offered, and all of it arrived.
    Clean,
    /// TCP: the receiver's window.
    ReceiverWindowLimited,
    /// UDP: the receiver's socket dropped what its program did not read in time.
    ReceiverLimited,
    /// The send buffer, or the queue of the sender's host.
    SendBufferLimited,
    /// The path: its rate, its losses.
    NetworkLimited,
    /// A worker had no CPU time left, or had to wait for its CPU.
    CpuLimited,
    /// A CPU quota stopped the process.
    QuotaLimited,
    /// The sending program did not offer more.
    ApplicationLimited,
    /// There is no account to judge by.
    Unknown,
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerdictKind::Clean => "clean",
            VerdictKind::ReceiverWindowLimited => "receiver-window-limited",
            VerdictKind::ReceiverLimited => "receiver-limited",
            VerdictKind::SendBufferLimited => "send-buffer-limited",
            VerdictKind::NetworkLimited => "network-limited",
            VerdictKind::CpuLimited => "cpu-limited",
            VerdictKind::QuotaLimited => "quota-limited",
            VerdictKind::ApplicationLimited => "application-limited",
            VerdictKind::Unknown => "unknown",
        })
    }
}

/// What limited a direction, and the numbers that say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) kind: VerdictKind,
    /// One sentence with the numbers.
    pub(crate) evidence: String,
}

impl Verdict {
    pub(crate) fn unknown() -> Self {
        Self { kind: VerdictKind::Unknown, evidence: "the account of the sender is missing".to_owned() }
    }
}

/// CPU of one end, compared with the time of sending.
#[derive(Debug, Clone, Copy)]
struct Side<'a> {
    name: &'static str,
    workers: &'a [WorkerTime],
    throttling: Option<&'a Throttling>,
    sending_s: f64,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, report: Option<&'a EndReport>, sending_s: f64) -> Self {
        Self {
            name,
            workers: report.map(|report| report.workers.as_slice()).unwrap_or_default(),
            throttling: report.and_then(|report| report.throttling.as_ref()),
            sending_s: sending_s.max(1e-9),
        }
    }

    fn on_cpu(&self, worker: &WorkerTime) -> f64 {
        ((worker.elapsed_s - worker.off_cpu_s) / self.sending_s).clamp(0.0, 1.0)
    }

    fn waited(&self, worker: &WorkerTime) -> f64 {
        (worker.waited_s.unwrap_or(0.0) / self.sending_s).clamp(0.0, 1.0)
    }

    fn busiest(&self) -> Option<&'a WorkerTime> {
        let load = |worker: &WorkerTime| self.on_cpu(worker) + self.waited(worker);
        self.workers.iter().max_by(|a, b| load(a).total_cmp(&load(b)))
    }

    /// Words on the busiest worker when it was at its limit.
    fn pressed(&self) -> Option<String> {
        let busiest = self.busiest()?;
        let (on_cpu, waited) = (self.on_cpu(busiest), self.waited(busiest));
        (on_cpu >= FULL_SHARE || waited >= WAITING_SHARE).then(|| self.words(busiest))
    }

    fn words(&self, worker: &WorkerTime) -> String {
        let (on_cpu, waited) = (100.0 * self.on_cpu(worker), 100.0 * self.waited(worker));
        let cpu = worker.cpu.map_or_else(|| "a CPU".to_owned(), |cpu| format!("CPU {cpu}"));
        format!(
            "{} worker {} had {cpu} {on_cpu:.1} % of the time and waited for it {waited:.1} %",
            self.name, worker.lcore
        )
    }

    /// Words on a quota when it stopped the process for long.
    fn throttled(&self) -> Option<String> {
        let throttling = self.throttling?;
        (throttling.stopped_s / self.sending_s >= THROTTLED_SHARE)
            .then(|| format!("at the {} end, {throttling}", self.name))
    }
}

/// Judges a direction by its loss first, then by its load.
pub(crate) fn judge(parts: &Parts<'_>, result: &DirectionResult) -> Verdict {
    let (Some(offered_bps), Some(sending_s)) = (result.offered_bps, result.sending_s) else {
        return Verdict::unknown();
    };
    let sender = Side::new("sending", parts.sender, sending_s);
    let receiver = Side::new("receiving", parts.receiver, sending_s);
    let load = load_words(result, offered_bps);
    let (kind, why) = match (&result.udp, &result.tcp) {
        (Some(udp), _) if udp.lost.is_some_and(|lost| lost > 0) => judge_loss(parts, udp, &receiver),
        _ if held(parts, result, offered_bps, sending_s) => (VerdictKind::Clean, clean_words(result)),
        _ if sender.throttled().is_some() || receiver.throttled().is_some() => {
            let words = [sender.throttled(), receiver.throttled()];
            (VerdictKind::QuotaLimited, words.into_iter().flatten().collect::<Vec<_>>().join("; "))
        }
        (Some(udp), _) => judge_datagrams(result, udp, &sender, sending_s),
        (None, Some(tcp)) => judge_streams(parts, tcp, &sender, &receiver),
        (None, None) => return Verdict::unknown(),
    };
    Verdict { kind, evidence: format!("{load}; {why}") }
}

/// True when the intended load was offered.
fn held(parts: &Parts<'_>, result: &DirectionResult, offered_bps: f64, sending_s: f64) -> bool {
    let Some(intended) = result.intended_bps else { return false };
    let datagram_bits = match parts.spec.protocol {
        Protocol::Tcp => 0.0,
        Protocol::Udp => f64::from(parts.spec.block_bytes) * 8.0,
    };
    let slack_bits = (intended / FEWEST_STEPS).min(1e6).max(datagram_bits);
    let off = (offered_bps - intended).abs();
    off <= LOAD_TOLERANCE * intended || off * sending_s <= slack_bits
}

fn load_words(result: &DirectionResult, offered_bps: f64) -> String {
    let offered = rate(offered_bps);
    match result.intended_bps {
        Some(intended) => {
            let off = 100.0 * (offered_bps / intended - 1.0);
            format!("offered {offered} of {} intended ({off:+.3} %)", rate(intended))
        }
        None => format!("offered {offered}, as fast as possible"),
    }
}

fn clean_words(result: &DirectionResult) -> String {
    match (&result.udp, &result.tcp, result.received_bytes) {
        (Some(udp), ..) => format!("all {} datagrams received", udp.sent.unwrap_or(0)),
        (None, Some(tcp), Some(bytes)) => {
            format!("{bytes} bytes received, {} segments sent again", tcp.retransmits)
        }
        _ => "the receiver's account is missing".to_owned(),
    }
}

fn judge_loss(parts: &Parts<'_>, udp: &UdpResult, receiver: &Side<'_>) -> (VerdictKind, String) {
    let (lost, sent) = (udp.lost.unwrap_or(0), udp.sent.unwrap_or(0));
    let mut words =
        format!("{lost} of {sent} datagrams lost ({:.4} %)", 100.0 * lost as f64 / sent.max(1) as f64);
    match udp.socket_drops {
        Some(drops) => {
            let buffer = parts.receiving().and_then(|receiving| receiving.streams.first()?.buffer_bytes);
            let buffer = buffer.map_or_else(String::new, |bytes| format!(" of {bytes} bytes"));
            words.push_str(&format!(
                "; the receiver's kernel dropped {drops} of them because a receive buffer{buffer} was full"
            ));
        }
        None => words.push_str("; drops at the receiver's socket are not known"),
    }
    let pressed = receiver.throttled().or_else(|| receiver.pressed());
    if let Some(pressed) = pressed {
        words.push_str(&format!("; {pressed}"));
    }
    let at_socket = udp.socket_drops.is_some_and(|drops| drops >= lost.div_ceil(2));
    (if at_socket { VerdictKind::ReceiverLimited } else { VerdictKind::NetworkLimited }, words)
}

fn judge_datagrams(
    result: &DirectionResult,
    udp: &UdpResult,
    sender: &Side<'_>,
    sending_s: f64,
) -> (VerdictKind, String) {
    let full_share = result.full_s.unwrap_or(0.0) / sending_s;
    let refused = udp.refused.unwrap_or(0);
    let mut words = format!("sockets were full {:.1} % of the time", 100.0 * full_share);
    if refused > 0 {
        words.push_str(&format!("; this host's kernel refused {refused} datagrams"));
    }
    if let Some(pressed) = sender.pressed() {
        return (VerdictKind::CpuLimited, format!("{words}; {pressed}"));
    }
    if full_share >= FULL_SOCKET_SHARE || refused > 0 {
        return (VerdictKind::SendBufferLimited, words);
    }
    let forgone = result.forgone.unwrap_or(0);
    if forgone > 0 {
        words.push_str(&format!("; {forgone} datagrams were due and never sent"));
    }
    let worker = sender.busiest().map(|worker| format!("; {}", sender.words(worker)));
    (VerdictKind::ApplicationLimited, words + worker.as_deref().unwrap_or_default())
}

/// Shares of the streams' time, 0…1, by what the kernel says limited them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shares {
    window: f64,
    buffer: f64,
    /// Payload was under way, and neither window nor buffer was the limit.
    network: f64,
    /// Nothing was under way.
    idle: f64,
}

fn judge_streams(
    parts: &Parts<'_>,
    tcp: &TcpResult,
    sender: &Side<'_>,
    receiver: &Side<'_>,
) -> (VerdictKind, String) {
    let shares = tcp.busy_share.map(|busy| {
        let (window, buffer) =
            (tcp.window_limited_share.unwrap_or(0.0), tcp.buffer_limited_share.unwrap_or(0.0));
        Shares { window, buffer, network: (busy - window - buffer).max(0.0), idle: 1.0 - busy }
    });
    let Some(Shares { window, buffer, network, idle }) = shares else {
        let words = "this kernel does not tell what limited its streams".to_owned();
        let pressed = sender.pressed().or_else(|| receiver.pressed());
        return match pressed {
            Some(pressed) => (VerdictKind::CpuLimited, format!("{words}; {pressed}")),
            None => (VerdictKind::NetworkLimited, words),
        };
    };
    let mut words = format!(
        "limited by the receiver's window {:.1} %, the send buffer {:.1} %, the network {:.1} % of the time, idle {:.1} %",
        100.0 * window,
        100.0 * buffer,
        100.0 * network,
        100.0 * idle
    );
    words.push_str(&format!("; {} segments sent again", tcp.retransmits));
    if let Some(share) = tcp.retransmit_share.filter(|_| tcp.retransmits > 0) {
        words.push_str(&format!(" ({:.4} %)", 100.0 * share));
    }
    let most = window.max(buffer).max(network).max(idle);
    let pressed = if window == most {
        receiver.pressed()
    } else if idle == most {
        sender.pressed()
    } else {
        sender.pressed().or_else(|| receiver.pressed())
    };
    if let Some(pressed) = pressed {
        return (VerdictKind::CpuLimited, format!("{words}; {pressed}"));
    }
    let kind = if window == most {
        let buffer = parts.receiving().and_then(|receiving| receiving.streams.first()?.buffer_bytes);
        if let Some(bytes) = buffer {
            words.push_str(&format!("; the receive buffer has {bytes} bytes"));
        }
        VerdictKind::ReceiverWindowLimited
    } else if buffer == most {
        let buffer = parts.sending().and_then(|sending| sending.streams.first()?.buffer_bytes);
        if let Some(bytes) = buffer {
            words.push_str(&format!("; the send buffer has {bytes} bytes"));
        }
        VerdictKind::SendBufferLimited
    } else if network == most {
        VerdictKind::NetworkLimited
    } else {
        if let Some(worker) = sender.busiest() {
            words.push_str(&format!("; {}", sender.words(worker)));
        }
        VerdictKind::ApplicationLimited
    };
    (kind, words)
}

/// A rate in bits per second, for people.
pub(crate) fn rate(bps: f64) -> String {
    match bps {
        bps if bps >= 1e9 => format!("{:.3} Gbit/s", bps / 1e9),
        bps if bps >= 1e6 => format!("{:.3} Mbit/s", bps / 1e6),
        bps if bps >= 1e3 => format!("{:.3} kbit/s", bps / 1e3),
        bps => format!("{bps:.0} bit/s"),
    }
}

#[cfg(test)]
mod tests;
