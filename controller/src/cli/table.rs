//! Results and plans as tables.

use std::collections::HashSet;
use std::path::Path;

use super::grid::Grid;
use super::words::{figure, microseconds, missed_load, mpps};
use super::{engines, http, search_table, streams};
use crate::profile::headers::HeaderRow;
use crate::profile::library::Entry;
use linerate_experiment::direction::Direction;
use linerate_experiment::plan::PlanView;
use linerate_report::search;
use linerate_results::figures::table::FrameFigure;
use linerate_results::store::Listed;
use linerate_results::summary::{Aggregate, Summary, TrialSummary};

/// Mark before an offered load that missed the intended one.
const MISSED: &str = "! ";

const P50: &FrameFigure = FrameFigure::named("latency_p50");
const P99: &FrameFigure = FrameFigure::named("latency_p99");

/// A number with a noun.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Trials and failures of an experiment, on a terminal of that `width`.
pub(super) fn trials(summary: &Summary, width: Option<usize>) -> String {
    if engines::is_of_engines(summary) {
        return engines::trials(summary, width);
    }
    if http::is_of_http(summary) {
        return http::trials(summary, width);
    }
    if streams::is_of_streams(summary) {
        return streams::trials(summary, width);
    }
    // The trials of an experiment all have the same direction.
    let round_trips = summary.trials.iter().any(|trial| trial.direction.is_round_trip());
    let [p50, p99] =
        if round_trips { ["round trip p50 µs", "round trip p99 µs"] } else { ["p50 µs", "p99 µs"] };
    let columns = [
        "profile",
        "pair",
        "size",
        "flows",
        "intended",
        "offered",
        "received Mpps",
        "lost",
        p50,
        p99,
        "verdict",
    ];
    let first = summary.matrix_trials().next();
    let pairs = summary.matrix_trials().any(|trial| first.is_some_and(|first| first.pair != trial.pair));
    // The name of a single pair carries no information.
    let expendable: &[usize] = if pairs { &[3, 2, 8, 4, 9] } else { &[1, 3, 2, 8, 4, 9] };
    let mut table = Grid::new(&columns, 2..10).names(&[0]).expendable(expendable);
    for trial in summary.matrix_trials() {
        table.add_row([
            trial.profile.clone(),
            trial.pair.clone(),
            trial.frame_size.to_string(),
            trial.flows.to_string(),
            trial.intended_pps.map_or("max".to_owned(), mpps),
            format!("{}{}", if trial.offered_missed_intended { MISSED } else { "" }, mpps(trial.offered_pps)),
            mpps(trial.received_pps),
            trial.lost_packets.to_string(),
            figure(P50, trial),
            figure(P99, trial),
            trial.verdict.kind.to_string(),
        ]);
    }
    let mut text = search_table::searches(summary, width);
    if first.is_some() {
        text.push_str(&format!("{}\n", table.render(width)));
    }
    let has_repeats = summary.matrix_trials().any(|trial| trial.repeat > 1);
    for trial in summary.matrix_trials() {
        text.push_str(&remarks(trial, has_repeats));
    }
    let in_searches: HashSet<(&str, u32)> = summary
        .trials
        .iter()
        .filter(|trial| trial.search.is_some())
        .map(|trial| (trial.profile.as_str(), trial.repeat))
        .collect();
    let of_matrix =
        summary.aggregates.iter().filter(|all| !in_searches.contains(&(&all.profile, all.repeat)));
    for all in of_matrix {
        text.push_str(&together(all));
    }
    for failure in &summary.failures {
        text.push_str(&format!("not finished: {} {}: {}\n", failure.profile, failure.pair, failure.reason));
    }
    text.push_str(&recoveries(summary));
    text.push_str(&closing_line(summary));
    text
}

/// What a reader must know of a trial: both loads when it missed its own, and the evidence when it missed its load or lost packets.
fn remarks(trial: &TrialSummary, has_repeats: bool) -> String {
    let missed = missed_load(trial);
    if missed.is_none() && trial.lost_packets == 0 {
        return String::new();
    }
    let repeat = if has_repeats { format!(" repeat {}", trial.repeat) } else { String::new() };
    let name = format!("{}{repeat} {}", trial.profile, trial.pair);
    let mut text = missed.map_or(String::new(), |missed| format!("{MISSED}{name}: {missed}\n"));
    text.push_str(&format!("{name}: {}: {}\n", trial.verdict.kind, trial.verdict.evidence));
    text
}

