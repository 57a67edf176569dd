//! Content of each element for a summary.

use std::collections::BTreeMap;

use super::model::{Block, Section, Table};
use super::source::Source;
use super::{model, report};
use linerate_experiment::direction::Direction;
use linerate_results::fixtures::summary;
use linerate_results::fixtures::{environment, rx, tx, with_clock};
use linerate_results::summary::{AgentInfo, ReflectorSummary, Status, Summary, TrialSummary};

fn trial(pair: &str, repeat: u32, sent: u64, received: u64) -> TrialSummary {
    let figures = with_clock(true, &tx(sent), &rx(received)).unwrap();
    TrialSummary { profile: "p".into(), pair: pair.into(), repeat, ..figures }
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

fn section(source: &Source, id: &str) -> Option<Section> {
    report(source).sections.into_iter().find(|section| section.id == id)
}

fn tables(section: &Section) -> Vec<&Table> {
    let blocks = section.blocks.iter();
    blocks.filter_map(|block| if let Block::Table(table) = block { Some(table) } else { None }).collect()
}

fn texts(row: &model::Row) -> Vec<&str> {
    row.cells.iter().map(|cell| cell.text.as_str()).collect()
}

#[test]
fn pairs_that_came_back_are_listed() {
    let mut source = source(vec![trial("tx1-rx1", 1, 10, 10)]);
    assert!(section(&source, "recoveries").is_none());
    source.summary.recoveries = vec!["tx1-rx1 was started anew: rx1 was killed".into()];
    let section = section(&source, "recoveries").unwrap();
    let Block::Findings(findings) = &section.blocks[1] else { panic!("{section:?}") };
    assert_eq!(
        (&findings[0].subject[..], &findings[0].evidence[..]),
        ("tx1-rx1", "was started anew: rx1 was killed")
    );
}

/// Names were put together, and repeats found, by looking at all trials for each trial.
#[test]
fn of_many_findings_the_first_are_told_and_the_others_counted() {
    let one = trial("", 1, 1000, 990);
    let of_number = |number: u32| TrialSummary {
        profile: format!("p{}", number / 10),
        pair: format!("tx{0}-rx{0}", number % 10),
        trial: number.to_string(),
        ..one.clone()
    };
    // So many that whoever looks at all of them for each takes a minute.
    let many = source((0..20_000).map(of_number).collect());
    let verdicts = section(&many, "verdicts").unwrap();
    let [_, Block::Findings(findings), Block::Text(more)] = &verdicts.blocks[..] else {
        panic!("{verdicts:?}")
    };
    assert!(findings.len() == 24 && findings[1].subject == "1: p0, tx0-rx0", "{findings:?}");
    // One failure is a finding, too.
    assert!(more.starts_with("19,977 findings more"), "{more}");
}

#[test]
fn a_round_trip_shows_where_packets_ended() {
    let mut figures = trial("tx0-rx0", 1, 1000, 900);
    assert!(section(&source(vec![figures.clone()]), "round-trips").is_none());
    figures.direction = Direction::RoundTrip;
    figures.reflector =
        Some(ReflectorSummary { received_packets: 960, sent_packets: 950, dropped_packets: 10, port: None });
    let section = section(&source(vec![figures]), "round-trips").unwrap();
    let row = &tables(&section)[0].rows[0];
    assert_eq!(texts(row)[2..], ["1,000", "960", "40", "10", "950", "50", "900", "-", "-"]);
}

#[test]
fn repeats_have_mean_deviation_and_interval() {
    assert!(section(&source(vec![trial("tx0-rx0", 1, 10, 10)]), "repeats").is_none());
    // Received in 2 s: 500, 510 and 520 packets per second.
    let trials = [1000, 1020, 1040]
        .into_iter()
        .zip(1..)
        .map(|(packets, repeat)| trial("tx0-rx0", repeat, packets, packets));
    let section = section(&source(trials.collect()), "repeats").unwrap();
    let rows = &tables(&section)[0].rows;
    let received = rows.iter().find(|row| row.cells[2].text == "received Mpps").unwrap();
    // t of 2 degrees of freedom is 4.302653; the resolution of half a packet per second adds almost nothing.
    assert_eq!(texts(received)[3..], ["3", "0.000510", "0.000010", "0.000485", "0.000535"]);
    let loss = rows.iter().find(|row| row.cells[2].text == "loss %").unwrap();
    assert_eq!(texts(loss)[3..6], ["3", "0", "0"]);
}

#[test]
fn nodes_stand_against_nodes_where_there_are_several() {
    let agent = |name: &str, node: &str| -> AgentInfo {
        serde_json::from_value(serde_json::json!({
            "name": name, "node": node, "command_line": [], "device": "d", "driver": "n", "mac": "02:00:00:00:00:01", "numa_node": null,
            "link_bps": 10_000_000_000_u64, "lcores": [1], "hugepages": true, "tick_hz": 1,
        }))
        .unwrap()
    };
    let trials = vec![
        trial("tx0-rx0", 1, 1000, 1000),
        trial("tx1-rx1", 1, 1000, 500),
        trial("tx2-rx2", 1, 1000, 1000),
    ];
    let mut source = source(trials);
    let place = |nodes: [&str; 6]| -> Vec<AgentInfo> {
        ["tx0", "rx0", "tx1", "rx1", "tx2", "rx2"]
            .into_iter()
            .zip(nodes)
            .map(|(name, node)| agent(name, node))
            .collect()
    };
    source.summary.experiment.agents = place(["a"; 6]);
    assert!(section(&source, "nodes").is_none(), "one node has no matrix");
    source.summary.experiment.agents = place(["a", "b", "a", "b", "b", "a"]);
    let section = section(&source, "nodes").unwrap();
    let [loss, load] = tables(&section)[..] else { panic!("{section:?}") };
    let rows = |table: &Table| table.rows.iter().map(|row| texts(row).join(" ")).collect::<Vec<_>>();
    let columns: Vec<&str> = loss.columns.iter().map(|column| column.title.as_str()).collect();
    assert_eq!(columns, ["from / to", "a", "b"]);
    assert_eq!(rows(loss), ["a - 25.0000", "b 0 -"]);
    assert_eq!(rows(load), ["a - 0.000750", "b 0.000500 -"]);
}

#[test]
fn the_whole_environment_is_shown() {
    let mut source = source(vec![trial("tx0-rx0", 1, 10, 10)]);
    source.summary.experiment.agents.clear();
    source.environment = Some(environment("word", "one=1 two=2"));
    let section = section(&source, "environment").unwrap();
    let machines = tables(&section)[0];
    let fact = |name: &str| texts(machines.rows.iter().find(|row| row.key == name).unwrap())[1..].join(" | ");
    assert_eq!(fact("SMT"), "on | unknown");
    assert_eq!(fact("NUMA nodes"), "0-1 | unknown");
    assert_eq!(fact("kernel"), "word | unknown");
    assert_eq!(fact("hugepages"), "2 MiB: 1,000 of 1,024 free; 1 GiB: 4 of 8 free | unknown");
    let find = |caption: &str| {
        tables(&section).into_iter().find(|table| table.caption == caption).unwrap().rows[0].clone()
    };
    assert_eq!(texts(&find("Programs and drivers"))[2..8], ["word", "word", "word", "word", "1500", "16"]);
    assert_eq!(texts(&find("Pods and images")), ["tx0", "word", "word", "word"]);
    let says = |text: &str| {
        section
            .blocks
            .iter()
            .any(|block| matches!(block, Block::Facts(facts) if facts.iter().any(|fact| fact.value == text)))
    };
    assert!(says("one=1 two=2"), "the kernel's command line: {section:?}");
}

#[test]
fn both_directions_of_a_trial_have_one_host_and_other_trials_their_own() {
    let host = linerate_results::host::HostSummary::from(&Default::default());
    let on = |path: &str, number: u32| TrialSummary {
        trial: format!("{path}/p/repeat-{number}/trial.json"),
        hosts: [("tx0".to_owned(), host.clone())].into(),
        ..trial(path, number, 10, 10)
    };
    let source = source(vec![on("tx0-rx0", 1), on("rx0-tx0", 1), on("tx0-rx0", 2)]);
    let section = section(&source, "host").unwrap();
    assert_eq!(texts(&tables(&section)[0].rows[0])[..2], ["tx0", "2"]);
}

#[test]
fn a_trial_without_a_packet_has_no_loss_and_not_none() {
    let trials = vec![trial("tx0-rx0", 1, 0, 0), trial("tx1-rx1", 1, 1000, 900)];
    let mut source = source(trials);
    let of = |source: &Source, id: &str, place: usize, row: usize, column: &str| {
        let section = section(source, id).unwrap();
        let table = tables(&section)[place];
        let at = table.columns.iter().position(|one| one.key == column).unwrap();
        table.rows[row].cells[at].text.clone()
    };
    assert_eq!([0, 1].map(|row| of(&source, "trials", 0, row, "loss")), ["-", "10.0000"]);
    assert_eq!(["tx0-rx0", "tx1-rx1"].map(|pair| of(&source, "matrix", 1, 0, pair)), ["-", "10.0000"]);
    // Nothing of an intended load is 0 %; of no load of its own, it is no share.
    assert_eq!(of(&source, "matrix", 0, 0, "tx0-rx0"), "0.00");
    source.summary.trials[0].intended_pps = None;
    assert_eq!(of(&source, "matrix", 0, 0, "tx0-rx0"), "-");
}
