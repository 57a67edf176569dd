//! Rate searches: the answer first, then tables and charts, then every trial, then how it was measured.

mod loads;
mod method;
mod over_sizes;
mod paths;
mod results;
mod spread;
#[cfg(test)]
mod tests;
mod trials;

use linerate_results::search::SearchedTrial;
use linerate_results::summary::SearchSummary;

use super::super::model::{Block, Finding, Group, Section, Tone};
use super::super::source::Source;
use crate::search::{Found, Repeats, found, label, pps, repeats, searches, short_names, short_percent};
use spread::mean;

/// Searches whose trials and charts are shown open; of more, only irregular ones are.
const OPEN: usize = 2;

pub(super) fn section(source: &Source) -> Option<Section> {
    let summary = &source.summary;
    let of_searches = summary.trials.iter().filter(|trial| trial.search.is_some());
    let without =
        of_searches.filter(|trial| !summary.searches.iter().any(|search| search.has(trial))).count();
    if summary.searches.is_empty() && without == 0 {
        return None;
    }
    let all = repeats(&summary.searches);
    let names = short_names(&all);
    let mut blocks = vec![Block::Findings(answers(&all, &names))];
    if without > 0 {
        blocks.push(Block::Text(format!(
            "{without} more results of trials are of a search that has no result yet: it runs, or its run was killed."
        )));
    }
    if !all.is_empty() {
        blocks.extend(results::blocks(&all, &names));
        blocks.extend(over_sizes::blocks(&all));
        blocks.extend(spread::blocks(&all, &names));
        blocks.extend(details(source, &all, &names));
        blocks.extend(method::blocks(source, &all, &names));
    }
    Some(Section { id: "searches", title: "Rate search", blocks })
}

/// One sentence for each profile and path.
fn answers(all: &[Repeats<'_>], names: &[String]) -> Vec<Finding> {
    all.iter().zip(names).map(|(repeats, name)| answer(repeats, name)).collect()
}

fn answer(repeats: &Repeats<'_>, name: &str) -> Finding {
    let results: Vec<Found<'_>> = repeats.searches.iter().flat_map(|search| found(search)).collect();
    let (tone, badge) = judged(&results);
    let clauses = repeats.goals().into_iter().map(|goal| clause(&repeats.of_goal(goal)));
    let mut evidence = clauses.collect::<Vec<_>>().join("; ");
    let loaded = repeats.first().paths;
    if loaded > 1 {
        evidence.push_str(&format!("; loads are those of one of {loaded} paths"));
    }
    let silent = paths::silent(repeats.first());
    if !silent.is_empty() {
        evidence.push_str(&format!("; nothing arrived on {}", silent.join(", ")));
    }
    Finding { tone, badge: badge.to_owned(), subject: name.to_owned(), evidence }
}

fn judged(results: &[Found<'_>]) -> (Tone, &'static str) {
    let regular = results.iter().filter(|one| one.is_regular()).count();
    if results.iter().all(|one| one.value_pps().is_none()) {
        (Tone::Bad, "no result")
    } else if regular == results.len() {
        (Tone::Good, "regular")
    } else if regular > 0 {
        (Tone::Warning, "partly irregular")
    } else {
        (Tone::Warning, "irregular")
    }
}

/// The results of all searches for one goal in one clause. Irregular ones enter no mean.
fn clause(results: &[Found<'_>]) -> String {
    let [first, ..] = results else { return String::new() };
    if results.len() == 1 {
        return first.clause();
    }
    let left_out = results.iter().filter(|one| !one.is_regular()).count();
    let Some(group) = mean(results) else {
        return format!("{}, in all {}", first.clause(), searches(results.len()));
    };
    let width = results.iter().filter(|one| one.is_regular()).filter_map(Found::width).fold(0.0, f64::max);
    let mut text = format!(
        "{} {} (mean of {}, at most {} % wide",
        label(&first.goal.goal),
        pps(group.mean),
        searches(group.repeats),
        short_percent(width)
    );
    if let Some(deviation) = group.standard_deviation {
        text.push_str(&format!(", standard deviation {}", pps(deviation)));
    }
    if left_out > 0 {
        text.push_str(&format!("; {left_out} irregular left out"));
    }
    text + ")"
}

/// Charts and trials of each search.
fn details(source: &Source, all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    let total = source.summary.searches.len();
    let each = all.iter().zip(names).flat_map(|(repeats, name)| {
        repeats.searches.iter().map(move |search| (*search, name, repeats.searches.len() > 1))
    });
    each.map(|(search, name, is_repeated)| {
        let (tone, badge) = judged(&found(search).collect::<Vec<_>>());
        let number = if is_repeated { format!(", search {}", search.number) } else { String::new() };
        Block::Group(Group {
            title: format!("{name}{number}: {}", clauses(search)),
            badge: badge.to_owned(),
            tone,
            open: total <= OPEN || tone != Tone::Good,
            blocks: of_search(search, &search.trials_of(&source.summary.trials)),
        })
    })
    .collect()
}

fn clauses(search: &SearchSummary) -> String {
    found(search).map(|one| one.clause()).collect::<Vec<_>>().join("; ")
}

fn of_search(search: &SearchSummary, trials: &[SearchedTrial<'_>]) -> Vec<Block> {
    let mut charts: Vec<_> = loads::over_loads(search, trials).into_iter().collect();
    charts.extend(search.goals.iter().filter_map(|goal| loads::path(search, goal, trials)));
    let mut blocks = if charts.is_empty() { Vec::new() } else { vec![Block::Charts(charts)] };
    blocks.extend(paths::blocks(search));
    blocks.extend(trials::blocks(search, trials));
    blocks
}
