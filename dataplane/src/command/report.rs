//! Reports of trials as JSON and as text.

use std::collections::BTreeMap;

use linerate_command::output::print_json;
use serde_json::{Value, json};

use linerate_wire::report::Part;
use linerate_wire::sample::FrameMeasures;

use crate::trial::PortReport;

/// Meaning of `lost_packets` where the receiver does not know the packets sent: packets lost before the first
/// one received of a flow or after the last are not included.
const LOST_IS_GAPS: &str = "sequence gaps";
/// Meaning of `lost_packets` where both ends are known.
const LOST_IS_DIFFERENCE: &str = "sent less received";

/// Reports a refused command line to a program that reads standard output, without the usage text.
pub(super) fn report_to_starter(refusal: &str) {
    let reason = refusal.split("\n\nUsage").next().unwrap_or_default().trim();
    let message = reason.strip_prefix("error: ").unwrap_or(reason);
    // The starting process may have ended.
    let _ = print_json(&json!({ "error": { "message": message } }));
}

/// The report of a stand-alone trial for `--json`, with the port's extended statistics that are not zero.
pub(super) fn report_json(report: &PortReport, xstats: &[(String, u64)]) -> Value {
    let frames = &report.detail;
    let common = json!({
        "role": frames.role,
        "ended": report.ended,
        "port": frames.port,
        "xstats": xstats.iter().filter(|(_, value)| *value > 0).cloned().collect::<BTreeMap<_, _>>(),
        "disagreements": report.disagreements,
        "notes": report.notes,
        "lcores": frames.lcores,
        "clock": report.clock,
        "workers": report.workers,
        "throttling": report.throttling,
    });
    let sent = frames.transmit.as_ref().map(|tx| {
        json!({
            "sent_packets": tx.counters.packets,
            "sent_bytes": tx.counters.bytes,
            "intended_pps": tx.intended_pps,
            "offered_pps": tx.offered_pps,
            "duration_s": tx.duration_s,
            "queue_full": tx.counters.queue_full,
            "no_mbuf": tx.counters.no_mbuf,
            "blocked_s": tx.blocked_s,
            "unsent_packets": tx.unsent_packets,
            "forgone_packets": tx.forgone_packets,
            "sent_packets_per_lcore": tx.packets_per_lcore,
            "tx_headroom": tx.headroom,
            "inter_departure_ns": tx.inter_departure.as_ref().map(|departures| departures.summary),
        })
    });
    // A reflector does not analyse the frames that it sends back.
    let reflected = frames.receive.as_ref().filter(|_| frames.role == Part::Reflect).map(|rx| {
        json!({
            "received_packets": rx.counters.packets,
            "received_frames": rx.counters.frames,
            "received_bytes": rx.counters.bytes,
            "foreign_packets": rx.counters.foreign,
            "foreign_by_kind": rx.foreign,
            "packets_per_lcore": rx.packets_per_lcore,
            "frames_per_queue": rx.frames_per_queue,
        })
    });
    let received = frames.receive.as_ref().filter(|_| frames.role != Part::Reflect).map(|rx| {
        json!({
            "received_packets": rx.counters.packets,
            "received_frames": rx.counters.frames,
            "received_bytes": rx.counters.bytes,
            "foreign_packets": rx.counters.foreign,
            "foreign_by_kind": rx.foreign,
            "stale_packets": rx.counters.stale,
            "bad_probe_packets": rx.counters.bad_probes,
            "bad_checksum_packets": rx.counters.bad_checksums,
            "without_checksum_packets": rx.counters.without_checksum,
            "lost_packets": rx.sequence_gaps,
            "lost_is": LOST_IS_GAPS,
            "sequence_gaps": rx.sequence_gaps,
            "before_first_packets": rx.before_first,
            "out_of_order_packets": rx.counters.out_of_order,
            "reordering": rx.reordering,
            "duplicate_packets": rx.counters.duplicates,
            "beyond_window_packets": rx.beyond_window,
            "packets_per_lcore": rx.packets_per_lcore,
            "frames_per_queue": rx.frames_per_queue,
            "rx_headroom": rx.headroom,
            "latency_ns": rx.latency.as_ref().map(|latency| latency.summary),
            "delay_variation_ns": rx.latency.as_ref().map(|latency| latency.variation),
            "silent_flows": rx.silent_flows,
            "worst_flows": rx.worst_flows,
        })
    });
    let mut object = json!({});
    for part in [Some(common), sent, reflected, received].into_iter().flatten() {
        if let (Value::Object(object), Value::Object(part)) = (&mut object, part) {
            object.extend(part);
        }
    }
    object
}

/// A report with the loss computed from both ends.
pub(super) fn with_lost(mut report: Value, lost: u64) -> Value {
    report["lost_packets"] = lost.into();
    report["lost_is"] = LOST_IS_DIFFERENCE.into();
    report
}

/// Load in packets per second below which it is printed in these, and not in millions.
const LOW_PPS: f64 = 10_000.0;

