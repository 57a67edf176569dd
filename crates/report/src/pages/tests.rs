use std::collections::BTreeMap;

use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::Value;

use super::*;
use linerate_results::fixtures::summary;
use linerate_results::fixtures::{
    environment, extreme_record, recorded_of, rx, tx, with_clock, with_largest_numbers,
};
use linerate_results::summary::{Status, Summary, TrialSummary};

/// Worst case of a name, a note or a reason.
const HOSTILE: &str = "</script><script>alert(1)</script> <img src=x onerror=y> \"'&amp; \\write18{ls} $x_1$ 50% #2 ~^ {} \
     `code` **bold** | cell [a](javascript:b) ![i](http://x/y) <!-- --> \n\n# head\n\n- item 🦀 \u{202e}";

fn trial(profile: &str, pair: &str, sent: u64, received: u64) -> TrialSummary {
    let figures = with_clock(true, &tx(sent), &rx(received)).unwrap();
    TrialSummary {
        profile: profile.into(),
        pair: pair.into(),
        trial: format!("{pair}/{profile}/trial.json"),
        ..figures
    }
}

fn source(trials: Vec<TrialSummary>) -> Source {
    let summary = Summary { trials, ..summary(Status::Complete) };
    Source {
        summary,
        records: BTreeMap::new(),
        environment: None,
        streams: Default::default(),
        http: Default::default(),
        unread: vec![],
    }
}

fn rendered(format: ReportFormat, report: &model::Report) -> String {
    String::from_utf8(format.render(report, &summary(Status::Complete)).unwrap()).unwrap()
}

fn hostile() -> Source {
    let mut bad = trial(HOSTILE, HOSTILE, 1000, 900);
    bad.notes = vec![HOSTILE.into()];
    bad.disagreements = vec![HOSTILE.into()];
    bad.verdict.evidence = HOSTILE.into();
    bad.clock.reason = HOSTILE.into();
    let mut source = source(vec![bad, trial("q", "tx0-rx0", 1000, 1000)]);
    source.summary.status = Status::Failed;
    source.summary.reason = Some(HOSTILE.into());
    source.summary.experiment.name = HOSTILE.into();
    source.summary.failures[0].reason = HOSTILE.into();
    source.summary.recoveries = vec![HOSTILE.into()];
    source.unread = vec![HOSTILE.into()];
    source.environment = Some(environment(HOSTILE, HOSTILE));
    source
}

/// Tags of a page, as a browser would parse them after escaping.
fn tags(page: &str) -> Vec<&str> {
    page.match_indices('<')
        .map(|(at, _)| page[at..].split_inclusive('>').next().unwrap_or_default())
        .collect()
}

#[test]
fn numbers_of_any_size_are_reported() {
    let (results, id) = recorded_of(extreme_record());
    let mut source = Source::load(results.path(), &id).unwrap();
    source.summary = with_largest_numbers(&source.summary);
    source.environment = Some(environment("a", "b"));
    for format in [ReportFormat::Html, ReportFormat::Md, ReportFormat::Latex, ReportFormat::Xlsx] {
        assert!(!format.render(&report(&source), &source.summary).unwrap().is_empty());
    }
}

#[test]
fn verdicts_come_first_in_every_report() {
    for source in [source(vec![]), hostile()] {
        assert_eq!(report(&source).sections[0].id, "verdicts");
    }
}