/// Summary line of all pairs of a trial.
fn together(all: &Aggregate) -> String {
    let began = all.start.map_or(String::new(), |start| {
        let off = if start.uncertainty_s > 0.0 {
            format!(" ± {} µs", microseconds(start.uncertainty_s * 1e9))
        } else {
            String::new()
        };
        format!("; began within {} µs{off}", microseconds(start.spread_s * 1e9))
    });
    let repeat = if all.repeat > 1 { format!(" repeat {}", all.repeat) } else { String::new() };
    format!(
        "together: {}{repeat}: offered {} Mpps, received {} Mpps, {} of {} packets lost{began}\n",
        all.profile,
        mpps(all.offered_pps),
        mpps(all.received_pps),
        all.lost_packets,
        all.sent_packets,
    )
}

/// Lines on pairs and agents that were lost and brought back; none where nothing was lost.
pub(super) fn recoveries(summary: &Summary) -> String {
    summary.recoveries.iter().map(|recovery| format!("recovered: {recovery}\n")).collect()
}

pub(super) fn closing_line(summary: &Summary) -> String {
    let overhead = &summary.overhead;
    let parts = overhead.parts().map(|(part, seconds)| format!("{part} {seconds:.2}"));
    let changes = &summary.experiment.environment_changes;
    let changes: String =
        changes.iter().map(|change| format!("\nnot all trials ran on the same: {change}")).collect();
    let results = count(summary.trials.len() + summary.streams.len(), "result");
    // How many trials a search takes is not known beforehand.
    let results = if has_searches(summary) {
        format!("{results} of trials in {}", search::searches(summary.searches.len()))
    } else {
        format!("{results} of {}", count(summary.experiment.planned_trials, "planned trial"))
    };
    let ways = if is_both_ways(summary) { ", one for each direction" } else { "" };
    let missed = summary.matrix_trials().filter(|trial| missed_load(trial).is_some()).count();
    let missed = if missed > 0 { format!("; {missed} missed the intended load") } else { String::new() };
    format!(
        "{}: {results} on {}{ways}{missed}; overhead {:.2} s ({}){changes}",
        summary.status,
        count(summary.experiment.pairs, "pair"),
        overhead.total_s,
        parts.join(", "),
    )
}

/// Series of a trial, one per row.
pub(super) fn series(rows: Vec<[String; 7]>, width: Option<usize>) -> String {
    let columns = ["end", "series", "samples", "least", "mean", "most", "course"];
    let mut table = Grid::new(&columns, 2..6).expendable(&[2, 6]);
    rows.into_iter().for_each(|row| table.add_row(row));
    table.render(width)
}

/// The trials of a plan.
pub(super) fn plan(view: &PlanView, width: Option<usize>) -> String {
    if !view.searches.is_empty() {
        return searches_planned(view, width);
    }
    let columns = ["#", "profile", "size", "flows", "rate", "repeat", "seconds"];
    let mut table = Grid::new(&columns, 2..7).names(&[1]).expendable(&[3, 2, 4]);
    for (index, trial) in view.trials.iter().enumerate() {
        table.add_row([
            (index + 1).to_string(),
            trial.profile.clone(),
            trial.frame_size.to_string(),
            trial.flows.to_string(),
            trial.rate.to_string(),
            trial.repeat.to_string(),
            trial.duration_s.map_or("?".to_owned(), |seconds| format!("{seconds:.3}")),
        ]);
    }
    let estimate =
        view.estimated_s.map_or("not known before".to_owned(), |seconds| format!("about {seconds:.0} s"));
    let ways = match view.direction {
        Direction::OneWay => "",
        Direction::Bidirectional => ", in both directions at once",
        Direction::RoundTrip => ", there and back",
    };
    format!(
        "{}\n{}: {} on {}{ways}; total time {estimate}",
        table.render(width),
        view.experiment,
        count(view.trials.len(), "trial"),
        count(view.pairs, "pair")
    )
}

