//! What the monitor counts in an interval, beside sar and mpstat in the same one. The three begin and end a moment apart, so traffic stays clear of
//! both ends: counts of the network namespace, in which nothing else counts, are equal. Others make the node count in these moments.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lab::{B6, Lab};
use crate::common::{
    Running, TIME_LIMIT, float, installed, json, not_run, number, result, run, stderr, tool,
};

const SECONDS: f64 = 6.0;
/// Packets that IPv6 sends by itself at any time, such as router solicitations.
const OF_IPV6: u64 = 12;
/// Events of the whole node in the moments between the beginnings and ends of two programs, and of a timer that is late.
const OF_NODE: (f64, f64) = (0.15, 600.0);
/// CPU time is counted in ticks of 10 ms, and the programs' own beginnings are in some intervals.
const OF_SHARES: f64 = 0.10;

/// Averages that sar printed: the value of a column, in the row that begins with `row` where the table has such rows.
fn sar(text: &str, row: Option<&str>, column: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix("Average:"));
    let mut header: Vec<&str> = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split_whitespace().collect();
        if cells.iter().any(|cell| cell.ends_with("/s")) {
            header = cells;
        } else if let Some(place) = header.iter().position(|name| *name == column)
            && row.is_none_or(|row| cells[0] == row)
        {
            return cells[place].parse().unwrap();
        }
    }
    panic!("no {column} of {row:?} in {text}");
}

/// What sar counted, from the readings that it stored: the difference of a column, in the row that begins with `row` where the table has such rows.
fn counted(readings: &str, row: Option<&str>, column: &str) -> u64 {
    let of_row = |line: &&str| row.is_none_or(|row| line.contains(&format!("; IFACE; {row};")));
    let cells = readings.lines().filter(of_row).find_map(|line| {
        let mut cells = line.split("; ").skip_while(|cell| *cell != column).skip(1);
        Some((cells.next()?.parse::<u64>().ok()?, cells.next()?.trim_end_matches(';').parse::<u64>().ok()?))
    });
    let (before, after) = cells.unwrap_or_else(|| panic!("no {column} of {row:?} in {readings}"));
    after - before
}

/// Waits until a program waits for the end of its interval: it sleeps, and has used no CPU for a while.
fn until_it_waits(running: &Running) {
    let process = Path::new("/proc").join(running.pid().to_string());
    let look = || {
        let [stat, used] = ["stat", "schedstat"].map(|name| fs::read_to_string(process.join(name)).unwrap());
        (stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')), used)
    };
    let (begun, mut last, mut same) = (Instant::now(), look(), 0);
    while same < 10 {
        assert!(begun.elapsed() < TIME_LIMIT, "{process:?} does not sleep");
        sleep(Duration::from_millis(10));
        let now = look();
        same = if now.0 && now == last { same + 1 } else { 0 };
        last = now;
    }
}

/// The entry of a CPU in a table of mpstat.
fn of_cpu<'t>(table: &'t Value, cpu: &str) -> &'t Value {
    table.as_array().unwrap().iter().find(|entry| entry["cpu"] == cpu).unwrap_or(&Value::Null)
}

/// A softirq's rate in a row of mpstat.
fn softirq(table: &Value, cpu: &str, name: &str) -> f64 {
    let entry = of_cpu(table, cpu);
    let kinds = entry["intr"].as_array().unwrap_or_else(|| panic!("no CPU {cpu} in {table}"));
    float(kinds.iter().find(|kind| kind["name"] == name).unwrap(), "/value")
}

/// What is compared: name, our count, theirs, and by how much they may differ.
struct Table(Vec<(String, f64, f64, f64)>);

impl Table {
    /// A count of the node beside a rate.
    fn of_node(&mut self, name: String, ours: u64, rate: f64) {
        let theirs = rate * SECONDS;
        self.0.push((name, ours as f64, theirs, OF_NODE.0 * theirs + OF_NODE.1));
    }
}

