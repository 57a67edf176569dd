use std::collections::BTreeMap;

use super::super::super::chart::{Chart, Mark, Series};
use super::super::super::model::{Report, Row, Table};
use super::super::report;
use super::*;
use crate::pages::{ReportFormat, report as report_of};
use crate::search::pps;
use linerate_experiment::search::SearchMode;
use linerate_results::fixtures::benchmarks::benchmarks;
use linerate_results::fixtures::search::{
    SearchCase, Searched, at_least, cliff, limited_by_generator, one_dead_pair, regular, searched, two_pairs,
};
use linerate_results::summary::Summary;
use linerate_search::Goal;

fn source(summary: Summary) -> Source {
    Source {
        summary,
        records: BTreeMap::new(),
        environment: None,
        streams: Default::default(),
        http: Default::default(),
        unread: vec![],
    }
}

fn section_of(searched: Searched) -> Section {
    super::section(&source(searched.summary)).unwrap()
}

fn answers_of(section: &Section) -> Vec<(&str, &str, &str)> {
    let Block::Findings(findings) = &section.blocks[0] else { panic!("the answer is not first") };
    findings.iter().map(|one| (&one.badge[..], &one.subject[..], &one.evidence[..])).collect()
}

fn tables<'s>(blocks: &'s [Block], caption: &str) -> Vec<&'s Table> {
    let tables = blocks.iter().flat_map(|block| match block {
        Block::Table(table) if table.caption.starts_with(caption) => vec![table],
        Block::Group(group) => tables(&group.blocks, caption),
        _ => vec![],
    });
    tables.collect()
}

fn charts<'s>(blocks: &'s [Block], title: &str) -> Vec<&'s Chart> {
    let charts = blocks.iter().flat_map(|block| match block {
        Block::Charts(all) => all.iter().filter(|chart| chart.title.starts_with(title)).collect(),
        Block::Group(group) => charts(&group.blocks, title),
        _ => vec![],
    });
    charts.collect()
}

fn series<'c>(chart: &'c Chart, name: &str) -> &'c Series {
    chart.series.iter().find(|series| series.name == name).unwrap_or_else(|| panic!("{name}: {chart:?}"))
}

fn cell<'t>(table: &'t Table, row: &'t Row, key: &str) -> &'t str {
    let place = table.columns.iter().position(|column| column.key == key).unwrap();
    &row.cells[place].text
}

#[test]
fn the_answer_is_a_sentence_for_each_frame_size() {
    let section = section_of(regular());
    let answers = answers_of(&section);
    assert_eq!(answers.iter().map(|one| one.1).collect::<Vec<_>>(), ["64 B", "512 B", "1518 B"]);
    let (badge, _, evidence) = answers[0];
    assert_eq!(badge, "regular");
    assert!(evidence.starts_with("NDR 995,921 pps (mean of 2 searches, at most 0.5 % wide, "), "{evidence}");
    let section = section_of(limited_by_generator());
    let (badge, _, evidence) = answers_of(&section)[0];
    assert_eq!(badge, "irregular");
    assert!(evidence.starts_with("NDR at least 796,822 pps: limited by the generator, not a"), "{evidence}");
    let section = section_of(one_dead_pair());
    let (badge, _, evidence) = answers_of(&section)[0];
    assert_eq!(badge, "no result");
    assert!(
        evidence.ends_with("; loads are those of one of 4 paths; nothing arrived on tx2-rx2"),
        "{evidence}"
    );
}

#[test]
fn an_irregular_result_is_marked_and_enters_no_mean() {
    let mut searched = regular();
    let values = |searched: &Searched| -> Vec<f64> {
        let ndr = searched.summary.searches.iter().take(2).map(|search| &search.goals[0].conclusion);
        ndr.map(|found| found.conditional_throughput_pps.unwrap()).collect()
    };
    let first = values(&searched)[0];
    let second = &mut searched.summary.searches[1].goals[0].conclusion;
    (second.regular, second.irregular) = (false, Some(linerate_search::Irregular::Unfinished));
    let section = section_of(searched);
    let (badge, _, evidence) = answers_of(&section)[0];
    assert_eq!(badge, "partly irregular");
    assert!(evidence.contains(&pps(first)) && evidence.contains("1 irregular left out"), "{evidence}");
    let table = tables(&section.blocks, "Results")[0];
    let column = |key| table.rows.iter().map(|row| cell(table, row, key)).collect::<Vec<_>>();
    let value = column("conditional_throughput_pps");
    assert!(!value[0].contains('≥') && value[2].starts_with("≥ "), "{value:?}");
    assert_eq!(column("regular")[..3], ["yes", "yes", "no"]);
    let spread = tables(&section.blocks, "Conditional throughput of repeated")[0];
    let row = &spread.rows[0];
    assert_eq!((cell(spread, row, "regular"), cell(spread, row, "left_out")), ("1", "1"));
    assert_eq!(cell(spread, row, "standard_deviation"), "-");
    let chart = charts(&section.blocks, "NDR of repeated")[0];
    assert_eq!(series(chart, "irregular, not in the mean").points.len(), 1);
    assert_eq!(series(chart, "irregular, not in the mean").mark, Mark::Hollow);
    let sizes = charts(&section.blocks, "Found over frame size")[0];
    let of_64 = series(sizes, "NDR").points[0];
    assert!((of_64.1 - first / 1e6).abs() < 1e-9, "{of_64:?}");
    assert_eq!(series(sizes, "NDR, irregular: at least").points.len(), 1);
}

