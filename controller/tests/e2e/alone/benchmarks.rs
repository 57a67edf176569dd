//! Benchmarks behind a rate search, on real paths with known limits, buffers and outages. What is asserted holds on
//! a machine of any speed: a load that was not offered may leave a benchmark without a verdict.

use linerate_results::summary::{Summary, TrialSummary};
use linerate_search::methods::{
    BackToBackConclusion, BurstStatus, Conclusion, Criterion, Partial, RecoveryTime, StepVerdict,
};

use crate::bridge::BridgedPath;
use crate::searches::{QUICK, found, service, summary_of};
use crate::support::{Bench, linerate, stderr, stdout};

/// Packets per second that a path lets pass, and packets beyond that it lets pass at once.
const LIMIT_PPS: f64 = 20_000.0;
const BUCKET: f64 = 1_000.0;
/// Duration of the steps of loss curves and services.
const STEP_S: f64 = 0.5;

fn run(path: &BridgedPath, bench: &Bench) -> Summary {
    summary_of(bench, &path.run(bench))
}

#[test]
fn benchmarks_behind_a_search_find_the_limit_of_a_path() {
    let Some(path) = BridgedPath::new("benchmarks_behind_a_search_find_the_limit_of_a_path") else { return };
    path.filter("near1", "limit rate over 20000/second burst 1000 packets drop");
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [128]}}
  search:
    goals: [{QUICK}]
    load: {{min: 5kpps, max: 40kpps}}
    warmUp: 0s
    then:
      - latency: {{of: 10kpps, at: [100%, 50%], duration: 300ms, repeats: 2}}
      - lossCurve: {{step: 10%, duration: 500ms}}
      - recovery: {{of: 20kpps, overload: 500ms, after: 500ms}}
      - service: {{cir: 10kpps, eir: 10kpps, steps: [50%, 100%], policing: true, stepDuration: 500ms, performance: 500ms, loss: 5%, tolerance: 10%}}
      - service: {{cir: 40kpps, steps: [100%], stepDuration: 500ms, performance: 500ms}}
      - backToBack: {{of: 20kpps, searches: 1}}\n"
    ));
    let summary = run(&path, &bench);
    assert_eq!((summary.searches.len(), summary.searches[0].then.len()), (1, 6));

    let Some(Conclusion::Latency(latency)) = &found(&summary, "latency").conclusion else { panic!() };
    assert_eq!((latency.throughput_pps, latency.at.len()), (10_000, 2));
    assert!(latency.at.iter().all(|at| at.trials == 2 && at.delays.len() == 2), "{latency:?}");
    assert_eq!(latency.at[1].name, "latency at 50 % of 10kpps");

    let Some(Conclusion::LossCurve(curve)) = &found(&summary, "lossCurve").conclusion else { panic!() };
    assert_eq!((curve.max_load_pps, curve.points[1].load_pps), (40_000, 36_000));
    assert!(curve.partial.contains(&Partial::NotFromMaximum), "an af_packet port reports no speed");
    // What was offered and exceeds rate and bucket of the filter is lost.
    for point in curve.points.iter().filter(|point| point.unsent_packets == 0) {
        let least = 1.0 - (LIMIT_PPS + BUCKET / STEP_S) / point.load_pps as f64;
        assert!(point.loss_ratio >= least - 0.04, "{least}: {point:?}");
    }

    let Some(Conclusion::Recovery(recovery)) = &found(&summary, "recovery").conclusion else { panic!() };
    assert_eq!((recovery.overload_pps, recovery.after_pps), (22_000, 11_000));

    let services: Vec<_> =
        summary.searches[0].then.iter().filter(|follow| follow.name == "service").collect();
    let passes = service(services[0]);
    let loads: Vec<u64> = passes.steps.iter().map(|step| step.load_pps).collect();
    assert_eq!(loads[..4], [5_000, 10_000, 20_000, 22_500]);
    // A sender that was held up did not offer the load, and catches up faster than the filter allows.
    for step in passes.steps.iter().filter(|step| step.verdict == StepVerdict::Fail) {
        assert!(
            step.sent_packets as f64 > LIMIT_PPS * STEP_S || step.load_pps as f64 >= LIMIT_PPS,
            "{step:?}"
        );
    }
    if passes.steps.iter().all(|step| step.verdict == StepVerdict::Pass) {
        assert_eq!(
            (passes.configuration, passes.performance),
            (Some(StepVerdict::Pass), Some(StepVerdict::Pass))
        );
    }
    // Twice the limit is lost to a half; without the load, no verdict says anything. A sender that is held up ends late: more passes meanwhile.
    let fails = service(services[1]);
    assert!((passes.deviations.len(), fails.steps.len()) >= (3, 1), "{fails:?}");
    let step = &fails.steps[0];
    if step.sent_packets as f64 > 1.2 * (LIMIT_PPS * STEP_S + BUCKET) {
        assert_eq!(
            (step.verdict, fails.configuration, fails.performance),
            (StepVerdict::Fail, Some(StepVerdict::Fail), None)
        );
        let loss = step.findings.iter().find(|one| one.criterion == Criterion::LossRatio).unwrap();
        assert!(loss.reason.ends_with("packets lost, 0 % allowed"), "{loss:?}");
    }

    // The highest load is given, so no trial has measured the rate at which bursts leave.
    let follow = &summary.searches[0].then[5];
    assert!(!follow.complete && follow.conclusion.is_none(), "{follow:?}");
    assert!(follow.reason.as_ref().unwrap().contains("leave spec.search.load.max out"), "{follow:?}");

    // Tables, reports and exports have them.
    let results = bench.path("results");
    let of = |command: &str, options: &[&str]| {
        let place = ["--results", results.to_str().unwrap()];
        let output = linerate(&[&["results", command, &summary.experiment.id], options, &place].concat());
        assert!(output.status.success(), "{command}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    };
    let shown = of("show", &[]);
    for part in ["latency at 50 % of 10kpps", "frame loss rate: partial range", "service activation (Y.1564)"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    of("export", &["--format", "summary"]);
    of("report", &["--format", "html", "--to", bench.path("reports").to_str().unwrap()]);
    let report = format!("linerate-{}.html", summary.experiment.id);
    let text = std::fs::read_to_string(bench.path("reports").join(report)).unwrap();
    for part in ["Steps of the service activation test", "Frame loss rate", "deviates from ITU-T Y.1564"] {
        assert!(text.contains(part), "{part}");
    }
}

/// Trials of bursts: what passes is the buffer and what leaves it meanwhile, whatever speed the burst has.
fn assert_buffer(summary: &Summary, frames: f64, limit_pps: f64) -> BackToBackConclusion {
    let Some(Conclusion::BackToBack(burst)) = &found(summary, "backToBack").conclusion else { panic!() };
    let bursts: Vec<&TrialSummary> =
        summary.trials.iter().filter(|trial| trial.intended_pps.is_none() && trial.repeat > 1).collect();
    assert!(bursts.len() >= 5, "{}", bursts.len());
    for trial in &bursts {
        let passed = trial.received_packets as f64;
        let most = 1.05 * (frames + limit_pps * trial.duration_s) + 1.0;
        assert!(passed <= most, "{passed} of {most}: {trial:?}");
        if trial.lost_packets > 0 {
            assert!(passed >= 0.9 * frames, "{passed} of {frames}: {trial:?}");
        }
    }
    assert!(matches!(burst.status, BurstStatus::Valid | BurstStatus::TesterLimited), "{burst:?}");
    assert!(burst.theoretical_is_measured && burst.theoretical_pps > limit_pps, "{burst:?}");
    assert!(burst.min_frames.unwrap() as f64 >= 0.9 * frames - burst.step_frames as f64, "{burst:?}");
    burst.clone()
}

#[test]
fn the_longest_burst_is_the_bucket_of_a_filter() {
    let test = "the_longest_burst_is_the_bucket_of_a_filter";
    let Some(path) = BridgedPath::new(test).and_then(|path| path.for_bursts(test)) else { return };
    path.filter("near1", "limit rate over 20000/second burst 1000 packets drop");
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [128]}}
  search:
    goals: [{QUICK}]
    load: {{min: 5kpps}}
    warmUp: 0s
    then: [{{backToBack: {{of: 20kpps, searches: 2, min: 100, max: 20000, step: 50, wait: 100ms}}}}]\n"
    ));
    let summary = run(&path, &bench);
    let burst = assert_buffer(&summary, BUCKET, LIMIT_PPS);
    assert_eq!((burst.searches.len(), burst.throughput_pps), (2, 20_000));
}

