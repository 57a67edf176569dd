//! Every counter of the monitor that has an independent reader: what other programs read before the monitor's first reading and after its last
//! one is at least as much, what they read in between is at most as much. With nothing else counting, all three are equal.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::common::lab::{B6, Lab};
use crate::common::monitored::{Watching, nstat};
use crate::common::{number, result, run, tool};

/// Prints counters of the node: a name and a value a line. It shares nothing with the monitor but the kernel's files.
const NODE: &str = r#"
vmstat -s | awk '/ interrupts$/ { print "interrupts", $1 }'
awk '$1 == "softirq" { print "softirqs", $2 }' /proc/stat
awk 'NR == 1 { for (i = 1; i <= NF; i++) cpu[i + 1] = substr($i, 4); next }
     $1 == "NET_RX:" || $1 == "NET_TX:" {
         name = tolower(substr($1, 1, 6))
         for (i = 2; i <= NF; i++) { printf "cpu %s %s %.0f\n", cpu[i], name, $i; all += $i }
         printf "%s %.0f\n", name, all; all = 0
     }' /proc/softirqs
awk 'NR == 1 { cpus = NF; next }
     $1 ~ /^[0-9]+:$/ { for (i = 2; i <= cpus + 1; i++) all += $i; printf "irq %d %.0f\n", $1, all; all = 0 }' /proc/interrupts
row=0
while read -r -a column; do
    cpu=$row
    [ "${#column[@]}" -lt 13 ] || cpu=$((16#${column[12]}))
    echo "cpu $cpu softnet_processed $((16#${column[0]}))"
    echo "cpu $cpu softnet_dropped $((16#${column[1]}))"
    echo "cpu $cpu softnet_squeezed $((16#${column[2]}))"
    row=$((row + 1))
done </proc/net/softnet_stat
"#;

/// Counters by name: those of the node, and by nstat's names those of an end.
fn read(lab: &Lab, end: &str) -> BTreeMap<String, u64> {
    let output = run(Command::new(tool("bash")).args(["-c", NODE]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_node = text.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    let of_protocols = nstat(lab, end).into_iter().map(|(name, value)| (format!("nstat {name}"), value));
    of_node.chain(of_protocols).collect()
}

/// What a sample counted under one of the names; `None` where it does not know.
fn counted(sample: &Value, name: &str) -> Option<u64> {
    match name.split(' ').collect::<Vec<_>>()[..] {
        ["nstat", name] => sample["protocols"]["counts"][name].as_u64(),
        ["cpu", cpu, name] => {
            let cpus = sample["node"]["cpus"].as_array()?;
            cpus.iter().find(|one| one["cpu"].as_u64() == cpu.parse().ok())?[name].as_u64()
        }
        ["irq", number] => {
            let list = sample["interrupts"]["list"].as_array()?;
            list.iter().find(|irq| irq["irq"].as_u64() == number.parse().ok())?["total"].as_u64()
        }
        _ => sample["node"][name].as_u64(),
    }
}

#[test]
fn every_counter_lies_between_the_readings_of_other_programs() {
    let Some(lab) = Lab::new("every_counter_lies_between_the_readings_of_other_programs") else { return };
    let server = lab.server("");
    let before = read(&lab, "b");
    let watching = Watching::start(lab.hostplane("b", "monitor --interface veth-b --interval 200ms --json"));
    let first = read(&lab, "b");
    let options = format!("udp {B6} --json --quiet --rate 4kpps --size 300 --duration 500ms");
    let sent = number(&result(&mut lab.hostplane("a", &options)), "/directions/0/udp/sent");
    lab.result("tcp", "--bytes 300000");
    let last = read(&lab, "b");
    let (samples, _) = watching.end();
    let after = read(&lab, "b");
    drop(server);

    // They are in a sample each second. Interrupts that come or go, or are too many, are told as not known.
    let untold = |sample: &Value| sample["not_known"]["interrupts"].is_string();
    let knows_interrupts = !samples.iter().any(untold);
    assert!(
        !knows_interrupts || samples.iter().any(|sample| sample["interrupts"].is_object()),
        "neither interrupts nor a reason"
    );
    let (mut equal, mut moved) = (0, 0);
    for (name, after) in after.iter().filter(|(name, _)| knows_interrupts || !name.starts_with("irq ")) {
        let known = || samples.iter().filter_map(|sample| counted(sample, name));
        // Counters that the monitor does not follow: a CPU or an interrupt without any, a protocol that it leaves out.
        if known().next().is_none() && !name.starts_with("irq ") {
            continue;
        }
        let at = |counters: &BTreeMap<String, u64>| counters.get(name).copied().unwrap_or(0);
        let ours: u64 = known().sum();
        let (least, most) = (at(&last) - at(&first), after - at(&before));
        assert!((least..=most).contains(&ours), "{name}: {least} <= {ours} <= {most}");
        equal += u32::from(least == most);
        moved += u32::from(ours > 0);
    }
    let sum = |name: &str| samples.iter().filter_map(|sample| counted(sample, name)).sum::<u64>();
    for name in ["nstat Ip6InReceives", "nstat Udp6InDatagrams", "net_rx"] {
        assert!(sum(name) >= if name == "net_rx" { 1 } else { sent }, "{name}: {} of {sent}", sum(name));
    }
    let ipv6 = |name: &&String| name.starts_with("nstat Ip6") || name.starts_with("nstat Udp6");
    assert!(
        after
            .keys()
            .filter(ipv6)
            .filter(|name| samples.iter().any(|one| counted(one, name).is_some()))
            .count()
            > 8
    );
    eprintln!("{moved} counters moved; {equal} of {} were read with nothing in between", after.len());
    assert!(moved >= 10 && equal > 30, "{moved} {equal}");
    for sample in &samples {
        let of_cpus = |name: &str| -> u64 {
            sample["node"]["cpus"]
                .as_array()
                .unwrap()
                .iter()
                .map(|cpu| number(cpu, &format!("/{name}")))
                .sum()
        };
        for name in ["net_rx", "net_tx", "softnet_processed"] {
            assert_eq!(of_cpus(name), number(sample, &format!("/node/{name}")), "{name}: {sample}");
        }
    }
}
