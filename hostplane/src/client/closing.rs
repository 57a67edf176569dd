//! The end of a trial's intervals: what both ends counted in all stands at the end of the last one. Pure.

use std::collections::VecDeque;

use linerate_wire::streams::{ReceivedSample, ReceivingReport, SendingReport, SentSample};

use crate::streams::report::{EndReport, EndSample, LastReading};
use crate::streams::session::{MOST_STREAMS_OF_SAMPLE, point};

/// Share of an interval from which a rest is an interval of its own; a shorter one belongs to the interval before it.
const SHOWN_SHARE: u64 = 10;

/// Completes the samples of a trial by the ends' accounts, so that intervals add up to them. True when a last interval was
/// added: it ends with the trial, and not on the grid.
pub(super) fn close(
    samples: &mut VecDeque<(EndSample, Option<EndSample>)>,
    own: &EndReport,
    theirs: Option<&EndReport>,
    interval_ms: u32,
) -> bool {
    let end_ns = end_ns(own).max(theirs.map_or(0, end_ns));
    if let Some(theirs) = theirs {
        complete_server(samples, theirs);
    }
    if let Some((client, server)) = samples.back_mut()
        && end_ns <= client.at_ns
    {
        // Counted while the samples were taken.
        fold(client, own);
        server.iter_mut().zip(theirs).for_each(|(server, theirs)| fold(server, theirs));
        return false;
    }
    if let Some((_, Some(server))) = samples.back_mut()
        && let Some(theirs) = theirs.filter(|_| end_ns <= server.at_ns)
    {
        fold(server, theirs);
    }
    let shown_ns = u64::from(interval_ms) * 1_000_000 / SHOWN_SHARE;
    if let Some((client, server)) = samples.back_mut()
        && end_ns - client.at_ns < shown_ns
    {
        extend(client, own, end_ns);
        server.iter_mut().zip(theirs).for_each(|(server, theirs)| extend(server, theirs, end_ns));
        return false;
    }
    let none = (EndSample::default(), Some(EndSample::default()));
    let (client, server) = samples.back().unwrap_or(&none);
    let index = client.index + 1;
    if end_ns == 0 {
        return false;
    }
    let last = total(client, own, index, end_ns);
    let their_last = theirs.zip(server.as_ref()).map(|(theirs, before)| total(before, theirs, index, end_ns));
    samples.push_back((last, their_last));
    true
}

/// A server that has ended before the client's last samples has none for them.
fn complete_server(samples: &mut VecDeque<(EndSample, Option<EndSample>)>, theirs: &EndReport) {
    let known = samples.iter().rposition(|(_, server)| server.is_some());
    let next_ns = samples.get(known.map_or(0, |at| at + 1)).map(|(client, _)| client.at_ns);
    let last = known.and_then(|at| samples.get_mut(at)?.1.as_mut());
    if let Some((last, _)) = last.zip(next_ns).filter(|(last, next_ns)| *next_ns <= last.at_ns) {
        // The server's last reading was later than the client's next one: no time is left for an interval with bytes.
        fold(last, theirs);
    }
    let mut before = known.and_then(|at| samples.get(at)?.1.clone()).unwrap_or_default();
    for (client, server) in samples.range_mut(known.map_or(0, |at| at + 1)..) {
        before = total(&before, theirs, client.index, client.at_ns);
        *server = Some(before.clone());
    }
}

/// The end of sending, or the last arrival, whichever is later.
fn end_ns(report: &EndReport) -> u64 {
    let sent_s = report.sending.as_ref().map_or(0.0, |sending| sending.duration_s);
    let received_s = report.receiving.as_ref().and_then(|receiving| receiving.duration_s).unwrap_or(0.0);
    (sent_s.max(received_s) * 1e9).round() as u64
}

/// Puts the whole account into a sample.
fn fold(sample: &mut EndSample, report: &EndReport) {
    let alive = sample.received.as_ref().map(|received| received.alive);
    let mut whole = total(sample, report, sample.index, sample.at_ns);
    if let (Some(received), Some(alive)) = (&mut whole.received, alive) {
        received.alive = alive;
    }
    *sample = whole;
}

/// Puts the whole account into a sample, and moves its end to `end_ns` unless it is later.
fn extend(sample: &mut EndSample, report: &EndReport, end_ns: u64) {
    fold(sample, report);
    sample.at_ns = sample.at_ns.max(end_ns);
}

/// The whole account as a sample at `at_ns`. `before` is the last one in which CPU time and delays were read.
fn total(before: &EndSample, report: &EndReport, index: u32, at_ns: u64) -> EndSample {
    let datagrams = before.received.as_ref().map_or(0, |received| received.datagrams);
    let streams = report.sending.as_ref().map_or(0, |sending| sending.streams.len())
        + report.receiving.as_ref().map_or(0, |receiving| receiving.streams.len());
    let each = streams <= MOST_STREAMS_OF_SAMPLE;
    EndSample {
        index,
        at_ns: at_ns.max(before.at_ns),
        sent: report.sending.as_ref().map(|sending| sent(sending, each)),
        received: report.receiving.as_ref().map(|receiving| received(receiving, before, each)),
        cpu_ns: before.cpu_ns,
        throttled_ns: before.throttled_ns,
        last_reading: before.last_reading.or(Some(LastReading { at_ns: before.at_ns, datagrams })),
    }
}

fn sent(sending: &SendingReport, each: bool) -> SentSample {
    let tcp = || sending.streams.iter().filter_map(|stream| Some((stream, stream.tcp?)));
    let retransmits: u64 = tcp().map(|(_, info)| u64::from(info.retransmits)).sum();
    let points = tcp().map(|(stream, info)| point(stream.stream, stream.bytes, &info));
    SentSample {
        bytes: sending.streams.iter().map(|stream| stream.bytes).sum(),
        datagrams: sending.streams.iter().map(|stream| stream.datagrams).sum(),
        retransmits: tcp().next().map(|_| retransmits),
        streams: points.filter(|_| each).collect(),
    }
}

fn received(receiving: &ReceivingReport, before: &EndSample, each: bool) -> ReceivedSample {
    let none = ReceivedSample::default();
    let before = before.received.as_ref().unwrap_or(&none);
    let streams = &receiving.streams;
    let bytes = || streams.iter().map(|stream| stream.bytes);
    let earlier = before.stream_bytes.iter().copied().chain(std::iter::repeat(0));
    let jitters = streams.iter().filter_map(|stream| stream.jitter_ns);
    ReceivedSample {
        bytes: bytes().sum(),
        datagrams: streams.iter().map(|stream| stream.datagrams).sum(),
        duplicates: streams.iter().map(|stream| stream.duplicates).sum(),
        reordered: streams.iter().map(|stream| stream.reordered).sum(),
        missing: streams.iter().map(|stream| stream.missing).sum(),
        delay_sum_ns: before.delay_sum_ns,
        jitter_ns: jitters.fold(0.0, f64::max).round() as u64,
        alive: bytes().zip(earlier).filter(|(now, before)| each && now != before).count() as u32,
        stream_bytes: bytes().filter(|_| each).collect(),
    }
}

#[cfg(test)]
mod tests;
