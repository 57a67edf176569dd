//! Settings of a veth pair with several queues, in namespaces of their own: shown, changed, verified, and restored on every way out.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lab::Lab;
use crate::common::{Running, hearing_hang_ups, hostplane, json, run, stderr};

/// An interface `t0` with two receive and two transmit queues at an end.
fn queues(lab: &Lab) {
    lab.set(
        "a",
        "ip link add t0 numrxqueues 2 numtxqueues 2 type veth peer name t1 numrxqueues 2 numtxqueues 2",
    );
}

/// Every setting of `t0` that is tried here.
fn state(lab: &Lab) -> String {
    let files = "cd /sys/class/net/t0/queues && grep . rx-*/rps_cpus rx-*/rps_flow_cnt tx-*/xps_cpus";
    let output = run(lab.command("a", "sh").args(["-c", files]));
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Tuned<'a> {
    lab: &'a Lab,
    journals: &'a Path,
}

impl Tuned<'_> {
    fn command(&self, options: &str) -> Command {
        let (action, options) = options.split_once(' ').unwrap_or((options, ""));
        self.lab.hostplane("a", &format!("tune {action} --journal-dir {} {options}", self.journals.display()))
    }

    fn apply(&self, options: &str) -> Command {
        self.command(&format!("apply --interface t0 --allow-host-changes {options}"))
    }

    fn show(&self) -> Value {
        let output = run(&mut self.command("show --interface t0 --json"));
        assert!(output.status.success(), "{}", stderr(&output));
        json(&output)
    }

    fn journals(&self) -> Vec<String> {
        let entries = fs::read_dir(self.journals).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn settings_are_restored_on_every_way_out() {
    let Some(lab) = Lab::new("settings_are_restored_on_every_way_out") else { return };
    queues(&lab);
    let dir = tempfile::tempdir().unwrap();
    let tuned = Tuned { lab: &lab, journals: dir.path() };
    let before = state(&lab);

    let shown = tuned.show();
    assert_eq!(shown["queues"].as_array().unwrap().len(), 4, "{shown}");
    assert_eq!((&shown["queues"][0]["rps_cpus"], &shown["is_changed"]), (&"none".into(), &false.into()));
    assert_eq!(shown["driver"]["name"], "veth");
    assert!(shown["rss"].is_null() && shown["not_known"]["rss"].is_string(), "{shown}");

    // The command sees the settings in force, and its exit code is handed on.
    let print = "grep -h . /sys/class/net/t0/queues/rx-1/rps_cpus; exit 7";
    let mut command = tuned.apply("--rps 0 --xps on --json --quiet");
    let output = run(command.args(["--", "sh", "-c", print]));
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    let lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let applied: Value = serde_json::from_str(&lines[0]).unwrap();
    let steps = applied["applied"].as_array().unwrap();
    assert!(steps.len() == 4 && steps.iter().all(|step| step["took"] == true), "{applied}");
    assert_eq!(lines[1].trim_start_matches(['0', ',']), "1");
    assert_eq!(json(&output)["restored"]["failed"], serde_json::json!([]));
    assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]));

    // Signals, an absent command, one that is ended with the tuner.
    for signal in ["INT", "TERM", "HUP"] {
        let mut running = Running::start(&mut hearing_hang_ups(&tuned.apply("--rps on")));
        running.wait_for_stderr("in force until");
        assert_ne!(state(&lab), before);
        running.signal(signal);
        assert!(running.output().status.success());
        assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]), "{signal}");
    }
    let output = run(&mut tuned.apply("--rps on -- /nonexistent/command"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nonexistent/command: "), "{}", stderr(&output));
    let mut running = Running::start(&mut tuned.apply("--rps on -- sleep 60"));
    running.wait_for_stderr("->");
    running.signal("TERM");
    assert_eq!(running.output().status.code(), Some(128 + 15));
    assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]));

    // A signal of the whole group, as `timeout` and terminals send it, reaches the command once, and none kills it.
    let script = "n=0; trap 'n=$((n + 1)); echo stop $n >&2' TERM; echo ready >&2; \
                  while [ $n -lt 2 ]; do sleep 0.05; done; sleep 0.2; exit 5";
    let mut command = tuned.apply("--rps on --quiet");
    let mut running = Running::start(command.args(["--", "sh", "-c", script]).process_group(0));
    let group = format!("-{}", running.pid());
    for seen in ["ready", "stop 1"] {
        running.wait_for_stderr(seen);
        std::thread::sleep(Duration::from_millis(500));
        assert!(Command::new("kill").args(["-TERM", "--", &group]).status().unwrap().success());
    }
    let output = running.output();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(stderr(&output).trim(), "stop 2");
    assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]));

    // What is refused changes nothing.
    for (options, reason) in [
        ("--rss off", "no RSS table"),
        ("--rps on --governor nothing", "governor"),
        ("--rps 4000", "online are the CPUs"),
        ("--irq-cpus 0", "no interrupts"),
    ] {
        let output = run(&mut tuned.apply(&format!("{options} -- true")));
        assert_eq!(output.status.code(), Some(1), "{options}");
        assert!(stderr(&output).contains(reason), "{options}: {}", stderr(&output));
    }
    assert_eq!((state(&lab), tuned.journals()), (before, vec![]));
}

