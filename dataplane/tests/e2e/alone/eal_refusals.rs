//! EAL's refusals, each provoked for real: our message names cause and remedy, the exit code says failure, nothing is left.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{Hugepages, free_hugepages, is_root, not_run, run, stderr, tool, with_cpus};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn refused(eal: &str) -> String {
    check_refused(&run(&mut with_cpus(&words(eal), "ports --json")))
}

/// Checks exit code and output of a refusal; returns our message.
fn check_refused(output: &Output) -> String {
    let log = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let at = log.find("error: ").unwrap_or_else(|| panic!("no message of ours in:\n{log}"));
    let message = log[at..].to_owned();
    assert!(message.contains("remedy: "), "{message}");
    assert!(!log.contains("panicked"), "{log}");
    let json = crate::common::json(output);
    let repeated = json["error"]["message"].as_str().unwrap();
    assert!(message.contains(repeated), "the same on standard output: {json}");
    message
}

#[test]
fn no_hugepages() {
    if free_hugepages() > 0 && Hugepages::set(0).is_none() {
        return not_run("no_hugepages", "there are hugepages and this user may not take them away");
    }
    let _none = Hugepages::set(0);
    let message = refused("-l 0 --no-pci --socket-mem 64");
    assert!(message.contains("no free hugepages"), "{message}");
    assert!(message.contains("nr_hugepages") && message.contains("--no-huge"), "{message}");
}

#[test]
fn too_few_hugepages() {
    let Some(_few) = Hugepages::set(16) else {
        return not_run("too_few_hugepages", "this user may not reserve hugepages");
    };
    let message = refused("-l 0 --no-pci --socket-mem 512");
    assert!(message.contains("Requested: 512MB"), "{message}");
    assert_eq!(free_hugepages(), 16, "all given back");
}

#[test]
fn hugepage_files_without_permission() {
    if !is_root() {
        return not_run(
            "hugepage_files_without_permission",
            "needs root to mount hugetlbfs and then to become nobody",
        );
    }
    let Some(_pages) = Hugepages::set(64) else {
        return not_run("hugepage_files_without_permission", "hugepages cannot be reserved here");
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mount = dir.path().join("huge");
    std::fs::create_dir(&mount).unwrap();
    let path = mount.display().to_string();
    assert!(
        Command::new("mount")
            .args(["-t", "hugetlbfs", "-o", "mode=0700", "none", &path])
            .status()
            .unwrap()
            .success()
    );
    let output = run(&mut as_nobody(
        dir.path(),
        &format!("-l 0 --no-pci --socket-mem 64 --huge-dir {path} --huge-unlink=always"),
    ));
    let left = std::fs::read_dir(&mount).unwrap().count();
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
    let message = check_refused(&output);
    assert!(message.to_lowercase().contains("permission"), "{message}");
    assert_eq!(left, 0, "no hugepage file is left");
}

#[test]
fn a_vfio_group_without_permission_or_device() {
    let message = refused("-l 0 --no-huge -a 0000:7f:1f.7");
    assert!(message.contains("0000:7f:1f.7"), "{message}");
}

#[test]
fn lcores_out_of_range() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    // CPUs beyond this machine's: the kernel refuses them before EAL would end the process over them.
    let beyond = 1 + allowed.rsplit([',', '-']).next().unwrap().parse::<u32>().unwrap();
    for lcores in [format!("-l {beyond}-{}", beyond + 7), format!("--lcores 0@{beyond},1@{beyond}")] {
        let message = refused(&format!("{lcores} --no-huge --no-pci"));
        let expected = format!("CPU {beyond}, which this process may not use (allowed are {allowed})");
        assert!(message.contains(&expected) && message.contains("--lcores 0@0,1@0"), "{message}");
    }
    let message = refused("-l 0-9999 --no-huge --no-pci");
    assert!(message.contains("may not use") || message.contains("out of range"), "{message}");
}

#[test]
fn devices_that_cannot_be() {
    let message = refused("-l 0 --no-huge --no-pci --vdev net_nonsense0");
    assert!(message.contains("net_nonsense0"), "{message}");
    let message = refused("-l 0 --no-huge --no-pci --vdev net_pcap0,rx_pcap=/nonexistent/file");
    assert!(message.contains("/nonexistent/file"), "{message}");
}

#[test]
fn options_that_eal_does_not_know_or_excludes() {
    let message = refused("--no-pci --bogus");
    assert!(message.contains("--bogus"), "{message}");
    let message = refused("--no-pci --no-huge --socket-mem 64");
    assert!(message.contains("exclude each other"), "{message}");
}

#[test]
fn only_a_main_lcore() {
    let output =
        run(&mut with_cpus(&words("-l 0 --no-huge --no-pci --vdev net_null0"), "rx --json --duration 1s"));
    let message = check_refused(&output);
    assert!(message.contains("worker") && message.contains("--lcores 0@0,1@0"), "{message}");
}

#[test]
fn no_port_and_too_little_memory() {
    let output =
        run(&mut with_cpus(&words("--lcores 0@0,1@0 --no-huge --no-pci"), "rx --json --duration 1s"));
    let message = check_refused(&output);
    assert!(message.contains("no port 0"), "{message}");
    let options = "--lcores 0@0,1@0 --no-huge --no-pci -m 24 --vdev net_null0";
    let output = run(&mut with_cpus(&words(options), "rx --json --duration 1s --rxd 16384"));
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("pool 'rx_0_0'") && log.contains("-m"), "{log}");
}

/// The program as the user nobody, who may not look into the build directory: a copy in `directory`.
fn as_nobody(directory: &Path, eal: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_linerate-dataplane");
    let copy = directory.join("linerate-dataplane");
    std::fs::copy(Path::new(program), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(tool("setpriv"));
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(copy);
    command.args(words(eal)).args(["--", "ports", "--json"]);
    command
}
