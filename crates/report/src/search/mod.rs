//! Results of rate searches in words, the same in pages, tables and workbooks.

mod answers;
#[cfg(test)]
mod tests;
pub mod then;

use std::fmt;

use linerate_experiment::search::MaxLoadSource;
use linerate_results::http::HttpSearchSummary;
use linerate_results::summary::{GoalAttributes, GoalSummary, SearchEnd, SearchSummary};
use linerate_search::{Goal, Irregular, Limiter};
use linerate_traffic::profile::FrameSizes;

pub use self::answers::{Answer, Judgement, answers, is_silent, mean};
use crate::pages::number::{count, short};

/// Result of one search for one goal.
#[derive(Debug, Clone, Copy)]
pub struct GoalResult<'s> {
    /// The search.
    pub search: &'s SearchSummary,
    /// The goal and what was found.
    pub goal: &'s GoalSummary,
}

/// All results of a search, in the order of its goals.
pub fn found(search: &SearchSummary) -> impl Iterator<Item = GoalResult<'_>> {
    search.goals.iter().map(move |goal| GoalResult { search, goal })
}

/// A goal as readers know it: `NDR`, `PDR (0.5 %)`, or its name with its loss.
pub fn label(goal: &GoalAttributes) -> String {
    let percent = short(100.0 * goal.loss_ratio);
    match goal.name.as_str() {
        "ndr" if goal.loss_ratio == 0.0 => "NDR".to_owned(),
        "pdr" if goal.loss_ratio > 0.0 => format!("PDR ({percent} %)"),
        "rfc2544" if decides_as(goal, &Goal::rfc2544()) => "RFC 2544 throughput".to_owned(),
        "tst009" if decides_as(goal, &Goal::tst009()) => "TST 009 throughput".to_owned(),
        name => format!("{name} ({percent} %)"),
    }
}

/// True when the goal decides a load as `standard` does; how far the bounds may be apart is free.
fn decides_as(goal: &GoalAttributes, standard: &Goal) -> bool {
    Goal::from(goal).criterion() == standard.criterion()
}

