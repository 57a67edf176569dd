//! Results in the form of `iperf3 --json`. Pure.
//!
//! The figures are this program's: what the sender's kernel accepted, and what the receiver's program read. A
//! figure that is not known is null.

use std::net::SocketAddr;

use linerate_wire::streams::{Load, Protocol, TcpPoint};
use serde_json::{Map, Value, json};

use super::account::{Compared, TestResult};
use super::omitted::{Moved, Sums, of_stream, omitted};
use crate::client::Outcome as TrialOutcome;
use crate::result::interval::{DirectionInterval, Interval};
use crate::result::{DirectionResult, StreamResult, TrialResult};
use crate::spec::{Direction, TrialSpec};
use crate::streams::counters::StreamCounters;

/// What the form needs of a result.
struct Source<'a> {
    trial: &'a TrialSpec,
    omit_s: u64,
    began_unix_s: f64,
    program: &'a str,
    cookie: Option<&'a str>,
    local: SocketAddr,
    peer: SocketAddr,
    /// True at the client.
    connects: bool,
    directions: Vec<(&'a DirectionResult, Sums)>,
    /// What each stream counted in the omitted beginning.
    omitted: Vec<(u32, StreamCounters)>,
    intervals: &'a [Interval],
    /// Per cent of a CPU: this end, and the other one.
    cpu: (Option<f64>, Option<f64>),
    failures: &'a [String],
}

impl Source<'_> {
    /// A count of a whole test of which none was taken at the end of the omitted beginning: null where there is one, beside
    /// sums without it.
    fn uncounted(&self, whole: u64) -> Value {
        if self.omit_s > 0 { Value::Null } else { whole.into() }
    }
}

/// A test with iperf3, with all that this program knows of it in the field `linerate`.
pub(crate) fn of_test(result: &TestResult, cookie: &str) -> Result<Value, serde_json::Error> {
    let omitted = omitted(result);
    let sums = |compared: &Compared| match result.omit_s {
        0 => Sums::whole(&compared.figures),
        omit_s => Sums::counted(omit_s, compared, &omitted),
    };
    let own = result.own.cpu.map(|cpu| 100.0 * cpu.process_s / cpu.elapsed_s.max(1e-9));
    let mut form = form(&Source {
        trial: &result.trial,
        omit_s: result.omit_s,
        began_unix_s: result.began_unix_s,
        program: &result.program,
        cookie: Some(cookie),
        local: result.own.address,
        peer: result.peer.address,
        connects: result.role == "client",
        directions: result.directions.iter().map(|direction| (&direction.figures, sums(direction))).collect(),
        omitted,
        intervals: &result.intervals,
        cpu: (own, result.peer.cpu_percent),
        failures: &result.failures,
    });
    form.insert("linerate".to_owned(), serde_json::to_value(result)?);
    Ok(Value::Object(form))
}

/// A trial between two of this program.
pub(crate) fn of_trial(result: &TrialResult, outcome: &TrialOutcome) -> Value {
    let percent =
        |end: &crate::result::End| end.cpu.map(|cpu| 100.0 * cpu.process_s / cpu.elapsed_s.max(1e-9));
    Value::Object(form(&Source {
        trial: &result.trial,
        omit_s: 0,
        began_unix_s: result.began_unix_s,
        program: &result.program,
        cookie: None,
        local: outcome.client,
        peer: outcome.server,
        connects: true,
        directions: result.directions.iter().map(|direction| (direction, Sums::whole(direction))).collect(),
        omitted: Vec::new(),
        intervals: &result.intervals,
        cpu: (percent(&result.client), percent(&result.server)),
        failures: &result.failures,
    }))
}

/// A failure before a test, as iperf3 shows it.
pub(crate) fn failed(message: &str) -> Value {
    json!({ "start": { "connected": [] }, "intervals": [], "end": {}, "error": message })
}