#[test]
fn a_bound_without_an_upper_one_is_not_called_the_relevant_one() {
    let section = section_of(at_least());
    let table = tables(&section.blocks, "Results")[0];
    let row = &table.rows[0];
    assert_eq!(cell(table, row, "relevant_lower_bound_pps"), "effective 1,000,000");
    assert_eq!(cell(table, row, "relevant_upper_bound_pps"), "-");
    assert_eq!(cell(table, row, "limited_by"), "the highest load allowed");
    assert_eq!(cell(table, row, "conditional_throughput_pps"), "≥ 1,000,000");
    let of_line_rate: f64 = cell(table, row, "line_rate_share")[4..].parse().unwrap();
    assert!((of_line_rate - 100.0 / 14.880_952).abs() < 1e-3, "{of_line_rate}");
    assert_eq!(cell(table, row, "l2_bps"), "≥ 0.512000");
    assert_eq!(cell(table, row, "l1_bps"), "≥ 0.672000");
}

#[test]
fn loss_over_load_has_every_trial_that_counts() {
    // The first trials of a load are short.
    let goal = Goal { initial_duration_ns: 200_000_000, ..Goal::pdr() };
    let short = searched(&[SearchCase { goals: vec![goal], ..SearchCase::of(cliff(1e6)) }]);
    for searched in [short, limited_by_generator()] {
        let counted = searched.summary.searches[0].trials as usize;
        let section = section_of(searched);
        let chart = charts(&section.blocks, "Loss over load")[0];
        let drawn: usize = chart.series[..3].iter().map(|series| series.points.len()).sum();
        let note = chart.note.as_deref().unwrap();
        assert!(note.contains("One of the first trials lies beyond this chart, at 14.881 Mpps"), "{note}");
        assert_eq!(drawn + 1, counted);
        assert_eq!(chart.y.ticks[0].label, "0");
        let bounds = &chart.series.iter().find(|series| series.name.ends_with("bounds")).unwrap();
        // Each bound has two ends; a tester that ends first leaves no upper one.
        assert!([2, 4].contains(&bounds.points.len()), "{bounds:?}");
    }
    let section = section_of(limited_by_generator());
    let chart = charts(&section.blocks, "Loss over load")[0];
    assert!(series(chart, "short trial").points.is_empty());
    assert!(!series(chart, "offered less than intended; what was not sent counts as lost").points.is_empty());
    let short = searched(&[SearchCase {
        goals: vec![Goal { initial_duration_ns: 200_000_000, ..Goal::ndr() }],
        ..SearchCase::of(cliff(1e6))
    }]);
    let section = section_of(short);
    assert!(!series(charts(&section.blocks, "Loss over load")[0], "short trial").points.is_empty());
}

#[test]
fn the_way_to_a_result_closes_in_on_it() {
    let searched = two_pairs(SearchMode::Together);
    let found = searched.summary.searches[0].goals[0].conclusion.clone();
    let section = section_of(searched);
    let chart = charts(&section.blocks, "Search for NDR")[0];
    let last = |name| series(chart, name).points.last().unwrap().1;
    let mpps = |load: Option<u64>| load.unwrap() as f64 / 1e6;
    assert_eq!(last("highest lower bound"), mpps(found.relevant_lower_bound_pps));
    assert_eq!(last("lowest upper bound"), mpps(found.relevant_upper_bound_pps));
    assert!(chart.note.as_deref().unwrap().starts_with(
        "NDR: trials of 1 s, 21 s for each load, width 0.5 %; regular, limited by the path. 2 paths together."
    ));
}

