use linerate_wire::streams::{CpuUse, Load, Protocol, StreamsLimit, StreamsSpec};
use linerate_wire::time::{Throttling, WorkerTime};

use super::super::{StreamResult, TcpResult, UdpResult};
use super::*;
use crate::spec::{Direction, tcp_spec};
use crate::streams::report::EndReport;

fn worker(on_cpu: f64, waited: f64) -> WorkerTime {
    // A little more than the 10 s of sending.
    WorkerTime {
        lcore: 0,
        cpu: Some(3),
        elapsed_s: 10.2,
        off_cpu_s: 10.2 - 10.0 * on_cpu,
        waited_s: Some(10.0 * waited),
        preemptions: None,
        longest_gap_s: 0.0,
        absences: None,
    }
}

fn end(worker: WorkerTime, stopped_s: f64) -> EndReport {
    let throttling = Throttling { quota_cpus: Some(0.5), periods: 9, stopped_s };
    EndReport {
        sending: None,
        receiving: None,
        workers: vec![worker],
        throttling: (stopped_s > 0.0).then_some(throttling),
        cpu: CpuUse::default(),
        notes: Vec::new(),
    }
}

/// A direction of 10 s at this load.
fn direction(intended_bps: Option<f64>, offered_bps: f64) -> DirectionResult {
    DirectionResult {
        direction: Direction::Forward,
        intended_bps,
        offered_bps: Some(offered_bps),
        received_bps: Some(offered_bps),
        received_over_s: None,
        sending_s: Some(10.0),
        receiving_s: Some(10.0),
        ended: None,
        sent_bytes: Some(1000),
        received_bytes: Some(1000),
        forgone: Some(0),
        full_s: Some(0.0),
        tcp: None,
        udp: None,
        verdict: Verdict::unknown(),
        streams: Vec::new(),
    }
}

fn tcp(window: f64, buffer: f64, network: f64) -> TcpResult {
    TcpResult {
        acked_bytes: Some(1000),
        retransmits: 7,
        retransmit_share: Some(0.001),
        congestion: None,
        busy_share: Some(window + buffer + network),
        window_limited_share: Some(window),
        buffer_limited_share: Some(buffer),
        rtt_us: None,
    }
}

fn udp(sent: u64, lost: u64, socket_drops: Option<u64>, refused: u64) -> UdpResult {
    UdpResult {
        datagram_bytes: 1000,
        intended_pps: None,
        offered_pps: None,
        received_pps: None,
        sent: Some(sent),
        refused: Some(refused),
        received: Some(sent - lost),
        lost: Some(lost),
        loss_share: None,
        socket_drops,
        duplicates: Some(0),
        reordered: Some(0),
        reordering: None,
        foreign: Some(0),
        beyond_memory: Some(0),
        delay_ns: None,
        delay_note: None,
        delay_variation_ns: None,
        delay_variation_note: None,
        jitter_ns: None,
        delay_histogram: Vec::new(),
    }
}

