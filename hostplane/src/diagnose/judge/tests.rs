//! Findings from what the ends saw, as tables.

use std::net::SocketAddr;

use super::*;
use crate::diagnose::ladder::{Ladder, Way};
use crate::diagnose::port::{PortProbe, PortState};
use crate::diagnose::sweep::{Sweep, SweptCpu, SweptEnd};
use crate::diagnose::view::{Conntrack, HostView, Link, Relation, Route, Softnet};
use crate::diagnose::{Addresses, Both, Step, StepKind};
use crate::result::verdict::{Verdict, VerdictKind};
use crate::result::{Clock, DirectionResult, End, TcpResult, TrialResult};
use crate::spec::{Directions, TrialSpec, tcp_spec};

fn empty() -> Diagnosis {
    let end = || Both { before: HostView::default(), after: Some(HostView::default()) };
    Diagnosis {
        program: String::new(),
        began_unix_s: 0.0,
        to: String::new(),
        client: end(),
        server: Some(end()),
        server_note: None,
        addresses: None,
        unreachable: None,
        steps: Vec::new(),
        sweeps: Vec::new(),
        ladder: None,
        ladder_note: None,
        ports: Vec::new(),
        findings: Vec::new(),
    }
}

fn found(diagnosis: &Diagnosis) -> Vec<(&'static str, Severity)> {
    let mut all = firewall::judge(diagnosis);
    all.extend(cpus::judge(diagnosis));
    all.extend(windows::judge(diagnosis, None));
    all.extend(mtu::judge(diagnosis));
    all.extend(link::judge(diagnosis));
    all.iter().map(|finding| (finding.name, finding.severity)).collect()
}

#[test]
fn nothing_seen_is_nothing_found() {
    assert_eq!(found(&empty()), []);
}

#[test]
fn a_table_of_connections_is_judged_by_its_drops_and_its_fill() {
    let table = |entries, drops| Some(Conntrack { entries, most: 1000, drops, ..Conntrack::default() });
    let clash = |entries, count| {
        let both = Some(count);
        Some(Conntrack { entries, most: 1000, drops: both, insert_failures: both, ..Conntrack::default() })
    };
    let early =
        |count| Some(Conntrack { entries: 10, most: 1000, early_drops: Some(count), ..Conntrack::default() });
    for (before, after, expected) in [
        (table(10, Some(5)), table(10, Some(5)), None),
        // Drops of earlier days are none of now.
        (table(10, Some(5)), table(10, Some(6)), Some(("conntrack-drops", Severity::Warning))),
        (table(10, Some(5)), table(850, Some(6)), Some(("conntrack-full", Severity::Fault))),
        (early(1), early(2), Some(("conntrack-full", Severity::Fault))),
        // The kernel counts a lost race in both.
        (clash(10, 0), clash(10, 2), Some(("conntrack-insert-failed", Severity::Warning))),
        (table(990, None), table(10, None), Some(("conntrack-full", Severity::Fault))),
        (table(10, Some(0)), table(850, Some(0)), Some(("conntrack-filling", Severity::Warning))),
        (None, None, None),
    ] {
        let mut diagnosis = empty();
        diagnosis.client.before.conntrack = before;
        diagnosis.client.after = Some(HostView { conntrack: after, ..HostView::default() });
        assert_eq!(found(&diagnosis), Vec::from_iter(expected), "{before:?} {after:?}");
    }
}

#[test]
fn translations_and_ways_back_are_told() {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let mut diagnosis = empty();
    diagnosis.addresses = Some(Addresses {
        client: address("10.244.1.7:4000"),
        client_at_server: address("192.168.0.6:61000"),
        server: address("10.96.0.1:22023"),
        server_at_server: address("10.0.0.3:22023"),
    });
    let server = diagnosis.server.as_mut().unwrap();
    let route = Route { source: Some([192, 168, 9, 9].into()), ..Route::default() };
    server.after.as_mut().unwrap().route = Some(route);
    let note = Severity::Note;
    assert_eq!(found(&diagnosis), [("snat", note), ("dnat", note), ("route-asymmetry", Severity::Warning)]);
}

#[test]
fn a_narrow_path_is_a_fault_only_when_nobody_tells() {
    let way = |passes| Way {
        interface_mtu: Some(1500),
        passes: Some(passes),
        tried: vec![(1500, passes == 1500), (passes, true)],
    };
    for (passes, learnt, expected) in [
        (1500, Some(1500), None),
        (1450, Some(1450), Some(("path-mtu", Severity::Note))),
        (1450, Some(1500), Some(("mtu-black-hole", Severity::Fault))),
        (1450, None, Some(("mtu-black-hole", Severity::Fault))),
    ] {
        let mut diagnosis = empty();
        diagnosis.ladder = Some(Ladder { forward: way(passes), reverse: way(1500), learnt_mtu: learnt });
        assert_eq!(found(&diagnosis), Vec::from_iter(expected), "{passes} {learnt:?}");
    }
}

