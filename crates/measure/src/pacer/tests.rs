//! The schedule, the spacing and the bounds, on a clock of whole nanoseconds.

use super::super::ceiling::shares;
use super::*;

const HZ: u64 = 1_000_000_000;
/// Ticks between two polls of a schedule.
const POLL: u64 = 1_000;

fn steady(pps: f64, now: u64) -> Pacer {
    Pacer::new(&Load::steady(pps), HZ, now)
}

/// Sends the packets due every `step` ticks until `end`; returns the packets and the largest number due at
/// once.
fn run(pacer: &mut Pacer, from: u64, end: u64, step: u64) -> (u64, u64) {
    let (mut sent, mut largest) = (0, 0);
    for now in (from..end).step_by(step as usize) {
        let due = pacer.due(now);
        pacer.took(due);
        sent += due;
        largest = largest.max(due);
    }
    (sent, largest)
}

#[test]
fn the_average_is_exact_from_one_packet_per_second_to_many() {
    for (pps, step) in [(1.0, 1_000_000), (3.0, 999_983), (1000.0, 10_000), (1.234_567e6, 700), (20e6, 1000)]
    {
        let mut pacer = steady(pps, 5);
        let (sent, _) = run(&mut pacer, 5, 5 + 2 * HZ, step);
        assert!((sent as f64 - 2.0 * pps).abs() <= 1.0 + pps * step as f64 / HZ as f64, "{pps}: {sent}");
        assert_eq!(pacer.scheduled_before(5 + 2 * HZ), (2.0 * pps) as u64);
    }
}

#[test]
fn the_first_packet_is_due_at_once_and_the_second_one_interval_later() {
    let mut pacer = steady(10.0, 1000);
    assert_eq!(pacer.due(1000), 1);
    pacer.took(1);
    assert_eq!(pacer.due(1000 + HZ / 10 - 1), 0);
    assert_eq!(pacer.due(1000 + HZ / 10), 1);
}

#[test]
fn a_stall_of_milliseconds_is_paid_at_once_up_to_the_bound_and_then_slowly() {
    let mut pacer = steady(1e5, 0);
    let stalled = HZ / 100;
    run(&mut pacer, 0, stalled, 10_000);
    // A stall of 10 ms: 1,000 packets of debt. 512 leave at once, the others at 10 % above the rate within 49
    // ms.
    let (first, _) = run(&mut pacer, stalled + 10_000_000, stalled + 10_000_001, 1);
    assert_eq!(first, 512);
    let (sent, largest) = run(&mut pacer, stalled + 10_010_000, stalled + HZ / 15, 10_000);
    assert!(largest <= 2, "{largest}");
    assert!(((first + sent) as i64 - 6_667).abs() <= 2, "{sent}");
}

#[test]
fn no_stretch_of_time_has_more_than_the_bound() {
    for (pps, depth) in [(1e3, 10), (5e3, 50), (50e3, 500), (1e6, 512), (20e6, 512)] {
        let mut pacer = steady(pps, 0);
        let mut departures = Vec::new();
        // Stalls of 7 ms, shortly after one another, with polls 5 µs apart in between.
        let mut now = 0;
        while now < HZ {
            let due = pacer.due(now);
            pacer.took(due);
            departures.push((now, due));
            now += if now % 11_000_000 < 5_000 { 7_000_000 } else { 5_000 };
        }
        for (from, (start, _)) in departures.iter().enumerate().step_by(97) {
            let mut packets = 0;
            for (at, due) in departures[from..].iter().take(400) {
                packets += due;
                let most = 1.1 * pps * (at - start) as f64 / HZ as f64 + f64::from(depth) + 1.0;
                assert!(packets as f64 <= most, "{pps}: {packets} from {start} to {at}");
            }
        }
    }
}

#[test]
fn a_worker_that_has_every_other_turn_of_4_ms_holds_its_rate() {
    for pps in [1e3, 5e3, 20e3, 50e3] {
        let mut pacer = steady(pps, 0);
        let mut sent = 0;
        for turn in 0..125u64 {
            sent += run(&mut pacer, turn * 8_000_000, turn * 8_000_000 + 4_000_000, POLL).0;
        }
        // Only the debt of the last stall is missing.
        let missing = pps - sent as f64;
        assert!((0.0..=pps * 0.004 + 1.0).contains(&missing), "{sent} of {pps}");
    }
}

