//! Rate searches: the answer first, then tables and charts, then every trial, then how it was measured.

mod caption;
mod loads;
mod method;
mod over_sizes;
mod paths;
mod results;
mod spread;
#[cfg(test)]
mod tests;
mod then;
mod trials;

use linerate_results::search::SearchedTrial;
use linerate_results::summary::SearchSummary;

use super::super::model::{Block, Finding, Group, Section, Tone};
use super::super::source::Source;
use crate::search::{Answer, Judgement, Repeats, answers, found, repeats, short_names};

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
    let mut blocks = vec![Block::Findings(findings(&all, &names))];
    if without > 0 {
        blocks.push(Block::Text(format!(
            "{without} more results of trials are of a search that has no result yet: it runs, or its run was killed."
        )));
    }
    if !all.is_empty() {
        blocks.extend(results::blocks(&all, &names));
        blocks.extend(over_sizes::blocks(&all));
        blocks.extend(spread::blocks(&all, &names));
        blocks.extend(then::blocks(source, &all, &names));
        blocks.extend(details(source, &all, &names));
        blocks.extend(method::blocks(source, &all, &names));
    }
    Some(Section { id: "searches", title: "Rate search", blocks })
}

/// A finding for each profile and path.
fn findings(all: &[Repeats<'_>], names: &[String]) -> Vec<Finding> {
    let finding = |answer: Answer| Finding {
        tone: tone(answer.judgement),
        badge: answer.judgement.to_string(),
        subject: answer.name,
        evidence: answer.text,
    };
    answers(all, names).into_iter().map(finding).collect()
}

fn tone(judgement: Judgement) -> Tone {
    match judgement {
        Judgement::Regular => Tone::Good,
        Judgement::PartlyIrregular | Judgement::Irregular => Tone::Warning,
        Judgement::NoResult => Tone::Bad,
    }
}

/// Charts and trials of each search.
fn details(source: &Source, all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    let total = source.summary.searches.len();
    let each = all.iter().zip(names).flat_map(|(repeats, name)| {
        repeats.searches.iter().map(move |search| (*search, name, repeats.searches.len() > 1))
    });
    each.map(|(search, name, is_repeated)| {
        let judgement = Judgement::of(found(search));
        let number = if is_repeated { format!(", search {}", search.number) } else { String::new() };
        Block::Group(Group {
            title: format!("{name}{number}: {}", clauses(search)),
            badge: judgement.to_string(),
            tone: tone(judgement),
            open: total <= OPEN || judgement != Judgement::Regular,
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
