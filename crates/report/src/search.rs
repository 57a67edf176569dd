//! Results of rate searches in words, the same in pages, tables and workbooks.

use std::fmt;

use linerate_experiment::search::MaxLoadSource;
use linerate_results::summary::{GoalAttributes, GoalSummary, PathLoss, SearchEnd, SearchSummary};
use linerate_search::{Goal, Irregular, Limiter};
use linerate_traffic::profile::FrameSizes;

use crate::compare::{Group, search_group};
use crate::pages::number::{count, short};

/// Result of one search for one goal.
#[derive(Debug, Clone, Copy)]
pub struct Found<'s> {
    /// The search.
    pub search: &'s SearchSummary,
    /// The goal and what was found.
    pub goal: &'s GoalSummary,
}

/// All results of a search, in the order of its goals.
pub fn found(search: &SearchSummary) -> impl Iterator<Item = Found<'_>> {
    search.goals.iter().map(move |goal| Found { search, goal })
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

impl Found<'_> {
    /// Conditional throughput in packets per second; `None` when no load meets the goal.
    pub fn value_pps(&self) -> Option<f64> {
        self.goal.conclusion.conditional_throughput_pps
    }

    /// True when both bounds are the path's own and close enough.
    pub fn is_regular(&self) -> bool {
        self.goal.conclusion.regular
    }

    /// The value with `≥` before an irregular one; `-` without one.
    pub fn marked(&self, text: impl Fn(f64) -> String) -> String {
        match self.value_pps() {
            Some(value) if self.is_regular() => text(value),
            Some(value) => match text(value) {
                unknown if unknown == "-" => unknown,
                text => format!("≥ {text}"),
            },
            None => "-".to_owned(),
        }
    }

    /// Distance of the bounds as a share of the upper one; `None` when one is missing.
    pub fn width(&self) -> Option<f64> {
        let found = &self.goal.conclusion;
        let (lower, upper) = (found.relevant_lower_bound_pps?, found.relevant_upper_bound_pps?);
        Some((upper - lower) as f64 / upper as f64)
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

impl fmt::Display for Found<'_> {
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
fn ended(search: &SearchSummary) -> String {
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
    let (mut regular, mut irregular) = (0, 0);
    for one in searches.into_iter().flat_map(found) {
        *(if one.is_regular() { &mut regular } else { &mut irregular }) += 1;
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
    pub fn of_goal(&self, name: &str) -> Vec<Found<'s>> {
        let result = |search: &&'s SearchSummary| search.goal(name).map(|goal| Found { search, goal });
        self.searches.iter().filter_map(result).collect()
    }
}

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
    pub fn of<'s>(results: impl IntoIterator<Item = Found<'s>>) -> Self {
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
fn clause(results: &[Found<'_>]) -> String {
    let [first, ..] = results else { return String::new() };
    if results.len() == 1 {
        return first.clause();
    }
    let left_out = results.iter().filter(|one| !one.is_regular()).count();
    let Some(group) = mean(results) else {
        return irregular_clause(results);
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

/// Irregular results of several searches in one clause: each of them is a claim of its own.
fn irregular_clause(results: &[Found<'_>]) -> String {
    let value = |one: &&Found<'_>| one.value_pps().unwrap_or(-1.0);
    let most = results.iter().max_by(|one, other| value(one).total_cmp(&value(other)));
    let Some(most) = most else { return String::new() };
    let clause = most.clause();
    if results.iter().all(|one| one.clause() == clause) {
        return format!("{clause}, in all {}", searches(results.len()));
    }
    format!(
        "{clause}, in search {}; irregular in the other {}",
        most.search.number,
        searches(results.len() - 1)
    )
}

/// Mean and spread of the regular results; `None` when none is regular.
pub fn mean(results: &[Found<'_>]) -> Option<Group> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_experiment::search::SearchMode;
    use linerate_results::fixtures::search::{
        at_least, limited_by_generator, one_dead_pair, regular, two_pairs,
    };

    fn clauses(searches: &[SearchSummary]) -> Vec<String> {
        searches.iter().flat_map(|search| found(search).map(|one| one.clause())).collect()
    }

    #[test]
    fn a_result_is_one_clause() {
        let ndr = &clauses(&regular().summary.searches)[0];
        assert!(ndr.starts_with("NDR 99") && ndr.contains(" % wide, upper bound 1,00"), "{ndr}");
        let limited = clauses(&limited_by_generator().summary.searches);
        assert_eq!(
            limited[0],
            "NDR at least 796,822 pps: limited by the generator, not a property of the path"
        );
        assert!(limited[1].starts_with("PDR (0.5 %) at least "), "{limited:?}");
        assert_eq!(
            clauses(&at_least().summary.searches)[0],
            "NDR at least 1,000,000 pps: the highest load allowed, 1,000,000 pps, meets the goal"
        );
        assert_eq!(
            clauses(&one_dead_pair().summary.searches)[1],
            "no PDR (0.5 %): the lowest load allowed, 9,001 pps, misses the goal"
        );
    }

    #[test]
    fn irregular_results_that_differ_are_not_told_as_one() {
        let mut all = limited_by_generator().summary.searches;
        all.push(SearchSummary { number: 2, ..all[0].clone() });
        let told = |all: &[SearchSummary]| {
            clause(&all.iter().filter_map(|search| found(search).next()).collect::<Vec<_>>())
        };
        assert!(told(&all).ends_with(", in all 2 searches"), "{}", told(&all));
        let second = &mut all[1].goals[0].conclusion;
        (second.effective_lower_bound_pps, second.conditional_throughput_pps) = (None, None);
        assert!(told(&all).ends_with(", in search 1; irregular in the other 1 search"), "{}", told(&all));
        assert_eq!(found(&all[0]).next().unwrap().marked(|_| "-".to_owned()), "-");
    }

    #[test]
    fn names_of_goals_say_what_they_mean() {
        let goal = |goal: &Goal| label(&goal.into());
        assert_eq!(goal(&Goal::ndr()), "NDR");
        assert_eq!(goal(&Goal { loss_ppb: 1_000_000, ..Goal::ndr() }), "ndr (0.1 %)", "NDR means no loss");
        assert_eq!(goal(&Goal { loss_ppb: 0, ..Goal::pdr() }), "pdr (0 %)");
        assert_eq!(goal(&Goal { width_ppb: 1_000_000, ..Goal::rfc2544() }), "RFC 2544 throughput");
        assert_eq!(goal(&Goal { exceed_ppb: 1, ..Goal::rfc2544() }), "rfc2544 (0 %)");
    }

    #[test]
    fn searches_are_named_by_what_they_differ_in() {
        let searched = regular();
        let all = repeats(&searched.summary.searches);
        assert_eq!(short_names(&all), ["64 B", "512 B", "1518 B"]);
        assert_eq!(all[0].searches.len(), 2);
        assert_eq!((all[0].goals(), all[0].of_goal("pdr").len()), (vec!["ndr", "pdr"], 2));
        let mut each = two_pairs(SearchMode::Each).summary.searches;
        assert_eq!(short_names(&repeats(&each)), ["64 B, tx0-rx0", "64 B, tx1-rx1"]);
        each[1].pair = each[0].pair.clone();
        (each[1].flows, each[1].profile) = (1000, "q".into());
        assert_eq!(short_names(&repeats(&each)), ["64 B, 1 flows, tx0-rx0", "64 B, 1,000 flows, tx0-rx0"]);
        assert_eq!(tally(&searched.summary.searches), "12 regular");
        assert_eq!(tally(&limited_by_generator().summary.searches), "2 irregular");
    }

    #[test]
    fn an_unfinished_result_says_why() {
        let mut search = limited_by_generator().summary.searches.remove(0);
        search.ended = SearchEnd::Budget;
        let found = &mut search.goals[0].conclusion;
        (found.irregular, found.relevant_upper_bound_pps) = (Some(Irregular::Unfinished), Some(900_000));
        let clause = &clauses(&[search])[0];
        assert!(clause.ends_with("before the bounds were close enough, upper bound 900,000 pps"), "{clause}");
    }

    #[test]
    fn widths_have_two_digits() {
        let cases = [(0.004_987, "0.5"), (0.049_87, "5"), (0.000_123_4, "0.012"), (0.123, "12"), (0.0, "0")];
        for (share, text) in cases {
            assert_eq!(short_percent(share), text);
        }
    }
}