#[test]
fn a_long_stall_is_forgiven() {
    let mut pacer = steady(1e4, 0);
    let (before, _) = run(&mut pacer, 0, HZ / 10, 10 * POLL);
    let (after, largest) = run(&mut pacer, HZ / 10 + 3 * HZ, 5 * HZ, 10 * POLL);
    assert!(largest <= 100, "{largest}");
    // 1.9 s at the rate, and at most 100 ms of debt.
    let within_two_polls = 2 + POLL as i64 / 5_000;
    assert!((after as i64 - 20_000).abs() <= within_two_polls, "{after}");
    let forgone = pacer.scheduled_before(5 * HZ) - before - after;
    assert!((forgone as i64 - 29_000).abs() <= within_two_polls, "{forgone}");
}

#[test]
fn an_absurd_rate_is_only_fast() {
    let mut pacer = steady(1e300, 0);
    for now in [0, HZ, u64::MAX] {
        assert!(pacer.due(now) <= 512);
    }
}

#[test]
fn load_follows_its_stages_and_then_stays() {
    let stages = vec![stage(1e4, 1e4, 1.0), stage(1e4, 3e4, 2.0), stage(5e3, 5e3, 0.5)];
    let load = Load::Stages { stages, burst: 1 };
    let half = load.clone().share(0.5);
    assert_eq!((load.mean_pps(Some(2.0)), half.mean_pps(None)), (12_500.0, 5_000.0));
    let mut pacer = Pacer::new(&load, HZ, 0);
    let mut sent = Vec::new();
    for second in 0..5u64 {
        sent.push(run(&mut pacer, second * HZ, (second + 1) * HZ, 10 * POLL).0 as i64);
    }
    for (sent, expected) in sent.iter().zip([10_000i64, 15_000, 25_000, 5_000, 5_000]) {
        let within_a_poll = 2 + 3 * POLL as i64 / 10_000;
        assert!((sent - expected).abs() <= within_a_poll, "{sent} for {expected}");
    }
    assert_eq!(pacer.scheduled_before(3 * HZ), 50_000);
}

#[test]
fn the_mean_of_a_load_ends_with_its_last_packet() {
    let limit = |packets, duration_ms| Limit { packets, duration_ms };
    let of = |load: &Load, packets, ms| load.mean_pps_within(&limit(packets, ms), 1);
    // 1000 t + 4500 t² packets after t seconds, and 19,000 a second after two.
    let rising = Load::Stages { stages: vec![stage(1e3, 19e3, 2.0)], burst: 1 };
    let falling = Load::Stages { stages: vec![stage(19e3, 1e3, 2.0)], burst: 1 };
    let then_rests = Load::Stages { stages: vec![stage(100.0, 100.0, 1.0), stage(0.0, 0.0, 1.0)], burst: 1 };
    // 0, 1 and 2 ms, 100 ms; then, after the mean of 33.3 ms, again.
    let recorded = Load::Recorded(vec![0.0, 0.001, 0.002, 0.1]);
    for (load, packets, ms, seconds) in [
        (&rising, Some(20_001), None, 2.0),
        (&rising, Some(39_001), None, 3.0),
        (&rising, Some(5_001), Some(2_000), (91e6f64.sqrt() - 1e3) / 9e3),
        (&rising, Some(30_000), Some(2_000), 2.0),
        (&rising, None, Some(1_000), 1.0),
        // 19,000 t - 4500 t²
        (&falling, Some(14_501), None, 1.0),
        (&then_rests, Some(101), None, 1.0),
        (&then_rests, Some(1_000), Some(2_000), 2.0),
        (&recorded, Some(3), None, 0.002),
        (&recorded, Some(4), None, 0.1),
        (&recorded, Some(7), None, 0.1 + 0.1 / 3.0 + 0.002),
    ] {
        let mean = load.mean_pps(Some(seconds));
        let found = of(load, packets, ms);
        assert!((found - mean).abs() < 1e-6 * mean, "{packets:?} {ms:?}: {found}, not {mean}");
    }
    // Two workers with bursts of 50 send their last bursts together, at once behind the first second.
    let steps = Load::Stages { stages: vec![stage(1e3, 1e3, 1.0), stage(10.0, 10.0, 100.0)], burst: 50 };
    let found = steps.mean_pps_within(&limit(Some(1_100), None), 100);
    assert!((found - 1e3).abs() < 1e-3, "{found}");
    let steady = Load::steady(1e3);
    assert_eq!([of(&steady, Some(10), None), of(&steady, Some(10), Some(1_000))], [1e3; 2]);
    assert!(of(&rising, Some(1), None).is_finite());
}

