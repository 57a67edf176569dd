//! A path that loses one flow, the second half of another and single packets of a third. Summary, reports,
//! workbook and Weights & Biases must name those flows with the order and numbers of the file of all flows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::bridge::BridgedPath;
use crate::support::{Bench, python, stderr, stdout};
use linerate_results::summary::{FlowSummary, Summary, TrialSummary};

/// Packets of each flow of a trial.
const PACKETS_PER_FLOW: u64 = 256;
const FLOWS: u64 = 8;
/// Offset of the probe's sequence number in bits from the UDP header; its lowest byte comes first.
const SEQUENCE: u32 = 8 * (8 + 4);

/// Drops flow `all`, the second half of flow `half`, and the packets of flow `single` with these numbers, on the
/// way from one end.
fn lose(path: &BridgedPath, port: &str, all: u32, half: u32, (single, numbers): (u32, &[u8])) {
    let of = |flow: u32| format!("udp dport {}", 1024 + flow);
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:#04x}000000")).collect();
    path.filter(
        port,
        &format!(
            "{} drop\n {} @th,{SEQUENCE},1 1 drop\n {} @th,{SEQUENCE},32 {{ {} }} drop",
            of(all),
            of(half),
            of(single),
            numbers.join(", ")
        ),
    );
}

fn bench(direction: &str) -> Bench {
    Bench::with_cpus(&format!(
        "  traffic: {{flows: [{FLOWS}], flowMode: dp, rates: [2kpps]}}
  trial: {{packets: {}, direction: {direction}, allFlows: true, sampleInterval: 200ms}}\n",
        FLOWS * PACKETS_PER_FLOW
    ))
}

/// The lines of a trial's file of flows, each by its columns.
fn lines(directory: &Path, trial: &TrialSummary) -> Vec<BTreeMap<String, String>> {
    let path = directory.join(trial.flows_file.as_ref().unwrap());
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|line| line.unwrap()).collect()
}

fn number(line: &BTreeMap<String, String>, column: &str) -> u64 {
    line[column].parse().unwrap()
}

/// Checks that the result's flows are those of the file, sorted by loss; returns the losses of the first
/// three.
fn assert_as_in_file(directory: &Path, trial: &TrialSummary) -> Vec<(u32, u64)> {
    let lines = lines(directory, trial);
    assert_eq!((lines.len() as u64, trial.worst_flows.len() as u64), (FLOWS, FLOWS), "{trial:?}");
    for flow in &trial.worst_flows {
        let line = &lines[flow.flow as usize];
        let FlowSummary { received_packets, lost_packets, duplicate_packets, .. } = *flow;
        assert_eq!(flow.sent_packets, Some(number(line, "sent")));
        assert_eq!((received_packets, lost_packets), (number(line, "received"), number(line, "lost")));
        assert_eq!(duplicate_packets, number(line, "duplicates"));
        assert_eq!(flow.sent_packets, Some(received_packets + lost_packets));
    }
    let mut lost: Vec<u64> = lines.iter().map(|line| number(line, "lost")).collect();
    lost.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(trial.worst_flows.iter().map(|flow| flow.lost_packets).collect::<Vec<_>>(), lost);
    trial.worst_flows.iter().take(3).map(|flow| (flow.flow, flow.lost_packets)).collect()
}

fn results(bench: &Bench, command: &str, options: &[&str]) -> Output {
    let mut linerate = Command::new(env!("CARGO_BIN_EXE_linerate"));
    linerate.args(["results", command]).args(options).arg("--results").arg(bench.path("results"));
    let output = linerate.output().unwrap();
    assert!(output.status.success(), "{command}: {}{}", stdout(&output), stderr(&output));
    output
}

fn measured(path: &BridgedPath, bench: &Bench) -> Summary {
    let output = path.run(bench);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Summary = serde_json::from_str(stdout(&output).trim_end()).unwrap();
    results(bench, "validate", &[&summary.experiment.id]);
    summary
}

/// Checks that a text contains these parts in this order.
fn assert_in_order(text: &str, parts: &[String]) {
    let mut from = 0;
    for part in parts {
        let at = text[from..].find(part.as_str());
        from += at.unwrap_or_else(|| panic!("no {part} after what is before it: {}", &text[from..]));
    }
}

