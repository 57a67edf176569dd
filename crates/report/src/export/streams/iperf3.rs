//! The connections of a trial in the form of `iperf3 --json`: one object a line, one line a connection.
//!
//! What iperf3 has and a trial does not know is null or absent; `notes` then says why.

use std::collections::BTreeMap;

use linerate_results::streams::{ConnectionEnds, ConnectionSummary, SampleLine, StreamsTrialRecord};
use linerate_results::summary::Summary;
use linerate_wire::streams::{Protocol, ReceivedStream, SentStream};
use serde_json::{Map, Value, json};

/// Most points of all connections that are held at once: those of an hour of 1,000 connections.
const MOST_POINTS: usize = 4_000_000;

/// What senders had sent at the ends of intervals, by connection.
#[derive(Debug, Default)]
pub(in crate::export) struct Sent {
    points: BTreeMap<u32, Vec<Point>>,
    held: usize,
}

/// Cumulative counts of a connection at an instant.
#[derive(Debug, Clone, Copy)]
struct Point {
    at_s: f64,
    bytes: u64,
    datagrams: u64,
    /// `None` for UDP.
    retransmits: Option<u64>,
}

impl Sent {
    /// Adds a line of the trial's file of samples.
    pub(in crate::export) fn add(&mut self, line: &SampleLine) {
        self.held = self.held.saturating_add(line.sent.len());
        if self.held > MOST_POINTS {
            return self.points.clear();
        }
        for (number, (bytes, datagrams, retransmits)) in &line.sent {
            let at_s = line.at_ns as f64 / 1e9;
            let point = Point { at_s, bytes: *bytes, datagrams: *datagrams, retransmits: *retransmits };
            self.points.entry(*number).or_default().push(point);
        }
    }

    /// A connection's counts up to the end of its sending. Samples go on until all connections of the agent are closed: the interval in
    /// which the sending ended ends with it, and what is sent again after it belongs to that interval.
    fn of(&self, connection: u32, sending_s: Option<f64>) -> Vec<Point> {
        let mut points: Vec<Point> = Vec::new();
        for point in self.points.get(&connection).into_iter().flatten() {
            let began_s = points.last().map_or(0.0, |last| last.at_s);
            let end_s = sending_s.filter(|end_s| began_s < *end_s);
            match points.last_mut() {
                Some(last) if sending_s.is_some() && end_s.is_none() && last.bytes == point.bytes => {
                    last.retransmits = point.retransmits;
                }
                _ => {
                    let at_s = end_s.map_or(point.at_s, |end_s| point.at_s.min(end_s));
                    points.extend((at_s > began_s).then_some(Point { at_s, ..*point }));
                }
            }
        }
        points
    }

    /// The intervals of a connection that sent for so long, and why there are none.
    fn intervals(
        &self,
        connection: u32,
        sending_s: Option<f64>,
        streams: u32,
        protocol: Protocol,
    ) -> (Vec<Value>, Option<&'static str>) {
        let mut last = Point { at_s: 0.0, bytes: 0, datagrams: 0, retransmits: Some(0) };
        let mut intervals = Vec::new();
        for point in self.of(connection, sending_s) {
            let seconds = point.at_s - last.at_s;
            let bytes = point.bytes.checked_sub(last.bytes);
            let mut sum = json!({
                "start": last.at_s, "end": point.at_s, "seconds": seconds, "bytes": bytes,
                "bits_per_second": rate(bytes, Some(seconds)), "omitted": false, "sender": true,
            });
            match protocol {
                Protocol::Tcp => {
                    let again = point.retransmits.zip(last.retransmits);
                    let again = again.and_then(|(now, before)| now.checked_sub(before));
                    set(&mut sum, "retransmits", again.into());
                }
                Protocol::Udp => {
                    set(&mut sum, "packets", point.datagrams.checked_sub(last.datagrams).into());
                }
            }
            // Samples are of all streams of a connection together.
            let mut each = Vec::new();
            if streams == 1 {
                let mut stream = sum.clone();
                set(&mut stream, "socket", socket(0).into());
                each.push(stream);
            }
            intervals.push(json!({ "streams": each, "sum": sum }));
            last = point;
        }
        let why = match intervals.is_empty() {
            true if self.held > MOST_POINTS => Some("intervals: too many to be held; samples.jsonl has them"),
            true => Some("intervals: the sender took no samples"),
            false => None,
        };
        (intervals, why)
    }
}

