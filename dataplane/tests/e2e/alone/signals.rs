//! Ends: by signal, by kill. What is left behind is nothing.
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    Hugepages, Running, eal, free_hugepages, hearing_hang_ups, json, not_run, number, stderr, unique,
    with_cpus,
};

const SEND: &str =
    "tx --peer-mac 02:00:00:00:00:02 --rate 100kpps --duration 60s --interval 100ms --log-level debug --json";

fn in_hugepages() -> Vec<String> {
    ["--no-pci", "--lcores", "0@0,1@0", "--socket-mem", "64", "--vdev", "net_null0"]
        .map(String::from)
        .to_vec()
}

#[test]
fn a_signal_ends_a_trial_with_its_totals() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut sender = Running::start(&mut hearing_hang_ups(&with_cpus(&eal(0, &["net_null0"]), SEND)));
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
fn a_signal_ends_a_wait_before_the_trial_at_once_and_says_so() {
    let alone = format!("net_memif0,role=server,id=0,socket={}", unique("alone"));
    let usual = "--link-wait 60s --duration 60s --log-level debug --json";
    for (vdev, options, waiting, said) in [
        (&*alone, "--peer-mac 02:00:00:00:00:02", "waiting for the link", "waiting for the link"),
        (
            "net_null0",
            "--address 10.0.0.1/24 --dst-ip 10.0.0.9",
            "searching for the next hop",
            "the next hop to 10.0.0.9",
        ),
    ] {
        let mut sender = Running::start(&mut with_cpus(&eal(0, &[vdev]), &format!("tx {options} {usual}")));
        sender.wait_for_stderr(waiting);
        sender.signal("TERM");
        let began = Instant::now();
        let output = sender.output();
        // The search for the next hop ends by itself within this time: there, code and message tell the signal.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let told = json(&output);
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("interrupted while") && message.contains(said), "{message}");
        assert!(stderr(&output).contains(&format!("error: {message}")), "{}", stderr(&output));
    }
}

#[test]
fn a_closed_terminal_ends_a_receiver_with_its_file_unless_it_was_started_to_outlive_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flows.csv");
    let own = format!("rx --duration 60s --interval 100ms --json --flows-file {}", file.display());
    let mut receiver = Running::start(&mut hearing_hang_ups(&with_cpus(&eal(0, &["net_null0"]), &own)));
    // The rate is what the port and the CPU give.
    receiver.wait_for_stderr(" Mpps");
    receiver.signal("HUP");
    let output = receiver.output();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(json(&output)["ended"], "stopped");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [file]);

    let sender = with_cpus(&eal(0, &["net_null0"]), &SEND.replace("60s", "3s"));
    let mut outliving = Command::new("nohup");
    outliving.arg(sender.get_program()).args(sender.get_args()).stdin(Stdio::null());
    let mut sender = Running::start(&mut outliving);
    sender.wait_for_stderr("tx 0.");
    sender.signal("HUP");
    let output = sender.output();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_ne!(json(&output)["ended"], "stopped");
}

#[test]
fn hugepages_are_free_again_however_it_ends() {
    let Some(_pages) = Hugepages::set(64) else {
        return not_run("hugepages_are_free_again_however_it_ends", "this user may not reserve hugepages");
    };
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let mut sender = Running::start(&mut hearing_hang_ups(&with_cpus(&in_hugepages(), SEND)));
        sender.wait_for_stderr("tx 0.");
        assert!(free_hugepages() < 64, "it uses hugepages");
        sender.signal(signal);
        assert!(sender.ends_within(Duration::from_secs(10)).is_some());
        assert_eq!(free_hugepages(), 64, "after SIG{signal}");
    }
}
