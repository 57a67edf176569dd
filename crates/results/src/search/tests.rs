use super::*;
use crate::fixtures::search::{
    SearchCase, Searched, at_least, cliff, limited_by_generator, one_dead_pair, regular, searched, two_pairs,
};
use crate::store::Earlier;
use linerate_experiment::search::{MaxLoadSource, Searches};
use linerate_experiment::strategy::{NextTrial, PathLimit, Strategy};
use linerate_experiment::{Experiment, Overrides};
use linerate_search::measurement::TesterLimit;
use linerate_search::{Irregular, Limiter};

/// Name of each result, its conditional throughput, and why it is irregular.
type Found = (String, Option<u64>, Option<Irregular>, Option<Limiter>);

fn results(searched: &Searched) -> Vec<Found> {
    let of = |search: &SearchSummary| {
        let name = format!("{} #{} {}", search.frame_size, search.number, search.subject());
        let goals = search.goals.iter().map(move |one| {
            let found = &one.conclusion;
            let value = found.conditional_throughput_pps.map(|pps| pps as u64);
            (format!("{name} {}", one.goal.name), value, found.irregular, found.limited_by)
        });
        goals.collect::<Vec<_>>()
    };
    searched.summary.searches.iter().flat_map(of).collect()
}

#[test]
fn results_of_simulated_paths_are_those_of_their_capacity() {
    let found = results(&regular());
    assert_eq!(found.len(), 3 * 2 * 2);
    for ((name, value, irregular, limited), capacity) in
        found.iter().zip([1e6, 9.5e5, 7e5].iter().flat_map(|capacity| [capacity; 4]))
    {
        let off = (value.unwrap() as f64 / capacity - 1.0).abs();
        assert!(off < 0.015 && irregular.is_none() && *limited == Some(Limiter::Path), "{name}: {value:?}");
    }
    for (case, irregular, limited) in [
        (limited_by_generator(), Irregular::TesterLimited, Limiter::Generator),
        (at_least(), Irregular::MaxLoadReached, Limiter::MaxLoad),
        (one_dead_pair(), Irregular::MinLoadFails, Limiter::Path),
    ] {
        for (name, _, found, by) in results(&case) {
            assert_eq!((found, by), (Some(irregular), Some(limited)), "{name}");
        }
    }
    assert!(results(&one_dead_pair()).iter().all(|(_, value, ..)| value.is_none()));
}

#[test]
fn paths_count_as_the_mode_says() {
    let names = |mode| results(&two_pairs(mode)).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    assert_eq!(names(SearchMode::Together), ["64 #1 together ndr", "64 #1 together pdr"]);
    assert_eq!(
        names(SearchMode::Each),
        ["64 #1 tx0-rx0 ndr", "64 #1 tx0-rx0 pdr", "64 #1 tx1-rx1 ndr", "64 #1 tx1-rx1 pdr"]
    );
    let value = |mode| results(&two_pairs(mode))[1].1.unwrap();
    // 0.5 % of the loss of both is 1 % of that of one.
    assert!(value(SearchMode::Together) > value(SearchMode::Every), "every is stricter");
    let together = two_pairs(SearchMode::Together);
    let found = &together.summary.searches[0].goals[1];
    let lost: Vec<u64> = found.upper_bound_paths.iter().map(|path| path.lost_packets).collect();
    assert!(lost[0] == 0 && lost[1] > 0, "{found:?}");
    let trial = &together.summary.searches[0].trials_of(&together.summary.trials)[1];
    assert_eq!(trial.measurement.sent, trial.paths.iter().map(|path| path.sent_packets).sum::<u64>());
}

#[test]
fn a_load_that_was_not_offered_is_not_the_paths_loss() {
    let searched = limited_by_generator();
    let trials = searched.summary.searches[0].trials_of(&searched.summary.trials);
    let short = trials.iter().find(|trial| trial.is_short_of_load()).unwrap();
    assert_eq!(short.measurement.limit, Some(TesterLimit::Generator));
    assert_eq!(short.measurement.lost, 0);
    assert!(!trials[0].is_counted() && trials[1].is_counted(), "the first is the warm-up");
}

