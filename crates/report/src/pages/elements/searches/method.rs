//! How a search measured: everything that MLRsearch (RFC 9971) wants stated beside a result.

use linerate_experiment::direction::Direction;
use linerate_experiment::search::{MaxLoadSource, PartOf, SearchMode};
use linerate_results::summary::{GoalAttributes, PathEvidence, SearchSummary};

use super::super::super::model::{Block, Column, Fact, Row, Table};
use super::super::super::number::{count, percent, short};
use super::super::super::source::Source;
use crate::search::{Repeats, label, pps};

pub(super) fn blocks(source: &Source, all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    vec![Block::Table(goals(source)), Block::Facts(facts(source, all, names))]
}

/// All attributes of the goals, those left at their defaults included.
fn goals(source: &Source) -> Table {
    let mut goals: Vec<&GoalAttributes> = Vec::new();
    for one in source.summary.searches.iter().flat_map(|search| &search.goals) {
        if !goals.contains(&&one.goal) {
            goals.push(&one.goal);
        }
    }
    let columns = vec![
        Column::words("name", "goal"),
        Column::words("label", "called"),
        Column::numbers("loss_ratio", "loss ratio %"),
        Column::numbers("exceed_ratio", "exceed ratio %"),
        Column::numbers("relative_width", "width, % of the upper bound"),
        Column::numbers("initial_trial_duration_s", "initial trial duration s"),
        Column::numbers("final_trial_duration_s", "final trial duration s"),
        Column::numbers("duration_sum_s", "duration sum s"),
        Column::numbers("preceding_targets", "preceding targets"),
    ];
    let row = |goal: &&GoalAttributes| Row {
        key: goal.name.clone(),
        cells: vec![
            goal.name.clone().into(),
            label(goal).into(),
            percent(goal.loss_ratio).into(),
            percent(goal.exceed_ratio).into(),
            percent(goal.relative_width).into(),
            short(goal.initial_trial_duration_s).into(),
            short(goal.final_trial_duration_s).into(),
            short(goal.duration_sum_s).into(),
            goal.preceding_targets.to_string().into(),
        ],
    };
    Table {
        caption: "Search goals, with every attribute".to_owned(),
        columns,
        rows: goals.iter().map(row).collect(),
    }
}

fn facts(source: &Source, all: &[Repeats<'_>], names: &[String]) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new(
            "method",
            "MLRsearch (RFC 9971): classification of loads, relevant bounds, conditional throughput; which load is tried next is Linerate's own choice",
        ),
        Fact::new(
            "value",
            "conditional throughput: what the lower bound forwards in the share of the time that must have low loss",
        ),
        Fact::new(
            "width",
            "upper bound less lower bound, as a share of the upper bound; a resolution, not a confidence",
        ),
    ];
    for (name, of) in [
        ("load", load as fn(&Source, &SearchSummary) -> String),
        ("paths", paths),
        ("limits of the load", limits),
        ("tester and path", parts),
        ("the tester alone", ceiling),
    ] {
        facts.push(Fact::new(name, each(all, names, |search| of(source, search))));
    }
    facts.extend([
        Fact::new(
            "loss ratio of a trial",
            "lost ÷ sent. Where a path offered less than intended (0.1 % and one packet), (lost + not sent) ÷ (sent + not sent) leads the search down; an \
             upper bound that rests on packets that were not sent, or that the tester's receiver dropped, is the tester's and not the path's",
        ),
        Fact::new(
            "repeated trials",
            "a trial that shows a limit of the tester alone is no evidence, and its load is tried again. Its load was not offered, although another trial \
             offered as much; or the tester explains all of its loss, which is more than the strictest goal allows, although another trial received as much \
             without a loss of the tester's. The latter holds for trials of at most 10 s. A load is tried again at most four times in a row. Where no other \
             trial shows that the tester can, at most twice, and only if at least 98 % were offered or received in at most 10 s. A whole search has at most 8 \
             repeats, and one more for every two trials that are evidence",
        ),
        Fact::new("forwarding ratio", "1 less the loss ratio; further copies of a packet do not count, reordered packets count as received"),
        Fact::new("effective duration of a trial", "the intended duration; time for preparing and draining is not part of it"),
        Fact::new(
            "deviations from RFC 2544, section 23",
            "in place of fixed waits (2 s after learning, 2 s for residual frames, 5 s of rest), a trial ends when no frame arrives any more and all counters \
             have settled; addresses are resolved and the path is warmed up once, before the first trial",
        ),
    ]);
    if source.summary.searches.iter().any(|search| search.frame_size.single().is_none()) {
        facts.push(Fact::new("mixed frame sizes", "bit rates and line rate are those of the mean size"));
    }
    facts
}

