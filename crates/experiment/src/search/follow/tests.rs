//! Benchmarks behind searches, on simulated paths.

use linerate_search::methods::{BurstStatus, Conclusion, RecoveryTime, TrialLoad};
use linerate_search::model::{Model, Simulated};

use super::super::state::SearchOutcome;
use super::super::{FollowUp, SearchState, Searches, Throughput};
use linerate_search::methods::{Delays, LossSpan, MethodTrial};
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::super::{LimitsOf, SearchMode};
use super::*;
use crate::plan::Trial;
use crate::strategy::PathOutcome;
use crate::strategy::{NextTrial, Outcomes, RecordedOutcome, Strategy};
use crate::{Experiment, Overrides};

const LINK_BPS: u64 = 10_000_000_000;
const LINK_PPS: f64 = 14_880_952.380_952;

fn parsed(spec: &str) -> Result<Experiment, String> {
    let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {spec}\n");
    Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
}

fn searches(spec: &str) -> Searches {
    Searches::of(&parsed(spec).unwrap_or_else(|error| panic!("{error}")), None).unwrap().unwrap()
}

/// What was asked of a trial.
fn load_of(trial: &Trial) -> TrialLoad {
    let pps = |rate: Rate| match rate {
        Rate::Pps(pps) => pps as u64,
        other => panic!("{other}"),
    };
    let ns = |span: Span| span.0.as_nanos() as u64;
    match (&trial.profile.raw().stages[..], trial.limit.packets) {
        ([first, then], _) => TrialLoad::Step {
            first_pps: pps(first.rate),
            first_ns: ns(first.duration),
            then_pps: pps(then.rate),
            then_ns: ns(then.duration),
        },
        (_, Some(packets)) => TrialLoad::Burst { packets },
        _ => TrialLoad::Steady {
            pps: pps(trial.profile.rate()),
            duration_ns: trial.limit.duration_ms.unwrap() * NS_PER_MS,
        },
    }
}

/// The outcome of a trial on a modelled path.
fn measured(system: &mut Simulated<'_>, trial: &Trial, name: &str) -> PathOutcome {
    let load = load_of(trial);
    let outcome = system.send(&load, LINK_PPS);
    let duration_s = outcome.sending_ns as f64 / 1e9;
    let intended = match load {
        TrialLoad::Burst { .. } => None,
        TrialLoad::Steady { pps, .. } => Some(pps as f64),
        TrialLoad::Step { .. } => Some(outcome.sent as f64 / duration_s),
    };
    PathOutcome {
        path: name.to_owned(),
        intended_pps: intended,
        offered_pps: outcome.sent as f64 / duration_s,
        missed_intended: outcome.unsent > 0,
        intended_ns: trial.search.map(|search| search.intended_duration_ns),
        duration_s,
        delays: outcome.delays,
        losses: outcome.losses,
        ..PathOutcome::of_counts(outcome.sent, outcome.sent - outcome.lost)
    }
}

fn linked() -> Outcomes {
    let mut outcomes = Outcomes::default();
    outcomes.set_equipment(Equipment { claimed_bps: Some(LINK_BPS), real_bps: Some(LINK_BPS) });
    outcomes
}

/// Runs all trials on a model; fails those for which `fails` holds. Checks that the strategy goes on at the same
/// trial when it begins anew.
fn run(spec: &str, model: &Model, fails: impl Fn(&Trial) -> bool) -> (Vec<Trial>, Vec<SearchState>) {
    let all = searches(spec);
    let mut system = Simulated::new(model, 0);
    let (mut outcomes, mut trials) = (linked(), Vec::new());
    while let NextTrial::Run(trial) = all.next(&outcomes) {
        if trials.len() % 7 == 0 {
            assert_eq!(searches(spec).next(&outcomes), NextTrial::Run(trial.clone()));
        }
        let outcome = if fails(&trial) {
            RecordedOutcome::Failed
        } else {
            RecordedOutcome::Measured(vec![measured(&mut system, &trial, "tx0-rx0")])
        };
        outcomes.add(&trial, outcome);
        trials.push(*trial);
        assert!(trials.len() < 1_000);
    }
    let labels: std::collections::HashSet<_> = trials.iter().map(Trial::label).collect();
    assert_eq!(labels.len(), trials.len());
    let states = searches(spec).searches(&outcomes);
    (trials, states)
}

