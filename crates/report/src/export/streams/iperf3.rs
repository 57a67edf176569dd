//! The connections of a trial in the form of `iperf3 --json`: one object a line, one line a connection.

use linerate_results::streams::{ConnectionEnds, ConnectionSummary, StreamsTrialRecord};
use linerate_results::summary::Summary;
use linerate_wire::streams::{Protocol, ReceivedStream, SentStream};
use serde_json::{Map, Value, json};

/// A trial's lines. Intervals are in the trial's file of samples.
pub(in crate::export) fn lines(summary: &Summary, record: &StreamsTrialRecord) -> Vec<u8> {
    let mut lines = Vec::new();
    for connection in &record.connections {
        let ends = record.ends.iter().find(|ends| ends.number == connection.number);
        let one = form(summary, record, connection, ends).to_string();
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
) -> Value {
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
    json!({
        "title": connection.connection,
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
        "intervals": [],
        "end": end(record.spec.protocol, connection, sent, received),
    })
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
    let times = (connection.sending_s, connection.receiving_s);
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
