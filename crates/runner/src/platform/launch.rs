//! Command lines of the local platform's agents. Pure.

use linerate_traffic::mac::MacAddr;
use linerate_wire::trial::Role;

use super::cpus::{AgentCpus, Placement};
use super::memory::Memory;
use linerate_experiment::Experiment;
use linerate_experiment::document::Device;

/// An agent without a controller exits after this time.
const EXIT_WHEN_ORPHANED: &str = "10s";

/// Names that keep the agents of one run apart from those of other runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunNames {
    /// Unique, but not secret: a user of this machine that reads it can open the memif sockets before the
    /// peer does.
    pub nonce: String,
    /// Middle bytes of the Ethernet addresses.
    pub mac: [u8; 2],
}

/// How to start one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLaunch {
    /// Its name, such as `tx0`.
    pub name: String,
    /// Its arguments, without the program.
    pub arguments: Vec<String>,
}

/// How to start a pair. The receiver starts first, because it is the memif server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairLaunch {
    /// The transmitter.
    pub tx: AgentLaunch,
    /// The receiver.
    pub rx: AgentLaunch,
}

/// Ethernet address of a memif port: locally administered, unicast.
pub fn memif_mac([a, b]: [u8; 2], pair: usize, end: u8) -> MacAddr {
    let [high, low] = (pair as u16).to_be_bytes();
    MacAddr([0x02, a, b, high, low, end])
}