#[test]
fn links_are_compared_and_their_losses_counted() {
    let link = |speed, duplex: &str, mtu, dropped| HostView {
        link: Some(Link {
            name: "eth0".into(),
            physical: true,
            mtu: Some(mtu),
            speed_mbps: Some(speed),
            duplex: Some(duplex.into()),
            received_errors: Some(dropped),
            ..Link::default()
        }),
        softnet: Some(Softnet { dropped, squeezed: 0 }),
        ..HostView::default()
    };
    let mut diagnosis = empty();
    diagnosis.client = Both { before: link(1000, "half", 1500, 3), after: Some(link(1000, "half", 1500, 5)) };
    diagnosis.server =
        Some(Both { before: link(10_000, "full", 9000, 1), after: Some(link(10_000, "full", 9000, 1)) });
    let warning = Severity::Warning;
    assert_eq!(
        found(&diagnosis),
        [
            ("softnet-drops", warning),
            ("half-duplex", Severity::Fault),
            ("interface-drops", warning),
            ("speed-mismatch", warning),
            ("mtu-mismatch", warning)
        ]
    );
}

#[test]
fn frames_that_nobody_wants_are_no_loss() {
    let link = |dropped, missed| HostView {
        link: Some(Link {
            name: "eth0".into(),
            received_dropped: Some(dropped),
            received_missed: Some(missed),
            ..Link::default()
        }),
        ..HostView::default()
    };
    for (dropped, missed, expected) in [
        (0, 0, None),
        (1, 0, Some(Severity::Note)),
        (30, 0, Some(Severity::Note)),
        (31, 0, Some(Severity::Warning)),
        (1, 1, Some(Severity::Warning)),
        (0, 1, Some(Severity::Warning)),
    ] {
        let mut diagnosis = empty();
        diagnosis.client = Both { before: link(7, 7), after: Some(link(7 + dropped, 7 + missed)) };
        let expected = expected.map(|severity| ("interface-drops", severity));
        assert_eq!(found(&diagnosis), Vec::from_iter(expected), "{dropped} dropped, {missed} missed");
    }
}

#[test]
fn the_firewall_of_a_node_is_that_of_its_address() {
    for (address, command) in [("10.0.0.3:179", "iptables "), ("[2001:db8::1]:179", "ip6tables ")] {
        let mut diagnosis = empty();
        let (address, state) = (address.parse().unwrap(), PortState::Filtered);
        diagnosis.ports.push(PortProbe { address, state, reason: None, asked_for: true });
        let found = firewall::judge(&diagnosis);
        assert!(found[0].remedy.commands[0].starts_with(command), "{found:?}");
    }
}

#[test]
fn only_a_node_that_was_named_must_speak_bgp() {
    for (state, asked_for, expected) in [
        (PortState::Filtered, false, None),
        (PortState::Filtered, true, Some(("bgp-port", Severity::Fault))),
        (PortState::Refused, true, Some(("bgp-port", Severity::Warning))),
        (PortState::Open, true, None),
    ] {
        let mut diagnosis = empty();
        let address = "10.0.0.3:179".parse().unwrap();
        diagnosis.ports.push(PortProbe { address, state, reason: None, asked_for });
        assert_eq!(found(&diagnosis), Vec::from_iter(expected), "{state:?} {asked_for}");
    }
}

#[test]
fn a_cpu_is_slow_when_every_round_says_so() {
    let cpu = |cpu, rounds: [f64; 2], waiting| SweptCpu {
        cpu,
        bps: Some((rounds[0] + rounds[1]) / 2.0),
        rounds_bps: rounds.map(Some).to_vec(),
        client_s_per_gbit: None,
        server_s_per_gbit: None,
        waiting_share: waiting,
        verdict: VerdictKind::NetworkLimited,
        softirq_cpu: Some(8),
        relation: Relation::Apart,
    };
    let judged = |slower: [f64; 2], waiting| {
        let mut diagnosis = empty();
        diagnosis.sweeps.push(Sweep {
            end: SweptEnd::Client,
            direction: Direction::Forward,
            other_cpu: None,
            cpus: vec![cpu(8, [9.34e9, 9.35e9], None), cpu(4, slower, waiting)],
            left_out: Vec::new(),
        });
        cpus::judge(&diagnosis)
    };
    assert_eq!(judged([5.36e9, 9.3e9], None), [], "one round may be disturbed");
    let findings = judged([5.36e9, 5.4e9], None);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert!(
        finding.words.contains("9.345 Gbit/s on CPU 8, 5.380 Gbit/s on CPU 4, 58 % of it"),
        "{}",
        finding.words
    );
    assert!(
        finding.words.contains("another NUMA node than the CPU that takes the packets"),
        "{}",
        finding.words
    );
    let findings = judged([5.36e9, 5.4e9], Some(0.5));
    assert!(findings[0].words.contains("waits for the CPU 50 % of the time"), "{}", findings[0].words);
}

