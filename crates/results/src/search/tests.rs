use super::*;
use crate::fixtures::search::{Searched, at_least, limited_by_generator, one_dead_pair, regular, two_pairs};
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
