//! Tables of events, times and means.

use super::*;

fn stage(from_per_s: f64, to_per_s: f64, seconds: f64) -> StageRates {
    StageRates { from_per_s, to_per_s, seconds }
}

/// 100 a second, a rest, from 0 to 200 a second; a second each, the last one two.
fn with_a_rest() -> Vec<StageRates> {
    vec![stage(100.0, 100.0, 1.0), stage(0.0, 0.0, 1.0), stage(0.0, 200.0, 2.0)]
}

#[test]
fn events_follow_stages_on_any_clock() {
    for hz in [1.0, 1e9, 2_399_999_999.0] {
        let schedule = Schedule::new(&with_a_rest(), hz);
        for (seconds, events, rate) in [
            (0.0, 0.0, 100.0),
            (0.5, 50.0, 100.0),
            (1.5, 100.0, 0.0),
            (3.0, 150.0, 100.0),
            (4.0, 300.0, 200.0),
            (5.0, 500.0, 200.0),
        ] {
            assert!((schedule.events(seconds * hz) - events).abs() < 1e-6, "{hz} {seconds}");
            assert!((schedule.rate_at(seconds) - rate).abs() < 1e-6, "{hz} {seconds}");
        }
    }
}

#[test]
fn an_event_behind_a_rest_is_due_when_the_load_goes_on() {
    let schedule = Schedule::new(&with_a_rest(), 1e9);
    for (event, seconds) in [(0, 0.0), (50, 0.5), (99, 0.99), (100, 2.0), (150, 3.0), (300, 4.0), (500, 5.0)]
    {
        let found = schedule.time_of(event).unwrap() / 1e9;
        assert!((found - seconds).abs() < 1e-6, "{event}: {found}");
    }
    // 50 events in all: the last one has number 49.
    let ends = Schedule::new(&[stage(100.0, 0.0, 1.0)], 1e9);
    assert!(ends.time_of(49).is_some_and(|ticks| ticks < 1e9));
    assert_eq!((ends.time_of(50), ends.time_of(51)), (None, None));
}

#[test]
fn a_load_without_events_is_known_to_have_none() {
    let resting = Schedule::new(&[stage(0.0, 0.0, f64::INFINITY)], 1e9);
    assert_eq!((resting.events(1e9), resting.time_of(0), resting.mean_rate(Some(1.0))), (0.0, None, 0.0));
    let empty = Schedule::new(&[], 1e9);
    assert_eq!((empty.events(1e9), empty.time_of(0), empty.mean_rate(None)), (0.0, None, 0.0));
}

#[test]
fn recorded_times_repeat_after_the_mean_interval() {
    // 0, 1, 1 and 5 ms; then, after the mean of 5/3 ms, again.
    let schedule = Schedule::recorded(&[0.0, 0.001, 0.001, 0.005], 1e6);
    for (event, us) in [(0, 0.0), (1, 1_000.0), (2, 1_001.0), (3, 5_000.0), (4, 6_666.7), (7, 11_666.7)] {
        assert!(schedule.time_of(event).is_some_and(|ticks| (ticks - us).abs() < 0.1), "{event}");
    }
    assert!((schedule.events(13_333.4) - 8.0).abs() < 1e-3);
    assert!((schedule.mean_rate(None) - 600.0).abs() < 0.1);
    assert!((Schedule::recorded(&[0.0], 1e6).mean_rate(None) - 1e3).abs() < 1e-6);
}

#[test]
fn the_mean_ends_with_the_last_packet() {
    let limit = |packets, duration_ms| Limit { packets, duration_ms };
    let schedule = Schedule::new(&with_a_rest(), 1e9);
    for (packets, ms, together, mean) in [
        (None, None, 1, 100.0),
        (None, Some(2_000), 1, 50.0),
        (Some(51), None, 1, 100.0),
        (Some(100), Some(4_000), 1, 100.0),
        // The last packet is the first one behind the rest.
        (Some(101), None, 1, 50.0),
        (Some(200), None, 50, 50.0),
        (Some(1_000), Some(4_000), 1, 75.0),
    ] {
        let found = schedule.mean_rate_within(&limit(packets, ms), together);
        assert!((found - mean).abs() < 1e-6, "{packets:?} {ms:?}: {found}");
    }
    let steady = Schedule::new(&[StageRates::steady(1e3)], 1e9);
    assert_eq!(steady.mean_rate_within(&limit(Some(1), None), 1), 1e3);
}