fn form(source: &Source<'_>) -> Map<String, Value> {
    let mut form = Map::new();
    form.insert("start".to_owned(), start(source));
    let intervals = source.intervals.iter().scan(0.0, |begin, interval| {
        let shown = show_interval(source, interval, *begin);
        *begin = interval.end_s;
        Some(shown)
    });
    form.insert("intervals".to_owned(), intervals.collect());
    form.insert("end".to_owned(), end(source));
    if !source.failures.is_empty() {
        form.insert("error".to_owned(), source.failures.join("; ").into());
    }
    form
}

/// iperf3 knows streams by their sockets' numbers; here they have those of its results.
fn socket(stream: u32) -> u32 {
    linerate_iperf3::stream_id(stream)
}

/// Bits per second of each stream, as iperf3 states a target.
fn target(trial: &TrialSpec) -> u64 {
    let bps = match trial.each.load {
        Load::Max => return 0,
        _ => trial.each.load.bits_per_second(trial.each.block_bytes),
    };
    (bps.unwrap_or(0.0) / f64::from(trial.each.streams.max(1))).round() as u64
}

fn start(source: &Source<'_>) -> Value {
    let trial = source.trial;
    let connected = source.directions.iter().flat_map(|(direction, _)| &direction.streams).map(|stream| {
        let sent = stream.sent.as_ref().map(|sent| (sent.local, sent.peer));
        let received = stream.received.as_ref().map(|received| (received.local, received.peer));
        let (local, peer) = if source.connects == stream_forward(trial, stream) {
            sent.or_else(|| received.map(|(local, peer)| (peer, local)))
        } else {
            received.or_else(|| sent.map(|(local, peer)| (peer, local)))
        }
        .unwrap_or_default();
        let (local, peer) = (local.unwrap_or(source.local), peer.unwrap_or(source.peer));
        json!({
            "socket": socket(stream.stream),
            "local_host": local.ip(), "local_port": local.port(),
            "remote_host": peer.ip(), "remote_port": peer.port(),
        })
    });
    let met = json!({ "host": source.peer.ip(), "port": source.peer.port() });
    let mut start = json!({
        "connected": connected.collect::<Vec<_>>(),
        "version": source.program,
        "timestamp": { "timesecs": source.began_unix_s.floor() as i64 },
        "cookie": source.cookie,
        "target_bitrate": target(trial),
        "test_start": {
            "protocol": trial.each.protocol.to_string(),
            "num_streams": trial.each.streams,
            "blksize": trial.each.block_bytes,
            "omit": source.omit_s,
            "duration": trial.each.duration_ms.map_or(0.0, |ms| ms as f64 / 1e3) - source.omit_s as f64,
            "bytes": trial.each.bytes.unwrap_or(0),
            "blocks": 0,
            "reverse": u8::from(trial.directions == crate::spec::Directions::Reverse),
            "tos": trial.each.sockets.dscp.unwrap_or(0) << 2,
            "target_bitrate": target(trial),
            "bidir": u8::from(trial.directions == crate::spec::Directions::Both),
            "interval": f64::from(trial.interval_ms) / 1e3,
        },
    });
    if let Value::Object(map) = &mut start {
        map.insert(if source.connects { "connecting_to" } else { "accepted_connection" }.to_owned(), met);
        if trial.each.protocol == Protocol::Tcp {
            map.insert("sock_bufsize".to_owned(), trial.each.sockets.window_bytes.unwrap_or(0).into());
        }
    }
    start
}

fn stream_forward(trial: &TrialSpec, stream: &StreamResult) -> bool {
    trial.directions.direction_of(stream.stream, trial.each.streams) == Some(Direction::Forward)
}

/// True for a direction in which this end sends.
fn sends(source: &Source<'_>, direction: Direction) -> bool {
    source.connects == (direction == Direction::Forward)
}

/// iperf3's names of sums: the second direction of two has a suffix.
fn name(source: &Source<'_>, direction: Direction, name: &str) -> String {
    let second = source.trial.directions == crate::spec::Directions::Both && direction == Direction::Reverse;
    if second { format!("{name}_bidir_reverse") } else { name.to_owned() }
}

