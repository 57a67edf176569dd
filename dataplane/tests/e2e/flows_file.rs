//! `--flows-file`: every flow in a file, which adds up to the report.
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::netns::{FAR, Lab, report_of};
use crate::common::{dataplane, is_root, json, not_run, number, run, stderr};

/// A file's lines, each cut at its commas, by the header's words.
struct Table {
    header: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let header = lines.next().unwrap();
        Self { header, lines: lines.collect() }
    }

    fn column(&self, name: &str) -> Vec<&str> {
        let at = self.header.iter().position(|word| word == name).unwrap_or_else(|| panic!("no {name}"));
        self.lines.iter().map(|line| line[at].as_str()).collect()
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        self.column(name).into_iter().map(|word| word.parse().unwrap()).collect()
    }

    fn sum(&self, name: &str) -> u64 {
        self.numbers(name).iter().sum()
    }
}

/// EAL options of a port that loops back.
fn ring() -> Vec<String> {
    let options = "--no-huge -m 512 --no-pci --lcores 0@0,1@0,2@0 --vdev net_ring0";
    options.split(' ').map(str::to_owned).collect()
}

fn only_file(directory: &Path) -> String {
    let names: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].to_str().unwrap().to_owned()
}

#[test]
fn a_million_flows_add_up_to_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flows.csv");
    fs::write(&path, "old").unwrap();
    let own = format!(
        "pair --rx-port 0 --flows 1000000 --flow-mode sd --rate 500kpps --packets 1500007 --quiet --json --flows-file {}",
        path.display()
    );
    let output = run(&mut dataplane(&ring(), &own));
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let table = Table::read(&path);
    assert_eq!(only_file(dir.path()), "flows.csv");
    assert_eq!(table.lines.len(), 1_000_000);
    assert_eq!(table.sum("flow"), 999_999 * 1_000_000 / 2);
    assert_eq!(table.sum("sent"), number(&report["tx"], "sent_packets"));
    assert_eq!(table.sum("received"), number(&report["rx"], "received_packets"));
    assert_eq!(table.sum("lost"), number(&report, "lost_packets"));
    let last = table.lines.last().unwrap();
    assert_eq!((table.header[1].as_str(), table.header[2].as_str()), ("sourceIp", "destinationIp"));
    assert_eq!((last[1].as_str(), last[2].as_str()), ("192.183.67.64", "192.183.68.64"), "{last:?}");
    // The summary of the whole holds for its parts.
    let longest = table.numbers("delay_max_ns").into_iter().max().unwrap();
    let reported = number(&report["rx"]["latency_ns"], "max");
    assert!(
        longest <= reported + reported / 50 && reported <= longest + longest / 50,
        "{longest} {reported}"
    );
}

#[test]
fn lost_packets_are_listed_for_each_flow() {
    let Some(lab) = Lab::new("lost_packets_are_listed_for_each_flow") else { return };
    lab.rule_at("near1", "numgen inc mod 10 == 0 counter name hits drop");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flows.csv");
    let own = format!(
        "pair --rate 5kpps --packets 5000 --flows 10 --flow-mode sdpp --quiet --json --flows-file {}",
        path.display()
    );
    let report = lab.report("0@0,1@0,2@1", &["near", "far"], &own);
    let table = Table::read(&path);
    // Frames go round the flows: the first of ten takes every hit, and has nothing to tell of delays.
    assert_eq!(table.numbers("received"), [[0].as_slice(), &[500; 9]].concat());
    assert_eq!(table.numbers("lost"), [[500].as_slice(), &[0; 9]].concat());
    assert_eq!(table.sum("lost"), number(&report, "lost_packets"));
    assert_eq!(table.sum("duplicates"), number(&report["rx"], "duplicate_packets"));
    assert_eq!(table.sum("reordered"), number(&report["rx"], "out_of_order_packets"));
    let worst = &report["rx"]["worst_flows"][0];
    assert_eq!(
        (number(worst, "flow"), number(worst, "sent"), number(worst, "lost")),
        (0, 500, 500),
        "{report}"
    );
    let delays = table.column("delay_mean_ns");
    assert!(delays[0].is_empty() && delays[1..].iter().all(|delay| !delay.is_empty()), "{delays:?}");
    assert_eq!(table.column("destinationPort")[3], "1027");
}

#[test]
fn a_receiver_on_its_own_numbers_its_flows_and_a_round_trip_names_them() {
    let Some(lab) = Lab::new("a_receiver_on_its_own_numbers_its_flows_and_a_round_trip_names_them") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flows.csv");
    let receiver = lab.start("0@1,1@1", &["far"], &format!("rx --flows-file {}", path.display()));
    let send = format!("tx --peer-mac {FAR} --rate 10kpps --packets 3000 --flows 30 --quiet --json");
    lab.report("0@0,1@0", &["near"], &send);
    let report = report_of(receiver);
    let table = Table::read(&path);
    assert_eq!(table.header[..3], ["flow", "sent", "received"]);
    assert_eq!(table.numbers("received"), [100; 30], "{report}");
    assert_eq!((table.sum("received"), table.sum("lost")), (number(&report, "received_packets"), 0));
    assert!(table.column("sent").iter().all(|sent| sent.is_empty()));

    let reflector = lab.start("0@1,1@1", &["far"], "reflect");
    let own = format!("{send} --round-trip --flows-file {}", path.display());
    lab.report("0@0,1@0,2@0", &["near"], &own);
    report_of(reflector);
    let table = Table::read(&path);
    assert_eq!((table.numbers("sent"), table.numbers("received")), (vec![100; 30], vec![100; 30]));
    assert_eq!(table.column("sourceIp")[29], "192.168.1.30");
}

#[test]
fn both_ways_have_their_lines() {
    let Some(lab) = Lab::new("both_ways_have_their_lines") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flows.csv");
    let own = format!(
        "pair --bidirectional --rate 2kpps --packets 1000 --flows 5 --quiet --json --flows-file {}",
        path.display()
    );
    lab.report("0@0,1@0,2@0,3@1,4@1", &["near", "far"], &own);
    let table = Table::read(&path);
    let ports: String = table.column("rx_port").concat();
    assert_eq!((ports.as_str(), table.numbers("received")), ("1111100000", vec![200; 10]));
}

#[test]
fn a_place_that_cannot_be_written_to_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let within = |name: &str| dir.path().join(name).display().to_string();
    let refused = |path: &str, flows: u32, part: &str| {
        let own = format!("pair --rx-port 0 --duration 1s --json --flows {flows} --flows-file {path}");
        let output = run(&mut dataplane(&ring(), &own));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(path) && message.contains(part) && message.contains("remedy:"), "{message}");
        assert!(!message.contains("EAL:"), "EAL was started: {message}");
    };
    refused(&within("missing/flows.csv"), 1, "No such file or directory");
    refused("/proc/flows.csv", 1, "--flows-file");
    refused(dir.path().to_str().unwrap(), 1, "something else in its place");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

    if !is_root() {
        return not_run("a_file_too_large_for_its_disk_is_refused", "needs root to mount a small tmpfs");
    }
    let mount = |options: &[&str]| Command::new("mount").args(options).arg(dir.path()).status().unwrap();
    assert!(mount(&["-t", "tmpfs", "-o", "size=1m", "none"]).success());
    let outcome = std::panic::catch_unwind(|| refused(&within("flows.csv"), 1_000_000, "do not fit"));
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
    assert!(outcome.is_ok() && left == 0);
}
