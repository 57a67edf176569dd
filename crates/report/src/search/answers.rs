//! Answers: what searches found, one sentence for each profile and path.

use std::fmt;

use linerate_results::summary::{PathLoss, SearchSummary};

use super::{GoalResult, Repeats, ended, found, label, pps, searches, short_percent};
use crate::compare::{Group, search_group};
use crate::pages::number::count;

/// What searches of one profile and path come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Every result is regular.
    Regular,
    /// Some results are irregular.
    PartlyIrregular,
    /// No result is regular.
    Irregular,
    /// There is no value at all.
    NoResult,
}

impl Judgement {
    /// The judgement on some results.
    pub fn of<'s>(results: impl IntoIterator<Item = GoalResult<'s>>) -> Self {
        let (mut regular, mut all, mut values) = (0, 0, 0);
        for one in results {
            all += 1;
            regular += usize::from(one.is_regular());
            values += usize::from(one.value_pps().is_some());
        }
        match regular {
            _ if values == 0 => Judgement::NoResult,
            0 => Judgement::Irregular,
            _ if regular == all => Judgement::Regular,
            _ => Judgement::PartlyIrregular,
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Judgement::Regular => "regular",
            Judgement::PartlyIrregular => "partly irregular",
            Judgement::Irregular => "irregular",
            Judgement::NoResult => "no result",
        })
    }
}

/// What was found for one profile and path, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its short name, such as its frame size.
    pub name: String,
    /// What it comes to.
    pub judgement: Judgement,
    /// The results for all goals.
    pub text: String,
}

/// An answer for each of `all`, whose short names are `names`.
pub fn answers(all: &[Repeats<'_>], names: &[String]) -> Vec<Answer> {
    all.iter().zip(names).map(|(repeats, name)| answer(repeats, name)).collect()
}

fn answer(repeats: &Repeats<'_>, name: &str) -> Answer {
    let results = repeats.searches.iter().flat_map(|search| found(search));
    let clauses = repeats.goals().into_iter().map(|goal| clause(&repeats.of_goal(goal)));
    let mut parts: Vec<String> = clauses.collect();
    if parts.is_empty() {
        parts.push(ended(repeats.first()));
    }
    let loaded = repeats.first().paths;
    if loaded > 1 {
        parts.push(format!("loads are those of one of {loaded} paths"));
    }
    let silent = silent(repeats.first());
    if !silent.is_empty() {
        parts.push(format!("nothing arrived on {}", silent.join(", ")));
    }
    Answer { name: name.to_owned(), judgement: Judgement::of(results), text: parts.join("; ") }
}

/// The results of all searches for one goal in one clause. Irregular ones enter no mean.
fn clause(results: &[GoalResult<'_>]) -> String {
    let [first, ..] = results else { return String::new() };
    if results.len() == 1 {
        return first.clause();
    }
    let left_out = results.iter().filter(|one| !one.is_regular()).count();
    let Some(group) = mean(results) else { return all_irregular(first, results) };
    let width =
        results.iter().filter(|one| one.is_regular()).filter_map(GoalResult::width).fold(0.0, f64::max);
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

/// Results of which none is regular: their values, and each reason with the searches that have it.
fn all_irregular(first: &GoalResult<'_>, results: &[GoalResult<'_>]) -> String {
    let name = label(&first.goal.goal);
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for one in results {
        let (why, number) = (one.why(), one.search.number.to_string());
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, numbers)) => numbers.push(number),
            None => reasons.push((why, vec![number])),
        }
    }
    let why = match &reasons[..] {
        [(why, _)] => why.clone(),
        several => {
            let each = several.iter().map(|(why, numbers)| format!("{why} (search {})", numbers.join(", ")));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    let values = || results.iter().filter_map(GoalResult::value_pps);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let of = format!("{}, none regular", searches(results.len()));
    match values().count() {
        0 => format!("no {name} ({of}): {why}"),
        _ if least.round() == most.round() => format!("{name} at least {} ({of}): {why}", pps(most)),
        _ => format!("{name} at least {} to {} ({of}): {why}", count(least.round() as u64), pps(most)),
    }
}

/// Mean and spread of the regular results; `None` when none is regular.
pub fn mean(results: &[GoalResult<'_>]) -> Option<Group> {
    let regular: Vec<_> = results.iter().filter(|one| one.is_regular()).map(|one| one.goal).collect();
    search_group(&regular)
}

/// Paths on which nothing arrived at the lowest bound that has trials.
fn silent(search: &SearchSummary) -> Vec<&str> {
    let bounds = search.goals.iter().flat_map(|goal| [&goal.lower_bound_paths, &goal.upper_bound_paths]);
    let Some(paths) = bounds.into_iter().find(|paths| !paths.is_empty()) else { return Vec::new() };
    paths.iter().filter(|path| is_silent(path)).map(|path| path.pair.as_str()).collect()
}

/// True when packets were sent and none arrived.
pub fn is_silent(path: &PathLoss) -> bool {
    path.sent_packets > 0 && path.lost_packets == path.sent_packets
}
