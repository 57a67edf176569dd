//! Two hosts: network namespaces `a` (client) and `b` (server) with a veth pair between them. The kernel is the observer: nftables counts
//! what passes, drops what it is told to, and tbf sets the rate.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::{Running, Server, attempt, configured, installed, json, not_run, run, stderr, tool};

/// Addresses of the two ends.
pub const A: &str = "10.77.0.1";
pub const B: &str = "10.77.0.2";
pub const B6: &str = "fd77::2";
const PORT: u16 = 22023;

pub struct Lab {
    name: String,
}

impl Lab {
    /// Sets it up; `None`, and a word of why, when that is not possible here.
    pub fn new(test: &str) -> Option<Self> {
        let reason = if !rustix::process::geteuid().is_root() {
            "only root may make network namespaces".to_owned()
        } else if let Some(missing) = ["ip", "tc", "nft"].into_iter().find(|name| installed(name).is_none()) {
            format!("{missing} is not installed; scripts/test.sh installs it")
        } else {
            match Self::set_up() {
                Ok(lab) => return Some(lab),
                Err(error) => format!("no network namespaces with veth: {error}"),
            }
        };
        not_run(test, &reason);
        None
    }

    fn set_up() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lr-host-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { name };
        for end in ["a", "b"] {
            attempt(Command::new(tool("ip")).args(["netns", "add", &lab.netns(end)]))?;
        }
        let link = format!(
            "link add veth-a netns {} type veth peer name veth-b netns {}",
            lab.netns("a"),
            lab.netns("b")
        );
        attempt(Command::new(tool("ip")).args(link.split(' ')))?;
        for (end, v4, v6) in [("a", A, "fd77::1"), ("b", B, B6)] {
            for line in [
                format!("ip address add {v4}/24 dev veth-{end}"),
                format!("ip -6 address add {v6}/64 dev veth-{end} nodad"),
                format!("ip link set veth-{end} up"),
                "ip link set lo up".to_owned(),
            ] {
                lab.attempt(end, &line)?;
            }
            // The same everywhere, whatever the host prefers. Every namespace may choose this one.
            let pin = "echo reno > /proc/sys/net/ipv4/tcp_congestion_control";
            attempt(lab.command(end, "sh").args(["-c", pin]))?;
        }
        Ok(lab)
    }

    fn netns(&self, end: &str) -> String {
        format!("{}-{end}", self.name)
    }

    /// A command that runs at an end. It becomes the process that is started.
    pub fn command(&self, end: &str, program: &str) -> Command {
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.netns(end)]).arg(tool(program));
        command
    }

    fn attempt(&self, end: &str, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(end, words.next().unwrap());
        attempt(command.args(words))
    }

    /// `ip`, `tc` and others at an end; fails the test when it fails.
    pub fn set(&self, end: &str, line: &str) {
        self.attempt(end, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// Loads rules for nftables at an end.
    pub fn rules(&self, end: &str, rules: &str) {
        let mut command = self.command(end, "nft");
        let mut running = Running::start(command.args(["-f", "-"]).stdin(Stdio::piped()));
        running.child().stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let output = running.output();
        assert!(output.status.success(), "{rules}\n{}", stderr(&output));
    }

    /// Packets and bytes of a named counter in the table `inet t` of an end.
    pub fn counter(&self, end: &str, name: &str) -> (u64, u64) {
        let output = run(self.command(end, "nft").args(["-j", "list", "counter", "inet", "t", name]));
        let value = json(&output);
        let objects = value["nftables"].as_array().unwrap();
        let counter = objects.iter().find_map(|object| object.get("counter")).unwrap();
        let number = |field: &str| counter[field].as_u64().unwrap();
        (number("packets"), number("bytes"))
    }

    /// What a function returns that runs in the network of an end. A thread of its own goes there.
    pub fn within<T: Send>(&self, end: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.netns(end));
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                let namespace = std::fs::File::open(path).unwrap();
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            there.join().unwrap()
        })
    }

    /// `linerate-hostplane` at an end.
    pub fn hostplane(&self, end: &str, options: &str) -> Command {
        let mut command = Command::new(tool("ip"));
        command.args(["netns", "exec", &self.netns(end), env!("CARGO_BIN_EXE_linerate-hostplane")]);
        configured(command, options)
    }

    /// A server at `b`, on all addresses.
    pub fn server(&self, options: &str) -> Server {
        Server::start_as(self.hostplane("b", &format!("serve --listen [::]:{PORT} --json {options}")))
    }

    /// A client at `a` of the server at `b`.
    pub fn client(&self, protocol: &str, options: &str) -> Command {
        self.hostplane("a", &format!("{protocol} {B} --json --quiet {options}"))
    }

    /// The result of a client that must end well.
    pub fn result(&self, protocol: &str, options: &str) -> Value {
        super::result(&mut self.client(protocol, options))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in ["a", "b"] {
            let _ = Command::new(tool("ip")).args(["netns", "del", &self.netns(end)]).status();
        }
    }
}
