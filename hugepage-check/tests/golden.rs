//! What people and scripts are told on whole hosts, word for word.
//!
//! The expected texts are the files below `tests/golden`. After a change that is meant, write them anew with
//! `UPDATE_GOLDEN=1 cargo test -p hugepage-check --test golden`, and read the difference.

// Helpers of tests may panic, too; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::hosts::{Case, all};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// Runs the check on a host that is always found at `host`, whatever its temporary directory is called.
fn output(case: &Case, arguments: &[&str]) -> String {
    let place = tempfile::tempdir().unwrap();
    symlink(case.host.dir(), place.path().join("host")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hugepage-check"));
    command.current_dir(place.path()).env_clear().envs(case.host.variables.iter().cloned());
    let output = command.args(["--root", "host"]).args(arguments).args(case.options).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut text = String::from_utf8(output.stdout).unwrap();
    if arguments.contains(&"--json") {
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
    } else {
        text = format!(
            "$ hugepage-check {}\n{text}exit {}\n",
            case.options.join(" "),
            output.status.code().unwrap()
        );
    }
    text
}

#[test]
fn reports_of_recorded_hosts_are_as_recorded() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for case in all() {
        for (suffix, arguments) in [("txt", &[][..]), ("json", &["--json"])] {
            let file = Path::new(DIRECTORY).join(format!("{}.{suffix}", case.name));
            let text = output(&case, arguments);
            if update {
                fs::write(&file, text).unwrap();
            } else if fs::read_to_string(&file).unwrap_or_default() != text {
                changed.push(format!("{}:\n{text}", file.display()));
            }
        }
    }
    let advice = "if that is meant: UPDATE_GOLDEN=1 cargo test -p hugepage-check --test golden";
    assert!(changed.is_empty(), "not as expected; {advice}\n{}", changed.join("\n"));
}
