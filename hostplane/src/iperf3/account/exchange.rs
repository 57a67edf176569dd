//! Results on the wire: what this end tells, and what the peer claims.

use linerate_iperf3::results::{Results, StreamResults};
use linerate_wire::streams::Protocol;

use crate::iperf3::outcome::Role;
use crate::iperf3::plan::stream_ids;
use crate::spec::{Direction, TrialSpec};
use crate::streams::counters::StreamCounters;
use crate::streams::report::{EndReport, EndSample};

/// What a sending peer says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Number of the stream.
    pub(crate) stream: u32,
    /// Bytes that it sent after the omitted beginning.
    pub(crate) bytes: u64,
    /// Datagrams that it numbered; `None` when its counter has overflowed.
    pub(crate) packets: Option<u64>,
}

/// What the peer says of the streams of a direction. Streams that it does not mention are left out.
pub(crate) fn claims(foreign: &Results, trial: &TrialSpec, direction: Direction) -> Vec<Claims> {
    let of = |(stream, id)| {
        let found = foreign.streams.iter().find(|results| results.id == id)?;
        Some(Claims { stream, bytes: found.bytes, packets: u64::try_from(found.packets).ok() })
    };
    stream_ids(trial, direction).filter_map(of).collect()
}

/// This end of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct OwnStream {
    pub(crate) stream: u32,
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
    /// Datagrams missing before the last one received.
    pub(crate) missing: u64,
    pub(crate) jitter_ns: f64,
    pub(crate) retransmits: Option<u64>,
}

impl OwnStream {
    /// The streams of a report.
    pub(crate) fn of_report(report: &EndReport) -> Vec<Self> {
        let sent = report.sending.iter().flat_map(|sending| &sending.streams).map(|sent| Self {
            stream: sent.stream,
            bytes: sent.bytes,
            datagrams: sent.datagrams,
            retransmits: sent.tcp.map(|info| info.retransmits.into()),
            ..Self::default()
        });
        let received =
            report.receiving.iter().flat_map(|receiving| &receiving.streams).map(|received| Self {
                stream: received.stream,
                bytes: received.bytes,
                datagrams: received.datagrams,
                missing: received.missing,
                jitter_ns: received.jitter_ns.unwrap_or(0.0),
                retransmits: None,
            });
        sent.chain(received).collect()
    }

    /// Streams that are still there, by their counters and the last sample.
    pub(crate) fn of_counts(counts: &[(u32, StreamCounters)], last: Option<&EndSample>) -> Vec<Self> {
        let points = last.and_then(|sample| sample.sent.as_ref()).map(|sent| sent.streams.as_slice());
        let retransmits = |number| {
            let point = points.unwrap_or_default().iter().find(|point| point.stream == number)?;
            Some(point.retransmits.into())
        };
        let own = counts.iter().map(|(number, counts)| Self {
            stream: *number,
            bytes: counts.bytes,
            datagrams: counts.datagrams,
            missing: counts.missing,
            jitter_ns: counts.jitter_ns as f64,
            retransmits: retransmits(*number),
        });
        own.collect()
    }
}

/// What else this end tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling<'a> {
    pub(crate) role: Role,
    pub(crate) trial: &'a TrialSpec,
    /// The peer's results, when they came first.
    pub(crate) foreign: Option<&'a Results>,
    /// Counters at the end of the omitted beginning.
    pub(crate) omitted: Option<&'a [(u32, StreamCounters)]>,
    /// Seconds after the omitted beginning.
    pub(crate) seconds: f64,
    /// Per cent of a CPU: in all, of the program's own code, of the kernel for it.
    pub(crate) cpu: [f64; 3],
    pub(crate) congestion: Option<&'a str>,
}

/// This end's results.
pub(crate) fn results(own: &[OwnStream], telling: &Telling<'_>) -> Results {
    let Telling { role, trial, .. } = telling;
    let sends = trial.directions.has(role.sends());
    let tcp = trial.each.protocol == Protocol::Tcp;
    let streams = trial.directions.each().iter().flat_map(|direction| {
        let claims = telling.foreign.map(|foreign| claims(foreign, trial, *direction)).unwrap_or_default();
        let sends = role.sends() == *direction;
        let of = move |(stream, id)| {
            let own = own.iter().find(|own| own.stream == stream)?;
            let claimed = claims.iter().find(|claim| claim.stream == stream).and_then(|claim| claim.packets);
            Some(stream_results(own, id, sends, claimed, telling))
        };
        stream_ids(trial, *direction).filter_map(of)
    });
    Results {
        cpu: telling.cpu,
        sender_has_retransmits: if !sends { -1 } else { tcp.into() },
        congestion: telling.congestion.filter(|_| tcp).map(str::to_owned),
        output: None,
        streams: streams.collect(),
    }
}

fn stream_results(
    own: &OwnStream,
    id: i64,
    sends: bool,
    claimed: Option<u64>,
    telling: &Telling<'_>,
) -> StreamResults {
    let none = StreamCounters::default();
    let omitted =
        telling.omitted.and_then(|omitted| omitted.iter().find(|(number, _)| *number == own.stream));
    let before = omitted.map_or(&none, |(_, counts)| counts);
    // Those that the sender numbered, also after the last one received.
    let highest = own.datagrams + own.missing;
    let packets = if sends { own.datagrams } else { claimed.map_or(highest, |claimed| claimed.max(highest)) };
    let errors = packets - own.datagrams.min(packets);
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    StreamResults {
        id,
        bytes: own.bytes.saturating_sub(before.bytes),
        retransmits: own.retransmits.filter(|_| sends),
        jitter_s: own.jitter_ns / 1e9,
        errors: whole(errors),
        packets: whole(packets),
        omitted: Some((whole(before.missing), whole(before.datagrams + before.missing))),
        times_s: Some((0.0, telling.seconds)),
    }
}