impl GoalResult<'_> {
    /// Conditional throughput in packets per second; `None` when no load meets the goal.
    pub fn value_pps(&self) -> Option<f64> {
        self.goal.conclusion.conditional_throughput_pps
    }

    /// True when both bounds are the path's own and close enough.
    pub fn is_regular(&self) -> bool {
        self.goal.conclusion.regular
    }

    /// True when the result is irregular and its value one that the path may exceed: the highest load or the tester set an
    /// end to the search.
    pub fn is_at_least(&self) -> bool {
        let ends = [Some(Irregular::MaxLoadReached), Some(Irregular::TesterLimited)];
        ends.contains(&self.goal.conclusion.irregular) && self.value_pps().is_some()
    }

    /// The value as `text` writes it, with `≥` before an irregular one; `-` without one.
    pub fn marked(&self, text: impl Fn(f64) -> Option<String>) -> String {
        match self.value_pps().and_then(text) {
            Some(text) if self.is_regular() => text,
            Some(text) => format!("≥ {text}"),
            None => "-".to_owned(),
        }
    }

    /// Distance of the bounds as a share of the upper one; `None` when one is missing.
    pub fn width(&self) -> Option<f64> {
        let found = &self.goal.conclusion;
        let upper = found.relevant_upper_bound_pps.filter(|upper| *upper > 0)? as f64;
        Some((upper - found.relevant_lower_bound_pps? as f64) / upper)
    }

    /// Bit/s of layer 2 at a load: with the check sequence, without preamble and gap.
    pub fn l2_bps(&self, pps: f64) -> f64 {
        pps * self.search.frame_size.mean_bytes() * 8.0
    }

    /// Bit/s of layer 1 at a load: with preamble and gap.
    pub fn l1_bps(&self, pps: f64) -> f64 {
        pps * self.search.frame_size.mean_wire_bits()
    }

    /// A load as a share of line rate (layer 1); `None` when no link reports its speed.
    pub fn of_line_rate(&self, pps: f64) -> Option<f64> {
        Some(pps / self.search.line_rate_pps.filter(|rate| *rate > 0.0)?)
    }

    /// The result in one clause: `NDR 999,433 pps (0.49 % wide, upper bound 1,004,453 pps)`.
    pub fn clause(&self) -> String {
        let name = label(&self.goal.goal);
        let found = &self.goal.conclusion;
        let value = found.conditional_throughput_pps.map(pps);
        match (value, found.relevant_upper_bound_pps) {
            (Some(value), Some(upper)) if found.regular => {
                let width = self.width().map_or("-".to_owned(), short_percent);
                format!("{name} {value} ({width} % wide, upper bound {})", pps(upper as f64))
            }
            (Some(value), _) => format!("{name} at least {value}: {}", self.why()),
            (None, _) => format!("no {name}: {}", self.why()),
        }
    }

    /// Why the result is irregular; empty when it is regular.
    pub fn why(&self) -> String {
        let found = &self.goal.conclusion;
        let ends = |load: Option<u64>| load.map_or("not known".to_owned(), |load| pps(load as f64));
        match found.irregular {
            None => String::new(),
            Some(Irregular::TesterLimited) => {
                let what = found.limited_by.map_or("the tester", limiter);
                let ceiling = self
                    .search
                    .generator_ceiling_pps
                    .filter(|_| found.limited_by == Some(Limiter::Generator));
                let ceiling = ceiling.map_or(String::new(), |ceiling| {
                    format!(" (alone it sends {} on this host)", pps(ceiling))
                });
                format!("limited by {what}{ceiling}, not a property of the path")
            }
            Some(Irregular::MaxLoadReached) => {
                let what = match self.search.max_load_source {
                    Some(MaxLoadSource::Measured) => "99 % of what the tester could offer",
                    _ => "the highest load allowed",
                };
                format!("{what}, {}, meets the goal", ends(self.search.max_load_pps))
            }
            Some(Irregular::MinLoadFails) => {
                format!("the lowest load allowed, {}, misses the goal", ends(self.search.min_load_pps))
            }
            Some(Irregular::Unfinished) => {
                let upper = found.relevant_upper_bound_pps.map(|load| pps(load as f64));
                let upper = upper.map_or(String::new(), |upper| format!(", upper bound {upper}"));
                format!("{}{upper}", ended(self.search))
            }
        }
    }
}

impl fmt::Display for GoalResult<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clause())
    }
}

/// What limited a result, with its article.
pub fn limiter(limit: Limiter) -> &'static str {
    match limit {
        Limiter::Path => "the path",
        Limiter::Generator => "the generator",
        Limiter::Port => "the generator's port",
        Limiter::Receiver => "the tester's receiver",
        Limiter::MaxLoad => "the highest load allowed",
    }
}

/// How a search without close bounds ended.
pub(crate) fn ended(search: &SearchSummary) -> String {
    match (search.ended, &search.reason) {
        (SearchEnd::Budget, _) => "its time was used up before the bounds were close enough".to_owned(),
        (SearchEnd::Failed, Some(reason)) => format!("the search failed: {reason}"),
        (SearchEnd::Failed, None) => "the search failed".to_owned(),
        (SearchEnd::Interrupted, _) => "the search was interrupted".to_owned(),
        (SearchEnd::Finished, _) => "further trials could not bring the bounds closer".to_owned(),
    }
}

/// A load in packets per second, with its unit.
pub fn pps(load: f64) -> String {
    format!("{} pps", count(load.round() as u64))
}

