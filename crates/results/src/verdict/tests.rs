use super::VerdictKind::{Clean, GeneratorLimited, PathLimited, PortLimited, ReceiverLimited};
use super::*;

#[test]
fn every_kind_has_its_numbers() {
    let base = Observed {
        sent: 10_000,
        duration_s: 0.01,
        rx_port: Some(PortTrouble::default()),
        ..Observed::default()
    };
    let port = |missed, errors, failed_allocations| Some(PortTrouble { missed, errors, failed_allocations });
    let reflected = |dropped, port| Some(Reflected { received: 10_000, dropped, lost_back: 0, port });
    let at = |intended: Option<f64>, offered_pps| Observed { intended_pps: intended, offered_pps, ..base };
    let busiest = |headroom| Some(Busiest { lcore: 3, headroom });
    let clean = at(Some(1e6), 1e6);
    let waiting = WorkerTime {
        lcore: 3,
        cpu: Some(1),
        elapsed_s: 1.0,
        off_cpu_s: 0.5,
        waited_s: Some(0.46),
        preemptions: Some(230),
        longest_gap_s: 0.0081,
        absences: None,
    };
    let absence = |packets| Some(Absence { lcore: 3, away_s: 0.2, longest_s: 0.0041, packets });
    for (name, observed, kind, part) in [
        (
            "receiver away",
            Observed { lost: 10, rx_absence: absence(10), ..clean },
            ReceiverLimited,
            "lcore 3 did not look at its receive queues for 0.200 s, 4.1 ms or more at a time, in which 10 packets",
        ),
        (
            "receiver away for less",
            Observed { lost: 10, rx_absence: absence(9), ..clean },
            PathLimited,
            "9 packets can",
        ),
        ("exact", clean, Clean, "(+0.000 %), all 10000 packets received"),
        ("at the tolerance", at(Some(1e6), 999_000.0), Clean, "-0.100 %"),
        ("held back, yet offered", Observed { blocked_s: 0.005, ..clean }, Clean, "1000000"),
        ("slow generator", at(Some(1e6), 998_000.0), GeneratorLimited, "0.0 % of the time"),
        (
            "stalled generator",
            Observed { blocked_s: 0.001, forgone: 4800, ..at(Some(1e6), 5e5) },
            GeneratorLimited,
            "10.0 % of the time, which does not explain the shortfall; the pacer skipped 4800 packets",
        ),
        ("one packet of two", Observed { sent: 1, ..at(Some(150.0), 100.0) }, Clean, "all 1 packets"),
        ("hasty generator", at(Some(1e6), 1_002_000.0), GeneratorLimited, "did not hold"),
        ("full port", Observed { blocked_s: 0.004, ..at(Some(1e6), 5e5) }, PortLimited, "40.0 % of the time"),
        ("doubtful copies", Observed { beyond_window: 3, ..clean }, PathLimited, "3 packets came so late"),
        (
            "doubtful copies beside loss",
            Observed { lost: 10, beyond_window: 3, ..clean },
            PathLimited,
            "3 packets came so late that copies cannot be distinguished from first arrivals, and may hide losses",
        ),
        (
            "packets of others",
            Observed { lost: 10, stale: 4000, ..clean },
            PathLimited,
            "4000 packets of another path or trial arrived",
        ),
        (
            "failed sends",
            Observed { lost: 10, tx_errors: 12, sender_lost: 6, ..clean },
            PortLimited,
            "the sending port counts 12 failed packets",
        ),
        (
            "failed sends that explain less than half",
            Observed { lost: 10, tx_errors: 12, sender_lost: 4, ..clean },
            PathLimited,
            "the sending port counts 12 failed packets",
        ),
        (
            "failed sends that arrived",
            Observed { tx_errors: 2411, sender_lost: 2411, ..clean },
            Clean,
            "all 10000 packets received",
        ),
        (
            "loss elsewhere",
            Observed { lost: 10, ..clean },
            PathLimited,
            "10 of 10000 packets lost (0.1000 %)",
        ),
        ("missed", Observed { lost: 10, rx_port: port(10, 0, 0), ..clean }, ReceiverLimited, "10 missed"),
        (
            "failed allocations are no packets",
            Observed { lost: 10, rx_port: port(0, 0, 1_900_000), ..clean },
            PathLimited,
            "0 missed and 0 damaged packets, and 1900000 times that no receive buffer could be allocated; a receiver without buffers \
             may have its part in it",
        ),
        (
            "few missed, many failed allocations",
            Observed { lost: 10, rx_port: port(4, 0, 6), ..clean },
            PathLimited,
            "4 missed and 0 damaged packets, and 6 times",
        ),
        (
            "missed, and failed allocations",
            Observed { lost: 10, rx_port: port(5, 0, 1000), ..clean },
            ReceiverLimited,
            "5 missed and 0 damaged packets, and 1000 times",
        ),
        (
            "failed allocations without loss",
            Observed { rx_port: port(0, 0, 99), ..clean },
            Clean,
            "all 10000",
        ),
        (
            "damaged at the port",
            Observed { lost: 10, rx_port: port(0, 6, 0), rx_busiest: busiest(0.0), ..clean },
            PathLimited,
            "0 missed and 6 damaged packets; receiving lcore 3",
        ),
        (
            "failed allocations at the reflector",
            Observed { lost: 10, reflected: reflected(0, port(1, 0, 5000)), ..clean },
            PathLimited,
            "the reflector's port counts 1 missed and 0 damaged packets, and 5000 times",
        ),
        (
            "missed and not taken back at the reflector",
            Observed { lost: 10, reflected: reflected(2, port(3, 0, 0)), ..clean },
            ReceiverLimited,
            "which dropped 2 more",
        ),
        (
            "mostly elsewhere",
            Observed { lost: 10, rx_port: port(4, 0, 0), ..clean },
            PathLimited,
            "the receiver does not explain it",
        ),
        (
            "receiver without headroom",
            Observed { lost: 10, rx_busiest: busiest(0.0123), ..clean },
            ReceiverLimited,
            "0 missed and 0 damaged packets; receiving lcore 3 had 1.23 % headroom",
        ),
        (
            "receiver without headroom, port silent",
            Observed { lost: 10, rx_port: None, rx_busiest: busiest(0.0), ..clean },
            ReceiverLimited,
            "not known; receiving lcore 3 had 0.00 % headroom",
        ),
        (
            "receiver with some headroom",
            Observed { lost: 10, rx_busiest: busiest(0.02), ..clean },
            PathLimited,
            "damaged packets; the receiver does not explain it",
        ),
        ("no headroom and no loss", Observed { rx_busiest: busiest(0.0), ..clean }, Clean, "all 10000"),
        (
            "damaged",
            Observed { lost: 10, damaged: 6, rx_busiest: busiest(0.0), ..clean },
            PathLimited,
            "damaged frames (wrong checksum): 6; receiving lcore 3",
        ),
        (
            "a few damaged",
            Observed { lost: 10, damaged: 1, ..clean },
            PathLimited,
            "damaged frames (wrong checksum): 1; the receiver does not explain it",
        ),
        (
            "generator without headroom",
            Observed { tx_busiest: busiest(0.001), ..at(Some(1e6), 5e5) },
            GeneratorLimited,
            "skipped 0 packets; sending lcore 3 had 0.10 % headroom",
        ),
        (
            "loss, and too little offered",
            Observed { lost: 10, rx_port: port(10, 0, 0), ..at(Some(1e6), 5e5) },
            ReceiverLimited,
            "10 missed and 0 damaged packets; besides, offered 500000 of 1000000 pps intended (-50.000 %)",
        ),
        (
            "doubtful copies, and too little offered",
            Observed { beyond_window: 3, ..at(Some(1e6), 5e5) },
            PathLimited,
            "may hide losses; besides, offered 500000 of 1000000",
        ),
        (
            "generator without its CPU",
            Observed {
                tx_busiest: busiest(0.47),
                tx_waiting: Some(waiting),
                tx_throttling: Some(Throttling { quota_cpus: Some(0.5), periods: 9, stopped_s: 0.4 }),
                ..at(Some(1e6), 5e5)
            },
            GeneratorLimited,
            "skipped 0 packets; sending lcore 3 waited for CPU 1 46.0 % of the time (0.460 of 1.000 s, 230 preemptions, 8.100 ms at \
             the longest); the control group's CPU quota of 0.50 CPUs stopped it for 0.400 s in 9 periods",
        ),
        (
            "generator that hardly waited",
            Observed {
                tx_busiest: busiest(0.47),
                tx_waiting: Some(WorkerTime { waited_s: Some(0.0005), ..waiting }),
                ..at(Some(1e6), 5e5)
            },
            GeneratorLimited,
            "sending lcore 3 had 47.00 % headroom",
        ),
        (
            "full port whose receiver is without its CPU",
            Observed { blocked_s: 0.004, rx_waiting: Some(waiting), ..at(Some(1e6), 5e5) },
            PortLimited,
            "40.0 % of the time; receiving lcore 3 waited for CPU 1 46.0 %",
        ),
        (
            "receiver without its CPU",
            Observed {
                lost: 10,
                rx_port: Some(PortTrouble { missed: 10, ..PortTrouble::default() }),
                rx_waiting: Some(waiting),
                ..clean
            },
            ReceiverLimited,
            "damaged packets; receiving lcore 3 waited for CPU 1 46.0 %",
        ),
        (
            "loss, and a generator without its CPU",
            Observed { lost: 10, tx_waiting: Some(waiting), ..at(Some(1e6), 5e5) },
            PathLimited,
            "(-50.000 %); sending lcore 3 waited for CPU 1",
        ),
        (
            "a burst of each worker more",
            Observed { slack_packets: 128, ..at(Some(1e6), 1_012_000.0) },
            Clean,
            "+1.200 %",
        ),
        ("port silent", Observed { lost: 10, rx_port: None, ..clean }, PathLimited, "not known"),
        (
            "loss before load",
            Observed { lost: 1, blocked_s: 0.005, ..at(Some(1e6), 5e5) },
            PathLimited,
            "1 of",
        ),
        (
            "max, port full",
            Observed { blocked_s: 0.005, ..at(None, 5e6) },
            PortLimited,
            "as fast as possible",
        ),
        ("max, generator slow", at(None, 5e6), GeneratorLimited, "0.0 % of the time"),
        (
            "max, port hardly full",
            Observed { blocked_s: 0.00005, ..at(None, 5e6) },
            GeneratorLimited,
            "does not explain",
        ),
        ("max with loss", Observed { lost: 5, blocked_s: 0.005, ..at(None, 5e6) }, PathLimited, "5 of"),
    ] {
        let verdict = judge(&observed);
        assert_eq!(verdict.kind, kind, "{name}: {}", verdict.evidence);
        assert!(verdict.evidence.contains(part), "{name}: {}", verdict.evidence);
    }
}