/// The offered and the intended load in one unit.
fn load(offered_pps: f64, intended_pps: Option<f64>) -> String {
    let low = offered_pps.max(intended_pps.unwrap_or(0.0)) < LOW_PPS;
    let (unit, unit_pps, decimals) = if low { ("pps", 1.0, 3) } else { ("Mpps", 1e6, 6) };
    let intended = intended_pps.map(|pps| format!(" of {:.decimals$} intended", pps / unit_pps));
    format!("{:.decimals$} {unit} offered{}", offered_pps / unit_pps, intended.unwrap_or_default())
}

/// The report as text.
pub(super) fn report_text(report: &PortReport) -> String {
    let frames = &report.detail;
    let sent = frames.transmit.as_ref().map(|tx| {
        format!(
            "sent {} packets, {} bytes in {:.3} s: {}; unsent {}, queue full {} times",
            tx.counters.packets,
            tx.counters.bytes,
            tx.duration_s,
            load(tx.offered_pps, tx.intended_pps),
            tx.unsent_packets,
            tx.counters.queue_full,
        )
    });
    let received = frames.receive.as_ref().map(|rx| {
        let delay = rx.latency.as_ref().map_or(String::new(), |latency| {
            let s = &latency.summary;
            format!("; delay min {} p50 {} p99 {} max {} ns", s.min, s.p50, s.p99, s.max)
        });
        format!(
            "received {} packets; sequence gaps {}, out of order {}, duplicate {}, stale {}, damaged {}, foreign {}{delay}",
            rx.counters.packets,
            rx.sequence_gaps,
            rx.counters.out_of_order,
            rx.counters.duplicates,
            rx.counters.stale,
            rx.counters.bad_checksums,
            rx.counters.foreign,
        )
    });
    let lines: Vec<String> = [sent, received].into_iter().flatten().collect();
    let mut text = lines.join("\n");
    if let Some(late @ 1..) = frames.receive.as_ref().map(|receive| receive.beyond_window) {
        text.push_str(&format!(
            "\nwarning: {late} packets came too late to distinguish first copies from duplicates"
        ));
    }
    for note in &report.notes {
        text.push_str("\nnote: ");
        text.push_str(note);
    }
    for disagreement in &report.disagreements {
        text.push_str("\nwarning: ");
        text.push_str(disagreement);
    }
    text
}

/// The frames that the receiving port dropped, if it counts them.
fn drops(now: &FrameMeasures) -> String {
    now.port
        .map_or_else(String::new, |port| format!(", missed {}, no buffer {}", port.rx_missed, port.rx_nombuf))
}

/// The distribution of frames over the receive queues, when there are several.
fn queue_spread(before: &FrameMeasures, now: &FrameMeasures, rate: impl Fn(u64, u64) -> f64) -> String {
    if now.queue_frames.len() < 2 || before.queue_frames.len() != now.queue_frames.len() {
        return String::new();
    }
    let rates = now.queue_frames.iter().zip(&before.queue_frames);
    let rates: Vec<String> = rates.map(|(now, before)| format!("{:.3}", rate(*now, *before))).collect();
    format!(", queues {} Mpps", rates.join(" "))
}

/// A line with the rates between two samples that are `interval_ns` apart.
pub(super) fn progress_line(before: &FrameMeasures, now: &FrameMeasures, interval_ns: u64) -> String {
    let seconds = interval_ns.max(1) as f64 / 1e9;
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds / 1e6;
    let sent = |sample: &FrameMeasures| sample.transmit.unwrap_or_default();
    let received = |sample: &FrameMeasures| sample.receive.unwrap_or_default();
    let tx = now.transmit.is_some().then(|| {
        let (a, b) = (sent(before), sent(now));
        format!(
            "tx {:.3} Mpps, {} packets, queue full {} times",
            rate(b.packets, a.packets),
            b.packets,
            b.queue_full
        )
    });
    let rx = now.receive.is_some().then(|| {
        let (a, b) = (received(before), received(now));
        let mean_delay_us = b.delay_sum_ns.saturating_sub(a.delay_sum_ns) as f64
            / b.packets.saturating_sub(a.packets).max(1) as f64
            / 1e3;
        format!(
            "rx {:.3} Mpps, {} packets, mean delay {mean_delay_us:.1} µs, foreign {}, stale {}{}{}",
            rate(b.frames, a.frames),
            b.packets,
            b.foreign,
            b.stale,
            drops(now),
            queue_spread(before, now, rate),
        )
    });
    [tx, rx].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::load;

    #[test]
    fn a_load_is_printed_in_a_unit_that_shows_it() {
        for (offered, intended, text) in [
            (0.333, Some(0.5), "0.333 pps offered of 0.500 intended"),
            (1953.125, None, "1953.125 pps offered"),
            (9_000.0, Some(20_000.0), "0.009000 Mpps offered of 0.020000 intended"),
            (1_234_567.8, None, "1.234568 Mpps offered"),
        ] {
            assert_eq!(load(offered, intended), text);
        }
    }
}
