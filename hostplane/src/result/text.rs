//! Results for people: a line per interval, and the lines at the end. Pure.

use linerate_wire::streams::{Load, Protocol, TcpPoint};

use super::interval::{DirectionInterval, Interval};
use super::verdict::rate;
use super::{DirectionResult, End, TcpResult, TrialResult, UdpResult};
use crate::spec::Direction;
use crate::spec::TrialSpec;

/// Most streams that are listed one by one.
const MOST_LISTED: usize = 16;

/// One line of progress.
pub(crate) fn progress(interval: &Interval) -> String {
    let several = interval.directions.len() > 1;
    let directions: Vec<String> =
        interval.directions.iter().map(|direction| progress_of(direction, several)).collect();
    format!("{:6.1} s  {}", interval.end_s, directions.join(" | "))
}

fn progress_of(interval: &DirectionInterval, named: bool) -> String {
    let mut parts = Vec::new();
    let unknown = || "?".to_owned();
    let sent = interval.sent.as_ref().map_or_else(unknown, |sent| rate(sent.bps));
    let received = interval.received.as_ref().map_or_else(unknown, |received| rate(received.bps));
    let name = if named { format!("{}: ", interval.direction) } else { String::new() };
    parts.push(format!("{name}sent {sent}, received {received}"));
    if let Some(sent) = &interval.sent {
        if let Some(retransmits) = sent.retransmits {
            parts.push(format!("{retransmits} retransmits"));
        }
        parts.extend(kernel_words(&sent.streams));
    }
    if let Some(received) = interval.received.as_ref().filter(|received| received.pps > 0.0) {
        parts.push(format!("{:.0} datagrams/s", received.pps));
        parts.push(format!("lost {}", received.missing));
        if received.reordered > 0 || received.duplicates > 0 {
            parts.push(format!("reordered {}, duplicate {}", received.reordered, received.duplicates));
        }
        parts.push(format!("jitter {}", time(received.jitter_ns as f64)));
    }
    parts.join(", ")
}

/// Round-trip time and window of the streams.
fn kernel_words(streams: &[TcpPoint]) -> Option<String> {
    let rtt_us =
        streams.iter().map(|stream| u64::from(stream.rtt_us)).sum::<u64>() as f64 / streams.len() as f64;
    let cwnd: u64 = streams.iter().map(|stream| stream.cwnd_bytes).sum();
    (!streams.is_empty()).then(|| format!("RTT {}, window {}", time(rtt_us * 1e3), bytes(cwnd as f64)))
}

/// The trial in a few words.
pub(crate) fn describe(spec: &TrialSpec) -> String {
    let direction = match spec.directions.each() {
        [Direction::Forward] => "forward",
        [Direction::Reverse] => "reverse",
        _ => "in both directions",
    };
    let streams =
        if spec.each.streams == 1 { "1 stream".to_owned() } else { format!("{} streams", spec.each.streams) };
    let load = match spec.each.load {
        Load::Max => "as fast as possible".to_owned(),
        Load::BitsPerSecond(bps) => format!("{} together", rate(bps)),
        Load::DatagramsPerSecond(pps) => format!("{pps} datagrams/s together"),
    };
    let size = match spec.each.protocol {
        Protocol::Tcp => String::new(),
        Protocol::Udp => format!(" of {} bytes each", spec.each.block_bytes),
    };
    let end = match (spec.each.duration_ms, spec.each.bytes) {
        (Some(ms), None) => format!("{} s", ms as f64 / 1e3),
        (Some(ms), Some(bytes)) => format!("{} s or {bytes} bytes", ms as f64 / 1e3),
        (None, Some(bytes)) => format!("{bytes} bytes"),
        (None, None) => "until stopped".to_owned(),
    };
    format!("{}{size}, {streams} {direction}, {load}, {end}", spec.each.protocol)
}

