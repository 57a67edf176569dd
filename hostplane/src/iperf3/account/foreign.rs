//! A direction's figures of both ends, compared.

use linerate_iperf3::results::{Results, StreamResults};
use linerate_wire::streams::{Protocol, ReceivedStream, SentStream};
use serde::Serialize;

use crate::iperf3::outcome::{Outcome, Role};
use crate::iperf3::plan::stream_ids;
use crate::result::{DirectionResult, StreamResult, UdpResult};
use crate::spec::Direction;

/// What the peer says of a direction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Foreign {
    /// Bytes of payload that it sent or received, without those that the test omits.
    pub(crate) bytes: u64,
    /// Seconds of its test; null when it does not tell.
    pub(crate) seconds: Option<f64>,
    /// Segments that it sent again; null where it does not tell.
    pub(crate) retransmits: Option<u64>,
    /// Datagrams that it numbered, or the highest numbers that it received; null for TCP.
    pub(crate) packets: Option<i64>,
    /// Datagrams that it takes for lost; null for TCP and where it sends.
    pub(crate) errors: Option<i64>,
    /// Largest jitter of a stream in seconds; null for TCP and where it sends.
    pub(crate) jitter_s: Option<f64>,
    pub(crate) congestion: Option<String>,
    pub(crate) streams: Vec<ForeignStream>,
}

/// What the peer says of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ForeignStream {
    /// Number of the stream at this end, and in iperf3's results.
    pub(crate) stream: u32,
    pub(crate) id: i64,
    pub(crate) bytes: u64,
    pub(crate) packets: Option<i64>,
    pub(crate) errors: Option<i64>,
}

/// Outcome of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) foreign: Option<Foreign>,
    pub(super) disagreements: Vec<String>,
    pub(super) remarks: Vec<String>,
}

/// Compares a direction, and puts the peer's counts into the figures where this end has none.
pub(super) fn compare(outcome: &Outcome, direction: Direction, figures: &mut DirectionResult) -> Comparison {
    let sends = outcome.role.sends() == direction;
    let udp = outcome.spec.each.protocol == Protocol::Udp;
    let mut comparison = Comparison::default();
    let theirs = outcome.foreign.as_ref().map(|foreign| streams(outcome, foreign, direction));
    let whole = outcome.omit_s == 0;
    figures.streams = figures
        .streams
        .iter()
        .map(|stream| {
            let foreign =
                theirs.as_deref().map(|theirs| theirs.iter().find(|(number, _)| *number == stream.stream));
            stream_result(stream, foreign.map(|found| found.map(|(_, results)| *results)), whole, udp)
        })
        .collect();
    if let Some(udp) = &mut figures.udp {
        udp.delay_note =
            Some("iperf3's datagrams carry the sender's own clock: there is jitter, and no delay".to_owned());
    }
    let (Some(foreign), Some(theirs)) = (&outcome.foreign, theirs) else { return comparison };
    let bytes: u64 = theirs.iter().map(|(_, results)| results.bytes).sum();
    let seconds = theirs
        .iter()
        .filter_map(|(_, results)| results.times_s)
        .map(|(start, end)| end - start)
        .filter(|seconds| *seconds > 0.0)
        .reduce(f64::max);
    let sum = |of: fn(&StreamResults) -> i64| theirs.iter().map(|(_, results)| of(results)).sum::<i64>();
    let told = Foreign {
        bytes,
        seconds,
        retransmits: (!sends && !udp).then(|| theirs.iter().filter_map(|(_, r)| r.retransmits).sum()),
        packets: udp.then(|| sum(|results| results.packets)),
        errors: (udp && sends).then(|| sum(|results| results.errors)),
        jitter_s: (udp && sends).then(|| theirs.iter().map(|(_, r)| r.jitter_s).fold(0.0, f64::max)),
        congestion: foreign.congestion.clone().filter(|_| !udp),
        streams: theirs
            .iter()
            .map(|(stream, results)| ForeignStream {
                stream: *stream,
                id: results.id,
                bytes: results.bytes,
                packets: udp.then_some(results.packets),
                errors: (udp && sends).then_some(results.errors),
            })
            .collect(),
    };
    if !whole {
        comparison.remarks.push(format!(
            "{direction}: the peer does not count the first {} s, and this end does; bytes are not compared",
            outcome.omit_s
        ));
    }
    let datagram_bytes = u64::from(outcome.spec.each.block_bytes.max(1));
    match (sends, udp) {
        (true, false) if whole => sent_bytes(outcome.role, direction, figures, &told, &mut comparison),
        (false, false) if whole => received_bytes(direction, figures, &told, &mut comparison),
        (true, true) if whole => {
            sent_datagrams(outcome.role, direction, figures, &told, datagram_bytes, &mut comparison);
        }
        (false, true) => {
            received_datagrams(direction, figures, &told, datagram_bytes, whole, &mut comparison);
        }
        _ => {}
    }
    comparison.foreign = Some(told);
    comparison
}

