//! `linerate diagnose` with real agents: between two of them, to a server that was started by hand, and what it refuses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::streams::bench;
use crate::support::{Bench, linerate, stderr, stdout, until};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// As short as it can be, at loads that every machine carries.
const SHORT: [&str; 10] =
    ["--duration", "200ms", "--sweep", "none", "--parallel", "1", "--rate", "10mbps", "--udp-rate", "1kpps"];

/// Agents on the loopback interface, for root as well.
const LOOPBACK: [&str; 2] = ["--set", "spec.local.network=loopback"];

fn command(bench: &Bench, more: &[&str]) -> Command {
    with(bench, &[&SHORT[..], more].concat())
}

fn with(bench: &Bench, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
    command.arg("diagnose").args(options);
    command
        .arg("--results")
        .arg(bench.path("results"))
        .arg("--hostplane")
        .arg(bench.path("linerate-hostplane"));
    command.env_remove("LINERATE_TOKEN");
    command
}

fn stored(bench: &Bench) -> Vec<PathBuf> {
    let all = fs::read_dir(bench.path("results/diagnoses")).into_iter().flatten();
    all.map(|entry| entry.unwrap().path().join("diagnosis.json")).filter(|path| path.is_file()).collect()
}

fn measured(diagnosis: &Value) {
    let steps = diagnosis["steps"].as_array().unwrap();
    let names: Vec<_> =
        steps.iter().map(|step| (step["kind"].as_str(), step["direction"].as_str())).collect();
    let each = |kind| [(Some(kind), Some("forward")), (Some(kind), Some("reverse"))];
    assert_eq!(names, [each("tcp"), each("udp")].concat(), "{diagnosis}");
    for step in steps {
        let direction = &step["result"]["directions"][0];
        let count = |field: &str| direction[field].as_u64().filter(|bytes| *bytes > 0);
        assert_eq!(count("sent_bytes").unwrap(), count("received_bytes").unwrap(), "{step}");
    }
    assert!(diagnosis["ladder"]["forward"]["passes"].as_u64() > Some(1000), "{diagnosis}");
}

#[test]
fn two_agents_diagnose_the_path_between_them_and_leave_nothing() {
    let bench = bench("  streams: {}\n");
    // Namespaces for root, the loopback interface for others.
    let output = command(&bench, &["--json", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&found["from"]["agent"], &found["to"]["agent"]), (&"a0".into(), &"a1".into()));
    assert!(found["from"]["node"].is_string() && found["server"].is_null());
    measured(&found["diagnosis"]);
    let [file] = &stored(&bench)[..] else { panic!("{:?}", stored(&bench)) };
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap(), found);
    bench.assert_nothing_left(Duration::from_secs(3));
    // It is beside the experiments, and none of them.
    let listed =
        linerate(&["results", "list", "--results", bench.path("results").to_str().unwrap(), "--json"]);
    assert_eq!(stdout(&listed).trim(), "[]", "{}", stderr(&listed));
}

#[test]
fn a_document_gives_the_platform_and_its_ceilings_hold() {
    let bench = bench("  traffic: {frameSizes: [64]}\n  safety: {maxRate: 1mbps}\n");
    let document = bench.path("experiment.yaml");
    let output = command(&bench, &[&LOOPBACK[..], &[document.to_str().unwrap()]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nothing could be measured: {}", stdout(&output));
    assert!(
        stdout(&output).contains("not-measured") && stdout(&output).contains("1mbps"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&output).contains("client     agent a0 on "), "{}", stdout(&output));
    assert!(stderr(&output).contains("starting the agents"), "progress: {}", stderr(&output));
}

/// A server that was started by hand; killed when dropped.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_was_started_by_hand_is_the_other_end() {
    let bench = bench("  streams: {}\n");
    let mut server = Command::new(bench.path("linerate-hostplane"));
    server.args(["serve", "--listen", "127.0.0.1:0", "--json"]).env("LINERATE_TOKEN", TOKEN);
    let mut server = Server(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    let address = listening["listening"][0].as_str().unwrap_or_else(|| panic!("{listening}")).to_owned();
    let token = bench.path("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let to = ["--server", &address, "--token-file", token.to_str().unwrap(), "--json"];
    let output = command(&bench, &to).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&found["server"], &found["to"]), (&address.as_str().into(), &Value::Null));
    measured(&found["diagnosis"]);
    // Another secret is refused, and said so.
    fs::write(&token, "another secret of enough bytes").unwrap();
    let output = command(&bench, &to).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not know this token"), "{}", stderr(&output));
}

#[test]
fn an_interruption_ends_both_agents() {
    let bench = bench("  streams: {}\n");
    let mut long = command(&bench, &LOOPBACK);
    long.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = long.spawn().unwrap();
    let pid = Pid::from_child(&child);
    until("both agents run", || {
        bench.processes().iter().filter(|(_, line)| line.contains(" agent ")).count() == 2
    });
    kill_process(pid, Signal::INT).unwrap();
    let output: Output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}{}", stdout(&output), stderr(&output));
    bench.assert_nothing_left(Duration::from_secs(3));
    assert!(stored(&bench).is_empty());
}

#[test]
fn an_agent_that_is_lost_is_told_and_no_fault_of_the_path() {
    let bench = bench("  streams: {}\n");
    let long = ["--duration", "10s", "--sweep", "none", "--rate", "10mbps"];
    let mut long = with(&bench, &[&LOOPBACK[..], &long].concat());
    let mut child = long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("TCP forward")), "it measures");
    // The agent that answers was most probably started last; the other one is told likewise.
    let agents = bench.processes().into_iter().filter(|(_, line)| line.contains(" agent "));
    let (answers, _) = agents.max_by_key(|(pid, _)| pid.as_raw_nonzero()).unwrap();
    kill_process(answers, Signal::KILL).unwrap();
    let rest: Vec<String> = said.collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("was killed by signal 9")), "{rest:?}");
    bench.assert_nothing_left(Duration::from_secs(3));
    assert!(stored(&bench).is_empty());
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    let bench = bench("  streams: {}\n");
    for (options, part) in [
        (&["--rate", "50%"][..], "--rate 50%"),
        (&["--from", "n1", "--platform", "local"], "--from: nodes are those of a cluster"),
        (&["--from", "host:n1", "--to", "host:n1"], "both ends would be one network"),
        (&["--to", "n1", "--server", "192.0.2.1"], "cannot be used with"),
        (&["--server", "192.0.2.1"], "--server: no token"),
        (&["--token-file", "x"], "--server"),
        (&["--server", "http://x"], "is not HOST or HOST:PORT"),
        (&["--interface", "a/b"], "not a name of an interface"),
        (&["--parallel", "0"], "--parallel"),
        (&["missing.yaml"], "missing.yaml"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        let output = command.arg("diagnose").args(options).env_remove("LINERATE_TOKEN").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{options:?}: {}", stderr(&output));
    }
    let mut short = command(&bench, &["--server", "192.0.2.1"]);
    let output = short.env("LINERATE_TOKEN", "short").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("LINERATE_TOKEN: the token has 5 bytes"), "{}", stderr(&output));
    assert!(stored(&bench).is_empty());
}