#[test]
fn what_a_killed_tuner_leaves_behind_is_restored_by_the_next_start() {
    let Some(lab) = Lab::new("what_a_killed_tuner_leaves_behind_is_restored_by_the_next_start") else {
        return;
    };
    queues(&lab);
    let dir = tempfile::tempdir().unwrap();
    let tuned = Tuned { lab: &lab, journals: dir.path() };
    let before = state(&lab);
    let killed = || {
        let mut running = Running::start(&mut tuned.apply("--rps on --xps on"));
        running.wait_for_stderr("in force until");
        let output = run(&mut tuned.apply("--rps off -- true"));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("has not ended"), "the second is refused: {}", stderr(&output));
        running.signal("KILL");
        running.output();
        assert_ne!(state(&lab), before);
        assert_eq!(tuned.show()["is_changed"], true);
    };

    killed();
    let output = run(&mut tuned.command("restore --json"));
    assert!(output.status.success(), "{}", stderr(&output));
    let journals = json(&output)["journals"].clone();
    assert_eq!(journals[0]["outcome"]["restored"]["failed"], serde_json::json!([]), "{journals}");
    assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]));

    killed();
    let output = run(&mut tuned.apply("--rps off -- true"));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("settings of t0 that process "), "{}", stderr(&output));
    assert_eq!((state(&lab), tuned.journals()), (before.clone(), vec![]));

    // Nothing is taken away from a command that goes on.
    let mut command = tuned.apply("--rps on");
    let script = "echo pid $$ . >&2; exec sleep 60 >/dev/null 2>&1";
    let mut running = Running::start(command.args(["--", "sh", "-c", script]));
    let seen = running.wait_for_stderr(" .");
    let pid = seen.split("pid ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    running.signal("KILL");
    running.output();
    let output = run(&mut tuned.command("restore"));
    assert!(stderr(&output).contains("a command that it ran"), "{}", stderr(&output));
    assert_ne!(state(&lab), before);
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    // Its number is free a moment after.
    let end = Instant::now() + Duration::from_secs(10);
    while state(&lab) != before {
        assert!(Instant::now() < end, "not restored");
        assert!(run(&mut tuned.command("restore")).status.success());
    }
    assert_eq!(tuned.journals(), Vec::<String>::new());

    // After a start of the machine there is nothing to restore, and what is in force then stays.
    killed();
    let changed = state(&lab);
    let path = dir.path().join(tuned.journals().into_iter().find(|name| name.ends_with(".json")).unwrap());
    let mut journal: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    journal["boot_id"] = "another".into();
    fs::write(&path, journal.to_string()).unwrap();
    let output = run(&mut tuned.command("restore"));
    assert!(output.status.success() && stderr(&output).contains("has started again"), "{}", stderr(&output));
    assert_eq!(state(&lab), changed);
    assert!(!path.exists());
}

#[test]
fn settings_are_changed_with_permission_only() {
    let output = run(&mut hostplane("tune apply --interface lo --rps on"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--allow-host-changes"), "{}", stderr(&output));
    let output = run(&mut hostplane("tune show --interface nothere0 --json"));
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&output)["error"]["message"].as_str().unwrap().contains("ip link"), "{}", stderr(&output));
    let output = run(&mut hostplane("tune apply --interface lo --rps on --dry-run"));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("rx-0 rps_cpus: "), "{text}");
}
