//! Output on a terminal: no foreign control sequences, and tables of its width.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::support::{Bench, not_run, stderr, stdout};

/// Control sequences: sets the window's title, clears the screen, sets a colour, and the same in the
/// one-character form.
const ATTACK: &str = "\\u001b]0;owned\\u0007\\u001b[2J\\u001b[31m\\u009b2J\\u202e";
const ATTACK_SHOWN: &str = "\\u001b]0;owned\\u0007\\u001b[2J\\u001b[31m\\u009b2J\\u202e";

/// Checks that the output has no control sequences.
fn assert_harmless(what: &str, output: &Output) {
    for (stream, text) in [("standard output", stdout(output)), ("standard error", stderr(output))] {
        let harmful = |c: &char| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}';
        let found: Vec<char> = text.chars().filter(harmful).collect();
        assert!(found.is_empty(), "{what}, {stream}: {found:?} in {text:?}");
    }
}

fn results(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
    command.arg("results").args(arguments).arg("--results").arg(bench.path("results")).stdin(Stdio::null());
    command.output().unwrap()
}

/// Output of a command on a terminal with this number of columns.
fn on_terminal(columns: u32, command: &Command) -> Option<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let line = format!("stty cols {columns} rows 50; {}", quoted.join(" "));
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    output.ok().filter(|output| !output.stdout.is_empty()).map(|output| stdout(&output).replace('\r', ""))
}

#[test]
fn results_of_others_move_no_cursor() {
    let bench = Bench::new(
        "  traffic: {frameSizes: [64, 512], flows: [100], flowMode: sd, rates: [20kpps]}
  trial: {duration: 300ms, sampleInterval: 100ms}\n",
    );
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let id = bench.summary().unwrap().experiment.id;
    let directory = bench.experiment_with_summary();

    for columns in [80, 110, 160] {
        let mut show = Command::new(env!("CARGO_BIN_EXE_linerate"));
        show.args(["results", "show", &id, "--results"]).arg(bench.path("results"));
        let Some(text) = on_terminal(columns, &show) else {
            not_run("results_of_others_move_no_cursor", "there is no `script` to make a terminal");
            break;
        };
        let table: Vec<&str> = text.lines().skip(1).take(4).collect();
        assert!(table[0].contains("verdict") && table[2].contains("64"), "{columns}: {text}");
        assert!(table[3].contains("512"), "{columns}: {text}");
        let widest = table.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns as usize, "{widest} of {columns}: {text}");
        assert_eq!(text.contains("names are shortened"), columns < 150, "{columns}: {text}");
    }

    let mut attacked = Vec::new();
    for name in ["summary.json", "experiment.yaml"] {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).unwrap();
        let changed = text
            .replace("\"name\": \"test\"", &format!("\"name\": \"te{ATTACK}st\""))
            .replace("\"evidence\": \"", &format!("\"evidence\": \"{ATTACK}"))
            .replace("\"reason\": null", &format!("\"reason\": \"{ATTACK}\""))
            .replace("\"platform\": \"", &format!("\"platform\": \"{ATTACK}"));
        if changed != text {
            attacked.push(name);
        }
        fs::write(&path, changed).unwrap();
    }
    assert_eq!(attacked, ["summary.json"]);
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["show", &id],
        &["show", &id, "--json"],
        &["validate", &id],
        &["scan", &id],
        &["compare", &id, &id],
        &["report", &id, "--to", bench.path("reports").to_str().unwrap()],
    ] {
        let output = results(&bench, arguments);
        assert_harmless(&arguments.join(" "), &output);
    }
    let shown = stdout(&results(&bench, &["show", &id]));
    assert!(shown.contains(&format!("te{ATTACK_SHOWN}st")), "{shown}");
    let json = stdout(&results(&bench, &["show", &id, "--json"]));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let meant: String = serde_json::from_str(&format!("\"te{ATTACK}st\"")).unwrap();
    assert_eq!(value["experiment"]["name"], meant, "escaped, it means the same");
}

#[test]
fn agents_move_no_cursor() {
    let bench = Bench::new("  trial: {duration: 300ms}\n");
    let agent = bench.path("agent");
    let noise = "printf 'noise \\033]0;owned\\007\\n'";
    let script =
        format!("#!/bin/sh\n{noise}\necho '{{\"error\":{{\"message\":\"no {ATTACK} port\"}}}}'\nexit 2\n");
    fs::write(&agent, script).unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let command = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        command.arg("run").arg(bench.path("experiment.yaml")).arg("--results").arg(bench.path("results"));
        command.arg("--dataplane").arg(&agent).args(options).stdin(Stdio::null());
        command
    };
    for options in
        [&[][..], &["--json"], &["--log-level", "trace"], &["--log-level", "trace", "--log-format", "json"]]
    {
        let output = command(options).output().unwrap();
        assert!(!output.status.success());
        assert_harmless(&options.join(" "), &output);
        let said = stderr(&output) + &stdout(&output);
        assert!(said.contains(&format!("no {ATTACK_SHOWN} port")), "{options:?}: {said}");
    }
    let Some(text) = on_terminal(100, &command(&["--log-level", "trace"])) else {
        return not_run("agents_move_no_cursor", "there is no `script` to make a terminal");
    };
    for harmful in ["\u{1b}]0;owned", "\u{1b}[2J", "\u{1b}[31m\u{9b}", "\u{9b}2J"] {
        assert!(!text.contains(harmful), "{harmful:?} in {text:?}");
    }
    assert!(text.contains("\\u001b]0;owned"), "{text:?}");
}
