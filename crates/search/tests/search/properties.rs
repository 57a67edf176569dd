//! What holds for a search on any system, friendly or not.

use linerate_search::classify::{GoalCriterion, LoadClass, classify};
use linerate_search::simulate::run;
use linerate_search::{Goal, Measurement, Next, PPB, Request, Search, SearchSpec};

/// Numbers that look random: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn outcome(request: &Request, lost: u64, unsent: u64) -> Measurement {
    let intended = request.load_pps * (request.duration_ns / 1_000_000) / 1_000;
    let sent = intended - unsent.min(intended);
    Measurement {
        load_pps: request.load_pps,
        duration_ns: request.duration_ns,
        effective_ns: request.duration_ns,
        sent,
        lost: lost.min(sent),
        receiver_lost: 0,
        unsent: intended - sent,
        limit: None,
        loss_elsewhere: None,
    }
}

fn spec(goals: Vec<Goal>) -> SearchSpec {
    SearchSpec { goals, min_pps: 9_001, max_pps: 14_880_952, warm_up_ns: PPB }
}

type System = Box<dyn FnMut(&Request) -> Measurement>;

/// Systems that answer a request; some are adversarial.
fn systems(seed: u64) -> Vec<System> {
    let (mut any, mut rare, mut tester) = (Random(seed), Random(!seed), Random(seed ^ 77));
    let mut flip = false;
    vec![
        Box::new(move |request| {
            let packets = request.load_pps + 1;
            outcome(request, any.below(packets), 0)
        }),
        Box::new(move |request| outcome(request, u64::from(rare.below(3) == 0), 0)),
        Box::new(move |request| outcome(request, 0, tester.below(2) * tester.below(request.load_pps))),
        Box::new(move |request| {
            flip = !flip;
            outcome(request, if flip { u64::MAX } else { 0 }, 0)
        }),
        // The more load, the less loss.
        Box::new(|request| outcome(request, 20_000_000 - request.load_pps, 0)),
        Box::new(|request| outcome(request, u64::MAX, 0)),
        Box::new(|request| outcome(request, 0, 0)),
    ]
}

fn goal_sets() -> Vec<Vec<Goal>> {
    let strict = Goal { name: "strict".into(), exceed_ppb: 0, width_ppb: PPB / 1_000, ..Goal::ndr() };
    let wide = Goal { name: "wide".into(), loss_ppb: PPB / 10, width_ppb: PPB / 10, ..Goal::ndr() };
    vec![
        vec![Goal::ndr(), Goal::pdr()],
        vec![Goal::rfc2544()],
        vec![Goal::tst009(), Goal::pdr()],
        vec![strict, wide, Goal::pdr()],
    ]
}

#[test]
fn a_search_ends_and_stays_within_its_limits() {
    for goals in goal_sets() {
        for seed in 0..10 {
            for (kind, mut system) in systems(seed).into_iter().enumerate() {
                let spec = spec(goals.clone());
                let found = run(spec.clone(), |request| {
                    assert!((spec.min_pps..=spec.max_pps).contains(&request.load_pps));
                    assert!(spec.goals.iter().any(|goal| request.duration_ns <= goal.final_duration_ns));
                    system(request)
                });
                let found = found.unwrap();
                assert!(found.trials <= 10_000, "system {kind}, seed {seed}");
                for result in found.goals.values() {
                    if let (Some(lower), Some(upper)) =
                        (result.relevant_lower_bound_pps, result.relevant_upper_bound_pps)
                    {
                        assert!(lower < upper, "{result:?}");
                    }
                    assert_eq!(result.regular, result.irregular.is_none());
                }
            }
        }
    }
}

