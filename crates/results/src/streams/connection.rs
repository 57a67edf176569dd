//! A connection of a trial: both ends' accounts as figures and a verdict. Pure.

use std::collections::BTreeSet;

use linerate_wire::report::{LatencySummary, Report};
use linerate_wire::streams::{
    CpuEvidence, CpuUse, DatagramEvidence, PathReport, Protocol, ReceivedStream, SegmentEvidence, SentStream,
    StreamsEvidence, StreamsSpec, StreamsVerdict, TcpInfo, gap,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{ConnectionEnds, StreamsTrialRecord};
use crate::store::inner_path;

/// Most reasons of a connection that are told one by one.
const MOST_REASONS: usize = 4;
/// A connection is alive when bytes arrived in the last so many intervals of samples.
const ALIVE_INTERVALS: f64 = 2.0;
/// Shortest time in which bytes must have arrived, in seconds.
const SHORTEST_ALIVE_S: f64 = 1.0;

/// Round-trip times of a connection's streams as the sender's kernel measured them, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RttSummary {
    /// Smallest of all streams; null where the kernel does not report it.
    pub min: Option<f64>,
    /// Smoothed time at the end, on average over the streams.
    pub smoothed: f64,
    /// Its mean deviation, on average over the streams.
    pub deviation: f64,
}

/// One-way delays between two clocks, in nanoseconds. If the clocks drift evenly, each figure is off by `uncertainty_ns` at most, in either direction,
/// and by the width of a bucket of the histogram; negative times count as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoundedDelay {
    /// The figures.
    #[serde(flatten)]
    pub delay: LatencySummary,
    /// Bound of the clocks' difference: half of the fastest round trip to each agent, and the drift between the two comparisons.
    pub uncertainty_ns: u64,
}

/// A connection of a trial: all of its streams together. All rates are of payload.
///
/// TCP: `written_bytes = acked_bytes = received_bytes`, or `complete` is false. UDP: `sent_datagrams =
/// received_datagrams + lost_datagrams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionSummary {
    /// Its name, such as `a0-a1` or `a0-a1:net1`.
    pub connection: String,
    /// Its number in the trial.
    pub number: u32,
    /// Agent that sent.
    #[serde(deserialize_with = "inner_path::name")]
    pub from: String,
    /// Agent that received.
    #[serde(deserialize_with = "inner_path::name")]
    pub to: String,
    /// Interface that the document gives; null: the kernel's choice.
    pub interface: Option<String>,
    /// Addresses of the first stream as its sender saw them; null when it had none.
    pub addresses: Option<(String, String)>,
    /// True when bytes of it still arrived in the last two intervals of samples (at least in the last second) of sending, and no end was lost.
    pub alive: bool,
    /// Streams whose account is complete.
    pub streams_complete: u32,
    /// True when all streams have a complete account.
    pub complete: bool,
    /// Why it is not complete, each in one sentence; the first few.
    pub reasons: Vec<String>,
    /// Remarks of the agents.
    pub notes: Vec<String>,
    /// Intended load in bits per second; null for as fast as possible.
    pub intended_bps: Option<f64>,
    /// Bits per second of sending that the sender's kernel accepted; null when the sender's account is missing.
    pub offered_bps: Option<f64>,
    /// Bits per second that the receiver read, over `received_over_s`; null when unknown.
    pub received_bps: Option<f64>,
    /// Seconds of sending, or from the first arrival to the last one where that is longer. Absent from results of earlier versions:
    /// their load is over `receiving_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_over_s: Option<f64>,
    /// Seconds of sending.
    pub sending_s: Option<f64>,
    /// Seconds from the start to the last arrival.
    pub receiving_s: Option<f64>,
    /// Bytes that the sender's kernel accepted.
    pub written_bytes: Option<u64>,
    /// Bytes that the receiver's kernel acknowledged; null for UDP.
    pub acked_bytes: Option<u64>,
    /// Bytes that the receiver read; of UDP those of first copies.
    pub received_bytes: Option<u64>,
    /// Units due and never sent: bytes of TCP, datagrams of UDP.
    pub forgone: Option<u64>,
    /// TCP: segments sent again; null for UDP.
    pub retransmits: Option<u64>,
    /// TCP: share of the segments with payload that were sent again, 0…1.
    pub retransmit_share: Option<f64>,
    /// TCP: round-trip times.
    pub rtt_us: Option<RttSummary>,
    /// TCP: congestion control of the first stream.
    pub congestion: Option<String>,
    /// UDP: datagrams that the sender's kernel accepted.
    pub sent_datagrams: Option<u64>,
    /// UDP: first copies received.
    pub received_datagrams: Option<u64>,
    /// UDP: sent less received.
    pub lost_datagrams: Option<u64>,
    /// UDP: datagrams that the sender's kernel refused; not among those sent.
    pub refused_datagrams: Option<u64>,
    /// UDP: of the lost ones, those that a full receive buffer dropped; null where the kernel does not report it.
    pub socket_drops: Option<u64>,
    /// UDP: further copies.
    pub duplicate_datagrams: Option<u64>,
    /// UDP: first copies that arrived after a later one (RFC 4737).
    pub reordered_datagrams: Option<u64>,
    /// UDP: datagrams that are not this trial's.
    pub foreign_datagrams: Option<u64>,
    /// UDP: interarrival jitter (RFC 3550) at the end, on average over the streams, in nanoseconds.
    pub jitter_ns: Option<f64>,
    /// UDP: one-way delay in nanoseconds; null when the ends read different clocks, see `delay_note`.
    pub delay_ns: Option<LatencySummary>,
    /// Why there is no delay; null when there is one, and for TCP.
    pub delay_note: Option<String>,
    /// UDP: one-way delay between machines whose clocks were compared before and after; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_delay_ns: Option<BoundedDelay>,
    /// UDP: delay variation (RFC 5481) in nanoseconds: each delay less the smallest one; null where clocks disagree by more than delays.
    pub delay_variation_ns: Option<LatencySummary>,
    /// What limited it.
    pub verdict: StreamsVerdict,
}

