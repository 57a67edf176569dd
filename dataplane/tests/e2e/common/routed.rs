//! Two hosts and a router between them, each in a network namespace of its own: no common link, as in pod networks that route.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::netns::{lcores, with_input};
use super::{Running, attempt, dataplane, installed, is_root, json, not_run, run, stderr, tool, unique};

/// Address of the near host: a point-to-point link to a router that answers for everything, as Calico makes them.
pub const NEAR: &str = "10.91.1.2";
/// Address of the far host, in a network of its own with the router.
pub const FAR: &str = "10.91.2.2";
/// The far host's router.
pub const FAR_ROUTER: &str = "10.91.2.1";
/// What both links carry.
pub const MTU: u32 = 1450;

/// The namespaces; they go with the value.
///
/// `near` has `eth0`, `far` has `eth0`; their other ends, `near0` and `far0`, are the router's.
pub struct Routed {
    name: String,
}

impl Routed {
    /// Sets it up; `None`, and a word of why, when that is not possible here. Without addresses, the hosts' interfaces have none, and the router knows
    /// both as networks on its links.
    pub fn new(test: &str, hosts_have_addresses: bool) -> Option<Self> {
        let reason = if !is_root() {
            "only root may make network namespaces".to_owned()
        } else if let Some(missing) =
            ["ip", "nft", "python3"].into_iter().find(|name| installed(name).is_none())
        {
            format!("{missing} is not installed; scripts/test.sh installs it")
        } else {
            match Self::set_up(hosts_have_addresses) {
                Ok(lab) => return Some(lab),
                Err(error) => format!("no network namespaces with a router between them: {error}"),
            }
        };
        not_run(test, &reason);
        None
    }

    fn set_up(hosts_have_addresses: bool) -> Result<Self, String> {
        let lab = Self { name: unique("routed") };
        for space in ["near", "router", "far"] {
            attempt(Command::new(tool("ip")).args(["netns", "add", &lab.space(space)]))?;
            let quiet = "cd /proc/sys/net; for file in ipv6/conf/all/disable_ipv6 ipv6/conf/default/disable_ipv6; do \
                [ ! -e $file ] || echo 1 >$file; done; echo 1 >ipv4/ip_forward";
            attempt(lab.command(space, "sh").args(["-c", quiet]))?;
        }
        for host in ["near", "far"] {
            let peer = lab.space(host);
            lab.attempt("router", &format!("ip link add {host}0 type veth peer name eth0 netns {peer}"))?;
            lab.attempt("router", &format!("ip link set {host}0 mtu {MTU} up"))?;
            lab.attempt(host, "ip link set lo up")?;
            lab.attempt(host, &format!("ip link set eth0 mtu {MTU} up"))?;
        }
        lab.attempt("router", &format!("ip address add {FAR_ROUTER}/24 dev far0"))?;
        if hosts_have_addresses {
            lab.attempt("router", &format!("ip route add {NEAR}/32 dev near0"))?;
            attempt(
                // It answers for what it can reach, and at once.
                lab.command("router", "sh").args([
                    "-c",
                    "cd /proc/sys/net/ipv4; echo 1 >conf/near0/proxy_arp; echo 0 >neigh/near0/proxy_delay; ip route add default dev far0",
                ]),
            )?;
            for line in [
                format!("ip address add {NEAR}/32 dev eth0"),
                "ip route add 169.254.1.1 dev eth0 scope link".to_owned(),
                "ip route add default via 169.254.1.1".to_owned(),
            ] {
                lab.attempt("near", &line)?;
            }
            lab.attempt("far", &format!("ip address add {FAR}/24 dev eth0"))?;
            lab.attempt("far", &format!("ip route add default via {FAR_ROUTER}"))?;
        } else {
            lab.attempt("router", "ip address add 10.91.1.1/24 dev near0")?;
        }
        Ok(lab)
    }

    fn space(&self, of: &str) -> String {
        format!("{}-{of}", self.name)
    }