fn conclusion(state: &SearchState, name: &str) -> Conclusion {
    let follow = state.follow.iter().find(|follow| follow.name == name).unwrap();
    assert!(follow.is_complete, "{follow:?}");
    follow.method.as_ref().unwrap().conclusion()
}

const GOAL: &str = "goals: [{name: ndr, duration: 1s, initialDuration: 1s, sum: 1s}]";

#[test]
fn every_benchmark_follows_the_search_in_order() {
    let spec = format!(
        "{{traffic: {{frameSizes: [64]}}, search: {{{GOAL}, warmUp: 0s, repeats: 2, then: [
            {{latency: {{at: [100%, 50%], repeats: 2}}}}, {{lossCurve: {{}}}},
            {{backToBack: {{searches: 2, max: 100000}}}}, {{recovery: {{}}}}, {{soak: {{at: 50%}}}},
            {{service: {{cir: 2mpps, eir: 1mpps, policing: true, loss: 0.1%}}}}]}}}}"
    );
    let model = Model::Buffer { name: String::new(), capacity_pps: 10_000_000.0, buffer_packets: 1_000.0 };
    let (trials, states) = run(&spec, &model, |_| false);
    assert_eq!(states.len(), 2);
    for state in &states {
        assert_eq!((&state.ended, state.follow.len()), (&Some(SearchOutcome::Finished), 6));
        let found = state.search.as_ref().unwrap().conclusions().next().unwrap().1;
        let throughput = found.effective_lower_bound_pps.unwrap();
        let Conclusion::Latency(latency) = conclusion(state, "latency") else { panic!() };
        assert_eq!((latency.throughput_pps, latency.throughput_name.as_str()), (throughput, "NDR"));
        assert_eq!(latency.at[1].load_pps, throughput / 2);
        let Conclusion::LossCurve(curve) = conclusion(state, "lossCurve") else { panic!() };
        assert_eq!((curve.max_load_pps, curve.partial.len()), (14_880_952, 0));
        let Conclusion::BackToBack(burst) = conclusion(state, "backToBack") else { panic!() };
        assert_eq!(burst.status, BurstStatus::Valid, "{burst:?}");
        // 1,000 packets, filled at line rate and drained at 10 Mpps.
        assert_eq!((burst.min_frames, burst.max_frames), (Some(3_048), Some(3_048)));
        let Conclusion::Recovery(recovery) = conclusion(state, "recovery") else { panic!() };
        assert_eq!(recovery.trials[0].recovery, RecoveryTime::Known { ns: 0 });
        let Conclusion::Soak(soak) = conclusion(state, "soak") else { panic!() };
        assert_eq!((soak.load_pps, soak.load_name.as_str()), (throughput / 2, "50% of NDR"));
        let Conclusion::Service(service) = conclusion(state, "service") else { panic!() };
        assert_eq!((service.cir_pps, service.steps.len()), (2_000_000, 6), "nothing polices: {service:?}");
    }
    // The second search comes behind all benchmarks of the first.
    let numbers: Vec<u32> = trials.iter().map(|trial| trial.search.unwrap().number).collect();
    assert!(numbers.is_sorted());
    let ordinals = trials.iter().filter(|trial| trial.search.unwrap().number == 2);
    let ordinals: Vec<u32> = ordinals.map(|trial| trial.search.unwrap().ordinal).collect();
    assert!(ordinals.iter().copied().eq(1..=ordinals.len() as u32));
    let soak = trials.iter().find(|trial| trial.search.unwrap().purpose == SearchPurpose::Soak).unwrap();
    assert_eq!(soak.limit.duration_ms, Some(600_000));
    assert!(soak.directory().contains("/search-1/trial-"));
}