fn streams<'a>(
    outcome: &Outcome,
    foreign: &'a Results,
    direction: Direction,
) -> Vec<(u32, &'a StreamResults)> {
    let of = |(stream, id)| {
        let found = foreign.streams.iter().find(|results| results.id == id)?;
        Some((stream, found))
    };
    stream_ids(&outcome.spec, direction).filter_map(of).collect()
}

/// A stream: complete when it ended in order, the peer told its count, and the counts do not contradict.
/// `foreign`: the peer's results, and of them this stream's.
fn stream_result(
    own: &StreamResult,
    foreign: Option<Option<&StreamResults>>,
    whole: bool,
    udp: bool,
) -> StreamResult {
    let ended = |end: &linerate_wire::streams::StreamEnd| end.reason.clone();
    let own_end =
        own.sent.as_ref().map(|sent| ended(&sent.end)).or(own.received.as_ref().map(|r| ended(&r.end)));
    let reason = match (own_end, foreign) {
        (None, _) => Some("this end has no account of it".to_owned()),
        (Some(Some(reason)), _) => Some(reason),
        (Some(None), None) => Some("the peer told no results".to_owned()),
        (Some(None), Some(None)) => Some("the peer's results do not mention it".to_owned()),
        (Some(None), Some(Some(theirs))) => {
            contradiction(own.sent.as_ref(), own.received.as_ref(), theirs, udp).filter(|_| whole)
        }
    };
    StreamResult { stream: own.stream, complete: reason.is_none(), reason, ..copy(own) }
}

fn copy(own: &StreamResult) -> StreamResult {
    StreamResult {
        stream: own.stream,
        complete: own.complete,
        reason: None,
        sent: own.sent.clone(),
        received: own.received.clone(),
    }
}

fn contradiction(
    sent: Option<&SentStream>,
    received: Option<&ReceivedStream>,
    theirs: &StreamResults,
    udp: bool,
) -> Option<String> {
    match (sent, received) {
        (Some(sent), _) if !udp && theirs.bytes > sent.bytes => {
            Some(format!("the peer received {} bytes of the {} that were sent", theirs.bytes, sent.bytes))
        }
        (_, Some(received)) if !udp && received.bytes < theirs.bytes => Some(format!(
            "{} of the {} bytes that the peer says it sent have arrived",
            received.bytes, theirs.bytes
        )),
        (_, Some(received)) if udp && theirs.packets < 0 => Some(format!(
            "the peer's counter of datagrams has overflowed ({}): {} arrived, and how many were lost is not known",
            theirs.packets, received.datagrams
        )),
        (_, Some(received)) if udp && received.datagrams > theirs.packets.unsigned_abs() => Some(format!(
            "{} datagrams arrived of the {} that the peer says it sent, and loss is not known",
            received.datagrams, theirs.packets
        )),
        _ => None,
    }
}

fn per_second(bytes: u64, seconds: Option<f64>) -> Option<f64> {
    seconds.filter(|seconds| *seconds > 0.0).map(|seconds| bytes as f64 / seconds)
}

/// Ending a test may make the peer's time longer than the sending: by these seconds (of TCP; of UDP, whose round-trip
/// time is not known) and round trips, or by this share of the sending.
const ENDING_S: [f64; 2] = [0.5, 1.0];
const ENDING_ROUND_TRIPS: f64 = 4.0;
const ENDING_SHARE: f64 = 0.1;
/// Further time from which the data themselves were late.
const LATE_S: f64 = 1.0;

