//! Service activation test.

use linerate_search::PPB;
use linerate_search::methods::{
    Conclusion, Criteria, Criterion, Delays, Method, PathRates, ServiceConclusion, ServiceRates, ServiceSpec,
    ServiceTest, StepKind, StepVerdict, TrialLoad, TrialOutcome,
};
use linerate_search::model::Model;

use super::{S, cliff, run, run_with};

fn service_spec() -> ServiceSpec {
    ServiceSpec {
        cir_pps: 1_000_000,
        eir_pps: 400_000,
        steps_ppb: vec![PPB / 4, PPB / 2, PPB / 4 * 3, PPB],
        policing: true,
        step_ns: 10 * S,
        performance_ns: 900 * S,
        criteria: Criteria {
            delay_ns: Some(50_000),
            variation_ns: Some(20_000),
            loss_ppb: 1_000_000,
            tolerance_ppb: PPB / 100,
        },
        rates: ServiceRates::EachPath,
    }
}

fn service(spec: ServiceSpec, model: &Model) -> (ServiceConclusion, Vec<u64>) {
    let (method, trials) = run(Method::Service(ServiceTest::new(spec).unwrap()), model);
    let loads = trials.iter().map(|trial| match trial.load {
        TrialLoad::Steady { pps, .. } => pps,
        other => panic!("{other:?}"),
    });
    let Conclusion::Service(conclusion) = method.conclusion() else { panic!() };
    (conclusion, loads.collect())
}

#[test]
fn a_service_that_meets_its_criteria_passes_every_step() {
    // The network polices at committed and excess rate.
    let (found, loads) = service(service_spec(), &cliff(1_400_000.0));
    assert_eq!(loads, [250_000, 500_000, 750_000, 1_000_000, 1_400_000, 1_500_000, 1_000_000]);
    let kinds: Vec<StepKind> = found.steps.iter().map(|step| step.kind).collect();
    use StepKind::{Committed, Excess, Performance, Policing};
    assert_eq!(kinds, [Committed, Committed, Committed, Committed, Excess, Policing, Performance]);
    assert!(found.steps.iter().all(|step| step.verdict == StepVerdict::Pass), "{found:?}");
    assert_eq!((found.configuration, found.performance), (Some(StepVerdict::Pass), Some(StepVerdict::Pass)));
    assert_eq!(found.deviations.len(), 3, "bursts, one service, availability: {:?}", found.deviations);
}

#[test]
fn a_small_excess_rate_is_policed_from_above_the_committed_one() {
    let spec = ServiceSpec { eir_pps: 100_000, ..service_spec() };
    let (_, loads) = service(spec, &cliff(1_100_000.0));
    assert_eq!(loads[4..6], [1_100_000, 1_350_000]);
    let none = ServiceSpec { eir_pps: 0, policing: false, performance_ns: 0, ..service_spec() };
    let (found, loads) = service(none, &cliff(1_000_000.0));
    assert_eq!((loads.len(), found.performance, found.configuration), (4, None, Some(StepVerdict::Pass)));
}

#[test]
fn a_step_that_fails_says_which_criterion_and_why() {
    let failed = |found: &ServiceConclusion, step: usize| {
        let findings = found.steps[step].findings.iter();
        let failed = findings.filter(|finding| finding.verdict == StepVerdict::Fail);
        failed.map(|finding| (finding.criterion, finding.reason.clone())).collect::<Vec<_>>()
    };
    // Only 900,000 packets a second get through.
    let (found, loads) = service(service_spec(), &cliff(900_000.0));
    assert_eq!(loads.len(), 6, "no performance test follows");
    assert_eq!((found.configuration, found.performance), (Some(StepVerdict::Fail), None));
    assert_eq!(
        failed(&found, 3),
        [(Criterion::LossRatio, "1000000 of 10000000 packets lost, 0.1 % allowed".to_owned())]
    );
    let [(criterion, reason)] = &failed(&found, 4)[..] else { panic!("{found:?}") };
    assert_eq!(*criterion, Criterion::InformationRate);
    assert!(reason.contains("900000 packets a second arrived, 999000"), "{reason}");
    // Nothing polices.
    let (found, _) = service(service_spec(), &cliff(2_000_000.0));
    let [(_, reason)] = &failed(&found, 5)[..] else { panic!("{found:?}") };
    assert_eq!(reason, "1500000 packets a second arrived, 1414000 may pass");
    // Too slow, by both criteria.
    let strict = Criteria { delay_ns: Some(11_000), variation_ns: Some(9_000), ..service_spec().criteria };
    let (found, _) = service(ServiceSpec { criteria: strict, ..service_spec() }, &cliff(1_400_000.0));
    let criteria: Vec<Criterion> = failed(&found, 0).into_iter().map(|(criterion, _)| criterion).collect();
    assert_eq!(criteria, [Criterion::Delay, Criterion::DelayVariation]);
}

#[test]
fn what_is_not_known_is_neither_passed_nor_failed() {
    let judged = |outcome: TrialOutcome| {
        let spec = ServiceSpec { performance_ns: 0, eir_pps: 0, policing: false, ..service_spec() };
        let (method, _) = run_with(Method::Service(ServiceTest::new(spec).unwrap()), |_| outcome);
        let Conclusion::Service(found) = method.conclusion() else { panic!() };
        assert_eq!(Some(found.steps[0].verdict), found.configuration);
        found.steps[0].verdict
    };
    let good = Delays { min: 1, mean: 2, p50: 2, p90: 2, p99: 2, p999: 3, max: 4 };
    let clean = TrialOutcome { sent: 100, sending_ns: S, delays: Some(good), ..TrialOutcome::default() };
    assert_eq!(judged(clean), StepVerdict::Pass);
    assert_eq!(judged(TrialOutcome { delays: None, ..clean }), StepVerdict::Unknown);
    assert_eq!(judged(TrialOutcome { unsent: 5, ..clean }), StepVerdict::Unknown);
    assert_eq!(judged(TrialOutcome { lost: 50, delays: None, ..clean }), StepVerdict::Fail);
    assert_eq!(judged(TrialOutcome { sent: 0, ..clean }), StepVerdict::Unknown);
}

