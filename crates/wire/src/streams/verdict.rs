//! Verdict on the streams of a path: what limited them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::report::LOAD_TOLERANCE;
use crate::time::{Throttling, WorkerTime};

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
/// Share of the intended payload that a step may be: of less payload, one step is most of it.
const MOST_SLACK_SHARE: f64 = 0.25;

/// A load is late when it arrives for longer than it was sent: by at least this share of the sending time, and at
/// least these seconds and round trips, which TCP may need to begin, or to send a lost packet again.
const LATE_SHARE: f64 = 0.1;
const LATE_S: f64 = 0.5;
const LATE_ROUND_TRIPS: f64 = 4.0;
/// Share of the time with payload under way from which the receiver's window is the limit of a late load.
const LATE_WINDOW_SHARE: f64 = 0.5;

/// What limited streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StreamsLimit {
    /// Nothing: the intended load was offered, and both ends' accounts say that all of it arrived.
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
    /// There is no account to judge by, or it is not complete.
    Unknown,
}

impl fmt::Display for StreamsLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StreamsLimit::Clean => "clean",
            StreamsLimit::ReceiverWindowLimited => "receiver-window-limited",
            StreamsLimit::ReceiverLimited => "receiver-limited",
            StreamsLimit::SendBufferLimited => "send-buffer-limited",
            StreamsLimit::NetworkLimited => "network-limited",
            StreamsLimit::CpuLimited => "cpu-limited",
            StreamsLimit::QuotaLimited => "quota-limited",
            StreamsLimit::ApplicationLimited => "application-limited",
            StreamsLimit::Unknown => "unknown",
        })
    }
}

/// What limited streams, and the numbers that say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsVerdict {
    /// The limit.
    pub kind: StreamsLimit,
    /// One sentence with the numbers.
    pub evidence: String,
}

/// What a verdict on the streams of a path follows from.
#[derive(Debug, Clone, Copy)]
pub struct StreamsEvidence<'a> {
    /// Transport protocol.
    pub protocol: Protocol,
    /// UDP: payload of a datagram in bytes.
    pub datagram_bytes: u32,
    /// Intended load in bits of payload per second; `None`: as fast as possible.
    pub intended_bps: Option<f64>,
    /// Payload that the sender's kernel accepted per second; `None` without the sender's account.
    pub offered_bps: Option<f64>,
    /// Bytes that the receiver read.
    pub received_bytes: Option<u64>,
    /// Why the account of the first incomplete stream is not complete; `None` when all streams are complete.
    pub incomplete: Option<&'a str>,
    /// Seconds of sending.
    pub sending_s: Option<f64>,
    /// Seconds over which the received load is stated ([`super::report::ReceivingReport::load_time_s`]).
    pub received_over_s: Option<f64>,
    /// Seconds for which a socket was full, on average over the streams.
    pub full_s: Option<f64>,
    /// Units due and never sent.
    pub forgone: Option<u64>,
    /// UDP's counts.
    pub datagrams: Option<DatagramEvidence>,
    /// TCP's figures.
    pub segments: Option<SegmentEvidence>,
    /// Bytes of a send buffer.
    pub send_buffer_bytes: Option<u64>,
    /// Bytes of a receive buffer.
    pub receive_buffer_bytes: Option<u64>,
    /// CPU of the sending end.
    pub sender: CpuEvidence<'a>,
    /// CPU of the receiving end.
    pub receiver: CpuEvidence<'a>,
}

/// UDP's counts of a path, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct DatagramEvidence {
    /// Datagrams that the sender's kernel accepted.
    pub sent: Option<u64>,
    /// Datagrams that it dropped.
    pub refused: Option<u64>,
    /// Sent less received.
    pub lost: Option<u64>,
    /// Datagrams that a full receive buffer dropped.
    pub socket_drops: Option<u64>,
}