#[test]
fn no_text_becomes_html() {
    let page = rendered(ReportFormat::Html, &report(&hostile()));
    let known = [
        "<!DOCTYPE",
        "<html",
        "</",
        "<head",
        "<meta",
        "<title",
        "<style",
        "<body",
        "<header",
        "<p",
        "<h1",
        "<h2",
        "<h3",
    ];
    let known = known.iter().chain(&[
        "<small",
        "<dl",
        "<div",
        "<dt",
        "<dd",
        "<nav",
        "<a href=\"#",
        "<main",
        "<section",
        "<ul",
        "<li",
        "<span",
        "<strong",
        "<wbr",
        "<svg",
        "<path",
        "<rect",
        "<line",
        "<text",
        "<polyline",
        "<circle",
        "<table",
        "<caption",
        "<thead",
        "<tbody",
        "<tr",
        "<th",
        "<td",
        "<figure",
        "<figcaption",
        "<details",
        "<summary",
    ]);
    let known: Vec<&&str> = known.collect();
    for tag in tags(&page) {
        assert!(known.iter().any(|known| tag.starts_with(**known)), "{tag}");
        // Quoted parts are values, and quotes in values are escaped.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains("script") && !names.contains("onerror"), "{tag}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the text itself is there");
    assert!(page.contains("default-src 'none'"), "nothing may be fetched or run");
}

#[test]
fn no_text_becomes_markdown() {
    let text = rendered(ReportFormat::Md, &report(&hostile()));
    let mut texts = String::new();
    let (mut headings, mut rows) = (0, 0);
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => panic!("HTML: {html}"),
            Event::Code(code) => panic!("code: {code}"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                panic!("link: {dest_url}")
            }
            Event::Start(Tag::Emphasis) => panic!("emphasis"),
            Event::Start(Tag::Heading { .. }) => headings += 1,
            Event::Start(Tag::TableRow) => rows += 1,
            Event::Text(part) => texts.push_str(&part),
            _ => {}
        }
    }
    let expected = report(&hostile());
    assert_eq!(headings, 1 + expected.sections.len(), "no heading but the report's own");
    assert!(rows > 0);
    let one_line: String = HOSTILE.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    assert!(texts.contains(one_line.split("  ").next().unwrap()), "{texts}");
}

#[test]
fn a_page_needs_no_network_and_no_script() {
    let page = rendered(ReportFormat::Html, &report(&source(vec![trial("p", "tx0-rx0", 1000, 990)])));
    for word in ["<script", "<link", "src=", "@import", "url(", "https:"] {
        assert!(!page.contains(word), "{word}");
    }
    // The name of SVG's namespace is the only address.
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http:"));
}

/// A table cell as a number, without signs and marks.
fn number(text: &str) -> (f64, u32) {
    let digits: String =
        text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | 'e')).collect();
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len() as u32);
    (digits.parse().unwrap_or_else(|_| panic!("{text}")), decimals)
}

/// Figures in a trial's row: field, and value in the row's unit.
fn expected(trial: &Value) -> Vec<(&'static str, f64)> {
    let delay = &trial["latency_ns"];
    let of = |value: &Value, unit: f64| value.as_f64().unwrap() / unit;
    vec![
        ("intended_pps", of(&trial["intended_pps"], 1e6)),
        ("offered_pps", of(&trial["offered_pps"], 1e6)),
        ("received_pps", of(&trial["received_pps"], 1e6)),
        ("sent_packets", of(&trial["sent_packets"], 1.0)),
        ("lost_packets", of(&trial["lost_packets"], 1.0)),
        ("flows", of(&trial["flows"], 1.0)),
        ("p50", of(&delay["p50"], 1e3)),
        ("p99", of(&delay["p99"], 1e3)),
        ("p999", of(&delay["p999"], 1e3)),
        ("max", of(&delay["max"], 1e3)),
    ]
}

fn awkward() -> Source {
    let mut one = trial("p", "tx0-rx0", 987_654_321, 987_654_320);
    one.offered_pps = 14_880_952.380_952_38;
    one.received_pps = 14_880_951.123_456;
    one.intended_pps = Some(14_880_000.5);
    one.latency_ns = Some(linerate_wire::report::LatencySummary {
        min: 1,
        p50: 1_234_567,
        p90: 2,
        p99: 7,
        p999: 1_000,
        max: 9_999_999_999,
        mean: 3,
    });
    source(vec![one, trial("q", "tx0-rx0", 1001, 77)])
}

