//! Kernels and drivers of many kinds, each read to the same form.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use linerate_observe::host::Host;
use linerate_observe::interrupts::InterruptReader;
use linerate_observe::procfs::protocols::{NETSTAT, SNMP, SNMP6};
use linerate_observe::procfs::softirqs::KINDS;
use linerate_observe::queues::names::is_loss_of_device;
use linerate_observe::queues::{Field, Plan};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Holds a text to the file beside the fixture.
fn hold(name: &str, text: &str) {
    let path = fixtures().join(format!("{name}.golden"));
    if env::var_os("LINERATE_RECORD").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs", path.display());
}

fn known(value: Option<u64>) -> String {
    value.map_or_else(|| "not known".to_owned(), |value| value.to_string())
}

/// All that is read of a kernel.
fn kernel(root: &Path) -> String {
    let mut host = Host::new(root);
    host.read_node();
    host.read_namespace();
    let mut text = String::new();
    let stat = host.stat.series().last().unwrap();
    writeln!(text, "interrupts {}, softirqs {}", known(stat.interrupts), known(stat.softirqs)).unwrap();
    for (cpu, times) in &stat.cpus {
        writeln!(text, "cpu {cpu}: {times:?}").unwrap();
    }
    for (cpu, counts) in &host.softirqs.series().last().unwrap().cpus {
        let counts: Vec<String> =
            KINDS.iter().zip(counts).map(|(kind, count)| format!("{kind} {}", known(*count))).collect();
        writeln!(text, "softirqs of cpu {cpu}: {}", counts.join(", ")).unwrap();
    }
    let softnet = host.softnet.series().last().unwrap();
    for cpu in host.online() {
        let row = softnet.cpu(cpu, host.online()).unwrap();
        writeln!(
            text,
            "softnet of cpu {cpu}: processed {}, dropped {}, squeezed {}, rps {}, flow limit {}, backlog {}",
            row.processed,
            row.dropped,
            row.squeezed,
            known(row.received_rps),
            known(row.flow_limited),
            known(row.backlog)
        )
        .unwrap();
    }
    for (name, counters) in &host.interfaces.series().last().unwrap().list {
        writeln!(text, "{name}: {counters:?}").unwrap();
    }
    let snmp = host.snmp.series().last().unwrap();
    let netstat = host.netstat.series().last().unwrap();
    let both = SNMP.iter().zip(&snmp.0).chain(NETSTAT.iter().zip(&netstat.0));
    for ((group, name), value) in both {
        writeln!(text, "{group}{name} {}", known(*value)).unwrap();
    }
    for (name, value) in SNMP6.iter().zip(host.snmp6.series().last().unwrap().0) {
        writeln!(text, "{name} {}", known(value)).unwrap();
    }
    let interrupts = InterruptReader::new(root, None).read(&mut Vec::new(), &host.online(), None).unwrap();
    writeln!(text, "interrupts from {}", interrupts.origin.path()).unwrap();
    for (number, irq) in interrupts.list.iter().filter(|(_, irq)| irq.total > 0) {
        writeln!(text, "irq {number} {:?}: {} {:?}", irq.action, irq.total, irq.cpus).unwrap();
    }
    text
}

#[test]
fn kernels_are_read() {
    for version in ["4.4", "4.18-el8", "5.4", "5.15", "6.12"] {
        let name = format!("kernel-{version}");
        hold(&name, &kernel(&fixtures().join(&name)));
    }
}

/// What `ethtool -S` printed, as names and values.
fn statistics(text: &str) -> (Vec<String>, Vec<u64>) {
    let lines = text.lines().skip(1).map(|line| line.strip_prefix("     ").unwrap());
    lines
        .map(|line| line.rsplit_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse::<u64>().unwrap()))
        .unzip()
}

fn driver(text: &str) -> String {
    let (names, values) = statistics(text);
    let plan = Plan::new(&names, &values);
    let (mut queues, mut others) = (Vec::new(), Vec::new());
    plan.apply(&values, &mut queues, &mut others);
    let mut text = String::new();
    for queue in &queues {
        let counters =
            Field::ALL.iter().filter_map(|field| Some(format!("{} {}", field.name(), queue.get(*field)?)));
        let counters: Vec<String> = counters.collect();
        writeln!(text, "{} queue {}: {}", queue.direction, queue.queue, counters.join(", ")).unwrap();
    }
    for (name, value) in plan.others().iter().zip(others) {
        let kind = if is_loss_of_device(name) { "loss" } else { "other" };
        writeln!(text, "{kind} {name}: {value}").unwrap();
    }
    text
}

#[test]
fn drivers_are_read() {
    for name in [
        "bnxt_en",
        "ena",
        "gve",
        "i40e",
        "iavf",
        "ice",
        "igb",
        "ixgbe",
        "mlx5_core",
        "veth",
        "virtio_net",
        "vmxnet3",
    ] {
        let file = format!("drivers/{name}.txt");
        hold(&file, &driver(&fs::read_to_string(fixtures().join(&file)).unwrap()));
    }
}