/// What `of` says of the searches, once where all say the same.
fn each(all: &[Repeats<'_>], names: &[String], of: impl Fn(&SearchSummary) -> String) -> String {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for (repeats, name) in all.iter().zip(names) {
        for text in repeats.searches.iter().map(|search| of(search)) {
            match said.iter_mut().find(|(known, _)| *known == text) {
                Some((_, names)) if names.contains(&name.as_str()) => {}
                Some((_, names)) => names.push(name),
                None => said.push((text, vec![name])),
            }
        }
    }
    if let [(text, _)] = &mut said[..] {
        return std::mem::take(text);
    }
    said.iter().map(|(text, names)| format!("{}: {text}", names.join(", "))).collect::<Vec<_>>().join("; ")
}

fn load(source: &Source, search: &SearchSummary) -> String {
    let directions =
        source.summary.trials.iter().find(|trial| search.has(trial)).map(|trial| trial.direction);
    let ways = match directions {
        Some(Direction::Bidirectional) => ", both directions at once",
        Some(Direction::RoundTrip) => ", there and back",
        _ => "",
    };
    let all = match search.paths {
        0 | 1 => "one path is loaded".to_owned(),
        several => {
            format!("{} paths are loaded, so the load of all is {0} times that", count(several as u64))
        }
    };
    format!("packets per second of one sender in one direction, constant during a trial{ways}; {all}")
}

fn paths(_: &Source, search: &SearchSummary) -> String {
    match search.mode {
        SearchMode::Together => "all loaded together, their losses summed".to_owned(),
        SearchMode::Every => {
            let own = match search.evidence {
                PathEvidence::AnyPath => {
                    "; where the tester explains that loss, the greatest loss that is a path's own counts as the path's"
                }
                PathEvidence::WorstPath => "",
            };
            format!(
                "all loaded together; the path with the most loss decides, which is stricter than the forwarding ratio of RFC 9971{own}"
            )
        }
        SearchMode::Each => "each searched alone, while the others are idle".to_owned(),
    }
}

fn limits(_: &Source, search: &SearchSummary) -> String {
    let source = match search.max_load_source {
        Some(MaxLoadSource::Link) => "line rate of the slowest link",
        Some(MaxLoadSource::Ceiling) => "a ceiling of document, environment or agent",
        Some(MaxLoadSource::User) => "set in the document",
        Some(MaxLoadSource::Measured) => "99 % of what a trial as fast as possible offered",
        None => "not known",
    };
    let most = search.max_load_pps.map_or("not known".to_owned(), |load| pps(load as f64));
    let least = search.min_load_pps.map_or("not known".to_owned(), |load| pps(load as f64));
    format!("{least} to {most} ({source})")
}

fn parts(_: &Source, search: &SearchSummary) -> String {
    let receiver = match search.receiver {
        PartOf::Tester => "the receivers are part of the tester: what they drop is not the path's loss",
        PartOf::Path => "the receivers are part of the path: what they drop is loss",
    };
    let port = match search.port {
        PartOf::Tester => "the senders' ports are part of the tester: what they do not take was not sent",
        PartOf::Path => "the senders' ports are part of the path: what they do not take is loss",
    };
    format!("{receiver}; {port}")
}

fn ceiling(_: &Source, search: &SearchSummary) -> String {
    match search.generator_ceiling_pps {
        Some(ceiling) => {
            format!("its generator sends {} into a port that discards everything, on this host", pps(ceiling))
        }
        None => "not measured; linerate measure-self does that for senders on one host".to_owned(),
    }
}