/// The rate searches of a plan.
fn searches_planned(view: &PlanView, width: Option<usize>) -> String {
    let columns = ["profile", "size", "flows", "goals", "searches", "trials each", "seconds"];
    let mut table = Grid::new(&columns, 4..7).names(&[0]).expendable(&[2, 1]);
    for search in &view.searches {
        table.add_row([
            search.profile.clone(),
            search.frame_size.to_string(),
            search.flows.to_string(),
            search.goals.join(", "),
            search.searches.to_string(),
            range(search.fewest_trials as f64, search.likely_trials as f64),
            range(search.fewest_s, search.likely_s),
        ]);
    }
    let estimate =
        view.estimated_s.map_or("not known before".to_owned(), |seconds| format!("about {seconds:.0} s"));
    let then = view
        .searches
        .first()
        .map_or(&[][..], |search| &search.then)
        .iter()
        .map(|follow| format!("{} (about {:.0} s)", follow.name, follow.likely_s));
    let then: Vec<String> = then.collect();
    let then =
        if then.is_empty() { String::new() } else { format!("after each search: {}\n", then.join(", ")) };
    let searches: usize = view.searches.iter().map(|search| search.searches).sum();
    format!(
        "{}\n{then}{}: {} on {}; total time {estimate}, more on a system whose limit varies by more than 2 %",
        table.render(width),
        view.experiment,
        if searches == 1 { "1 search".to_owned() } else { format!("{searches} searches") },
        count(view.pairs, "pair")
    )
}

/// `35 to 77`, or one number when both are the same.
fn range(least: f64, most: f64) -> String {
    let (least, most) = (format!("{least:.0}"), format!("{most:.0}"));
    if least == most { least } else { format!("{least} to {most}") }
}

/// The experiments of a results directory.
pub(super) fn experiments(listed: &[Listed], width: Option<usize>) -> String {
    let columns = ["id", "started", "name", "platform", "results", "trials", "lost", "verdicts", "status"];
    let mut table = Grid::new(&columns, 4..7).names(&[2, 8]).expendable(&[3, 7, 5]);
    for (id, loaded) in listed {
        let row = match loaded {
            Ok(summary @ Summary { experiment, status, trials, .. }) => [
                id.clone(),
                experiment.started_at.clone(),
                experiment.name.clone(),
                experiment.platform.clone(),
                (trials.len() + summary.streams.len() + summary.http.len()).to_string(),
                planned(summary),
                lost(summary),
                verdicts(summary),
                status.to_string(),
            ],
            Err(error) => {
                let mut row = [const { String::new() }; 9];
                row[0].clone_from(id);
                row[8] = error.to_string();
                row
            }
        };
        table.add_row(row);
    }
    table.render(width)
}

fn has_searches(summary: &Summary) -> bool {
    summary.trials.iter().any(|trial| trial.search.is_some())
}

fn is_both_ways(summary: &Summary) -> bool {
    summary.trials.iter().any(|trial| trial.direction == Direction::Bidirectional)
}

/// Results that the plan calls for; `-` where searches choose their trials.
fn planned(summary: &Summary) -> String {
    let experiment = &summary.experiment;
    if has_searches(summary) || !summary.http_searches.is_empty() {
        return "-".to_owned();
    }
    // A trial of streams or HTTP has one result of all agents.
    let results = if streams::is_of_streams(summary) { 1 } else { experiment.pairs };
    // Each way of a pair has a result.
    let results = results.saturating_mul(if is_both_ways(summary) { 2 } else { 1 });
    experiment.planned_trials.saturating_mul(results).to_string()
}

/// Packets and datagrams lost in the matrix; `-` where nothing counts them: TCP, HTTP, and searches, which lose packets to find where that
/// begins.
fn lost(summary: &Summary) -> String {
    let datagrams = summary.streams.iter().filter_map(|trial| trial.lost_datagrams);
    let packets: Vec<u64> =
        summary.matrix_trials().map(|trial| trial.lost_packets).chain(datagrams).collect();
    let counts_none = has_searches(summary) || !summary.streams.is_empty() || !summary.http.is_empty();
    if packets.is_empty() && counts_none {
        return "-".to_owned();
    }
    packets.into_iter().fold(0, u64::saturating_add).to_string()
}

