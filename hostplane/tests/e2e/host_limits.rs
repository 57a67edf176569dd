//! Diagnoses that change limits of the whole host for a while.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::lab::{B, Lab};
use crate::common::{Running, not_run, number};
use crate::diagnose::{diagnose, text};

/// A limit of the kernel, set back when dropped.
struct Limit {
    path: PathBuf,
    before: String,
}

impl Limit {
    fn set(test: &str, name: &str, value: u64) -> Option<Self> {
        let path = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        let limit = fs::read_to_string(&path).map(|before| Self { path: path.clone(), before });
        match limit.and_then(|limit| fs::write(&path, value.to_string()).map(|()| limit)) {
            Ok(limit) => Some(limit),
            Err(error) => {
                not_run(test, &format!("{name} cannot be set: {error}"));
                None
            }
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, self.before.trim());
    }
}

#[test]
fn a_window_that_is_capped_at_rmem_max_is_named_with_the_bytes() {
    const NAME: &str = "a_window_that_is_capped_at_rmem_max_is_named_with_the_bytes";
    let Some(lab) = Lab::new(NAME) else { return };
    // A long round trip: the acknowledgements of the way back wait in a queue that other streams fill.
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 30mbit burst 16kb limit 3mb");
    let _server = lab.server("");
    let mut beside = Running::start(&mut lab.client("tcp", "--duration 2m --parallel 2"));
    std::thread::sleep(Duration::from_secs(2));
    let Some(_limit) = Limit::set(NAME, "net.core.rmem_max", 212_992) else { return };
    let found = diagnose(&lab, "--duration 3s --parallel 1 --sweep none --window 400KiB --udp-rate 10pps");
    let finding = found.finding("window-capped", "reverse");
    let words = finding["words"].as_str().unwrap();
    assert!(words.contains("409600 bytes were asked for"), "{words}");
    assert!(words.contains("the client's kernel grants 212992 (net.core.rmem_max is 212992)"), "{words}");
    assert!(words.contains("It is what limits the direction"), "{words}");
    assert_eq!(finding["severity"], "fault");
    let whole = text(finding);
    assert!(
        whole.contains("bandwidth-delay product") && whole.contains("SO_RCVBUF: 425984 bytes"),
        "{whole}"
    );
    assert!(whole.contains("sysctl -w net.core.rmem_max=409600"), "{whole}");
    assert_eq!(found.0["steps"][1]["result"]["directions"][0]["verdict"]["kind"], "receiver-window-limited");
    // The kernel's own choice would go further.
    assert!(found.has("window-limits"));
    beside.child().kill().unwrap();
}

#[test]
fn a_full_table_of_connections_is_named() {
    const NAME: &str = "a_full_table_of_connections_is_named";
    let Some(lab) = Lab::new(NAME) else { return };
    lab.rules(
        "a",
        "table inet t {\n chain c {\n type filter hook output priority 0;\n ct state new counter\n }\n}\n",
    );
    let _server = lab.server("");
    let _fill = Running::start(&mut lab.client("tcp", "--parallel 300 --rate 10mbps --duration 50s"));
    let entries = || -> u64 {
        let output =
            crate::common::run(lab.command("a", "cat").arg("/proc/sys/net/netfilter/nf_conntrack_count"));
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0)
    };
    let began = Instant::now();
    while entries() < 300 {
        assert!(began.elapsed() < Duration::from_secs(20), "{} entries", entries());
        std::thread::sleep(Duration::from_millis(50));
    }
    // Replies have come: the entries are not given up to make room.
    std::thread::sleep(Duration::from_secs(1));
    // Room for the connection that asks what the server sees, and for no other.
    let Some(_limit) = Limit::set(NAME, "net.netfilter.nf_conntrack_max", entries() + 1) else { return };
    let found = diagnose(&lab, "--duration 300ms --parallel 1 --sweep none");
    let finding = found.finding("conntrack-full", "client");
    assert_eq!(finding["severity"], "fault");
    let words = finding["words"].as_str().unwrap();
    assert!(words.contains("The client's table of connections (conntrack) is full"), "{words}");
    let whole = text(finding);
    assert!(
        whole.contains("entries") && whole.contains("sysctl -w net.netfilter.nf_conntrack_max="),
        "{whole}"
    );
    let drops = |view: &str| number(&found.0, &format!("/client/{view}/conntrack/drops"));
    assert!(drops("after") > drops("before"), "{}", found.0["client"]);
    // What could not be measured is told with its reason, for the same cause.
    assert!(
        text(found.finding("not-measured", "One TCP stream forward")).contains(B),
        "{:#}",
        found.0["findings"]
    );
}