#[test]
fn the_longest_burst_fills_the_queue_of_a_shaped_link() {
    let test = "the_longest_burst_fills_the_queue_of_a_shaped_link";
    let Some(path) = BridgedPath::new(test).and_then(|path| path.for_bursts(test)) else { return };
    // A frame of 512 bytes counts 508 here, without its check sequence: 20,000 a second.
    let rate = (20_000 * 508 * 8).to_string() + "bit";
    let shape =
        ["qdisc", "add", "dev", "far1", "root", "tbf", "rate", &rate, "burst", "50kb", "limit", "100kb"];
    path.succeed("tc", &shape);
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [512]}}
  search:
    goals: [{QUICK}]
    load: {{min: 5kpps}}
    warmUp: 0s
    then: [{{backToBack: {{of: 20kpps, searches: 1, min: 50, max: 10000, step: 20, wait: 100ms}}}}]\n"
    ));
    let summary = run(&path, &bench);
    // Bucket and queue hold whole frames.
    assert_buffer(&summary, 150.0 * 1024.0 / 508.0, LIMIT_PPS);
}

/// Packets that a path of [`outages`] loses in each outage.
const OUTAGE: u64 = 256;

/// Loses the packets of a trial from 2560 and from 5632 on, 256 each: sequence numbers by their second lowest byte, which
/// lies 13 bytes behind the beginning of the UDP header.
fn outages(path: &BridgedPath) {
    path.filter("near1", "udp dport >= 1024 @th,112,16 0 @th,104,8 { 10, 22 } drop");
}

