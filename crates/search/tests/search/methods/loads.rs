//! Loss curve, latency, system recovery and soak.

use linerate_search::PPB;
use linerate_search::measurement::TesterLimit;
use linerate_search::methods::{
    Conclusion, Delays, LatencyShares, LatencySpec, LossCurve, LossCurveConclusion, LossCurveSpec, LossSpan,
    Method, Partial, Recovery, RecoveryConclusion, RecoverySpec, RecoveryTime, Soak, SoakSpec, TrialLoad,
    TrialOutcome, USUAL_SHARES_PPB,
};
use linerate_search::model::Model;

use super::{LINK_PPS, S, cliff, run, run_with};

fn curve_spec() -> LossCurveSpec {
    LossCurveSpec {
        max_pps: LINK_PPS as u64,
        theoretical_pps: Some(LINK_PPS as u64),
        step_ppb: PPB / 10,
        duration_ns: 60 * S,
    }
}

fn curve(spec: LossCurveSpec, model: &Model) -> LossCurveConclusion {
    let (method, _) = run(Method::LossCurve(LossCurve::new(spec).unwrap()), model);
    let Conclusion::LossCurve(conclusion) = method.conclusion() else { panic!() };
    conclusion
}

#[test]
fn a_loss_curve_goes_down_until_two_trials_in_a_row_lose_nothing() {
    let found = curve(curve_spec(), &cliff(10_000_000.0));
    let shares: Vec<f64> = found.points.iter().map(|point| point.share).collect();
    assert_eq!(shares, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]);
    assert!((found.points[0].loss_ratio - (1.0 - 10_000_000.0 / LINK_PPS)).abs() < 1e-6, "{found:?}");
    assert_eq!(found.points[4].lost_packets + found.points[5].lost_packets, 0);
    assert_eq!(found.partial, []);
    assert_eq!(found.deviations.len(), 1, "the waits: {:?}", found.deviations);
}

#[test]
fn a_clean_trial_between_two_with_loss_does_not_end_a_curve() {
    // 70 % loses, between 80 % and 60 %, which do not.
    let hole = Model::Hole {
        name: String::new(),
        capacity_pps: 12_000_000.0,
        hole_from_pps: 10_000_000.0,
        hole_to_pps: 11_000_000.0,
        hole_loss: 0.1,
    };
    let found = curve(curve_spec(), &hole);
    let lost: Vec<bool> = found.points.iter().map(|point| point.lost_packets > 0).collect();
    assert_eq!(lost, [true, true, false, true, false, false]);
}

#[test]
fn a_curve_that_does_not_cover_the_range_is_partial() {
    let below = LossCurveSpec { max_pps: 5_000_000, duration_ns: S, ..curve_spec() };
    let found = curve(below, &cliff(10_000_000.0));
    assert_eq!((found.points.len(), found.partial.as_slice()), (2, &[Partial::NotFromMaximum][..]));
    assert_eq!(found.deviations.len(), 3, "waits, duration, first load: {:?}", found.deviations);
    let unknown = LossCurveSpec { theoretical_pps: None, ..curve_spec() };
    assert_eq!(curve(unknown, &cliff(1e9)).partial, [Partial::NotFromMaximum]);
    // A little is lost at every load.
    let floor = Model::Floor { name: String::new(), capacity_pps: 20_000_000.0, loss_floor: 0.001 };
    let found = curve(curve_spec(), &floor);
    assert_eq!((found.points.len(), found.partial.as_slice()), (10, &[Partial::NotTwoClean][..]));
    let slow =
        Model::GeneratorLimited { name: String::new(), capacity_pps: 1e9, generator_pps: 10_000_000.0 };
    let found = curve(curve_spec(), &slow);
    assert_eq!(found.partial, [Partial::NotOffered]);
    assert!(found.points[0].unsent_packets > 0 && found.points[0].loss_ratio == 0.0);
    assert_eq!(found.points[0].limited_by, Some(TesterLimit::Generator));
    for wrong in [
        LossCurveSpec { step_ppb: PPB / 5, ..curve_spec() },
        LossCurveSpec { max_pps: 0, ..curve_spec() },
        LossCurveSpec { duration_ns: 0, ..curve_spec() },
    ] {
        assert!(LossCurve::new(wrong.clone()).is_err(), "{wrong:?}");
    }
}

