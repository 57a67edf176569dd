//! What it costs to examine received frames: `cargo bench -p linerate-dataplane --bench receive`.
//!
//! - *from memory*: 64-byte frames of 1, 10,000 and 1,000,000 flows are recognised, their checksums computed, and put in the order of
//!   their flows, without any port: the analysis alone, on one CPU; then those of one flow of which every second one is late, as over
//!   two paths of different length;
//! - *over memif*: our transmitter as fast as it can, once into our receiver and once into testpmd's `rxonly`, in turns. memif loses
//!   nothing, so the rate is that of the slower end.
//!
//! Printed as ratios; absolute rates stand beside them to show what the machine was like.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use linerate_measure::analysis::{Analysis, Expect};
use linerate_measure::flows::{FrameWriter, Slots};
use linerate_measure::frame::{Frames, HEAD_BYTES};
use linerate_measure::recognise::PortVerdict;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{FlowMode, Profile, RawProfile};
use serde_json::Value;

const ROUNDS: usize = 5;
const FRAMES: usize = 4_000_000;
/// Frames examined under callgrind, which is a hundred times slower.
const COUNTED_FRAMES: usize = 400_000;
const FRAME_BYTES: usize = 60;
const FLOWS: [u32; 3] = [1, 10_000, 1_000_000];
/// Gaps that are open all the time where every second frame is late, and the frames of such a round.
const LATE: [usize; 4] = [1, 100, 2_000, 8_000];
const LATE_FRAMES: usize = 400_000;
const PROGRAM: &str = env!("CARGO_BIN_EXE_linerate-dataplane");

fn main() {
    let options: Vec<String> = std::env::args().skip(1).filter(|option| option != "--bench").collect();
    if let [only, of, rest @ ..] = &options[..]
        && only == "--examine"
    {
        // Counted by callgrind: flows, and every how many frames one is missing.
        let missing = rest.first().map(|every| every.parse().unwrap());
        let flows = of.parse().unwrap();
        examine(&frames(COUNTED_FRAMES, flows, missing), flows);
        return;
    }
    if let [only, open] = &options[..]
        && only == "--examine-late"
    {
        // Counted by callgrind: gaps that are open all the time.
        examine(&late(&frames(COUNTED_FRAMES, 1, None), open.parse().unwrap()), 1);
        return;
    }
    println!("receive, 64-byte frames, one CPU; median of {ROUNDS} rounds");
    println!("{:<44} {:>8} {:>12}", "from memory", "Mpps", "of one flow");
    let rates = FLOWS.map(|flows| {
        let frames = frames(FRAMES, flows, None);
        median((0..ROUNDS).map(|_| examine(&frames, flows)).collect())
    });
    for (flows, rate) in FLOWS.into_iter().zip(rates) {
        println!("{:<44} {:>8.1} {:>12.2}", format!("{flows} flows"), rate / 1e6, rate / rates[0]);
    }

    for open in LATE {
        let frames = late(&frames(LATE_FRAMES, 1, None), open);
        let rate = median((0..ROUNDS).map(|_| examine(&frames, 1)).collect());
        let title = format!("1 flow, every second late, {open} gaps open");
        println!("{title:<44} {:>8.1} {:>12.2}", rate / 1e6, rate / rates[0]);
    }

    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        ours.extend(over_memif(round, our_receiver));
        peer.extend(over_memif(round, testpmd));
    }
    let (ours, peer) = (median(ours), median(peer));
    println!("\n{:<44} {:>8} {:>12}", "over memif, 10000 flows", "Mpps", "of testpmd");
    println!("{:<44} {:>8.1} {:>12.2}", "into our receiver", ours / 1e6, ours / peer);
    println!("{:<44} {:>8.1} {:>12.2}", "into testpmd rxonly", peer / 1e6, 1.0);
}

/// Buffers of one slot each, side by side.
struct Row<'a>(&'a mut [u8]);

impl Slots for Row<'_> {
    fn each(self, write: impl FnMut(&mut [u8]) -> u16) -> usize {
        self.0.chunks_exact_mut(HEAD_BYTES).map(write).count()
    }
}

