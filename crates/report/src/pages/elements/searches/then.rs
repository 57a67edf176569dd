//! Benchmarks that followed the searches: results in words, then their tables and charts, then how their trials
//! deviate from the standards.

use linerate_results::search::FollowTrial;
use linerate_results::summary::{FollowUpSummary, SearchSummary, TrialSummary};
use linerate_search::methods::{Conclusion, LatencyConclusion, LossCurveConclusion, ServiceConclusion};

use super::super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::super::model::{Block, Cell, Column, Fact, Finding, Group, Row, Table, Tone};
use super::super::super::number::{count, microseconds, percent, short};
use super::super::super::source::Source;
use super::super::losses_over_time;
use crate::search::then::{BenchmarkOutcome, Told, deviations, step, told};
use crate::search::{Repeats, pps};

pub(super) fn blocks(source: &Source, all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    let each = all.iter().zip(names).flat_map(|(repeats, name)| {
        let is_repeated = repeats.searches.len() > 1;
        repeats.searches.iter().flat_map(move |search| of_search(source, search, name, is_repeated))
    });
    let groups: Vec<Block> = each.collect();
    if groups.is_empty() {
        return groups;
    }
    [vec![Block::Text("Benchmarks that followed:".to_owned())], groups].concat()
}

fn of_search(source: &Source, search: &SearchSummary, name: &str, is_repeated: bool) -> Vec<Block> {
    let number = if is_repeated { format!(", search {}", search.number) } else { String::new() };
    let group = |(follow, trials): (&FollowUpSummary, Vec<FollowTrial<'_>>)| {
        let words: Told = told(follow);
        let tone = match words.outcome {
            BenchmarkOutcome::Done => Tone::Good,
            BenchmarkOutcome::Limited => Tone::Warning,
            BenchmarkOutcome::Failed => Tone::Bad,
        };
        let finding = |line: &String| Finding {
            tone,
            badge: words.badge.clone(),
            subject: words.title.to_owned(),
            evidence: line.clone(),
        };
        let mut blocks = vec![Block::Findings(words.lines.iter().map(finding).collect())];
        match &follow.conclusion {
            Some(Conclusion::Latency(found)) => blocks.push(latency(found)),
            Some(Conclusion::LossCurve(found)) => blocks.extend(curve(found)),
            Some(Conclusion::Service(found)) => blocks.push(service(found)),
            Some(Conclusion::Soak(_) | Conclusion::Recovery(_)) => {
                let results = trials.iter().flat_map(|trial| &trial.paths);
                blocks.extend(results.filter_map(|result| over_time(source, result)));
            }
            Some(Conclusion::BackToBack(_)) | None => {}
        }
        let facts: Vec<Fact> = deviations(follow)
            .iter()
            .map(|deviation| Fact::new(format!("deviates from {}", deviation.standard), &deviation.text))
            .collect();
        if !facts.is_empty() {
            blocks.push(Block::Facts(facts));
        }
        let title = format!("{name}{number}: {}", words.title);
        Block::Group(Group { title, badge: words.badge, tone, open: true, blocks })
    };
    search.followed(&source.summary.trials).into_iter().map(group).collect()
}

/// When packets of a trial were lost; `None` without losses, and where its record was not read.
fn over_time(source: &Source, result: &TrialSummary) -> Option<Block> {
    let index = source.summary.trials.iter().position(|trial| trial.trial == result.trial)?;
    losses_over_time::of_record(source.records.get(&index)?, result.duration_s)
}

fn latency(found: &LatencyConclusion) -> Block {
    let columns = vec![
        Column::words("name", "what"),
        Column::numbers("load_pps", "load pps"),
        Column::numbers("trials", "trials"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("min", "min µs"),
        Column::numbers("mean", "mean µs"),
        Column::numbers("p50", "p50 µs"),
        Column::numbers("p90", "p90 µs"),
        Column::numbers("p99", "p99 µs"),
        Column::numbers("p999", "p99.9 µs"),
        Column::numbers("max", "max µs"),
    ];
    let row = |at: &linerate_search::methods::LatencyAt| {
        let figures = at.median.map(|d| [d.min, d.mean, d.p50, d.p90, d.p99, d.p999, d.max]);
        let delays = match figures {
            Some(figures) => figures.map(microseconds),
            None => std::array::from_fn(|_| "-".to_owned()),
        };
        let head = [at.name.clone(), count(at.load_pps), at.trials.to_string(), count(at.lost_packets)];
        Row { key: at.name.clone(), cells: head.into_iter().chain(delays).map(Cell::from).collect() }
    };
    let caption = "Delays of all packets: medians over the trials".to_owned();
    Block::Table(Table { caption, columns, rows: found.at.iter().map(row).collect() })
}

fn curve(found: &LossCurveConclusion) -> Vec<Block> {
    let columns = vec![
        Column::numbers("share", "of the maximum %"),
        Column::numbers("load_pps", "load pps"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("loss_ratio", "lost %"),
    ];
    let row = |point: &linerate_search::methods::CurvePoint| {
        let share = short(100.0 * point.share);
        let lost = if point.unsent_packets > 0 { Tone::Warning } else { Tone::Neutral };
        let cells = vec![
            share.clone().into(),
            count(point.load_pps).into(),
            count(point.sent_packets).into(),
            count(point.lost_packets).into(),
            Cell::toned(percent(point.loss_ratio), lost),
        ];
        Row { key: share, cells }
    };
    let caption = "Frame loss rate".to_owned();
    let table = Table { caption, columns, rows: found.points.iter().map(row).collect() };
    let mut points: Vec<(f64, f64)> =
        found.points.iter().map(|point| (100.0 * point.share, 100.0 * point.loss_ratio)).collect();
    points.reverse();
    let Some((_, highest)) = range(points.iter().map(|point| point.1)) else {
        return vec![Block::Table(table)];
    };
    let chart = Chart {
        title: "Frame loss rate".to_owned(),
        x: Axis::from_zero(format!("load, % of {}", pps(found.max_load_pps as f64)), 100.0),
        y: Axis::from_zero("lost, % of sent packets", highest.max(1e-9)),
        series: vec![Series::new("loss", Mark::Dotted, points)],
        note: None,
    };
    vec![Block::Table(table), Block::Charts(vec![chart])]
}

fn service(found: &ServiceConclusion) -> Block {
    let columns = vec![
        Column::words("kind", "step"),
        Column::numbers("load_pps", "load pps"),
        Column::numbers("duration_s", "seconds"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("received_pps", "received pps"),
        Column::numbers("mean", "mean delay µs"),
        Column::words("verdict", "verdict"),
    ];
    let row = |one: &linerate_search::methods::ServiceStep| {
        use linerate_search::methods::StepVerdict;
        let (tone, verdict) = match one.verdict {
            StepVerdict::Pass => (Tone::Good, "pass"),
            StepVerdict::Unknown => (Tone::Warning, "not known"),
            StepVerdict::Fail => (Tone::Bad, "fail"),
        };
        let cells = vec![
            step(one.kind).into(),
            count(one.load_pps).into(),
            short(one.duration_s).into(),
            count(one.lost_packets).into(),
            count(one.received_pps).into(),
            one.delays.map_or("-".to_owned(), |delays| microseconds(delays.mean)).into(),
            Cell::toned(verdict, tone),
        ];
        Row { key: format!("{:?}/{}", one.kind, one.load_pps), cells }
    };
    let caption = "Steps of the service activation test".to_owned();
    Block::Table(Table { caption, columns, rows: found.steps.iter().map(row).collect() })
}