fn latency_spec() -> LatencySpec {
    LatencySpec {
        throughput_pps: 1_000_001,
        throughput_name: "NDR".to_owned(),
        shares_ppb: USUAL_SHARES_PPB.to_vec(),
        duration_ns: 10 * S,
        repeats: 3,
        tagged: false,
    }
}

#[test]
fn latency_is_measured_at_each_share_and_named_for_what_it_is() {
    let method = Method::Latency(LatencyShares::new(latency_spec()).unwrap());
    let (method, trials) = run(method, &cliff(2_000_000.0));
    let loads: Vec<TrialLoad> = trials.iter().map(|trial| trial.load).step_by(3).collect();
    let steady = |pps| TrialLoad::Steady { pps, duration_ns: 10 * S };
    assert_eq!((trials.len(), loads), (12, [1_000_001, 900_000, 500_000, 100_000].map(steady).to_vec()));
    let Conclusion::Latency(found) = method.conclusion() else { panic!() };
    let names: Vec<&str> = found.at.iter().map(|at| at.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "latency at 100 % of NDR",
            "latency at 90 % of NDR",
            "latency at 50 % of NDR",
            "latency at 10 % of NDR"
        ]
    );
    assert!(!found.is_rfc2544);
    // Waits, duration below 60 s, all packets, trials, duration, lower loads.
    assert_eq!(found.deviations.len(), 6, "{:?}", found.deviations);
    assert_eq!(found.at[0].median, Some(found.at[0].delays[0]));
}

#[test]
fn rfc_2544_latency_needs_twenty_trials_of_two_minutes_with_tagged_frames() {
    let full = LatencySpec { duration_ns: 120 * S, repeats: 20, tagged: true, ..latency_spec() };
    let name = |spec: LatencySpec| {
        let (method, _) = run(Method::Latency(LatencyShares::new(spec).unwrap()), &cliff(2_000_000.0));
        let Conclusion::Latency(found) = method.conclusion() else { panic!() };
        (found.at[0].name.clone(), found.at[1].name.clone())
    };
    assert_eq!(name(full.clone()), ("RFC 2544 latency".to_owned(), "latency at 90 % of NDR".to_owned()));
    for less in [
        LatencySpec { repeats: 19, ..full.clone() },
        LatencySpec { duration_ns: 119 * S, ..full.clone() },
        LatencySpec { tagged: false, ..full },
    ] {
        assert_eq!(name(less).0, "latency at 100 % of NDR");
    }
}

#[test]
fn figures_of_several_trials_are_put_together() {
    let spec = LatencySpec { shares_ppb: vec![PPB], repeats: 4, ..latency_spec() };
    let delays =
        |mean| Delays { min: 1, mean, p50: mean, p90: mean, p99: mean, p999: 2 * mean, max: 9 * mean };
    let (method, _) = run_with(Method::Latency(LatencyShares::new(spec).unwrap()), |trial| {
        let delays = (trial.number != 3).then(|| delays(u64::from(trial.number) * 10));
        TrialOutcome { sent: 100, lost: 1, delays, ..TrialOutcome::default() }
    });
    let Conclusion::Latency(found) = method.conclusion() else { panic!() };
    let at = &found.at[0];
    assert_eq!((at.trials, at.trials_without_delays, at.sent_packets, at.lost_packets), (4, 1, 400, 4));
    assert_eq!(at.median.unwrap().mean, 20);
    assert_eq!(at.mean.unwrap().mean, (10 + 20 + 40) / 3);
    assert_eq!(at.largest.unwrap(), delays(40));
}

fn recovery_spec() -> RecoverySpec {
    RecoverySpec {
        throughput_pps: 1_000_000,
        theoretical_pps: Some(LINK_PPS as u64),
        overload_ns: 60 * S,
        after_ns: 30 * S,
        repeats: 3,
    }
}

fn recovery(spec: RecoverySpec, model: &Model) -> RecoveryConclusion {
    let (method, trials) = run(Method::Recovery(Recovery::new(spec).unwrap()), model);
    assert!(trials.windows(2).all(|pair| pair[0].load == pair[1].load));
    let Conclusion::Recovery(conclusion) = method.conclusion() else { panic!() };
    conclusion
}