#[test]
fn every_kind_has_its_numbers() {
    use StreamsLimit::{
        ApplicationLimited, Clean, CpuLimited, NetworkLimited, QuotaLimited, ReceiverLimited,
        ReceiverWindowLimited, SendBufferLimited,
    };
    let spec = tcp_spec();
    let datagrams = StreamsSpec { protocol: Protocol::Udp, block_bytes: 1000, load: Load::Max, ..tcp_spec() };
    let idle = || end(worker(0.2, 0.0), 0.0);
    let full = || end(worker(0.98, 0.01), 0.0);
    let waiting = || end(worker(0.4, 0.3), 0.0);
    let stopped = || end(worker(0.4, 0.0), 2.0);
    let streams = |tcp| DirectionResult { tcp: Some(tcp), ..direction(None, 1e9) };
    let of_udp = |udp, intended, offered| DirectionResult { udp: Some(udp), ..direction(intended, offered) };
    for (name, spec, sender, receiver, result, kind, part) in [
        (
            "an intended load that was held",
            &spec,
            idle(),
            idle(),
            DirectionResult { tcp: Some(tcp(0.0, 0.0, 0.1)), ..direction(Some(1e9), 0.9995e9) },
            Clean,
            "(-0.050 %); 1000 bytes received, 7 segments sent again",
        ),
        (
            "a small window",
            &spec,
            idle(),
            idle(),
            streams(tcp(0.8, 0.0, 0.1)),
            ReceiverWindowLimited,
            "window 80.0 %",
        ),
        (
            "a window that a busy receiver closes",
            &spec,
            idle(),
            full(),
            streams(tcp(0.8, 0.0, 0.1)),
            CpuLimited,
            "receiving worker 0 had CPU 3 98.0 % of the time",
        ),
        (
            "a small send buffer",
            &spec,
            idle(),
            idle(),
            streams(tcp(0.0, 0.7, 0.2)),
            SendBufferLimited,
            "buffer 70.0 %",
        ),
        (
            "losses or a slow path",
            &spec,
            idle(),
            idle(),
            streams(tcp(0.0, 0.0, 0.99)),
            NetworkLimited,
            "7 segments sent again (0.1000 %)",
        ),
        ("a busy sender", &spec, full(), idle(), streams(tcp(0.0, 0.0, 0.6)), CpuLimited, "sending worker 0"),
        (
            "a sender that waits for its CPU",
            &spec,
            waiting(),
            idle(),
            streams(tcp(0.0, 0.0, 0.3)),
            CpuLimited,
            "waited for it 30.0 %",
        ),
        (
            "a quota",
            &spec,
            idle(),
            stopped(),
            streams(tcp(0.9, 0.0, 0.0)),
            QuotaLimited,
            "at the receiving end, the control group's CPU quota of 0.50 CPUs stopped it for 2.000 s",
        ),
        (
            "a program that does not send",
            &spec,
            idle(),
            idle(),
            DirectionResult { tcp: Some(tcp(0.0, 0.0, 0.1)), ..direction(Some(2e9), 1e9) },
            ApplicationLimited,
            "(-50.000 %)",
        ),
        (
            "a kernel that tells nothing",
            &spec,
            idle(),
            idle(),
            streams(TcpResult { busy_share: None, ..tcp(0.0, 0.0, 0.0) }),
            NetworkLimited,
            "does not tell",
        ),
        (
            "datagrams lost on the path",
            &datagrams,
            idle(),
            idle(),
            of_udp(udp(1000, 10, Some(4), 0), None, 1e6),
            NetworkLimited,
            "10 of 1000 datagrams lost (1.0000 %); the receiver's kernel dropped 4 of them",
        ),
        (
            "datagrams lost before the socket",
            &datagrams,
            idle(),
            idle(),
            of_udp(udp(1000, 10, Some(0), 0), None, 1e6),
            NetworkLimited,
            "10 of 1000 datagrams lost (1.0000 %); none of them at the receiver's socket",
        ),
        (
            "datagrams lost at the socket",
            &datagrams,
            idle(),
            full(),
            of_udp(udp(1000, 10, Some(6), 0), Some(1e6), 1e6),
            ReceiverLimited,
            "receiving worker 0 had CPU 3",
        ),
        (
            "unknown drops",
            &datagrams,
            idle(),
            idle(),
            of_udp(udp(1000, 10, None, 0), None, 1e6),
            NetworkLimited,
            "are not known",
        ),
        (
            "a datagram too few is no miss",
            &datagrams,
            idle(),
            idle(),
            of_udp(udp(9, 0, Some(0), 0), Some(8000.0), 7200.0),
            Clean,
            "all 9 datagrams received",
        ),
        (
            "a full queue",
            &datagrams,
            idle(),
            idle(),
            of_udp(udp(1000, 0, Some(0), 500), Some(2e9), 1e9),
            SendBufferLimited,
            "refused 500 datagrams",
        ),
        (
            "full sockets",
            &datagrams,
            idle(),
            idle(),
            DirectionResult { full_s: Some(6.0), ..of_udp(udp(1000, 0, Some(0), 0), None, 1e9) },
            SendBufferLimited,
            "sockets were full 60.0 % of the time",
        ),
        (
            "a busy sender of datagrams",
            &datagrams,
            full(),
            idle(),
            of_udp(udp(1000, 0, Some(0), 0), None, 1e9),
            CpuLimited,
            "sending worker 0 had CPU 3 98.0 %",
        ),
    ] {
        let parts = Parts { spec, sender: Some(&sender), receiver: Some(&receiver) };
        let verdict = judge(&parts, &result);
        assert_eq!(verdict.kind, kind, "{name}: {}", verdict.evidence);
        assert!(verdict.evidence.contains(part), "{name}: {}", verdict.evidence);
    }
    let unknown = DirectionResult { offered_bps: None, ..direction(None, 0.0) };
    let parts = Parts { spec: &spec, sender: None, receiver: None };
    assert_eq!(judge(&parts, &unknown).kind, StreamsLimit::Unknown);
}

