//! Load over time, by the times of a capture.
use std::time::Duration;

use crate::common::not_run;
use crate::common::recording::Capture;

#[test]
fn a_ramp_accounts_for_every_intended_packet_and_rises() {
    let capture =
        Capture::of_profile("{stages: [{rate: 500pps, to: 7500pps, duration: 1s}]}", "--duration 1s");
    accounted(&capture, 4000);
    if capture.number("forgone_packets") > 1000 {
        return not_run("a_ramp_rises", "this machine was too busy to send three quarters of the packets");
    }
    let departures = capture.departures();
    let early = departures.iter().filter(|at| **at < Duration::from_millis(500)).count();
    let late = departures.len() - early;
    // 1125 and 2875 by the schedule.
    assert!(late as f64 > 1.5 * early as f64, "{early} frames in the first half, {late} in the second");
}

#[test]
fn the_last_stage_stays() {
    let capture = Capture::of_profile(
        "{stages: [{rate: 2000pps, duration: 200ms}, {rate: 2000pps, to: 4000pps, duration: 300ms}]}",
        "--duration 1s",
    );
    accounted(&capture, 400 + 900 + 2000);
}

/// Everything intended was sent, or is reported as not sent.
fn accounted(capture: &Capture, intended: u64) {
    let pps = capture.report["intended_pps"].as_f64().unwrap();
    let seconds = capture.report["duration_s"].as_f64().unwrap();
    assert_eq!((pps * seconds).round() as u64, intended, "{}", capture.report);
    let parts = ["sent_packets", "unsent_packets", "forgone_packets"].map(|field| capture.number(field));
    assert_eq!(parts.iter().sum::<u64>(), intended, "{parts:?}");
    assert!(parts[0] > 0, "{parts:?}");
}

#[test]
fn packets_of_a_burst_leave_together() {
    let capture = Capture::of("--burst 32 --rate 640pps --packets 640");
    let departures = capture.departures();
    let gaps: Vec<Duration> = departures.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    let (mut between, mut within) = (Vec::new(), Vec::new());
    for (i, gap) in (1..).zip(gaps) {
        if i % 32 == 0 { between.push(gap) } else { within.push(gap) }
    }
    between.sort_unstable();
    within.sort_unstable();
    assert_eq!((between.len(), within.len()), (19, 20 * 31));
    // 50 ms by the schedule; a busy machine may hold some of them up.
    assert!(between[9] > Duration::from_millis(20), "between bursts: {between:?}");
    assert!(within[620 * 9 / 10] < Duration::from_millis(2), "within bursts: {:?}", &within[500..]);
    assert_eq!(capture.number("sent_packets"), 640);
}
