//! Tests of the search section and its strategy, on systems that are simulated at the level of paths.

use linerate_search::measurement::{Loss, TesterLimit};
use linerate_search::{Goal, Irregular, Limiter, Next, PPB, Request};

use super::state::SearchOutcome;
use super::{LimitsOf, MaxLoadSource, PartOf, SearchMode, SearchPurpose, SearchState, Searches, combine};
use crate::plan::Trial;
use crate::strategy::{Equipment, NextTrial, Outcomes, PathLimit, PathOutcome, RecordedOutcome, Strategy};
use crate::{Experiment, Overrides};

fn parsed(spec: &str) -> Result<Experiment, String> {
    let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {spec}\n");
    Experiment::parse(&text, "e.yaml", &Overrides::default()).map_err(|error| error.to_string())
}

fn experiment(spec: &str) -> Experiment {
    parsed(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn searches(spec: &str) -> Searches {
    Searches::of(&experiment(spec), None).unwrap().unwrap()
}

/// A path that forwards `capacity_pps`, with a generator that sends `generator_pps` at most.
fn path(trial: &Trial, name: &str, capacity_pps: f64, generator_pps: f64) -> PathOutcome {
    let seconds = trial.limit.duration_ms.unwrap() as f64 / 1e3;
    let intended = trial.profile.rate().packets_per_second(trial.profile.frame_sizes(), None).unwrap();
    let sent = (intended.unwrap_or(f64::MAX).min(generator_pps) * seconds) as u64;
    let missed = intended.is_some_and(|pps| pps > generator_pps);
    PathOutcome {
        path: name.to_owned(),
        intended_pps: intended,
        offered_pps: sent as f64 / seconds,
        missed_intended: missed,
        limit: missed.then_some(PathLimit::Generator),
        intended_ns: trial.search.map(|search| search.intended_duration_ns),
        duration_s: seconds,
        ..PathOutcome::of_counts(sent, sent.min((capacity_pps * seconds) as u64))
    }
}

/// Runs all searches; `measure` gives the outcome of a trial.
fn run(searches: &Searches, mut measure: impl FnMut(&Trial) -> Vec<PathOutcome>) -> (Vec<Trial>, Outcomes) {
    let (mut outcomes, mut trials) = (Outcomes::default(), Vec::new());
    while let NextTrial::Run(trial) = searches.next(&outcomes) {
        outcomes.add(&trial, RecordedOutcome::Measured(measure(&trial)));
        trials.push(*trial);
        assert!(trials.len() < 1000);
    }
    (trials, outcomes)
}

fn bounds(state: &SearchState) -> Vec<(String, Option<u64>, Option<u64>, bool)> {
    let conclusions = state.search.as_ref().unwrap().conclusions();
    conclusions
        .map(|(goal, found)| {
            let upper = found.relevant_upper_bound_pps;
            (goal.name.clone(), found.effective_lower_bound_pps, upper, found.regular)
        })
        .collect()
}

const USER: &str = "load: {max: 10mpps}";

#[test]
fn each_profile_is_searched_in_turn_and_trials_have_their_own_labels() {
    let all = searches(&format!("{{traffic: {{frameSizes: [64, 512]}}, search: {{{USER}, repeats: 2}}}}"));
    let (trials, outcomes) = run(&all, |trial| {
        let capacity = if trial.name.contains("64B") { 1e6 } else { 5e5 };
        vec![path(trial, "tx0-rx0", capacity, f64::MAX)]
    });
    let states = all.searches(&outcomes);
    assert_eq!(states.iter().map(|state| state.number).collect::<Vec<_>>(), [1, 2, 1, 2]);
    for (state, capacity) in states.iter().zip([1_000_000, 1_000_000, 500_000, 500_000]) {
        assert_eq!(state.ended, Some(SearchOutcome::Finished));
        assert_eq!(state.max, Some((10_000_000, MaxLoadSource::User)));
        let found = bounds(state);
        assert_eq!(found.len(), 2);
        let (_, Some(lower), Some(upper), true) = found[0] else { panic!("{found:?}") };
        assert!(lower <= capacity && capacity < upper, "{found:?}");
    }
    assert_eq!(trials[0].search.unwrap().purpose, SearchPurpose::WarmUp);
    assert_eq!(trials[0].directory(), "profile_1_flows_pkt_size_64B_search_rate_s/search-1/trial-1");
    let labels: std::collections::HashSet<_> = trials.iter().map(Trial::label).collect();
    assert_eq!(labels.len(), trials.len());
}

#[test]
fn any_prefix_of_the_outcomes_gives_the_same_next_trial() {
    let spec = format!("{{traffic: {{frameSizes: [64, 512]}}, search: {{{USER}}}}}");
    let measure = |trial: &Trial| vec![path(trial, "tx0-rx0", 1e6, f64::MAX)];
    let (trials, _) = run(&searches(&spec), measure);
    let mut outcomes = Outcomes::default();
    for trial in &trials {
        // A strategy of its own, as after a restart.
        assert_eq!(searches(&spec).next(&outcomes), NextTrial::Run(Box::new(trial.clone())));
        outcomes.add(trial, RecordedOutcome::Measured(measure(trial)));
    }
    assert_eq!(searches(&spec).next(&outcomes), NextTrial::Finished);
}

#[test]
fn without_a_real_link_the_highest_load_is_measured_first() {
    let all = searches("{search: {goals: [ndr]}}");
    let (trials, outcomes) = run(&all, |trial| vec![path(trial, "tx0-rx0", 1e6, 2e6)]);
    let purposes: Vec<_> = trials[..3].iter().map(|trial| trial.search.unwrap().purpose).collect();
    assert_eq!(purposes, [SearchPurpose::Ceiling, SearchPurpose::WarmUp, SearchPurpose::Search]);
    let state = all.searches(&outcomes).pop().unwrap();
    assert_eq!(state.max, Some((1_980_000, MaxLoadSource::Measured)));
    // A real link is the limit itself.
    let mut linked = Outcomes::default();
    linked.set_equipment(Equipment { claimed_bps: Some(10_000_000_000), real_bps: Some(10_000_000_000) });
    let max = |all: &Searches| {
        let NextTrial::Run(first) = all.next(&linked) else { panic!() };
        all.search_of(&first, &linked).unwrap().max
    };
    assert_eq!(max(&all), Some((14_880_952, MaxLoadSource::Link)));
    let capped = searches("{search: {goals: [ndr]}, safety: {maxRate: 2mpps}}");
    assert_eq!(max(&capped), Some((2_000_000, MaxLoadSource::Ceiling)));
}

#[test]
fn a_generator_below_the_path_is_never_the_paths_limit() {
    let all = searches(&format!("{{search: {{goals: [ndr], {USER}}}}}"));
    let (_, outcomes) = run(&all, |trial| vec![path(trial, "tx0-rx0", 1e6, 8e5)]);
    let state = all.searches(&outcomes).pop().unwrap();
    let (_, found) = state.search.as_ref().unwrap().conclusions().next().unwrap();
    assert_eq!(
        (found.irregular, found.limited_by),
        (Some(Irregular::TesterLimited), Some(Limiter::Generator))
    );
    assert!(found.effective_lower_bound_pps.unwrap() <= 800_000);
}

#[test]
fn paths_count_together_each_or_by_the_worst() {
    let spec = |mode: &str| format!("{{pairs: 2, search: {{mode: {mode}, goals: [pdr], {USER}}}}}");
    let capacity = |name: &str| if name == "tx0-rx0" { 1e6 } else { 2e6 };
    let measure = |trial: &Trial| {
        let names = ["tx0-rx0", "tx1-rx1"].into_iter().filter(|name| trial.loads(name));
        names.map(|name| path(trial, name, capacity(name), f64::MAX)).collect()
    };
    let upper = |mode: &str| {
        let all = searches(&spec(mode));
        let (_, outcomes) = run(&all, measure);
        all.searches(&outcomes)
            .iter()
            .map(|state| (state.path.clone(), bounds(state)[0].2.unwrap()))
            .collect::<Vec<_>>()
    };
    // Together, 0.5 % of both is 1 % of the slower one.
    let together = upper("together")[0].1;
    assert!((1_010_000..1_017_000).contains(&together), "{together}");
    let every = upper("every")[0].1;
    assert!((1_005_000..1_011_000).contains(&every), "{every}");
    let each = upper("each");
    assert_eq!(each[0].0.as_deref(), Some("tx0-rx0"));
    assert!((2_010_000..2_022_000).contains(&each[1].1), "{each:?}");
}

#[test]
fn a_load_that_one_path_did_not_offer_is_no_evidence_whichever_path_lost_most() {
    let all = searches(&format!("{{pairs: 2, search: {{mode: every, goals: [pdr], {USER}}}}}"));
    let NextTrial::Run(first) = all.next(&Outcomes::default()) else { panic!() };
    // One path loses 0.3 %, and the generator of the other sends 0.2 % too little.
    let paths = [path(&first, "tx0-rx0", 9.97e6, f64::MAX), path(&first, "tx1-rx1", f64::MAX, 9.98e6)];
    let Some(Next::Measure(request)) = all.search_of(&first, &Outcomes::default()).unwrap().request() else {
        panic!()
    };
    let trial = combine(SearchMode::Every, LimitsOf::default(), &request, &paths);
    assert_eq!((trial.lost, trial.unsent, trial.limit), (30_000, 20_000, Some(TesterLimit::Generator)));
    assert!(trial.is_high_loss(PPB / 200) && !trial.is_witnessed(PPB / 200));
    // Nor is a trial without a packet.
    let silent = PathOutcome { missed_intended: false, ..path(&first, "tx0-rx0", 1e6, 0.0) };
    assert!(combine(SearchMode::Together, LimitsOf::default(), &request, &[silent]).is_high_loss(0));
}

#[test]
fn what_the_tester_lost_on_one_path_hides_no_loss_of_another() {
    let request = Request { load_pps: 1_000_000, duration_ns: PPB, counted: true };
    let path = |sent: u64, lost: u64, receiver_dropped: u64| PathOutcome {
        intended_pps: Some(1e6),
        limit: (receiver_dropped > 0).then_some(PathLimit::Receiver),
        intended_ns: Some(PPB),
        receiver_dropped,
        ..PathOutcome::of_counts(sent, sent - lost)
    };
    let every = |paths: &[PathOutcome]| combine(SearchMode::Every, LimitsOf::default(), &request, paths);
    // The receiver explains the greater loss, and the path alone the smaller one.
    let both = every(&[path(1_000_000, 10, 10), path(1_000_000, 9, 0)]);
    assert_eq!((both.sent, both.lost, both.receiver_lost), (1_000_000, 10, 10), "counts of one path");
    assert!(both.is_witnessed(0) && !both.is_receivers_loss());
    // Of paths that sent differently, the shares are compared.
    let unequal = every(&[path(1_000_000, 10, 10), path(1_000_001, 1, 0)]);
    assert_eq!(unequal.path_loss(), Loss { lost: 1, all: 1_000_001 });
    let one = every(&[path(1_000_000, 10, 10), path(1_000_000, 0, 0)]);
    assert!(one.is_receivers_loss() && !one.is_witnessed(0));
    // Nor does a load that one path did not offer, or of which it sent nothing.
    for sent in [900_000, 0] {
        let short = PathOutcome { missed_intended: true, ..path(sent, 0, 0) };
        let short = every(&[short, path(1_000_000, 9, 0)]);
        assert_eq!((short.sent, short.lost, short.unsent), (sent, 0, 1_000_000 - sent));
        assert!(short.is_witnessed(0) && short.is_high_loss(0), "{short:?}");
    }
}

#[test]
fn loads_and_ceilings_are_checked_before_the_first_trial() {
    for (spec, part) in [
        ("{search: {goals: [rfc2544]}, safety: {maxDuration: 30s}}", "30s"),
        ("{search: {warmUp: 1m}, safety: {maxDuration: 30s}}", "30s"),
        ("{search: {}, safety: {maxRate: 500pps}}", "500pps"),
        ("{traffic: {destination: {ip: 8.8.8.8}}, search: {}, safety: {allow: [198.18.0.0/15]}}", "8.8.8.8"),
    ] {
        let message = Searches::of(&experiment(spec), None).unwrap_err().to_string();
        assert!(message.contains(part), "{spec}: {message}");
    }
    for (load, part) in [
        ("min: 2gbps, max: 1gbps", "search_rate_s: spec.search: the lowest load, 3906250"),
        ("min: 10kbps", "must be at least 200"),
    ] {
        let spec = format!("{{search: {{load: {{{load}}}}}}}");
        let message = Searches::of(&experiment(&spec), None).unwrap_err().to_string();
        assert!(message.contains(part), "{spec}: {message}");
    }
    assert_eq!(searches("{search: {load: {min: 20gbps}}}").forecast(std::time::Duration::ZERO).len(), 1);
    searches("{search: {goals: [rfc2544]}, safety: {maxDuration: 60s, maxRate: 1mpps}}");
}

#[test]
fn time_failures_and_lost_paths_end_a_search_with_its_bounds() {
    let all = searches(&format!("{{search: {{goals: [ndr], budget: 10s, {USER}}}}}"));
    let (trials, outcomes) = run(&all, |trial| vec![path(trial, "tx0-rx0", 1e6, f64::MAX)]);
    assert_eq!(trials.len(), 10);
    let state = all.searches(&outcomes).pop().unwrap();
    assert_eq!(state.ended, Some(SearchOutcome::Budget));
    assert!(!bounds(&state)[0].3);

    let all = searches(&format!("{{search: {{goals: [ndr], {USER}}}}}"));
    let mut outcomes = Outcomes::default();
    let NextTrial::Run(first) = all.next(&outcomes) else { panic!() };
    outcomes.add(&first, RecordedOutcome::Failed);
    assert_eq!(all.next(&outcomes), NextTrial::Finished);
    let ended = |outcomes: &Outcomes| all.searches(outcomes)[0].ended.clone();
    assert_eq!(ended(&outcomes), Some(SearchOutcome::Failed("a trial failed in every attempt".to_owned())));
    outcomes.add(&first, RecordedOutcome::Measured(Vec::new()));
    assert!(matches!(ended(&outcomes), Some(SearchOutcome::Failed(why)) if why.contains("0 of 1 paths")));
    let mut other = path(&first, "tx0-rx0", 1e6, f64::MAX);
    other.intended_pps = Some(1.0);
    outcomes.add(&first, RecordedOutcome::Measured(vec![other]));
    assert!(matches!(ended(&outcomes), Some(SearchOutcome::Failed(why)) if why.contains("another load")));
}

#[test]
fn packets_too_late_to_be_judged_and_failed_sends_are_no_evidence_of_the_path() {
    let request = Request { load_pps: 1_000_000, duration_ns: PPB, counted: true };
    let trial = |lost: u64, beyond_window: u64, sender_lost: u64| PathOutcome {
        intended_pps: Some(1e6),
        intended_ns: Some(PPB),
        sender_lost,
        beyond_window,
        ..PathOutcome::of_counts(1_000_000, 1_000_000 - lost)
    };
    let tester = LimitsOf::default();
    let of_path = LimitsOf { port: PartOf::Path, ..tester };
    // Limits; lost, beyond the window, lost by the sender's port; lost for the search, lost by the tester, its limit.
    for (limits, (lost, beyond_window, sender_lost), expected) in [
        (tester, (10, 0, 0), (10, 0, None)),
        (tester, (0, 46_153, 0), (46_153, 46_153, Some(TesterLimit::Receiver))),
        (tester, (10, 5, 0), (15, 5, Some(TesterLimit::Receiver))),
        (tester, (10, 0, 4), (10, 4, Some(TesterLimit::Port))),
        (tester, (10, 0, 12), (10, 10, Some(TesterLimit::Port))),
        // What the port failed to send arrived nonetheless.
        (tester, (0, 0, 12), (0, 0, None)),
        (of_path, (10, 0, 12), (10, 0, None)),
    ] {
        let one = combine(SearchMode::Every, limits, &request, &[trial(lost, beyond_window, sender_lost)]);
        assert_eq!(
            (one.lost, one.receiver_lost, one.limit),
            expected,
            "{lost} {beyond_window} {sender_lost}"
        );
        assert_eq!(one.is_high_loss(0), lost + beyond_window > 0);
        assert_eq!(one.is_witnessed(0), expected.0 > expected.1);
    }
}

#[test]
fn loss_that_may_hide_behind_late_packets_gives_no_lower_bound() {
    let all = searches(&format!("{{search: {{{USER}, goals: [ndr]}}}}"));
    let (trials, outcomes) = run(&all, |trial| {
        let mut path = path(trial, "tx0-rx0", f64::MAX, f64::MAX);
        path.beyond_window = if path.offered_pps > 1e6 { path.received_packets / 2 } else { 0 };
        vec![path]
    });
    let state = all.searches(&outcomes).pop().unwrap();
    let found = bounds(&state);
    let (_, Some(lower), _, regular) = found[0].clone() else { panic!("{found:?}") };
    assert!(lower <= 1_000_000 && !regular, "{found:?}");
    assert!(trials.len() > 3);
    let conclusions: Vec<_> = state.search.as_ref().unwrap().conclusions().collect();
    assert_eq!(conclusions[0].1.irregular, Some(Irregular::TesterLimited));
}

#[test]
fn goals_are_names_or_have_attributes() {
    let goals = |text: &str| {
        let experiment = experiment(&format!("{{search: {{goals: {text}}}}}"));
        let goals = experiment.search().unwrap().goals.value.iter().map(|goal| goal.0.clone());
        let goals: Vec<Goal> = goals.collect();
        // The document in force is read as the same.
        let again =
            Experiment::parse(&experiment.to_yaml().unwrap(), "again", &Overrides::default()).unwrap();
        assert_eq!(again.search().unwrap().goals.value, experiment.search().unwrap().goals.value);
        goals
    };
    assert_eq!(goals("[ndr, tst009]"), [Goal::ndr(), Goal::tst009()]);
    let own = &goals("[{name: strict, loss: 0.001%, width: 1%, duration: 5s, sum: 50s}]")[0];
    assert_eq!((own.loss_ppb, own.width_ppb, own.duration_sum_ns), (10_000, PPB / 100, 50 * PPB));
    let rfc = &goals("[{name: rfc2544, width: 1%}]")[0];
    assert_eq!((rfc.exceed_ppb, rfc.width_ppb, rfc.preceding_targets), (0, PPB / 100, 0));
}

#[test]
fn what_cannot_be_searched_for_is_named() {
    for (spec, part) in [
        ("{search: {goals: [nrd]}}", "there is no goal 'nrd'; there are ndr, pdr, rfc2544, tst009"),
        ("{search: {goals: []}}", "spec.search.goals: the list is empty"),
        ("{search: {goals: [ndr, ndr]}}", "two goals are named 'ndr'"),
        ("{search: {goals: [{name: a, los: 1%}]}}", "los"),
        ("{search: {goals: [{name: a, loss: 1}]}}", "'1' is not a percentage"),
        ("{search: {load: {min: 10pps}}}", "must be at least 200"),
        ("{search: {load: {min: 2mpps, max: 1mpps}}}", "spec.search.load.min: the lowest load, 2000000"),
        ("{search: {load: {max: max}}}", "spec.search.load.max: 'max' is no bound"),
        ("{traffic: {rates: [1mpps]}, search: {}}", "spec.traffic.rates: given beside spec.search"),
        ("{trial: {duration: 3s}, search: {}}", "spec.trial.duration: given beside spec.search"),
        ("{trial: {repeats: 3}, search: {}}", "spec.search.repeats"),
        ("{profiles: [{stages: [{rate: 1mpps, duration: 1s}]}], search: {}}", "a profile has stages"),
    ] {
        let message = parsed(spec).unwrap_err();
        assert!(message.contains(part), "{spec}: {message}");
    }
}

#[test]
fn a_goal_has_no_name_of_a_figure() {
    let parsed = |goal: &str| {
        let text = format!(
            "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{search: {{goals: [{{name: {goal}}}]}}}}\n"
        );
        Experiment::parse(&text, "e.yaml", &Overrides::default())
    };
    assert!(parsed("mine").is_ok());
    for name in crate::RESERVED_GOALS {
        let error = parsed(name).unwrap_err().to_string();
        assert!(error.contains(&format!("'{name}_pps' is a figure of trials")), "{error}");
    }
}