/// The result of a trial.
pub(crate) fn result(result: &TrialResult) -> String {
    let mut lines = Vec::new();
    for direction in &result.directions {
        lines.extend(direction_lines(result.trial.each.protocol, direction));
    }
    lines.extend(result.probe.as_ref().map(crate::exchange::probe::describe));
    for (name, end) in [("client", &result.client), ("server", &result.server)] {
        lines.extend(end_lines(name, end));
    }
    for (name, end) in [("client", &result.client), ("server", &result.server)] {
        lines.extend(end.notes.iter().map(|note| format!("note: {name}: {note}")));
    }
    lines.extend(result.failures.iter().map(|failure| format!("warning: not complete: {failure}")));
    lines.join("\n")
}

/// The figures of a direction.
pub(crate) fn direction_lines(protocol: Protocol, direction: &DirectionResult) -> Vec<String> {
    let mut lines = vec![format!("{protocol} {}", direction.direction)];
    lines.extend(load_lines(direction));
    if let Some(tcp) = &direction.tcp {
        lines.extend(tcp_lines(direction, tcp));
    }
    if let Some(udp) = &direction.udp {
        lines.extend(udp_lines(udp));
    }
    lines.extend(stream_lines(direction));
    lines.push(format!("  verdict   {}: {}", direction.verdict.kind, direction.verdict.evidence));
    lines
}

fn load_lines(direction: &DirectionResult) -> Vec<String> {
    let number = |bps: Option<f64>| bps.map_or_else(|| "unknown".to_owned(), rate);
    let intended = direction.intended_bps.map_or_else(|| "max".to_owned(), rate);
    let over =
        |seconds: Option<f64>| seconds.map_or_else(String::new, |seconds| format!(" in {seconds:.3} s"));
    let (sending_s, received_over_s) = (direction.sending_s, direction.received_over_s);
    // What is still under way at the end arrives a little later.
    let longer = received_over_s.zip(sending_s).is_some_and(|(over, sending)| over > 1.01 * sending);
    vec![format!(
        "  load      intended {intended}, offered {}{}, received {}{}",
        number(direction.offered_bps),
        if longer { over(sending_s) } else { String::new() },
        number(direction.received_bps),
        over(if longer { received_over_s } else { sending_s })
    )]
}

fn tcp_lines(direction: &DirectionResult, tcp: &TcpResult) -> Vec<String> {
    let count = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
    let (sent, acked, received) = (direction.sent_bytes, tcp.acked_bytes, direction.received_bytes);
    let account = if sent.is_some() && sent == acked && sent == received {
        format!("  account   {} bytes written = acknowledged = received", count(sent))
    } else {
        format!(
            "  account   written {} bytes, acknowledged {}, received {}",
            count(sent),
            count(acked),
            count(received)
        )
    };
    let mut network = format!("  network   {} retransmits", tcp.retransmits);
    if let Some(share) = tcp.retransmit_share {
        network.push_str(&format!(" ({:.4} % of the segments)", 100.0 * share));
    }
    if let Some((least, mean, most)) = tcp.rtt_us {
        let [least, mean, most] = [f64::from(least), mean, f64::from(most)].map(|us| time(us * 1e3));
        network.push_str(&format!(", RTT {least} / {mean} / {most} (min / mean / max)"));
    }
    if let Some(congestion) = &tcp.congestion {
        network.push_str(&format!(", {congestion}"));
    }
    vec![account, network]
}