#[test]
fn counts_of_an_interval_are_those_of_sar_and_mpstat() {
    const NAME: &str = "counts_of_an_interval_are_those_of_sar_and_mpstat";
    let Some(lab) = Lab::new(NAME) else { return };
    if let Some(missing) = ["sar", "sadf", "mpstat"].into_iter().find(|name| installed(name).is_none()) {
        return not_run(NAME, &format!("{missing} is not installed; scripts/test.sh installs it"));
    }
    let _server = lab.server("");
    let start = |command: &mut Command| Running::start(command.env("LC_ALL", "C"));
    let interval = SECONDS.to_string();
    let directory = tempfile::tempdir().unwrap();
    let readings = directory.path().join("readings");
    let tables = "DEV,IP,UDP,IP6,UDP6,SOFT";
    let sar_runs = start(
        lab.command("b", "sar").arg("-o").arg(&readings).args(["-P", "ALL", "-n", tables, &interval, "1"]),
    );
    let of_cpus = ["-P", "ALL", "-u", "-I", "SUM,SCPU", "-o", "JSON", &interval, "1"];
    let mpstat_runs = start(lab.command("b", "mpstat").args(of_cpus));
    let options = format!("monitor --interface veth-b --interval {interval}s --count 1 --form json --quiet");
    let monitor = start(&mut lab.hostplane("b", &options));
    for running in [&sar_runs, &mpstat_runs, &monitor] {
        until_it_waits(running);
    }
    lab.result("udp", "--rate 20kpps --size 200 --duration 400ms");
    let options = format!("udp {B6} --json --quiet --rate 10kpps --size 200 --duration 400ms");
    let sent = number(&result(&mut lab.hostplane("a", &options)), "/directions/0/udp/sent");
    let (monitor, sar_ended, mpstat_ended) = (monitor.output(), sar_runs.output(), mpstat_runs.output());
    let all = [&monitor, &sar_ended, &mpstat_ended];
    assert!(all.iter().all(|output| output.status.success()), "{}", all.map(stderr).join("\n"));
    let sample = &json(&monitor);
    let printed = String::from_utf8_lossy(&sar_ended.stdout).into_owned();
    let stored = run(Command::new(tool("sadf")).arg("-r").arg(&readings).args(["--", "-n", tables]));
    let stored = String::from_utf8_lossy(&stored.stdout).into_owned();
    let theirs: Value = serde_json::from_slice(&mpstat_ended.stdout).unwrap();
    let theirs = &theirs["sysstat"]["hosts"][0]["statistics"][0];

    let mut table = Table(Vec::new());
    for (name, column) in [("rx_packets", "rxpck/s"), ("tx_packets", "txpck/s")] {
        let ours = number(sample, &format!("/interface/{name}"));
        assert!(
            ours.abs_diff(counted(&stored, Some("veth-b"), column)) <= OF_IPV6,
            "{name}: {ours}\n{stored}"
        );
    }
    for (name, column, grain) in [
        ("IpInReceives", "irec/s", 0),
        ("IpOutRequests", "orq/s", 0),
        ("UdpInDatagrams", "idgm/s", 0),
        ("UdpNoPorts", "noport/s", 0),
        ("UdpInErrors", "idgmerr/s", 0),
        ("Ip6InReceives", "irec6/s", OF_IPV6),
        ("Ip6OutRequests", "orq6/s", OF_IPV6),
        ("Udp6InDatagrams", "idgm6/s", 0),
        ("Udp6InErrors", "idgmer6/s", 0),
    ] {
        let ours = number(sample, &format!("/protocols/counts/{name}"));
        assert!(ours.abs_diff(counted(&stored, None, column)) <= grain, "{name}: {ours}\n{stored}");
    }
    assert!(number(sample, "/protocols/counts/Udp6InDatagrams") >= sent, "all of it lies in the interval");
    for cpu in sample["node"]["cpus"].as_array().unwrap() {
        let name = cpu["cpu"].to_string();
        for (ours, column) in [
            ("softnet_processed", "total/s"),
            ("softnet_dropped", "dropd/s"),
            ("softnet_squeezed", "squeezd/s"),
        ] {
            table.of_node(
                format!("CPU {name}, {ours}"),
                number(cpu, &format!("/{ours}")),
                sar(&printed, Some(&name), column),
            );
        }
        for (ours, kind) in [("net_rx", "NET_RX"), ("net_tx", "NET_TX")] {
            let rate = softirq(&theirs["soft-interrupts"], &name, kind);
            table.of_node(format!("CPU {name}, {ours}"), number(cpu, &format!("/{ours}")), rate);
        }
        let load = of_cpu(&theirs["cpu-load"], &name);
        for (ours, columns) in [
            ("user", &["usr", "nice"][..]),
            ("system", &["sys"]),
            ("irq", &["irq"]),
            ("softirq", &["soft"]),
            ("steal", &["steal"]),
            ("iowait", &["iowait"]),
        ] {
            let share: f64 = columns.iter().map(|column| float(load, &format!("/{column}")) / 100.0).sum();
            table.0.push((format!("CPU {name}, {ours}"), float(cpu, &format!("/{ours}")), share, OF_SHARES));
        }
    }
    let interrupts = float(of_cpu(&theirs["sum-interrupts"], "all"), "/intr");
    table.of_node("interrupts".to_owned(), number(sample, "/node/interrupts"), interrupts);
    for (name, ours, theirs, grain) in &table.0 {
        assert!((ours - theirs).abs() <= *grain, "{name}: {ours}, theirs {theirs} ± {grain}\n{printed}");
    }
}
