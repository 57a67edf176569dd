//! Time and CPUs: a counter with a wrong reported frequency, CPUs that workers share, a CPU quota. Either the
//! load is offered, or the verdict names the missing CPU time, so these tests also pass on a busy machine.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::cpu_quota::CpuQuota;
use crate::support::wrong_clock::wrong_clock;
use crate::support::{Bench, not_run, stderr};
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::{Status, TrialSummary};
use linerate_results::verdict::VerdictKind;
use linerate_wire::time::TickRate;

const MOMENT: Duration = Duration::from_secs(5);
/// Trials of several loads.
const SECONDS: f64 = 1.0;
/// A trial whose end is compared with clocks.
const LONG_S: f64 = 2.0;
const FOUR_RATES: &str = "  traffic: {frameSizes: [64], flows: [10], rates: [1kpps, 5kpps, 20kpps, 50kpps]}
  trial: {duration: 1s}
";

/// The command restricted to at most two CPUs.
fn on_two_cpus(command: &Command) -> Command {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    let cpus: Vec<String> = cpus.take(2).map(|cpu| cpu.to_string()).collect();
    let mut taskset = Command::new("taskset");
    taskset.args(["--cpu-list", &cpus.join(",")]).arg(command.get_program()).args(command.get_args());
    taskset.stdin(Stdio::null());
    taskset
}

/// Checks that every packet of the intended load is accounted for, and that the load was offered within
/// `tolerance`, a share of it, or the verdict names the CPU. Returns whether it was offered.
fn assert_offered_or_explained(trial: &TrialSummary, seconds: f64, tolerance: f64) -> bool {
    let intended = trial.intended_pps.unwrap();
    let accounted = trial.sent_packets + trial.unsent_packets + trial.forgone_packets;
    assert_eq!(accounted, (intended * seconds).round() as u64, "{trial:?}");
    assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
    let off = trial.offered_pps / intended - 1.0;
    assert!(off <= 1e-6, "never too fast: {trial:?}");
    let evidence = &trial.verdict.evidence;
    if trial.offered_missed_intended {
        assert_ne!(trial.verdict.kind, VerdictKind::Clean, "{evidence}");
        let named = evidence.contains("waited for CPU") || evidence.contains("CPU quota");
        assert!(off.abs() <= tolerance || named, "{evidence}");
    }
    off.abs() <= tolerance
}

#[test]
fn two_pairs_on_two_cpus_offer_their_loads_or_the_verdict_names_the_cpu() {
    let bench = Bench::with_cpus(&format!("  pairs: 2\n{FOUR_RATES}"));
    let output = on_two_cpus(&bench.command(&["--json", "--quiet"])).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    bench.assert_nothing_left(MOMENT);
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Complete, 8));
    let agents = &summary.experiment.agents;
    assert!(agents.iter().all(|agent| agent.command_line.join(" ").contains("--idle yield")), "{agents:?}");
    for trial in &summary.trials {
        assert_offered_or_explained(trial, SECONDS, 0.01);
        for lcore in trial.tx_lcores.iter().chain(&trial.rx_lcores) {
            let time = lcore.cpu_time.unwrap();
            assert!(
                time.cpu.is_some() && time.elapsed_s > 0.95 * SECONDS && time.off_cpu_s <= time.elapsed_s,
                "{time:?}"
            );
        }
    }
}

#[test]
fn a_pair_with_half_a_cpu_offers_its_loads_or_the_verdict_names_the_quota() {
    let name = "a_pair_with_half_a_cpu_offers_its_loads_or_the_verdict_names_the_quota";
    let Some(quota) = CpuQuota::new("pair", 500) else {
        return not_run(name, "this user may not make a control group with a CPU quota");
    };
    let bench = Bench::with_cpus(FOUR_RATES);
    let output = quota.around(&bench.command(&["--json", "--quiet"])).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    bench.assert_nothing_left(MOMENT);
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Complete, 4));
    let agents = &summary.experiment.agents;
    assert!(agents.iter().all(|agent| agent.command_line.join(" ").contains("--idle sleep")), "{agents:?}");
    for trial in &summary.trials {
        assert_offered_or_explained(trial, SECONDS, 0.01);
        for throttling in trial.throttling.values() {
            assert_eq!(throttling.quota_cpus, Some(0.5), "{throttling:?}");
        }
    }
}

/// True when the stated frequency is far off, and the difference is that of stated and measured. DPDK rounds to 10 MHz, so
/// the 2000 ppm of the replaced function are not all of it.
fn is_wrong(rate: &TickRate) -> bool {
    let ppm = (rate.told_hz as f64 / rate.measured_hz as f64 - 1.0) * 1e6;
    rate.difference_ppm.abs() > 100.0 && (rate.difference_ppm - ppm).abs() < 1.0
}

#[test]
fn a_frequency_that_dpdk_states_wrong_is_in_every_output_and_affects_no_load() {
    let bench = Bench::with_cpus(
        "  traffic: {frameSizes: [64], flows: [1], rates: [5kpps]}\n  trial: {duration: 2s}\n",
    );
    let library = wrong_clock(bench.path("results").parent().unwrap(), 998);
    let output = bench.command(&["--json", "--quiet"]).env("LD_PRELOAD", library).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let [trial] = &summary.trials[..] else { panic!("{:?}", summary.trials) };
    assert_eq!(trial.tick_rates.len(), 2);
    for rate in trial.tick_rates.values() {
        assert!(is_wrong(rate) && rate.uncertainty_ppm < 50.0, "{rate}");
    }
    let told = trial.tick_rates["tx0"].told_hz.to_string();
    assert!(
        trial.notes.iter().any(|note| note.contains("wrong frequency") && note.contains(&told)),
        "{trial:?}"
    );
    for agent in &summary.experiment.agents {
        assert!(is_wrong(&agent.tick_rate.unwrap()), "{agent:?}");
    }
    let directory = bench.experiment().unwrap();
    let text = std::fs::read_to_string(directory.join(&trial.trial)).unwrap();
    let record: TrialRecord = serde_json::from_str(&text).unwrap();
    for report in [record.tx.unwrap(), record.rx.unwrap()] {
        let clock = report.clock.unwrap();
        let ns = clock.end.raw_ns - clock.start.raw_ns;
        // The trial lasted its duration by the kernel's clock; with DPDK's frequency it would have ended 4 ms
        // early.
        assert!(ns as f64 >= LONG_S * 1e9 * (1.0 - 100e-6), "{clock:?}");
        let hz = (clock.end.ticks - clock.start.ticks) as f64 * 1e9 / ns as f64;
        assert!((hz / clock.rate.measured_hz as f64 - 1.0).abs() < 50e-6, "{clock:?}");
        assert!(clock.start.raw_ns <= report.started_ns && report.started_ns < report.ended_ns);
    }
    assert_offered_or_explained(trial, LONG_S, 0.001);
    let environment = std::fs::read_to_string(directory.join("environment.json")).unwrap();
    assert!(environment.contains(&told), "{environment}");
    let mut report = Command::new(env!("CARGO_BIN_EXE_linerate"));
    report.args(["results", "report", &summary.experiment.id, "--format", "html,md", "--to"]);
    report.arg(bench.path("reports")).arg("--results").arg(bench.path("results"));
    let output = report.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let reports: Vec<_> = std::fs::read_dir(bench.path("reports")).unwrap().collect();
    assert_eq!(reports.len(), 2);
    for file in reports {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("ppm") && text.contains("stated by DPDK"), "{text}");
        assert!(text.contains("lcore that waited longest for a CPU"), "{text}");
    }
}