#[test]
fn a_missed_load_is_off_by_more_than_the_tolerance_and_a_packet() {
    for (intended_pps, offered_pps, duration_s, missed) in [
        (Some(1e6), 1e6, 1.0, false),
        (Some(1e6), 999_001.0, 1.0, false),
        (Some(1e6), 998_900.0, 1.0, true),
        (Some(1e6), 1_001_100.0, 1.0, true),
        (Some(150.0), 100.0, 0.01, false),
        (None, 1.0, 1.0, false),
    ] {
        let observed = Observed { intended_pps, offered_pps, duration_s, ..Observed::default() };
        assert_eq!(observed.missed_intended(), missed, "{offered_pps} of {intended_pps:?}");
    }
}

#[test]
fn a_port_lost_what_it_counts_as_failed_and_not_as_sent() {
    let port =
        |tx_packets, tx_errors| Some(PortCounters { tx_packets, tx_errors, ..PortCounters::default() });
    for (port, lost) in [
        (None, 0),
        (port(1000, 0), 0),
        // A driver that counts what it refused, and is asked again.
        (port(1000, 500), 0),
        (port(900, 100), 100),
        (port(900, 40), 40),
        // Frames of its own, such as answers to ARP requests.
        (port(1003, 2), 0),
    ] {
        assert_eq!(sender_lost(1000, port), lost, "{port:?}");
    }
}
