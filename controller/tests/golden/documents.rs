//! Documents of every form: the documents in force, and the ids of their experiments.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::files::{Outputs, folder, inputs};
use crate::ids::{BEGUN, id, resumed, version};
use crate::programs::{DATAPLANE, first_cpu, linerate, printed, program, stderr, transcript};

/// Options of a run that set fields of the document; each gives a document of its own.
const OPTIONS: [(&str, &[&str]); 11] = [
    ("none", &[]),
    ("platform", &["--platform", "kubernetes"]),
    ("pairs-and-duration", &["-n", "3", "--duration", "1m 5s"]),
    ("packets", &["--packets", "5000"]),
    ("packets-and-duration", &["--packets", "5000", "--duration", "2s"]),
    (
        "traffic",
        &[
            "--size",
            "64,512",
            "--flows",
            "1,100",
            "--rate",
            "50%,1.5mpps,max",
            "--flow-mode",
            "spd",
            "--repeats",
            "2",
        ],
    ),
    ("mix", &["--size", "64:7,594:4"]),
    ("ceilings", &["--max-rate", "2mpps", "--max-duration", "1h", "--allow", "192.168.0.0/16,2001:db8::/32"]),
    (
        "pods",
        &[
            "--platform",
            "kubernetes",
            "--namespace",
            "lab",
            "--context",
            "site-a",
            "-i",
            "registry.example/linerate:1",
            "--image-pull-policy",
            "always",
            "-c",
            "4",
            "-m",
            "8",
            "-g",
            "1",
            "-d",
            "1",
            "-v",
            "2",
            "--resource",
            "example.com/vf=3",
            "--network",
            "sriov-a",
            "--network",
            "lab/sriov-b",
            "--node",
            "node1,node2",
            "--keep",
            "--different-nodes",
        ],
    ),
    (
        "pods-without-devices",
        &[
            "--platform",
            "kubernetes",
            "--same-node",
            "--hugepages-2Mi",
            "512",
            "--memory",
            "512Mi",
            "--link",
            "af-packet",
            "--interface",
            "net1",
        ],
    ),
    (
        "set",
        &[
            "--set",
            "spec.trial.repeats=3",
            "--set",
            "spec.traffic.frameSizes=[64, imix]",
            "--set",
            "spec.kubernetes.resources[intel.com/dpdk]=2",
            "--set",
            "metadata.name=other",
            "--set",
            "spec.trial.duration=",
            "--set",
            "spec.traffic.flows[1]=7",
        ],
    ),
];

fn documents() -> Vec<(String, PathBuf)> {
    inputs("documents/experiments", ".yaml")
}

fn shown(document: &Path) -> String {
    printed(&mut linerate(Path::new("/"), &["config", "show", "--from", document.to_str().unwrap()]))
}

#[test]
fn every_form_of_experiment_document_comes_to_what_it_did() {
    let mut outputs = Outputs::of("documents/shown");
    for (name, document) in documents() {
        let canonical = shown(&document);
        outputs.check(&format!("{name}.yaml"), &canonical);
        // The output is a document with the same meaning.
        let place = tempfile::tempdir().unwrap();
        let again = place.path().join("again.yaml");
        fs::write(&again, &canonical).unwrap();
        assert_eq!(shown(&again), canonical, "{name}");
    }
    outputs.end();
}

#[test]
fn options_of_a_run_become_the_fields_they_did() {
    let mut outputs = Outputs::of("documents/options");
    for (name, options) in OPTIONS {
        let found = printed(&mut linerate(Path::new("/"), &[&["config", "show"], options].concat()));
        outputs.check(&format!("{name}.yaml"), &found);
    }
    outputs.end();
}

/// Each line has the id of a document's experiment; the first line has the version of the ids. Another
/// version gives other ids by the same rule.
#[test]
fn the_ids_of_experiments_stay_so_that_runs_can_be_resumed() {
    let place = tempfile::tempdir().unwrap();
    let mut outputs = Outputs::of("documents/ids");
    let now = version();
    let golden = fs::read_to_string(folder().join("documents/ids/ids.txt")).unwrap_or_default();
    let recorded =
        golden.lines().next().and_then(|line| line.strip_prefix("version ")).unwrap_or(&now).to_owned();
    let mut lines = format!("version {recorded}\n");
    for (name, document) in documents() {
        let canonical = shown(&document);
        let name_of_profile = first_profile(&document, place.path());
        for (filter, options) in
            [(None, vec![]), (Some(name_of_profile.as_str()), vec!["--filter", &name_of_profile])]
        {
            let expected = id(&canonical, filter, &now);
            let said = resumed(&document, &options, &expected, place.path());
            let wanted = format!("note: resuming {BEGUN}: 0 of ");
            assert!(said.starts_with(&wanted), "{name}: a run with the id {expected} is not found: {said}");
            let filtered = if filter.is_some() { " filtered" } else { "" };
            lines.push_str(&format!("{} {name}{filtered}\n", id(&canonical, filter, &recorded)));
        }
    }
    outputs.check("ids.txt", &lines);
    outputs.end();
}