/// Frames of a trial, one behind the other, in the order in which they would arrive; every `missing`th is lost.
fn frames(count: usize, flows: u32, missing: Option<usize>) -> Vec<[u8; FRAME_BYTES]> {
    let raw = RawProfile { flows, flow_mode: Some(FlowMode::Sd), ..RawProfile::default() };
    let profile: Profile = raw.try_into().unwrap();
    let rendered = Frames::new(&profile, MacAddr([2; 6]), MacAddr([4; 6]));
    let mut writer = FrameWriter::new(&profile, &rendered, 1, 0, 1).unwrap();
    let mut slot = rendered.template();
    (0..count)
        .filter_map(|i| {
            // 100 ns apart.
            writer.write(Row(&mut slot), i as u64 * 250);
            let is_lost = missing.is_some_and(|every| i % every == every - 1);
            (!is_lost).then(|| *slot.first_chunk().unwrap())
        })
        .collect()
}

/// The same frames, every second of them late by so many others that `open` numbers are missing all the time.
fn late(frames: &[[u8; FRAME_BYTES]], open: usize) -> Vec<[u8; FRAME_BYTES]> {
    let mut order: Vec<usize> = (0..frames.len()).collect();
    order.sort_by_key(|i| i + i % 2 * 2 * open);
    order.into_iter().map(|i| frames[i]).collect()
}

/// Frames examined per second.
#[inline(never)]
fn examine(frames: &[[u8; FRAME_BYTES]], flows: u32) -> f64 {
    let mut analysis = Analysis::new(Expect::Trial { tag: 1, flows });
    let began = Instant::now();
    for (i, frame) in frames.iter().enumerate() {
        analysis.observe(frame, FRAME_BYTES as u32, PortVerdict::Unknown, i as u64 * 250 + 5_000);
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(analysis.counters(1.0).packets as usize, frames.len());
    frames.len() as f64 / seconds
}

/// The rate at which a receiver takes what our transmitter sends, in packets per second.
fn over_memif(round: usize, receiver: fn(&str) -> Option<Child>) -> Option<f64> {
    let socket = format!("linerate-bench-{}-{round}-{:p}", std::process::id(), receiver);
    let mut child = receiver(&socket)?;
    let memif = format!("net_memif0,role=client,socket={socket}");
    let output = Command::new(PROGRAM)
        .args(["--no-huge", "-m", "128", "--no-pci", "--lcores", "0@0,1@0", "--vdev", &memif, "--"])
        .args(["tx", "--peer-mac", "02:00:00:00:00:02", "--flows", "10000", "--flow-mode", "sd"])
        .args(["--rate", "max", "--duration", "1500ms", "--json", "--quiet"])
        .stderr(Stdio::null())
        .output()
        .ok();
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    drop(child.stdin.take());
    let _ = child.wait();
    let report: Value = serde_json::from_slice(output?.stdout.trim_ascii()).ok()?;
    report["offered_pps"].as_f64()
}

/// EAL's options of a receiver on the last CPU.
fn receiver_eal(socket: &str) -> Vec<String> {
    let cpu = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) - 1;
    let memif = format!("net_memif0,role=server,socket={socket}");
    let lcores = format!("0@{cpu},1@{cpu}");
    let prefix = format!("--file-prefix={socket}");
    ["--no-huge", "-m", "128", "--no-pci", &prefix, "--lcores", &lcores, "--vdev", &memif]
        .map(String::from)
        .to_vec()
}

fn our_receiver(socket: &str) -> Option<Child> {
    let mut command = Command::new(PROGRAM);
    command.args(receiver_eal(socket)).args(["--", "rx", "--quiet", "--json"]);
    start(command)
}

fn testpmd(socket: &str) -> Option<Child> {
    let mut command = Command::new("dpdk-testpmd");
    command.args(receiver_eal(socket)).args([
        "--no-telemetry",
        "--",
        "--forward-mode=rxonly",
        "--auto-start",
    ]);
    command.args(["--burst=64", "--total-num-mbufs=8192"]);
    start(command)
}

fn start(mut command: Command) -> Option<Child> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok();
    if child.is_none() {
        println!("{:?} cannot be started; it is left out", command.get_program());
    }
    std::thread::sleep(Duration::from_millis(800));
    child
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