#[test]
fn a_server_that_was_not_seen_again_is_told() {
    let mut diagnosis = empty();
    assert_eq!(path::judge(&diagnosis), []);
    diagnosis.server_note = Some("the connection was closed".to_owned());
    let findings = path::judge(&diagnosis);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.name, finding.severity), ("server-unseen", Severity::Warning));
    assert_eq!(finding.evidence, ["the connection was closed"]);
}

/// A measurement of one TCP stream: what was offered, what arrived, and the share of the time with payload on the path.
fn tcp_step(direction: Direction, kind: VerdictKind, [offered, received]: [f64; 2], on_path: f64) -> Step {
    let end = || End {
        address: "10.0.0.3:22023".parse().unwrap(),
        host: None,
        kernel: None,
        cpu: None,
        cpu_s_per_gbit: None,
        workers: Vec::new(),
        throttling: None,
        notes: Vec::new(),
    };
    let tcp = TcpResult {
        acked_bytes: None,
        retransmits: 0,
        retransmit_share: Some(0.0),
        congestion: None,
        busy_share: Some(on_path),
        window_limited_share: None,
        buffer_limited_share: None,
        rtt_us: None,
    };
    let result = DirectionResult {
        direction,
        intended_bps: None,
        offered_bps: Some(offered),
        received_bps: Some(received),
        received_over_s: None,
        sending_s: Some(0.3),
        receiving_s: Some(0.3),
        ended: None,
        sent_bytes: None,
        received_bytes: None,
        forgone: None,
        full_s: None,
        tcp: Some(tcp),
        udp: None,
        verdict: Verdict { kind, evidence: "as offered".to_owned() },
        streams: Vec::new(),
    };
    let trial = TrialResult {
        program: String::new(),
        began_unix_s: 0.0,
        complete: true,
        interrupted: false,
        failures: Vec::new(),
        trial: TrialSpec {
            directions: Directions::Forward,
            interval_ms: 100,
            server_cpu: None,
            each: tcp_spec(),
        },
        clock: Clock { same: true, server_ahead_ns: 0, uncertainty_ns: 0, round_trip_ns: 0 },
        client: end(),
        server: end(),
        directions: vec![result],
        intervals: Vec::new(),
        intervals_left_out: 0,
        probe: None,
    };
    Step { kind: StepKind::Tcp, direction, result: Some(trial), reason: None }
}

#[test]
fn directions_are_unequal_by_what_limits_them_and_not_by_a_load_that_was_held() {
    use VerdictKind::{ApplicationLimited, Clean, CpuLimited, NetworkLimited};
    let found = |reverse| {
        let mut diagnosis = empty();
        diagnosis.steps = vec![tcp_step(Direction::Forward, Clean, [19.4e6, 19.4e6], 0.01), reverse];
        let finding = path::judge(&diagnosis).into_iter().find(|finding| finding.name == "asymmetry");
        finding.map(|finding| finding.words)
    };
    for (what, kind, rates, on_path, expected) in [
        ("a step of a short schedule is missing", Clean, [17.2e6, 17.3e6], 0.01, None),
        ("the receiver read the last bytes late", Clean, [19.4e6, 12.0e6], 0.02, None),
        (
            "the send buffer hides a slow path",
            Clean,
            [19.4e6, 10.0e6],
            0.98,
            Some("the path brought it more slowly"),
        ),
        ("the program did not offer more", ApplicationLimited, [10.0e6, 10.0e6], 0.01, None),
        (
            "a CPU did not offer more",
            CpuLimited,
            [10.0e6, 10.0e6],
            0.01,
            Some("10.000 Mbit/s against 19.400 Mbit/s forward, 48 % less: a CPU is the limit"),
        ),
        ("the path admits less", NetworkLimited, [10.0e6, 10.0e6], 0.9, Some("the path is the limit")),
        ("it admits nearly as much", NetworkLimited, [17.6e6, 17.6e6], 0.9, None),
    ] {
        let words = found(tcp_step(Direction::Reverse, kind, rates, on_path));
        let is_as_expected = match (&words, expected) {
            (Some(words), Some(part)) => words.contains(part),
            (words, part) => words.is_none() && part.is_none(),
        };
        assert!(is_as_expected, "{what}: {words:?}");
    }
}