/// The name of the first profile of a document.
fn first_profile(document: &Path, place: &Path) -> String {
    let trials = scanned(document, place);
    trials[0]["profile"].as_str().unwrap().to_owned()
}

/// The planned trials of a document, by `results scan` of a run that was only started.
fn scanned(document: &Path, place: &Path) -> Vec<Value> {
    resumed(document, &[], "", place);
    let found = printed(&mut linerate(place, &["results", "scan", BEGUN, "--json"]));
    let scans: Value = serde_json::from_str(&found).unwrap();
    scans[0]["trials"].as_array().unwrap().clone()
}

#[test]
fn every_document_calls_for_the_trials_it_did() {
    let place = tempfile::tempdir().unwrap();
    let mut outputs = Outputs::of("documents/trials");
    for (name, document) in documents() {
        let line = |trial: &Value| {
            let part = |key: &str| trial[key].as_str().unwrap().to_owned();
            format!("{} {} {}\n", part("pair"), part("profile"), trial["repeat"])
        };
        let lines: String = scanned(&document, place.path()).iter().map(line).collect();
        outputs.check(&format!("{name}.txt"), &lines);
    }
    outputs.end();
}

/// Documents for this machine only; those for pods need a cluster (`manifests.rs` checks their manifests).
#[test]
fn dry_runs_print_the_plans_and_command_lines_they_did() {
    let mut outputs = Outputs::of("documents/plans");
    for (name, document) in documents() {
        let text = fs::read_to_string(&document).unwrap();
        // Makes the plan the same on every machine.
        let document = text.replace("hugepages: always", "hugepages: never");
        if document.contains("platform: kubernetes") {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("experiment.yaml"), document).unwrap();
        // The program is not started, so any file serves.
        let dataplane = ["--dataplane", env!("CARGO_BIN_EXE_linerate")];
        let options = ["--set", "spec.local.hugepages=never"];
        let mut command = on_one_cpu(place.path());
        command.args(["run", "experiment.yaml", "--dry-run", "--json"]).args(dataplane).args(options);
        let output = command.output().unwrap();
        let found = match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(mut printed) => {
                printed["agents"].as_array_mut().unwrap().iter_mut().for_each(same_everywhere);
                serde_json::to_string_pretty(&printed).unwrap() + "\n"
            }
            Err(_) => format!("{}[exit code {}]\n", stderr(&output), output.status.code().unwrap()),
        };
        outputs.check(&format!("{name}.json"), &found);
    }
    outputs.end();
}

/// `linerate` restricted to one CPU.
fn on_one_cpu(directory: &Path) -> Command {
    let mut command = program(Path::new("taskset"), directory);
    command.args(["-c", &first_cpu(), env!("CARGO_BIN_EXE_linerate")]);
    command
}

/// Removes from an agent's command line what differs between machines and runs: the path, CPUs, the idle
/// strategy of lcores, and the run's secret.
fn same_everywhere(agent: &mut Value) {
    let words: Vec<String> = serde_json::from_value(agent["command_line"].take()).unwrap();
    let after = |option: &str| words.iter().skip_while(|word| *word != option).nth(1);
    let name = agent["name"].as_str().unwrap();
    let prefix = after("--file-prefix").unwrap();
    let secret =
        prefix.strip_prefix("linerate-").and_then(|rest| rest.strip_suffix(&format!("-{name}"))).unwrap();
    let mut masked = vec![DATAPLANE.to_owned()];
    for pair in words.windows(2) {
        let word = pair[1].replace(secret, "SECRET");
        masked.push(match pair[0].as_str() {
            "--lcores" => {
                word.split(',').map(|one| one.split('@').next().unwrap()).collect::<Vec<_>>().join(",")
            }
            "--idle" => "IDLE".to_owned(),
            _ => match word.split_once("mac=02:") {
                Some((before, address)) => format!("{before}mac=02:SECRET{}", &address[5..]),
                None => word,
            },
        });
    }
    agent["command_line"] = masked.join(" ").into();
}

