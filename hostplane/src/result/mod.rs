//! From both ends' accounts to figures and a verdict. Pure.

mod account;
pub(crate) mod interval;
pub(crate) mod text;
pub(crate) mod verdict;

use linerate_wire::report::{Latency, LatencySummary, Reordering};
use linerate_wire::streams::{
    CpuUse, Protocol, ReceivedStream, ReceivingReport, SendingEnd, SendingReport, SentSample, SentStream,
    StreamsSpec,
};
use linerate_wire::time::{Throttling, WorkerTime};
use serde::Serialize;

use self::account::{datagrams, stream_bytes};
use self::interval::{Interval, intervals};
use self::verdict::{Verdict, judge};
use crate::client::{ClockRelation, Outcome};
use crate::control::program;
use crate::exchange::probe::ProbeResult;
use crate::spec::Direction;
use crate::spec::TrialSpec;
use crate::streams::report::EndReport;

/// Bits of a gigabit.
const GBIT: f64 = 1e9;

/// A trial's result.
#[derive(Debug, Serialize)]
pub(crate) struct TrialResult {
    pub(crate) program: String,
    /// Start of the trial by the client's calendar, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    /// True when every stream ended in order and both ends' counts agree.
    pub(crate) complete: bool,
    /// True when a signal ended the trial.
    pub(crate) interrupted: bool,
    /// Why the account is not complete, each in one sentence.
    pub(crate) failures: Vec<String>,
    pub(crate) trial: TrialSpec,
    pub(crate) clock: Clock,
    pub(crate) client: End,
    pub(crate) server: End,
    /// Forward first.
    pub(crate) directions: Vec<DirectionResult>,
    pub(crate) intervals: Vec<Interval>,
    /// Oldest intervals that were left out.
    pub(crate) intervals_left_out: u64,
    /// Round-trip times without load and under it; absent when they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<ProbeResult>,
}

/// Relation of the two ends' clocks.
#[derive(Debug, Serialize)]
pub(crate) struct Clock {
    /// True when both ends read the clock of one kernel.
    pub(crate) same: bool,
    /// The server's clock less the client's.
    pub(crate) server_ahead_ns: i64,
    pub(crate) uncertainty_ns: u64,
    /// Shortest round trip of a control line.
    pub(crate) round_trip_ns: u64,
}

/// One end.
#[derive(Debug, Serialize)]
pub(crate) struct End {
    pub(crate) address: std::net::SocketAddr,
    /// Name of the host; null when unknown, and for the client.
    pub(crate) host: Option<String>,
    pub(crate) kernel: Option<String>,
    /// CPU time; null when the end's account is missing.
    pub(crate) cpu: Option<CpuUse>,
    /// CPU seconds of the process per gigabit of payload that the end moved; null where no payload moved, or
    /// the process had other trials at the same time.
    pub(crate) cpu_s_per_gbit: Option<f64>,
    pub(crate) workers: Vec<WorkerTime>,
    pub(crate) throttling: Option<Throttling>,
    pub(crate) notes: Vec<String>,
}

/// One direction.
#[derive(Debug, Serialize)]
pub(crate) struct DirectionResult {
    pub(crate) direction: Direction,
    /// Intended load in bits of payload per second; null: as fast as possible.
    pub(crate) intended_bps: Option<f64>,
    /// Payload that the sender's kernel accepted per second of sending; null when the sender's account is
    /// missing.
    pub(crate) offered_bps: Option<f64>,
    /// Payload that the receiver read per second of `received_over_s`; null when unknown.
    pub(crate) received_bps: Option<f64>,
    /// Seconds of sending, or from the first arrival to the last one where that is longer.
    pub(crate) received_over_s: Option<f64>,
    /// Seconds of sending.
    pub(crate) sending_s: Option<f64>,
    /// Seconds from the start to the last arrival.
    pub(crate) receiving_s: Option<f64>,
    pub(crate) ended: Option<SendingEnd>,
    /// Bytes of payload that the sender's kernel accepted.
    pub(crate) sent_bytes: Option<u64>,
    /// Bytes of payload that the receiver's program read.
    pub(crate) received_bytes: Option<u64>,
    /// Due and never sent: bytes of TCP, datagrams of UDP.
    pub(crate) forgone: Option<u64>,
    /// Seconds for which a socket was full, averaged over the streams.
    pub(crate) full_s: Option<f64>,
    pub(crate) tcp: Option<TcpResult>,
    pub(crate) udp: Option<UdpResult>,
    pub(crate) verdict: Verdict,
    pub(crate) streams: Vec<StreamResult>,
}