#[test]
fn paths_are_shown_one_by_one_where_they_are_loaded_together() {
    let section = section_of(one_dead_pair());
    let table = tables(&section.blocks, "Loss in % over the trials at each bound")[0];
    let dead = table.rows.iter().find(|row| row.key == "tx2-rx2").unwrap();
    assert_eq!(dead.cells[1].text, "100, nothing arrived");
    assert_eq!(table.rows.len(), 4);
    let each = section_of(two_pairs(SearchMode::Each));
    assert!(tables(&each.blocks, "Loss in %").is_empty(), "one path was loaded at a time");
    let subjects: Vec<_> = answers_of(&each).into_iter().map(|one| one.1.to_owned()).collect();
    assert_eq!(subjects, ["64 B, tx0-rx0", "64 B, tx1-rx1"]);
}

#[test]
fn what_mlrsearch_wants_stated_is_stated() {
    let section = section_of(two_pairs(SearchMode::Every));
    let goals = tables(&section.blocks, "Search goals")[0];
    let titles: Vec<&str> = goals.columns.iter().map(|column| column.title.as_str()).collect();
    assert_eq!(
        titles[2..],
        [
            "loss ratio %",
            "exceed ratio %",
            "width, % of the upper bound",
            "initial trial duration s",
            "final trial duration s",
            "duration sum s",
            "preceding targets"
        ]
    );
    let Some(Block::Facts(facts)) = section.blocks.last() else { panic!("no facts") };
    let fact = |name: &str| &facts.iter().find(|fact| fact.name == name).unwrap().value;
    assert!(fact("load").contains("2 paths are loaded, so the load of all is 2 times that"));
    assert!(fact("paths").contains("stricter than the forwarding ratio of RFC 9971"));
    assert!(fact("deviations from RFC 2544, section 23").contains("in place of fixed waits"));
    assert_eq!(fact("limits of the load"), "9,001 pps to 14,880,952 pps (line rate of the slowest link)");
}

/// Ids of the sections, and texts of all tables outside of the section of searches.
fn elsewhere(report: &Report) -> (Vec<&str>, String) {
    let ids = report.sections.iter().map(|section| section.id).collect();
    let others = report.sections.iter().filter(|section| section.id != "searches");
    let text = format!("{:?}", others.collect::<Vec<_>>());
    (ids, text)
}

#[test]
fn trials_of_a_search_stand_in_its_section_alone() {
    let searched = regular();
    let report = report(&source(searched.summary.clone()));
    let (ids, others) = elsewhere(&report);
    assert_eq!(ids, ["searches", "verdicts", "topology", "environment"]);
    assert!(others.contains("471 results of trials in 6 searches on 1 pair: 12 regular."), "{others}");
    // A matrix beside it is reported as ever.
    let mut both = searched.summary;
    let mut plain = both.trials[0].clone();
    (plain.search, plain.profile) = (None, "plain".into());
    both.trials.push(plain);
    let report = report_of(&source(both));
    let trials = report.sections.iter().find(|section| section.id == "trials").unwrap();
    let Block::Table(table) = &trials.blocks[0] else { panic!("{trials:?}") };
    assert_eq!((table.rows.len(), table.rows[0].cells[0].text.as_str()), (1, "1"));
    let (ids, _) = elsewhere(&report);
    assert!(!ids.contains(&"repeats") && ids.contains(&"throughput"), "{ids:?}");
}

#[test]
fn a_search_without_a_result_yet_is_shown() {
    let mut searched = two_pairs(SearchMode::Together);
    searched.summary.searches.clear();
    let section = section_of(searched);
    let text = section.blocks.iter().find_map(|block| match block {
        Block::Text(text) => Some(text.as_str()),
        _ => None,
    });
    assert!(text.unwrap().starts_with("106 more results of trials are of a search that has no result yet"));
}

#[test]
fn every_format_has_the_results() {
    for searched in [regular(), limited_by_generator(), two_pairs(SearchMode::Each), one_dead_pair()] {
        let source = source(searched.summary);
        let report = report_of(&source);
        for format in [ReportFormat::Html, ReportFormat::Md, ReportFormat::Latex, ReportFormat::Xlsx] {
            assert!(!format.render(&report, &source.summary).unwrap().is_empty());
        }
    }
    let source = source(limited_by_generator().summary);
    for format in [ReportFormat::Html, ReportFormat::Md, ReportFormat::Latex] {
        let text = String::from_utf8(format.render(&report_of(&source), &source.summary).unwrap()).unwrap();
        // LaTeX keeps commas apart.
        let text = text.replace("{,}", ",").replace("\\allowbreak{}", "");
        assert!(text.contains("NDR at least 796,822 pps"), "{format:?}");
    }
}

