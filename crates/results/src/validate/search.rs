//! Validation of searches: their results are those that follow from the recorded trials.

use std::collections::BTreeSet;

use linerate_search::Goal;

use crate::search::{SearchedTrial, counted_number, sending_s};
use crate::summary::{GoalSummary, SearchEnd, SearchSummary, Summary, TrialSummary};

/// Tolerance for sums of seconds: the rounding of numbers in JSON.
const ROUNDING: f64 = 1e-6;

/// What the searches of a summary say and its trials do not.
pub(super) fn contradictions(summary: &Summary) -> Vec<String> {
    let mut found: Vec<String> =
        summary.searches.iter().flat_map(|search| of_search(search, &summary.trials)).collect();
    // During a run, the searches are recorded after their trials.
    let strays = summary
        .trials
        .iter()
        .filter(|trial| trial.search.is_some() && !summary.searches.iter().any(|search| search.has(trial)));
    if summary.has_ended() {
        found.extend(
            strays.map(|trial| format!("{} is of a search that the summary does not have", trial.trial)),
        );
    }
    found
}

fn of_search(search: &SearchSummary, all: &[TrialSummary]) -> Vec<String> {
    let trials = search.trials_of(all);
    let name = search.name();
    let mut found = missing(search, &trials, all);
    let number = counted_number(&trials);
    if number != search.trials as usize {
        found.push(format!("it has {number} trials that count, and says {}", search.trials));
    }
    let seconds = sending_s(&trials);
    if (seconds - search.sending_s).abs() > ROUNDING * seconds.max(1.0) {
        found.push(format!("its trials send for {seconds} s, and it says {} s", search.sending_s));
    }
    let max_pps = search.max_load_pps.unwrap_or(u64::MAX);
    let loads_pps = (search.min_load_pps.unwrap_or(0), max_pps);
    let goals: Vec<Goal> = search.goals.iter().map(|one| Goal::from(&one.goal)).collect();
    for (one, goal) in search.goals.iter().zip(&goals) {
        let follows = GoalSummary::of(goal, &goals, &trials, loads_pps);
        if follows != *one {
            found.push(difference(one, &follows));
        }
    }
    found.extend(of_benchmarks(search, all));
    found.iter().map(|detail| format!("{name}: {detail}")).collect()
}

/// What the benchmarks behind a search say and their trials do not.
fn of_benchmarks(search: &SearchSummary, all: &[TrialSummary]) -> Vec<String> {
    let each = search.followed(all);
    let taken: BTreeSet<u32> =
        each.iter().flat_map(|(_, trials)| trials.iter().map(|trial| trial.ordinal)).collect();
    let mut found: Vec<String> = each
        .iter()
        .filter_map(|(follow, trials)| {
            let detail = search.contradiction(follow, trials)?;
            Some(format!("benchmark {}: {detail}", follow.name))
        })
        .collect();
    let recorded = all.iter().filter(|trial| search.has(trial)).filter_map(|trial| trial.search.as_ref());
    let behind: BTreeSet<u32> =
        recorded.filter(|place| place.purpose.follows()).map(|place| place.ordinal).collect();
    // A trial that some paths have no result of belongs to no benchmark's result.
    let paths = |ordinal: u32| {
        let is_it = |trial: &&TrialSummary| {
            search.has(trial) && trial.search.as_ref().is_some_and(|place| place.ordinal == ordinal)
        };
        all.iter().filter(is_it).count()
    };
    let strays = behind.difference(&taken).filter(|ordinal| paths(**ordinal) >= search.paths);
    found.extend(strays.map(|ordinal| format!("trial {ordinal} is of no benchmark")));
    found
}

/// Most ordinals without a result that are named.
const MOST_NAMED: usize = 8;

/// Ordinals without a result on every path. The last one may be missing where the search did not come to its
/// end.
fn missing(search: &SearchSummary, trials: &[SearchedTrial<'_>], all: &[TrialSummary]) -> Vec<String> {
    let there: BTreeSet<u32> = trials.iter().map(|trial| trial.place.ordinal).collect();
    let recorded = all.iter().filter(|trial| search.has(trial)).filter_map(|trial| trial.search.as_ref());
    let of_search = recorded.filter(|place| !place.purpose.follows());
    let last = of_search.map(|place| place.ordinal).max().unwrap_or(0);
    let is_cut = matches!(search.ended, SearchEnd::Failed | SearchEnd::Interrupted);
    let last = if is_cut && !there.contains(&last) { last.saturating_sub(1) } else { last };
    let whole = (1..=last).filter(|ordinal| !there.contains(ordinal)).take(MOST_NAMED);
    let mut found: Vec<String> =
        whole.map(|ordinal| format!("trial {ordinal} has no result on every path")).collect();
    // An ordinal can be any number, so those that are missing are counted, not visited.
    let missing = last as usize - there.iter().filter(|ordinal| (1..=last).contains(ordinal)).count();
    if missing > found.len() {
        found.push(format!("{} more of {last} trials have no result on every path", missing - found.len()));
    }
    let differ = trials.iter().filter(|trial| {
        trial.paths.len() > search.paths
            || trial.paths.iter().any(|path| path.search.as_ref() != Some(trial.place))
    });
    found.extend(differ.map(|trial| format!("trial {} is recorded in two ways", trial.place.ordinal)));
    found
}

/// What a goal's result says, and what follows from the trials.
fn difference(says: &GoalSummary, follows: &GoalSummary) -> String {
    let text = |one: &GoalSummary| {
        let found = &one.conclusion;
        let pps = |load: Option<u64>| load.map_or("none".to_owned(), |load| format!("{load} pps"));
        format!(
            "bounds {} and {}, conditional throughput {}, {}, limited by {}",
            pps(found.effective_lower_bound_pps),
            pps(found.relevant_upper_bound_pps),
            found.conditional_throughput_pps.map_or("none".to_owned(), |load| format!("{load} pps")),
            found.irregular.map_or("regular".to_owned(), |why| format!("irregular ({why:?})")),
            found.limited_by.map_or("nothing known".to_owned(), |limit| format!("{limit:?}")),
        )
    };
    let name = &says.goal.name;
    if says.conclusion == follows.conclusion {
        return format!("goal {name}: the losses of the paths at the bounds are not those of the trials");
    }
    format!("goal {name}: it says {}; from the trials follow {}", text(says), text(follows))
}
