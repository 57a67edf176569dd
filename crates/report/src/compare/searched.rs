//! Matching of the searches of one experiment with those of the other. A search is one sample; irregular results
//! are no samples.

use std::sync::Arc;

use super::pairing::{Matched, Pairing};
use super::{Metric, Settings, Unmatched, search_group};
use crate::search::{GoalResult, Repeats, ended, repeats, searches};
use linerate_results::summary::{GoalSummary, Summary};

/// Adds the results of searches that both sides have.
pub(super) fn pair_up<'s>(a: &'s Summary, b: &'s Summary, settings: &Settings, pairing: &mut Pairing<'s>) {
    let (of_a, of_b) = (repeats(&a.searches), repeats(&b.searches));
    let is_wanted = |goal: &str| {
        settings.all_goals
            || settings.metrics.iter().any(|metric| matches!(metric, Metric::Goal(name) if **name == *goal))
    };
    for metric in &settings.metrics {
        if let Metric::Goal(name) = metric
            && !of_a.iter().chain(&of_b).any(|repeats| repeats.goals().contains(&&**name))
        {
            pairing.is_missing = true;
            pairing.left_out.push(format!("neither experiment has a search for the goal '{name}'"));
        }
    }
    for ours in &of_a {
        let Some(theirs) = of_b.iter().find(|theirs| is_same(ours, theirs)) else {
            unmatched(ours, is_wanted, a, pairing);
            continue;
        };
        pairing.notes.extend(not_alike(ours, theirs));
        let mut goals = ours.goals();
        goals.extend(theirs.goals().into_iter().filter(|goal| !ours.goals().contains(goal)));
        for goal in goals.into_iter().filter(|goal| is_wanted(goal)) {
            one_goal(goal, [(ours, a), (theirs, b)], pairing);
        }
    }
    for theirs in of_b.iter().filter(|theirs| !of_a.iter().any(|ours| is_same(ours, theirs))) {
        unmatched(theirs, is_wanted, b, pairing);
    }
}

fn is_same(ours: &Repeats<'_>, theirs: &Repeats<'_>) -> bool {
    let key = |repeats: &Repeats<'_>| {
        let first = repeats.first();
        (first.profile.clone(), first.pair.clone(), first.mode)
    };
    key(ours) == key(theirs)
}

fn unmatched(
    of: &Repeats<'_>,
    is_wanted: impl Fn(&str) -> bool,
    only_in: &Summary,
    pairing: &mut Pairing<'_>,
) {
    if of.goals().into_iter().any(is_wanted) {
        pairing.unmatched.push(missing(of, None, only_in));
    }
}

fn missing(of: &Repeats<'_>, metric: Option<Metric>, only_in: &Summary) -> Unmatched {
    Unmatched {
        profile: of.first().profile.clone(),
        pair: of.first().subject().to_owned(),
        metric,
        only_in: only_in.experiment.id.clone(),
    }
}

fn one_goal<'s>(goal: &str, sides: [(&Repeats<'s>, &Summary); 2], pairing: &mut Pairing<'s>) {
    let metric = Metric::Goal(Arc::from(goal));
    let results = sides.map(|(repeats, _)| repeats.of_goal(goal));
    for ((repeats, summary), results) in sides.iter().zip(&results) {
        let id = &summary.experiment.id;
        pairing.left_out.extend(irregular(results, id));
        pairing.left_out.extend(without_result(goal, repeats, results, id));
        // What has no value may be the worst of all.
        let has_value = |one: &GoalResult<'_>| one.is_regular() || one.is_at_least();
        pairing.is_missing |= !results.is_empty()
            && results.iter().filter(|one| has_value(one)).count() < repeats.searches.len();
    }
    let groups = results.each_ref().map(|results| {
        let goals: Vec<&GoalSummary> = results.iter().map(|one| one.goal).collect();
        search_group(&goals)
    });
    match groups {
        [Some(a), Some(b)] => {
            let first = sides[0].0.first();
            pairing.matched.push(Matched { profile: &first.profile, pair: first.subject(), metric, a, b });
        }
        [None, None] => pairing.is_irregular = true,
        [a, _] => {
            pairing.is_irregular |= results.iter().all(|results| !results.is_empty());
            let (repeats, summary) = if a.is_some() { sides[0] } else { sides[1] };
            pairing.unmatched.push(missing(repeats, Some(metric), summary));
        }
    }
}