#[test]
fn documents_are_refused_in_the_words_they_were() {
    let mut outputs = Outputs::of("documents/refusals");
    for (name, document) in inputs("documents/refused", ".yaml") {
        let place = tempfile::tempdir().unwrap();
        fs::copy(&document, place.path().join("experiment.yaml")).unwrap();
        let mut command = linerate(place.path(), &["run", "experiment.yaml", "--dry-run"]);
        outputs.check(&format!("{name}.txt"), &transcript(&mut command));
    }
    for (name, variable, value) in [
        ("ceiling-of-the-environment", "LINERATE_MAX_RATE", "1kpps"),
        ("longest-trial-of-the-environment", "LINERATE_MAX_DURATION", "1s"),
        ("networks-of-the-environment", "LINERATE_ALLOW", "fd00::/8"),
        ("unreadable-ceiling-of-the-environment", "LINERATE_MAX_RATE", "fast"),
    ] {
        let document = folder().join("documents/experiments/listed-profiles.yaml");
        let mut command = linerate(Path::new("/"), &["run", "--dry-run"]);
        command.arg(document).env(variable, value);
        outputs.check(&format!("{name}.txt"), &transcript(&mut command));
    }
    outputs.end();
}

#[test]
fn every_form_of_profile_comes_to_what_it_did() {
    let mut outputs = Outputs::of("documents/profiles-shown");
    let place = folder().join("documents/profiles");
    for (name, _) in inputs("documents/profiles", ".yaml") {
        let file = format!("{name}.yaml");
        outputs.check(&format!("{name}.txt"), &printed(&mut linerate(&place, &["profile", "show", &file])));
        outputs.check(
            &format!("{name}.json"),
            &printed(&mut linerate(&place, &["profile", "show", &file, "--json"])),
        );
    }
    for (name, options) in [("list", &["list", "."][..]), ("list-json", &["list", ".", "--json"])] {
        outputs.check(
            &format!("_{name}.txt"),
            &printed(&mut linerate(&place, &[&["profile"], options].concat())),
        );
    }
    let refused = folder().join("documents/refused");
    let both = ["profile", "validate", "../profiles/voice.yaml", "unknown-field.yaml"];
    outputs.check("_validate.txt", &transcript(&mut linerate(&refused, &both)));
    outputs.check("_validate-json.txt", &transcript(linerate(&refused, &both).arg("--json")));
    outputs.end();
}

#[test]
fn generated_profiles_are_the_files_they_were() {
    let mut outputs = Outputs::of("documents/generated");
    for (name, options) in [
        ("default", &[][..]),
        (
            "matrix",
            &[
                "--rate",
                "10,1mpps",
                "--size",
                "64,512",
                "--size",
                "imix",
                "--flows",
                "1,100",
                "--pair",
                "tx0-rx0,tx1-rx1",
            ],
        ),
        (
            "every-option",
            &[
                "--size",
                "genome:bcd",
                "--rate",
                "2gbps",
                "--flows",
                "16",
                "--flow-mode",
                "sdpp",
                "--src-ip",
                "10.0.1.1",
                "--dst-ip",
                "10.0.2.1",
                "--src-port",
                "5000",
                "--dst-port",
                "6000",
                "--src-mac",
                "02:00:00:00:00:01",
                "--dst-mac",
                "02:00:00:00:00:02",
                "--protocol",
                "tcp",
                "--vlan",
                "7:3",
                "--dscp",
                "46",
                "--ttl",
                "9",
                "--burst",
                "8",
                "--payload",
                "hex:00ff",
            ],
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut text = printed(&mut linerate(place.path(), &[&["profile", "generate"], options].concat()));
        for file in crate::files::files_below(place.path()) {
            let shown = file.strip_prefix(place.path()).unwrap().display();
            text.push_str(&format!("===== {shown} =====\n{}", fs::read_to_string(&file).unwrap()));
        }
        outputs.check(&format!("{name}.txt"), &text);
    }
    outputs.end();
}

#[test]
fn scripts_are_imported_as_they_were() {
    let mut outputs = Outputs::of("documents/imported");
    let place = folder().join("documents/scripts");
    for (name, _) in inputs("documents/scripts", ".lua") {
        let script = format!("{name}.lua");
        outputs.check(
            &format!("{name}.txt"),
            &transcript(&mut linerate(&place, &["profile", "import", &script])),
        );
        let mut grown = linerate(&place, &["profile", "import", &script, "--grow", "--json"]);
        outputs.check(&format!("{name}.json"), &transcript(&mut grown));
    }
    outputs.end();
}