/// What the peer received of what this end sent. A client of this program ends a test when its data have
/// arrived, some time after the sending: the time of a server's test is not the one in which it received, unless
/// it is so much longer that the data themselves were late. In between, the time is not known.
fn received_there(
    direction: Direction,
    role: Role,
    figures: &mut DirectionResult,
    told: &Foreign,
    into: &mut Comparison,
) {
    let streams = figures.streams.iter().filter_map(|stream| stream.sent.as_ref()?.tcp.as_ref()?.min_rtt_us);
    let round_trips_s = ENDING_ROUND_TRIPS * streams.min().map_or(0.0, |us| f64::from(us) / 1e6);
    let ending_s = ENDING_S[usize::from(figures.udp.is_some())] + round_trips_s;
    let seconds = match (role, told.seconds.zip(figures.sending_s)) {
        (Role::Server, _) => told.seconds,
        (Role::Client, Some((test_s, sending_s)))
            if test_s - sending_s > ending_s.max(ENDING_SHARE * sending_s) =>
        {
            let is_late = test_s - sending_s > (ending_s + LATE_S).max(ENDING_SHARE * sending_s);
            let rate = match is_late {
                true => "the data were late, and the received rate is over the peer's time",
                false => {
                    "whether its end or late data took that is not known, and neither is the received rate"
                }
            };
            into.disagreements.push(format!(
                "{direction}: this end sent for {sending_s:.3} s, and the peer's test took {test_s:.3} s: {rate}"
            ));
            Some(test_s).filter(|_| is_late)
        }
        (Role::Client, _) => figures.sending_s,
    };
    figures.received_bytes = Some(told.bytes);
    (figures.receiving_s, figures.received_over_s) = (seconds, seconds);
    figures.received_bps = per_second(told.bytes.saturating_mul(8), seconds);
}

/// TCP that this end sends.
fn sent_bytes(
    role: Role,
    direction: Direction,
    figures: &mut DirectionResult,
    told: &Foreign,
    into: &mut Comparison,
) {
    received_there(direction, role, figures, told, into);
    let sent = figures.sent_bytes.unwrap_or(0);
    if told.bytes < sent {
        let acked = figures.tcp.as_ref().and_then(|tcp| tcp.acked_bytes);
        let acked = acked.map_or_else(
            || "how many it acknowledged is not known".to_owned(),
            |acked| format!("its kernel acknowledged {acked}"),
        );
        into.disagreements.push(format!(
            "{direction}: {sent} bytes were sent, {acked}, and the peer's program counted {}: iperf3 does not count what it has not read when a test ends",
            told.bytes
        ));
    } else if told.bytes > sent {
        into.disagreements
            .push(format!("{direction}: {sent} bytes were sent, and the peer counted {}", told.bytes));
    }
}

/// The peer sent for so long: what arrived is a load over this time, or over a longer one in which it arrived.
fn sent_for(figures: &mut DirectionResult, seconds: Option<f64>) {
    figures.sending_s = seconds;
    let over = figures.received_over_s.into_iter().chain(seconds).reduce(f64::max);
    figures.received_over_s = over;
    figures.received_bps = figures.received_bytes.and_then(|bytes| per_second(bytes.saturating_mul(8), over));
    if let Some(udp) = figures.udp.as_mut() {
        udp.received_pps = udp.received.and_then(|received| per_second(received, over));
    }
}

/// TCP that this end receives.
fn received_bytes(
    direction: Direction,
    figures: &mut DirectionResult,
    told: &Foreign,
    into: &mut Comparison,
) {
    figures.sent_bytes = Some(told.bytes);
    sent_for(figures, told.seconds);
    figures.offered_bps = per_second(told.bytes.saturating_mul(8), told.seconds);
    let received = figures.received_bytes.unwrap_or(0);
    if received > told.bytes {
        into.disagreements.push(format!(
            "{direction}: {received} bytes were received, and the peer counted {} as sent: versions of iperf3 with threads do not count a write that the end of the test breaks off",
            told.bytes
        ));
    } else if received < told.bytes {
        into.disagreements.push(format!(
            "{direction}: {received} bytes were received of the {} that the peer says it sent",
            told.bytes
        ));
    }
}