/// TCP's own figures of a direction.
#[derive(Debug, Serialize)]
pub(crate) struct TcpResult {
    /// Bytes of payload that the receiver's kernel acknowledged; null where a kernel does not report.
    pub(crate) acked_bytes: Option<u64>,
    /// Segments sent again.
    pub(crate) retransmits: u64,
    /// Share of the segments with payload that were sent again, 0…1; null where the kernel does not report
    /// it.
    pub(crate) retransmit_share: Option<f64>,
    pub(crate) congestion: Option<String>,
    /// Shares of the streams' time, 0…1: with payload under way, and of that limited by the receiver's window
    /// and by the send buffer; null where the kernel does not report it.
    pub(crate) busy_share: Option<f64>,
    pub(crate) window_limited_share: Option<f64>,
    pub(crate) buffer_limited_share: Option<f64>,
    /// Smoothed round-trip time over the samples of all streams: smallest, mean and largest, in microseconds.
    pub(crate) rtt_us: Option<(u32, f64, u32)>,
}

/// UDP's own figures of a direction. sent = received + lost.
#[derive(Debug, Serialize)]
pub(crate) struct UdpResult {
    pub(crate) datagram_bytes: u32,
    pub(crate) intended_pps: Option<f64>,
    pub(crate) offered_pps: Option<f64>,
    pub(crate) received_pps: Option<f64>,
    pub(crate) sent: Option<u64>,
    /// Datagrams that this host's kernel dropped on the way out; not among those sent.
    pub(crate) refused: Option<u64>,
    pub(crate) received: Option<u64>,
    /// Sent less received; null when one of them is missing.
    pub(crate) lost: Option<u64>,
    pub(crate) loss_share: Option<f64>,
    /// Of the lost ones, those that the receiver's socket dropped because its buffer was full.
    pub(crate) socket_drops: Option<u64>,
    pub(crate) duplicates: Option<u64>,
    pub(crate) reordered: Option<u64>,
    pub(crate) reordering: Option<Reordering>,
    pub(crate) foreign: Option<u64>,
    /// First copies too late to be told from duplicates.
    pub(crate) beyond_memory: Option<u64>,
    /// One-way delay from program to program; null with the reason in `delay_note` where the clocks differ.
    pub(crate) delay_ns: Option<LatencySummary>,
    pub(crate) delay_note: Option<String>,
    /// Delay variation (RFC 5481): each delay less the smallest one.
    pub(crate) delay_variation_ns: Option<LatencySummary>,
    /// Why there is none; null when there is one, or nothing arrived.
    pub(crate) delay_variation_note: Option<String>,
    /// Interarrival jitter (RFC 3550) at the end: mean and largest over the streams.
    pub(crate) jitter_ns: Option<(f64, f64)>,
    /// Histogram of the delays: upper bounds in nanoseconds, and datagrams.
    pub(crate) delay_histogram: Vec<(u64, u64)>,
}

/// One stream, at both ends.
#[derive(Debug, Serialize)]
pub(crate) struct StreamResult {
    pub(crate) stream: u32,
    pub(crate) complete: bool,
    /// Why it is not complete.
    pub(crate) reason: Option<String>,
    pub(crate) sent: Option<SentStream>,
    pub(crate) received: Option<ReceivedStream>,
}

/// Both ends' parts in a direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) spec: &'a StreamsSpec,
    pub(crate) sender: Option<&'a EndReport>,
    pub(crate) receiver: Option<&'a EndReport>,
}

impl<'a> Parts<'a> {
    pub(crate) fn sending(&self) -> Option<&'a SendingReport> {
        self.sender?.sending.as_ref()
    }

    pub(crate) fn receiving(&self) -> Option<&'a ReceivingReport> {
        self.receiver?.receiving.as_ref()
    }
}

