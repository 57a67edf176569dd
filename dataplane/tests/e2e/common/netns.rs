//! A path of the kernel's between two interfaces, in a network namespace of its own: what it loses, delays or doubles, the kernel counts.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Running, attempt, dataplane, installed, is_root, json, not_run, run, stderr, tool, unique};

/// Where a test's frames come from.
pub const NEAR: &str = "02:00:00:00:00:01";
/// Where they go to.
pub const FAR: &str = "02:00:00:00:00:02";

/// Frames in the rings of an af_packet port: a receiver that is kept from its CPU for 400 ms still loses nothing at 10 kpps.
const RING: u32 = 4096;

/// The namespace; it goes with the value, and its interfaces with it.
///
/// `near`, `far` and `side` are the ends of three veth pairs; `near1`, `far1` and `side1`, their other ends, are ports of one bridge, which
/// sends every frame to all others. None has an address or speaks by itself.
pub struct Lab {
    name: String,
}

impl Lab {
    /// Sets it up; `None`, and a word of why, when that is not possible here.
    pub fn new(test: &str) -> Option<Self> {
        let reason = if !is_root() {
            "only root may make network namespaces".to_owned()
        } else if let Some(missing) =
            ["ip", "tc", "nft", "python3"].into_iter().find(|name| installed(name).is_none())
        {
            format!("{missing} is not installed; scripts/test.sh installs it")
        } else {
            match Self::set_up() {
                Ok(lab) => return Some(lab),
                Err(error) => format!("no network namespace with veth and a bridge: {error}"),
            }
        };
        not_run(test, &reason);
        None
    }

    fn set_up() -> Result<Self, String> {
        let name = unique("lab");
        attempt(Command::new(tool("ip")).args(["netns", "add", &name]))?;
        let lab = Self { name };
        // No IPv6 that speaks by itself, and no bridge that throws away what it holds for a malformed packet.
        let quiet = "cd /proc/sys/net; for file in ipv6/conf/all/disable_ipv6 ipv6/conf/default/disable_ipv6; do \
            [ ! -e $file ] || echo 1 >$file; done; \
            for file in bridge/bridge-nf-call-*; do [ ! -e $file ] || echo 0 >$file; done";
        attempt(lab.command("sh").args(["-c", quiet]))?;
        attempt(lab.command("ip").args("link add hub type bridge stp_state 0 mcast_snooping 0".split(' ')))?;
        for (end, mac) in [("near", NEAR), ("far", FAR), ("side", "02:00:00:00:00:03")] {
            for line in [
                format!("link add {end} address {mac} arp off type veth peer name {end}1"),
                format!("link set {end}1 arp off master hub"),
                format!("link set {end}1 type bridge_slave learning off"),
                format!("link set {end} up"),
                format!("link set {end}1 up"),
            ] {
                attempt(lab.command("ip").args(line.split(' ')))?;
            }
        }
        attempt(lab.command("ip").args("link set hub arp off up".split(' ')))?;
        Ok(lab)
    }