#[test]
fn bursts_of_a_mix_of_sizes_say_that_they_are_none_of_the_standard() {
    let deviates = |sizes: &str| {
        let spec = format!(
            "{{traffic: {{frameSizes: [{sizes}]}}, search: {{{GOAL}, warmUp: 0s, load: {{max: 2mpps}}, then: [
                {{backToBack: {{searches: 1, max: 10000}}}}]}}}}"
        );
        let model = Model::Buffer { name: String::new(), capacity_pps: 1_000_000.0, buffer_packets: 100.0 };
        let (_, states) = run(&spec, &model, |_| false);
        let Conclusion::BackToBack(found) = conclusion(&states[0], "backToBack") else { panic!() };
        found.deviations.iter().any(|one| one.text.contains("these have several"))
    };
    assert!(deviates("imix") && !deviates("64"));
}

#[test]
fn a_benchmark_that_fails_or_cannot_be_leaves_the_others() {
    let spec = format!(
        "{{traffic: {{frameSizes: [64]}}, safety: {{maxRate: 5mpps}}, search: {{{GOAL}, warmUp: 0s, load: {{max: 4mpps}}, then: [
            {{latency: {{at: [100%], repeats: 3}}}}, {{backToBack: {{}}}}, {{recovery: {{of: 4.9mpps}}}},
            {{service: {{cir: 6mpps, performance: 0s}}}}, {{soak: {{of: 1mpps}}}}]}}}}"
    );
    let model = Model::Cliff { name: String::new(), capacity_pps: 2_000_000.0 };
    let second_of_latency = |trial: &Trial| {
        trial.search.unwrap().purpose == SearchPurpose::Latency
            && trial.search.unwrap().ordinal.is_multiple_of(2)
    };
    let (_, states) = run(&spec, &model, second_of_latency);
    let follow = &states[0].follow;
    let reasons: Vec<&str> =
        follow.iter().map(|follow| follow.reason.as_deref().unwrap_or_default()).collect();
    assert_eq!(reasons[0], "a trial failed in every attempt");
    assert!(reasons[1].contains("spec.safety admits 5000000"), "{reasons:?}");
    // The overload stays within the ceiling.
    let Conclusion::Recovery(recovery) = conclusion(&states[0], "recovery") else { panic!() };
    assert_eq!(recovery.overload_pps, 5_000_000);
    assert_eq!(reasons[3], "a trial at 6000000 packets per second is needed, and spec.safety admits 5000000");
    assert!(follow[4].is_complete && reasons[4].is_empty());
}

#[test]
fn what_needs_a_throughput_does_not_begin_without_one() {
    let spec = format!(
        "{{search: {{{GOAL}, warmUp: 0s, load: {{min: 1mpps, max: 2mpps}}, then: [{{latency: {{}}}}, {{lossCurve: {{duration: 1s}}}}]}}}}"
    );
    let model = Model::Cliff { name: String::new(), capacity_pps: 10_000.0 };
    let (_, states) = run(&spec, &model, |_| false);
    assert_eq!(
        states[0].follow[0].reason.as_deref(),
        Some("no load meets goal 'ndr', so there is no throughput")
    );
    assert!(states[0].follow[1].is_complete);
    // A result that is "at least" says so.
    let wide = "{search: {goals: [{name: ndr, duration: 1s, initialDuration: 1s, sum: 1s}], warmUp: 0s, load: {max: 2mpps}, then: [{latency: {at: [90%]}}]}}";
    let (_, states) = run(wide, &Model::Cliff { name: String::new(), capacity_pps: 1e9 }, |_| false);
    let Conclusion::Latency(latency) = conclusion(&states[0], "latency") else { panic!() };
    assert_eq!(latency.at[0].name, "latency at 90 % of NDR (at least)");
}

#[test]
fn trials_of_the_search_are_the_same_whatever_follows() {
    let keys = |then: &str| {
        let all = searches(&format!("{{search: {{{GOAL}, load: {{max: 2mpps}}{then}}}}}"));
        let NextTrial::Run(first) = all.next(&Outcomes::default()) else { panic!() };
        first.key
    };
    assert_eq!(keys(""), keys(", then: [{soak: {}}]"));
}