/// Command lines of all agents.
pub fn launches(
    experiment: &Experiment,
    placement: &Placement,
    memory: Memory,
    idle: Option<&str>,
    names: &RunNames,
) -> Vec<PairLaunch> {
    let local = experiment.local();
    let settings = experiment.agents();
    let (txd, rxd) = (settings.txd.get_u32(), settings.rxd.get_u32());
    // Both ends of a memif have rings of the same size, a power of two.
    let ring_log2 = txd.max(rxd).next_power_of_two().ilog2();
    placement
        .pairs
        .iter()
        .enumerate()
        .map(|(pair, cpus)| {
            let number = experiment.pair_numbers().start + pair;
            let agent = |end: Role, memif_role: &str, octet: u8, cpus: &AgentCpus| {
                let name = format!("{end}{number}");
                let mac = memif_mac(names.mac, pair, octet);
                let memif = || {
                    Device::Virtual(format!(
                        "net_memif0,role={memif_role},id=0,socket=linerate-{}-{pair},mac={mac},rsize={ring_log2}",
                        names.nonce
                    ))
                };
                let devices = local.devices.as_ref().and_then(|devices| devices.value.get(pair));
                let device = devices.map_or_else(memif, |devices| {
                    match end {
                        Role::Tx => devices.tx.clone(),
                        Role::Rx => devices.rx.clone(),
                    }
                });
                let mut arguments = vec!["--lcores".to_owned(), cpus.lcores()];
                arguments.extend(memory.eal_options());
                arguments.extend(["--file-prefix".to_owned(), format!("linerate-{}-{name}", names.nonce)]);
                arguments.extend(match device {
                    Device::Pci(address) => vec!["-a".to_owned(), address],
                    Device::Virtual(device) => {
                        vec!["--no-pci".to_owned(), "--vdev".to_owned(), device]
                    }
                });
                arguments.extend([
                    "--".to_owned(),
                    "agent".to_owned(),
                    "--listen".to_owned(),
                    "127.0.0.1:0".to_owned(),
                    "--exit-when-orphaned".to_owned(),
                    EXIT_WHEN_ORPHANED.to_owned(),
                    "--txd".to_owned(),
                    txd.to_string(),
                    "--rxd".to_owned(),
                    rxd.to_string(),
                    "--mtu".to_owned(),
                    settings.mtu.get_u32().to_string(),
                ]);
                // The agent gets the safety settings of the environment as options.
                arguments.extend(experiment.safety().options());
                let (tx, rx) = (settings.workers.tx.get_u32(), settings.workers.rx.get_u32());
                arguments.extend(idle.iter().flat_map(|idle| ["--idle".to_owned(), (*idle).to_owned()]));
                arguments.extend(experiment.direction().agent_options(end, tx, rx, devices.is_none()));
                arguments.extend(experiment.address_options(pair, end));
                AgentLaunch { name, arguments }
            };
            PairLaunch { tx: agent(Role::Tx, "client", 1, &cpus.tx), rx: agent(Role::Rx, "server", 2, &cpus.rx) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::cpus::place;
    use linerate_experiment::Overrides;

    fn lines(spec: &str, pairs: usize, cpus: usize) -> Vec<String> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n{spec}");
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        let names = RunNames { nonce: "1f3c09".into(), mac: [1, 2] };
        let memory = Memory { megabytes: 256, hugepages: false };
        let placement = place(&(0..cpus).collect(), pairs, 1, 1);
        launches(&experiment, &placement, memory, placement.idle(None), &names)
            .into_iter()
            .flat_map(|pair| [pair.tx, pair.rx])
            .map(|agent| format!("{}: {}", agent.name, agent.arguments.join(" ")))
            .collect()
    }

    #[test]
    fn a_pair_on_two_cpus() {
        assert_eq!(
            lines("  pairs: 1\n", 1, 2),
            [
                "tx0: --lcores 0@0,1@0 --no-huge -m 256 --file-prefix linerate-1f3c09-tx0 --no-pci --vdev \
                 net_memif0,role=client,id=0,socket=linerate-1f3c09-0,mac=02:01:02:00:00:01,rsize=10 -- agent --listen 127.0.0.1:0 \
                 --exit-when-orphaned 10s --txd 1024 --rxd 1024 --mtu 1500 --txq 1 --rxq 1",
                "rx0: --lcores 0@1,1@1 --no-huge -m 256 --file-prefix linerate-1f3c09-rx0 --no-pci --vdev \
                 net_memif0,role=server,id=0,socket=linerate-1f3c09-0,mac=02:01:02:00:00:02,rsize=10 -- agent --listen 127.0.0.1:0 \
                 --exit-when-orphaned 10s --txd 1024 --rxd 1024 --mtu 1500 --txq 1 --rxq 1",
            ]
        );
    }

    #[test]
    fn workers_that_share_cpus_or_a_quota_give_them_away() {
        assert!(lines("  pairs: 2\n", 2, 4).iter().all(|line| !line.contains("--idle")));
        assert!(lines("  pairs: 2\n", 2, 2).iter().all(|line| line.contains("--idle yield")));
        let placement = |cpus| place(&(0..cpus).collect(), 1, 1, 1);
        for (cpus, quota, idle) in [
            (2, None, None),
            (2, Some(2.0), None),
            (2, Some(1.5), Some("sleep")),
            (1, Some(0.5), Some("sleep")),
            (1, None, Some("yield")),
        ] {
            assert_eq!(placement(cpus).idle(quota), idle, "{cpus} {quota:?}");
        }
    }

    #[test]
    fn rings_are_powers_of_two_and_pairs_have_their_own_socket() {
        let lines = lines("  agents: {txd: 1500, rxd: 512}\n", 2, 8);
        assert!(
            lines[0].contains(",rsize=11 ") && lines[0].contains("--txd 1500 --rxd 512 --mtu 1500 "),
            "{}",
            lines[0]
        );
        assert!(
            lines[3].contains("role=server,id=0,socket=linerate-1f3c09-1,mac=02:01:02:00:01:02"),
            "{}",
            lines[3]
        );
    }

    #[test]
    fn every_queue_of_a_memif_has_one_at_the_other_end() {
        let devices = "devices: [{tx: '0000:03:02.0', rx: '0000:03:02.1'}]";
        // (direction, settings, options of the transmitter, of the receiver)
        for (direction, more, tx, rx) in [
            ("one-way", "", "--txq 2 --rxq 1", "--txq 1 --rxq 2"),
            ("bidirectional", "", "--txq 2 --rxq 2", "--txq 2 --rxq 2"),
            ("round-trip", "", "--txq 2 --rxq 1", "--txq 1 --rxq 2 --reflector"),
            // A cable connects ports with any numbers of queues.
            ("one-way", devices, "--mtu 1500", "--mtu 1500"),
            ("bidirectional", devices, "--txq 2 --rxq 1", "--txq 2 --rxq 1"),
            ("round-trip", devices, "--txq 2 --rxq 1", "--mtu 1500 --reflector"),
        ] {
            let spec = format!(
                "  trial: {{direction: {direction}}}\n  agents: {{workers: {{tx: 2}}}}\n  local: {{{more}}}\n"
            );
            let lines = lines(&spec, 1, 2);
            assert!(lines[0].ends_with(tx) && lines[1].ends_with(rx), "{direction} {more}: {lines:?}");
        }
    }

    #[test]
    fn agents_get_the_ceilings() {
        let lines = lines(
            "  safety: {maxRate: 20kpps, maxDuration: 90s, allow: [10.0.0.0/8, '192.168.2.1']}\n",
            1,
            2,
        );
        let ceilings = " --max-rate 20kpps --max-duration 1m30s --allow 10.0.0.0/8,192.168.2.1/32 ";
        assert!(lines.iter().all(|line| line.contains(ceilings)), "{lines:?}");
    }

    #[test]
    fn devices_take_the_place_of_memif() {
        let lines = lines(
            "  agents: {mtu: 9000}\n  local: {devices: [{tx: '0000:03:02.0', rx: 'net_af_packet0,iface=eth1'}]}\n",
            1,
            2,
        );
        assert!(lines[0].contains(" -a 0000:03:02.0 -- agent"), "{}", lines[0]);
        assert!(lines[1].contains(" --no-pci --vdev net_af_packet0,iface=eth1 -- agent"), "{}", lines[1]);
        assert!(
            lines.iter().all(|line| !line.contains("memif") && line.ends_with("--mtu 9000")),
            "{lines:?}"
        );
    }
}
