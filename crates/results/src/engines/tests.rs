use linerate_experiment::engines::EngineName;
use linerate_wire::host_report::{HostReport, InterfaceReport, NamespaceReport, NodeReport};

use super::losses::Counted;
use super::*;
use crate::fixtures::{rx, summary, tx, with_clock};
use crate::summary::{Status, Summary, TrialSummary};
use crate::verdict::{Verdict, VerdictKind};

fn host(interface: &InterfaceReport, softnet: u64, errors: u64) -> HostReport {
    HostReport {
        elapsed_s: 2.0,
        node: NodeReport { softnet_dropped: Some(softnet), ..NodeReport::default() },
        namespace: NamespaceReport {
            interfaces: vec![InterfaceReport { interface: "net0".into(), ..interface.clone() }],
            protocols: [("UdpRcvbufErrors".to_owned(), errors)].into(),
            ..NamespaceReport::default()
        },
        ..HostReport::default()
    }
}

#[test]
fn every_lost_packet_has_one_place() {
    use EngineName::{AfPacket, AfXdp, Memif, Sockets};
    use LossPlace::{PacketRing, PortRing, Qdisc, SenderInterface, SocketBuffer, Softnet, Unknown};
    type Row<'a> = (EngineName, [u64; 7], Option<u64>, &'a [(LossPlace, u64)]);
    // Engine; lost of 1000, sender's packets and drops, softnet, receiver's packets, drops, buffer errors; port's misses.
    let rows: &[Row<'_>] = &[
        (AfPacket, [0, 1000, 0, 50, 1000, 0, 9], None, &[]),
        (AfPacket, [100, 1000, 0, 0, 1000, 0, 0], None, &[(PacketRing, 100)]),
        (
            AfPacket,
            [100, 970, 10, 15, 965, 0, 0],
            None,
            &[(Qdisc, 20), (SenderInterface, 10), (Softnet, 5), (PacketRing, 65)],
        ),
        // The queue of a CPU was full: the sender's interface and softnet count the same packets.
        (AfPacket, [100, 940, 60, 60, 940, 0, 0], None, &[(SenderInterface, 60), (PacketRing, 40)]),
        (AfXdp, [100, 1000, 0, 0, 1000, 0, 0], Some(60), &[(PortRing, 60), (Unknown, 40)]),
        (Sockets, [100, 1000, 0, 30, 970, 0, 500], None, &[(Softnet, 30), (SocketBuffer, 70)]),
        // Counters of the kernel have nothing to do with shared memory.
        (Memif, [100, 0, 7, 7, 7, 7, 7], Some(30), &[(PortRing, 30), (PortRing, 70)]),
    ];
    for (engine, [lost, tx_packets, tx_dropped, softnet, rx_packets, rx_dropped, errors], missed, places) in
        rows
    {
        let tx = host(
            &InterfaceReport { tx_packets: *tx_packets, tx_dropped: *tx_dropped, ..Default::default() },
            *softnet,
            0,
        );
        let rx = host(
            &InterfaceReport { rx_packets: *rx_packets, rx_dropped: *rx_dropped, ..Default::default() },
            *softnet,
            *errors,
        );
        let counted = Counted {
            engine: *engine,
            sent: 1000,
            lost: *lost,
            tx: Some(&tx),
            rx: Some(&rx),
            port_failed: 0,
            port_missed: *missed,
            socket_drops: None,
        };
        let parts = counted.places();
        let found: Vec<_> = parts.iter().map(|part| (part.place, part.packets)).collect();
        assert_eq!(found, *places, "{engine}");
        assert_eq!(parts.iter().map(|part| part.packets).sum::<u64>(), *lost);
    }
}

#[test]
fn packets_that_the_sending_port_failed_to_send_are_not_lost_behind_it() {
    // The interface sent none of the 300 that the driver failed to hand over.
    let tx = host(&InterfaceReport { tx_packets: 700, ..Default::default() }, 0, 0);
    let rx = host(&InterfaceReport { rx_packets: 690, ..Default::default() }, 0, 0);
    let counted = Counted {
        engine: EngineName::AfPacket,
        sent: 1000,
        lost: 310,
        tx: Some(&tx),
        rx: Some(&rx),
        port_failed: 300,
        port_missed: None,
        socket_drops: None,
    };
    let found: Vec<_> = counted.places().iter().map(|part| (part.place, part.packets)).collect();
    assert_eq!(found, [(LossPlace::SenderPort, 300), (LossPlace::Unknown, 10)]);
}

fn figures(engine: EngineName, profile: &str, cpu_s: Option<f64>) -> EngineFigures {
    EngineFigures {
        engine,
        profile: profile.to_owned(),
        frame_size: "64".parse().unwrap(),
        cores: 1,
        agents_cpu_s: cpu_s,
        working_cpu_s: None,
        softirq_cpu_s: Some(0.5),
        host: None,
        losses: vec![LossPart {
            place: LossPlace::PacketRing,
            packets: 100,
            evidence: "net0 received 1000".into(),
        }],
    }
}

fn trial(engine: EngineName, profile: &str, sent: u64, received: u64) -> TrialSummary {
    let result = with_clock(true, &tx(sent), &rx(received)).unwrap();
    TrialSummary { engine: Some(figures(engine, profile, Some(1.5))), ..result }
}