#[test]
fn numbers_equal_the_summary_to_the_digit_shown() {
    let source = awkward();
    let summary = serde_json::to_value(&source.summary).unwrap();
    let page = rendered(ReportFormat::Html, &report(&source));
    for trial in summary["trials"].as_array().unwrap() {
        let row =
            page.split(&format!("<tr data-key=\"{}\">", trial["trial"].as_str().unwrap())).nth(1).unwrap();
        for (field, value) in expected(trial) {
            let cell =
                row.split(&format!("data-field=\"{field}\">")).nth(1).unwrap().split('<').next().unwrap();
            let (shown, decimals) = number(cell);
            let tolerance = 0.5001 * 10f64.powi(-(decimals as i32));
            assert!((shown - value).abs() <= tolerance, "{field}: {cell} is not {value}");
        }
    }
}

#[test]
fn markdown_has_the_same_cells_as_html() {
    let report = report(&awkward());
    let text = rendered(ReportFormat::Md, &report);
    let mut cells = Vec::new();
    let mut cell = None;
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableCell) => cell = Some(String::new()),
            Event::Text(part) => cell.iter_mut().for_each(|cell: &mut String| cell.push_str(&part)),
            Event::End(pulldown_cmark::TagEnd::TableCell) => cells.extend(cell.take()),
            _ => {}
        }
    }
    let tables = report.sections.iter().flat_map(|section| &section.blocks).filter_map(|block| match block {
        model::Block::Table(table) => Some(table),
        _ => None,
    });
    let mut seen = 0;
    for row in tables.flat_map(|table| &table.rows) {
        let wanted: Vec<&str> = row.cells.iter().map(|cell| cell.text.as_str()).collect();
        assert!(cells.windows(wanted.len()).any(|window| window == wanted), "{wanted:?}");
        seen += 1;
    }
    assert!(seen >= 2, "both trials are there");
}

#[test]
fn many_trials_leave_the_worst_in_sight() {
    let mut trials: Vec<TrialSummary> =
        (0..100).map(|i| trial(&format!("p{i}"), "tx0-rx0", 1000, 1000)).collect();
    trials.push(trial("lossy", "tx0-rx0", 1000, 10));
    let report = report(&source(trials));
    let model::Block::Findings(findings) = &report.sections[0].blocks[1] else { panic!("no findings") };
    assert!(findings.iter().any(|finding| finding.subject.contains("lossy")), "{findings:?}");
    assert!(findings.len() < 100);
    for format in [ReportFormat::Html, ReportFormat::Md, ReportFormat::Latex] {
        assert!(rendered(format, &report).contains("p99"), "the table of trials has all");
    }
}

#[test]
fn several_pairs_have_a_heat_map() {
    let trials = (0..20).map(|i| trial("p", &format!("tx{i}-rx{i}"), 1000, if i == 3 { 500 } else { 1000 }));
    let report = report(&source(trials.collect()));
    let section = report.sections.iter().find(|section| section.id == "matrix").unwrap();
    let tables = |what: &'static str| {
        section.blocks.iter().filter_map(move |block| match block {
            model::Block::Table(table) if table.caption.starts_with(what) => Some(table),
            _ => None,
        })
    };
    let cells: Vec<(String, f64)> = tables("Received load")
        .flat_map(|table| &table.rows[0].cells)
        .filter_map(|cell| Some((cell.text.clone(), cell.heat?)))
        .collect();
    assert_eq!(cells.len(), 20);
    assert_eq!(cells.iter().filter(|(text, _)| text == "100.00").count(), 19, "{cells:?}");
    assert!(cells.contains(&("50.00".to_owned(), 0.5)), "{cells:?}");
    let losses = tables("Loss").flat_map(|table| &table.rows[0].cells).filter(|cell| cell.heat.is_some());
    let lossy: Vec<&str> = losses.map(|cell| cell.text.as_str()).filter(|text| *text != "0").collect();
    assert_eq!(lossy, ["50.0000"]);
}
