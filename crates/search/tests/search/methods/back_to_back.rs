//! Back-to-back frames.

use linerate_search::methods::{
    BackToBack, BackToBackConclusion, BackToBackSpec, BurstStatus, Conclusion, LossVerification, Method,
    TrialLoad, TrialOutcome,
};
use linerate_search::model::{Model, Simulated};
use serde::Deserialize;

use super::{LINK_PPS, S, run_with};

#[derive(Deserialize)]
struct BurstVectors {
    buffer_times: Vec<BufferTime>,
    longest_bursts: Vec<LongestBurst>,
}

#[derive(Deserialize)]
struct BufferTime {
    mean_frames: u64,
    frame_bytes: u64,
    link_bps: f64,
    throughput_pps: u64,
    implied_s: f64,
    corrected_s: f64,
    corrected_frames: f64,
}

#[derive(Deserialize)]
struct LongestBurst {
    buffer_packets: f64,
    capacity_pps: f64,
    link_pps: f64,
    frames: u64,
}

fn burst_vectors() -> BurstVectors {
    serde_json::from_str(include_str!("../vectors/back-to-back.json")).unwrap()
}

fn burst_spec() -> BackToBackSpec {
    BackToBackSpec {
        theoretical_pps: LINK_PPS,
        is_measured: false,
        is_mix: false,
        throughput_pps: 12_000_000,
        min_burst: 1,
        max_burst: (30.0 * LINK_PPS) as u64 + 1,
        step: 1,
        verification: Some(LossVerification { max_tries: 2, hopeless: None }),
        searches: 50,
        wait_ns: 2 * S,
    }
}

/// A search whose bursts pass up to a length.
fn bursts(spec: BackToBackSpec, longest: impl Fn(u32) -> u64) -> BackToBackConclusion {
    let method = Method::BackToBack(BackToBack::new(spec).unwrap());
    let (method, _) = run_with(method, |trial| {
        let TrialLoad::Burst { packets } = trial.load else { panic!("{trial:?}") };
        let lost = packets.saturating_sub(longest(trial.number));
        TrialOutcome { sent: packets, lost, is_gapless: Some(true), ..TrialOutcome::default() }
    });
    let Conclusion::BackToBack(conclusion) = method.conclusion() else { panic!() };
    conclusion
}

#[test]
fn buffer_times_are_those_of_the_vectors() {
    let near = |found: Option<f64>, expected: f64| (found.unwrap() / expected - 1.0).abs() < 1e-9;
    for case in burst_vectors().buffer_times {
        let theoretical_pps = case.link_bps / ((case.frame_bytes + 20) as f64 * 8.0);
        let spec = BackToBackSpec {
            theoretical_pps,
            throughput_pps: case.throughput_pps,
            max_burst: (30.0 * theoretical_pps) as u64 + 1,
            searches: 3,
            ..burst_spec()
        };
        let found = bursts(spec, |_| case.mean_frames);
        assert_eq!((found.status, found.mean_frames), (BurstStatus::Valid, Some(case.mean_frames as f64)));
        assert!(near(found.implied_buffer_s, case.implied_s), "{found:?}");
        assert!(near(found.corrected_buffer_s, case.corrected_s), "{found:?}");
        assert!(near(found.corrected_buffer_frames, case.corrected_frames), "{found:?}");
        assert_eq!(found.sd_frames, Some(0.0));
        assert_eq!(found.deviations.len(), 1, "three searches: {:?}", found.deviations);
    }
}

#[test]
fn the_longest_burst_is_the_one_that_fills_the_buffer() {
    for LongestBurst { buffer_packets, capacity_pps, link_pps, frames } in burst_vectors().longest_bursts {
        let model = Model::Buffer { name: String::new(), capacity_pps, buffer_packets };
        let mut system = Simulated::new(&model, 0);
        let spec = BackToBackSpec { theoretical_pps: link_pps, ..burst_spec() };
        let method = Method::BackToBack(BackToBack::new(spec).unwrap());
        let (method, trials) = run_with(method, |trial| system.send(&trial.load, link_pps));
        let Conclusion::BackToBack(found) = method.conclusion() else { panic!() };
        assert_eq!((found.status, found.searches.len()), (BurstStatus::Valid, 50));
        assert!(found.searches.iter().all(|search| search.frames == Some(frames)), "{found:?}");
        // A binary search of 446 million lengths takes 29 steps; each with loss is verified once.
        assert!(trials.len() <= 50 * 2 * 29, "{}", trials.len());
        let buffer = found.corrected_buffer_frames.unwrap();
        assert!((buffer - buffer_packets).abs() < 1.0, "{buffer}");
        assert_eq!(found.deviations, []);
    }
}