/// Number of results of searches that are regular, and of trials with each verdict, the most frequent first.
fn verdicts(summary: &Summary) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let of_frames = summary.matrix_trials().map(|trial| trial.verdict.kind.to_string());
    let of_streams = summary.streams.iter().map(|trial| trial.verdict.kind.to_string());
    let of_requests = summary.http.iter().filter(|trial| trial.search.is_none());
    let of_requests = of_requests.map(|trial| trial.verdict.kind.to_string());
    for kind in of_frames.chain(of_streams).chain(of_requests) {
        match counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
    let found = [search::tally(&summary.searches), search::tally_of_http(&summary.http_searches)];
    let found = found.into_iter().filter(|found| !found.is_empty());
    found.chain(kinds).collect::<Vec<_>>().join(", ")
}

/// The profiles of a directory.
pub(super) fn profiles(directory: &Path, entries: &[Entry], width: Option<usize>) -> String {
    let columns = ["name", "size", "flows", "varied", "rate", "file"];
    let mut table = Grid::new(&columns, 1..3).names(&[0, 5]).expendable(&[3, 4]);
    for (file, loaded) in entries {
        let file = file.strip_prefix(directory).unwrap_or(file).display().to_string();
        table.add_row(match loaded {
            Ok(loaded) => {
                let profile = &loaded.profile;
                let varied: Vec<&str> = profile.sweeps().iter().map(|sweep| sweep.field.name()).collect();
                [
                    profile.name(),
                    profile.frame_sizes().label(),
                    profile.flows().to_string(),
                    varied.join(" "),
                    profile.raw().rate.map_or("staged".to_owned(), |rate| rate.to_string()),
                    file,
                ]
            }
            Err(error) => {
                let mut row = [const { String::new() }; 6];
                row[0] = error.to_string().lines().next().unwrap_or_default().to_owned();
                row[5] = file;
                row
            }
        });
    }
    table.render(width)
}