/// Both ends of a connection with what is needed to judge them.
struct Ends<'a> {
    spec: &'a StreamsSpec,
    sender: Option<&'a PathReport>,
    receiver: Option<&'a PathReport>,
    sending_agent: Option<&'a Report<CpuUse>>,
    receiving_agent: Option<&'a Report<CpuUse>>,
}

impl ConnectionSummary {
    /// The figures of a connection of `record`.
    pub fn of(record: &StreamsTrialRecord, ends: &ConnectionEnds) -> Self {
        let (from, to) = (record.agent(&ends.from), record.agent(&ends.to));
        let parts = Ends {
            spec: &record.spec,
            sender: ends.sender.as_ref(),
            receiver: ends.receiver.as_ref(),
            sending_agent: from.and_then(|agent| agent.report.as_ref()),
            receiving_agent: to.and_then(|agent| agent.report.as_ref()),
        };
        let lost = [from, to].into_iter().flatten();
        let lost =
            lost.filter_map(|agent| Some(format!("{} was lost: {}", agent.agent, agent.lost.as_ref()?)));
        parts.summary(ends, record.sample_interval_s, lost.collect())
    }
}

impl Ends<'_> {
    fn summary(&self, ends: &ConnectionEnds, interval_s: f64, lost: Vec<String>) -> ConnectionSummary {
        let spec = self.spec;
        let is_udp = spec.protocol == Protocol::Udp;
        let sending = self.sender.and_then(|path| path.sending.as_ref());
        let receiving = self.receiver.and_then(|path| path.receiving.as_ref());
        let sending_s = sending.map(|sending| sending.duration_s);
        let receiving_s = receiving.and_then(|receiving| receiving.duration_s);
        let received_over_s = receiving.and_then(|receiving| receiving.load_time_s(sending_s));
        // A sum that does not fit is not known.
        let sent = |of: fn(&SentStream) -> Option<u64>| {
            sending?.streams.iter().try_fold(0_u64, |sum, stream| sum.checked_add(of(stream)?))
        };
        let received = |of: fn(&ReceivedStream) -> Option<u64>| {
            receiving?.streams.iter().try_fold(0_u64, |sum, stream| sum.checked_add(of(stream)?))
        };
        let written = sent(|stream| Some(stream.bytes));
        let received_bytes = received(|stream| Some(stream.bytes));
        let rate = |bytes: Option<u64>, seconds: Option<f64>| {
            let seconds = seconds.filter(|seconds| *seconds > 0.0)?;
            Some(bytes? as f64 * 8.0 / seconds)
        };
        let (complete, mut reasons) = self.gaps();
        let total = spec.streams;
        let window = (ALIVE_INTERVALS * interval_s).max(SHORTEST_ALIVE_S);
        let alive = lost.is_empty()
            && received_bytes.is_some_and(|bytes| bytes > 0)
            && match (sending_s.or(spec.duration_ms.map(|ms| ms as f64 / 1e3)), receiving_s) {
                (Some(sending), Some(last)) => last >= sending - window,
                (None, last) => last.is_some(),
                (Some(_), None) => false,
            };
        reasons.extend(lost);
        let udp = |value: Option<u64>| value.filter(|_| is_udp);
        let sent_datagrams = udp(sent(|stream| Some(stream.datagrams)));
        let received_datagrams = udp(received(|stream| Some(stream.datagrams)));
        let latency = receiving.and_then(|receiving| receiving.latency.as_ref());
        let delay_note = latency.and(ends.delay_note.clone());
        let jitters: Vec<f64> = receiving
            .iter()
            .flat_map(|receiving| &receiving.streams)
            .filter(|stream| stream.datagrams > 1)
            .filter_map(|stream| stream.jitter_ns)
            .collect();
        let segments = sending.filter(|_| !is_udp).map(SegmentEvidence::of);
        let mut summary = ConnectionSummary {
            connection: ends.connection.clone(),
            number: ends.number,
            from: ends.from.clone(),
            to: ends.to.clone(),
            interface: ends.interface.clone(),
            addresses: sending.and_then(|sending| {
                let first = sending.streams.first()?;
                Some((first.local?.to_string(), first.peer?.to_string()))
            }),
            alive,
            streams_complete: complete,
            complete: complete == total && reasons.is_empty(),
            reasons,
            notes: [self.sender, self.receiver]
                .into_iter()
                .flatten()
                .flat_map(|path| path.notes.clone())
                .collect(),
            intended_bps: spec.load.bits_per_second(spec.block_bytes),
            offered_bps: rate(written, sending_s),
            received_bps: rate(received_bytes, received_over_s),
            received_over_s,
            sending_s,
            receiving_s,
            written_bytes: written,
            acked_bytes: sent(|stream| stream.acked_bytes).filter(|_| !is_udp),
            received_bytes,
            forgone: sending.map(|sending| sending.forgone),
            retransmits: segments.map(|segments| segments.retransmits),
            retransmit_share: segments.and_then(|segments| segments.retransmit_share),
            rtt_us: self.rtt(),
            congestion: sending.and_then(|sending| sending.streams.first()?.congestion.clone()),
            sent_datagrams,
            received_datagrams,
            lost_datagrams: sent_datagrams
                .zip(received_datagrams)
                .and_then(|(sent, got)| sent.checked_sub(got)),
            refused_datagrams: udp(sent(|stream| Some(stream.refused))),
            socket_drops: udp(received(|stream| stream.socket_drops)),
            duplicate_datagrams: udp(received(|stream| Some(stream.duplicates))),
            reordered_datagrams: udp(received(|stream| Some(stream.reordered))),
            foreign_datagrams: udp(received(|stream| Some(stream.foreign))),
            jitter_ns: (!jitters.is_empty()).then(|| jitters.iter().sum::<f64>() / jitters.len() as f64),
            delay_ns: latency.filter(|_| delay_note.is_none()).map(|latency| latency.summary),
            delay_note,
            bounded_delay_ns: latency
                .zip(ends.delay_bound_ns)
                .map(|(latency, bound_ns)| BoundedDelay { delay: latency.summary, uncertainty_ns: bound_ns }),
            // Times that count as 0 have lost how much they differ.
            delay_variation_ns: latency
                .filter(|latency| latency.negative == 0)
                .map(|latency| latency.variation),
            verdict: StreamsVerdict::unknown(),
        };
        summary.verdict = self.verdict(&summary, segments);
        summary
    }

    /// Number of complete streams, and why the others are not, the first few one by one.
    fn gaps(&self) -> (u32, Vec<String>) {
        let sent = self.sender.and_then(|path| path.sending.as_ref()).map(|sending| &sending.streams[..]);
        let received =
            self.receiver.and_then(|path| path.receiving.as_ref()).map(|receiving| &receiving.streams[..]);
        let total = self.spec.streams;
        let gap_of = |stream: u32| {
            // Reports have the streams in the order of their numbers.
            let sent =
                sent.and_then(|all| Some(&all[all.binary_search_by_key(&stream, |one| one.stream).ok()?]));
            let received = received
                .and_then(|all| Some(&all[all.binary_search_by_key(&stream, |one| one.stream).ok()?]));
            gap(self.spec.protocol, sent, received)
        };
        // What is reported bounds the work, whatever number of streams a record claims.
        let reported: BTreeSet<u32> = sent.into_iter().flatten().map(|stream| stream.stream).collect();
        let whole = |stream: &&u32| **stream < total && gap_of(**stream).is_none();
        let complete = reported.iter().filter(whole).count() as u32;
        let told = |stream: u32| Some(format!("stream {stream}: {}", gap_of(stream)?));
        let mut reasons: Vec<String> = (0..total).filter_map(told).take(MOST_REASONS).collect();
        let further = total.saturating_sub(complete).saturating_sub(reasons.len() as u32);
        if further > 0 {
            reasons.push(format!("{further} further streams are not complete"));
        }
        (complete, reasons)
    }

    fn rtt(&self) -> Option<RttSummary> {
        let infos: Vec<&TcpInfo> = self
            .sender?
            .sending
            .iter()
            .flat_map(|sending| &sending.streams)
            .filter_map(|stream| stream.tcp.as_ref())
            .filter(|info| info.rtt_us > 0)
            .collect();
        let count = infos.len() as f64;
        (!infos.is_empty()).then(|| RttSummary {
            min: infos.iter().filter_map(|info| info.min_rtt_us).min().map(f64::from),
            smoothed: infos.iter().map(|info| f64::from(info.rtt_us)).sum::<f64>() / count,
            deviation: infos.iter().map(|info| f64::from(info.rttvar_us)).sum::<f64>() / count,
        })
    }

    fn verdict(&self, summary: &ConnectionSummary, segments: Option<SegmentEvidence>) -> StreamsVerdict {
        let sending = self.sender.and_then(|path| path.sending.as_ref());
        let receiving = self.receiver.and_then(|path| path.receiving.as_ref());
        let is_udp = self.spec.protocol == Protocol::Udp;
        StreamsEvidence {
            protocol: self.spec.protocol,
            datagram_bytes: self.spec.block_bytes,
            intended_bps: summary.intended_bps,
            offered_bps: summary.offered_bps,
            received_bytes: summary.received_bytes,
            incomplete: summary.reasons.first().map(String::as_str),
            sending_s: summary.sending_s,
            received_over_s: summary.received_over_s,
            full_s: sending.map(|sending| {
                let total: f64 = sending.streams.iter().map(|stream| stream.full_s).sum();
                total / sending.streams.len().max(1) as f64
            }),
            forgone: summary.forgone,
            datagrams: is_udp.then_some(DatagramEvidence {
                sent: summary.sent_datagrams,
                refused: summary.refused_datagrams,
                lost: summary.lost_datagrams,
                socket_drops: summary.socket_drops,
            }),
            segments,
            send_buffer_bytes: sending.and_then(|sending| sending.streams.first()?.buffer_bytes),
            receive_buffer_bytes: receiving.and_then(|receiving| receiving.streams.first()?.buffer_bytes),
            sender: cpu(self.sending_agent),
            receiver: cpu(self.receiving_agent),
        }
        .verdict()
    }
}

fn cpu(report: Option<&Report<CpuUse>>) -> CpuEvidence<'_> {
    report
        .map(|report| CpuEvidence { workers: &report.workers, throttling: report.throttling.as_ref() })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::fixtures::streams::pair;
    use linerate_wire::streams::Protocol;

    #[test]
    fn numbers_that_nobody_counted_have_no_sums_and_cost_no_time() {
        let mut record = pair(Protocol::Tcp, 2, 1).record;
        record.spec.streams = u32::MAX;
        let sending = record.ends[0].sender.as_mut().unwrap().sending.as_mut().unwrap();
        sending.streams[0].bytes = u64::MAX;
        let figures = &record.figures()[0];
        assert_eq!((figures.written_bytes, figures.offered_bps, figures.complete), (None, None, false));
        assert_eq!((figures.streams_complete, figures.reasons.len()), (1, 5));
        let further = format!("{} further streams are not complete", u32::MAX - 1 - 4);
        assert_eq!(figures.reasons[4], further);
    }
}