#[test]
fn bursts_leave_whole_and_the_average_stays() {
    let stages = vec![StageRates::steady(1000.0)];
    let mut pacer = Pacer::new(&Load::Stages { stages, burst: 32 }, HZ, 0);
    let (mut sent, mut sizes) = (0, std::collections::BTreeSet::new());
    for now in (0..HZ / 5).step_by(50_000) {
        let due = pacer.due(now);
        pacer.took(due);
        sent += due;
        sizes.insert(due);
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [0, 32]);
    assert_eq!((sent, pacer.scheduled_before(HZ / 5)), (224, 224));
}

#[test]
fn recorded_packets_leave_at_their_times_and_again() {
    // 0, 1 and 1 ms, 5 ms; then, after the mean of 5/3 ms, again.
    let load = Load::Recorded(vec![0.0, 0.001, 0.001, 0.005]);
    let mut pacer = Pacer::new(&load, HZ, 0);
    let mut departures = Vec::new();
    for now in (0..20_000_000u64).step_by(10_000) {
        let due = pacer.due(now);
        pacer.took(due);
        departures.extend(std::iter::repeat_n(now / 10_000, due as usize));
    }
    // A packet leaves at the first poll after its time; the second of two simultaneous ones is due a tick
    // later.
    let first: Vec<u64> = vec![0, 100, 101, 500];
    assert_eq!(departures[..4], first);
    let round = 667;
    assert!(
        departures[4..8].iter().zip(&first).all(|(now, then)| now.abs_diff(then + round) <= 1),
        "{departures:?}"
    );
    assert!((load.mean_pps(None) - 600.0).abs() < 0.1, "{}", load.mean_pps(None));
    assert_eq!(pacer.scheduled_before(6_666_000), 4);
}

fn stage(from_per_s: f64, to_per_s: f64, seconds: f64) -> StageRates {
    StageRates { from_per_s, to_per_s, seconds }
}

/// Pseudo-random numbers, the same in every run.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[test]
fn a_debt_from_before_a_step_down_is_paid_and_no_more() {
    // (packets per second before and after one second, burst, stall in ms around the step, packets at the
    // first poll after it, forgiven)
    for (before, after, burst, stall_ms, first, forgiven) in [
        (1e6, 0.0, 1, (5, 0), 512, 0),
        (1e6, 1e3, 1, (5, 0), 512, 0),
        (1e6, 0.0, 1, (5, 5), 512, 0),
        (1e4, 0.0, 1, (9, 0), 90, 0),
        (1e4, 0.0, 1, (0, 20), 0, 0),
        (1e4, 1e2, 1, (9, 1), 90, 0),
        (1e4, 0.0, 32, (9, 0), 96, 0),
        // Half of the debt is older than 0.1 s.
        (1e4, 0.0, 1, (100, 50), 2, 500),
        (1e4, 0.0, 1, (50, 150), 0, 500),
        (1e4, 1.0, 1, (50, 150), 2, 498),
    ] {
        let load = Load::Stages { stages: vec![stage(before, before, 1.0), stage(after, after, 1.0)], burst };
        let mut pacer = Pacer::new(&load, HZ, 0);
        let (from, to) = (HZ - stall_ms.0 * 1_000_000, HZ + stall_ms.1 * 1_000_000);
        let (mut sent, _) = run(&mut pacer, 0, from, 1_000);
        let at_first = run(&mut pacer, to, to + 1, 1).0;
        sent += at_first + run(&mut pacer, to + 1_000, 2 * HZ, 1_000).0;
        let context = format!("{before} {after} {burst} {stall_ms:?}");
        assert!(at_first.abs_diff(first) <= 1, "{context}: {at_first}");
        let forgone = pacer.scheduled_before(2 * HZ).checked_sub(sent).expect(&context);
        assert!(forgone.abs_diff(forgiven) <= 2, "{context}: {forgone}");
        let intended = ((before + after) as u64).next_multiple_of(u64::from(burst));
        assert!(pacer.scheduled_before(2 * HZ).abs_diff(intended) <= 1, "{context}");
    }
}

