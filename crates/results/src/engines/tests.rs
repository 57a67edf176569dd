use linerate_experiment::engines::EngineName;
use linerate_wire::host_report::{HostReport, InterfaceReport, NamespaceReport, NodeReport};

use super::losses::Counted;
use super::*;
use crate::fixtures::{rx, summary, tx, with_clock};
use crate::summary::{Status, Summary, TrialSummary};

fn host(interface: InterfaceReport, softnet: u64, errors: u64) -> HostReport {
    HostReport {
        elapsed_s: 2.0,
        node: NodeReport { softnet_dropped: Some(softnet), ..NodeReport::default() },
        namespace: NamespaceReport {
            interfaces: vec![InterfaceReport { interface: "net0".into(), ..interface }],
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
            [100, 970, 10, 5, 965, 0, 0],
            None,
            &[(Qdisc, 20), (SenderInterface, 10), (Softnet, 5), (PacketRing, 65)],
        ),
        (AfXdp, [100, 1000, 0, 0, 1000, 0, 0], Some(60), &[(PortRing, 60), (Unknown, 40)]),
        (Sockets, [100, 1000, 0, 30, 970, 0, 500], None, &[(Softnet, 30), (SocketBuffer, 70)]),
        // Counters of the kernel have nothing to do with shared memory.
        (Memif, [100, 0, 7, 7, 7, 7, 7], Some(30), &[(PortRing, 30), (PortRing, 70)]),
    ];
    for (engine, [lost, tx_packets, tx_dropped, softnet, rx_packets, rx_dropped, errors], missed, places) in
        rows
    {
        let tx = host(
            InterfaceReport { tx_packets: *tx_packets, tx_dropped: *tx_dropped, ..Default::default() },
            *softnet,
            0,
        );
        let rx = host(
            InterfaceReport { rx_packets: *rx_packets, rx_dropped: *rx_dropped, ..Default::default() },
            *softnet,
            *errors,
        );
        let counted = Counted {
            engine: *engine,
            sent: 1000,
            lost: *lost,
            tx: Some(&tx),
            rx: Some(&rx),
            port_missed: *missed,
            socket_drops: None,
        };
        let parts = counted.places();
        let found: Vec<_> = parts.iter().map(|part| (part.place, part.packets)).collect();
        assert_eq!(found, *places, "{engine}");
        assert_eq!(parts.iter().map(|part| part.packets).sum::<u64>(), *lost);
    }
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
            && told[0].contains(", 25 % of it; a million packets took it 2000.00 CPU-seconds (1500.00 of agents, 500.00 of softirqs), and memif 500.00")
            && told[0].ends_with("it lost 100 packets, 9.091 %, of which 100 in the ring of the packet socket (net0 received 1000)."),
        "{told:?}"
    );
    assert!(comparison(&[]).is_empty());
}