#[test]
fn streams_that_were_ended_before_they_sent_are_no_missing_account() {
    let spec = tcp_spec();
    let parts = Parts { spec: &spec, sender: None, receiver: None };
    for (sending_s, evidence) in [
        (Some(0.0), "nothing was sent: the trial was ended before sending began"),
        (None, "the account of the sender is missing"),
    ] {
        let result = DirectionResult { offered_bps: None, sending_s, ..direction(None, 0.0) };
        let verdict = judge(&parts, &result);
        assert_eq!((verdict.kind, verdict.evidence.as_str()), (StreamsLimit::Unknown, evidence));
    }
}

#[test]
fn clean_needs_all_of_the_load_and_a_complete_account() {
    let spec = StreamsSpec { protocol: Protocol::Udp, block_bytes: 4000, ..tcp_spec() };
    let of_udp = |udp, offered| DirectionResult { udp: Some(udp), ..direction(Some(5e6), offered) };
    let incomplete = |figures: DirectionResult, reason: &str| {
        let reason = Some(reason.to_owned());
        let stream = StreamResult { stream: 0, complete: false, reason, sent: None, received: None };
        DirectionResult { streams: vec![stream], ..figures }
    };
    let unread = UdpResult { received: None, lost: None, ..udp(1000, 0, None, 0) };
    let unsent = || DirectionResult { sending_s: Some(0.001), ..of_udp(udp(0, 0, Some(0), 0), 0.0) };
    for (name, result, kind, part) in [
        (
            "no receiver's account",
            of_udp(unread, 5e6),
            StreamsLimit::Unknown,
            "receiver's account is missing",
        ),
        (
            "an incomplete stream",
            incomplete(of_udp(udp(1000, 0, Some(0), 0), 5e6), "the account of one end is missing"),
            StreamsLimit::Unknown,
            "(+0.000 %); the account is not complete: the account of one end is missing",
        ),
        (
            "streams that ended at once",
            incomplete(unsent(), "Message too long"),
            StreamsLimit::Unknown,
            "offered 0 bit/s of 5.000 Mbit/s intended (-100.000 %); the account is not complete: Message too",
        ),
        ("nothing sent in a short time", unsent(), StreamsLimit::CpuLimited, "(-100.000 %)"),
    ] {
        let (sender, receiver) = (end(worker(0.2, 0.0), 0.0), end(worker(0.2, 0.0), 0.0));
        let parts = Parts { spec: &spec, sender: Some(&sender), receiver: Some(&receiver) };
        let verdict = judge(&parts, &result);
        assert_eq!(verdict.kind, kind, "{name}: {}", verdict.evidence);
        assert!(verdict.evidence.contains(part), "{name}: {}", verdict.evidence);
    }
}

#[test]
fn a_load_that_arrives_late_is_not_clean() {
    let of_tcp = |received_over_s| DirectionResult {
        tcp: Some(tcp(0.0, 0.0, 0.1)),
        received_bytes: Some(12_500_000),
        received_over_s: Some(received_over_s),
        ..direction(Some(1e7), 1e7)
    };
    let (idle, busy) = (end(worker(0.1, 0.0), 0.0), end(worker(0.9, 0.1), 0.0));
    let spec = tcp_spec();
    for (received_over_s, receiver, expected) in [
        (10.9, &idle, StreamsLimit::Clean),
        (20.0, &idle, StreamsLimit::NetworkLimited),
        (20.0, &busy, StreamsLimit::CpuLimited),
    ] {
        let parts = Parts { spec: &spec, sender: Some(&idle), receiver: Some(receiver) };
        let verdict = judge(&parts, &of_tcp(received_over_s));
        assert_eq!(verdict.kind, expected, "{}", verdict.evidence);
        let is_late = verdict.evidence.contains("it arrived at 5.000 Mbit/s, for 10.000 s longer");
        assert_eq!(is_late, expected != StreamsLimit::Clean, "{}", verdict.evidence);
    }
}

#[test]
fn rates_are_written_for_people() {
    for (bps, text) in
        [(0.0, "0 bit/s"), (1500.0, "1.500 kbit/s"), (2.5e6, "2.500 Mbit/s"), (1e10, "10.000 Gbit/s")]
    {
        assert_eq!(rate(bps), text);
    }
}