#[test]
fn the_flows_that_lost_most_are_named_everywhere_as_in_the_file_of_flows() {
    let test = "the_flows_that_lost_most_are_named_everywhere_as_in_the_file_of_flows";
    let Some(path) = BridgedPath::new(test) else { return };
    lose(&path, "near1", 1, 2, (3, &[5, 0x40, 0xc8]));
    let bench = bench("one-way");
    let summary = measured(&path, &bench);
    let directory = bench.experiment_with_summary();
    let [trial] = &summary.trials[..] else { panic!("{summary:?}") };
    assert_eq!(trial.lost_packets, 256 + 128 + 3, "{trial:?}");
    assert_eq!(assert_as_in_file(&directory, trial), [(1, 256), (2, 128), (3, 3)]);
    assert_eq!(trial.silent_flows, 1);

    let id = &summary.experiment.id;
    for (form, rows) in [
        ("md", ["| 1 |", "| 2 |", "| 3 |"]),
        ("html", ["destinationPort 1025", "destinationPort 1026", "destinationPort 1027"]),
        ("tex", ["destinationPort 1025", "destinationPort 1026", "destinationPort 1027"]),
    ] {
        results(&bench, "report", &[id, "--format", form, "--to", bench.path("reports").to_str().unwrap()]);
        let text = fs::read_to_string(bench.path("reports").join(format!("linerate-{id}.{form}"))).unwrap();
        let section =
            text.split_once("The flows that fared worst").unwrap_or_else(|| panic!("{form}: {text}")).1;
        assert_in_order(section, &rows.map(str::to_owned));
    }

    let Some(python) = python(test, "openpyxl, wandb") else { return };
    results(&bench, "export", &[id, "--format", "xlsx"]);
    let script = "import json, openpyxl, sys\n\
        sheet = openpyxl.load_workbook(sys.argv[1])['Worst flows']\n\
        head, *rows = sheet.values\n\
        print(json.dumps([dict(zip(head, row)) for row in rows]))";
    let workbook = directory.join(format!("{id}.xlsx"));
    let output = Command::new(&python).args(["-c", script]).arg(workbook).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.len(), trial.worst_flows.len());
    for (rank, (row, flow)) in (1..).zip(rows.iter().zip(&trial.worst_flows)) {
        assert_eq!((row["rank"].as_u64(), row["flow"].as_u64()), (Some(rank), Some(flow.flow.into())));
        assert_eq!(row["sent_packets"].as_u64(), flow.sent_packets);
        assert_eq!(row["lost_packets"].as_u64(), Some(flow.lost_packets));
    }

    let home = bench.path("sdk");
    fs::create_dir(&home).unwrap();
    let mut upload = Command::new(env!("CARGO_BIN_EXE_linerate"));
    upload.args(["results", "upload", id, "--to", "wandb", "--json", "--python"]).arg(&python);
    upload.arg("--results").arg(bench.path("results")).env("HOME", &home).env("WANDB_DIR", &home);
    upload.env("WANDB_MODE", "offline").env("WANDB_CACHE_DIR", home.join("cache"));
    upload.env("WANDB_CONFIG_DIR", home.join("config")).env("WANDB_DATA_DIR", home.join("data"));
    let output = upload.current_dir(&home).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let uploaded: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = Path::new(uploaded["directory"].as_str().unwrap());
    let file = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "wandb")).unwrap();
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/read_wandb.py");
    let output = Command::new(&python).arg(reader).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let kept: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let trials = kept["summary"]["trials"].as_object().unwrap();
    let told = &trials.values().next().unwrap()["worst_flows"];
    let told: Vec<FlowSummary> = serde_json::from_value(told.clone()).unwrap();
    assert_eq!(told, trial.worst_flows);
    bench.assert_nothing_left(Duration::from_secs(2));
}

#[test]
fn each_way_and_the_way_back_name_their_own_worst_flows() {
    let Some(path) = BridgedPath::new("each_way_and_the_way_back_name_their_own_worst_flows") else { return };
    lose(&path, "near1", 1, 2, (3, &[5, 0x40]));
    lose(&path, "far1", 6, 5, (4, &[7]));
    let bench = bench("bidirectional");
    let summary = measured(&path, &bench);
    let directory = bench.experiment_with_summary();
    let lost: Vec<_> = summary.trials.iter().map(|trial| assert_as_in_file(&directory, trial)).collect();
    assert_eq!(lost, [[(1, 256), (2, 128), (3, 2)], [(6, 256), (5, 128), (4, 1)]], "{summary:?}");
    drop((path, bench));

    let Some(path) = BridgedPath::new("each_way_and_the_way_back_name_their_own_worst_flows") else { return };
    lose(&path, "near1", 1, 2, (3, &[5, 0x40]));
    let bench = self::bench("round-trip");
    let summary = measured(&path, &bench);
    let directory = bench.experiment_with_summary();
    let [trial] = &summary.trials[..] else { panic!("{summary:?}") };
    assert_eq!(assert_as_in_file(&directory, trial), [(1, 256), (2, 128), (3, 2)], "{trial:?}");
    bench.assert_nothing_left(Duration::from_secs(2));
}
