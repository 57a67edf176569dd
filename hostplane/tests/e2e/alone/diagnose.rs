//! A diagnosis that needs a CPU which is slow.

use std::process::Command;

use crate::common::lab::Lab;
use crate::common::{Running, float, not_run, number, tool};
use crate::diagnose::{diagnose, text};

#[test]
fn the_cpu_that_others_use_is_named() {
    const NAME: &str = "the_cpu_that_others_use_is_named";
    let Some(lab) = Lab::new(NAME) else { return };
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let [fast, .., slow] = cpus[..] else { return not_run(NAME, "there is one CPU only") };
    // The path is slow enough for any CPU that is free.
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 100mbit burst 64kb limit 400kb");
    let competitor = || {
        let mut command = Command::new(tool("nice"));
        // Eight of them leave the client 0.7 % of the CPU: a quarter of what the path takes, and enough to begin.
        command.args(["-n", "-13", "taskset", "-c", &slow.to_string(), "sh", "-c", "while :; do :; done"]);
        Running::start(&mut command)
    };
    let _competitors: Vec<Running> = (0..8).map(|_| competitor()).collect();
    let _server = lab.server(&format!("--cpus {fast}"));
    let found = diagnose(
        &lab,
        &format!("--duration 3s --parallel 1 --sweep client --sweep-cpus {fast},{slow} --udp-rate 100pps"),
    );
    let sweep = &found.0["sweeps"][0];
    assert_eq!(sweep["end"], "client");
    let rate = |index: usize| float(sweep, &format!("/cpus/{index}/bps"));
    assert_eq!(
        (number(sweep, "/cpus/0/cpu"), number(sweep, "/cpus/1/cpu")),
        (fast as u64, slow as u64),
        "{sweep}"
    );
    assert!(rate(1) < 0.6 * rate(0), "{} {}", rate(0), rate(1));
    let finding = found.finding("cpu-affinity", "client");
    let words = finding["words"].as_str().unwrap();
    assert!(
        words.contains(&format!("on CPU {fast}, ")) && words.contains(&format!("on CPU {slow}, ")),
        "{words}"
    );
    assert!(words.contains("waits for the CPU") && words.contains("others use it"), "{words}");
    assert!(text(finding).contains(&format!("--cpus {fast}")), "{finding}");
    assert!(finding["evidence"][0].as_str().unwrap().contains("CPU s per Gbit"), "{finding}");
}