#[test]
fn numbers_and_names_of_any_kind_are_reported() {
    let mut summary = two_pairs(SearchMode::Together).summary;
    summary.trials.truncate(6);
    let mut summary = linerate_results::fixtures::with_largest_numbers(&summary);
    let hostile = "</script><b>|$\\write18{x}";
    summary.searches[0].goals[0].goal.name = hostile.into();
    summary.searches[0].profile = hostile.into();
    summary.searches[0].reason = Some(hostile.into());
    summary.searches[0].goals[1].upper_bound_paths[0].pair = hostile.into();
    for trial in &mut summary.trials {
        trial.profile = hostile.into();
    }
    let source = source(summary);
    for format in [ReportFormat::Html, ReportFormat::Md, ReportFormat::Latex, ReportFormat::Xlsx] {
        let bytes = format.render(&report_of(&source), &source.summary).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("<b>"), "{format:?}");
    }
}

#[test]
fn benchmarks_behind_a_search_have_results_tables_and_deviations() {
    let all = benchmarks();
    let (results, id) = all.store();
    let section = super::section(&Source::load(results.path(), &id).unwrap()).unwrap();
    let groups: Vec<&Group> = section
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Group(group) if group.title.starts_with("64 B: ") => Some(group),
            _ => None,
        })
        .filter(|group| !group.title.contains("NDR"))
        .collect();
    let titles: Vec<(&str, &str)> =
        groups.iter().map(|group| (group.title.strip_prefix("64 B: ").unwrap(), &group.badge[..])).collect();
    assert_eq!(
        titles,
        [
            ("latency", "measured"),
            ("frame loss rate", "measured"),
            ("back-to-back frames", "measured"),
            ("system recovery", "measured"),
            ("service activation (Y.1564)", "passed"),
            ("soak", "measured"),
        ]
    );
    let evidence = |group: &Group| -> Vec<String> {
        let Block::Findings(findings) = &group.blocks[0] else { panic!() };
        findings.iter().map(|one| one.evidence.clone()).collect()
    };
    assert_eq!(
        evidence(groups[2])[0],
        "longest burst without loss 3,048 frames (mean of 2 searches, 3,048 to 3,048)"
    );
    assert!(evidence(groups[3])[0].starts_with("0 s (mean of 2 trials, 0 to 0 s) after an overload of 10,9"));
    assert!(evidence(groups[5])[1].starts_with("lost in 1,000 intervals of 10 ms, from 0.000 s to 10.000 s"));
    // Soak and recovery say when packets were lost.
    for (group, number) in [(3, 2), (5, 1)] {
        assert_eq!(charts(&groups[group].blocks, "Packets lost over time").len(), number);
    }
    let curve = charts(&groups[1].blocks, "Frame loss rate")[0];
    assert!((series(curve, "loss").points.last().unwrap().1 - 32.8).abs() < 0.1, "{curve:?}");
    let deviates = |group: &Group| {
        let facts = group.blocks.iter().filter_map(|block| match block {
            Block::Facts(facts) => Some(facts.len()),
            _ => None,
        });
        facts.sum::<usize>()
    };
    assert_eq!(groups.iter().map(|group| deviates(group)).collect::<Vec<_>>(), [6, 2, 4, 2, 5, 0]);
    // Every format has them.
    let source = Source::load(results.path(), &id).unwrap();
    for format in [ReportFormat::Md, ReportFormat::Html, ReportFormat::Xlsx] {
        let bytes = format.render(&report_of(&source), &source.summary).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(format == ReportFormat::Xlsx || has("system recovery"), "{format:?}");
    }
}

#[test]
fn trials_that_are_no_evidence_say_why() {
    let shown = |spoil: fn(&mut linerate_results::summary::TrialSummary)| {
        let mut case = searched(&[SearchCase::of(cliff(1e6))]);
        let trial = case.summary.trials.iter_mut().rfind(|trial| trial.lost_packets == 0).unwrap();
        let ordinal = trial.search.unwrap().ordinal.to_string();
        spoil(trial);
        let section = section_of(case);
        let table = tables(&section.blocks, "Trials of the search")[0];
        let row = table.rows.iter().find(|row| row.cells[0].text == ordinal).unwrap();
        let chart = charts(&section.blocks, "Search for NDR")[0];
        assert_eq!(series(chart, "no evidence, repeated").points.len(), 1);
        cell(table, row, "ndr").to_owned()
    };
    let of_receiver = shown(|trial| {
        (trial.lost_packets, trial.received_packets) = (5, trial.received_packets - 5);
        trial.verdict.kind = linerate_results::verdict::VerdictKind::ReceiverLimited;
    });
    assert_eq!(of_receiver, "no evidence: lost by the tester, or too late to tell, repeated");
    let of_generator = shown(|trial| {
        (trial.sent_packets, trial.received_packets) =
            (trial.sent_packets - 100, trial.received_packets - 100);
        trial.offered_missed_intended = true;
    });
    assert_eq!(of_generator, "no evidence: not offered, repeated");
}