/// The verdicts of committed, excess and policing step, where all trials have this outcome.
fn verdicts(rates: ServiceRates, outcome: TrialOutcome) -> (Vec<StepVerdict>, u64) {
    let spec = ServiceSpec { steps_ppb: vec![PPB], performance_ns: 0, rates, ..service_spec() };
    let (method, _) = run_with(Method::Service(ServiceTest::new(spec).unwrap()), |_| outcome);
    let Conclusion::Service(found) = method.conclusion() else { panic!() };
    (found.steps.iter().map(|step| step.verdict).collect(), found.steps[0].received_pps)
}

#[test]
fn rates_are_those_of_each_path_and_no_sum() {
    use StepVerdict::{Fail, Pass};
    let good = Delays { min: 1, mean: 2, p50: 2, p90: 2, p99: 2, p999: 3, max: 4 };
    // Two paths of 1.4 million packets a second together, and what they are apart.
    let two = |least_pps, most_pps| TrialOutcome {
        sent: 2_800_000,
        sending_ns: S,
        delays: Some(good),
        paths: Some(PathRates { received_pps: least_pps, least_pps, most_pps, most_received_pps: most_pps }),
        ..TrialOutcome::default()
    };
    let even = two(1_400_000, 1_400_000);
    assert_eq!(verdicts(ServiceRates::EachPath, even), (vec![Pass, Pass, Pass], 1_400_000));
    // Earlier versions took the sum, and their results are judged as they were.
    assert_eq!(verdicts(ServiceRates::Sum, even), (vec![Pass, Pass, Fail], 2_800_000));
    let uneven = two(900_000, 1_900_000);
    assert_eq!(verdicts(ServiceRates::EachPath, uneven), (vec![Pass, Fail, Fail], 900_000));
    let earlier = serde_json::json!({
        "cir_pps": 1, "eir_pps": 0, "steps_ppb": [PPB], "policing": false, "step_ns": S, "performance_ns": 0,
        "criteria": {"delayNs": null, "variationNs": null, "lossPpb": 0, "tolerancePpb": 0}
    });
    assert_eq!(serde_json::from_value::<ServiceSpec>(earlier).unwrap().rates, ServiceRates::Sum);
}

#[test]
fn what_the_testers_receiver_may_have_lost_proves_nothing_about_policing() {
    use StepVerdict::{Fail, Pass, Unknown};
    // 1.43 million packets a second may pass, and 1 million must.
    let of = |lost, receiver_lost| TrialOutcome {
        sent: 1_500_000,
        lost,
        receiver_lost,
        sending_ns: S,
        ..TrialOutcome::default()
    };
    let policing = |lost, receiver_lost| {
        let spec = ServiceSpec { steps_ppb: vec![PPB], performance_ns: 0, ..service_spec() };
        let (method, _) =
            run_with(Method::Service(ServiceTest::new(spec).unwrap()), |_| of(lost, receiver_lost));
        let Conclusion::Service(mut found) = method.conclusion() else { panic!() };
        let step = found.steps.pop().unwrap();
        let rates = step.findings.into_iter().filter(|one| one.criterion == Criterion::InformationRate);
        rates.map(|one| (one.verdict, one.reason)).collect::<Vec<_>>()
    };
    let verdicts = |found: &[(StepVerdict, String)]| found.iter().map(|one| one.0).collect::<Vec<_>>();
    assert_eq!(verdicts(&policing(200_000, 0)), [Pass, Pass]);
    assert_eq!(verdicts(&policing(0, 0)), [Pass, Fail]);
    let found = policing(200_000, 200_000);
    assert_eq!(verdicts(&found), [Pass, Unknown]);
    assert!(found[1].1.contains("1300000 packets a second arrived, up to 1500000 with"), "{}", found[1].1);
    // What certainly arrived is too much.
    assert_eq!(verdicts(&policing(20_000, 20_000)), [Pass, Fail]);
    assert_eq!(verdicts(&policing(700_000, 600_000)), [Unknown, Pass]);
    assert_eq!(verdicts(&policing(700_000, 0)), [Fail, Pass]);
}

#[test]
fn what_was_not_sent_is_not_due() {
    use StepVerdict::{Fail, Unknown};
    // The generator manages 700,000 packets a second, and the path loses none.
    let short = TrialOutcome { sent: 700_000, unsent: 700_000, sending_ns: S, ..TrialOutcome::default() };
    assert_eq!(verdicts(ServiceRates::EachPath, short).0, [Unknown, Unknown, Unknown]);
    let silent = TrialOutcome { sent: 0, ..short };
    assert_eq!(verdicts(ServiceRates::EachPath, silent).0, [Unknown, Unknown, Unknown]);
    // What is more than may pass is too much, whatever was not sent.
    let much = TrialOutcome { sent: 1_450_000, ..short };
    assert_eq!(verdicts(ServiceRates::EachPath, much).0, [Unknown, Unknown, Fail]);
}
