//! Time: the counter is measured, also when DPDK states a wrong frequency; the time that a CPU quota takes is reported.
use crate::common::cpu_quota::CpuQuota;
use crate::common::wrong_clock::wrong_clock;
use crate::common::{eal, json, not_run, number, run, stderr, with_cpus};
use serde_json::Value;

const PPS: u64 = 10_000;
const SECONDS: u64 = 3;

fn reading(report: &Value, end: &str) -> (u64, u64) {
    let reading = &report["clock"][end];
    (number(reading, "ticks"), number(reading, "raw_ns"))
}

/// The counter's frequency by the report's own readings, and the nanoseconds between them.
fn measured(report: &Value) -> (f64, u64) {
    let ((start_ticks, start_ns), (end_ticks, end_ns)) = (reading(report, "start"), reading(report, "end"));
    let ns = end_ns - start_ns;
    ((end_ticks - start_ticks) as f64 * 1e9 / ns as f64, ns)
}

#[test]
fn loads_and_durations_are_right_although_dpdk_states_a_wrong_frequency() {
    let directory = tempfile::tempdir().unwrap();
    // Too low: who believed it would send too fast and end too early, which no delay of the machine can hide.
    let library = wrong_clock(directory.path(), 998);
    let packets = PPS * SECONDS;
    for limit in [format!("--duration {SECONDS}s"), format!("--packets {packets}")] {
        let mut command = with_cpus(
            &eal(0, &["net_null0"]),
            &format!("tx --peer-mac 02:00:00:00:00:02 --rate {PPS}pps {limit} --quiet --json"),
        );
        let output = run(command.env("LD_PRELOAD", &library));
        let report = json(&output);
        let rate = &report["clock"]["rate"];
        let (stated, taken) = (number(rate, "told_hz"), number(rate, "measured_hz") as f64);
        let difference_ppm = rate["difference_ppm"].as_f64().unwrap();
        // DPDK itself rounds to 10 MHz: the stated frequency has both errors.
        assert!((difference_ppm - (stated as f64 / taken - 1.0) * 1e6).abs() < 1.0, "{report}");
        assert!(difference_ppm.abs() > 100.0, "{report}");

        let (hz, ns) = measured(&report);
        assert!((hz / taken - 1.0).abs() < 20e-6, "{hz} {report}");
        // The kernel's clock, not the counter: the trial took its time.
        assert!(ns as f64 >= SECONDS as f64 * 1e9 * (1.0 - 50e-6), "{ns} ns: {report}");
        assert_eq!(number(&report, "sent_packets") + number(&report, "forgone_packets"), packets, "{report}");
        let duration = report["duration_s"].as_f64().unwrap();
        assert!(duration >= SECONDS as f64 * (1.0 - 50e-6), "{report}");

        let notes = report["notes"].to_string();
        assert!(
            notes.contains("DPDK states a wrong frequency") && notes.contains(&stated.to_string()),
            "{notes}"
        );
        let log = stderr(&output);
        assert!(log.contains(&format!("{stated} Hz stated by DPDK")) && log.contains("Hz measured"), "{log}");
    }
}

#[test]
fn stated_and_measured_frequency_of_this_machine_are_in_the_report_and_in_the_log() {
    let command = "tx --peer-mac 02:00:00:00:00:02 --rate 1kpps --duration 200ms --quiet --json";
    let output = run(&mut with_cpus(&eal(0, &["net_null0"]), command));
    let report = json(&output);
    let rate = &report["clock"]["rate"];
    let (stated, taken) = (number(rate, "told_hz"), number(rate, "measured_hz"));
    let uncertainty_ppm = rate["uncertainty_ppm"].as_f64().unwrap();
    assert!(uncertainty_ppm > 0.0 && uncertainty_ppm < 50.0, "{rate}");
    let (hz, _) = measured(&report);
    assert!((hz / taken as f64 - 1.0).abs() < 100e-6, "{hz} {rate}");
    let is_wrong = rate["difference_ppm"].as_f64().unwrap().abs() > 50.0 + uncertainty_ppm;
    assert_eq!(report["notes"].to_string().contains("wrong frequency"), is_wrong, "{report}");
    assert!(stderr(&output).contains(&format!("{stated} Hz stated by DPDK")), "{}", stderr(&output));
    let worker = &report["workers"][0];
    assert_eq!(worker["lcore"], 1, "{report}");
    assert!(worker["elapsed_s"].as_f64().unwrap() >= 0.199, "{worker}");
    assert!(worker["off_cpu_s"].as_f64().unwrap() >= 0.0, "{worker}");
}

#[test]
fn a_quota_that_stops_a_spinning_worker_is_named_and_a_sleeping_one_holds_its_rate() {
    let name = "a_quota_that_stops_a_spinning_worker_is_named_and_a_sleeping_one_holds_its_rate";
    // A tenth of a CPU is used up by a worker that spins, whatever else the machine does.
    let (Some(tenth), Some(half)) = (CpuQuota::new("tenth", 100), CpuQuota::new("half", 500)) else {
        return not_run(name, "this user may not make a control group with a CPU quota");
    };
    for (idle, own, quota, cpus) in [("spin", "--idle spin", &tenth, "0.1"), ("sleep", "", &half, "0.5")] {
        let command =
            format!("tx --peer-mac 02:00:00:00:00:02 --rate 20kpps --duration 2s --quiet --json {own}");
        let output = run(&mut quota.around(&with_cpus(&eal(0, &["net_null0"]), &command)));
        let (report, log) = (json(&output), stderr(&output));
        assert!(log.contains(&format!("lcores {idle}")) && log.contains(&format!("{cpus} CPUs")), "{log}");
        let all = number(&report, "sent_packets") + number(&report, "unsent_packets");
        assert_eq!(all + number(&report, "forgone_packets"), 40_000, "{report}");
        let held = report["offered_pps"].as_f64().unwrap() >= 0.99 * 20_000.0;
        let notes = report["notes"].to_string();
        if idle == "spin" {
            assert!(!held && notes.contains("CPU quota of 0.10 CPUs stopped it"), "{report}");
            assert!(report["throttling"]["stopped_s"].as_f64().unwrap() > 0.5, "{report}");
            assert!(number(&report["throttling"], "periods") > 5, "{report}");
        }
        // A worker that sleeps keeps within its quota; what is missing then, others took, and the note says so.
        assert!(held || notes.contains("waited for CPU") || notes.contains("CPU quota"), "{report}");
    }
}
