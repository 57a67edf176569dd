//! What cannot be sent is refused before anything leaves, by name, value and range.
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pcap_file::DataLink;

use crate::common::recording::{PEER, tx, write_pcap};
use crate::common::{dataplane, eal, json, number, run, stderr};

/// Refused as wrong usage, with a message that contains all of `parts`.
fn refused(options: &str, parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tx.pcap");
    let output = tx(&file, &format!("--packets 1 {options}"));
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{options}: {message}");
    for part in parts {
        assert!(message.contains(part), "{options}: no '{part}' in: {message}");
    }
    assert!(!message.contains("panicked"), "{options}: {message}");
    assert!(!file.exists(), "{options}: the port was opened");
}

#[test]
fn options_out_of_range_are_named_with_value_and_range() {
    refused("--size 63", &["--size", "frame size 63", "64…9000"]);
    refused("--size 9001", &["--size", "frame size 9001", "64…9000"]);
    refused("--size 64,63", &["--size", "63", "64…9000"]);
    refused("--size 64:0", &["--size", "weight '0'", "1 to 4096"]);
    refused("--size genome:x", &["--size", "'x'", "a 64", "i 9000"]);
    refused("--size 64 --protocol tcp", &["frameSize: 64", "TCP", "74"]);
    refused("--rate 0pps", &["--rate", "'0pps'", "1000pps"]);
    refused("--rate 101%", &["--rate", "'101%'", "at most 100"]);
    refused("--vlan 5000", &["vlan.id: 5000", "1…4094"]);
    refused("--vlan 0", &["vlan.id: 0", "1…4094"]);
    refused("--dscp 64", &["dscp: 64", "0…63"]);
    refused("--ttl 0", &["ttl: 0", "1…255"]);
    refused("--payload nope", &["--payload", "'nope'", "zeros, increment, hex:DIGITS", "random:SEED"]);
    refused("--payload hex:abc", &["--payload", "'hex:abc'", "1 to 256 bytes"]);
    refused("--flows 0", &["flows: 0", "1…4194304"]);
    refused("--flows 4194305", &["flows: 4194305", "1…4194304"]);
    refused("--burst 65537", &["burst: 65537", "1…65536"]);
    refused("--flow-mode x", &["--flow-mode", "'x'", "s, d, sd, sp, dp, spd, sdpp, sdpd"]);
    refused("--src-port 65535 --flows 3 --flow-mode sp", &["sourcePort", "65535", "3 values"]);
    refused("--src-ip ::1 --dst-ip 192.168.2.1", &["source.ip ::1", "destination.ip 192.168.2.1"]);
}

fn refused_profile(file: &Path, text: &str, parts: &[&str]) {
    fs::write(file, text).unwrap();
    refused(&format!("--profile {}", file.display()), &[&[file.to_str().unwrap()], parts].concat());
}

#[test]
fn wrong_profiles_are_named_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.yaml");
    let good = "apiVersion: linerate.dev/v1alpha1\nkind: Profile\nspec:\n  flows: 3\n";
    let check = |text: &str, parts: &[&str]| refused_profile(&file, text, parts);
    check(&good.replace("flows", "flow"), &["line 4", "unknown field `flow`", "flows"]);
    check(&good.replace("Profile", "Experiment"), &["line 2", "`Experiment`", "Profile"]);
    check(&good.replace("v1alpha1", "v9"), &["line 1", "linerate.dev/v9", "linerate.dev/v1alpha1"]);
    check(&format!("{good}  dscp: 64\n"), &["spec.dscp: 64", "0…63"]);
    check(&format!("{good}  rate: 1pps\n  stages: [{{rate: 1pps, duration: 1s}}]\n"), &["rate and stages"]);
    check(&format!("{good}  vary: {{vlanId: {{start: 4095, count: 3}}}}\n"), &["vlanId", "4095", "3 values"]);
    check(&format!("{good}  vary: {{sourceIp: {{count: 2}}}}\n"), &["flows: 3", "repeat after 2"]);
    check(&format!("{good}  vary: {{flowLabel: {{}}}}\n"), &["vary.flowLabel", "IPv4"]);
    check("", &[]);
    check("\u{0}\u{1}\u{2}", &[]);
    check(&format!("{good}#{}", "x".repeat(1 << 20)), &["too large", "1048576"]);
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("absent.yaml");
    refused(&format!("--profile {}", file.display()), &[file.to_str().unwrap(), "No such file"]);
}

#[test]
fn a_profile_beside_options_of_its_own_is_refused() {
    refused("--profile x.yaml --rate 1pps", &["--rate", "--profile"]);
    refused("--pcap x.pcap --size 64", &["--pcap", "--size"]);
    refused("--keep-macs", &["--pcap"]);
}

#[test]
fn an_agent_that_is_refused_reports_the_reason_to_its_starter() {
    for (own, part) in [("agent --no-such-option", "--no-such-option"), ("agent --log-level loud", "loud")] {
        let output = run(&mut dataplane(&["--no-pci".to_owned()], own));
        assert_eq!(output.status.code(), Some(2), "{own}: {}", stderr(&output));
        let told = json(&output);
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(part) && !message.contains("Usage"), "{own}: {message}");
        assert!(!message.starts_with("error"), "{own}: {message}");
    }
}

#[test]
fn variables_that_are_not_text_are_refused_by_name_and_not_left_out() {
    let send = format!("tx --peer-mac {PEER} --packets 1 --duration 1s --json");
    for (own, name, value) in [
        (&*send, "LINERATE_MAX_RATE", &b"1kpps\xff"[..]),
        (&send, "LINERATE_MAX_DURATION", b"1s\xff"),
        (&send, "LINERATE_ALLOW", b"10.0.0.0/8\xff"),
        (&send, "LINERATE_ALLOW", b","),
        ("agent", "LINERATE_TOKEN", b"0123456789abcdef\xff"),
    ] {
        let mut command = dataplane(&eal(0, &["net_null0"]), own);
        let output = run(command.env(name, OsStr::from_bytes(value)));
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        let told = json(&output);
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(name) && message.contains("unset"), "{message}");
        assert!(!message.contains("0123"), "{message}");
    }
}

#[test]
fn arguments_that_are_not_text_are_names_of_files_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let send = format!("tx --peer-mac {PEER} --linger 0s --quiet --json");
    let replay = |file: &Path| run(dataplane(&eal(0, &["net_null0"]), &send).arg("--pcap").arg(file));
    let file = dir.path().join(OsStr::from_bytes(b"b\xff\x1b[31m\n.pcap"));
    let output = replay(&file);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("\\u001b[31m\\n.pcap: No such file") && !message.contains('\x1b'), "{message}");
    write_pcap(&file, DataLink::ETHERNET, &[(Duration::ZERO, 64, vec![1; 64])]);
    let output = replay(&file);
    assert_eq!(number(&json(&output), "sent_packets"), 1, "{}", stderr(&output));

    let odd = OsStr::from_bytes(b"--vdev=\xff");
    for (arguments, part) in [
        (&[OsStr::from_bytes(b"\xff")][..], "unrecognized"),
        (&[odd, OsStr::new("--"), OsStr::new("ports")], "EAL's option '--vdev="),
    ] {
        let output = run(Command::new(env!("CARGO_BIN_EXE_linerate-dataplane")).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