#[test]
fn what_is_sent_and_what_is_forgiven_is_what_was_intended() {
    for seed in 0..300 {
        let mut number = numbers(seed);
        let rates = [0.0, 0.0, 1.0, 300.0, 1e4, 1e6];
        let mut rate = || rates[number(6) as usize];
        let mut stages: Vec<StageRates> = (0..5).map(|_| stage(rate(), rate(), 0.0)).collect();
        for stage in &mut stages {
            stage.seconds = (1 + number(80)) as f64 / 1e3;
            if number(3) > 0 {
                stage.to_per_s = stage.from_per_s;
            }
        }
        let burst = [1, 1, 7, 100][number(4) as usize];
        let load = Load::Stages { stages: stages.clone(), burst };
        let mut pacer = Pacer::new(&load, HZ, 5);
        let (mut now, mut sent, mut parts) = (5, 0, 0);
        while now < 5 + HZ / 2 {
            // The loop sends at most 64 packets at once.
            let due = pacer.due(now).min(64);
            pacer.took(due);
            sent += due;
            parts = (parts + due) % u64::from(burst);
            assert!(parts == 0 || due == 64, "seed {seed}: a part of a burst");
            now += if number(2_000) == 0 { number(200_000_000) } else { 1 + number(9_000) };
            let intended = pacer.scheduled_before(now);
            assert!(sent <= intended, "seed {seed}: {sent} of {intended} at {now}, {stages:?}");
            assert_eq!(intended % u64::from(burst), 0);
        }
    }
}

/// The most packets that leave within any `HZ / 100` ticks, from a departure (inclusive) to the end
/// (exclusive).
fn densest(departures: &[(u64, u64)]) -> u64 {
    let (mut first, mut within, mut most) = (0, 0, 0);
    for (at, packets) in departures {
        within += packets;
        while departures[first].0 + HZ / 100 <= *at {
            within -= departures[first].1;
            first += 1;
        }
        most = most.max(within);
    }
    most
}

#[test]
fn a_ceiling_holds_for_all_workers_and_late_packets() {
    for seed in 0..60 {
        let mut number = numbers(seed);
        let most = [1e3, 5e3, 2e4, 1e5][number(4) as usize];
        let burst = [1, 1, 4][number(3) as usize];
        let admitted = (most / 100.0) as u64 + 1;
        let peak = most * [1.0, 0.9, 0.5][number(3) as usize];
        let stages = vec![
            stage(peak, peak, 0.1),
            stage(0.0, 0.0, 0.05),
            stage(peak, 0.0, 0.1),
            stage(1.0, peak, 0.25),
        ];
        let (workers, shares) = (1..=4)
            .rev()
            .find_map(|n| Some((n, shares(admitted, burst, &vec![peak / n as f64; n])?)))
            .unwrap();
        let mut departures = Vec::new();
        let mut pacers: Vec<(Pacer, u64, u64)> = shares
            .iter()
            .map(|share| {
                let load = Load::Stages { stages: stages.clone(), burst }.share(1.0 / workers as f64);
                (Pacer::new(&load, HZ, 0).under(&[Ceiling::Packets(*share)]), 0, 0)
            })
            .collect();
        for (pacer, sent, now) in &mut pacers {
            while *now < HZ / 2 {
                let due = pacer.due(*now);
                pacer.took(due);
                *sent += due;
                // The port accepts the packets now or later.
                *now += number(3) * number(1_000_000);
                pacer.left(*now, due);
                departures.push((*now, due));
                *now += if number(300) == 0 { number(30_000_000) } else { 1_000 + number(20_000) };
            }
            assert!(*sent <= pacer.scheduled_before(*now));
        }
        departures.sort_unstable();
        let densest = densest(&departures);
        assert!(
            densest <= admitted,
            "seed {seed}: {densest} of {admitted}, {workers} workers, {most} {burst}"
        );
    }
}