fn udp_lines(udp: &UdpResult) -> Vec<String> {
    let count =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let share = udp.loss_share.map_or_else(String::new, |share| format!(" ({:.4} %)", 100.0 * share));
    let mut account = format!(
        "  account   sent {} datagrams = received {} + lost {}{share}",
        count(udp.sent),
        count(udp.received),
        count(udp.lost)
    );
    if let Some(refused @ 1..) = udp.refused {
        account.push_str(&format!("; {refused} more were refused by the sender's kernel"));
    }
    let mut lines = vec![account];
    lines.push(format!(
        "  order     reordered {}, duplicate {}, foreign {}, dropped at the receiver's socket {}",
        count(udp.reordered),
        count(udp.duplicates),
        count(udp.foreign),
        count(udp.socket_drops)
    ));
    let jitter = udp.jitter_ns.map_or_else(String::new, |(mean, most)| {
        format!("jitter {} (largest of a stream {})", time(mean), time(most))
    });
    let summary = |name: &str, figures: &linerate_wire::report::LatencySummary| {
        let [min, p50, p99, max] =
            [figures.min, figures.p50, figures.p99, figures.max].map(|ns| time(ns as f64));
        format!("{name} min {min} p50 {p50} p99 {p99} max {max}")
    };
    let delay = udp.delay_ns.as_ref().map(|figures| summary("delay", figures));
    let variation = udp
        .delay_variation_ns
        .as_ref()
        .filter(|_| delay.is_none())
        .map(|figures| summary("delay variation", figures));
    let words: Vec<String> =
        delay.into_iter().chain(variation).chain((!jitter.is_empty()).then_some(jitter)).collect();
    if !words.is_empty() {
        lines.push(format!("  time      {}", words.join(", ")));
    }
    lines.extend(udp.delay_variation_note.iter().map(|note| format!("note: no delay variation: {note}")));
    if let Some(late @ 1..) = udp.beyond_memory {
        lines.push(format!(
            "warning: {late} datagrams came too late to distinguish first copies from duplicates"
        ));
    }
    lines
}

fn stream_lines(direction: &DirectionResult) -> Vec<String> {
    if direction.streams.len() < 2 || direction.streams.len() > MOST_LISTED {
        return Vec::new();
    }
    let seconds = direction.sending_s.unwrap_or(0.0).max(1e-9);
    let mut lines = Vec::new();
    for stream in &direction.streams {
        let mut line = format!("  stream {:<3}", stream.stream);
        if let Some(sent) = &stream.sent {
            line.push_str(&format!("offered {}", rate(sent.bytes as f64 * 8.0 / seconds)));
            if let Some(tcp) = &sent.tcp {
                let cwnd = f64::from(tcp.cwnd_segments) * f64::from(tcp.mss);
                line.push_str(&format!(
                    ", {} retransmits, RTT {}, window {}",
                    tcp.retransmits,
                    time(f64::from(tcp.rtt_us) * 1e3),
                    bytes(cwnd)
                ));
            }
        }
        if let (None, Some(received)) = (&stream.sent, &stream.received) {
            let seconds = direction.received_over_s.unwrap_or(0.0).max(1e-9);
            line.push_str(&format!("received {}", rate(received.bytes as f64 * 8.0 / seconds)));
        }
        if let (Some(sent), Some(received)) = (&stream.sent, &stream.received)
            && sent.datagrams > 0
        {
            line.push_str(&format!(
                ", lost {} of {}",
                sent.datagrams.saturating_sub(received.datagrams),
                sent.datagrams
            ));
        }
        lines.push(line);
    }
    lines
}

pub(crate) fn end_lines(name: &str, end: &End) -> Vec<String> {
    let Some(cpu) = &end.cpu else { return vec![format!("{name}: its account is missing")] };
    let mut line = format!("{name} CPU {:.3} s in {:.3} s", cpu.process_s, cpu.elapsed_s);
    match end.cpu_s_per_gbit {
        Some(cost) => line.push_str(&format!(", {cost:.4} s per Gbit")),
        None if cpu.shared => line.push_str(", shared with other trials"),
        None => {}
    }
    if let Some(host) = &cpu.host {
        let all = (f64::from(host.cpus) * cpu.elapsed_s).max(1e-9);
        line.push_str(&format!(
            "; host {:.0} % busy, {:.0} % of it in interrupts",
            100.0 * host.busy_s / all,
            100.0 * host.interrupts_s / host.busy_s.max(1e-9)
        ));
    }
    let throttling = end.throttling.map(|throttling| format!("{name}: {throttling}"));
    std::iter::once(line).chain(throttling).collect()
}

/// A time in nanoseconds, for people.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.1} µs", ns / 1e3),
    }
}

pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1048576.0 => format!("{:.1} MiB", bytes / 1048576.0),
        bytes if bytes >= 1024.0 => format!("{:.1} KiB", bytes / 1024.0),
        bytes => format!("{bytes:.0} B"),
    }
}