#[test]
fn recovery_is_the_time_from_the_step_to_the_last_loss() {
    let slow = Model::Recovering { name: String::new(), capacity_pps: 1_000_000.0, recovery_s: 2.5 };
    let found = recovery(recovery_spec(), &slow);
    assert_eq!((found.overload_pps, found.after_pps), (1_100_000, 550_000));
    assert_eq!((found.mean_s, found.min_s, found.max_s), (Some(2.5), Some(2.5), Some(2.5)));
    assert_eq!(found.deviations.len(), 1, "{:?}", found.deviations);
    // A system that stops losing with the overload.
    let found = recovery(recovery_spec(), &cliff(1_000_000.0));
    assert_eq!(found.mean_s, Some(0.0));
    assert!(found.trials.iter().all(|trial| trial.recovery == RecoveryTime::Known { ns: 0 }));
    // The overload is no faster than the link.
    let fast = RecoverySpec { throughput_pps: 14_000_000, ..recovery_spec() };
    let found = recovery(fast, &cliff(14_000_000.0));
    assert_eq!((found.overload_pps, found.after_pps), (14_880_952, 7_440_476));
}

#[test]
fn a_recovery_that_is_not_known_has_no_mean() {
    let never = Model::Recovering { name: String::new(), capacity_pps: 1_000_000.0, recovery_s: 1_000.0 };
    let found = recovery(recovery_spec(), &never);
    assert_eq!((found.mean_s, found.trials[0].recovery), (None, RecoveryTime::NotRecovered));
    let found = recovery(recovery_spec(), &cliff(2_000_000.0));
    assert_eq!((found.mean_s, found.trials[0].recovery), (None, RecoveryTime::NoOverload));

    let with = |outcome: TrialOutcome| {
        let spec = RecoverySpec { overload_ns: S, theoretical_pps: None, ..recovery_spec() };
        let (method, _) = run_with(Method::Recovery(Recovery::new(spec).unwrap()), |_| outcome);
        let Conclusion::Recovery(found) = method.conclusion() else { panic!() };
        assert_eq!(found.deviations.len(), 3, "waits, overload, link: {:?}", found.deviations);
        found.trials[0].recovery
    };
    let lossy = TrialOutcome { sent: 100, lost: 10, ..TrialOutcome::default() };
    assert_eq!(with(lossy), RecoveryTime::Unknown);
    let losses =
        LossSpan { first_ns: Some(1), last_ns: Some(1_500_000_000), unplaced: 0, ..LossSpan::default() };
    assert_eq!(with(TrialOutcome { losses: Some(losses), ..lossy }), RecoveryTime::Known { ns: S / 2 });
    let some = LossSpan { unplaced: 1, ..losses };
    assert_eq!(with(TrialOutcome { losses: Some(some), ..lossy }), RecoveryTime::Unknown);
    assert_eq!(with(TrialOutcome { unsent: 1, ..lossy }), RecoveryTime::NotOffered);
}

#[test]
fn a_soak_is_one_trial_with_the_times_of_its_losses() {
    let spec = SoakSpec { load_pps: 900_000, load_name: "90 % of NDR".into(), duration_ns: 3_600 * S };
    let soak = |model: &Model| {
        let (method, trials) = run(Method::Soak(Soak::new(spec.clone()).unwrap()), model);
        assert_eq!(trials.len(), 1);
        let Conclusion::Soak(found) = method.conclusion() else { panic!() };
        found
    };
    let found = soak(&cliff(1_000_000.0));
    assert_eq!((found.lost_packets, found.lossy_share, found.losses), (Some(0), Some(0.0), None));
    let stalls = Model::Stalls {
        name: String::new(),
        capacity_pps: 1_000_000.0,
        stall_probability_per_s: 0.9,
        stall_s: 0.002,
    };
    let found = soak(&stalls);
    assert!(found.lost_packets > Some(0) && found.lossy_share > Some(0.0), "{found:?}");
    let outcome = TrialOutcome {
        sent: 1_000,
        lost: 7,
        losses: Some(LossSpan { intervals: 36, interval_ns: S, ..LossSpan::default() }),
        ..TrialOutcome::default()
    };
    let (method, _) = run_with(Method::Soak(Soak::new(spec.clone()).unwrap()), |_| outcome);
    let Conclusion::Soak(found) = method.conclusion() else { panic!() };
    assert_eq!((found.lossy_share, found.loss_ratio), (Some(0.01), Some(0.007)));
    let unknown = TrialOutcome { losses: None, ..outcome };
    let (method, _) = run_with(Method::Soak(Soak::new(spec).unwrap()), |_| unknown);
    let Conclusion::Soak(found) = method.conclusion() else { panic!() };
    assert_eq!(found.lossy_share, None, "lost, but when is not known");
}
