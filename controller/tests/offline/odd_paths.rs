//! Paths that are not UTF-8: output has them with U+FFFD in place of what is not.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use linerate_results::fixtures::recorded;
use serde_json::Value;

const SHOWN: &str = "nu\u{fffd}";

/// The JSON that a command prints; its directory has a subdirectory `nu\xff`, written `DIR` in `line`.
fn json(directory: &Path, line: &str) -> Value {
    let argument = |word: &str| match word.split_once("DIR") {
        None => OsString::from(word),
        Some((before, after)) => {
            OsStr::from_bytes(&[before.as_bytes(), b"nu\xff", after.as_bytes()].concat()).to_owned()
        }
    };
    let output = Command::new(env!("CARGO_BIN_EXE_linerate"))
        .args(line.split(' ').map(argument))
        .arg("--json")
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}{stderr}"))
}

#[test]
fn results_in_a_directory_whose_name_is_not_utf8_are_printed_as_json() {
    let (results, id) = recorded();
    let odd = results.path().join(OsStr::from_bytes(b"nu\xff"));
    fs::create_dir(&odd).unwrap();
    fs::rename(results.path().join(&id), odd.join(&id)).unwrap();
    let run = |line: &str| json(results.path(), &line.replace("ID", &id));
    let place = format!("{SHOWN}/{id}");

    assert_eq!(run("results validate --results DIR")["targets"][0]["target"], place);
    let exported = run("results export ID --format metadata --results DIR");
    assert!(exported["written"][0].as_str().unwrap().starts_with(&place), "{exported}");
    let report = run("results report ID --results DIR --to DIR/reports");
    assert!(
        report["files"][0]["path"].as_str().unwrap().starts_with(&format!("{SHOWN}/reports/")),
        "{report}"
    );
    let archive = run("results backup ID --results DIR --to DIR/all.tar.gz");
    assert_eq!(archive["archive"], format!("{SHOWN}/all.tar.gz"));
    assert_eq!(run("results list --results DIR")[0]["id"], id);
    assert_eq!(run("results purge ID --yes --results DIR")["removed"][0], id);
}

#[test]
fn profiles_in_a_directory_whose_name_is_not_utf8_are_printed_as_json() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(OsStr::from_bytes(b"nu\xff"))).unwrap();
    let run = |line: &str| json(directory.path(), line);
    let begins = |value: &Value| value.as_str().unwrap().starts_with(&format!("{SHOWN}/"));

    let written = run("profile generate --size 64 --flows 1 --rate 10 --out DIR");
    assert!(begins(&written["written"][0]["file"]), "{written}");
    let name = written["written"][0]["name"].as_str().unwrap();
    let listed = run("profile list DIR");
    assert!(begins(&listed[0]["file"]) && listed[0]["name"] == name, "{listed}");
    assert!(begins(&run(&format!("profile show {name} --dir DIR"))["file"]));
    let file = format!("DIR/tx0-rx0/{name}.yaml");
    let checked = run(&format!("profile validate {file} DIR/absent.yaml"));
    assert!(begins(&checked[0]["file"]) && begins(&checked[1]["file"]), "{checked}");

    fs::write(
        directory.path().join(OsStr::from_bytes(b"nu\xff/a.lua")),
        "pktgen.set_proto('all', 'udp')\npktgen.set('0', 'count', 5)\n",
    )
    .unwrap();
    let imported = run("profile import DIR/a.lua DIR/absent.lua --out DIR/made");
    assert!(begins(&imported[0]["script"]) && begins(&imported[1]["script"]), "{imported}");
    assert!(begins(&imported[0]["profiles"][0]["file"]), "{imported}");
}