/// Both ends' accounts of a trial. One of them may be missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounts<'a> {
    pub(crate) spec: &'a TrialSpec,
    pub(crate) client: Option<&'a EndReport>,
    pub(crate) server: Option<&'a EndReport>,
    pub(crate) clock: Option<&'a ClockRelation>,
}

impl TrialResult {
    /// The result of a trial.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let accounts = Accounts {
            spec: &outcome.spec,
            client: Some(&outcome.own),
            server: outcome.theirs.as_ref(),
            clock: Some(&outcome.clock),
        };
        let each = outcome.spec.directions.each().iter();
        let directions: Vec<DirectionResult> =
            each.map(|direction| of_direction(&accounts, *direction, rtt(outcome, *direction))).collect();
        let streams = || directions.iter().flat_map(|direction| &direction.streams);
        let mut failures: Vec<String> = outcome.failure.iter().cloned().collect();
        failures.extend(told(streams()));
        Self {
            program: program(),
            began_unix_s: outcome.began_unix_s,
            complete: outcome.failure.is_none() && streams().all(|stream| stream.complete),
            interrupted: outcome.interrupted,
            failures,
            trial: outcome.spec.clone(),
            clock: Clock {
                same: outcome.clock.same,
                server_ahead_ns: outcome.clock.server_ahead_ns,
                uncertainty_ns: outcome.clock.uncertainty_ns,
                round_trip_ns: outcome.clock.round_trip_ns,
            },
            client: end(Some(&outcome.own), outcome.client, None),
            server: End {
                kernel: outcome.welcome.kernel.clone(),
                ..end(outcome.theirs.as_ref(), outcome.server, outcome.welcome.host.clone())
            },
            directions,
            intervals: intervals(&outcome.samples, outcome.spec.directions),
            intervals_left_out: outcome.samples_left_out,
            probe: None,
        }
    }
}

/// The reasons of incomplete streams: each reason once, with the streams that have it.
pub(crate) fn told<'a>(streams: impl Iterator<Item = &'a StreamResult>) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<u32>)> = Vec::new();
    for stream in streams {
        let Some(reason) = stream.reason.as_deref().filter(|_| !stream.complete) else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, numbers)) => numbers.push(stream.stream),
            None => reasons.push((reason, vec![stream.stream])),
        }
    }
    let words = |(reason, numbers): (&str, Vec<u32>)| match *numbers {
        [one] => format!("stream {one}: {reason}"),
        [first, ..] => format!("{} streams (the first is {first}): {reason}", numbers.len()),
        [] => reason.to_owned(),
    };
    reasons.into_iter().map(words).collect()
}

pub(crate) fn end(report: Option<&EndReport>, address: std::net::SocketAddr, host: Option<String>) -> End {
    let sent = report.and_then(|report| report.sending.as_ref());
    let received = report.and_then(|report| report.receiving.as_ref());
    let moved: u64 = sent.map_or(0, |sent| sent.streams.iter().map(|stream| stream.bytes).sum::<u64>())
        + received.map_or(0, |received| received.streams.iter().map(|stream| stream.bytes).sum());
    let cpu = report.map(|report| report.cpu);
    let gbits = moved as f64 * 8.0 / GBIT;
    End {
        address,
        host,
        kernel: None,
        cpu,
        cpu_s_per_gbit: cpu.filter(|cpu| gbits > 0.0 && !cpu.shared).map(|cpu| cpu.process_s / gbits),
        workers: report.map(|report| report.workers.clone()).unwrap_or_default(),
        throttling: report.and_then(|report| report.throttling),
        notes: report.map(|report| report.notes.clone()).unwrap_or_default(),
    }
}