#[test]
fn searches_that_differ_have_a_spread() {
    // Each search finds another length.
    let model_of = |search: u32| [1_000, 1_100, 1_200][search as usize % 3];
    let mut trials_of = vec![0u32];
    let spec = BackToBackSpec { searches: 3, max_burst: 5_000, verification: None, ..burst_spec() };
    let mut method = BackToBack::new(spec).unwrap();
    while let Some(trial) = method.next() {
        let done = method.conclusion().searches.len();
        trials_of.resize(done + 1, 0);
        trials_of[done] += 1;
        let TrialLoad::Burst { packets } = trial.load else { panic!() };
        let lost = packets.saturating_sub(model_of(done as u32));
        method.record(&TrialOutcome { sent: packets, lost, ..TrialOutcome::default() });
    }
    let found = method.conclusion();
    assert_eq!(
        (found.min_frames, found.max_frames, found.mean_frames),
        (Some(1_000), Some(1_200), Some(1_100.0))
    );
    assert_eq!(found.sd_frames, Some(100.0));
    assert_eq!(found.searches.iter().map(|search| search.bursts).collect::<Vec<_>>(), trials_of);
    assert_eq!(found.deviations.len(), 3, "searches, longest burst, verification: {:?}", found.deviations);
}

#[test]
fn a_mix_of_sizes_is_no_burst_of_the_standard() {
    let mix = BackToBack::new(BackToBackSpec { is_mix: true, ..burst_spec() }).unwrap();
    let [deviation] = &mix.conclusion().deviations[..] else { panic!() };
    assert!(deviation.text.starts_with("all frames of a burst have one size"), "{deviation:?}");
}

#[test]
fn loss_verification_tries_a_burst_again_unless_it_is_hopeless() {
    let verified = |hopeless, lost_at: fn(u32) -> u64| {
        let spec = BackToBackSpec {
            max_burst: 2,
            searches: 1,
            verification: Some(LossVerification { max_tries: 3, hopeless }),
            ..burst_spec()
        };
        let method = Method::BackToBack(BackToBack::new(spec).unwrap());
        let (method, trials) = run_with(method, |trial| {
            let TrialLoad::Burst { packets } = trial.load else { panic!() };
            TrialOutcome {
                sent: packets,
                lost: lost_at(trial.number).min(packets),
                ..TrialOutcome::default()
            }
        });
        let Conclusion::BackToBack(found) = method.conclusion() else { panic!() };
        (trials.len(), found.searches[0].frames)
    };
    // The first burst of one packet is lost twice and then passes; that of two packets passes at once.
    assert_eq!(verified(None, |number| u64::from(number < 3)), (4, Some(2)));
    // Three losses decide.
    assert_eq!(verified(None, |_| 1), (3, None));
    assert_eq!(verified(Some(1), |_| 1), (1, None), "hopeless at once");
}

#[test]
fn a_result_says_when_it_is_none() {
    let status = |spec: BackToBackSpec, longest: u64| bursts(spec, |_| longest).status;
    let few = BackToBackSpec { searches: 2, max_burst: 10_000, ..burst_spec() };
    assert_eq!(status(few.clone(), 5_000), BurstStatus::Valid);
    assert_eq!(status(few.clone(), 9_600), BurstStatus::NearLargestBurst);
    assert_eq!(status(few.clone(), u64::MAX), BurstStatus::NearLargestBurst);
    assert_eq!(status(few.clone(), 0), BurstStatus::NoBurst);
    let as_fast = BackToBackSpec { throughput_pps: LINK_PPS as u64, ..few.clone() };
    let found = bursts(as_fast, |_| 5_000);
    assert_eq!((found.status, found.searches.len()), (BurstStatus::NotApplicable, 0), "no burst is sent");
    let unfinished = BackToBack::new(few.clone()).unwrap().conclusion();
    assert_eq!((unfinished.status, unfinished.mean_frames), (BurstStatus::Unfinished, None));

    let with = |change: fn(&mut TrialOutcome)| {
        let (method, _) = run_with(Method::BackToBack(BackToBack::new(few.clone()).unwrap()), |trial| {
            let TrialLoad::Burst { packets } = trial.load else { panic!() };
            let lost = packets.saturating_sub(5_000);
            let mut outcome = TrialOutcome { sent: packets, lost, ..TrialOutcome::default() };
            change(&mut outcome);
            outcome
        });
        let Conclusion::BackToBack(found) = method.conclusion() else { panic!() };
        found.status
    };
    assert_eq!(with(|outcome| outcome.is_gapless = Some(false)), BurstStatus::NotBackToBack);
    assert_eq!(with(|outcome| outcome.sent -= 1), BurstStatus::NotBackToBack);
    assert_eq!(with(|outcome| outcome.receiver_lost = 1), BurstStatus::TesterLimited);
}
