//! The `profile` commands as scripts use them: files, exit codes, JSON.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn linerate(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linerate"))
        .arg("profile")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn generated_profiles_are_listed_shown_and_valid() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| linerate(directory.path(), arguments);
    let matrix =
        ["generate", "--rate", "10,1mpps", "--size", "64,512", "--size", "imix", "--flows", "1,10000"];
    let written = run(&[&matrix[..], &["--flow-mode", "sd", "--pair", "tx0-rx0,tx1-rx1", "--json"]].concat());
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    assert_eq!(json(&written)["written"].as_array().unwrap().len(), 24);
    let name = "profile_10000_flows_pkt_size_imixB_1mpps_rate_sd";
    let file = format!("flows/tx1-rx1/{name}.yaml");
    assert!(directory.path().join(&file).is_file());

    let listed = json(&run(&["list", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 24);
    assert!(listed.as_array().unwrap().iter().all(|entry| entry["error"].is_null()));
    let shown = json(&run(&["show", name, "--json"]));
    assert_eq!(shown["document"]["metadata"]["name"], name);
    assert_eq!(shown["headers"][2]["last"], "192.168.40.16");
    assert_eq!(run(&["validate", &file]).status.code(), Some(0));

    let again = run(&[&matrix[..], &["--flow-mode", "sd"]].concat());
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("11 more files exist; nothing was written"), "{}", stderr(&again));
    assert_eq!(run(&[&matrix[..], &["--flow-mode", "sd", "--force"]].concat()).status.code(), Some(0));

    let unknown = run(&["show", "profile_1000_flows_pkt_size_imixB_1mpps_rate_sd"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains(&format!("did you mean {name}")), "{}", stderr(&unknown));
}

#[test]
fn the_examples_of_generate_work() {
    let help = String::from_utf8(linerate(Path::new("."), &["generate", "--help"]).stdout).unwrap();
    // Long examples are wrapped.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, examples) = help.split_once("Examples:").unwrap();
    let examples: Vec<_> = examples.split("linerate profile ").skip(1).collect();
    assert_eq!(examples.len(), 3, "{help}");
    for example in examples {
        let is_option = |word: &&str| word.starts_with("--");
        let mut words = example.split(' ').peekable();
        let mut arguments = vec![words.next().unwrap()];
        while let Some(option) = words.next_if(is_option) {
            arguments.extend([option, words.next().unwrap()]);
        }
        let directory = tempfile::tempdir().unwrap();
        let output = linerate(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn nothing_is_written_when_one_profile_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let refused =
        linerate(directory.path(), &["generate", "--size", "64,1500", "--protocol", "tcp", "--flows", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--size 64 --flows 1"), "{}", stderr(&refused));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(linerate(directory.path(), &["generate", "--rate", "0"]).status.code(), Some(2));
}

#[test]
fn wrong_documents_are_placed_and_fail_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let text = "apiVersion: linerate.dev/v1alpha1\nkind: Profile\nspec:\n  vlan: {id: 5000}\n";
    fs::write(directory.path().join("bad.yaml"), text).unwrap();
    let verdict = linerate(directory.path(), &["validate", "bad.yaml", "--json"]);
    assert_eq!(verdict.status.code(), Some(1));
    let verdict = &json(&verdict)[0];
    assert_eq!((&verdict["line"], &verdict["column"]), (&Value::from(4), &Value::from(14)));
    assert!(verdict["error"].as_str().unwrap().contains("vlan.id: 5000 is outside 1…4094"));
}

#[test]
fn scripts_are_imported_and_bad_ones_leave_the_others_alone() {
    let directory = tempfile::tempdir().unwrap();
    let good = "require 'Pktgen'\npktgen.set_proto('all', 'udp')\npktgen.set('0-1', 'count', 5)\n";
    fs::write(directory.path().join("good.lua"), good).unwrap();
    fs::write(directory.path().join("bad.lua"), "\npktgen.seq(0)\n").unwrap();
    let imported = linerate(directory.path(), &["import", "good.lua", "bad.lua", "--out", "made", "--json"]);
    assert_eq!(imported.status.code(), Some(1));
    let (good, bad) = (&json(&imported)[0], &json(&imported)[1]);
    assert!(bad["error"].as_str().unwrap().starts_with("bad.lua: line 2: pktgen.seq(0): "), "{bad}");
    let profiles = good["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 2);
    for profile in profiles {
        let file = profile["file"].as_str().unwrap();
        assert!(file.starts_with("made/port"), "{file}");
        assert_eq!(linerate(directory.path(), &["validate", file]).status.code(), Some(0));
        assert!(profile["notes"][0].as_str().unwrap().starts_with("count 5"), "{profile}");
    }
}
