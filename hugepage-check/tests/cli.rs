//! The program as scripts meet it: exit codes, JSON, colours, and what an unprivileged user sees.

// Helpers of tests may panic, too; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::Duration;

use common::Host;
use serde_json::Value;

const NOBODY: u32 = 65534;

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hugepage-check")).args(arguments).output().unwrap()
}

/// A host with 64 free pages of 2 MB, an IOMMU, and a device of group 6 on vfio-pci.
fn host() -> Host {
    let host = Host::good();
    for node in [None, Some(0), Some(1)] {
        host.pool(node, 1_048_576, 0, 0);
        host.pool(node, 2048, 64, if node == Some(1) { 0 } else { 64 });
    }
    host
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exit_codes_keep_their_meaning() {
    let host = host();
    let root = host.dir().to_str().unwrap();
    for (arguments, code) in [
        (&["--root", root][..], 0),
        (&["--root", root, "--require", "socket-mem=128"], 0),
        (&["--root", root, "--require", "socket-mem=128", "--require", "device=03:02.0"], 0),
        (&["--root", root, "--require", "socket-mem=129"], 1),
        (&["--root", root, "--require", "device=03:02.1"], 1),
        (&["--root", root, "--socket-mem", "64", "--processes", "2", "--device", "03:02.0"], 0),
        (&["--root", root, "--socket-mem", "64", "--processes", "3"], 1),
        (&["--root", root, "--socket-mem", "128", "--lcores", "1-3"], 0),
        (&["--root", root, "--lcores", "7-8"], 1),
        (&["--root", root, "--interface", "eth7"], 1),
        (&["--help"], 0),
        (&["--version"], 0),
        (&["--root", "/nonexistent"], 2),
        (&["--require", "socket-mem=lots"], 2),
        (&["--require", "device=eth0"], 2),
        (&["--require", "coffee=1"], 2),
        (&["--require", "socket-mem=1", "--require", "socket-mem=2"], 2),
        (&["--root", root, "--open-groups"], 2),
        (&["--processes", "2"], 2),
        (&["--socket-mem", "1", "--require", "socket-mem=2"], 2),
        (&["--lcores", "all"], 2),
        (&["--device", "eth0"], 2),
        (&["--interface", "../x"], 2),
        (&["--frobnicate"], 2),
        (&["surplus"], 2),
    ] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(output.stderr.is_empty(), code != 2, "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), code == 2, "{arguments:?}");
    }
}

#[test]
fn what_is_required_and_unknown_is_not_taken_for_granted() {
    let host = host();
    let root = host.dir().to_str().unwrap();
    host.put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "?");
    assert_eq!(check(&["--root", root]).status.code(), Some(0));
    assert_eq!(check(&["--root", root, "--require", "socket-mem=64"]).status.code(), Some(1));
}

#[test]
fn json_is_one_valid_line() {
    let host = host();
    let output = check(&["--root", host.dir().to_str().unwrap(), "--json", "--require", "device=03:02.0"]);
    let out = text(&output.stdout);
    assert!(out.ends_with('\n') && out.trim_end().lines().count() == 1, "{out}");
    let report: Value = serde_json::from_str(out).unwrap();
    assert_eq!(report["status"], "pass");
    assert_eq!(report["satisfied"], true);
    let checks = report["checks"].as_array().unwrap();
    for check in checks {
        for field in ["id", "title", "status", "required", "summary", "evidence", "why"] {
            assert!(!check[field].is_null(), "{field} is missing in {check}");
        }
        assert!(check["evidence"][0]["source"].is_string() && check["evidence"][0]["observed"].is_string());
    }
    assert_eq!(find(&report, "device.binding")["subject"], "0000:03:02.0");
}

#[test]
fn the_table_goes_to_stdout_without_colours_in_a_pipe() {
    let host = host();
    let output = check(&["--root", host.dir().to_str().unwrap()]);
    let out = text(&output.stdout);
    assert!(out.contains("PASS     Free hugepages"), "{out}");
    assert!(out.trim_end().ends_with(" pass)"), "{out}");
    assert!(!out.contains('\u{1b}'));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let output = check(&["--help"]);
    let out = text(&output.stdout);
    for words in ["hugepage-check --socket-mem 1024,1024", "Exit codes:", "--json"] {
        assert!(out.contains(words), "{words} is missing in {out}");
    }
}

