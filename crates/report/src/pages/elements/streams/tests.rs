//! The section of streams: from made-up trials to what a reader sees.

use linerate_results::fixtures::streams::{MadeStreams, made, mesh, pair, recorded_streams};
use linerate_results::streams::StreamsAgentInfo;
use linerate_wire::streams::Protocol;

use super::super::super::source::Source;
use super::super::super::{ReportFormat, report};

fn source(trials: &[MadeStreams]) -> Source {
    let (results, id) = recorded_streams(trials);
    Source::load(results.path(), &id).unwrap()
}

fn render(source: &Source, format: ReportFormat) -> String {
    String::from_utf8(format.render(&report(source), &source.summary).unwrap()).unwrap()
}

#[test]
fn the_answer_comes_first() {
    let page = render(&source(&[pair(Protocol::Tcp, 2, 1), pair(Protocol::Udp, 1, 1)]), ReportFormat::Md);
    let first = page.find("## Streams").unwrap();
    assert!(page.find("## ").unwrap() == first, "{page}");
    let tcp = "✓ **clean** tcp\\_2x: received 1.000 Gbit/s of 1.000 Gbit/s intended \\(TCP\\) over 1 connection of 2 streams; 0 segments sent again";
    assert!(page.contains(tcp), "{page}");
    assert!(page.contains("\\(UDP\\) over 1 connection; 0 datagrams \\(0 %\\) lost"), "{page}");
    // A single connection has no matrix, and the page no part on frames.
    assert!(!page.contains("Rows send") && !page.contains("Trials closely"), "{page}");
    assert!(page.contains("| tx0 | 0.500 | 0.250 | 0.250 | 75.0000 | 10.0000 | - |"), "{page}");
}

#[test]
fn silent_and_worst_paths_are_named_first() {
    let page = render(&source(&[mesh(Protocol::Udp, 4, &["net0"])]), ReportFormat::Md);
    assert!(
        page.contains("no byte of 1 of 12 connections arrived at the end of sending: a0\\-a3:net0")
            || page.contains("no byte of 1 of 12 connections arrived at the end of sending: a0-a3:net0"),
        "{page}"
    );
    let table = page.find("12 connections, worst first").unwrap();
    let rows: Vec<&str> = page[table..].lines().skip(4).take(2).collect();
    assert!(rows[0].starts_with("| a0-a3:net0 | silent |"), "{rows:?}");
    assert!(rows[1].starts_with("| a0-a2:net0 | yes |") && rows[1].contains("| 10.0000 |"), "{rows:?}");
    // The diagonal is empty, a lost tenth stands in its cell.
    assert!(page.contains("| a0 |  | 0 | 10.0 | 100 |"), "{page}");
}

#[test]
fn more_connections_alive_than_there_are_leave_none_silent() {
    let mut source = source(&[mesh(Protocol::Tcp, 4, &["net0"])]);
    source.summary.streams[0].connections_alive = source.summary.streams[0].connections + 1;
    assert!(!render(&source, ReportFormat::Md).contains("no byte of"));
}

#[test]
fn a_mesh_of_thousands_of_connections_is_a_small_readable_report() {
    let source =
        source(&[mesh(Protocol::Tcp, 49, &["net0", "net1"]), mesh(Protocol::Udp, 49, &["net0", "net1"])]);
    assert_eq!(source.summary.streams[0].connections, 4_704);
    let page = render(&source, ReportFormat::Html);
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    // Three figures of TCP and four of UDP over two interfaces, each with its values.
    assert_eq!(page.matches("<figure class=\"map\">").count(), 2 * (3 + 4));
    assert!(page.contains("20 of 4,704 connections, worst first"), "no table of the worst");
    assert!(page.contains("4,703") && page.contains("a0-a2:net0"), "no silent connection");
    let cells = page.matches("<td class=\"h").count();
    assert!(cells > 14 * 2_300, "{cells} values");
    let text = render(&source, ReportFormat::Md);
    assert!(text.len() < 150_000, "{} bytes", text.len());
    assert!(text.contains("\na0   █"), "no line of blocks");
    let article = render(&source, ReportFormat::Latex);
    assert!(article.len() < 600_000, "{} bytes", article.len());
    assert_eq!(article.matches("\\begin{tikzpicture}[x=").count(), 14);
    let workbook = ReportFormat::Xlsx.render(&report(&source), &source.summary).unwrap();
    assert!(workbook.len() < 400_000, "{} bytes", workbook.len());
}

#[test]
fn text_from_outside_is_escaped() {
    let hostile = "<script>alert(1)</script> | `x` \\input{y}";
    let connections = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")]
        .map(|(from, to)| (from.to_owned(), to.to_owned(), Some(hostile.to_owned())));
    let mut source = source(&[made(Protocol::Udp, 1, 1, &connections, |_, _| {})]);
    source.summary.streams[0].profile = hostile.into();
    source.summary.streams[0].verdict.evidence = hostile.into();
    source.summary.streams[0].silent_connections = vec![hostile.into()];
    source.summary.streams[0].connections_alive = 1;
    source.summary.experiment.streams_agents = vec![StreamsAgentInfo {
        name: hostile.into(),
        node: hostile.into(),
        pod: Some(hostile.into()),
        image: None,
        image_digest: None,
        version: hostile.into(),
        command_line: vec![],
        listen: vec![hostile.into()],
        workers: 1,
        cpus: vec![0],
        congestion: Some(hostile.into()),
        descriptors: None,
        interfaces: vec![],
    }];
    let detail = source.streams.get_mut(&0).unwrap();
    for one in &mut detail.connections {
        (one.from, one.to) = (format!("{hostile}{}", one.from), format!("{hostile}{}", one.to));
        one.reasons = vec![hostile.into()];
    }
    let page = render(&source, ReportFormat::Html);
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    let text = render(&source, ReportFormat::Md);
    assert!(!text.contains("<script") && !text.contains("| `x`"), "{text}");
    let article = render(&source, ReportFormat::Latex);
    assert!(!article.contains("\\input"), "{article}");
    ReportFormat::Xlsx.render(&report(&source), &source.summary).unwrap();
}

#[test]
fn repeats_have_a_mean_and_an_interval() {
    let trials: Vec<MadeStreams> = (1..=3).map(|repeat| pair(Protocol::Tcp, 1, repeat)).collect();
    let page = render(&source(&trials), ReportFormat::Md);
    assert!(page.contains("| tcp\\_1x | received Mbit/s | 3 | 500 | 0 |"), "{page}");
}

#[test]
fn what_is_not_known_is_a_dash_and_never_zero() {
    let mut trial = pair(Protocol::Udp, 1, 1);
    trial.record.ends[0].receiver = None;
    trial.record.connections = trial.record.figures();
    let context = trial.record.result.as_ref().unwrap().context();
    trial.record.result = Some(linerate_results::streams::StreamsTrialSummary::of(&trial.record, context));
    let page = render(&source(&[trial]), ReportFormat::Md);
    assert!(page.contains("received an unknown rate of 500.000 Mbit/s intended"), "{page}");
    assert!(page.contains("the loss is not known"), "{page}");
    assert!(page.contains("| tx0-rx0 | silent |"), "{page}");
}