/// A trial's lines.
pub(in crate::export) fn lines(summary: &Summary, record: &StreamsTrialRecord, sent: &Sent) -> Vec<u8> {
    let mut lines = Vec::new();
    for connection in &record.connections {
        let ends = record.ends.iter().find(|ends| ends.number == connection.number);
        let one = form(summary, record, connection, ends, sent).to_string();
        lines.extend_from_slice(one.as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// Number of a stream as iperf3 counts: it leaves 2 out.
fn socket(stream: u32) -> u32 {
    if stream == 0 { 1 } else { stream.saturating_add(2) }
}

fn form(
    summary: &Summary,
    record: &StreamsTrialRecord,
    connection: &ConnectionSummary,
    ends: Option<&ConnectionEnds>,
    samples: &Sent,
) -> Value {
    let mut notes = Vec::new();
    let (streams, protocol) = (record.spec.streams, record.spec.protocol);
    let (intervals, why) = samples.intervals(connection.number, connection.sending_s, streams, protocol);
    notes.extend(why.map(str::to_owned));
    let sent = ends.and_then(|ends| ends.sender.as_ref()?.sending.as_ref());
    let sent = sent.map(|sending| sending.streams.as_slice()).unwrap_or_default();
    let received = ends.and_then(|ends| ends.receiver.as_ref()?.receiving.as_ref());
    let received = received.map(|receiving| receiving.streams.as_slice()).unwrap_or_default();
    let rate = record.spec.load.bits_per_second(record.spec.block_bytes);
    let of_stream = rate.map_or(0.0, |bps| bps / f64::from(record.spec.streams.max(1))).round() as u64;
    let connected = sent.iter().filter_map(|stream| {
        let (local, peer) = (stream.local?, stream.peer?);
        Some(json!({
            "socket": socket(stream.stream),
            "local_host": local.ip(), "local_port": local.port(),
            "remote_host": peer.ip(), "remote_port": peer.port(),
        }))
    });
    let mut end = end(record.spec.protocol, connection, sent, received);
    match ends.and_then(|ends| cpu(record, ends)) {
        Some((shares, why)) => {
            set(&mut end, "cpu_utilization_percent", shares);
            notes.extend(why.into_iter().map(|why| format!("cpu_utilization_percent: {why}")));
        }
        None => notes.push("cpu_utilization_percent: the agents did not report their CPU time".to_owned()),
    }
    json!({
        "title": connection.connection,
        "notes": notes,
        "start": {
            "connected": connected.collect::<Vec<_>>(),
            "version": format!("linerate {}", summary.experiment.versions.linerate),
            "timestamp": { "time": record.started_at, "timesecs": began(record) },
            "connecting_to": sent.iter().find_map(|stream| stream.peer).map(|peer| {
                json!({ "host": peer.ip(), "port": peer.port() })
            }),
            "target_bitrate": of_stream,
            "sndbuf_actual": sent.first().and_then(|stream| stream.buffer_bytes),
            "rcvbuf_actual": received.first().and_then(|stream| stream.buffer_bytes),
            "test_start": {
                "protocol": record.spec.protocol.to_string(),
                "num_streams": record.spec.streams,
                "blksize": record.spec.block_bytes,
                "omit": 0,
                "duration": record.spec.duration_ms.map_or(0.0, |ms| ms as f64 / 1e3),
                "bytes": record.spec.bytes.unwrap_or(0),
                "blocks": 0,
                "reverse": 0,
                "bidir": 0,
                "tos": record.spec.sockets.dscp.map_or(0, |dscp| u32::from(dscp) << 2),
                "target_bitrate": of_stream,
            },
        },
        "intervals": intervals,
        "end": end,
    })
}

/// Shares of a CPU that the agents of a connection used, and remarks on what is not known and on agents with other connections;
/// `None` when neither is known.
fn cpu(record: &StreamsTrialRecord, ends: &ConnectionEnds) -> Option<(Value, Vec<String>)> {
    let of = |agent: &str| {
        let used = &record.agent(agent)?.report.as_ref()?.detail;
        (used.elapsed_s > 0.0).then(|| 100.0 * used.process_s / used.elapsed_s)
    };
    let (own, other) = (of(&ends.from), of(&ends.to));
    own.or(other)?;
    let shares = json!({
        "host_total": own, "host_user": null, "host_system": null,
        "remote_total": other, "remote_user": null, "remote_system": null,
    });
    let both = [&ends.from, &ends.to];
    let shared =
        record.ends.iter().filter(|one| both.contains(&&one.from) || both.contains(&&one.to)).count();
    let mut notes = vec!["shares of user and system are not separated".to_owned()];
    let unknown = [(own, &ends.from), (other, &ends.to)].into_iter().filter(|(share, _)| share.is_none());
    notes.extend(unknown.map(|(_, agent)| format!("{agent} did not report its CPU time")));
    notes.extend((shared > 1).then(|| format!("of the agents, which had {shared} connections together")));
    Some((shares, notes))
}

/// When sending began, in seconds since 1970.
fn began(record: &StreamsTrialRecord) -> Option<u64> {
    let at = humantime::parse_rfc3339(record.started_at.as_deref()?).ok()?;
    at.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn end(
    protocol: Protocol,
    connection: &ConnectionSummary,
    sent: &[SentStream],
    received: &[ReceivedStream],
) -> Value {
    let receiving_s = connection.received_over_s.or(connection.receiving_s);
    let times = (connection.sending_s, receiving_s);
    let streams: Vec<Value> = sent
        .iter()
        .map(|sent| {
            let received = received.iter().find(|received| received.stream == sent.stream);
            match protocol {
                Protocol::Tcp => byte_stream(sent, received, times),
                Protocol::Udp => datagram_stream(sent, received, times.0),
            }
        })
        .collect();
    let mut all = sum(connection.written_bytes, connection.offered_bps, times.0);
    let mut arrived = sum(connection.received_bytes, connection.received_bps, times.1);
    let mut end = Map::new();
    end.insert("streams".to_owned(), Value::Array(streams));
    match protocol {
        Protocol::Tcp => set(&mut all, "retransmits", connection.retransmits.into()),
        Protocol::Udp => {
            let share = connection.lost_datagrams.zip(connection.sent_datagrams.filter(|sent| *sent > 0));
            for sum in [&mut all, &mut arrived] {
                set(sum, "jitter_ms", connection.jitter_ns.map(|ns| ns / 1e6).into());
                set(sum, "lost_packets", connection.lost_datagrams.into());
                set(sum, "packets", connection.sent_datagrams.into());
                let percent = share.map(|(lost, sent)| 100.0 * lost as f64 / sent as f64);
                set(sum, "lost_percent", percent.into());
            }
            end.insert("sum".to_owned(), arrived.clone());
        }
    }
    end.insert("sum_sent".to_owned(), all);
    end.insert("sum_received".to_owned(), arrived);
    if let Some(congestion) = &connection.congestion {
        end.insert("sender_tcp_congestion".to_owned(), congestion.as_str().into());
    }
    Value::Object(end)
}

fn set(value: &mut Value, name: &str, to: Value) {
    if let Value::Object(map) = value {
        map.insert(name.to_owned(), to);
    }
}

fn sum(bytes: Option<u64>, bps: Option<f64>, seconds: Option<f64>) -> Value {
    json!({
        "start": 0, "end": seconds, "seconds": seconds, "bytes": bytes, "bits_per_second": bps,
        // As of iperf3's client, which sends.
        "sender": true,
    })
}

fn rate(bytes: Option<u64>, seconds: Option<f64>) -> Option<f64> {
    let seconds = seconds.filter(|seconds| *seconds > 0.0)?;
    Some(bytes? as f64 * 8.0 / seconds)
}

fn byte_stream(
    sent: &SentStream,
    received: Option<&ReceivedStream>,
    (sending_s, receiving_s): (Option<f64>, Option<f64>),
) -> Value {
    let bytes = received.map(|received| received.bytes);
    let mut sender = sum(Some(sent.bytes), rate(Some(sent.bytes), sending_s), sending_s);
    let mut receiver = sum(bytes, rate(bytes, receiving_s), receiving_s);
    for end in [&mut sender, &mut receiver] {
        set(end, "socket", socket(sent.stream).into());
    }
    set(&mut sender, "retransmits", sent.tcp.map(|info| info.retransmits).into());
    set(&mut sender, "min_rtt", sent.tcp.and_then(|info| info.min_rtt_us).into());
    set(&mut sender, "mean_rtt", sent.tcp.map(|info| info.rtt_us).into());
    json!({ "sender": sender, "receiver": receiver })
}

fn datagram_stream(sent: &SentStream, received: Option<&ReceivedStream>, seconds: Option<f64>) -> Value {
    let lost = received.and_then(|received| sent.datagrams.checked_sub(received.datagrams));
    let mut stream = sum(Some(sent.bytes), rate(Some(sent.bytes), seconds), seconds);
    set(&mut stream, "socket", socket(sent.stream).into());
    set(&mut stream, "packets", sent.datagrams.into());
    set(&mut stream, "lost_packets", lost.into());
    let share = lost.filter(|_| sent.datagrams > 0).map(|lost| 100.0 * lost as f64 / sent.datagrams as f64);
    set(&mut stream, "lost_percent", share.into());
    let jitter = received.and_then(|received| received.jitter_ns).map(|ns| ns / 1e6);
    set(&mut stream, "jitter_ms", jitter.into());
    set(&mut stream, "out_of_order", received.map(|received| received.reordered).into());
    json!({ "udp": stream })
}
