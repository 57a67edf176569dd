//! Figures of the intervals between samples. Pure.

use linerate_wire::streams::{ReceivedSample, SentSample, TcpPoint};
use serde::Serialize;

use crate::client::Samples;
use crate::spec::{Direction, Directions};
use crate::streams::report::EndSample;

/// An interval of a trial.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Interval {
    /// Number, from 1.
    pub(crate) index: u32,
    /// End of the interval at the client (at a server of iperf3's clients: there), in seconds after the start.
    pub(crate) end_s: f64,
    pub(crate) directions: Vec<DirectionInterval>,
    /// CPUs that the client's process used; null when its sample is missing, and in a last interval that ends with the
    /// trial.
    pub(crate) client_cpus: Option<f64>,
    /// CPUs that the server's process used; null likewise.
    pub(crate) server_cpus: Option<f64>,
}

/// One direction in an interval. What an end did not report is null.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DirectionInterval {
    pub(crate) direction: Direction,
    pub(crate) sent: Option<SentInterval>,
    pub(crate) received: Option<ReceivedInterval>,
}

/// The sender in an interval.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SentInterval {
    pub(crate) bps: f64,
    pub(crate) pps: f64,
    /// Segments sent again; null for UDP.
    pub(crate) retransmits: Option<u64>,
    /// TCP streams at the end of the interval.
    pub(crate) streams: Vec<TcpPoint>,
}

/// The receiver in an interval.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReceivedInterval {
    pub(crate) bps: f64,
    pub(crate) pps: f64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Datagrams that became missing less those that came late.
    pub(crate) missing: i64,
    /// Mean delay of the datagrams; null without datagrams, and in a last interval that ends with the trial.
    pub(crate) mean_delay_ns: Option<f64>,
    /// Largest jitter of a stream.
    pub(crate) jitter_ns: u64,
    /// Streams whose bytes moved; null in a last interval that ends with the trial when there are too many.
    pub(crate) alive: Option<u32>,
    /// Bits per second of each stream; empty when there are too many.
    pub(crate) stream_bps: Vec<f64>,
}

/// The intervals of a trial.
pub(crate) fn intervals(samples: &[(EndSample, Option<EndSample>)], directions: Directions) -> Vec<Interval> {
    let first = (EndSample::default(), Some(EndSample::default()));
    let begins_late = samples.first().is_some_and(|(own, _)| own.index > 1);
    let before = (!begins_late).then_some(&first).into_iter().chain(samples);
    let now = if begins_late { samples.get(1..).unwrap_or_default() } else { samples };
    before.zip(now).map(|(before, now)| interval(&pair(before), &pair(now), directions)).collect()
}

fn pair((client, server): &(EndSample, Option<EndSample>)) -> Samples<'_> {
    Samples { client: Some(client), server: server.as_ref() }
}

/// The interval between two samples.
pub(crate) fn interval(before: &Samples<'_>, now: &Samples<'_>, directions: Directions) -> Interval {
    let (client, server) = (before.client.zip(now.client), before.server.zip(now.server));
    let directions = directions.each().iter().map(|direction| {
        let (sender, receiver) = match direction {
            Direction::Forward => (client, server),
            Direction::Reverse => (server, client),
        };
        DirectionInterval {
            direction: *direction,
            sent: sender.and_then(|(before, now)| sent(before, now)),
            received: receiver.and_then(|(before, now)| received(before, now)),
        }
    });
    let read_ns = |sample: &EndSample| sample.last_reading.map_or(sample.at_ns, |reading| reading.at_ns);
    let cpus = |(before, now): (&EndSample, &EndSample)| {
        let elapsed_ns = read_ns(now).saturating_sub(read_ns(before));
        (elapsed_ns > 0).then(|| now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / elapsed_ns as f64)
    };
    let at = now.client.or(now.server);
    Interval {
        index: at.map_or(0, |sample| sample.index),
        end_s: at.map_or(0.0, |sample| sample.at_ns as f64 / 1e9),
        directions: directions.collect(),
        client_cpus: client.and_then(cpus),
        server_cpus: server.and_then(cpus),
    }
}

fn seconds(before: &EndSample, now: &EndSample) -> f64 {
    now.at_ns.saturating_sub(before.at_ns).max(1) as f64 / 1e9
}

fn sent(before: &EndSample, now: &EndSample) -> Option<SentInterval> {
    let (seconds, after) = (seconds(before, now), now.sent.as_ref()?);
    let none = SentSample::default();
    let before = before.sent.as_ref().unwrap_or(&none);
    let retransmits =
        after.retransmits.map(|number| number.saturating_sub(before.retransmits.unwrap_or_default()));
    Some(SentInterval {
        bps: after.bytes.saturating_sub(before.bytes) as f64 * 8.0 / seconds,
        pps: after.datagrams.saturating_sub(before.datagrams) as f64 / seconds,
        retransmits,
        streams: after.streams.clone(),
    })
}

fn received(before: &EndSample, now: &EndSample) -> Option<ReceivedInterval> {
    let (seconds, after) = (seconds(before, now), now.received.as_ref()?);
    let none = ReceivedSample::default();
    // Datagrams whose delays are known.
    let timed = |sample: &EndSample, received: &ReceivedSample| {
        sample.last_reading.map_or(received.datagrams, |reading| reading.datagrams)
    };
    let timed = timed(now, after).saturating_sub(timed(before, before.received.as_ref().unwrap_or(&none)));
    let before = before.received.as_ref().unwrap_or(&none);
    let datagrams = after.datagrams.saturating_sub(before.datagrams);
    let delay_ns = after.delay_sum_ns.saturating_sub(before.delay_sum_ns) as f64;
    let earlier = before.stream_bytes.iter().copied().chain(std::iter::repeat(0));
    Some(ReceivedInterval {
        bps: after.bytes.saturating_sub(before.bytes) as f64 * 8.0 / seconds,
        pps: datagrams as f64 / seconds,
        duplicates: after.duplicates.saturating_sub(before.duplicates),
        reordered: after.reordered.saturating_sub(before.reordered),
        missing: after.missing.cast_signed() - before.missing.cast_signed(),
        mean_delay_ns: (timed > 0).then(|| delay_ns / timed as f64),
        jitter_ns: after.jitter_ns,
        alive: (now.last_reading.is_none() || after.alive > 0 || !after.stream_bytes.is_empty())
            .then_some(after.alive),
        stream_bps: after
            .stream_bytes
            .iter()
            .zip(earlier)
            .map(|(now, before)| now.saturating_sub(before) as f64 * 8.0 / seconds)
            .collect(),
    })
}
