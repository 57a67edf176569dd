//! Two interfaces in a network namespace, connected by a bridge that a test makes lossy.

use std::process::{Command, Output};

use crate::support::{Bench, not_run, stderr};

/// The path from the interface `near` to `far` and back; removed when dropped.
pub(crate) struct BridgedPath {
    name: String,
    /// Frames that the receiver's ring holds.
    ring: u32,
}

impl BridgedPath {
    /// A path without loss; without the rights for one, the test reports that it did not run.
    pub(crate) fn new(test: &str) -> Option<Self> {
        // A process that was killed leaves its namespace, and a later one may have its number.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        let path = Self { name: format!("lr-path-{}-{since}", std::process::id()), ring: 512 };
        let lines =
            "set -e; cd /proc/sys/net/ipv6/conf; echo 1 >all/disable_ipv6; echo 1 >default/disable_ipv6
            for file in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $file ] || echo 0 >$file; done
            ip link add hub type bridge stp_state 0 mcast_snooping 0
            for end in near far; do
                ip link add $end arp off type veth peer name ${end}1
                ip link set ${end}1 arp off master hub; ip link set $end up; ip link set ${end}1 up
            done; ip link set hub arp off up; ip link set lo up";
        let made = Command::new("ip").args(["netns", "add", &path.name]).output();
        let reason = match made {
            Ok(output) if output.status.success() => match path.command("sh").args(["-c", lines]).output() {
                Ok(output) if output.status.success() => return Some(path),
                Ok(output) => stderr(&output),
                Err(error) => error.to_string(),
            },
            Ok(output) => stderr(&output),
            Err(error) => error.to_string(),
        };
        not_run(test, &format!("no network namespace with veth and a bridge: {}", reason.trim()));
        None
    }

    /// The same path for bursts: the receiver has room for one while it has no CPU, and the bridge asks the packet filter,
    /// which takes packets off the account of the sender's socket: that has no room for a burst in a queue. Without that
    /// part of the kernel, the test reports that it did not run.
    pub(crate) fn for_bursts(mut self, test: &str) -> Option<Self> {
        self.ring = 16_384;
        let set = "echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables";
        let output = self.command("sh").args(["-c", set]).output().unwrap();
        if !output.status.success() {
            not_run(test, &format!("bridges do not ask the packet filter: {}", stderr(&output).trim()));
            return None;
        }
        Some(self)
    }

    /// A program in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program in the namespace, which must succeed.
    pub(crate) fn succeed(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}\n{}", stderr(&output));
        output
    }

    /// Filters what enters the bridge at `port`, `near1` or `far1`, by these rules.
    pub(crate) fn filter(&self, port: &str, rules: &str) {
        let rules = format!(
            "table netdev {port} {{ chain c {{ type filter hook ingress device \"{port}\" priority 0; policy accept;\n\
             {rules}\n }}\n}}\n"
        );
        self.succeed("nft", &[&rules]);
    }

    /// `linerate run` on the bench's document between the two interfaces, with more options.
    pub(crate) fn command_of(&self, bench: &Bench, options: &[&str]) -> Command {
        let devices = format!(
            "spec.local.devices=[{{tx: 'net_af_packet0,iface=near', rx: 'net_af_packet0,iface=far,framecnt={}'}}]",
            self.ring
        );
        let bare = bench.command(&[&["--json", "--quiet", "--set", &devices], options].concat());
        let mut command = self.command(bare.get_program().to_str().unwrap());
        command.args(bare.get_args());
        command
    }

    /// The same, to its end.
    pub(crate) fn run(&self, bench: &Bench) -> Output {
        self.command_of(bench, &[]).output().unwrap()
    }
}

impl Drop for BridgedPath {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
