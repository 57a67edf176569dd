//! How close our transmit loop comes to the limit, and to testpmd: `cargo bench -p linerate-dataplane --bench transmit`.
//!
//! On `net_null`, 64-byte frames, one lcore, all in one run and in turns, so that a noisy machine disturbs all alike:
//! - *bare*: allocate 64 buffers, send them, nothing written: the limit;
//! - *ours*: flow, sequence, time and checksums written into every frame, for 1, 10,000 and 1,000,000 flows;
//! - *testpmd*: the distribution's `txonly` (one fixed packet) and `flowgen` (varied destination addresses).
//!
//! Printed as ratios; absolute rates stand beside them to show what the machine was like.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use linerate_dataplane::dpdk::eal::Eal;
use linerate_dataplane::dpdk::port::DEFAULT_MTU;
use linerate_dataplane::eal_args::EalPlan;
use linerate_dataplane::network::GivenAddresses;
use linerate_dataplane::trial::{Order, PortSetup, PortSetupConfig, Task};
use linerate_traffic::limit::Limit;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{FlowMode, RawProfile};
use linerate_traffic::rate::Rate;
use linerate_wire::report::Ended;
use linerate_wire::trial::TransmitSpec;

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(700);
const FLOWS: [u32; 3] = [1, 10_000, 1_000_000];

fn main() {
    // cargo passes its own options, such as --setup; EAL's may be given after `--`.
    let user: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    let user = if user.is_empty() { default_eal() } else { user };
    let plan = EalPlan::new("bench-transmit", &user);
    let eal = Eal::start(&plan.arguments).expect("EAL starts");
    let config = PortSetupConfig {
        port: eal.ports()[0],
        lcores: eal.workers(),
        rx_descriptors: 1024,
        tx_descriptors: 1024,
        rx_queues: None,
        reflects: false,
        safety: Default::default(),
        tx_queues: None,
        mtu: DEFAULT_MTU,
        idle: None,
        given: GivenAddresses::default(),
    };
    let mut setup = PortSetup::open(&eal, config).expect("the port opens");
    let testpmd = which("dpdk-testpmd");
    if testpmd.is_none() {
        println!("testpmd is not installed (Debian: dpdk-dev); it is left out");
    }

    let mut bare = Vec::new();
    let mut ours = FLOWS.map(|_| Vec::new());
    let (mut peer, mut flowgen) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        bare.push(setup.bare_transmit_pps(64, TURN).expect("the bare loop runs"));
        for (flows, rates) in FLOWS.into_iter().zip(&mut ours) {
            rates.push(our_rate(&mut setup, flows));
        }
        if testpmd.is_some() {
            peer.extend(testpmd_rate(&user, "txonly"));
            flowgen.extend(testpmd_rate(&user, "flowgen"));
        }
    }
    let memory = if plan.no_huge { "--no-huge" } else { "hugepages" };
    println!("\ntransmit, net_null, 64-byte frames, one lcore, {memory}; median of {ROUNDS} rounds");
    println!("{:<34} {:>8} {:>14} {:>16}", "", "Mpps", "of bare loop", "of testpmd");
    let (bare, peer) = (median(bare), median(peer));
    let row = |name: &str, rate: f64| {
        let of_peer = if peer > 0.0 { format!("{:.2}", rate / peer) } else { "-".to_owned() };
        println!("{name:<34} {:>8.1} {:>14.2} {:>16}", rate / 1e6, rate / bare, of_peer);
    };
    row("bare loop (nothing written)", bare);
    for (flows, rates) in FLOWS.into_iter().zip(ours) {
        row(&format!("ours, {flows} flows, probe, checksums"), median(rates));
    }
    if peer > 0.0 {
        row("testpmd txonly (one fixed packet)", peer);
        row("testpmd flowgen (varied addresses)", median(flowgen));
    }
}

fn our_rate(setup: &mut PortSetup<'_>, flows: u32) -> f64 {
    let raw =
        RawProfile { flows, flow_mode: Some(FlowMode::Sd), rate: Some(Rate::Max), ..RawProfile::default() };
    let limit = Limit { duration_ms: Some(TURN.as_millis() as u64), packets: None };
    let spec =
        TransmitSpec { profile: raw.try_into().unwrap(), peer_mac: MacAddr([2, 0, 0, 0, 0, 2]), limit };
    let prepared = setup
        .prepare(Order { trial: 0, tag: 1, task: Task::Transmit(Box::new(spec)) })
        .expect("the trial is possible");
    let mut active = setup.arm(prepared).expect("the lcore is free");
    active.start();
    while !active.is_finished() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let report = active.finish(setup, Ended::Stopped).expect("the trial ends").report;
    report.detail.transmit.map_or(0.0, |transmit| transmit.offered_pps)
}

/// testpmd's own rate over its last second.
fn testpmd_rate(eal: &[String], mode: &str) -> Option<f64> {
    let mut child = Command::new("stdbuf")
        .args(["-o0", "dpdk-testpmd"])
        .args(eal)
        .args(["--file-prefix=bench-peer", "--no-telemetry", "--"])
        .args([
            &format!("--forward-mode={mode}"),
            "--auto-start",
            "--stats-period=1",
            "--burst=64",
            "--total-num-mbufs=8192",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(3500));
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    drop(child.stdin.take());
    let output = child.wait_with_output().ok()?;
    debug_assert!(began.elapsed() > Duration::from_secs(3));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rates: Vec<f64> = text
        .match_indices("Tx-pps:")
        .filter_map(|(at, word)| text[at + word.len()..].split_whitespace().next()?.parse().ok())
        .collect();
    rates.iter().copied().rfind(|rate| *rate > 0.0)
}

fn default_eal() -> Vec<String> {
    let free = hugepage_check::hugepages::free_bytes(&hugepage_check::root::Root::host()).unwrap_or(0);
    let memory: &[&str] = if free >= 256 << 20 { &["--in-memory"] } else { &["--no-huge", "-m", "128"] };
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let worker = cpus - 1;
    let mut options: Vec<String> = ["--no-pci", "--vdev", "net_null0", "--lcores"].map(String::from).to_vec();
    options.push(format!("0@0,1@{worker}"));
    options.extend(memory.iter().map(|option| (*option).to_owned()));
    options
}

fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