#[test]
fn a_load_at_its_ceiling_is_offered_whole() {
    for (pps, step) in [(1e3, 1_000), (999.5, 7_001), (25e3, 1_000), (1e6, 300), (10e6, 100)] {
        let share = (pps / 100.0) as u64 + 1;
        let mut pacer = steady(pps, 0).under(&[Ceiling::Packets(share)]);
        let mut sent = 0;
        for now in (0..HZ).step_by(step) {
            let due = pacer.due(now);
            pacer.took(due);
            pacer.left(now, due);
            sent += due;
        }
        let intended = pacer.scheduled_before(HZ);
        assert!(intended - sent <= 1 + (pps * 1.1e-4) as u64, "{pps}: {sent} of {intended}");
    }
}

#[test]
fn a_ceiling_holds_a_recording_that_is_late() {
    // A packet per millisecond, under a ceiling in packets; polls pause for 50 ms.
    let load = Load::Recorded((0..100).map(|ms| f64::from(ms) / 1e3).collect());
    let times: std::sync::Arc<[u64]> = vec![1_000_000_000; 100].into();
    let mut pacer = Pacer::new(&load, HZ, 0).under(&[Ceiling::Frames(times), Ceiling::Packets(1_000)]);
    let (mut now, mut departures, mut sent) = (0, Vec::new(), 0);
    while now < HZ {
        let due = pacer.due(now);
        pacer.took(due);
        pacer.left(now, due);
        departures.push((now, due));
        sent += due;
        now += if now == 400_000_000 { 50_000_000 } else { 10 * POLL };
    }
    assert_eq!((densest(&departures), pacer.scheduled_before(HZ)), (11, 1_000));
    // Eleven packets in each 10 ms until the debt of 50 is sent.
    assert!(sent >= 998, "{sent}");
}

#[test]
fn two_bursts_that_are_due_leave_together() {
    let load = Load::Stages { stages: vec![stage(1e3, 1e3, f64::INFINITY)], burst: 100 };
    let mut pacer = Pacer::new(&load, HZ, 0);
    let mut due = |at_ms: u64| {
        let due = pacer.due(at_ms * 1_000_000);
        pacer.took(due);
        due
    };
    assert_eq!([0, 99, 100, 310, 399, 400, 401].map(&mut due), [100, 0, 100, 200, 0, 0, 100]);
    // Three are owed, and the oldest is forgiven; the next one waits until the bucket holds a burst again.
    assert_eq!([799, 800, 889, 891].map(&mut due), [200, 0, 0, 100]);
    assert_eq!(pacer.scheduled_before(900_000_000), 900);
}

#[test]
fn a_port_is_handed_whole_bursts() {
    for (burst, packets) in [(0, 64), (1, 64), (7, 63), (32, 64), (33, 33), (64, 64), (65, 64), (1000, 64)] {
        assert_eq!(whole_bursts_within(64, burst), packets, "{burst}");
    }
}

#[test]
fn a_recording_that_was_held_up_leaves_together_and_says_how_late() {
    let ms = HZ / 1000;
    let load = || Load::Recorded((0..100).map(|i| f64::from(i) * 10e-3).collect());
    // (polled until this ms, then from this one on, lateness in ms, packets that left together)
    for (until, from, late_ms, together) in [
        (100, 100, 0, 0),
        (100, 105, 0, 0),
        (95, 395, 295, 30),
        (95, 109, 0, 0),
        (985, 5_000, 4_010, 1),
        (995, 5_000, 0, 0),
    ] {
        let mut pacer = Pacer::new(&load(), HZ, 0).until(100);
        run(&mut pacer, 0, until * ms, ms / 10);
        let due = pacer.due(from * ms);
        let built = due.min(100 - pacer.accounted);
        pacer.took(built);
        run(&mut pacer, from * ms + 1, from * ms + 2, 1);
        let Late { ticks, packets } = pacer.late();
        assert_eq!((ticks / ms, packets), (late_ms, together), "{until} {from}: {due}");
    }
    // A port that takes fewer packets than are recorded: the debt grows without a stall.
    let mut pacer = Pacer::new(&load(), HZ, 0);
    for now in (0..500 * ms).step_by(20 * ms as usize) {
        let due = pacer.due(now);
        pacer.took(due.min(1));
    }
    assert_eq!(pacer.late().ticks / ms, 240);
    assert_eq!(steady(1e5, 0).late(), Late::default());
}