#[test]
fn a_goal_survives_its_record() {
    for name in Goal::NAMES {
        let goal = Goal::named(name).unwrap();
        let text = serde_json::to_string(&GoalAttributes::from(&goal)).unwrap();
        assert_eq!(Goal::from(&serde_json::from_str::<GoalAttributes>(&text).unwrap()), goal);
    }
}

/// Two searches of a path that forwards 1 Mpps.
fn twice() -> Searched {
    let max = (10_000_000, MaxLoadSource::User);
    searched(&[SearchCase { max, repeats: 2, goals: vec![Goal::ndr()], ..SearchCase::of(cliff(1e6)) }])
}

/// Number of a search, and ordinal of a trial in it.
type Place = (u32, u32);

/// Resumes a run; returns number and ordinal of the trials that are kept, and those of the next one.
fn resumed(mut run: Searched, budget: &str) -> (Vec<Place>, Option<Place>) {
    let text = format!(
        "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  search: {{goals: [ndr], repeats: 2, load: {{min: 9001pps, max: 10mpps}}{budget}}}\n"
    );
    let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
    let strategy = Searches::of(&experiment, None).unwrap().unwrap();
    let determinants = experiment.determinants(None).unwrap();
    run.summary.experiment.determinants = Some(determinants.clone());
    run.summary.trials = run.records.iter().filter_map(|record| record.result.clone()).collect();
    let (results, _id) = run.store();
    let found = Earlier::find(results.path(), &determinants, &strategy, 1).unwrap();
    let earlier = found.earlier.unwrap();
    let place = |search: Option<SearchTrial>| search.map(|place| (place.number, place.ordinal)).unwrap();
    let kept = earlier.summary.trials.iter().map(|trial| place(trial.search)).collect();
    let next = match strategy.next(&earlier.outcomes(&strategy)) {
        NextTrial::Run(trial) => Some(place(trial.search)),
        NextTrial::Finished => None,
    };
    assert_eq!(earlier.is_complete(&strategy), next.is_none());
    (kept, next)
}

#[test]
fn a_search_that_is_resumed_takes_no_trials_of_another() {
    let ordinals = |number: u32, last: u32| (1..=last).map(move |ordinal| (number, ordinal));
    let whole = twice();
    let all: Vec<_> = whole.records.iter().map(|record| record.result.as_ref().unwrap().search).collect();
    let last = all.iter().flatten().filter(|place| place.number == 1).count() as u32;
    let (kept, next) = resumed(whole, "");
    assert_eq!((kept.len(), next), (all.len(), None));
    // With less time than before, the second search begins where trials of the first are recorded.
    let (kept, next) = resumed(twice(), ", budget: 5s");
    assert_eq!((kept, next), (ordinals(1, 5).collect(), Some((2, 1))));
    // With more time than before, the first search goes on where the second one is recorded.
    let mut cut = twice();
    cut.records.retain(|record| {
        record
            .result
            .as_ref()
            .and_then(|result| result.search)
            .is_some_and(|place| place.number == 2 || place.ordinal <= 5)
    });
    for record in &mut cut.records[5..] {
        let result = record.result.as_mut().unwrap();
        result.repeat = result.repeat + 5 - last;
        record.repeat = result.repeat;
    }
    assert_eq!(resumed(cut, ""), (ordinals(1, 5).collect(), Some((1, 6))));
}

#[test]
fn a_trial_that_was_no_evidence_is_run_again() {
    let mut run = twice();
    let result = run.records[3].result.as_mut().unwrap();
    result.offered_pps = 1.01 * result.intended_pps.unwrap();
    result.offered_missed_intended = true;
    assert_eq!(resumed(run, ""), ((1..=3).map(|ordinal| (1, ordinal)).collect(), Some((1, 4))));
}

#[test]
fn a_port_that_held_packets_back_is_named_whatever_was_lost() {
    let limited = limited_by_generator();
    let short = limited.summary.trials.iter().find(|trial| trial.offered_missed_intended).unwrap();
    let limit = |blocked_s: f64| {
        let mut trial = short.clone();
        (trial.lost_packets, trial.received_packets) = (1, trial.sent_packets - 1);
        trial.verdict.kind = crate::verdict::VerdictKind::PathLimited;
        trial.blocked_s = blocked_s;
        PathOutcome::from(&trial).limit
    };
    assert_eq!(limit(0.9 * short.duration_s), Some(PathLimit::Port));
    assert_eq!(limit(0.0), None);
}