/// How many results of a goal are left out, and why the first of them, of those without a value if there are any; `None`
/// when all are regular.
fn irregular(results: &[GoalResult<'_>], id: &str) -> Option<String> {
    let left_out: Vec<&GoalResult<'_>> = results.iter().filter(|one| !one.is_regular()).collect();
    let first = left_out.iter().find(|one| !one.is_at_least()).or(left_out.first())?;
    let of = searches(results.len());
    Some(format!(
        "{id}: {} of {of} of {} irregular and left out: {}",
        left_out.len(),
        first.search.profile,
        first.clause()
    ))
}

/// How many searches ended before they had results, where others have some, and how the first of them ended.
fn without_result(goal: &str, repeats: &Repeats<'_>, results: &[GoalResult<'_>], id: &str) -> Option<String> {
    let mut without = repeats.searches.iter().filter(|search| search.goal(goal).is_none());
    let (number, first) = (without.clone().count(), without.next()?);
    let (of, profile, why) = (searches(repeats.searches.len()), &first.profile, ended(first));
    (!results.is_empty())
        .then(|| format!("{id}: {number} of {of} of {profile} have no result for {goal}: {why}"))
}

/// Why searches of the same profile are different; `None` when they are alike.
fn not_alike(a: &Repeats<'_>, b: &Repeats<'_>) -> Option<String> {
    let (first, second) = (a.first(), b.first());
    let differs =
        |goal: &&GoalSummary| second.goal(&goal.goal.name).is_some_and(|other| other.goal != goal.goal);
    let goals: Vec<String> =
        first.goals.iter().filter(differs).map(|goal| format!("the goal {}", goal.goal.name)).collect();
    let parts = [
        (first.frame_size != second.frame_size, "frame sizes"),
        (first.flows != second.flows, "flows"),
        (first.paths != second.paths, "numbers of paths"),
        (first.limits() != second.limits(), "what belongs to the tester"),
    ];
    let parts = parts.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what.to_owned());
    let differ: Vec<String> = parts.chain(goals).collect();
    (!differ.is_empty())
        .then(|| format!("searches of {}: the two differ in {}", first.profile, differ.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::{Comparison, Outcome, Overall, compare};
    use super::*;
    use linerate_experiment::search::SearchMode;
    use linerate_results::fixtures::search::{
        at_least, limited_by_generator, one_dead_pair, regular, two_pairs,
    };
    use linerate_results::summary::SearchSummary;

    fn only(goals: &[&str]) -> Settings {
        let metrics = goals.iter().map(|goal| Metric::Goal(Arc::from(*goal))).collect();
        Settings { metrics, all_goals: false, ..Settings::default() }
    }

    fn named(mut summary: Summary, id: &str) -> Summary {
        summary.experiment.id = id.into();
        summary
    }

    /// The summary with every conditional throughput times `factor`.
    fn scaled(mut summary: Summary, factor: f64) -> Summary {
        for goal in summary.searches.iter_mut().flat_map(|search| &mut search.goals) {
            let value = &mut goal.conclusion.conditional_throughput_pps;
            *value = value.map(|value| value * factor);
        }
        summary
    }

    fn names(comparison: &Comparison) -> Vec<String> {
        let one = |one: &super::super::Compared| format!("{} {} {}", one.profile, one.pair, one.metric);
        comparison.compared.iter().map(one).collect()
    }

    #[test]
    fn searches_are_samples_and_their_trials_are_not() {
        let (a, b) = (named(regular().summary, "aaaaaaaa"), named(regular().summary, "bbbbbbbb"));
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(found.compared.len(), 3 * 2, "{:?}", names(&found));
        let first = &found.compared[0];
        assert_eq!(names(&found)[0], "profile_1_flows_pkt_size_64B_search_rate_s together ndr_pps");
        assert_eq!((first.a.repeats, first.b.repeats), (2, 2));
        let upper = |search: &linerate_results::summary::SearchSummary| {
            search.goals[0].conclusion.relevant_upper_bound_pps.unwrap() as f64
        };
        let resolution = 0.005 * (upper(&a.searches[0]) + upper(&a.searches[1])) / 2.0;
        assert!((first.a.resolution - resolution).abs() < 1e-6, "{first:?}");
        assert!(found.notes.is_empty(), "{:?}", found.notes);
        let only_pdr = compare(&a, &b, &only(&["pdr"])).unwrap();
        assert_eq!(only_pdr.compared.len(), 3);
    }

    #[test]
    fn a_lower_rate_is_worse() {
        let mut a = regular().summary;
        // Ten searches instead of two.
        a.searches = (0..5).flat_map(|_| a.searches.clone()).collect();
        let b = scaled(a.clone(), 0.9);
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(found.verdict, Overall::Regression);
        assert!(found.compared.iter().all(|one| one.verdict == Outcome::Worse), "{found:?}");
        let found = compare(&b, &a, &Settings::default()).unwrap();
        assert!(found.compared.iter().all(|one| one.verdict == Outcome::Better), "{found:?}");
    }

    #[test]
    fn irregular_results_are_left_out_with_a_note() {
        let a = named(regular().summary, "aaaaaaaa");
        let mut b = named(regular().summary, "bbbbbbbb");
        b.searches[0].goals[0] = limited_by_generator().summary.searches[0].goals[0].clone();
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!((found.compared[0].a.repeats, found.compared[0].b.repeats), (2, 1));
        let note = "bbbbbbbb: 1 of 2 searches of profile_1_flows_pkt_size_64B_search_rate_s irregular and left out: NDR at least 796,822 pps: limited by";
        assert!(found.notes.iter().any(|text| text.starts_with(note)), "{:?}", found.notes);
        b.searches[1].goals[0] = b.searches[0].goals[0].clone();
        let found = compare(&a, &b, &Settings::default()).unwrap();
        assert_eq!(found.unmatched[0].metric, Some(Metric::Goal("ndr".into())));
        assert_eq!((found.unmatched[0].only_in.as_str(), found.compared.len()), ("aaaaaaaa", 5));
        // Nothing regular on either side: no error, and no verdict.
        let found = compare(&at_least().summary, &at_least().summary, &Settings::default()).unwrap();
        assert_eq!((found.verdict, found.compared.len()), (Overall::CannotTell, 0));
        let note = "the highest load allowed, 1,000,000 pps, meets the goal";
        assert!(found.notes.iter().any(|text| text.ends_with(note)), "{:?}", found.notes);
        let mut both = b.clone();
        both.experiment.id = "cccccccc".into();
        let found = compare(&both, &b, &Settings::default()).unwrap();
        assert_eq!((found.verdict, found.compared.len()), (Overall::CannotTell, 5));
    }

    #[test]
    fn searches_that_found_nothing_may_be_the_worst() {
        let mut a = named(regular().summary, "aaaaaaaa");
        a.searches = (0..5).flat_map(|_| a.searches.clone()).collect();
        let with = |change: fn(&mut SearchSummary)| {
            let mut b = named(a.clone(), "bbbbbbbb");
            b.searches.iter_mut().take(2).for_each(change);
            let found = compare(&a, &b, &Settings::default()).unwrap();
            (found.verdict, found.notes.join("\n"))
        };
        assert_eq!(with(|_| {}).0, Overall::NoRegression);
        let fail = |search: &mut SearchSummary| {
            search.goals[0] = one_dead_pair().summary.searches[0].goals[0].clone();
        };
        let (verdict, notes) = with(fail);
        assert_eq!(verdict, Overall::CannotTell);
        assert!(notes.contains("2 of 10 searches") && notes.contains("misses the goal"), "{notes}");
        let (verdict, notes) = with(|search| search.goals.clear());
        assert_eq!(verdict, Overall::CannotTell);
        assert!(notes.contains("bbbbbbbb: 2 of 10 searches of profile_1_flows_pkt_size_64B"), "{notes}");
        // What the path may exceed hides nothing worse.
        let least = |search: &mut SearchSummary| {
            search.goals[0] = limited_by_generator().summary.searches[0].goals[0].clone();
        };
        assert_eq!(with(least).0, Overall::NoRegression);
    }

    #[test]
    fn only_the_same_search_is_compared_and_differences_are_named() {
        let together = named(two_pairs(SearchMode::Together).summary, "aaaaaaaa");
        let each = named(two_pairs(SearchMode::Each).summary, "bbbbbbbb");
        assert!(compare(&together, &each, &Settings::default()).is_err());
        let error = compare(&together, &together, &only(&["mdr"])).unwrap_err().to_string();
        assert!(error.ends_with("neither experiment has a search for the goal 'mdr'"), "{error}");
        let mut other = together.clone();
        other.searches[0].goals[0].goal.duration_sum_s = 60.0;
        other.searches[0].paths = 3;
        let found = compare(&together, &other, &Settings::default()).unwrap();
        let note = "the two differ in numbers of paths, the goal ndr";
        assert!(found.notes.iter().any(|text| text.ends_with(note)), "{:?}", found.notes);
        let found = compare(&together, &other, &only(&["ndr", "mdr"])).unwrap();
        assert!(
            found.notes.iter().any(|text| text.contains("search for the goal 'mdr'")),
            "{:?}",
            found.notes
        );
        assert_eq!(found.verdict, Overall::CannotTell);
    }
}