#[test]
fn engines_of_a_profile_stand_together_and_are_held_to_the_fastest() {
    let trials = vec![
        trial(EngineName::Memif, "slow", 100, 100),
        trial(EngineName::Memif, "fast", 4000, 4000),
        trial(EngineName::AfPacket, "slow", 100, 100),
        trial(EngineName::AfPacket, "fast", 1100, 1000),
        with_clock(true, &tx(1), &rx(1)).unwrap(),
    ];
    let summary = Summary { trials, ..summary(Status::Complete) };
    let rows = rows(&summary);
    let order: Vec<_> = rows.iter().map(|row| (row.figures.profile.as_str(), row.figures.engine)).collect();
    assert_eq!(
        order,
        [
            ("slow", EngineName::Memif),
            ("slow", EngineName::AfPacket),
            ("fast", EngineName::Memif),
            ("fast", EngineName::AfPacket)
        ]
    );
    let told = comparison(&rows);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("af_packet received ")
            && told[0].contains(", 25 % of it; a million packets took it 1500.00 CPU-seconds of agents (the node's softirqs: 500.00, partly the same), and memif 375.00")
            && told[0].contains("it lost 100 packets, 9.091 %, of which 100 in the ring of the packet socket (net0 received 1000)"),
        "{told:?}"
    );
    assert!(comparison(&[]).is_empty());
}

#[test]
fn a_limit_of_the_tester_is_not_sold_as_the_cost_of_the_path() {
    use VerdictKind::{Clean, GeneratorLimited, PathLimited, ReceiverLimited};
    let told = |memif: VerdictKind, af_packet: VerdictKind| {
        let limited = |kind, trial: TrialSummary| {
            let verdict = Verdict { kind, evidence: "no idle time".into() };
            TrialSummary { verdict, ..trial }
        };
        let trials = vec![
            limited(memif, trial(EngineName::Memif, "fast", 4000, 4000)),
            limited(af_packet, trial(EngineName::AfPacket, "fast", 1100, 1000)),
        ];
        comparison(&rows(&Summary { trials, ..summary(Status::Complete) })).concat()
    };
    let said = |engine: &str, kind: &str| {
        format!("; {engine} was {kind} (no idle time), so its rate is the tester's limit, not the path's")
    };
    let of_path = told(Clean, PathLimited);
    assert!(of_path.contains(" Mpps offered ") && !of_path.contains("tester"), "{of_path}");
    let of_receiver = told(Clean, ReceiverLimited);
    assert!(of_receiver.ends_with(&(said("af_packet", "receiver-limited") + ".")), "{of_receiver}");
    let of_both = told(GeneratorLimited, ReceiverLimited);
    assert!(
        of_both.contains(&said("memif", "generator-limited")) && of_both.contains("af_packet was"),
        "{of_both}"
    );
}

#[test]
fn cores_are_those_asked_for_and_the_senders_stand_beside_them() {
    let figures = EngineFigures { cores: 2, ..figures(EngineName::Memif, "fast", None) };
    let one = TrialSummary { engine: Some(figures), ..trial(EngineName::Memif, "fast", 1, 1) };
    let senders = one.tx_lcores.len();
    let trials = vec![one];
    let summary = Summary { trials, ..summary(Status::Complete) };
    assert_eq!(rows(&summary)[0].cores(), format!("2 ({senders} sent)"));
}

#[test]
fn the_comparison_is_of_median_repeats_under_one_setting() {
    use EngineName::{AfPacket, Memif, Sockets};
    let run = |engine, repeat, received| TrialSummary { repeat, ..trial(engine, "fast", received, received) };
    let mut trials = vec![
        run(Memif, 1, 4000),
        run(Memif, 2, 9000),
        run(Memif, 3, 4200),
        run(AfPacket, 1, 1000),
        run(AfPacket, 2, 100),
        run(AfPacket, 3, 1200),
        trial(Sockets, "slow", 10, 10),
    ];
    let told = comparison(&rows(&Summary { trials: trials.clone(), ..summary(Status::Complete) }));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("af_packet received ") && told[0].contains(", 24 % of it;"), "{told:?}");
    assert!(told[0].ends_with("; both rates are the median of 3 repeats."), "{told:?}");
    assert_eq!(told[1], "sockets has no whole result of the profile fast on 1 core.");
    for (memif, af_packet, words) in [
        (vec![4000, 9000], vec![1000, 3000], "; both rates are the lower median of 2 repeats."),
        (
            vec![9000, 4000, 5000, 100],
            vec![1000],
            "; its rate is one trial, that of memif the lower median of 4 repeats.",
        ),
    ] {
        let of = |engine, received: Vec<u64>| {
            received.into_iter().zip(1..).map(move |(received, repeat)| run(engine, repeat, received))
        };
        let trials = of(Memif, memif).chain(of(AfPacket, af_packet)).collect();
        let told = comparison(&rows(&Summary { trials, ..summary(Status::Complete) }));
        assert!(told[0].contains(", 25 % of it;") && told[0].ends_with(words), "{told:?}");
    }
    // Another setting of the host is no repeat.
    trials.truncate(4);
    let setting = |name: &str| Some(crate::host_setting::TrialHostSetting::of(name, std::iter::empty()));
    trials[1].host_setting = setting("rps-on");
    trials[3].host_setting = setting("rps-on");
    let told = comparison(&rows(&Summary { trials, ..summary(Status::Complete) }));
    assert!(told.len() == 1 && told[0].contains(", 11 % of it;"), "{told:?}");
    assert!(told[0].contains("; both under the host setting rps-on;"), "{told:?}");
}

#[test]
fn places_of_loss_that_do_not_add_up_are_told() {
    let figures = figures(EngineName::AfPacket, "fast", None);
    assert_eq!(figures.misplaced(Some(100)), None);
    assert_eq!(figures.misplaced(Some(99)).unwrap(), "99 lost packets ≠ 100 of its places of loss");
    assert!(figures.misplaced(None).unwrap().starts_with("an unknown number of lost packets"));
    let whole = EngineFigures { losses: Vec::new(), ..figures };
    assert_eq!([whole.misplaced(None), whole.misplaced(Some(0))], [None, None]);
}