/// TCP's figures of a path. Shares are of the streams' time of sending, 0…1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SegmentEvidence {
    /// Segments sent again.
    pub retransmits: u64,
    /// Shortest round-trip time of its streams, in microseconds.
    pub min_rtt_us: Option<u32>,
    /// Share of the segments with payload that were sent again.
    pub retransmit_share: Option<f64>,
    /// Share with payload under way.
    pub busy_share: Option<f64>,
    /// Of that, limited by the receiver's window.
    pub window_limited_share: Option<f64>,
    /// Of that, limited by the send buffer.
    pub buffer_limited_share: Option<f64>,
    /// Share of the time with payload under way, also after the sending, that the receiver's window limited.
    pub window_of_busy: Option<f64>,
}

/// CPU of an end of a path.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuEvidence<'a> {
    /// Its workers.
    pub workers: &'a [WorkerTime],
    /// Throttling of its process by a quota.
    pub throttling: Option<&'a Throttling>,
}

impl StreamsVerdict {
    /// The verdict without an account of the sender.
    pub fn unknown() -> Self {
        Self { kind: StreamsLimit::Unknown, evidence: "the account of the sender is missing".to_owned() }
    }

    /// The verdict on streams that were ended before any of them sent.
    fn unsent() -> Self {
        let evidence = "nothing was sent: the trial was ended before sending began".to_owned();
        Self { kind: StreamsLimit::Unknown, evidence }
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
    fn new(name: &'static str, cpu: CpuEvidence<'a>, sending_s: f64) -> Self {
        let CpuEvidence { workers, throttling } = cpu;
        Self { name, workers, throttling, sending_s: sending_s.max(1e-9) }
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

    /// Words on the busiest worker when it was at its limit: it never had nothing to do. One that waits for its
    /// CPU now and then, and is idle in between, catches up.
    fn full(&self) -> Option<String> {
        let busiest = self.busiest()?;
        (self.on_cpu(busiest) + self.waited(busiest) >= FULL_SHARE).then(|| self.words(busiest))
    }

    /// Words on the busiest worker when it was at its limit, or waited for its CPU for long.
    fn pressed(&self) -> Option<String> {
        let busiest = self.busiest()?;
        let waits = self.waited(busiest) >= WAITING_SHARE;
        self.full().or_else(|| waits.then(|| self.words(busiest)))
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

impl StreamsEvidence<'_> {
    /// Judges the streams by their loss first, then by their load.
    pub fn verdict(&self) -> StreamsVerdict {
        let (offered_bps, sending_s) = match (self.offered_bps, self.sending_s) {
            (Some(offered_bps), Some(sending_s)) => (offered_bps, sending_s),
            (None, Some(0.0)) => return StreamsVerdict::unsent(),
            _ => return StreamsVerdict::unknown(),
        };
        let sender = Side::new("sending", self.sender, sending_s);
        let receiver = Side::new("receiving", self.receiver, sending_s);
        let load = self.load_words(offered_bps);
        let (kind, why) = match (&self.datagrams, &self.segments) {
            (Some(udp), _) if udp.lost.is_some_and(|lost| lost > 0) => self.judge_loss(udp, &receiver),
            _ if self.held(offered_bps, sending_s) => self.judge_held(sending_s, &receiver),
            // Streams that failed at once show no limit.
            _ if offered_bps == 0.0 && self.incomplete.is_some() => self.judge_held(sending_s, &receiver),
            _ if sender.throttled().is_some() || receiver.throttled().is_some() => {
                let words = [sender.throttled(), receiver.throttled()];
                (StreamsLimit::QuotaLimited, words.into_iter().flatten().collect::<Vec<_>>().join("; "))
            }
            (Some(udp), _) => self.judge_datagrams(udp, &sender, sending_s),
            (None, Some(tcp)) => self.judge_streams(tcp, &sender, &receiver),
            (None, None) => return StreamsVerdict::unknown(),
        };
        StreamsVerdict { kind, evidence: format!("{load}; {why}") }
    }

    /// True when the intended load was offered.
    fn held(&self, offered_bps: f64, sending_s: f64) -> bool {
        let Some(intended) = self.intended_bps else { return false };
        let datagram_bits = match self.protocol {
            Protocol::Tcp => 0.0,
            Protocol::Udp => f64::from(self.datagram_bytes) * 8.0,
        };
        let step_bits = (intended / FEWEST_STEPS).min(1e6).min(MOST_SLACK_SHARE * intended * sending_s);
        // Datagrams are whole: the last one may be missing, or early. None at all is no load.
        let slack_bits = if offered_bps > 0.0 { step_bits.max(datagram_bits) } else { step_bits };
        let off = (offered_bps - intended).abs();
        off <= LOAD_TOLERANCE * intended || off * sending_s <= slack_bits
    }

    fn load_words(&self, offered_bps: f64) -> String {
        let offered = bit_rate(offered_bps);
        match self.intended_bps {
            Some(intended) => {
                let off = 100.0 * (offered_bps / intended - 1.0);
                format!("offered {offered} of {} intended ({off:+.3} %)", bit_rate(intended))
            }
            None => format!("offered {offered}, as fast as possible"),
        }
    }

    /// Judges streams that offered the intended load: clean only when all of it is known to have arrived.
    fn judge_held(&self, sending_s: f64, receiver: &Side<'_>) -> (StreamsLimit, String) {
        if let Some(reason) = self.incomplete {
            return (StreamsLimit::Unknown, format!("the account is not complete: {reason}"));
        }
        if let Some(words) = self.late(sending_s) {
            return match receiver.throttled() {
                Some(throttled) => (StreamsLimit::QuotaLimited, format!("{words}; {throttled}")),
                None => match (receiver.pressed(), self.window_of_busy()) {
                    (Some(pressed), _) => (StreamsLimit::CpuLimited, format!("{words}; {pressed}")),
                    (None, LATE_WINDOW_SHARE..) => {
                        let window = "most of the time, the receiver's window limited it";
                        (StreamsLimit::ReceiverWindowLimited, format!("{words}; {window}"))
                    }
                    _ => (StreamsLimit::NetworkLimited, words),
                },
            };
        }
        match (&self.datagrams, &self.segments, self.received_bytes) {
            (Some(DatagramEvidence { sent: Some(sent), lost: Some(_), .. }), ..) => {
                (StreamsLimit::Clean, format!("all {sent} datagrams received"))
            }
            (None, Some(tcp), Some(bytes)) => (
                StreamsLimit::Clean,
                format!("{bytes} bytes received, {} segments sent again", tcp.retransmits),
            ),
            _ => (StreamsLimit::Unknown, "the receiver's account is missing".to_owned()),
        }
    }

    fn window_of_busy(&self) -> f64 {
        self.segments.and_then(|tcp| tcp.window_of_busy).unwrap_or(0.0)
    }

    /// Words on a load that arrived more slowly than it was sent.
    fn late(&self, sending_s: f64) -> Option<String> {
        let over_s = self.received_over_s?;
        let late_s = over_s - sending_s;
        let round_trip_s = self.segments.and_then(|tcp| tcp.min_rtt_us).map_or(0.0, |us| f64::from(us) / 1e6);
        let allowed_s = (LATE_S + LATE_ROUND_TRIPS * round_trip_s).max(LATE_SHARE * sending_s);
        let arrived = bit_rate(self.received_bytes? as f64 * 8.0 / over_s);
        (late_s >= allowed_s)
            .then(|| format!("it arrived at {arrived}, for {late_s:.3} s longer than it was sent"))
    }

    fn judge_loss(&self, udp: &DatagramEvidence, receiver: &Side<'_>) -> (StreamsLimit, String) {
        let (lost, sent) = (udp.lost.unwrap_or(0), udp.sent.unwrap_or(0));
        let mut words =
            format!("{lost} of {sent} datagrams lost ({:.4} %)", 100.0 * lost as f64 / sent.max(1) as f64);
        match udp.socket_drops {
            Some(0) => words.push_str("; none of them at the receiver's socket"),
            Some(drops) => {
                let buffer = self.receive_buffer_bytes;
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
        (if at_socket { StreamsLimit::ReceiverLimited } else { StreamsLimit::NetworkLimited }, words)
    }

    fn judge_datagrams(
        &self,
        udp: &DatagramEvidence,
        sender: &Side<'_>,
        sending_s: f64,
    ) -> (StreamsLimit, String) {
        let full_share = self.full_s.unwrap_or(0.0) / sending_s;
        let refused = udp.refused.unwrap_or(0);
        let mut words = format!("sockets were full {:.1} % of the time", 100.0 * full_share);
        if refused > 0 {
            words.push_str(&format!("; this host's kernel refused {refused} datagrams"));
        }
        if let Some(full) = sender.full() {
            return (StreamsLimit::CpuLimited, format!("{words}; {full}"));
        }
        if full_share >= FULL_SOCKET_SHARE || refused > 0 {
            return (StreamsLimit::SendBufferLimited, words);
        }
        let forgone = self.forgone.unwrap_or(0);
        if forgone > 0 {
            words.push_str(&format!("; {forgone} datagrams were due and never sent"));
        }
        if let Some(pressed) = sender.pressed() {
            return (StreamsLimit::CpuLimited, format!("{words}; {pressed}"));
        }
        let worker = sender.busiest().map(|worker| format!("; {}", sender.words(worker)));
        (StreamsLimit::ApplicationLimited, words + worker.as_deref().unwrap_or_default())
    }

    fn judge_streams(
        &self,
        tcp: &SegmentEvidence,
        sender: &Side<'_>,
        receiver: &Side<'_>,
    ) -> (StreamsLimit, String) {
        let shares = tcp.busy_share.map(|busy| {
            let (window, buffer) =
                (tcp.window_limited_share.unwrap_or(0.0), tcp.buffer_limited_share.unwrap_or(0.0));
            Shares { window, buffer, network: (busy - window - buffer).max(0.0), idle: 1.0 - busy }
        });
        let Some(Shares { window, buffer, network, idle }) = shares else {
            let words = "this kernel does not tell what limited its streams".to_owned();
            let pressed = sender.pressed().or_else(|| receiver.pressed());
            return match pressed {
                Some(pressed) => (StreamsLimit::CpuLimited, format!("{words}; {pressed}")),
                None => (StreamsLimit::NetworkLimited, words),
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
        let cpu = if window == most {
            receiver.full()
        } else if idle == most {
            // Nothing was under way while the sender waited for its CPU.
            sender.pressed()
        } else {
            sender.full().or_else(|| receiver.full())
        };
        if let Some(cpu) = cpu {
            return (StreamsLimit::CpuLimited, format!("{words}; {cpu}"));
        }
        for pressed in [sender.pressed(), receiver.pressed()].into_iter().flatten() {
            words.push_str(&format!("; {pressed}"));
        }
        let kind = if window == most {
            if let Some(bytes) = self.receive_buffer_bytes {
                words.push_str(&format!("; the receive buffer has {bytes} bytes"));
            }
            StreamsLimit::ReceiverWindowLimited
        } else if buffer == most {
            if let Some(bytes) = self.send_buffer_bytes {
                words.push_str(&format!("; the send buffer has {bytes} bytes"));
            }
            StreamsLimit::SendBufferLimited
        } else if network == most {
            StreamsLimit::NetworkLimited
        } else {
            if let Some(worker) = sender.busiest() {
                words.push_str(&format!("; {}", sender.words(worker)));
            }
            StreamsLimit::ApplicationLimited
        };
        (kind, words)
    }
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

/// A rate in bits per second, for people.
pub fn bit_rate(bps: f64) -> String {
    match bps {
        bps if bps >= 1e9 => format!("{:.3} Gbit/s", bps / 1e9),
        bps if bps >= 1e6 => format!("{:.3} Mbit/s", bps / 1e6),
        bps if bps >= 1e3 => format!("{:.3} kbit/s", bps / 1e3),
        bps => format!("{bps:.0} bit/s"),
    }
}