fn show_interval(source: &Source<'_>, interval: &Interval, begin: f64) -> Value {
    let seconds = (interval.end_s - begin).max(1e-9);
    let mut shown = Map::new();
    let mut streams = Vec::new();
    for direction in &interval.directions {
        let sender = sends(source, direction.direction);
        let own = own_rate(direction, sender);
        let time = |bps: Option<f64>| {
            json!({
                "start": begin, "end": interval.end_s, "seconds": seconds,
                "bytes": bps.map(|bps| (bps * seconds / 8.0).round() as u64),
                "bits_per_second": bps,
                // Ends lie a little past the grid.
                "omitted": (begin + interval.end_s) / 2.0 < source.omit_s as f64,
                "sender": sender,
            })
        };
        let mut sum = time(own);
        if let Some(sent) = direction.sent.as_ref().filter(|_| sender) {
            set(&mut sum, "retransmits", sent.retransmits.map_or(Value::Null, Value::from));
            streams.extend(sent.streams.iter().map(|point| point_of(point, time(None))));
        }
        if source.trial.each.protocol == Protocol::Udp {
            let pps = direction.received.as_ref().map(|received| received.pps);
            let pps = if sender { direction.sent.as_ref().map(|sent| sent.pps) } else { pps };
            set(&mut sum, "packets", pps.map(|pps| (pps * seconds).round() as u64).into());
            if let Some(received) = direction.received.as_ref().filter(|_| !sender) {
                set(&mut sum, "jitter_ms", (received.jitter_ns as f64 / 1e6).into());
                set(&mut sum, "lost_packets", received.missing.into());
            }
        }
        if let Some(received) = direction.received.as_ref().filter(|_| !sender) {
            let first = source.trial.directions.first_stream(direction.direction, source.trial.each.streams);
            streams.extend((first..).zip(&received.stream_bps).map(|(stream, bps)| {
                let mut one = time(Some(*bps));
                set(&mut one, "socket", socket(stream).into());
                one
            }));
        }
        shown.insert(name(source, direction.direction, "sum"), sum);
    }
    shown.insert("streams".to_owned(), Value::Array(streams));
    Value::Object(shown)
}

fn own_rate(direction: &DirectionInterval, sender: bool) -> Option<f64> {
    if sender {
        direction.sent.as_ref().map(|sent| sent.bps)
    } else {
        direction.received.as_ref().map(|received| received.bps)
    }
}

fn set(value: &mut Value, name: &str, to: Value) {
    if let Value::Object(map) = value {
        map.insert(name.to_owned(), to);
    }
}

/// One sending TCP stream at the end of an interval; its bytes of the interval alone are not sampled.
fn point_of(point: &TcpPoint, mut shown: Value) -> Value {
    set(&mut shown, "socket", socket(point.stream).into());
    set(&mut shown, "snd_cwnd", point.cwnd_bytes.into());
    set(&mut shown, "rtt", point.rtt_us.into());
    set(&mut shown, "rttvar", point.rttvar_us.into());
    shown
}

fn end(source: &Source<'_>) -> Value {
    let udp = source.trial.each.protocol == Protocol::Udp;
    let mut end = Map::new();
    let streams: Vec<Value> = source
        .directions
        .iter()
        .flat_map(|(direction, sums)| direction.streams.iter().map(move |stream| (direction, sums, stream)))
        .map(|(direction, sums, stream)| {
            if udp {
                datagram_stream(source, direction, sums, stream)
            } else {
                byte_stream(source, direction, sums, stream)
            }
        })
        .collect();
    end.insert("streams".to_owned(), Value::Array(streams));
    for (direction, sums) in &source.directions {
        let sender = sends(source, direction.direction);
        let sum = |Moved { bytes, bps, seconds }: Moved| {
            json!({
                "start": 0, "end": seconds, "seconds": seconds, "bytes": bytes, "bits_per_second": bps, "sender": sender,
            })
        };
        let (mut sent, mut received) = (sum(sums.sent), sum(sums.received));
        if let Some(tcp) = &direction.tcp {
            set(&mut sent, "retransmits", source.uncounted(tcp.retransmits));
        }
        if let Some(datagrams) = &direction.udp {
            let jitter = datagrams.jitter_ns.map(|(mean, _)| mean / 1e6);
            for sum in [&mut sent, &mut received] {
                set(sum, "jitter_ms", jitter.into());
                set(sum, "lost_packets", sums.lost.into());
                set(sum, "packets", sums.packets.into());
                set(sum, "lost_percent", sums.lost_percent().into());
            }
            end.insert(name(source, direction.direction, "sum"), received.clone());
        }
        end.insert(name(source, direction.direction, "sum_sent"), sent);
        end.insert(name(source, direction.direction, "sum_received"), received);
        if let Some(congestion) = direction.tcp.as_ref().and_then(|tcp| tcp.congestion.as_ref()) {
            end.insert(
                name(source, direction.direction, "sender_tcp_congestion"),
                congestion.as_str().into(),
            );
        }
    }
    let (own, other) = source.cpu;
    let cpu = json!({
        "host_total": own, "host_user": null, "host_system": null,
        "remote_total": other, "remote_user": null, "remote_system": null,
    });
    end.insert("cpu_utilization_percent".to_owned(), cpu);
    Value::Object(end)
}