/// The headers of a profile's flows.
pub(super) fn headers(rows: &[HeaderRow], flows: u32, width: Option<usize>) -> String {
    let last = format!("flow {}", flows - 1);
    let mut table = Grid::new(&["field", "flow 0", &last, "varies"], 0..0).expendable(&[3]);
    for row in rows {
        let varies = row.varies.clone().unwrap_or_default();
        table.add_row([row.field.clone(), row.first.clone(), row.last.clone(), varies]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_experiment::http::{HttpSearchPlace, HttpTarget};
    use linerate_results::fixtures::{http, streams, summary};
    use linerate_results::fixtures::{rx, tx, with_clock};
    use linerate_results::http::{HttpSearchSummary, HttpTrialSummary};
    use linerate_results::summary::{SearchEnd, Status};
    use linerate_wire::http::Arrivals;
    use linerate_wire::streams::Protocol;

    #[test]
    fn a_load_that_missed_the_intended_one_is_marked_and_explained() {
        let trial = |sent, repeat| {
            let result = with_clock(true, &tx(sent), &rx(sent)).unwrap();
            TrialSummary { repeat, profile: "p".into(), ..result }
        };
        let shown = |trials| super::trials(&Summary { trials, ..summary(Status::Complete) }, None);

        let text = shown(vec![trial(1000, 1), trial(900, 1)]);
        assert_eq!(text.matches("! ").count(), 2, "{text}");
        assert!(text.contains("  ! 0.000450 ") && text.contains(" 0.000500 "), "{text}");
        let line = "\n! p tx0-rx0: offered 0.000450 of 0.000500 Mpps intended (-10.000 %)\n";
        assert!(text.contains(line), "{text}");

        assert!(text.contains("\np tx0-rx0: generator-limited: offered 450 of 500 pps intended"), "{text}");
        assert!(text.contains(" on 1 pair; 1 missed the intended load; overhead "), "{text}");

        let text = shown(vec![trial(1000, 1), trial(900, 2)]);
        assert!(text.contains("\n! p repeat 2 tx0-rx0: offered"), "{text}");
        let text = shown(vec![trial(1000, 1)]);
        assert!(!text.contains('!') && !text.contains("missed"), "{text}");
    }

    #[test]
    fn losses_have_their_evidence_below_the_table() {
        let trial = with_clock(true, &tx(1000), &rx(990)).unwrap();
        let trial = TrialSummary { profile: "p".into(), ..trial };
        let (kind, evidence) = (trial.verdict.kind, trial.verdict.evidence.clone());
        let text = super::trials(&Summary { trials: vec![trial], ..summary(Status::Complete) }, None);
        assert!(text.contains(&format!("\np tx0-rx0: {kind}: {evidence}\n")), "{text}");
        assert!(evidence.starts_with("10 of 1000 packets lost"), "{evidence}");
    }

    #[test]
    fn a_pair_that_was_lost_and_brought_back_is_named_below_the_table() {
        let shown = |recoveries: &[&str]| {
            let recoveries = recoveries.iter().map(|&text| text.to_owned()).collect();
            super::trials(&Summary { recoveries, ..summary(Status::Complete) }, None)
        };
        let text = shown(&["tx0-rx0 was started anew: rx0 was killed by signal 9 (SIGKILL)"]);
        let line = "recovered: tx0-rx0 was started anew: rx0 was killed by signal 9 (SIGKILL)\n";
        assert!(text.contains(line), "{text}");
        assert!(!shown(&[]).contains("recovered"), "nothing was lost");
    }

    #[test]
    fn the_list_counts_a_result_for_each_way_of_a_pair() {
        let one_way = with_clock(true, &tx(10), &rx(10)).unwrap();
        let both = TrialSummary { direction: Direction::Bidirectional, ..one_way.clone() };
        let of = |trials: Vec<TrialSummary>| {
            let mut summary = Summary { trials, ..summary(Status::Complete) };
            (summary.experiment.planned_trials, summary.experiment.pairs) = (2, 3);
            planned(&summary)
        };
        assert_eq!(of(vec![one_way]), "6");
        assert_eq!(of(vec![both.clone(), both]), "12");
        assert_eq!(of(Vec::new()), "6", "nothing says which ways");
    }

    #[test]
    fn the_list_has_verdicts_of_streams_and_http_and_losses_only_where_something_counts_them() {
        let row = |summary: &Summary| (lost(summary), verdicts(summary));
        let udp = streams::summary_of(&[streams::pair(Protocol::Udp, 1, 1)], "1f3c09aa");
        let lost_datagrams = udp.streams[0].lost_datagrams.unwrap();
        let kind = udp.streams[0].verdict.kind;
        assert_eq!(row(&udp), (lost_datagrams.to_string(), format!("1 {kind}")));
        let tcp = streams::summary_of(&[streams::pair(Protocol::Tcp, 1, 1)], "1f3c09aa");
        let kind = tcp.streams[0].verdict.kind;
        assert_eq!(row(&tcp), ("-".to_owned(), format!("1 {kind}")));

        let record = http::record(HttpTarget::Direct, Arrivals::Constant(100.0), &[100]);
        let trial = HttpTrialSummary::of(&record, http::context());
        let kind = trial.verdict.kind;
        let requests = Summary { http: vec![trial.clone()], ..summary(Status::Complete) };
        assert_eq!(row(&requests), ("-".to_owned(), format!("1 {kind}")));

        let place = HttpSearchPlace { search: "s".to_owned(), ordinal: 1, duration_ms: 1000 };
        let search = HttpSearchSummary {
            search: "s".to_owned(),
            ended: SearchEnd::Interrupted,
            trials: 1,
            sending_s: 1.0,
            goals: Vec::new(),
        };
        let searched = Summary {
            http: vec![HttpTrialSummary { search: Some(place), ..trial }],
            http_searches: vec![search],
            ..summary(Status::Complete)
        };
        assert_eq!(row(&searched), ("-".to_owned(), String::new()));
        assert_eq!(planned(&searched), "-");
    }
}
