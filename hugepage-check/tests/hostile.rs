//! Trees that are broken or meant to do harm: whatever a file has become, there is an answer.

// Helpers of tests may panic, too; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::hosts::{Case, all};
use hugepage_check::check::{Report, Status};
use hugepage_check::environment::Environment;
use hugepage_check::report::render;

/// Everything that is asked of every tree.
const REQUIREMENTS: &[&str] =
    &["socket-mem=512", "processes=2", "lcores=0-3", "device=0000:03:02.0", "interface=ens1"];

/// Puts something wrong where nothing is.
type Fault = fn(&Path);

/// Ways in which a path can go wrong.
const FAULTS: &[(&str, Fault)] = &[
    ("missing", |_| {}),
    ("empty", |path| fs::write(path, "").unwrap()),
    ("not UTF-8", |path| fs::write(path, b"\xff\xfe\x00\n").unwrap()),
    ("a huge number", |path| fs::write(path, "99999999999999999999999999\n").unwrap()),
    ("the largest number", |path| fs::write(path, "18446744073709551615\n").unwrap()),
    ("a negative number", |path| fs::write(path, "-1\n").unwrap()),
    ("escapes", |path| fs::write(path, "\u{1b}[2J\u{1b}]0;x\u{7} - : : / @ 1-0 ,\n").unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap()),
    ("a link out of the tree", |path| symlink("/", path).unwrap()),
];

fn assert_answered(report: &Report, what: &str) {
    assert!(!report.checks.is_empty(), "{what}");
    for check in &report.checks {
        let id = check.id;
        assert!(!check.evidence.is_empty() && !check.summary.is_empty(), "{what}: {id} is silent");
        assert_eq!(check.remedy.is_none(), check.status == Status::Pass, "{what}: {id}");
        if check.status == Status::Unknown {
            assert!(check.summary.contains("unknown: /"), "{what}: {id}: {}", check.summary);
        }
        if check.status == Status::Fail {
            assert!(check.required, "{what}: {id} fails although nobody asked");
        }
    }
    assert!(!render(report, Default::default()).contains('\u{1b}'), "{what} steers the terminal");
    serde_json::to_string(report).unwrap();
}

/// Every file, link and directory of a tree, deepest first.
fn paths(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(paths(&path));
        }
        found.push(path);
    }
    found
}

/// Puts each fault in the place of each file and link in turn.
fn spoil(case: &Case) {
    for path in paths(case.host.dir()) {
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            continue;
        }
        let aside = case.host.path("aside");
        for (name, fault) in FAULTS {
            fs::rename(&path, &aside).unwrap();
            fault(&path);
            let report = case.host.report(REQUIREMENTS);
            assert_answered(&report, &format!("{}: {} is {name}", case.name, path.display()));
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir(&path).unwrap(),
                Ok(_) => fs::remove_file(&path).unwrap(),
                Err(_) => {}
            }
            fs::rename(&aside, &path).unwrap();
        }
    }
}

#[test]
fn every_fault_of_every_file_is_answered_on_intel() {
    spoil(all().iter().find(|case| case.name == "intel-in-trouble").unwrap());
}

#[test]
fn every_fault_of_every_file_is_answered_in_a_pod() {
    spoil(all().iter().find(|case| case.name == "pod-v1").unwrap());
}

#[test]
fn every_fault_of_every_file_is_answered_with_a_shared_driver() {
    spoil(all().iter().find(|case| case.name == "mlx5").unwrap());
}

#[test]
fn directories_may_be_missing_or_files() {
    let case = all().into_iter().find(|case| case.name == "amd-pod").unwrap();
    let aside = case.host.path("aside");
    for path in paths(case.host.dir()) {
        if !path.symlink_metadata().unwrap().is_dir() {
            continue;
        }
        fs::rename(&path, &aside).unwrap();
        assert_answered(&case.host.report(REQUIREMENTS), &format!("without {}", path.display()));
        fs::write(&path, "surprise").unwrap();
        assert_answered(&case.host.report(REQUIREMENTS), &format!("a file at {}", path.display()));
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
}

#[test]
fn names_that_are_not_utf8_are_answered() {
    let case = all().into_iter().find(|case| case.name == "intel").unwrap();
    for dir in paths(case.host.dir()) {
        if dir.symlink_metadata().unwrap().is_dir() {
            let odd = dir.join(OsStr::from_bytes(b"\xff"));
            fs::write(&odd, "").unwrap();
            assert_answered(&case.host.report(REQUIREMENTS), &format!("an odd name in {}", dir.display()));
            fs::remove_file(odd).unwrap();
        }
    }
}

#[test]
fn huge_files_are_named_with_the_limit() {
    let case = all().into_iter().find(|case| case.name == "intel").unwrap();
    for (path, id) in [
        ("proc/self/status", "cpu.allowed"),
        ("proc/self/limits", "vfio.memlock"),
        ("proc/self/cgroup", "hugepages.cgroup"),
        ("sys/devices/system/cpu/online", "cpu.allowed"),
        ("sys/class/net/ens1/mtu", "network.link"),
        ("proc/sys/net/ipv4/tcp_rmem", "network.buffers"),
    ] {
        let whole = fs::read(case.host.path(path)).unwrap();
        fs::write(case.host.path(path), vec![b'1'; (1 << 20) + 1]).unwrap();
        let report = case.host.report(REQUIREMENTS);
        assert_answered(&report, path);
        let check = report.checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(check.status, Status::Unknown, "{path}: {}", check.summary);
        assert!(check.summary.contains("larger than 1048576 bytes"), "{path}: {}", check.summary);
        fs::write(case.host.path(path), whole).unwrap();
    }
}

#[test]
fn variables_of_device_plugins_are_answered() {
    let case = all().into_iter().find(|case| case.name == "nothing").unwrap();
    let deep = "[".repeat(10_000);
    for text in ["", ",", "eth0", "0000:03:02.0,,x", "{", "{}", r#"{"../..":1}"#, "\u{1b}[2J", &deep] {
        for name in ["PCIDEVICE_A", "PCIDEVICE_A_INFO", "PCIDEVICE_", "PCIDEVICE__INFO"] {
            let variables: Environment = [(name.to_owned(), text.to_owned())].into_iter().collect();
            let report = hugepage_check::run_with(&case.host.root(), &Default::default(), &variables);
            assert_answered(&report, &format!("{name}={}", text.chars().take(20).collect::<String>()));
            assert!(report.is_satisfied(), "a variable alone fails nothing");
        }
    }
}