#[test]
fn this_machine_gets_an_answer() {
    let output = check(&["--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap();
}

#[test]
fn a_reader_that_leaves_does_not_change_the_answer() {
    let host = host();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_hugepage-check"))
        .args(["--root", host.dir().to_str().unwrap()])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let host = host();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hugepage-check"))
        .args(["--root", host.dir().to_str().unwrap()])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write"));
}

/// A child that another test forks holds the copied program open for writing until it executes its own.
fn output_of(command: &mut Command) -> Output {
    for _ in 0..100 {
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other.unwrap(),
        }
    }
    command.output().unwrap()
}

/// Runs the check as a user to whom permission bits apply: as nobody when the tests run as root.
fn check_unprivileged(host: &Host, requirement: &str) -> Value {
    let program = host.path("hugepage-check");
    fs::copy(env!("CARGO_BIN_EXE_hugepage-check"), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(host.dir(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(program);
    command.arg("--root").arg(host.dir()).args(["--json", "--require", requirement]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = output_of(&mut command);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn find<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()
}

#[test]
fn an_unprivileged_user_gets_the_path_of_the_closed_file() {
    let host = host();
    for (path, mode) in [
        ("dev/vfio/vfio", 0o666),
        ("dev/vfio/6", 0o400),
        ("dev/hugepages", 0o555),
        ("dev/hugepages-1G", 0o555),
    ] {
        fs::set_permissions(host.path(path), Permissions::from_mode(mode)).unwrap();
    }
    let report = check_unprivileged(&host, "device=03:02.0");
    assert_eq!(find(&report, "vfio.container")["status"], "pass");
    let mount = find(&report, "hugetlbfs.mount");
    assert_eq!(mount["status"], "warn");
    assert!(mount["summary"].as_str().unwrap().contains("EAL can write to"), "{mount}");
    let device = find(&report, "device.binding");
    assert_eq!(device["status"], "fail");
    assert!(device["summary"].as_str().unwrap().contains("may not open /dev/vfio/6"), "{device}");
    assert!(device["remedy"]["commands"][0].as_str().unwrap().starts_with("chown "), "{device}");
}

#[test]
fn an_unreadable_file_is_unknown() {
    let host = host();
    let file = "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    fs::set_permissions(host.path(file), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(host.path("dev/hugepages"), Permissions::from_mode(0o300)).unwrap();
    let report = check_unprivileged(&host, "socket-mem=64");
    fs::set_permissions(host.path("dev/hugepages"), Permissions::from_mode(0o755)).unwrap();
    for (id, path) in [
        ("hugepages.free", "free_hugepages: permission denied"),
        ("hugepages.socket-mem", "free_hugepages: permission denied"),
        ("hugepages.leftover", "dev/hugepages: permission denied"),
    ] {
        let check = find(&report, id);
        assert_eq!(check["status"], "unknown", "{check}");
        assert!(check["summary"].as_str().unwrap().contains(path), "{check}");
        assert!(check["remedy"]["note"].as_str().unwrap().contains("root"), "{check}");
    }
}

#[test]
fn a_closed_tree_is_unknown_to_an_unprivileged_user() {
    let host = host();
    let closed = [
        ("proc/self/status", "cpu.allowed"),
        ("proc/self/limits", "vfio.memlock"),
        ("proc/self/cgroup", "hugepages.cgroup"),
        ("sys/class/net", "network.link"),
        ("sys/bus/pci/devices", "device.function"),
        ("proc/sys/net/ipv4/tcp_rmem", "network.buffers"),
        ("proc/stat", "cpu.steal"),
    ];
    for (path, _) in closed {
        fs::set_permissions(host.path(path), Permissions::from_mode(0o000)).unwrap();
    }
    let report = check_unprivileged(&host, "socket-mem=64");
    for (path, id) in closed {
        // The temporary directory is removed by whoever runs the tests.
        fs::set_permissions(host.path(path), Permissions::from_mode(0o755)).unwrap();
        let check = find(&report, id);
        assert_eq!(check["status"], "unknown", "{check}");
        assert!(check["summary"].as_str().unwrap().contains("permission denied"), "{check}");
    }
}

#[test]
fn memory_and_lcores_are_judged_as_eal_judges_them() {
    let pages = |kilobytes: u64, pages: u64| {
        let host = Host::good();
        for node in [None, Some(0), Some(1)] {
            for size in [2048, 1_048_576] {
                let there = size == kilobytes && node != Some(1);
                host.pool(node, size, if there { pages } else { 0 }, if there { pages } else { 0 });
            }
        }
        host
    };
    let code = |host: &Host, arguments: &[&str]| {
        let root = host.dir().to_str().unwrap().to_owned();
        let all: Vec<&str> = ["--root", &root].iter().chain(arguments).copied().collect();
        check(&all).status.code()
    };
    let two = pages(1_048_576, 2);
    assert_eq!(code(&two, &["--socket-mem", "512", "--processes", "2"]), Some(0));
    assert_eq!(code(&two, &["--socket-mem", "512", "--processes", "4"]), Some(1), "a page for each");
    let small = pages(2048, 59);
    assert_eq!(code(&small, &["--socket-mem", "39", "--processes", "2"]), Some(0));
    assert_eq!(code(&small, &["--socket-mem", "39", "--processes", "3"]), Some(1), "20 pages for each");
    let over = pages(2048, 0);
    assert_eq!(code(&over, &["--socket-mem", "64"]), Some(1));
    over.put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "100\n");
    assert_eq!(code(&over, &["--socket-mem", "64"]), Some(0));
    assert_eq!(code(&over, &["--socket-mem", "201"]), Some(1));
    over.put("sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "80\n");
    assert_eq!(code(&over, &["--socket-mem", "64"]), Some(1), "80 of them are in use");
    for (lcores, wanted) in [("127@1", 0), ("128@1", 1), ("0@1,(200-201)@2", 1)] {
        assert_eq!(code(&two, &["--lcores", lcores]), Some(wanted), "{lcores}");
    }
}
