//! Ends: by signal, by kill. What is left behind is nothing.
use std::time::Duration;

use crate::common::{Hugepages, Running, eal, free_hugepages, json, not_run, number, stderr, with_cpus};

const SEND: &str =
    "tx --peer-mac 02:00:00:00:00:02 --rate 100kpps --duration 60s --interval 100ms --log-level debug --json";

fn in_hugepages() -> Vec<String> {
    ["--no-pci", "--lcores", "0@0,1@0", "--socket-mem", "64", "--vdev", "net_null0"]
        .map(String::from)
        .to_vec()
}

#[test]
fn a_signal_ends_a_trial_with_its_totals() {
    for signal in ["INT", "TERM"] {
        let mut sender = Running::start(&mut with_cpus(&eal(0, &["net_null0"]), SEND));
        let mut log = sender.wait_for_stderr("tx 0.");
        sender.signal(signal);
        let output = sender.output();
        log.push_str(&stderr(&output));
        assert_eq!(output.status.code(), Some(130), "{log}");
        let report = json(&output);
        assert!(number(&report, "sent_packets") > 1000 && report["ended"] == "stopped", "{report}");
        assert_eq!(number(&report, "sent_packets"), number(&report["port"], "tx_packets"));
        assert!(log.contains("all buffers came back"), "{log}");
    }
}

#[test]
fn hugepages_are_free_again_however_it_ends() {
    let Some(_pages) = Hugepages::set(64) else {
        return not_run("hugepages_are_free_again_however_it_ends", "this user may not reserve hugepages");
    };
    for signal in ["INT", "TERM", "KILL"] {
        let mut sender = Running::start(&mut with_cpus(&in_hugepages(), SEND));
        sender.wait_for_stderr("tx 0.");
        assert!(free_hugepages() < 64, "it uses hugepages");
        sender.signal(signal);
        assert!(sender.ends_within(Duration::from_secs(10)).is_some());
        assert_eq!(free_hugepages(), 64, "after SIG{signal}");
    }
}