    /// A command that runs inside. It becomes the process that is started.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.name]).arg(tool(program));
        command
    }

    /// `ip` and `tc` inside; fails the test when it fails.
    pub fn set(&self, line: &str) {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap());
        attempt(command.args(words)).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// Loads rules for nftables.
    pub fn rules(&self, rules: &str) {
        let output = with_input(self.command("nft").args(["-f", "-"]), rules);
        assert!(output.status.success(), "{rules}\n{}", stderr(&output));
    }

    /// Has what arrives at a bridge port from outside obey a rule. Its first counter is what [`Lab::counted`] reads.
    pub fn rule_at(&self, port: &str, rule: &str) {
        let hook = format!("type filter hook ingress device \"{port}\" priority 0; policy accept;");
        self.rules(&format!(
            "table netdev {port} {{\n counter hits {{ }}\n chain c {{\n {hook}\n {rule}\n }}\n}}\n"
        ));
    }

    /// Packets that the named counter `hits` of a bridge port's rule has seen.
    pub fn counted(&self, port: &str) -> u64 {
        let output = run(self.command("nft").args(["-j", "list", "counter", "netdev", port, "hits"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        let objects = value["nftables"].as_array().unwrap();
        let counter = objects.iter().find_map(|object| object.get("counter")).unwrap();
        counter["packets"].as_u64().unwrap()
    }

    /// The kernel's counters of an interface.
    pub fn counters(&self, interface: &str) -> Counters {
        let output = run(self.command("ip").args(["-s", "-j", "link", "show", interface]));
        let link = &json(&output)[0]["stats64"];
        let number = |way: &str, field: &str| link[way][field].as_u64().unwrap();
        Counters {
            rx_packets: number("rx", "packets"),
            rx_bytes: number("rx", "bytes"),
            tx_packets: number("tx", "packets"),
            tx_bytes: number("tx", "bytes"),
        }
    }

    /// What the root qdisc of an interface dropped.
    pub fn qdisc_drops(&self, interface: &str) -> u64 {
        let output = run(self.command("tc").args(["-s", "-j", "qdisc", "show", "dev", interface]));
        let qdiscs = json(&output);
        let root = qdiscs.as_array().unwrap().iter().find(|qdisc| qdisc["root"] == true).unwrap();
        root["drops"].as_u64().unwrap()
    }

    /// Sends frames from an interface as they are, one after the other.
    pub fn inject(&self, interface: &str, frames: &[Vec<u8>]) {
        const SCRIPT: &str = "import socket, sys, time\n\
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
            s.bind((sys.argv[1], 0))\n\
            for line in sys.stdin:\n    s.send(bytes.fromhex(line))\n    time.sleep(0.0002)\n";
        let lines: String = frames.iter().map(|frame| hex(frame) + "\n").collect();
        let output = with_input(self.command("python3").args(["-c", SCRIPT, interface]), &lines);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// `linerate-dataplane` inside, with lcores as given (see [`lcores`]) and an af_packet port on each of the interfaces; options of a
    /// port may follow its interface.
    pub fn dataplane(&self, on: &str, interfaces: &[&str], own: &str) -> Command {
        let vdevs: Vec<String> = interfaces
            .iter()
            .enumerate()
            .map(|(i, interface)| format!("net_af_packet{i},iface={interface},framecnt={RING}"))
            .collect();
        self.dataplane_on(on, &vdevs, own)
    }

    /// The same with virtual devices as EAL's `--vdev` takes them.
    pub fn dataplane_on(&self, on: &str, vdevs: &[String], own: &str) -> Command {
        let mut eal: Vec<String> =
            ["--no-huge", "-m", "128", "--no-pci", "--lcores"].map(String::from).into();
        eal.push(lcores(on));
        for vdev in vdevs {
            eal.extend(["--vdev".to_owned(), vdev.clone()]);
        }
        let bare = dataplane(&eal, own);
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.name]).arg(bare.get_program()).args(bare.get_args());
        command.env_remove("LINERATE_TOKEN").stdin(Stdio::null());
        command
    }

    /// The JSON report of a command that has to end well; see [`Lab::dataplane`].
    pub fn report(&self, on: &str, interfaces: &[&str], own: &str) -> Value {
        let output = run(&mut self.dataplane(on, interfaces, own));
        assert!(output.status.success(), "{own}: {}: {}", output.status, stderr(&output));
        json(&output)
    }

    /// A receiver or reflector, started and ready; [`report_of`] ends it.
    pub fn start(&self, on: &str, interfaces: &[&str], own: &str) -> Running {
        let own = format!("{own} --json --interval 100ms");
        let mut running = Running::start(&mut self.dataplane(on, interfaces, &own));
        running.wait_for_stderr("rx 0.000 Mpps");
        running
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new(tool("ip")).args(["netns", "del", &self.name]).status();
    }
}

/// The kernel's counters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
}

/// Interrupts a receiver or reflector and returns its report.
pub fn report_of(running: Running) -> Value {
    running.signal("INT");
    let output = running.output();
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    json(&output)
}

/// EAL's `--lcores` for a list such as `0@0,1@1`, on a machine that may have fewer CPUs.
pub fn lcores(on: &str) -> String {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let one = |pair: &str| {
        let (lcore, cpu) = pair.split_once('@').unwrap();
        format!("{lcore}@{}", cpu.parse::<usize>().unwrap() % cpus)
    };
    on.split(',').map(one).collect::<Vec<_>>().join(",")
}

pub(super) fn with_input(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    running.child().stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running.output()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