    /// A command that runs in one of the namespaces. It becomes the process that is started.
    pub fn command(&self, space: &str, program: &str) -> Command {
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.space(space)]).arg(tool(program));
        command
    }

    fn attempt(&self, space: &str, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(space, words.next().unwrap());
        attempt(command.args(words)).map_err(|error| format!("{line}: {error}"))
    }

    /// Runs a command line in a namespace; fails the test when it fails.
    pub fn set(&self, space: &str, line: &str) {
        self.attempt(space, line).unwrap_or_else(|error| panic!("{error}"));
    }

    /// What a command line prints in a namespace.
    pub fn prints(&self, space: &str, line: &str) -> String {
        let mut words = line.split_whitespace();
        let output = run(self.command(space, words.next().unwrap()).args(words));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sends three ICMP echo requests from a namespace, and says how many were answered.
    pub fn pings(&self, space: &str, to: &str) -> u64 {
        const SCRIPT: &str = "import socket, struct, sys, time\n\
            def checksum(data):\n    s = sum(struct.unpack('!%dH' % (len(data) // 2), data))\n    s = (s & 0xffff) + (s >> 16)\n\
            \x20   return ~(s + (s >> 16)) & 0xffff\n\
            s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\ns.settimeout(2)\nanswered = 0\n\
            for n in range(3):\n    head = struct.pack('!BBHHH', 8, 0, 0, 77, n)\n    data = b'linerate'\n\
            \x20   s.sendto(struct.pack('!BBHHH', 8, 0, checksum(head + data), 77, n) + data, (sys.argv[1], 0))\n\
            \x20   end = time.monotonic() + 2\n\
            \x20   while time.monotonic() < end:\n        try:\n            packet = s.recv(2000)[20:]\n        except TimeoutError:\n            break\n\
            \x20       if packet[0] == 0 and packet[4:8] == struct.pack('!HH', 77, n) and packet[8:] == data and checksum(packet) == 0:\n\
            \x20           answered += 1\n            break\nprint(answered)\n";
        let output = run(self.command(space, "python3").args(["-c", SCRIPT, to]));
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    }

    /// Ethernet address of an interface.
    pub fn mac(&self, space: &str, interface: &str) -> String {
        let link: Value =
            serde_json::from_str(&self.prints(space, &format!("ip -j link show {interface}"))).unwrap();
        link[0]["address"].as_str().unwrap().to_owned()
    }

    /// Counts what arrives at the far host's interface and matches; [`Routed::counted`] reads it.
    pub fn count_at_far(&self, matching: &str) {
        let rules = format!(
            "table netdev count {{\n counter hits {{ }}\n chain c {{\n type filter hook ingress device \"eth0\" priority 0; policy accept;\n \
             {matching} counter name hits\n }}\n}}\n"
        );
        let output = with_input(self.command("far", "nft").args(["-f", "-"]), &rules);
        assert!(output.status.success(), "{rules}\n{}", stderr(&output));
    }

    /// Frames counted.
    pub fn counted(&self) -> u64 {
        let output =
            run(self.command("far", "nft").args(["-j", "list", "counter", "netdev", "count", "hits"]));
        let value = json(&output);
        let objects = value["nftables"].as_array().unwrap().clone();
        objects.iter().find_map(|object| object.get("counter")).unwrap()["packets"].as_u64().unwrap()
    }

    /// Packets that the router received from a host and sent to it.
    pub fn router_counters(&self, interface: &str) -> (u64, u64) {
        let text = self.prints("router", &format!("ip -s -j link show {interface}"));
        let link: Value = serde_json::from_str(&text).unwrap();
        let packets = |way: &str| link[0]["stats64"][way]["packets"].as_u64().unwrap();
        (packets("rx"), packets("tx"))
    }

    /// `linerate-dataplane` in a namespace, with an af_packet port on its `eth0`.
    pub fn dataplane(&self, space: &str, on: &str, own: &str) -> Command {
        let mut eal: Vec<String> =
            ["--no-huge", "-m", "128", "--no-pci", "--lcores"].map(String::from).into();
        eal.push(lcores(on));
        eal.extend(["--vdev".to_owned(), "net_af_packet0,iface=eth0,framecnt=4096".to_owned()]);
        let bare = dataplane(&eal, own);
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.space(space)]).arg(bare.get_program()).args(bare.get_args());
        command.env_remove("LINERATE_TOKEN").stdin(Stdio::null());
        command
    }

    /// The JSON report of a command that has to end well.
    pub fn report(&self, space: &str, on: &str, own: &str) -> Value {
        let output = run(&mut self.dataplane(space, on, own));
        assert!(output.status.success(), "{own}: {}: {}", output.status, stderr(&output));
        json(&output)
    }

    /// A receiver or reflector, started and ready.
    pub fn start(&self, space: &str, on: &str, own: &str) -> Running {
        let mut running =
            Running::start(&mut self.dataplane(space, on, &format!("{own} --json --interval 100ms")));
        running.wait_for_stderr("rx 0.000 Mpps");
        running
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        for space in ["near", "router", "far"] {
            let _ = Command::new(tool("ip"))
                .args(["netns", "del", &self.space(space)])
                .stderr(Stdio::null())
                .status();
        }
    }
}