fn set_loss(udp: &mut UdpResult, sent: Option<u64>, received: Option<u64>) {
    (udp.sent, udp.received) = (sent, received);
    udp.lost = sent.zip(received).and_then(|(sent, received)| sent.checked_sub(received));
    udp.loss_share =
        udp.lost.zip(sent.filter(|sent| *sent > 0)).map(|(lost, sent)| lost as f64 / sent as f64);
}

/// UDP that this end sends: what the peer received follows from its bytes.
fn sent_datagrams(
    role: Role,
    direction: Direction,
    figures: &mut DirectionResult,
    told: &Foreign,
    datagram_bytes: u64,
    into: &mut Comparison,
) {
    received_there(direction, role, figures, told, into);
    let seconds = figures.receiving_s;
    let Some(udp) = figures.udp.as_mut() else { return };
    let received = told.bytes / datagram_bytes;
    let sent = udp.sent.unwrap_or(0);
    set_loss(udp, Some(sent), Some(received));
    udp.received_pps = per_second(received, seconds);
    let highest = told.packets.and_then(|packets| u64::try_from(packets).ok()).unwrap_or(0);
    if role == Role::Server && highest < sent && received <= sent {
        // The client ended its test while this end was sending.
        (udp.lost, udp.loss_share) = (None, None);
        into.disagreements.push(format!(
            "{direction}: {sent} datagrams were sent, and the peer counted {received} up to number {highest}, so {} of those were lost; whether the last {} arrived after it had ended its test is not known",
            highest.saturating_sub(received),
            sent - highest
        ));
        return;
    }
    if !told.bytes.is_multiple_of(datagram_bytes) {
        into.disagreements.push(format!(
            "{direction}: the peer received {} bytes, which are no whole datagrams of {datagram_bytes}",
            told.bytes
        ));
    }
    if received > sent {
        into.disagreements.push(format!(
            "{direction}: the peer received {received} datagrams of {sent}: iperf3 counts duplicates as received, and loss is not known"
        ));
    }
    let (errors, lost) = (told.errors.unwrap_or(0), udp.lost.unwrap_or(0));
    if udp.lost.is_some() && i64::try_from(lost) != Ok(errors) {
        into.disagreements.push(format!(
            "{direction}: {lost} datagrams were lost, and the peer says {errors}: iperf3 does not see those lost after the last one that it received, and takes a loss back for each datagram that is late or a duplicate"
        ));
    }
}

/// UDP that this end receives: what the peer sent follows from its bytes.
fn received_datagrams(
    direction: Direction,
    figures: &mut DirectionResult,
    told: &Foreign,
    datagram_bytes: u64,
    whole: bool,
    into: &mut Comparison,
) {
    let Some(udp) = figures.udp.as_mut() else { return };
    let numbered = told.packets.and_then(|packets| u64::try_from(packets).ok());
    let accepted =
        whole.then_some(told.bytes / datagram_bytes).filter(|_| told.bytes.is_multiple_of(datagram_bytes));
    // A datagram that the peer's kernel refused has a number, and no bytes.
    let sent = match (accepted, numbered) {
        (Some(accepted), Some(numbered)) => Some(accepted.min(numbered)),
        (accepted, numbered) => accepted.filter(|_| numbered.is_none()).or(numbered),
    };
    let received = udp.received;
    set_loss(udp, sent, received);
    udp.offered_pps = sent.and_then(|sent| per_second(sent, told.seconds));
    udp.refused = numbered.zip(sent).map(|(numbered, sent)| numbered - sent);
    if whole {
        figures.sent_bytes = Some(told.bytes);
        figures.offered_bps = per_second(told.bytes.saturating_mul(8), told.seconds);
    }
    let refused = udp.refused;
    sent_for(figures, told.seconds);
    if let Some(refused @ 1..) = refused {
        into.disagreements.push(format!(
            "{direction}: the peer numbered {refused} datagrams that its own kernel did not take; iperf3 shows them as lost on the path"
        ));
    }
    if sent.zip(received).is_some_and(|(sent, received)| received > sent) {
        into.disagreements.push(format!(
            "{direction}: {} datagrams were received, and the peer says that it sent {}",
            received.unwrap_or(0),
            sent.unwrap_or(0)
        ));
    }
}
