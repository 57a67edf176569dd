//! Many pods: one connection and bounded memory for each, and at most one request of a kind per pod.

#![allow(clippy::print_stdout, reason = "figures to read")]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::whole::assert_whole;
use crate::cluster::{Cluster, POD};
use crate::role::Role;

/// Variable with the number of pods of the largest run; see `CONTRIBUTING.md`.
const VARIABLE: &str = "LINERATE_STUB_PODS";
const USUAL_PODS: usize = 1000;
/// Largest memory of the controller per additional pod.
const MEMORY_PER_POD_KIB: u64 = 400;
const SPEC: &str = "  traffic: {frameSizes: [64], flows: [10], rates: [10kpps]}\n  trial: {duration: 2s, sampleInterval: 1s}\n";

/// Peak memory of a live process.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
}

struct Cost {
    pods: usize,
    peak_kib: u64,
    lists: usize,
    watches: usize,
}

async fn run(pods: usize) -> Cost {
    let cluster = Cluster::of_two_nodes(Role::printed()).await;
    let begun = Instant::now();
    let spec = format!("  pairs: {}\n{POD}{SPEC}", pods / 2);
    let running = cluster.run(&spec, &["--quiet", "--log-level", "warn"]);
    let id = running.child.id().unwrap();
    let mut peak = 0;
    let ending = running.ends_with(0);
    tokio::pin!(ending);
    while tokio::time::timeout(Duration::from_millis(20), &mut ending).await.is_err() {
        peak = peak.max(peak_kib(id));
    }
    let took = begun.elapsed();
    assert_whole(&cluster, pods / 2, 1);
    assert_eq!(cluster.count("create", "pods/portforward"), pods, "exactly one connection for each pod");
    // A dry run checks each before it is created.
    assert_eq!(cluster.count("create", "pods"), 2 * pods);
    assert_eq!(cluster.count("delete", "pods"), pods);
    let cost = Cost {
        pods,
        peak_kib: peak,
        lists: cluster.count("list", "pods"),
        watches: cluster.count("watch", "pods"),
    };
    let overhead = cluster.summary().unwrap().overhead;
    println!(
        "{pods} pods: {:.1} s, peak {} KiB, {} requests, {} lists and {} watches of pods; start-up {:.2} s, warm-up {:.2} s, trial beyond sending {:.2} s, \
         end {:.2} s",
        took.as_secs_f64(),
        peak,
        cluster.requests().len(),
        cost.lists,
        cost.watches,
        overhead.start_up_s,
        overhead.warm_up_s,
        overhead.trials_s,
        overhead.tear_down_s,
    );
    let (first, last) = cluster.state.wire.first_and_last(Duration::from_secs(2));
    let ready = cluster.state.last_ready.lock().unwrap().unwrap();
    println!(
        "{pods} pods: first packet of the trial {:.2} s after the last pod was ready, results written {:.2} s after the last packet",
        (first - ready).as_secs_f64(),
        written(&cluster.path("results"))
            .elapsed()
            .map_or(0.0, |ago| last.elapsed().as_secs_f64() - ago.as_secs_f64()),
    );
    cost
}

/// When the last file of a trial was written.
fn written(directory: &Path) -> SystemTime {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let times = entries.filter_map(|entry| match entry.path() {
        path if path.is_dir() => Some(written(&path)),
        path if path.ends_with("trial.json") => Some(entry.metadata().unwrap().modified().unwrap()),
        _ => None,
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_pod_costs_a_connection_and_little_memory() {
    let most = std::env::var(VARIABLE).map_or(USUAL_PODS, |text| text.parse().unwrap());
    let _alone = Cluster::machine_alone().await;
    // One pair, ten, 49, and many.
    let few = run(2).await;
    for pods in [20, 98, most] {
        let many = run(pods).await;
        let each = many.peak_kib.saturating_sub(few.peak_kib) / (many.pods - few.pods) as u64;
        println!("{pods} pods: {each} KiB for each");
        assert!(each < MEMORY_PER_POD_KIB, "{each} KiB for each of {pods} pods");
        assert_eq!(many.watches, few.watches, "one watch over all");
        assert!(many.lists <= few.lists + 40, "{} lists, {} with 2 pods", many.lists, few.lists);
    }
}