/// A direction's figures. `rtt_us`: smallest, mean and largest round-trip time of its sender.
pub(crate) fn of_direction(
    accounts: &Accounts<'_>,
    direction: Direction,
    rtt_us: Option<(u32, f64, u32)>,
) -> DirectionResult {
    let (sender, receiver) = match direction {
        Direction::Forward => (accounts.client, accounts.server),
        Direction::Reverse => (accounts.server, accounts.client),
    };
    let spec = &accounts.spec.each;
    let parts = Parts { spec, sender, receiver };
    let first = accounts.spec.directions.first_stream(direction, spec.streams);
    let (sending, receiving) = (parts.sending(), parts.receiving());
    let sent_bytes = sending.map(|sending| sending.streams.iter().map(|stream| stream.bytes).sum::<u64>());
    let received_bytes =
        receiving.map(|receiving| receiving.streams.iter().map(|stream| stream.bytes).sum::<u64>());
    let sending_s = sending.map(|sending| sending.duration_s);
    let receiving_s = receiving.and_then(|receiving| receiving.duration_s);
    let received_over_s = receiving.and_then(|receiving| receiving.load_time_s(sending_s));
    let rate = |bytes: Option<u64>, seconds: Option<f64>| {
        bytes
            .zip(seconds.filter(|seconds| *seconds > 0.0))
            .map(|(bytes, seconds)| bytes as f64 * 8.0 / seconds)
    };
    let mut result = DirectionResult {
        direction,
        intended_bps: spec.load.bits_per_second(spec.block_bytes),
        offered_bps: rate(sent_bytes, sending_s),
        received_bps: rate(received_bytes, received_over_s),
        received_over_s,
        sending_s,
        receiving_s,
        ended: sending.map(|sending| sending.ended),
        sent_bytes,
        received_bytes,
        forgone: sending.map(|sending| sending.forgone),
        full_s: sending.map(|sending| {
            let total: f64 = sending.streams.iter().map(|stream| stream.full_s).sum();
            total / sending.streams.len().max(1) as f64
        }),
        tcp: None,
        udp: None,
        verdict: Verdict::unknown(),
        streams: Vec::new(),
    };
    match spec.protocol {
        Protocol::Tcp => {
            result.streams = account::tcp_streams(&parts, first);
            result.tcp = sending.map(|sending| stream_bytes(sending, rtt_us));
        }
        Protocol::Udp => {
            result.streams = account::udp_streams(&parts, first);
            result.udp = Some(datagrams(&parts, accounts.clock));
        }
    }
    result.verdict = judge(&parts, &result);
    result
}

/// The verdict on a direction whose figures have been completed.
pub(crate) fn judge_direction(
    accounts: &Accounts<'_>,
    direction: Direction,
    figures: &DirectionResult,
) -> Verdict {
    let (sender, receiver) = match direction {
        Direction::Forward => (accounts.client, accounts.server),
        Direction::Reverse => (accounts.server, accounts.client),
    };
    judge(&Parts { spec: &accounts.spec.each, sender, receiver }, figures)
}

/// Round-trip times of a direction's sender over all samples and streams: smallest, mean, largest.
fn rtt(outcome: &Outcome, direction: Direction) -> Option<(u32, f64, u32)> {
    rtt_of(outcome.samples.iter().filter_map(|(own, theirs)| match direction {
        Direction::Forward => own.sent.as_ref(),
        Direction::Reverse => theirs.as_ref()?.sent.as_ref(),
    }))
}

/// Round-trip times in samples of a sender: smallest, mean, largest.
pub(crate) fn rtt_of<'a>(samples: impl Iterator<Item = &'a SentSample>) -> Option<(u32, f64, u32)> {
    let times: Vec<u32> =
        samples.flat_map(|sent| sent.streams.iter().map(|point| point.rtt_us)).filter(|us| *us > 0).collect();
    let (least, most) = (times.iter().min()?, times.iter().max()?);
    let sum: u64 = times.iter().map(|us| u64::from(*us)).sum();
    Some((*least, sum as f64 / times.len() as f64, *most))
}

/// Delays are those of one clock, or of two that were compared.
fn delays(latency: &Latency, clock: Option<&ClockRelation>) -> (Option<LatencySummary>, Option<String>) {
    let Some(clock) = clock else {
        return (None, Some("the ends' clocks were not compared; see delay_variation_ns".to_owned()));
    };
    if clock.same {
        return (Some(latency.summary), None);
    }
    let note = format!(
        "the ends read different clocks, which were compared to ±{:.1} µs only; see delay_variation_ns",
        clock.uncertainty_ns as f64 / 1e3
    );
    (None, Some(note))
}