#[test]
fn benchmarks_that_cannot_be_are_refused_by_name() {
    for (then, part) in [
        ("{latency: {of: pdr}}", "then[0].latency.of: the search has no goal 'pdr'; it has ndr"),
        ("{latency: {at: []}}", "then[0].latency.at: the list is empty"),
        ("{latency: {at: [0%]}}", "0% is no load"),
        ("{lossCurve: {step: 20%}}", "lossCurve.step: '20%' is outside 0.1% to 10%"),
        ("{backToBack: {min: 10, max: 10}}", "backToBack.max: 10 is not above"),
        ("{service: {cir: max}}", "service.cir: 'max' is no information rate"),
        ("{service: {}}", "cir"),
        ("{soak: {of: max}}", "'max' is no throughput"),
        ("{soak: {of: Not A Name}}", "neither the name of a goal nor a load"),
        ("{dance: {}}", "dance"),
    ] {
        let error = parsed(&format!("{{search: {{goals: [ndr], then: [{then}]}}}}")).unwrap_err();
        assert!(error.contains(part), "{then}: {error}");
    }
}

#[test]
fn sections_are_written_as_they_are_read() {
    for text in [
        "latency: {of: ndr, at: [100%, 12.5%], duration: 2m, repeats: 20}",
        "service: {cir: 1mpps, eir: 200kpps, policing: true, delay: 500us, variation: 1ms, loss: 0.1%}",
        "backToBack: {of: 1.5mpps, max: 1000000, tries: 1}",
    ] {
        let read: FollowUp = serde_saphyr::from_str(&format!("{{{text}}}")).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<FollowUp>(&written).unwrap(), read, "{written}");
    }
    for (text, throughput) in [
        ("first", Throughput::First),
        ("my-goal", Throughput::Goal("my-goal".into())),
        ("2gbps", Throughput::Load(Rate::Bps(2e9))),
        ("50%", Throughput::Load(Rate::Percent(50.0))),
    ] {
        assert_eq!(text.parse::<Throughput>().unwrap(), throughput);
        assert_eq!(throughput.to_string(), text);
    }
}

#[test]
fn paths_are_put_together() {
    let path = |sent: u64, received: u64, delay: u64| PathOutcome {
        path: String::new(),
        intended_pps: None,
        offered_pps: 1e6,
        sent_packets: sent,
        received_packets: received,
        missed_intended: false,
        limit: None,
        intended_ns: None,
        duration_s: 2.0,
        receiver_dropped: 0,
        sender_lost: 0,
        beyond_window: 0,
        receiver_missed: 0,
        overhead_s: 0.0,
        delays: Some(Delays { min: delay, mean: 2 * delay, max: 9 * delay, ..Delays::default() }),
        losses: (sent > received).then(|| LossSpan {
            first_ns: Some(delay),
            last_ns: Some(10 * delay),
            unplaced: 1,
            intervals: 2,
            interval_ns: 10,
            resolution_ns: 1,
        }),
    };
    let how = (SearchMode::Together, LimitsOf::default());
    let steady = MethodTrial { number: 1, load: TrialLoad::Steady { pps: 50, duration_ns: 2_000_000_000 } };
    let paths = [path(100, 90, 5), path(100, 100, 7), path(100, 99, 3)];
    let all = outcome(how, &steady, Some(1e6), &paths);
    assert_eq!((all.sent, all.lost, all.sending_ns, all.is_gapless), (300, 11, 2_000_000_000, None));
    // Rates are those of one sender, as loads are.
    let rates =
        all.paths.map(|paths| (paths.received_pps, paths.least_pps, paths.most_pps, paths.most_received_pps));
    assert_eq!(rates, Some((45, 45, 50, 50)));
    assert_eq!(all.delays.map(|delays| (delays.min, delays.mean, delays.max)), Some((3, 14, 63)));
    let losses = all.losses.unwrap();
    assert_eq!((losses.first_ns, losses.last_ns, losses.unplaced), (Some(3), Some(50), 2));
    // Each path has the burst.
    let burst = MethodTrial { number: 1, load: TrialLoad::Burst { packets: 100 } };
    let all = outcome(how, &burst, Some(1e6), &paths);
    assert_eq!((all.sent, all.lost, all.is_gapless), (100, 11, Some(true)));
    assert_eq!(outcome(how, &burst, Some(2e6), &paths).is_gapless, Some(false));
    let unknown = [path(100, 90, 5), PathOutcome { losses: None, delays: None, ..path(100, 90, 5) }];
    let all = outcome(how, &steady, None, &unknown);
    assert_eq!((all.losses, all.delays), (None, None));
}