#[test]
fn soak_and_recovery_tell_when_a_path_lost_packets() {
    let Some(path) = BridgedPath::new("soak_and_recovery_tell_when_a_path_lost_packets") else { return };
    outages(&path);
    // Trials of the search are shorter than the packets before the first outage.
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [128]}}
  search:
    goals: [{QUICK}]
    load: {{min: 1kpps, max: 4kpps}}
    warmUp: 0s
    then:
      - soak: {{of: 5120pps, duration: 3s}}
      - recovery: {{of: 5120pps, overload: 1s, after: 1s}}\n"
    ));
    let summary = run(&path, &bench);
    let Some(Conclusion::Soak(soak)) = &found(&summary, "soak").conclusion else { panic!() };
    assert_eq!((soak.load_name.as_str(), soak.lost_packets), ("100% of 5120pps", Some(2 * OUTAGE)));
    let losses = soak.losses.unwrap();
    assert_eq!((losses.interval_ns, losses.unplaced), (10_000_000, 0), "{losses:?}");
    // From 0.5 s to 1.15 s; a sender that is held up sends later, never earlier.
    let (first, last) = (losses.first_ns.unwrap(), losses.last_ns.unwrap());
    assert!(first >= 499_000_000 && last >= first + 600_000_000 && losses.intervals >= 2, "{losses:?}");

    // The load steps down at packet 5632: the path goes on losing for 256 packets of the lower load, 90.9 ms.
    let Some(Conclusion::Recovery(recovery)) = &found(&summary, "recovery").conclusion else { panic!() };
    assert_eq!((recovery.overload_pps, recovery.after_pps), (5_632, 2_816));
    assert_eq!(recovery.trials[0].lost_packets, 2 * OUTAGE);
    match recovery.trials[0].recovery {
        RecoveryTime::Known { ns } => assert!(ns >= 89_000_000, "{recovery:?}"),
        RecoveryTime::NotOffered | RecoveryTime::NotRecovered => {}
        other => panic!("{other:?}: {recovery:?}"),
    }
}