fn byte_stream(
    source: &Source<'_>,
    direction: &DirectionResult,
    sums: &Sums,
    stream: &StreamResult,
) -> Value {
    // A stream has this end's counts alone where some are omitted.
    let omitted = of_stream(&source.omitted, stream.stream).bytes;
    let sender = sends(source, direction.direction);
    let of = |bytes: Option<u64>, seconds: Option<f64>| {
        let bps =
            bytes.zip(seconds.filter(|s| *s > 0.0)).map(|(bytes, seconds)| bytes as f64 * 8.0 / seconds);
        json!({
            "socket": socket(stream.stream), "start": 0, "end": seconds, "seconds": seconds,
            "bytes": bytes, "bits_per_second": bps, "sender": sender,
        })
    };
    let mut sent = of(stream.sent.as_ref().map(|sent| sent.bytes.saturating_sub(omitted)), sums.sent.seconds);
    if let Some(info) = stream.sent.as_ref().and_then(|sent| sent.tcp) {
        set(&mut sent, "retransmits", source.uncounted(info.retransmits.into()));
        set(&mut sent, "mean_rtt", info.rtt_us.into());
        set(&mut sent, "min_rtt", info.min_rtt_us.into());
    }
    json!({
        "sender": sent,
        "receiver": of(
            stream.received.as_ref().map(|received| received.bytes.saturating_sub(omitted)),
            sums.received.seconds,
        ),
    })
}

fn datagram_stream(
    source: &Source<'_>,
    direction: &DirectionResult,
    sums: &Sums,
    stream: &StreamResult,
) -> Value {
    let omitted = of_stream(&source.omitted, stream.stream);
    let seconds = sums.sent.seconds;
    let bytes = stream
        .sent
        .as_ref()
        .map(|sent| sent.bytes)
        .or(stream.received.as_ref().map(|received| received.bytes))
        .map(|bytes| bytes.saturating_sub(omitted.bytes));
    let bps = bytes.zip(seconds.filter(|s| *s > 0.0)).map(|(bytes, seconds)| bytes as f64 * 8.0 / seconds);
    let (sent, received) = (
        stream.sent.as_ref().map(|sent| sent.datagrams.saturating_sub(omitted.datagrams)),
        stream.received.as_ref().map(|received| received.datagrams.saturating_sub(omitted.datagrams)),
    );
    let lost = sent.zip(received).and_then(|(sent, received)| sent.checked_sub(received));
    let share = lost.zip(sent.filter(|sent| *sent > 0)).map(|(lost, sent)| 100.0 * lost as f64 / sent as f64);
    json!({ "udp": {
        "socket": socket(stream.stream), "start": 0, "end": seconds, "seconds": seconds,
        "bytes": bytes, "bits_per_second": bps,
        "jitter_ms": stream.received.as_ref().and_then(|received| received.jitter_ns).map(|ns| ns / 1e6),
        "lost_packets": lost, "packets": sent.or(received), "lost_percent": share,
        "out_of_order": stream.received.as_ref().map(|received| source.uncounted(received.reordered)),
        "sender": sends(source, direction.direction),
    } })
}