/// A share in percent with two significant digits.
pub fn short_percent(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = if percent > 0.0 { (1.0 - percent.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    short(format!("{percent:.digits$}").parse().unwrap_or(percent))
}

/// A number of searches: `1 search`, `2 searches`.
pub fn searches(number: usize) -> String {
    format!("{} search{}", count(number as u64), if number == 1 { "" } else { "es" })
}

/// How many results of searches are regular and how many are not: `4 regular, 1 irregular`.
pub fn tally<'s>(searches: impl IntoIterator<Item = &'s SearchSummary>) -> String {
    counted(searches.into_iter().flat_map(found).map(|one| one.is_regular()))
}

/// The same for searches for the highest rate of HTTP requests.
pub fn tally_of_http(searches: &[HttpSearchSummary]) -> String {
    counted(searches.iter().flat_map(HttpSearchSummary::regularity))
}

fn counted(are_regular: impl Iterator<Item = bool>) -> String {
    let (mut regular, mut irregular) = (0, 0);
    for is_regular in are_regular {
        *(if is_regular { &mut regular } else { &mut irregular }) += 1;
    }
    let parts =
        [(regular, "regular"), (irregular, "irregular")].into_iter().filter(|(number, _)| *number > 0);
    parts.map(|(number, kind)| format!("{number} {kind}")).collect::<Vec<_>>().join(", ")
}

/// Searches of the same profile and path, in order: the repeats of one search.
#[derive(Debug, Clone)]
pub struct Repeats<'s> {
    /// The searches; at least one.
    pub searches: Vec<&'s SearchSummary>,
}

/// The searches by profile, path and mode, in the order of their first run.
pub fn repeats(searches: &[SearchSummary]) -> Vec<Repeats<'_>> {
    let mut all: Vec<Repeats<'_>> = Vec::new();
    for search in searches {
        let same = |other: &&mut Repeats<'_>| {
            let first = other.first();
            (&first.profile, &first.pair, first.mode) == (&search.profile, &search.pair, search.mode)
        };
        match all.iter_mut().find(same) {
            Some(known) => known.searches.push(search),
            None => all.push(Repeats { searches: vec![search] }),
        }
    }
    all
}

impl<'s> Repeats<'s> {
    /// The first search.
    pub fn first(&self) -> &'s SearchSummary {
        self.searches[0]
    }

    /// Names of the goals, in order of appearance.
    pub fn goals(&self) -> Vec<&'s str> {
        let mut names: Vec<&str> = Vec::new();
        for one in self.searches.iter().flat_map(|search| &search.goals) {
            if !names.contains(&one.goal.name.as_str()) {
                names.push(&one.goal.name);
            }
        }
        names
    }

    /// The results for a goal, one for each search that has one.
    pub fn of_goal(&self, name: &str) -> Vec<GoalResult<'s>> {
        let result = |search: &&'s SearchSummary| search.goal(name).map(|goal| GoalResult { search, goal });
        self.searches.iter().filter_map(result).collect()
    }
}

/// A short name for each of `all`, in which they differ: frame size, flows, profile, path.
pub fn short_names(all: &[Repeats<'_>]) -> Vec<String> {
    let size = |search: &SearchSummary| frame_size(&search.frame_size);
    let flows = |search: &SearchSummary| format!("{}, {} flows", size(search), count(search.flows.into()));
    let profile = |search: &SearchSummary| search.profile.clone();
    let with_path = |name: String, search: &SearchSummary| {
        search.pair.iter().fold(name, |name, pair| format!("{name}, {pair}"))
    };
    let forms: [&dyn Fn(&SearchSummary) -> String; 3] = [&size, &flows, &profile];
    let names = forms.iter().map(|form| -> Vec<String> {
        all.iter().map(|one| with_path(form(one.first()), one.first())).collect()
    });
    let mut last = Vec::new();
    for names in names {
        let differ = names.iter().enumerate().all(|(index, name)| !names[..index].contains(name));
        last = names;
        if differ {
            break;
        }
    }
    last
}

/// Frame sizes with their unit.
fn frame_size(sizes: &FrameSizes) -> String {
    match sizes.single() {
        Some(size) => format!("{} B", size.bytes()),
        None => format!("{sizes} (mean {} B)", short(sizes.mean_bytes())),
    }
}