#[test]
fn goals_of_several_widths_are_reached_at_low_loads_too() {
    // The grid of both widths has steps of 0.1 %, and a whole packet per second is wider below 1,000.
    let fine = Goal { name: "fine".into(), width_ppb: 3_000_000, ..Goal::ndr() };
    let goals = vec![Goal::ndr(), fine];
    for capacity_pps in (336..1_100).step_by(7) {
        let spec = SearchSpec { min_pps: 334, max_pps: 10_000, ..spec(goals.clone()) };
        let lost = |request: &Request| {
            request.load_pps.saturating_sub(capacity_pps) * (request.duration_ns / 1_000_000) / 1_000
        };
        let found = run(spec, |request| outcome(request, lost(request), 0)).unwrap();
        for (name, result) in &found.goals {
            assert!(result.regular, "{name} at {capacity_pps}: {result:?}");
        }
    }
}

#[test]
fn any_prefix_of_a_search_is_followed_by_the_same_trial() {
    for (kind, mut system) in systems(5).into_iter().enumerate() {
        let log = run(spec(vec![Goal::ndr(), Goal::pdr()]), &mut *system).unwrap().log;
        for length in [0, 1, 2, 5, log.len() / 2, log.len() - 1] {
            let mut again = Search::new(spec(vec![Goal::ndr(), Goal::pdr()])).unwrap();
            log[..length].iter().for_each(|(_, outcome)| again.record(*outcome));
            assert_eq!(again.next(), Next::Measure(log[length].0), "system {kind} after {length}");
        }
    }
}

#[test]
fn the_order_of_goals_moves_a_result_by_no_more_than_a_width() {
    let cliff = |request: &Request| {
        let seconds = request.duration_ns / PPB;
        outcome(request, (request.load_pps.saturating_sub(1_000_000)) * seconds, 0)
    };
    let found = |goals: Vec<Goal>| run(spec(goals), cliff).unwrap().goals;
    let (one, other) = (found(vec![Goal::ndr(), Goal::pdr()]), found(vec![Goal::pdr(), Goal::ndr()]));
    for (name, result) in &one {
        let [a, b] = [result, &other[name]].map(|found| found.conditional_throughput_pps.unwrap());
        assert!((a / b - 1.0).abs() <= 0.005, "{name}: {a} {b}");
    }
}

#[test]
fn more_loss_never_makes_a_load_better() {
    let rank = |class| match class {
        LoadClass::Lower => 0,
        LoadClass::Undecided => 1,
        LoadClass::Upper => 2,
    };
    let mut random = Random(3);
    for _ in 0..2_000 {
        let criterion = GoalCriterion {
            loss_ppb: random.below(PPB / 50),
            exceed_ppb: random.below(PPB),
            full_ns: PPB * (1 + random.below(3)),
            sum_ns: PPB * (3 + random.below(20)),
        };
        let mut trials: Vec<Measurement> = (0..random.below(30))
            .map(|_| {
                let duration_ns = PPB * (1 + random.below(4));
                let request = Request { load_pps: 1_000, duration_ns, counted: true };
                outcome(&request, random.below(2) * random.below(50), 0)
            })
            .collect();
        let before = rank(classify(&trials, &criterion));
        if let Some(worse) = trials.len().checked_sub(1).map(|last| random.below(last as u64 + 1)) {
            trials[worse as usize].lost += random.below(200);
            assert!(rank(classify(&trials, &criterion)) >= before, "{criterion:?} {trials:?}");
        }
    }
}

#[test]
fn a_tester_that_is_held_up_now_and_then_repeats_the_trial() {
    let mut random = Random(9);
    for _ in 0..20 {
        let found = run(spec(vec![Goal::ndr()]), |request| {
            let seconds = request.duration_ns / PPB;
            let held_up = request.load_pps < 14_000_000 && random.below(6) == 0;
            let lost = (request.load_pps.saturating_sub(1_000_000)) * seconds;
            outcome(request, if held_up { 0 } else { lost }, if held_up { request.load_pps / 5 } else { 0 })
        });
        let result = &found.unwrap().goals["ndr"];
        assert!(result.regular, "{result:?}");
        assert!(result.relevant_lower_bound_pps <= Some(1_000_000), "{result:?}");
        assert!(result.relevant_upper_bound_pps > Some(1_000_000), "{result:?}");
    }
}
