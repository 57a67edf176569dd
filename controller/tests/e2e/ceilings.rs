//! Ceilings on the local platform with real agents: they come from the document, the command line and the
//! environment, and the lowest one applies.

use std::process::Output;
use std::time::Duration;

use crate::support::{Bench, stderr, until};
use linerate_results::summary::Status;
use rustix::process::Signal;

const MOMENT: Duration = Duration::from_secs(2);
/// Destinations other than the defaults of a profile.
const SLOW: &str = "  traffic: {frameSizes: [128], rates: [500pps], destination: {ip: 10.9.0.1, port: 9}}
  trial: {duration: 400ms, sampleInterval: 100ms}
";

fn run(bench: &Bench, environment: &[(&str, &str)]) -> Output {
    bench.command(&["--quiet", "--json"]).envs(environment.iter().copied()).output().unwrap()
}

fn works(bench: &Bench, environment: &[(&str, &str)]) {
    let output = run(bench, environment);
    assert!(output.status.success(), "{environment:?}: {}", stderr(&output));
    bench.assert_nothing_left(MOMENT);
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Complete, 1));
    let trial = &summary.trials[0];
    assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
    assert_eq!(trial.lost_packets, 0, "{trial:?}");
    assert!(summary.warm_up.iter().all(|warm_up| warm_up.received_packets > 0), "{:?}", summary.warm_up);
}

#[test]
fn warm_up_keeps_to_the_ceilings_of_the_environment() {
    let bench = Bench::new(SLOW);
    let ceilings = [
        ("LINERATE_MAX_DURATION", "60s"),
        ("LINERATE_MAX_RATE", "600pps"),
        ("LINERATE_ALLOW", "10.9.0.0/16"),
    ];
    works(&bench, &ceilings);
}

#[test]
fn warm_up_keeps_to_the_ceilings_of_the_document_and_agents_know_them() {
    let bench =
        Bench::new(&format!("{SLOW}  safety: {{maxRate: 600pps, maxDuration: 400ms, allow: [10.9.0.1]}}\n"));
    works(&bench, &[]);
    for agent in bench.summary().unwrap().experiment.agents {
        let line = agent.command_line.join(" ");
        assert!(line.contains("--max-rate 600pps --max-duration 400ms --allow 10.9.0.1/32"), "{line}");
    }
}

#[test]
fn the_tightest_ceiling_refuses_before_anything_starts() {
    let wide = "  safety: {maxRate: 1kpps, maxDuration: 1m}\n";
    // (more of the document, options, environment, expected message)
    for (more, options, environment, expected) in [
        (
            "  safety: {maxRate: 400pps}\n",
            &[][..],
            &[][..],
            "exceeds the ceiling of 400 (spec.safety.maxRate 400pps)",
        ),
        (wide, &[], &[("LINERATE_MAX_RATE", "400pps")], "(LINERATE_MAX_RATE 400pps)"),
        (
            "  safety: {maxRate: 400pps}\n",
            &[],
            &[("LINERATE_MAX_RATE", "1kpps")],
            "spec.safety.maxRate 400pps",
        ),
        (wide, &["--max-rate", "300pps"], &[], "exceeds the ceiling of 300"),
        (wide, &["--max-duration", "399ms"], &[], "of 400ms exceeds the ceiling of 399ms"),
        (wide, &["--allow", "192.168.0.0/16,10.8.0.0/16"], &[], "10.9.0.1 to 10.9.0.1 do not lie within"),
        (
            wide,
            &["--set", "spec.traffic.burst=50"],
            &[],
            "bursts of 50 packets exceed the 11 that the ceiling",
        ),
    ] {
        let bench = Bench::new(&format!("{SLOW}{more}"));
        let output = bench.command(options).envs(environment.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "'{expected}' is not in: {}", stderr(&output));
        assert!(bench.summary().is_none(), "{more} {options:?}");
        let mut dry = bench.command(&[options, &["--dry-run"]].concat());
        assert_eq!(dry.envs(environment.iter().copied()).status().unwrap().code(), Some(2));
    }
    let output = run(&Bench::new(SLOW), &[("LINERATE_MAX_DURATION", "soon")]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("environment variable LINERATE_MAX_DURATION: 'soon'"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_load_in_percent_is_refused_when_the_link_is_known() {
    let bench = Bench::new(
        "  traffic: {frameSizes: [64], rates: [10%]}\n  trial: {duration: 400ms}\n  safety: {maxRate: 1kpps}\n",
    );
    let output = run(&bench, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("exceeds the ceiling of 1000"), "{}", stderr(&output));
    bench.assert_nothing_left(MOMENT);
    let summary = bench.summary().unwrap();
    assert!(summary.warm_up.is_empty() && summary.trials.is_empty(), "nothing was sent");
}

/// net_null receives endless frames of zeros, and discards sent ones.
const NOWHERE: &str = "{hugepages: never, devices: [{tx: 'net_null0', rx: 'net_null0'}]}";

#[test]
fn a_failed_warm_up_reports_what_arrived() {
    let bench = Bench::new("  trial: {duration: 400ms, warmUp: {timeout: 700ms}}\n");
    let output = bench.run(&["--set", &format!("spec.local={NOWHERE}"), "--rate", "1kpps", "--quiet"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    // Of 64 packets; a busy machine may send fewer in that time.
    for part in [
        "warm-up of tx0-rx0: none of the ",
        " packets of tx0 reached rx0",
        "rx0 received instead: ",
        " other frames",
    ] {
        assert!(said.contains(part), "'{part}' is not in: {said}");
    }
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn a_warm_up_ends_on_request() {
    let bench = Bench::new("  trial: {duration: 400ms, warmUp: {timeout: 10m}}\n");
    let options = ["--set", &format!("spec.local={NOWHERE}"), "--rate", "1kpps", "--quiet"];
    let running = bench.start_with(&options);
    until("the agents run", || bench.processes().len() >= 3);
    std::thread::sleep(Duration::from_secs(2));
    running.signal(Signal::INT);
    let output = running.end_within(Duration::from_secs(60));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(bench.summary().unwrap().status, Status::Interrupted);
    bench.assert_nothing_left(MOMENT);
}
